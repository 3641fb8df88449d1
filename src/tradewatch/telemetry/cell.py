"""Where durations are counted: one cell for each metric and set of attributes, with the buckets of its histogram.

The cell of a call is written on the bot's threads without a lock. On CPython with the GIL `list[i] += 1` between calls
is exact: the interpreter switches threads at calls and backward jumps alone, and none stands inside those statements.
The cells of attempts, throttle waits and orders are written by the safety thread, when it takes a call from the
journal; it also keeps the durations themselves for a moment, for the smallest, the largest and other people's buckets
(`fold`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from math import gcd

from tradewatch.semconv import Metric
from tradewatch.semconv import attributes as a
from tradewatch.semconv import metrics as m
from tradewatch.semconv.metrics import DURATION_BOUNDS_S
from tradewatch.telemetry.cardinality import Cardinality

BOUNDS_NS = tuple(int(b * 1e9) for b in DURATION_BOUNDS_S)
_OVERFLOW = len(BOUNDS_NS)
# The bucket of a duration that is rounded up to whole steps: bounds are multiples of the step, so nothing is lost. What
# is longer than the last bound has no place here. To look it up takes a third of what a search among the bounds does.
STEP_NS = gcd(*BOUNDS_NS)
UP_NS = STEP_NS - 1
BUCKETS = b"\0" + b"".join(
    bytes([i]) * ((high - low) // STEP_NS) for i, (low, high) in enumerate(pairwise((0, *BOUNDS_NS)))
)
# Durations that wait for the fold, of all cells together: 10 MB.
_MOST_WAITING = 200_000

Attributes = tuple[tuple[str, str | int], ...]


class Cell:
    """Durations with one set of attributes. `counts` has a place a bucket, and one for what exceeds the last bound.

    Args:
        metric: the histogram.
        attributes: sorted by name.
    """

    __slots__ = ("attributes", "counts", "error", "exchange", "metric", "operation", "queued", "sum_ns", "waiting")

    def __init__(self, metric: Metric, attributes: Attributes) -> None:
        self.metric = metric
        self.attributes = attributes
        said = dict(attributes)
        self.exchange = str(said.get(a.EXCHANGE.name, ""))
        self.operation = str(said.get(a.OPERATION.name, ""))
        error = said.get(a.ERROR_TYPE.name)
        self.error = None if error is None else str(error)
        self.counts = [0] * (_OVERFLOW + 1)
        self.sum_ns = [0]
        self.waiting: list[int] = []
        self.queued = False

    def count(self, duration_ns: int) -> None:
        """Count one duration. A bound belongs to the bucket below it, as in OpenTelemetry and Prometheus."""
        try:
            self.counts[BUCKETS[(duration_ns + UP_NS) // STEP_NS]] += 1
        except IndexError:
            self.counts[-1] += 1
        self.sum_ns[0] += duration_ns

    @property
    def total(self) -> int:
        """Durations counted."""
        return sum(self.counts)


class Cells:
    """Every cell of one watch. Those of calls are found by exchange, operation and error.

    Attributes:
        cardinality: how many values of an attribute there are cells for.
        kept: whether durations are kept for the fold.
        unkept: durations that were counted but not kept, since too many waited for the fold.
        changed: cells that the safety thread wrote to since the fold last looked, each once, in that order.
        wake: called when there is one; any thread may be the one that calls.
    """

    def __init__(self) -> None:
        self.cardinality = Cardinality()
        self.kept = False
        self.unkept = 0
        self.changed: deque[Cell] = deque()
        self.wake: Callable[[], None] = lambda: None
        self._calls: dict[tuple[str, str, str | None], Cell] = {}
        self._others: dict[tuple[Metric, Attributes], Cell] = {}
        # Each has one writer: the safety thread, and the fold under its lock.
        self._noted = self._taken = 0

    def cell(self, exchange: str, operation: str, error: str | None) -> Cell:
        """The cell for that kind of call, made at the first question (`setdefault` is atomic: all get the same one)."""
        found = self._calls.get((exchange, operation, error))
        return found if found is not None else self._made(exchange, operation, error)

    def _made(self, exchange: str, operation: str, error: str | None) -> Cell:
        operation = self.cardinality.admit(a.OPERATION.name, operation)
        attributes: list[tuple[str, str | int]] = [(a.EXCHANGE.name, exchange), (a.OPERATION.name, operation)]
        if error is not None:
            error = self.cardinality.admit(a.ERROR_TYPE.name, error)
            attributes.insert(0, (a.ERROR_TYPE.name, error))
        return self._calls.setdefault((exchange, operation, error), Cell(m.CALL_DURATION, tuple(attributes)))

    def other(self, metric: Metric, attributes: Attributes) -> Cell:
        """The cell of another histogram, made at the first question; attributes are bounded and sorted by name."""
        key = (metric, attributes)
        found = self._others.get(key)
        return found if found is not None else self._others.setdefault(key, Cell(metric, attributes))

    def note(self, cell: Cell, duration_ns: int) -> None:
        """Keep a duration that was counted, for the fold. Called by the safety thread alone."""
        if self.kept:
            if self._noted - self._taken < _MOST_WAITING:
                cell.waiting.append(duration_ns)
                self._noted += 1
            else:
                self.unkept += 1
        # After the duration: whoever takes the cell from here finds it.
        if not cell.queued:
            cell.queued = True
            self.changed.append(cell)
            self.wake()

    def turned(self) -> Iterator[Cell]:
        """The changed cells, once. Called by the fold alone."""
        while self.changed:
            cell = self.changed.popleft()
            cell.queued = False
            yield cell

    def take(self, cell: Cell, most: int) -> list[int]:
        """The durations that were kept of a cell, the oldest of them. Called under the fold's lock alone."""
        n = min(len(cell.waiting), most)
        taken = cell.waiting[:n]
        del cell.waiting[:n]
        self._taken += n
        return taken

    def every(self) -> tuple[Cell, ...]:
        """The cells of all histograms."""
        return (*tuple(self._calls.values()), *tuple(self._others.values()))

    def of(self, metric: Metric) -> Iterator[Cell]:
        """The cells of one histogram."""
        if metric is m.CALL_DURATION:
            return iter(self)
        return (cell for cell in tuple(self._others.values()) if cell.metric is metric)

    def __iter__(self) -> Iterator[Cell]:
        return iter(tuple(self._calls.values()))


def merged(cells: Iterable[Cell]) -> list[int]:
    """The bucket counts of several cells, added up."""
    counts = [0] * (_OVERFLOW + 1)
    for cell in cells:
        counts = [a + b for a, b in zip(counts, cell.counts, strict=True)]
    return counts


def quantile_s(counts: Sequence[int], q: float) -> float | None:
    """The q-quantile in seconds, linear within its bucket as Prometheus's `histogram_quantile`; None without calls.

    What is longer than the last bound is given as the last bound.
    """
    total = sum(counts)
    if not total:
        return None
    rank = q * total
    below = 0
    for i, n in enumerate(counts[:-1]):
        if below + n >= rank and n:
            low = DURATION_BOUNDS_S[i - 1] if i else 0.0
            return low + (DURATION_BOUNDS_S[i] - low) * (rank - below) / n
        below += n
    return DURATION_BOUNDS_S[-1]
