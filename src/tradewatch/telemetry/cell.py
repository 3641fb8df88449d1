"""Where calls are counted: one cell for each exchange, operation and error, with the buckets of its durations.

A cell is written on the bot's threads without a lock. On CPython with the GIL `list[i] += 1` between calls is exact:
the interpreter switches threads at calls and backward jumps alone, and none stands inside those statements.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

from tradewatch.semconv.metrics import DURATION_BOUNDS_S

BOUNDS_NS = tuple(int(b * 1e9) for b in DURATION_BOUNDS_S)
_OVERFLOW = len(BOUNDS_NS)


class Cell:
    """Durations of one kind of call. `counts` has a place a bucket and one for what is longer than the last bound."""

    __slots__ = ("counts", "error", "exchange", "operation", "sum_ns")

    def __init__(self, exchange: str, operation: str, error: str | None) -> None:
        self.exchange = exchange
        self.operation = operation
        self.error = error
        self.counts = [0] * (_OVERFLOW + 1)
        self.sum_ns = [0]

    def count(self, duration_ns: int) -> None:
        """Count one call. A bound belongs to the bucket below it, as in OpenTelemetry and Prometheus."""
        counts, total = self.counts, self.sum_ns
        i = bisect_left(BOUNDS_NS, duration_ns)
        counts[i] += 1
        total[0] += duration_ns

    @property
    def total(self) -> int:
        """Calls counted."""
        return sum(self.counts)


class Cells:
    """Every cell of one watch, found by exchange, operation and error."""

    def __init__(self) -> None:
        self._cells: dict[tuple[str, str, str | None], Cell] = {}

    def cell(self, exchange: str, operation: str, error: str | None) -> Cell:
        """The cell for that key, made at the first question (`setdefault` is atomic: threads get the same one)."""
        key = (exchange, operation, error)
        found = self._cells.get(key)
        return found if found is not None else self._cells.setdefault(key, Cell(exchange, operation, error))

    def __iter__(self) -> Iterator[Cell]:
        return iter(tuple(self._cells.values()))


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
