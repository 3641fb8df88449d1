"""The metrics that are not histograms, as observable instruments that read what the safety threads last published.

A meter provider gets one set of instruments, whoever shares it: the SDK refuses a second one of the same name. Each
watch adds its readings and takes them away when it has stopped and they were told a last time. A callback runs under
the SDK's lock: it only reads. That of the first instrument also tells those who must do something before each
collection.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic_ns

import msgspec
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from tradewatch.runtime import fork
from tradewatch.runtime.failures import failures
from tradewatch.semconv import METRICS, Metric, Reading

# Twice as long as readers that send take from one time to the next, unless set otherwise.
_LONGEST_NS = 120 * 10**9
Published = Callable[[], Sequence[Reading]]
# Called before each collection, until it returns False.
Before = Callable[[], bool]


class _Source(msgspec.Struct):
    """Readings that are told until they are over: then as long as `before` has something that a reader did not hear.

    `until_ns` bounds that: a reader that never comes must not have the others tell of a bot that is gone.
    """

    extra: Mapping[str, str]
    before: Before
    until_ns: int | None = None
    is_told: bool = False
    is_silent: bool = False

    @property
    def is_over(self) -> bool:
        return self.until_ns is not None


class _Outlet:
    """What one provider's callbacks read."""

    def __init__(self) -> None:
        self.sources: dict[Published, _Source] = {}
        # What was published when it was last asked for, and its observations by the name of their metric.
        self._seen: tuple[list[Sequence[Reading]], dict[str, list[Observation]]] = ([], {})

    def collecting(self, options: CallbackOptions) -> Iterable[Observation]:
        for published, source in list(self.sources.items()):
            is_needed = False
            with failures.kept("metrics"):
                is_needed = source.before()
            is_late = source.until_ns is not None and monotonic_ns() > source.until_ns
            if source.is_told and (is_late or not is_needed):
                self.sources.pop(published, None)
            source.is_told = source.is_over
        return ()

    def follow(self) -> None:
        """Silence what is over of a bot that is watched anew: two observations of one series would add up."""
        sources = list(self.sources.values())
        for n, source in enumerate(sources):
            source.is_silent |= source.is_over and any(later.extra == source.extra for later in sources[n + 1 :])

    def observe(self, metric: Metric) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def callback(options: CallbackOptions) -> Iterable[Observation]:
            return self._observed().get(metric.name, ())

        return callback

    def _observed(self) -> Mapping[str, Sequence[Observation]]:
        """Made once of what is published: forty instruments ask at each collection."""
        sources = [(published(), s.extra) for published, s in list(self.sources.items()) if not s.is_silent]
        now = [readings for readings, _ in sources]
        seen, observed = self._seen
        if len(now) != len(seen) or any(one is not other for one, other in zip(now, seen, strict=True)):
            observed = {}
            for readings, extra in sources:
                for reading in readings:
                    observation = Observation(reading.value, {**extra, **dict(reading.attributes)})
                    observed.setdefault(reading.metric.name, []).append(observation)
            self._seen = now, observed
        return observed


class Gauges:
    """The observable instruments of a process, by meter provider."""

    def __init__(self) -> None:
        self._outlets: weakref.WeakKeyDictionary[MeterProvider, _Outlet] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()

    def add(
        self, provider: MeterProvider, scope: str, published: Published, extra: Mapping[str, str], before: Before
    ) -> None:
        """Report these readings through `provider`, each with the attributes `extra`; see `Before`."""
        with fork.held, self._lock:
            outlet = self._outlets.get(provider)
            if outlet is None:
                outlet = self._outlets[provider] = _Outlet()
                _instruments(provider, scope, outlet)
            outlet.sources[published] = _Source(dict(extra), before)
            outlet.follow()

    def forked(self) -> None:
        """In a forked child: what the parent reports is not the child's to report."""
        self._lock = threading.Lock()
        for outlet in self._outlets.values():
            outlet.sources.clear()

    def remove(self, provider: MeterProvider, published: Published) -> None:
        """Report them a last time to each reader that comes within two minutes, as the histograms of the same watch."""
        with self._lock:
            outlet = self._outlets.get(provider)
            source = outlet.sources.pop(published, None) if outlet is not None else None
            if outlet is not None and source is not None:
                # Of the watch itself nothing is kept: it has the provider, which whoever owns it may forget.
                last = published()
                source.until_ns = monotonic_ns() + _LONGEST_NS
                outlet.sources[lambda: last] = source
                outlet.follow()


def _instruments(provider: MeterProvider, scope: str, outlet: _Outlet) -> None:
    meter = provider.get_meter(scope)
    first = [outlet.collecting]
    makers = {
        "counter": meter.create_observable_counter,
        "updowncounter": meter.create_observable_up_down_counter,
        "gauge": meter.create_observable_gauge,
    }
    for metric in METRICS:
        make = makers.get(metric.instrument)
        if make is not None:
            make(metric.name, [*first, outlet.observe(metric)], metric.unit, metric.meaning)
            first = []
