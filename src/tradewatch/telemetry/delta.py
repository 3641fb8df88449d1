"""What came to a cell since it was folded last: counts by bucket, sum, extremes, and candidates for exemplars."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Mapping

import msgspec
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext

from tradewatch.semconv.metrics import DURATION_BOUNDS_S
from tradewatch.telemetry.cell import BOUNDS_NS, Cell
from tradewatch.telemetry.otel import SPAN_KEY

# Candidates for exemplars that are kept of a bucket between two folds; a reservoir of the SDK holds 20 at most.
_CANDIDATES = 32


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """A duration that may become an exemplar; `n` counts them in the order that they came.

    `around` is the context that the call was made in, `span` its own, if it has one.
    """

    n: int
    value: float
    at_ns: int
    around: Context
    span: SpanContext | None = None

    @property
    def context(self) -> Context:
        """The context within the call. Made of the few that are offered."""
        return within(self.around, self.span)


def within(around: Context, span: SpanContext | None) -> Context:
    """A context in which a span is the current one, which stands for itself by its identity."""
    return around if span is None else Context({**around, SPAN_KEY: NonRecordingSpan(span)})


class Source:
    """A cell, what of it was folded, and what is to be offered as exemplars."""

    __slots__ = ("attributes", "candidates", "cell", "counts", "sum_ns")

    def __init__(self, cell: Cell, attributes: Mapping[str, str | int]) -> None:
        self.cell = cell
        self.attributes = attributes
        self.counts = [0] * len(cell.counts)
        self.sum_ns = 0
        self.candidates: dict[int, deque[Candidate]] = {}

    @property
    def behind(self) -> bool:
        """Whether there is anything to fold."""
        cell = self.cell
        return bool(self.counts != cell.counts or self.sum_ns != cell.sum_ns[0] or cell.waiting)

    def offer(self, candidate: Candidate) -> None:
        """Keep a candidate, and the last few of each bucket."""
        bucket = bisect_left(DURATION_BOUNDS_S, candidate.value)
        kept = self.candidates.get(bucket)
        if kept is None:
            kept = self.candidates[bucket] = deque(maxlen=_CANDIDATES)
        kept.append(candidate)


class Added:
    """What came to a cell since the last fold; from then on it counts as folded.

    `counts` by bucket where there are any, `values` the durations that were seen, `low` and `high` None without either.
    """

    __slots__ = ("counts", "high", "low", "sum_ns", "values")

    def __init__(self, source: Source, values: list[int]) -> None:
        cell = source.cell
        self.values = values
        self.low: int | None = None
        self.high: int | None = None
        if len(values) == 1 and cell.sum_ns[0] - source.sum_ns == values[0]:
            # The one call that came, as with most bots most of the time: no need to compare all buckets.
            self.low = self.high = self.sum_ns = values[0]
            i = bisect_left(BOUNDS_NS, self.sum_ns)
            self.counts = {i: 1}
            source.counts[i] += 1
            source.sum_ns += self.sum_ns
            return
        counts, sum_ns = cell.counts.copy(), cell.sum_ns[0]
        self.counts = {i: n - m for i, (n, m) in enumerate(zip(counts, source.counts, strict=True)) if n != m}
        self.sum_ns = sum_ns - source.sum_ns
        source.counts, source.sum_ns = counts, sum_ns
        if values:
            self.low, self.high = min(values), max(values)
        elif self.counts:
            # Calls that the safety thread has not seen yet, or whose records were lost: about so long.
            first, last = min(self.counts), max(self.counts)
            mean = max(self.sum_ns // sum(self.counts.values()), BOUNDS_NS[first - 1] + 1 if first else 0)
            self.low = self.high = mean if last == len(BOUNDS_NS) else min(mean, BOUNDS_NS[last])


def _ceiling(bucket: int) -> int:
    return BOUNDS_NS[bucket] if bucket < len(BOUNDS_NS) else BOUNDS_NS[-1] + 1


def first_of(counts: Mapping[int, int], sum_ns: int, values: Iterable[int]) -> tuple[int, int]:
    """A bucket with a count, and a duration in it: one that was seen, if there is one."""
    for value in values:
        i = bisect_left(BOUNDS_NS, value)
        if i in counts:
            return i, value
    i, n = next(iter(counts.items()))
    alone = len(counts) == n == 1 and bisect_left(BOUNDS_NS, sum_ns) == i
    return i, sum_ns if alone else _ceiling(i)
