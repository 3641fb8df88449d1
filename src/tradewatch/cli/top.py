"""`tradewatch top`: the live view of a bot that runs; and a status once, for `tradewatch status`."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.live import Live

from tradewatch.cli import bots, live
from tradewatch.cli.lines import Lines
from tradewatch.control.client import NotAllowed, NotRunning, Unanswered, ask
from tradewatch.control.protocol import StatusAsked
from tradewatch.status import Status

_EVERY_S = 1.0
_LINE_EVERY_S = 60.0
_PLAIN_WIDTH = 100


def print_once(result: msgspec.Raw) -> None:
    """A whole status as the live view shows it, as long as it is."""
    console = Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH, highlight=False)
    console.print(live.view(_status(result)))


def in_one_line(result: msgspec.Raw) -> str:
    """A status as a plain line."""
    return live.line(_status(result))


@click.command(epilog=bots.EXIT_CODES)
@bots.of_a_bot
def top(*, name: str | None, state_dir: Path | None, timeout: float) -> None:
    """The live view of a bot that runs, until Ctrl-C or until it ends; without a terminal, lines of what happens.

    NAME may be left out where one bot runs.
    """
    folder = bots.folder_of(name, state_dir)
    first = _status(bots.asked(folder, StatusAsked(), timeout).result)
    console = Console(highlight=False)
    try:
        _follow(folder, first, timeout, console)
    except KeyboardInterrupt:
        return
    except NotRunning as error:
        raise bots.ended(bots.NOT_RUNNING, str(error)) from None
    except NotAllowed as error:
        raise bots.ended(bots.FAILED, str(error)) from None


def _follow(folder: Path, first: Status, timeout: float, console: Console) -> None:
    if not console.is_terminal or console.is_dumb_terminal:
        lines = Lines(_LINE_EVERY_S)
        now: Status | str = first
        while True:
            said = [f"! {now}"] if isinstance(now, str) else lines.of(now)
            for each in said:
                console.print(each, soft_wrap=True, markup=False)
            time.sleep(_EVERY_S)
            now = _next(folder, timeout)
    with Live(live.view(first), console=console, screen=True, auto_refresh=False) as shown:
        last = first
        shown.refresh()
        while True:
            time.sleep(_EVERY_S)
            found = _next(folder, timeout)
            last = last if isinstance(found, str) else found
            shown.update(live.view(last, found if isinstance(found, str) else ""), refresh=True)


def _next(folder: Path, timeout: float) -> Status | str:
    """The status, or why there is none for now."""
    try:
        answer = ask(folder, StatusAsked(), timeout)
    except Unanswered:
        return f"does not answer, for {math.ceil(timeout)} s and more"
    return _status(answer.result) if answer.error is None else answer.error


def _status(result: msgspec.Raw) -> Status:
    # Not strict: NaN and infinities are texts, which JSON has no numbers for.
    return msgspec.json.decode(result, type=Status, strict=False)
