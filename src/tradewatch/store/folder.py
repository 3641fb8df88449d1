"""The folder on disk: where it is, who may read it, which process has it, and what happens to a damaged file."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from urllib.parse import quote

from tradewatch.runtime.places import state_base
from tradewatch.store.unavailable import StoreInUse, StoreUnavailable, from_os_error

_FOLDER_MODE = 0o700
_FILE_MODE = 0o600
# SQLite's companions of a file: the write-ahead log, its index, the rollback journal.
COMPANIONS = ("-wal", "-shm", "-journal")


def state_folder(bot: str) -> Path:
    """Where a bot's state is unless set, a folder of its own under `state_base()`.

    What a file name cannot hold is percent-encoded, so two names never share a folder.

    Raises:
        StoreUnavailable: there is no home folder.
    """
    name = quote(bot, safe=" ") if bot.strip(".") else bot.replace(".", "%2E") or "%"
    try:
        return state_base() / name
    except RuntimeError as error:
        raise StoreUnavailable(
            Path("~"), "this user has no home folder", "Set HOME, or set a state folder.", holds_state=False
        ) from error


def make_folder(folder: Path) -> None:
    """Create the folder and those above it for the owner alone; one that is already there is left as it is.

    Raises:
        OSError: it cannot be created.
    """
    if folder.is_dir():
        return
    if not folder.parent.is_dir():
        make_folder(folder.parent)
    try:
        # A umask only takes bits away, so the folder is never wider than this; chmod gives back what was taken.
        folder.mkdir(mode=_FOLDER_MODE)
    except FileExistsError:
        if not folder.is_dir():
            raise
        return
    folder.chmod(_FOLDER_MODE)
    sync_folder(folder.parent)


def make_file(path: Path) -> None:
    """Create an empty file that only its owner can read. SQLite gives its companions the same mode.

    Raises:
        OSError: it cannot be created, or is there already.
    """
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, _FILE_MODE)
    try:
        os.fchmod(fd, _FILE_MODE)
    finally:
        os.close(fd)


def narrow(path: Path) -> None:
    """Take away what others may do with a file of ours, a copy restored from a backup for one."""
    if path.stat().st_mode & 0o077:
        path.chmod(_FILE_MODE)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a file that is synced under a name that is not can still be lost."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def move_aside(path: Path, now_ns: int) -> Path:
    """Rename a damaged file and its companions to names with the time, which SQLite's tools can still open together.

    Returns:
        The new name of the file itself.

    Raises:
        OSError: it cannot be renamed.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_ns // 10**9))
    stem = f"{path.stem}.damaged-{stamp}"
    target = path.with_name(f"{stem}{path.suffix}")
    number = 1
    while any(target.with_name(target.name + end).exists() for end in ("", *COMPANIONS)):
        number += 1
        target = path.with_name(f"{stem}-{number}{path.suffix}")
    # The companions first: a kill in between leaves the file itself in place, still damaged, still found.
    for end in (*COMPANIONS, ""):
        source = path.with_name(path.name + end)
        if source.exists():
            source.rename(target.with_name(target.name + end))
    sync_folder(path.parent)
    return target


def moved_aside(path: Path) -> list[Path]:
    """The damaged files that earlier starts moved aside, oldest first."""
    return sorted(path.parent.glob(f"{path.stem}.damaged-*"))


class FolderLock:
    """One process a folder, by `flock` on a file that names the holder.

    flock, unlike POSIX record locks, also keeps out a second store in the same process. The kernel lets go of it when
    the process ends, however it ends; the file itself stays, since removing it would let two processes lock two files.
    """

    def __init__(self, folder: Path) -> None:
        """Take the folder.

        Raises:
            StoreInUse: somebody has it.
            OSError: the lock file cannot be written.
        """
        path = folder / "lock"
        self._fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, _FILE_MODE)
        try:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                text = os.pread(self._fd, 32, 0).strip()
                raise StoreInUse(folder, int(text) if text.isdigit() else None) from None
            os.fchmod(self._fd, _FILE_MODE)
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        except BaseException:
            os.close(self._fd)
            raise

    def release(self) -> None:
        """Let go of the folder. In a forked child this drops the child's copy only: the parent keeps the lock."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def unavailable(folder: Path, error: OSError, *, holds_state: bool) -> StoreUnavailable:
    """An operating system's error about the folder or, where the error names one, a path in it."""
    return from_os_error(Path(error.filename) if error.filename else folder, error, holds_state=holds_state)
