"""How far a venue's clock is off, from the times that its answers tell and the moments of asking and answering."""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

_S = 10**9
# How long readings of a clock are put together: clocks drift apart by 50 ppm, 30 ms in that time.
KEPT_NS = 600 * _S
# Where an answer is longer, what is wanted is at its beginning or its end.
_BEGINNING, _END = 4096, 200
# Whose answers are known to tell a time.
_VENUES = ("binance", "kraken", "bybit", "okx", "myokx")
_TIME = re.compile(r'"(?:serverTime|unixtime|ts|time)"\s*:\s*"?(\d{10}|\d{13})\b')
_TOLD_TIME = {"bybit": re.compile(r'"time"\s*:\s*(\d{13})\s*\}\s*$'), "okx": re.compile(r'"outTime"\s*:\s*"(\d{16})"')}


class ClockOffset(msgspec.Struct, frozen=True):
    """The venue's clock less this machine's lies between `low_ns` and `high_ns`; begun and last seen, monotonic."""

    low_ns: int
    high_ns: int
    begun_ns: int
    seen_ns: int

    @property
    def offset_s(self) -> float:
        """The middle of what is possible: positive where the venue's clock is ahead."""
        return (self.low_ns + self.high_ns) / 2 / _S

    @property
    def uncertainty_s(self) -> float:
        """How far the truth may be from the middle, either way."""
        return (self.high_ns - self.low_ns) / 2 / _S


def bounded(told: tuple[int, int], asked_ns: int, answered_ns: int, now_ns: int) -> ClockOffset:
    """What one answer tells of the venue's clock.

    It read something from `told`'s time to less than its resolution more, at some moment between our `asked_ns` and
    `answered_ns` (epoch). The middle is that of SNTP (RFC 4330): half of the round trip on either side.
    """
    venue_ns, resolution_ns = told
    return ClockOffset(venue_ns - answered_ns, venue_ns + resolution_ns - asked_ns, now_ns, now_ns)


def narrowed(known: ClockOffset | None, new: ClockOffset) -> ClockOffset:
    """What two answers tell together: what both allow. Begins anew where a clock was set, and in time, as clocks drift.

    So seconds that a `Date` header tells come down to a fraction, as answers come before and after its second turns.
    """
    if known is None or new.seen_ns - known.begun_ns > KEPT_NS:
        return new
    low, high = max(known.low_ns, new.low_ns), min(known.high_ns, new.high_ns)
    return new if low > high else ClockOffset(low, high, known.begun_ns, new.seen_ns)


@lru_cache(maxsize=1_024)
def tells_time(venue: str, path: str) -> bool:
    """Whether answers from there may tell the time."""
    return venue.startswith(_VENUES) and (path.lower().endswith("/time") or venue.startswith(("bybit", "okx", "myokx")))


def time_told(venue: str, path: str, body: str) -> tuple[int, int] | None:
    """The time that an answer of the API tells, epoch nanoseconds, and its resolution."""
    if not venue.startswith(_VENUES):
        return None
    found = None
    if path.lower().endswith("/time"):
        found = _TIME.search(body, 0, _BEGINNING)
    else:
        told = _TOLD_TIME.get("okx" if "okx" in venue else "bybit" if venue.startswith("bybit") else venue)
        if told is not None:
            found = told.search(body, max(0, len(body) - _END))
    if found is None:
        return None
    resolution_ns = 10 ** (19 - len(found[1]))
    return int(found[1]) * resolution_ns, resolution_ns


_midnight: tuple[str, int] = ("", 0)


def date_ns(value: str) -> int | None:
    """An HTTP date (RFC 9110, 5.6.7) in epoch nanoseconds; the day of the last one is remembered."""
    global _midnight  # noqa: PLW0603
    try:
        day, at = value[:16], value[17:25]
        known, midnight_s = _midnight
        if day != known:
            from email.utils import parsedate_to_datetime  # loaded by few bots before

            midnight_s = int(parsedate_to_datetime(f"{day} 00:00:00 GMT").timestamp())
            _midnight = day, midnight_s
        return (midnight_s + int(at[:2]) * 3600 + int(at[3:5]) * 60 + int(at[6:8])) * _S
    except (ValueError, TypeError, IndexError):
        return None
