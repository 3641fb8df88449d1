"""From cells to the OpenTelemetry SDK's own aggregations, so that whatever reads the SDK's metrics sees them.

The SDK has no public way to hand over what is counted already, and `record()` costs 6.5 µs a value. So what was added
to a cell since the last fold is added to the streams that `record()` would have written to, under the SDK's own locks:
for each reader and view of the provider, whoever owns it. A stream is made by the SDK itself, with a first value, so
that views, limits and overflow are its own. Buckets that are like ours get counts; other aggregations get the values
one by one. Exemplars are offered to the stream's reservoir.

Every private name of the SDK that tradewatch uses is in this file. `agreement` compares with `record()` at the start;
where they differ, or a name is missing, every duration is `record()`ed.
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

from tradewatch.model import Call
from tradewatch.runtime import fork
from tradewatch.runtime.failures import describe, failures
from tradewatch.runtime.safety import breathe
from tradewatch.runtime.service import Bell, pause
from tradewatch.semconv import METRICS, Metric
from tradewatch.semconv.metrics import DURATION_BOUNDS_S
from tradewatch.telemetry.cell import BOUNDS_NS, Cell, Cells
from tradewatch.telemetry.delta import Added, Candidate, Source, first_of

Timed = Callable[[Call], Iterable[tuple[Cell, int]]]

_EVERY_S = 0.1
_IDLE_S = 60.0
_STRETCH_NS = 200_000
# Durations whose smallest and largest are found in one go (0.1 ms), and that are given one by one in one go.
_AT_ONCE = 5_000
_CHUNK = 50
_OWNER = "_tradewatch_fold"
_EMPTY = Context()


class _Value:
    """What an aggregation asks of a measurement that is not offered as an exemplar."""

    __slots__ = ("value",)

    def __init__(self, value: float) -> None:
        self.value = value


class _Sdk:
    """The SDK's private classes and keys. Raises ImportError where one is missing."""

    def __init__(self) -> None:
        from opentelemetry.sdk.metrics._internal import _view_instrument_match as matches
        from opentelemetry.sdk.metrics._internal import aggregation, exemplar, measurement

        self.measurement = measurement.Measurement
        self.dropping = aggregation._DropAggregation
        self.explicit = aggregation._ExplicitBucketHistogramAggregation
        self.last_of_each = exemplar.AlignedHistogramBucketExemplarReservoir
        self.by_span = (exemplar.TraceBasedExemplarFilter, exemplar.AlwaysOffExemplarFilter)
        # 1.43 knows a stream by the set of its attributes, and has no limit of streams before 1.45.2.
        self.key: Callable[[Mapping[str, Any]], Any] = getattr(
            matches, "_hash_attributes", lambda attributes: frozenset(attributes.items())
        )
        self.overflow_key: Any = getattr(matches, "_OVERFLOW_KEY", None)


class _Way:
    """One view of one reader on one histogram.

    `counts` says whether its buckets are ours; `last` whether its reservoir keeps the last candidate of each.
    """

    def __init__(self, sdk: _Sdk, match: Any) -> None:
        made = match._aggregation
        self._sdk = sdk
        self.match = match
        self.drops = type(made) is sdk.dropping
        self.counts = type(made) is sdk.explicit and tuple(made._boundaries) == DURATION_BOUNDS_S
        self.last = self.counts and type(made._reservoir) is sdk.last_of_each
        self._names = match._view._attribute_keys
        # Other people's series may be in a stream that a view leaves attributes out of.
        self.merges = self._names is not None
        self._limit = getattr(match, "_cardinality_limit", None)

    def key(self, attributes: Mapping[str, str | int]) -> Any:
        """What the SDK finds the stream by."""
        names = self._names
        return self._sdk.key(attributes if names is None else {k: v for k, v in attributes.items() if k in names})

    def stream(self, key: Any) -> Any:
        """The aggregation of a stream, or the one for what exceeds the limit; None where neither is there yet."""
        streams = self.match._attributes_aggregation
        found = streams.get(key)
        if found is None and self._limit is not None and len(streams) >= self._limit:
            found = streams.get(self._sdk.overflow_key)
        return found


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
        self._storages: list[Any] = []
        self._ways: dict[Metric, list[_Way]] = {}
        self._offered: set[Cell] = set()
        self._leaving: set[Cell] = set()
        self._retired: deque[str] = deque()
        self._candidates = 0
        self._closed = False
        self._forked = False
        self._pause_at_ns = 0
        self._sdk: Any = None
        self._consumer: Any = None
        self._filter: Any = None
        self._bell = Bell()
        cells.wake = self._bell.ring
        self.why = why
        if why is None:
            try:
                self._sdk = _Sdk()
                self._consumer = next(iter(self._histograms.values()))._measurement_consumer  # type: ignore[attr-defined]
                self._filter = self._consumer._sdk_config.exemplar_filter
                for metric in self._histograms:
                    self._plan(metric)
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

    def saw(self, call: Call, context: Context) -> None:
        """Offer a call's durations as exemplars; where folding cannot be, record them.

        Args:
            call: each call once, on the service thread.
            context: with the call's own span where it has one.
        """
        if self.why is not None:
            for cell, duration_ns in self._timed(call):
                self._histograms[cell.metric].record(duration_ns / 1e9, self._attributes(cell), context)
            return
        at_ns = time.time_ns() - (time.monotonic_ns() - call.end_mono_ns)
        by_span = type(self._filter) in self._sdk.by_span
        # Such a filter says the same of all durations of a call: it is asked once.
        if by_span and not self._filter.should_sample(0.0, at_ns, {}, context):
            return
        for cell, duration_ns in self._timed(call):
            value = duration_ns / 1e9
            if by_span or self._filter.should_sample(value, at_ns, self._attributes(cell), context):
                with self._lock:
                    self._candidates += 1
                    self._offered.add(cell)
                    self._source(cell).offer(Candidate(self._candidates, value, at_ns, context))

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
            for histogram in self._histograms.values():
                consumer = getattr(histogram, "_measurement_consumer", None)
                for storage in getattr(consumer, "_reader_storages", {}).values():
                    storage._instrument_view_instrument_matches.pop(histogram, None)

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
        instrument: Any = self._histograms[cell.metric]
        enabled = getattr(instrument, "_is_enabled", None)
        if enabled is not None and not enabled():
            return
        if added.counts:
            self._leaving.discard(cell)
        for way in self._plan(cell.metric):
            if way.drops:
                continue
            key = self._key(way, source)
            if way.counts:
                self._add(way, key, source, added)
            elif added.values:
                self._give(way, key, source, added.values)

    def _add(self, way: _Way, key: Any, source: Source, added: Added) -> None:
        """Add to the stream's buckets. The SDK makes the stream, with a first value."""
        counts, sum_ns = added.counts, added.sum_ns
        while True:
            with way.match._lock:
                stream = way.stream(key)
                if stream is not None:
                    setattr(stream, _OWNER, self)
                    with stream._lock:
                        _increase(stream, counts, sum_ns, added.low, added.high)
                    return
            # A collection may take the stream away again before the rest is added.
            if not counts:
                return
            i, first_ns = first_of(counts, sum_ns, added.values)
            way.match.consume_measurement(self._measurement(source, first_ns), False)
            counts = {j: n - (j == i) for j, n in counts.items() if n != (j == i)}
            sum_ns -= first_ns

    def _give(self, way: _Way, key: Any, source: Source, values: list[int]) -> None:
        """Give an aggregation that is not like ours the values themselves."""
        done = 0
        while done < len(values):
            with way.match._lock:
                stream = way.stream(key)
                if stream is not None:
                    setattr(stream, _OWNER, self)
                    for value_ns in values[done : done + _CHUNK]:
                        stream.aggregate(_Value(value_ns / 1e9), False)
            if stream is None:
                way.match.consume_measurement(self._measurement(source, values[done]), False)
                done += 1
            else:
                done += _CHUNK
            self._breathe()

    def _tell(self, sources: Iterable[Source]) -> None:
        """Offer candidates to the reservoirs of their streams in the order that they came."""
        offers: list[tuple[int, bool, Candidate, Source]] = []
        for source in sources:
            for kept in source.candidates.values():
                offers += [(each.n, each is kept[-1], each, source) for each in kept]
            source.candidates = {}
        for _, last, each, source in sorted(offers, key=lambda offer: offer[0]):
            for way in self._plan(source.cell.metric):
                # A reservoir with a place a bucket keeps the last of each.
                if way.drops or (way.last and not last):
                    continue
                with way.match._lock:
                    stream = way.stream(self._key(way, source))
                    if stream is not None:
                        stream._reservoir.offer(each.value, each.at_ns, source.attributes, each.context)
            self._breathe()

    @staticmethod
    def _key(way: _Way, source: Source) -> Any:
        key = source.keys.get(way)
        if key is None:
            key = source.keys[way] = way.key(source.attributes)
        return key

    def _stays(self, source: Source) -> bool:
        """Take away a source's series that were told; whether any is left."""
        left = False
        for way in self._plan(source.cell.metric):
            if way.drops or way.merges or way not in source.keys:
                continue
            key = source.keys[way]
            with way.match._lock:
                streams = way.match._attributes_aggregation
                stream = streams.get(key)
                # Another watch with the same attributes may have written to it since.
                if stream is None or getattr(stream, _OWNER, None) is not self:
                    continue
                waits = (
                    getattr(stream, "_value", None) is not None or getattr(stream, "_value_positive", None) is not None
                )
                if waits:
                    left = True
                else:
                    del streams[key]
        return left

    def _plan(self, metric: Metric) -> list[_Way]:
        """The ways of a histogram: every view of every reader there is now."""
        storages = list(self._consumer._reader_storages.values())
        if storages != self._storages:
            self._storages = storages
            self._ways.clear()
            for source in self._sources.values():
                source.keys.clear()
        ways = self._ways.get(metric)
        if ways is None:
            instrument = self._histograms[metric]
            ways = self._ways[metric] = [
                _Way(self._sdk, match)
                for storage in storages
                for match in storage._get_or_init_view_instrument_match(instrument)
            ]
        return ways

    def _measurement(self, source: Source, value_ns: int) -> Any:
        instrument = self._histograms[source.cell.metric]
        return self._sdk.measurement(value_ns / 1e9, time.time_ns(), instrument, _EMPTY, source.attributes)

    def _breathe(self) -> None:
        now_ns = time.monotonic_ns()
        if now_ns >= self._pause_at_ns:
            breathe()
            self._pause_at_ns = time.monotonic_ns() + _STRETCH_NS


def _increase(stream: Any, counts: Mapping[int, int], sum_ns: int, low: int | None, high: int | None) -> None:
    """Add to a stream with our buckets; its lock is held."""
    if counts:
        if stream._value is None:
            stream._value = [0] * (len(BOUNDS_NS) + 1)
        value = stream._value
        for i, n in counts.items():
            value[i] += n
    stream._sum += sum_ns / 1e9
    if stream._record_min_max and low is not None and high is not None:
        stream._min = min(stream._min, low / 1e9)
        stream._max = max(stream._max, high / 1e9)


def _histogram(meter: Meter, metric: Metric) -> Histogram:
    return meter.create_histogram(
        metric.name, metric.unit, metric.meaning, explicit_bucket_boundaries_advisory=list(DURATION_BOUNDS_S)
    )
