"""Which bot a command is about, what it answers, and the exit codes; shared by the commands on running bots."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tradewatch.control.client import (
    Answer,
    Found,
    NotAllowed,
    NotRunning,
    Unanswered,
    ask,
    out_of_reach,
    running,
    usual_folder,
)

# As in tradewatch/__init__.py: the module typing is not loaded.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn, TextIO

FAILED, USAGE, NOT_RUNNING, UNANSWERED, HALTED = 1, 2, 3, 4, 5
# Of other homes' and users' bots, so many are named where none of this one is meant.
_MOST_NAMED = 5
ANOTHER_VERSION = "answers as another version of tradewatch does: use the command of that one, or start the bot again"
_EXIT_CODES = """\
exit codes:
  0  done; of status: every bot that was asked for is ACTIVE
  1  refused or failed, with the reason on standard error; another user's bot
  2  a command line that is not understood, or a name that is several bots'
  3  no such bot runs
  4  the bot runs and does not answer in time
  5  of status: a bot is HALTED
"""


class _Formatter(RawDescriptionHelpFormatter):
    """Knows the terminal's width without the module shutil, which takes a halt 2 ms to load."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=(_columns(sys.stdout) or 80) - 2)


class Parser(ArgumentParser):
    """The arguments of one command; what is not understood ends it with 2."""

    def __init__(self, prog: str, description: str, epilog: str = "") -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=f"{_EXIT_CODES}\n{epilog}" if epilog else _EXIT_CODES,
            formatter_class=_Formatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """How it is called, and what was wrong."""
        self.print_usage(sys.stderr)
        raise ended(USAGE, message)

    def name(self) -> None:
        """NAME, which may be left out."""
        self.add_argument("name", nargs="?", metavar="NAME", help="The bot's; may be left out where one bot runs.")

    def reached(self) -> None:
        """--state-dir and --timeout."""
        self.state_dir("where its name alone does not tell it")
        self.add_argument(
            "--timeout", default=5.0, type=_seconds, metavar="SECONDS",
            help="How long to wait for an answer (default: 5).",
        )  # fmt: skip

    def state_dir(self, where: str) -> None:
        """--state-dir."""
        self.add_argument("--state-dir", type=Path, metavar="FOLDER", help=f"The bot's state folder, {where}.")

    def as_json(self, what: str = "One line of JSON, as the bot said it.") -> None:
        """--json."""
        self.add_argument("--json", action="store_true", dest="as_json", help=what)

    def read(self, arguments: Sequence[str]) -> Namespace:
        """The arguments, options and names in any order."""
        return self.parse_intermixed_args(arguments)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0.1 <= seconds <= 3600:
        raise ArgumentTypeError(f"{text}; accepted: 0.1 to 3600 seconds")
    return seconds


def folder_of(name: str | None, state_dir: Path | None) -> Path:
    """The state folder of the one bot that is meant; ends the command where there is none, or more than one."""
    if state_dir is not None:
        return state_dir.absolute()
    if name is not None and (usual := usual_folder(name)) is not None:
        return usual
    bots = running()
    # One that did not say its name in time is told by its folder.
    meant = [bot for bot in bots if name is None or _is(bot, name)]
    if len(meant) == 1:
        return meant[0].folder
    if not meant:
        raise none_runs(name, bots)
    how = "name one of them" if name is None else "say which with --state-dir"
    whose = "" if name is None else f" named {name!r}"
    raise ended(USAGE, f"{len(meant)} bots{whose} run here, {how}: {'; '.join(map(_shown, meant))}")


def none_runs(name: str | None, bots: Sequence[Found] = ()) -> SystemExit:
    """To be raised where no bot of this user is meant; says those that are, and those of other homes and users."""
    others = f"; those that run: {', '.join(map(_shown, bots))}" if bots else ""
    lines = ["Error: no bot runs here" if name is None else f"Error: no bot {name!r} runs here{others}"]
    here = {bot.folder for bot in bots}
    elsewhere = [bot for bot in running(everywhere=True) if bot.folder not in here]
    meant = [bot for bot in elsewhere if name is None or _is(bot, name)]
    lines += [f"one of another home or user: --state-dir {bot.folder} ({bot.name})" for bot in meant[:_MOST_NAMED]]
    if len(elsewhere) > min(len(meant), _MOST_NAMED):
        lines.append("all that this user may ask: tradewatch status --all")
    lost = [folder for folder in out_of_reach() if name is None or folder.name == name][:_MOST_NAMED]
    lines += [f"one that cannot be reached, since its folder {folder} is not there: end its process" for folder in lost]
    say(lines, err=True)
    return SystemExit(NOT_RUNNING)


def asked(folder: Path, request: Mapping[str, str | None], timeout: float) -> Answer:
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


@contextmanager
def understood(bot: str) -> Iterator[None]:
    """Ends the command where an answer has another shape: that bot may be older than an update of tradewatch."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError):
        raise ended(FAILED, f"{bot} {ANOTHER_VERSION}") from None


def ended(code: int, why: str) -> SystemExit:
    """To be raised: the end of the command with an exit code, its reason on standard error."""
    say([f"Error: {why}"], err=True)
    return SystemExit(code)


def say(lines: Iterable[str], *, err: bool = False) -> None:
    """Print lines, on a terminal wrapped to its width."""
    stream = sys.stderr if err else sys.stdout
    width = _columns(stream)
    for line in lines:
        if not width or len(line) <= width:
            print(line, file=stream)
            continue
        from textwrap import wrap

        print("\n".join(wrap(line, max(20, width), subsequent_indent="  ")), file=stream)


def _columns(stream: TextIO) -> int:
    """Of the terminal that a stream is; 0 where it is none, or does not know."""
    return os.get_terminal_size(stream.fileno()).columns if stream.isatty() else 0


def coloured(state: str) -> str:
    """A state as a terminal that wants colour shows it."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return state
    return f"\x1b[1;{31 if state == 'HALTED' else 32}m{state}\x1b[0m"


def say_json(value: Any) -> None:
    """Print one line of JSON."""
    import json

    print(json.dumps(value, separators=(",", ":"), ensure_ascii=False))


def moment(at_ns: int) -> str:
    """Date and time in UTC, to the second."""
    from time import gmtime, strftime

    return strftime("%Y-%m-%d %H:%M:%S UTC", gmtime(at_ns // 10**9))


def _is(bot: Found, name: str) -> bool:
    return (bot.name or bot.folder.name) == name


def _shown(bot: Found) -> str:
    return f"{bot.name or '(does not answer)'} in {bot.folder}"
