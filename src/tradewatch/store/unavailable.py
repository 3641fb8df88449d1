"""Why the store cannot be used, in words that say what to do."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

# What SQLite says where the file cannot be reached now; anything else it says of a file that is not what it wrote
# (a changed header alone gives five different errors).
_OUT_OF_REACH = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOLFS,
        sqlite3.SQLITE_AUTH,
    }
)
_REMEDIES = {
    errno.ENOSPC: "Free space on that disk, or raise its quota.",
    errno.EDQUOT: "Free space on that disk, or raise its quota.",
    errno.EFBIG: "Raise the process's file size limit (ulimit -f), or free space.",
    errno.EROFS: "Mount the disk writable, or set another state folder.",
    errno.EACCES: "Give the bot's user the right to write there, or set another state folder.",
    errno.EPERM: "Give the bot's user the right to write there, or set another state folder.",
    errno.ENOTDIR: "A file stands where a folder must be: move it, or set another state folder.",
    errno.EEXIST: "A file stands where a folder must be: move it, or set another state folder.",
    errno.EISDIR: "A folder stands where the file must be: move it, or set another state folder.",
    errno.EMFILE: "Raise the process's limit of open files (ulimit -n).",
}
_ELSEWHERE = "Look at the disk, or set another state folder."


class StoreUnavailable(Exception):  # noqa: N818 - it names a state, as its reader will
    """What must survive cannot be written or read now.

    Attributes:
        path: the file or folder it is about.
        reason: what is wrong, without the path.
        remedy: what a person can do about it.
        holds_state: a stored state may be there that could not be read; False where nothing was ever stored.
    """

    def __init__(self, path: Path, reason: str, remedy: str, *, holds_state: bool = True) -> None:
        super().__init__(f"the store at {path} cannot be used: {reason}. {remedy}")
        self.path = path
        self.reason = reason
        self.remedy = remedy
        self.holds_state = holds_state


class StoreInUse(StoreUnavailable):
    """Another process, or another part of this one, has the folder open.

    Attributes:
        pid: the process that has it, None where it has not yet said.
    """

    def __init__(self, path: Path, pid: int | None) -> None:
        who = "another process" if pid is None else "this process" if pid == os.getpid() else f"process {pid}"
        super().__init__(
            path,
            f"{who} has it open, and one process at a time may write there",
            f"If that is another bot, give this one a name of its own; if it is an old run, stop {who} first.",
        )
        self.pid = pid


def from_os_error(path: Path, error: OSError, *, holds_state: bool = True) -> StoreUnavailable:
    """An operating system's error, with what to do about it."""
    remedy = _REMEDIES.get(error.errno or 0, _ELSEWHERE)
    return StoreUnavailable(path, (error.strerror or type(error).__name__).lower(), remedy, holds_state=holds_state)


def is_damage(error: sqlite3.Error) -> bool:
    """True where SQLite says that the file's content is wrong, rather than that it cannot be reached now."""
    code = getattr(error, "sqlite_errorcode", None)
    # Without a code the error is the module's own: a text that is no UTF-8, a value too large; the file holds garbage.
    return code is None or code & 0xFF not in _OUT_OF_REACH or code == sqlite3.SQLITE_IOERR_SHORT_READ


def from_sqlite_error(path: Path, error: sqlite3.Error, *, holds_state: bool = True) -> StoreUnavailable:
    """SQLite's error, with what to do about it."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    if is_damage(error):
        remedy = "Restart the bot: at the start the file is moved aside, kept, and a new one begun."
        return StoreUnavailable(path, f"the file is damaged ({error})", remedy)
    if primary == sqlite3.SQLITE_FULL:
        reason, remedy = "the disk is full", _REMEDIES[errno.ENOSPC]
    elif primary == sqlite3.SQLITE_READONLY:
        reason, remedy = "it is read-only", _REMEDIES[errno.EACCES]
    elif primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        reason, remedy = "another program holds it locked", "Close the program that has the file open."
    else:
        reason, remedy = str(error), _ELSEWHERE
    return StoreUnavailable(path, reason, remedy, holds_state=holds_state)
