"""The machine that the bot runs on, as its process sees it: in a container the host's CPUs, its own network."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path

from tradewatch.health import proc
from tradewatch.semconv import Reading
from tradewatch.semconv import attributes as a
from tradewatch.semconv import metrics as m

BLOCKS = Path("/sys/block")


def cpu(folder: Path) -> Iterator[Reading]:
    """Time by mode; `folder` is /proc."""
    for mode, seconds in proc.cpu_s(folder).items():
        yield Reading(m.SYSTEM_CPU, seconds, ((a.CPU_MODE.name, mode),))


def load() -> Iterator[Reading]:
    """Load averages and how many CPUs there are for it; told on every Unix."""
    averages = (m.SYSTEM_LOAD_1M, m.SYSTEM_LOAD_5M, m.SYSTEM_LOAD_15M)
    for metric, value in zip(averages, os.getloadavg(), strict=True):
        yield Reading(metric, value)
    if (cpus := os.cpu_count()) is not None:
        yield Reading(m.SYSTEM_CPUS, cpus)


def memory(folder: Path) -> Iterator[Reading]:
    """Memory by state, all of it, and what can still be had."""
    found = proc.memory(folder)
    for state, size in found.states.items():
        yield Reading(m.SYSTEM_MEMORY, size, ((a.MEMORY_STATE.name, state),))
    yield Reading(m.SYSTEM_MEMORY_LIMIT, found.total)
    if found.available is not None:
        yield Reading(m.SYSTEM_MEMORY_AVAILABLE, found.available)


def disks(folder: Path, blocks: Path) -> Iterator[Reading]:
    """Traffic of each disk."""
    for name, (read, written) in proc.disks(folder, blocks).items():
        device = (a.DEVICE.name, name)
        yield Reading(m.SYSTEM_DISK, read, ((a.DISK_DIRECTION.name, "read"), device))
        yield Reading(m.SYSTEM_DISK, written, ((a.DISK_DIRECTION.name, "write"), device))


def network(folder: Path) -> Iterator[Reading]:
    """Traffic and errors of each interface."""
    for name, found in proc.network(folder).items():
        interface = (a.INTERFACE.name, name)
        for direction, size, errors in (
            ("receive", found.received, found.received_errors),
            ("transmit", found.sent, found.sent_errors),
        ):
            of = (interface, (a.NETWORK_DIRECTION.name, direction))
            yield Reading(m.SYSTEM_NETWORK, size, of)
            yield Reading(m.SYSTEM_NETWORK_ERRORS, errors, of)


def uptime(folder: Path) -> Iterator[Reading]:
    """Since the start."""
    yield Reading(m.SYSTEM_UPTIME, proc.uptime_s(folder))


class FileSystems:
    """The file systems that hold some folders, each once.

    Args:
        folders: those of the bot; one that is not there counts as the nearest one above it.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = tuple(folders)
        self._devices: tuple[int | None, ...] = ()
        self._points: tuple[str, ...] = ()

    def room(self) -> Iterator[Reading]:
        """Used, free and reserved bytes, and the size, by mount point; of one that cannot be read nothing."""
        # To look for them takes as long as all the rest: only where something was mounted, or is so no more.
        if (devices := tuple(map(_device, self._folders))) != self._devices:
            self._devices = devices
            self._points = tuple(dict.fromkeys(_mountpoints(self._folders)))
        for point in self._points:
            try:
                found = os.statvfs(point)
            except OSError:
                continue
            of, unit = (a.MOUNTPOINT.name, point), found.f_frsize
            used, reserved = found.f_blocks - found.f_bfree, found.f_bfree - found.f_bavail
            for state, blocks in (("used", used), ("free", found.f_bavail), ("reserved", reserved)):
                yield Reading(m.SYSTEM_FILESYSTEM, blocks * unit, (of, (a.FILESYSTEM_STATE.name, state)))
            yield Reading(m.SYSTEM_FILESYSTEM_LIMIT, found.f_blocks * unit, (of,))


def _device(folder: Path) -> int | None:
    for each in chain([folder], folder.parents):
        with suppress(OSError):
            return os.stat(each).st_dev
    return None


def _mountpoints(folders: Iterable[Path]) -> Iterator[str]:
    for folder in folders:
        with suppress(OSError):  # of the working directory, it may have been removed
            point = os.path.realpath(folder)
            while not os.path.ismount(point):
                point = os.path.dirname(point)
            yield point
