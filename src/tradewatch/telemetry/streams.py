"""The SDK's streams of metrics, written to under its own locks: for each reader and view, whoever owns the provider.

A stream is made by the SDK itself, with a first value, so that views, limits and overflow are its own. Buckets that are
like ours get counts; other aggregations get the values one by one. Exemplars are offered to the stream's reservoir.

Every private name of the SDK's metrics that tradewatch uses is in this file and in `locks.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram

from tradewatch.semconv import Metric
from tradewatch.semconv.metrics import DURATION_BOUNDS_S
from tradewatch.telemetry.cell import BOUNDS_NS
from tradewatch.telemetry.delta import Added, Candidate, Source, first_of
from tradewatch.telemetry.locks import renew

# Values that are given one by one in one go.
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


class Way:
    """One view of one reader on one histogram.

    Args:
        match: the SDK's.
        instrument: the histogram.
        owner: whose streams these are: other watches may share the provider.
        breathe: called now and then, for the bot's threads.
    """

    def __init__(self, sdk: _Sdk, match: Any, instrument: Any, owner: Any, breathe: Callable[[], None]) -> None:
        made = match._aggregation
        self._sdk = sdk
        self._match = match
        self._instrument = instrument
        self._owner = owner
        self._breathe = breathe
        # What the SDK finds the streams by, of the cells that there were.
        self._keys: dict[Source, Any] = {}
        self._drops = type(made) is sdk.dropping
        self._counts = type(made) is sdk.explicit and tuple(made._boundaries) == DURATION_BOUNDS_S
        self._last = self._counts and type(made._reservoir) is sdk.last_of_each
        self._names = match._view._attribute_keys
        # Other people's series may be in a stream that a view leaves attributes out of.
        self._merges = self._names is not None
        self._limit = getattr(match, "_cardinality_limit", None)

    def add(self, source: Source, added: Added) -> None:
        """What came to a cell: counts where the buckets are like ours, else the values themselves."""
        if self._drops:
            return
        if self._counts:
            self._add(self._key(source), source, added)
        elif added.values:
            self._give(self._key(source), source, added.values)

    def offer(self, source: Source, candidate: Candidate, *, is_last: bool) -> None:
        """A candidate for the stream's exemplars; `is_last` of its bucket."""
        # A reservoir with a place a bucket keeps the last of each.
        if self._drops or (self._last and not is_last):
            return
        with self._match._lock:
            stream = self._stream(self._key(source))
            if stream is not None:
                stream._reservoir.offer(candidate.value, candidate.at_ns, source.attributes, candidate.context)

    def keeps(self, source: Source) -> bool:
        """Take away a cell's stream if it was told; whether it has yet to be."""
        if self._drops or self._merges:
            return False
        key = self._key(source)
        with self._match._lock:
            streams = self._match._attributes_aggregation
            stream = streams.get(key)
            # Another watch with the same attributes may have written to it since.
            if stream is None or getattr(stream, _OWNER, None) is not self._owner:
                return False
            waits = getattr(stream, "_value", None) is not None or getattr(stream, "_value_positive", None) is not None
            if not waits:
                del streams[key]
            return waits

    def _key(self, source: Source) -> Any:
        """What the SDK finds the stream by."""
        key = self._keys.get(source)
        if key is None:
            names, found = self._names, source.attributes
            shown = found if names is None else {k: v for k, v in found.items() if k in names}
            key = self._keys[source] = self._sdk.key(shown)
        return key

    def _stream(self, key: Any) -> Any:
        """The aggregation of a stream, or the one for what exceeds the limit; None where neither is there yet."""
        streams = self._match._attributes_aggregation
        found = streams.get(key)
        if found is None and self._limit is not None and len(streams) >= self._limit:
            found = streams.get(self._sdk.overflow_key)
        return found

    def _add(self, key: Any, source: Source, added: Added) -> None:
        """Add to the stream's buckets. The SDK makes the stream, with a first value."""
        counts, sum_ns = added.counts, added.sum_ns
        while True:
            with self._match._lock:
                stream = self._stream(key)
                if stream is not None:
                    setattr(stream, _OWNER, self._owner)
                    with stream._lock:
                        _increase(stream, counts, sum_ns, added.low, added.high)
                    return
            # A collection may take the stream away again before the rest is added.
            if not counts:
                return
            i, first_ns = first_of(counts, sum_ns, added.values)
            self._begin(source, first_ns)
            counts = {j: n - (j == i) for j, n in counts.items() if n != (j == i)}
            sum_ns -= first_ns

    def _give(self, key: Any, source: Source, values: list[int]) -> None:
        """Give an aggregation that is not like ours the values themselves."""
        done = 0
        while True:
            with self._match._lock:
                stream = self._stream(key)
                if stream is not None:
                    setattr(stream, _OWNER, self._owner)
                    for value_ns in values[done : done + _CHUNK]:
                        stream.aggregate(_Value(value_ns / 1e9), False)
                    done += _CHUNK
            if done >= len(values):
                return
            if stream is None:
                self._begin(source, values[done])
                # Round again, also where it was the only one: the stream has an owner.
                done += 1
            self._breathe()

    def _begin(self, source: Source, value_ns: int) -> None:
        """Have the SDK make a stream, or its overflow, with a value."""
        made = self._sdk.measurement(value_ns / 1e9, time.time_ns(), self._instrument, _EMPTY, source.attributes)
        self._match.consume_measurement(made, False)


class Streams:
    """The streams of some histograms, by every view of every reader that there is.

    Args:
        histograms: of one provider.
        owner: whose they are.
        breathe: called now and then, for the bot's threads.

    Attributes:
        filter: the provider's, of exemplars; `filters_by_span` where it takes none of a call that is not sampled.

    Raises:
        Exception: of any kind, where the provider is not the SDK's, or was shut down.
    """

    def __init__(self, histograms: Mapping[Metric, Any], owner: Any, breathe: Callable[[], None]) -> None:
        self._sdk = _Sdk()
        self._histograms = histograms
        self._owner = owner
        self._breathe = breathe
        self._consumer = next(iter(histograms.values()))._measurement_consumer
        self._storages: list[Any] = []
        self._ways: dict[Metric, list[Way]] = {}
        self.filter = self._consumer._sdk_config.exemplar_filter
        self.filters_by_span = type(self.filter) in self._sdk.by_span
        for metric in histograms:
            self.of(metric)

    def of(self, metric: Metric) -> list[Way]:
        """The ways of a histogram: every view of every reader there is now."""
        storages = list(self._consumer._reader_storages.values())
        if storages != self._storages:
            self._storages = storages
            self._ways.clear()
        ways = self._ways.get(metric)
        if ways is None:
            histogram = self._histograms[metric]
            ways = self._ways[metric] = [
                Way(self._sdk, match, histogram, self._owner, self._breathe)
                for storage in storages
                for match in storage._get_or_init_view_instrument_match(histogram)
            ]
        return ways

    def takes(self, metric: Metric) -> bool:
        """Whether the histogram is switched on."""
        enabled = getattr(self._histograms[metric], "_is_enabled", None)
        return enabled is None or bool(enabled())


def forget(histograms: Iterable[Histogram]) -> None:
    """In a forked child: take all streams of these histograms out of the SDK. No lock is taken; all are made anew."""
    consumers = {histogram: getattr(histogram, "_measurement_consumer", None) for histogram in histograms}
    for consumer in {*consumers.values()} - {None}:
        renew(consumer)
    for histogram, consumer in consumers.items():
        for storage in getattr(consumer, "_reader_storages", {}).values():
            storage._instrument_view_instrument_matches.pop(histogram, None)


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
