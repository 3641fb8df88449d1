"""Linux's /proc as values. Where there is none, or a file of it may not be read, OSError says so.

Formats: https://docs.kernel.org/filesystems/proc.html and proc(5).
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

PROC = Path("/proc")
TICKS_S = 1 / os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_KIB = 1024


class Stat(msgspec.Struct, frozen=True):
    """Of /proc/<pid>/stat: command (15 bytes at most), state, CPU time, threads, start since boot, memory in RAM."""

    command: str
    state: str
    user_s: float
    system_s: float
    threads: int
    started_s: float
    resident_bytes: int

    @property
    def runs(self) -> bool:
        """Whether it is more than an entry that its parent has yet to read (Z), or one that goes (X)."""
        return self.state not in "ZXx"


def text(path: Path | str) -> str:
    """A file's text.

    Raises:
        OSError: it cannot be read; of a process, it may be over.
    """
    with open(path, "rb", buffering=0) as file:
        return file.read().decode("utf-8", "replace")


def stat(process: Path) -> Stat:
    """Of a process's folder in /proc.

    Raises:
        OSError: there is no such process, or it is kept from us.
        ValueError: it has another format.
    """
    # The command is in parentheses and may hold any character, parentheses too.
    head, _, tail = text(process / "stat").rpartition(")")
    fields = tail.split()
    if len(fields) < 22:
        raise ValueError(f"{len(fields)} fields in a stat file")
    return Stat(
        head.partition("(")[2],
        fields[0],
        int(fields[11]) * TICKS_S,
        int(fields[12]) * TICKS_S,
        int(fields[17]),
        int(fields[19]) * TICKS_S,
        int(fields[21]) * PAGE_BYTES,
    )


def uptime_s(proc: Path) -> float:
    """Seconds since the host was started."""
    return float(text(proc / "uptime").split()[0])


def booted_s(proc: Path) -> float:
    """When the host was started, in seconds of the epoch, as its wall clock has it now."""
    for line in text(proc / "stat").splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    raise ValueError("no btime in /proc/stat")


def cpu_s(proc: Path) -> dict[str, float]:
    """Time of all CPUs together, by OpenTelemetry's `cpu.mode`."""
    with open(proc / "stat", "rb") as file:
        name, *ticks = file.readline().split()
    if name != b"cpu" or len(ticks) < 8:
        raise ValueError("no CPU times in /proc/stat")
    user, nice, system, idle, iowait, irq, softirq, steal = (int(each) * TICKS_S for each in ticks[:8])
    return {
        "user": user,
        "nice": nice,
        "system": system,
        "idle": idle,
        "iowait": iowait,
        "interrupt": irq + softirq,
        "steal": steal,
    }


class Memory(msgspec.Struct, frozen=True):
    """Bytes; the four of `states` together are `total`. `available` is None with kernels that do not tell."""

    total: int
    available: int | None
    states: dict[str, int]


def memory(proc: Path) -> Memory:
    """Memory of the host."""
    found: dict[str, int] = {}
    for line in text(proc / "meminfo").splitlines():
        name, _, value = line.partition(":")
        found[name] = int(value.split()[0]) * _KIB
    try:
        total, free, buffers = found["MemTotal"], found["MemFree"], found["Buffers"]
        cached = found["Cached"] + found.get("SReclaimable", 0)
    except KeyError as name:
        raise ValueError(f"no {name} in /proc/meminfo") from None
    states = {"used": total - free - buffers - cached, "free": free, "buffers": buffers, "cached": cached}
    return Memory(total, found.get("MemAvailable"), states)


def disks(proc: Path, blocks: Path) -> dict[str, tuple[int, int]]:
    """Bytes read and written by disk; partitions are part of their disk, and what has no medium is left out.

    Args:
        proc: the folder.
        blocks: /sys/block, which has the disks without their partitions.
    """
    whole = set(os.listdir(blocks))
    found = {}
    for line in text(proc / "diskstats").splitlines():
        fields = line.split()
        name = fields[2]
        if name in whole and not name.startswith(("loop", "ram", "zram")):
            # Sectors here are of 512 bytes, whatever the disk's are.
            found[name] = int(fields[5]) * 512, int(fields[9]) * 512
    return found


class Traffic(msgspec.Struct, frozen=True):
    """Of a network interface: bytes and errors, received and sent."""

    received: int
    received_errors: int
    sent: int
    sent_errors: int


def network(proc: Path) -> dict[str, Traffic]:
    """By interface, loopback left out; those that this process can see."""
    found = {}
    for line in text(proc / "self" / "net" / "dev").splitlines()[2:]:
        name, _, counts = line.partition(":")
        fields = counts.split()
        if (name := name.strip()) != "lo":
            found[name] = Traffic(int(fields[0]), int(fields[2]), int(fields[8]), int(fields[10]))
    return found


def io_bytes(process: Path) -> tuple[int, int]:
    """Bytes that a process read from disks and wrote to them."""
    found = dict(line.split(": ") for line in text(process / "io").splitlines())
    try:
        return int(found["read_bytes"]), int(found["write_bytes"])
    except KeyError as name:
        raise ValueError(f"no {name} in an io file") from None
