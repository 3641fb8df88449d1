"""`tradewatch top`: the live view of a bot that runs; and a status once, for `tradewatch status`."""

from __future__ import annotations

import math
import select
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import msgspec
from rich.console import Console
from rich.live import Live

from tradewatch.cli import bots, live
from tradewatch.cli.lines import Lines, line
from tradewatch.control.client import NotAllowed, NotRunning, Unanswered, ask
from tradewatch.status import Status

_EVERY_S = 1.0
_LINE_EVERY_S = 60.0
_PLAIN_WIDTH = 100
_ASK = {"command": "status"}
_ENDINGS = (signal.SIGINT, signal.SIGTERM)


def print_once(result: Any) -> None:
    """A whole status as the live view shows it, as long as it is."""
    console = Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH, highlight=False)
    console.print(live.view(_status(result)))


def in_one_line(result: Any) -> str:
    """A status as a plain line."""
    return line(_status(result))


def top(arguments: Sequence[str], prog: str) -> int:
    """The live view of a bot that runs."""
    parser = bots.Parser(
        prog,
        "The live view of a bot that runs, until Ctrl-C or until it ends; without a terminal, lines of what happens.",
    )
    parser.name()
    parser.reached()
    given = parser.read(arguments)
    folder = bots.folder_of(given.name, given.state_dir)
    answer = bots.asked(folder, _ASK, given.timeout)
    with bots.understood(answer.bot):
        first = _status(answer.result)
    console = Console(highlight=False)
    # The terminal is to be left as it was.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        _follow(folder, first, given.timeout, console)
    except KeyboardInterrupt:
        return 0
    except NotRunning as error:
        raise bots.ended(bots.NOT_RUNNING, str(error)) from None
    except NotAllowed as error:
        raise bots.ended(bots.FAILED, str(error)) from None


def _follow(folder: Path, first: Status, timeout: float, console: Console) -> NoReturn:
    if not console.is_terminal or console.is_dumb_terminal:
        lines = Lines(_LINE_EVERY_S)
        now: Status | str = first
        while True:
            said = [f"! {now}"] if isinstance(now, str) else lines.of(now)
            for each in said:
                console.print(each, soft_wrap=True, markup=False)
            _wait_for_reader()
            now = _next(folder, timeout)
    last: Status = first
    with _undisturbed(), Live(live.view(first), console=console, screen=True, auto_refresh=False) as shown:
        shown.refresh()
        while True:
            with _disturbed():
                time.sleep(_EVERY_S)
                found = _next(folder, timeout)
            last = last if isinstance(found, str) else found
            shown.update(live.view(last, found if isinstance(found, str) else ""), refresh=True)


def _wait_for_reader() -> None:
    """Wait a second; raise where nobody reads the pipe any more, which the next line may take a minute to show."""
    reader = select.poll()
    reader.register(sys.stdout, 0)
    if reader.poll(_EVERY_S * 1000):
        raise BrokenPipeError


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait: in the middle of drawing they would leave the terminal as it must not be."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDINGS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _disturbed() -> Iterator[None]:
    """Within `_undisturbed`: here they are heard, and raise."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDINGS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDINGS)


def _next(folder: Path, timeout: float) -> Status | str:
    """The status, or why there is none for now."""
    try:
        answer = ask(folder, _ASK, timeout)
    except Unanswered:
        return f"does not answer, for {math.ceil(timeout)} s and more"
    try:
        return _status(answer.result) if answer.error is None else answer.error
    except msgspec.ValidationError:  # another one has been started in its place
        return bots.ANOTHER_VERSION


def _status(result: Any) -> Status:
    # Not strict: NaN and infinities are texts, which JSON has no numbers for.
    return msgspec.convert(result, Status, strict=False)
