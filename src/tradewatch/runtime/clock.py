"""Clocks: the system's, and one that runs faster from a chosen start.

Both satisfy `tradewatch.model.clock.Clock`. Waiting is always real: a part that waits on an event or a socket asks the
clock for `real_seconds` and hands that to the wait.
"""

from __future__ import annotations

import time

# Two readings further apart than this were not taken in one go.
_AT_ONCE_NS = 2_000


def epoch_offset_ns() -> int:
    """What leads from `time.monotonic_ns` to the epoch, at this moment.

    Of a few pairs of readings the closest one: a thread that waits between the two for its turn (5 ms where the
    interpreter is shared) would place what it dates that much too early, before the span that it is a part of.
    """
    closest = offset_ns = 0
    for n in range(5):
        before_ns, now_ns, after_ns = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        apart_ns = after_ns - before_ns
        if not n or apart_ns < closest:
            closest, offset_ns = apart_ns, now_ns - (before_ns + after_ns) // 2
        if closest < _AT_ONCE_NS:
            break
    return offset_ns


class SystemClock:
    """The machine's own time."""

    def now_ns(self) -> int:
        """Nanoseconds since the Unix epoch."""
        return time.time_ns()

    def mono_ns(self) -> int:
        """Nanoseconds of the monotonic clock."""
        return time.monotonic_ns()

    def real_seconds(self, seconds: float) -> float:
        """The same number: a second here is a second."""
        return seconds


class ScaledClock:
    """Simulated time that runs `speed` times as fast as the machine's.

    Two processes that are given the same three numbers read the same simulated time, which is how a paper exchange
    and the program under rehearsal share one clock.

    Args:
        start_ns: simulated time, epoch nanoseconds, at the real instant `origin_ns`.
        speed: simulated seconds in a real second, above zero.
        origin_ns: the real instant, epoch nanoseconds, at which the simulation began.

    Raises:
        ValueError: `speed` is not above zero.
    """

    def __init__(self, start_ns: int, speed: float, origin_ns: int) -> None:
        if not speed > 0:
            raise ValueError(f"speed must be above 0, not {speed!r}")
        self.start_ns = start_ns
        self.speed = speed
        self.origin_ns = origin_ns
        # Read the wall clock once: a later step of it must not make simulated time jump.
        self._mono_at_origin = time.monotonic_ns() - (time.time_ns() - origin_ns)

    def now_ns(self) -> int:
        """Simulated nanoseconds since the Unix epoch."""
        return self.start_ns + self.mono_ns()

    def mono_ns(self) -> int:
        """Simulated nanoseconds since the simulation began."""
        return int((time.monotonic_ns() - self._mono_at_origin) * self.speed)

    def real_seconds(self, seconds: float) -> float:
        """Real seconds in `seconds` of simulated time."""
        return seconds / self.speed
