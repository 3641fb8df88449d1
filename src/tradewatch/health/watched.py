"""Log files and processes that settings name."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from tradewatch.health import proc
from tradewatch.semconv import Reading
from tradewatch.semconv import attributes as a
from tradewatch.semconv import metrics as m

# A pid is looked at again after so many looks, since a process may become another program.
_LOOK_AGAIN = 6
_COMMAND_LENGTH = 15
# A file's time and a process's start are known to that much.
_SLACK_S = 2.0
_PID_BYTES = 64


class LogFiles:
    """Sizes of files; None where a file is not there, is kept from us, or is none (a folder, a pipe).

    Args:
        paths: the files.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.sizes: dict[str, int | None] = dict.fromkeys(paths)

    def look(self) -> Iterator[Reading]:
        """Look at one after the other."""
        for path in self.sizes:
            size = None
            with suppress(OSError):
                found = os.stat(path)
                size = found.st_size if stat.S_ISREG(found.st_mode) else None
            self.sizes[path] = size
            if size is not None:
                yield Reading(m.LOG_FILE_SIZE, size, ((a.FILE_PATH.name, path),))


class _Known(msgspec.Struct, frozen=True):
    """A process by the one thing that tells two with the same pid apart."""

    pid: int
    started_s: float


class _Watched:
    """One entry of the settings: the processes of it that ran at the last look, and the CPU time of all that ever did.

    `up` is None where it cannot be told.
    """

    def __init__(self) -> None:
        self.up: bool | None = None
        self._cpu_s = 0.0
        self._last: dict[_Known, float] = {}

    def saw(self, found: dict[int, proc.Stat]) -> Iterator[Reading]:
        """Those that run now, by pid. A restarted one begins at zero: its time is added to that of the one before."""
        now = {_Known(pid, each.started_s): each.user_s + each.system_s for pid, each in found.items()}
        self._cpu_s += sum(max(0.0, cpu_s - self._last.get(known, cpu_s)) for known, cpu_s in now.items())
        self._last = now
        self.up = bool(found)
        if found:
            yield Reading(m.WATCHED_CPU, self._cpu_s)
            yield Reading(m.WATCHED_MEMORY, sum(each.resident_bytes for each in found.values()))


class WatchedProcesses:
    """Processes by name, as the kernel has it, and by pid file.

    Args:
        names: of programs; one longer than 15 bytes is compared by those, and by the program's first argument.
        pid_files: paths.
        folder: /proc.
    """

    def __init__(self, names: Sequence[str], pid_files: Sequence[str], folder: Path = proc.PROC) -> None:
        self._folder = folder
        self._names = {name: _Watched() for name in names}
        self._files = {path: _Watched() for path in pid_files}
        # Pids whose program is none of ours.
        self._others: set[int] = set()
        self._looks = 0

    @property
    def up(self) -> dict[str, bool | None]:
        """By name or path; None where it cannot be told."""
        return {name: each.up for name, each in (*self._names.items(), *self._files.items())}

    def look(self) -> Iterator[Reading | None]:
        """Look at one process after the other; None between two of them, for whoever wants to breathe."""
        for path, watched in self._files.items():
            try:
                found = self._by_file(path)
            except (OSError, ValueError):
                watched.up = None
            else:
                yield from _told(path, watched, found)
            yield None
        if self._names:
            yield from self._by_name()

    def _by_file(self, path: str) -> dict[int, proc.Stat]:
        """The process that a pid file names; none where the file is gone, or names a process that is over.

        Raises:
            OSError: the file, or /proc, is kept from us.
            ValueError: it holds no pid.
        """
        try:
            with open(path, "rb", buffering=0, opener=_at_once) as file:
                written_s, said = os.fstat(file.fileno()).st_mtime, file.read(_PID_BYTES) or b""
        except FileNotFoundError:
            return {}
        first = said.split(maxsplit=1)[:1]
        if not first or not first[0].isdigit():
            raise ValueError("no pid")
        pid = int(first[0])
        try:
            found = proc.stat(self._folder / str(pid))
        except (FileNotFoundError, ProcessLookupError):
            self._see()
            return {}
        # One that began after its pid was written down is another one, with the same pid.
        is_reused = proc.booted_s(self._folder) + found.started_s > written_s + _SLACK_S
        return {} if is_reused or not found.runs else {pid: found}

    def _see(self) -> None:
        """Whether other users' processes can be seen: where they are hidden, one that is not found may well run.

        Raises:
            OSError: they cannot.
        """
        proc.stat(self._folder / "1")

    def _by_name(self) -> Iterator[Reading | None]:
        try:
            pids = [int(name) for name in os.listdir(self._folder) if name.isdecimal()]
        except OSError:
            for watched in self._names.values():
                watched.up = None
            return
        yield None
        self._looks += 1
        self._others = set() if self._looks % _LOOK_AGAIN == 0 else self._others.intersection(pids)
        found: dict[str, dict[int, proc.Stat]] = {name: {} for name in self._names}
        for pid in pids:
            if pid not in self._others:
                try:
                    each = proc.stat(self._folder / str(pid))
                    names = [name for name in self._names if self._is_called(pid, each.command, name)]
                except (OSError, ValueError):  # it is over by now
                    continue
                if not names:
                    self._others.add(pid)
                elif each.runs:
                    for name in names:
                        found[name][pid] = each
                yield None
        for name, watched in self._names.items():
            try:
                if not found[name]:
                    self._see()
            except OSError:
                watched.up = None
            else:
                yield from _told(name, watched, found[name])

    def _is_called(self, pid: int, command: str, name: str) -> bool:
        if command == name:
            return True
        cut = os.fsencode(name)[:_COMMAND_LENGTH].decode("utf-8", "replace")
        if len(os.fsencode(name)) <= _COMMAND_LENGTH or command != cut:
            return False
        first = proc.text(self._folder / str(pid) / "cmdline").partition("\0")[0]
        return os.path.basename(first) == name


def _at_once(path: str, flags: int) -> int:
    """A pipe in the place of a file would keep every job of the service thread waiting for who writes into it."""
    return os.open(path, flags | os.O_NONBLOCK)


def _told(name: str, watched: _Watched, found: dict[int, proc.Stat]) -> Iterator[Reading]:
    of = ((a.PROCESS.name, name),)
    for reading in watched.saw(found):
        yield msgspec.structs.replace(reading, attributes=of)
    yield Reading(m.PROCESS_UP, int(bool(found)), of)
