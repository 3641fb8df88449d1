"""From cells to the OpenTelemetry SDK's own aggregations, so that whatever reads the SDK's metrics sees them.

The SDK has no public way to hand over what is counted already, and `record()` costs 6.5 µs a value. So what was added
to a cell since the last fold is added to the streams that `record()` would have written to (`streams`). `agreement`
compares with `record()` at the start; where they differ, or a name is missing, every duration is `record()`ed.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram, Meter, NoOpHistogram
from opentelemetry.trace import SpanContext

from tradewatch.model import Call
from tradewatch.runtime import fork
from tradewatch.runtime.failures import describe, failures
from tradewatch.runtime.safety import breathe
from tradewatch.runtime.service import Bell, pause
from tradewatch.semconv import METRICS, Metric
from tradewatch.semconv.metrics import DURATION_BOUNDS_S
from tradewatch.telemetry.cell import Cell, Cells
from tradewatch.telemetry.delta import Added, Candidate, Source, within
from tradewatch.telemetry.streams import Streams, forget

Timed = Callable[[Call], Iterable[tuple[Cell, int]]]

_EVERY_S = 0.1
_IDLE_S = 60.0
_STRETCH_NS = 200_000
# Durations whose smallest and largest are found in one go (0.1 ms).
_AT_ONCE = 5_000


class Fold:
    """One a watch. Folds at each tick of the service thread, and before each collection of any reader.

    Args:
        meter: of the histograms.
        cells: what is counted.
        timed: the durations of a call and their cells.
        extra: attributes for every series.
        why: why every duration must be recorded instead; None where folding agrees with it.
    """

    def __init__(self, meter: Meter, cells: Cells, timed: Timed, extra: Mapping[str, str], why: str | None) -> None:
        self._histograms = {metric: _histogram(meter, metric) for metric in METRICS if metric.instrument == "histogram"}
        self._cells = cells
        self._timed = timed
        self._extra = dict(extra)
        self._lock = threading.Lock()
        self._sources: dict[Cell, Source] = {}
        self._offered: set[Cell] = set()
        self._leaving: set[Cell] = set()
        self._retired: deque[str] = deque()
        self._candidates = 0
        # By the flags of a span whether the filter takes what is in it.
        self._taken: dict[int, bool] = {}
        self._closed = False
        self._forked = False
        self._pause_at_ns = 0
        self._bell = Bell()
        cells.wake = self._bell.ring
        self._streams: Any = None
        self.why = why
        if why is None:
            try:
                self._streams = Streams(self._histograms, self, self._breathe)
            except Exception as error:
                # A provider that is not the SDK's, or one that was shut down: what its instruments do is its own.
                self.why = describe(error)
        cells.kept = self.why is None

    @property
    def notes(self) -> tuple[str, ...]:
        """For `Watch.status()`; nothing where the SDK is switched off."""
        off = all(isinstance(histogram, NoOpHistogram) for histogram in self._histograms.values())
        told = self.why is not None and not off
        return (f"metrics are recorded one by one, at a higher cost: {self.why}",) if told else ()

    async def run(self, ending: asyncio.Event) -> None:
        """The service thread's job."""
        while not ending.is_set():
            found = bool(self._cells.changed)
            self.tick()
            # Rung for the first of several: the others wait for each other.
            await (pause(ending, _EVERY_S) if found else self._bell.pause(ending, _IDLE_S))
        self.tick()

    def tick(self) -> None:
        """Fold the cells that the safety thread wrote to. A fork, or a halt to be written, waits for one at most."""
        turned = self._cells.turned()
        cell: Cell | None = None
        while True:
            with fork.held, self._lock:
                cell = next(turned, None)
                if cell is None:
                    self._tell_all()
                    return
                self._fold((cell,))
            self._breathe()

    def collecting(self) -> bool:
        """Fold everything, and take away the series that are over and were collected since; False once all are.

        For a callback of the SDK's: it holds the SDK's lock of collections, under which streams are not collected. So
        the gate of forks, which comes before that lock, cannot be held here.
        """
        with self._lock:
            if self._forked:
                return False
            # First those that were seen, in that order: a limit of streams takes whoever comes first.
            self._fold(chain(self._cells.turned(), self._cells.every()))
            self._tell_all()
            if self.why is not None:
                return not self._closed
            while self._retired:
                exchange = self._retired.popleft()
                self._leaving.update(cell for cell in self._sources if cell.exchange == exchange)
            if self._closed:
                self._leaving.update(self._sources)
            self._leaving = {cell for cell in self._leaving if self._stays(self._sources[cell])}
            return not self._closed or bool(self._leaving)

    @property
    def wants_calls_without_spans(self) -> bool:
        """Whether such a call is anything to `saw`: an exemplar needs a span, unless the filter takes all."""
        return self.why is not None or not self._streams.filters_by_span

    def saw(self, call: Call, around: Context, offset_ns: int, span: SpanContext | None = None) -> None:
        """Offer a call's durations as exemplars; where folding cannot be, record them.

        Args:
            call: each call once, on the service thread.
            around: the context that it was made in.
            offset_ns: from the monotonic clock to the epoch.
            span: the call's own, where it has one.
        """
        if self.why is not None:
            context = within(around, span)
            for cell, duration_ns in self._timed(call):
                self._histograms[cell.metric].record(duration_ns / 1e9, self._attributes(cell), context)
            return
        at_ns = call.end_mono_ns + offset_ns
        by_span, samples = self._streams.filters_by_span, self._streams.filter.should_sample
        if by_span:
            # Such a filter says the same of all durations of all calls whose spans have the same flags.
            flags = None if span is None else span.trace_flags
            taken = None if flags is None else self._taken.get(flags)
            if taken is None:
                taken = samples(0.0, at_ns, {}, within(around, span))
                if flags is not None:
                    self._taken[flags] = taken
            if not taken:
                return
        for cell, duration_ns in self._timed(call):
            value = duration_ns / 1e9
            if by_span or samples(value, at_ns, self._attributes(cell), within(around, span)):
                with self._lock:
                    self._candidates += 1
                    self._offered.add(cell)
                    source = self._sources.get(cell) or self._source(cell)
                    source.offer(Candidate(self._candidates, value, at_ns, around, span))

    def retire(self, exchange: str) -> None:
        """Take away the series of a venue that no client is left of, once they were collected a last time.

        Takes no lock: the safety thread may call it.
        """
        self._retired.append(exchange)

    def fork(self) -> None:
        """In a forked child: the parent tells of what was counted, so its series are taken out of the SDK.

        No lock is taken: the child has one thread, and one that is gone may hold them for ever.
        """
        self._lock = threading.Lock()
        self._forked = True
        with failures.kept("fork"):
            forget(self._histograms.values())

    def close(self, *, series_stay: bool = False) -> None:
        """Fold what is there; from now on series go away, unless their readers have yet to collect them."""
        if self._forked:
            return
        with fork.held, self._lock:
            self._fold(self._cells.every())
            self._tell_all()
            self._closed = not series_stay

    def _source(self, cell: Cell) -> Source:
        source = self._sources.get(cell)
        if source is None:
            source = self._sources[cell] = Source(cell, self._attributes(cell))
        return source

    def _attributes(self, cell: Cell) -> dict[str, str | int]:
        return {**self._extra, **dict(cell.attributes)}

    def _fold(self, cells: Iterable[Cell]) -> None:
        """Under the lock. What fails once would fail again: from then on every duration is recorded."""
        try:
            for cell in cells:
                if self.why is not None:
                    return
                source = self._source(cell)
                if source.behind:
                    for _ in range(1 + len(cell.waiting) // _AT_ONCE):
                        self._fold_one(source)
                        self._breathe()
        except Exception as error:
            self._give_up(error)

    def _tell_all(self) -> None:
        """Under the lock: offer the exemplars, once all that they are exemplars of is there."""
        try:
            if self.why is None:
                self._tell([self._sources[cell] for cell in self._offered])
                self._offered.clear()
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self.why, self._cells.kept = describe(error), False
        failures.note("metrics", error)

    def _fold_one(self, source: Source) -> None:
        cell = source.cell
        added = Added(source, self._cells.take(cell, _AT_ONCE))
        if not self._streams.takes(cell.metric):
            return
        if added.counts:
            self._leaving.discard(cell)
        for way in self._streams.of(cell.metric):
            way.add(source, added)

    def _tell(self, sources: Iterable[Source]) -> None:
        """Offer candidates to the reservoirs of their streams in the order that they came."""
        offers: list[tuple[int, bool, Candidate, Source]] = []
        for source in sources:
            for kept in source.candidates.values():
                offers += [(each.n, each is kept[-1], each, source) for each in kept]
            source.candidates = {}
        for _, last, each, source in sorted(offers, key=lambda offer: offer[0]):
            for way in self._streams.of(source.cell.metric):
                way.offer(source, each, is_last=last)
            self._breathe()

    def _stays(self, source: Source) -> bool:
        """Take away a source's series that were told; whether any is left."""
        left = [way.keeps(source) for way in self._streams.of(source.cell.metric)]
        return any(left)

    def _breathe(self) -> None:
        now_ns = time.monotonic_ns()
        if now_ns >= self._pause_at_ns:
            breathe()
            self._pause_at_ns = time.monotonic_ns() + _STRETCH_NS


def _histogram(meter: Meter, metric: Metric) -> Histogram:
    return meter.create_histogram(
        metric.name, metric.unit, metric.meaning, explicit_bucket_boundaries_advisory=list(DURATION_BOUNDS_S)
    )
