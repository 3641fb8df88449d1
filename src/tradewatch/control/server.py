"""The bot's side of the control socket: a thread that waits in `accept`, and one for each request while it lasts.

It needs nothing of the bot's loop, of the safety thread and of the service thread, so it answers when these are stuck.
A client that connects and says nothing costs a thread for two seconds and keeps nobody waiting; of very many, those
that have been silent longest are sent away. While nobody asks it costs no CPU.
"""

from __future__ import annotations

import errno
import os
import pwd
import select
import socket
import stat
import threading
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from tradewatch.control import links
from tradewatch.control.address import SOCKET, address, open_folder, peer
from tradewatch.control.commands import Bot, answer, failed
from tradewatch.control.eager import Eager
from tradewatch.control.protocol import LONGEST_REQUEST
from tradewatch.runtime.failures import failures

# From the connect to the end of the request, and for the answer to be taken.
_READ_S = 2.0
_WRITE_S = 5.0
_MOST_SILENT = 32
_BACKLOG = 64
_JOIN_S = 0.3
_PAUSE_S = 0.2
# Of a bot that leaks descriptors until it has none left, so many are kept back: it is still to be halted.
_SPARES = 2


class ControlSocket:
    """The socket of one bot, in its state folder. Without one the bot goes on, and `note` says why there is none.

    Args:
        folder: the bot's state folder; whoever calls has it to itself.
        bot: what is asked.
    """

    def __init__(self, folder: Path, bot: Bot) -> None:
        self._folder = folder
        self._bot = bot
        self._ending = False
        self._listening: socket.socket | None = None
        self._folder_fd = -1
        self._spares: list[int] = []
        self._made: tuple[int, int] | None = None
        self._link: Path | None = None
        self._user = ""
        self._eager = Eager()
        self._connections: set[socket.socket] = set()
        # In the order of their connects; a value is there until the request is.
        self._silent: dict[socket.socket, None] = {}
        self._thread = threading.Thread(target=self._run, name="tradewatch-control", daemon=True)
        self.note: str | None = None

    def start(self) -> None:
        """Listen, or say in `note` why not."""
        try:
            self._folder_fd = open_folder(self._folder)
            self._listening = self._listen()
        except OSError as error:
            self._close()
            why = error.strerror or str(error)
            self.note = f"no shell can reach this bot: the control socket {self._folder / SOCKET} cannot be made: {why}"
            failures.warn("control", self.note)
            return
        self._keep_spares()
        # Where this user has no home to write to, the bot is reached by its folder.
        with suppress(OSError, RuntimeError):
            self._link = links.add(self._folder, self._bot.name)
        self._thread.start()

    def stop(self) -> None:
        """End listening and remove the socket; a request that is being answered is not waited for."""
        self._ending = True
        if self._listening is None:
            return
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(_JOIN_S)
        with suppress(OSError):
            # Somebody may have put another one there.
            if self._identity() == self._made:
                os.unlink(SOCKET, dir_fd=self._folder_fd)
                if self._link is not None:
                    self._link.unlink()
        self._close()

    def forked(self) -> None:
        """In a forked child: the socket and the connections are the parent's, and the child must not keep them open."""
        self._ending = True
        self._eager.forked()
        for connection in list(self._connections):
            connection.close()
        self._connections.clear()
        self._close()

    def _close(self) -> None:
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        while self._spares:
            os.close(self._spares.pop())
        if self._folder_fd >= 0:
            os.close(self._folder_fd)
            self._folder_fd = -1

    def _keep_spares(self) -> None:
        # A descriptor of what is closed by now would be somebody else's.
        if self._ending:
            return
        with suppress(OSError):
            while len(self._spares) < _SPARES:
                self._spares.append(os.dup(self._folder_fd))

    def _listen(self) -> socket.socket:
        where = address(self._folder, self._folder_fd)
        self._clear(where)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind(where)
            # Before it listens: until then nobody can connect, whatever the umask was.
            os.chmod(SOCKET, 0o600, dir_fd=self._folder_fd)
            self._made = self._identity()
            listening.listen(_BACKLOG)
        except BaseException:
            listening.close()
            raise
        return listening

    def _clear(self, where: str) -> None:
        """Remove what a bot that died left; anything else that stands there stays, and is an error."""
        try:
            found = os.stat(SOCKET, dir_fd=self._folder_fd, follow_symlinks=False)
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(found.st_mode):
            raise OSError(errno.EEXIST, "something that is no socket stands there; move it away")
        if found.st_uid != os.geteuid():
            raise OSError(errno.EPERM, f"one of user {found.st_uid} stands there; that user has to remove it")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.setblocking(False)
            try:
                asking.connect(where)
            except ConnectionRefusedError:
                os.unlink(SOCKET, dir_fd=self._folder_fd)
                return
            except BlockingIOError:
                pass
        raise OSError(errno.EADDRINUSE, "another process listens there")

    def _identity(self) -> tuple[int, int]:
        found = os.stat(SOCKET, dir_fd=self._folder_fd, follow_symlinks=False)
        return found.st_dev, found.st_ino

    def _run(self) -> None:
        # Asked for once and here: where names come over a network, that may take long.
        self._user = _name(os.geteuid())
        listening = self._listening
        while listening is not None and not self._ending:
            try:
                connection, _ = listening.accept()
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    self._serve_by_a_spare(listening)
                elif not self._ending:
                    time.sleep(_PAUSE_S)
                continue
            # Those that somebody else was faster to take.
            self._keep_spares()
            self._connections.add(connection)
            self._silent[connection] = None
            if len(self._silent) > _MOST_SILENT:
                self._send_away()
            with self._eager:
                try:
                    threading.Thread(
                        target=self._serve, args=(connection,), name="tradewatch-control-request", daemon=True
                    ).start()
                except RuntimeError:  # no more threads can be had
                    self._serve(connection)

    def _serve_by_a_spare(self, listening: socket.socket) -> None:
        """Here and now, for one after the other: a thread would leave the descriptor to whoever is next."""
        if not self._spares:
            time.sleep(_PAUSE_S)
        waiting = select.poll()
        with suppress(OSError, ValueError, IndexError):  # closed meanwhile; somebody else was faster; none is left
            waiting.register(listening, select.POLLIN)
            if waiting.poll(_PAUSE_S * 1000):
                os.close(self._spares.pop())
                connection, _ = listening.accept()
                self._connections.add(connection)
                self._serve(connection)
        self._keep_spares()

    def _send_away(self) -> None:
        with suppress(OSError, StopIteration, RuntimeError, KeyError):
            oldest = next(iter(self._silent))
            del self._silent[oldest]
            oldest.shutdown(socket.SHUT_RDWR)

    def _serve(self, connection: socket.socket) -> None:
        # Who asks may go away at any moment: that is no failure of ours.
        with self._eager, failures.kept("control"), suppress(OSError), connection:
            try:
                connection.sendall(self._answered(connection) + b"\n")
            finally:
                self._silent.pop(connection, None)
                self._connections.discard(connection)

    def _answered(self, connection: socket.socket) -> bytes:
        # Read whoever asks: a connection that is closed with something unread loses its answer.
        line = _line(connection)
        self._silent.pop(connection, None)
        connection.settimeout(_WRITE_S)
        _, uid = peer(connection)
        if uid not in (0, os.geteuid()):
            why = f"this bot is user {self._user}'s: user {uid} may not ask it"
            return msgspec.json.encode(failed(self._bot.name, why))
        if not line.endswith(b"\n"):
            return msgspec.json.encode(failed(self._bot.name, "accepted is one line of JSON, 64 KiB at most, in 2 s"))
        return answer(line, "root" if uid == 0 else self._user, self._bot, lambda: _gone(connection))


def _line(connection: socket.socket) -> bytes:
    """What was said up to the end of the line; without one where it is too long or took too long."""
    until = time.monotonic() + _READ_S
    said = b""
    with suppress(TimeoutError):
        while not said.endswith(b"\n") and len(said) <= LONGEST_REQUEST:
            connection.settimeout(max(0.001, until - time.monotonic()))
            more = connection.recv(LONGEST_REQUEST)
            if not more:
                break
            said += more
    return said if len(said) <= LONGEST_REQUEST else b""


def _gone(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return not connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    finally:
        connection.settimeout(_WRITE_S)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
