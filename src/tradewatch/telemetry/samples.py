"""Current values as Prometheus would scrape them, for the rules: the same names, labels and buckets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate

from tradewatch.model import Sample
from tradewatch.semconv import Reading
from tradewatch.semconv import attributes as a
from tradewatch.semconv import metrics as m
from tradewatch.semconv.metrics import DURATION_BOUNDS_S
from tradewatch.telemetry.cell import Cell, Cells

Labels = tuple[tuple[str, str], ...]
_CALL = m.CALL_DURATION.prometheus
_HISTOGRAM = (f"{_CALL}_bucket", f"{_CALL}_sum", f"{_CALL}_count")
_LE = (*(repr(b) for b in DURATION_BOUNDS_S), "+Inf")


class Samples:
    """Satisfies `tradewatch.model.Readings`. Label sets are made once and kept, as the metrics they name are.

    Args:
        published: the current readings.
        cells: where calls are counted.
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
        if not names.isdisjoint(_HISTOGRAM):
            for cell in self._cells:
                yield from self._histogram(cell, names)

    def _histogram(self, cell: Cell, names: frozenset[str]) -> Iterator[Sample]:
        labels = self._of_cell.get(cell)
        if labels is None:
            given = [(a.EXCHANGE.name, cell.exchange), (a.OPERATION.name, cell.operation)]
            given += [(a.ERROR_TYPE.name, cell.error)] if cell.error else []
            labels = self._of_cell[cell] = (
                tuple(self._labels(_HISTOGRAM[0], (*given, ("le", le))) for le in _LE),
                self._labels(_HISTOGRAM[1], given),
                self._labels(_HISTOGRAM[2], given),
            )
        counts = tuple(cell.counts)
        if _HISTOGRAM[0] in names:
            yield from zip(labels[0], map(float, accumulate(counts)), strict=True)
        if _HISTOGRAM[1] in names:
            yield labels[1], cell.sum_ns[0] / 1e9
        if _HISTOGRAM[2] in names:
            yield labels[2], float(sum(counts))

    @staticmethod
    def _labels(name: str, attributes: Iterable[tuple[str, str]]) -> Labels:
        pairs = [(k.replace(".", "_"), v) for k, v in attributes if v]
        return tuple(sorted([("__name__", name), *pairs]))
