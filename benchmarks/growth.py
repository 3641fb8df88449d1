"""Whether something grows: a line through the medians of equal stretches of time, so that no single reading decides."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path


def resident_mb() -> float:
    """What of this process is in memory."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise OSError("no VmRSS: this runs on Linux")


def medians(values: Sequence[float], stretches: int) -> list[float]:
    """The median of each of so many equal stretches; readings that do not fill one are left out at the front."""
    each = len(values) // stretches
    if not each:
        raise ValueError(f"{len(values)} readings do not fill {stretches} stretches")
    begins = range(len(values) - each * stretches, len(values), each)
    return [statistics.median(values[at : at + each]) for at in begins]


def rise(levels: Sequence[float]) -> float:
    """How much the least-squares line through equally distant levels rises over all of them, in their unit."""
    return statistics.linear_regression(range(len(levels)), levels).slope * len(levels)
