"""Current values as Prometheus would scrape them, for the rules: the same names, labels and buckets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate

from tradewatch.model import Sample
from tradewatch.semconv import METRICS, Metric, Reading
from tradewatch.semconv.metrics import DURATION_BOUNDS_S
from tradewatch.semconv.prometheus import label_name
from tradewatch.telemetry.cell import Cell, Cells

Labels = tuple[tuple[str, str], ...]
_HISTOGRAMS = tuple(
    (metric, f"{metric.prometheus}_bucket", f"{metric.prometheus}_sum", f"{metric.prometheus}_count")
    for metric in METRICS
    if metric.instrument == "histogram"
)
_LE = (*(repr(b) for b in DURATION_BOUNDS_S), "+Inf")


class Samples:
    """Satisfies `tradewatch.model.Readings`. Label sets are made once and kept, as the metrics they name are.

    Args:
        published: the current readings.
        cells: where durations are counted.
    """

    def __init__(self, published: Callable[[], Sequence[Reading]], cells: Cells) -> None:
        self._published = published
        self._cells = cells
        self._of_reading: dict[tuple[str, Labels], Labels] = {}
        self._of_cell: dict[Cell, tuple[tuple[Labels, ...], Labels, Labels]] = {}

    def samples(self, names: frozenset[str]) -> Iterable[Sample]:
        """The current samples of the metrics named."""
        for reading in self._published():
            name = reading.metric.prometheus
            if name in names:
                key = (name, reading.attributes)
                labels = self._of_reading.get(key)
                if labels is None:
                    labels = self._of_reading[key] = self._labels(name, reading.attributes)
                yield labels, float(reading.value)
        for metric, *series in _HISTOGRAMS:
            if not names.isdisjoint(series):
                for cell in self._cells.of(metric):
                    yield from self._histogram(cell, metric, names)

    def _histogram(self, cell: Cell, metric: Metric, names: frozenset[str]) -> Iterator[Sample]:
        bucket, total, count = (f"{metric.prometheus}{suffix}" for suffix in ("_bucket", "_sum", "_count"))
        labels = self._of_cell.get(cell)
        if labels is None:
            given = [(name, str(value)) for name, value in cell.attributes]
            labels = self._of_cell[cell] = (
                tuple(self._labels(bucket, (*given, ("le", le))) for le in _LE),
                self._labels(total, given),
                self._labels(count, given),
            )
        counts = tuple(cell.counts)
        if bucket in names:
            yield from zip(labels[0], map(float, accumulate(counts)), strict=True)
        if total in names:
            yield labels[1], cell.sum_ns[0] / 1e9
        if count in names:
            yield labels[2], float(sum(counts))

    @staticmethod
    def _labels(name: str, attributes: Iterable[tuple[str, str]]) -> Labels:
        pairs = [(label_name(k), v) for k, v in attributes if v]
        return tuple(sorted([("__name__", name), *pairs]))
