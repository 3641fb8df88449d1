"""The asking side: which bots run here, and one request to one of them.

A halt waits for what is imported here: the standard library's own JSON, no msgspec.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from tradewatch.control.address import SOCKET, address, open_folder, peer
from tradewatch.control.links import linked
from tradewatch.runtime.places import state_base

# As in tradewatch/__init__.py: the module typing is not loaded.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Linux: all sockets of this network namespace that have a name, those of other users too; unix(7), proc(5).
_ALL_SOCKETS = Path("/proc/net/unix")
_GREETING_S = 1.0
_AGAIN_S = 0.01


class Unanswered(Exception):  # noqa: N818 - it names what happened
    """The bot runs, and did not answer in time: it is stopped, or the machine is."""


class NotRunning(Exception):  # noqa: N818 - it names a state
    """Nobody listens: the bot has ended, or runs without a socket; the text says what was found."""


class NotAllowed(Exception):  # noqa: N818 - it names what happened
    """The socket, or its folder, is another user's, or the system refuses to reach it."""


class Answer:
    """One answer: whose, and its result, which is plain JSON, or what went wrong."""

    def __init__(self, line: bytes) -> None:
        said = json.loads(line)
        self.bot: str = said["bot"]
        self.result: Any = said.get("result")
        self.error: str | None = said.get("error")


class Found:
    """A bot that runs; `name` is None where it did not say it in time."""

    def __init__(self, folder: Path, name: str | None) -> None:
        self.folder = folder
        self.name = name


def ask(folder: Path, request: Mapping[str, str | None], within_s: float) -> Answer:
    """Send one request to the bot of a state folder; its shapes are those of `tradewatch.control.protocol`.

    Raises:
        NotRunning: nobody listens there.
        NotAllowed: it is another user's.
        Unanswered: no answer within the seconds given.
    """
    until = time.monotonic() + within_s
    ended = f"the bot of {folder} ended while it was asked"
    with _connected(folder, within_s) as connection:
        said = b""
        try:
            connection.sendall(_line(request))
            while not said.endswith(b"\n"):
                connection.settimeout(max(0.001, until - time.monotonic()))
                more = connection.recv(1 << 20)
                if not more:
                    raise NotRunning(ended)
                said += more
        except TimeoutError:
            raise Unanswered(f"the bot of {folder} runs and did not answer in {within_s:g} s") from None
        except ConnectionError:
            raise NotRunning(ended) from None
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        answer = Answer(said)
        if answer.error is not None or answer.result is not None:
            return answer
    raise NotAllowed(f"what answers in {folder} is no bot of this version of tradewatch")


def running(*, everywhere: bool = False) -> tuple[Found, ...]:
    """The bots of this user that run, by name: those in the usual place for state folders, or linked there.

    With `everywhere` all that the kernel lists too, of other homes and users, if they may be asked. Takes a second
    where one does not answer.
    """
    with ExitStack() as stack, selectors.DefaultSelector() as waiting:
        names: dict[Path, str | None] = {}
        for folder in dict.fromkeys((*_usual(), *(_listening() if everywhere else ()))):
            try:
                connection = stack.enter_context(_connected(folder, _GREETING_S))
                connection.sendall(_line({"command": "hello"}))
                waiting.register(connection, selectors.EVENT_READ, folder)
            except (NotRunning, NotAllowed, OSError):
                continue
            except Unanswered:
                pass
            names[folder] = None
        until = time.monotonic() + _GREETING_S
        while waiting.get_map() and (left_s := until - time.monotonic()) > 0:
            for key, _ in waiting.select(left_s):
                waiting.unregister(key.fileobj)
                assert isinstance(key.fileobj, socket.socket)
                with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
                    names[key.data] = Answer(key.fileobj.recv(65536)).bot
    return tuple(Found(folder, names[folder]) for folder in sorted(names, key=lambda each: (names[each] or "", each)))


def usual_folder(name: str) -> Path | None:
    """The usual state folder of a bot that has a socket there, where no bot has its state folder elsewhere.

    So where all have theirs as their names say, nobody but the bot that is meant has to be asked. None leaves it open.
    """
    with suppress(RuntimeError, OSError):
        base = state_base().resolve()
        if os.path.lexists(base / name / SOCKET) and not any(linked(base)):
            return base / name
    return None


def out_of_reach() -> tuple[Path, ...]:
    """The folders of sockets that the kernel lists and nobody can connect to: they are gone, or another container's."""
    return tuple(sorted(folder for folder in set(_listening()) if not os.path.lexists(folder / SOCKET)))


def _usual() -> Iterator[Path]:
    with suppress(RuntimeError, OSError):
        base = state_base().resolve()
        yield from linked(base)
        yield from (
            Path(os.path.realpath(base / name)) for name in os.listdir(base) if os.path.lexists(base / name / SOCKET)
        )


def _listening() -> Iterator[Path]:
    with suppress(OSError):
        for line in _ALL_SOCKETS.read_text(errors="surrogateescape").splitlines():
            path = Path(line.split(maxsplit=7)[-1])
            if path.name == SOCKET and path.is_absolute() and not path.is_relative_to("/proc"):
                yield Path(os.path.realpath(path.parent))


def _line(request: Mapping[str, str | None]) -> bytes:
    # Bytes of an argument that are no text must not keep a halt away.
    text = {name: value and os.fsencode(value).decode(errors="replace") for name, value in request.items()}
    return json.dumps(text).encode() + b"\n"


def _connected(folder: Path, within_s: float) -> socket.socket:
    """A connection to the bot of a folder, which is this user's own, or any where root asks."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        folder_fd = open_folder(folder)
        try:
            connection.settimeout(within_s)
            _connect(connection, address(folder, folder_fd), time.monotonic() + within_s)
        finally:
            os.close(folder_fd)
        _, uid = peer(connection)
        if uid != os.geteuid() != 0:
            # Whoever may write to the folder could have put a socket of their own there.
            raise NotAllowed(f"the socket in {folder} is user {uid}'s: ask as that user")
    except BaseException as error:
        connection.close()
        match error:
            case FileNotFoundError() | NotADirectoryError():
                raise NotRunning(f"no bot runs in {folder}") from None
            case ConnectionRefusedError():
                raise NotRunning(f"no bot runs in {folder}: one that died left its socket there") from None
            case PermissionError():
                raise NotAllowed(f"{folder} is another user's: ask as that user") from None
            case TimeoutError() | BlockingIOError():
                raise Unanswered(f"the bot of {folder} runs and takes no connection") from None
            case OSError():
                raise NotAllowed(f"no bot can be reached in {folder}: {error.strerror or error}") from None
        raise
    return connection


def _connect(connection: socket.socket, where: str, until: float) -> None:
    """Where too many wait to be let in, a socket of this kind is refused at once, whatever its time-out."""
    while True:
        try:
            return connection.connect(where)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
            time.sleep(_AGAIN_S)
