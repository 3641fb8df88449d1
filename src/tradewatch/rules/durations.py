"""Durations as Prometheus writes them: `1h30m`, `90s`, `0`."""

from __future__ import annotations

import re

_UNITS_MS = {
    "y": 365 * 86_400_000,
    "w": 7 * 86_400_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1000,
    "ms": 1,
}
_SHAPE = re.compile(
    r"(?:([0-9]+)y)?(?:([0-9]+)w)?(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?(?:([0-9]+)ms)?\Z"
)
# Prometheus counts nanoseconds in 63 bits, about 292 years.
_LONGEST_MS = (2**63 - 1) // 1_000_000
ACCEPTED = "a duration such as 30s, 5m or 1h30m (units y w d h m s ms, largest first)"


def seconds(text: str) -> float:
    """A duration in seconds.

    Raises:
        ValueError: not a duration, or longer than Prometheus can hold.
    """
    if text == "0":
        return 0.0
    match = _SHAPE.match(text) if 0 < len(text) <= 100 else None
    if match is None:
        raise ValueError(f"{text!r}, which is no duration")
    total_ms = sum(int(n or 0) * ms for n, ms in zip(match.groups(), _UNITS_MS.values(), strict=True))
    if total_ms > _LONGEST_MS:
        raise ValueError(f"{text!r}, which is too long")
    return total_ms / 1000
