"""Which bot a command is about, what it answers, and the exit codes; shared by the commands on running bots."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from tradewatch.control.client import Found, NotAllowed, NotRunning, Unanswered, ask, running, usual_folder
from tradewatch.control.protocol import Answer, Request

FAILED, USAGE, NOT_RUNNING, UNANSWERED, HALTED = 1, 2, 3, 4, 5
EXIT_CODES = """\b
Exit codes:
  0  done; of status: every bot that was asked for is ACTIVE
  1  refused or failed, with the reason on standard error; another user's bot
  2  a command line that is not understood, or a name that is several bots'
  3  no such bot runs
  4  the bot runs and does not answer in time
  5  of status: a bot is HALTED
"""
_Command = TypeVar("_Command", bound=Callable[..., Any])


def of_a_bot(command: _Command) -> _Command:
    """NAME, and `reached`."""
    return click.argument("name", required=False)(reached(command))


def reached(command: _Command) -> _Command:
    """--state-dir and --timeout."""
    for decorate in (
        click.option(
            "--timeout", default=5.0, show_default=True, type=click.FloatRange(0.1, 3600), metavar="SECONDS",
            help="How long to wait for an answer.",
        ),
        click.option(
            "--state-dir", type=click.Path(path_type=Path), metavar="FOLDER",
            help="The bot's state folder, where its name alone does not tell it.",
        ),
    ):  # fmt: skip
        command = decorate(command)
    return command


def folder_of(name: str | None, state_dir: Path | None) -> Path:
    """The state folder of the one bot that is meant; ends the command where there is none, or more than one."""
    if state_dir is not None:
        return state_dir.absolute()
    if name is not None and (usual := usual_folder(name)) is not None:
        return usual
    bots = running()
    # One that did not say its name in time is told by its folder.
    meant = [bot for bot in bots if name is None or (bot.name or bot.folder.name) == name]
    if len(meant) == 1:
        return meant[0].folder
    if not meant:
        others = f"; those that run: {', '.join(map(_shown, bots))}" if bots else ""
        raise ended(NOT_RUNNING, "no bot runs here" if name is None else f"no bot {name!r} runs here{others}")
    how = "name one of them" if name is None else "say which with --state-dir"
    whose = "" if name is None else f" named {name!r}"
    raise ended(USAGE, f"{len(meant)} bots{whose} run here, {how}: {'; '.join(map(_shown, meant))}")


def asked(folder: Path, request: Request, timeout: float) -> Answer:
    """The answer of the bot of a folder; ends the command where there is none, or one that says no."""
    try:
        answer = ask(folder, request, timeout)
    except NotRunning as error:
        raise ended(NOT_RUNNING, str(error)) from None
    except NotAllowed as error:
        raise ended(FAILED, str(error)) from None
    except Unanswered as error:
        raise ended(UNANSWERED, str(error)) from None
    if answer.error is not None:
        raise ended(FAILED, f"{answer.bot}: {answer.error}")
    return answer


def ended(code: int, why: str) -> SystemExit:
    """To be raised: the end of the command with an exit code, its reason on standard error."""
    say([f"Error: {why}"], err=True)
    return SystemExit(code)


def say(lines: Iterable[str], *, err: bool = False) -> None:
    """Print lines, on a terminal wrapped to its width."""
    stream = sys.stderr if err else sys.stdout
    width = os.get_terminal_size(stream.fileno()).columns or None if stream.isatty() else None
    for line in lines:
        parts = [line] if width is None else textwrap.wrap(line, max(20, width), subsequent_indent="  ") or [""]
        for part in parts:
            click.echo(part, err=err)


def moment(at_ns: int) -> str:
    """Date and time in UTC, to the second."""
    return f"{datetime.fromtimestamp(at_ns // 10**9, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _shown(bot: Found) -> str:
    return f"{bot.name or '(does not answer)'} in {bot.folder}"
