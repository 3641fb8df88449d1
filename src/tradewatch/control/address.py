"""Where the control socket of a state folder is, and who is at its other end."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

SOCKET = "tradewatch.sock"
# Of sockaddr_un.sun_path, unix(7), less the byte that ends it.
_LONGEST_PATH = 107
_CREDENTIALS = struct.Struct("3i")


def address(folder: Path, folder_fd: int) -> str:
    """Where the socket of a folder is bound and connected to.

    A path that is too long for a socket goes by the folder's open descriptor, `/proc/self/fd/N/tradewatch.sock`.
    """
    path = str(folder / SOCKET)
    return path if len(os.fsencode(path)) <= _LONGEST_PATH else f"/proc/self/fd/{folder_fd}/{SOCKET}"


def open_folder(folder: Path) -> int:
    """A descriptor of a folder.

    Raises:
        OSError: it is none, or may not be looked into.
    """
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def peer(connection: socket.socket) -> tuple[int, int]:
    """Process and user at the other end, as the kernel noted them at the connect (SO_PEERCRED)."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(credentials)
    return pid, uid
