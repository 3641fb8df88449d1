"""Functions over the samples of one series in a range."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from tradewatch.promql.aggregate import largest, smallest
from tradewatch.promql.arithmetic import kahan_sum, mean


class Window(NamedTuple):
    """At least one sample of a series with `start_ms < time <= end_ms`; `range_s` is the range as it was written."""

    times: Sequence[int]
    values: Sequence[float]
    start_ms: int
    end_ms: int
    range_s: float


def extrapolated(window: Window, *, counter: bool, per_second: bool) -> float | None:
    """Prometheus's `rate`, `increase` and `delta` (`extrapolatedRate`); None with fewer than two samples.

    The difference between last and first sample, plus what was lost at each reset of a counter, is extended to the ends
    of the range: fully where a sample is nearer than 1.1 times their average distance, else by half of that distance.
    A counter is not extended below zero.
    """
    times, values = window.times, window.values
    if len(times) < 2:
        return None
    lost = [before for before, after in pairwise(values) if after < before] if counter else ()
    edges = Edges.of(times, window, per_second=per_second)
    return edges.extended(values[0], values[-1], lost, counter=counter)


class Edges(NamedTuple):
    """How far a difference between two samples is extended, in seconds; the same for all series of a block."""

    sampled: float
    to_start: float
    to_end: float
    divisor: float

    @classmethod
    def of(cls, times: Sequence[int], window: Window, *, per_second: bool) -> Edges:
        """For at least two samples at these times."""
        to_start = (times[0] - window.start_ms) / 1000
        to_end = (window.end_ms - times[-1]) / 1000
        sampled = (times[-1] - times[0]) / 1000
        average = sampled / (len(times) - 1)
        threshold = average * 1.1
        return cls(
            sampled,
            average / 2 if to_start >= threshold else to_start,
            average / 2 if to_end >= threshold else to_end,
            window.range_s if per_second else 1.0,
        )

    def extended(self, first: float, last: float, lost: Iterable[float], *, counter: bool) -> float:
        """The increase over the whole range, or the rate."""
        sampled, to_start, to_end, divisor = self
        result = last - first
        for value in lost:
            result += value
        if counter and result > 0 and first >= 0:
            to_zero = sampled * (first / result)
            to_start = min(to_zero, to_start)
        factor = (sampled + to_start + to_end) / sampled
        return result * (factor / divisor)


def _sum_over_time(window: Window) -> float:
    total, compensation = kahan_sum(window.values)
    return total if math.isinf(total) else total + compensation


RANGE_FUNCTIONS: dict[str, Callable[[Window], float]] = {
    "avg_over_time": lambda window: mean(window.values),
    "sum_over_time": _sum_over_time,
    "min_over_time": lambda window: smallest(window.values),
    "max_over_time": lambda window: largest(window.values),
    "count_over_time": lambda window: float(len(window.values)),
    "last_over_time": lambda window: window.values[-1],
    "first_over_time": lambda window: window.values[0],
    "present_over_time": lambda window: 1.0,
    "changes": lambda window: float(sum(_differ(before, after) for before, after in pairwise(window.values))),
    "resets": lambda window: float(sum(after < before for before, after in pairwise(window.values))),
}

# Whether they count resets, and whether they divide by the range.
EXTRAPOLATED = {"rate": (True, True), "increase": (True, False), "delta": (False, False)}

# They pick a sample rather than make a new one, so the metric name stays.
KEEPS_NAME = frozenset({"last_over_time", "first_over_time"})


def _differ(before: float, after: float) -> bool:
    return after != before and not (math.isnan(after) and math.isnan(before))
