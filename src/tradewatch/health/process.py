"""The bot's own process."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from tradewatch.health import proc
from tradewatch.semconv import Reading
from tradewatch.semconv import attributes as a
from tradewatch.semconv import metrics as m


def cpu() -> Iterator[Reading]:
    """What it has used; told on every Unix."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    yield Reading(m.PROCESS_CPU, used.ru_utime, ((a.CPU_MODE.name, "user"),))
    yield Reading(m.PROCESS_CPU, used.ru_stime, ((a.CPU_MODE.name, "system"),))


def memory(folder: Path) -> Iterator[Reading]:
    """In RAM and mapped; `folder` is /proc."""
    mapped, resident, *_ = proc.text(folder / "self" / "statm").split()
    yield Reading(m.PROCESS_MEMORY, int(resident) * proc.PAGE_BYTES)
    yield Reading(m.PROCESS_VIRTUAL, int(mapped) * proc.PAGE_BYTES)


def life(folder: Path) -> Iterator[Reading]:
    """Threads and age."""
    found = proc.stat(folder / "self")
    yield Reading(m.PROCESS_THREADS, found.threads)
    yield Reading(m.PROCESS_UPTIME, max(0.0, proc.uptime_s(folder) - found.started_s))


def files(folder: Path) -> Iterator[Reading]:
    """Open files; the one that it takes to look is left out."""
    yield Reading(m.PROCESS_FILES, len(os.listdir(folder / "self" / "fd")) - 1)


def disk(folder: Path) -> Iterator[Reading]:
    """Bytes to and from disks."""
    read, written = proc.io_bytes(folder / "self")
    yield Reading(m.PROCESS_DISK, read, ((a.DISK_DIRECTION.name, "read"),))
    yield Reading(m.PROCESS_DISK, written, ((a.DISK_DIRECTION.name, "write"),))
