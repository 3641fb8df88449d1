"""The metrics that are not histograms, as observable instruments that read what the safety threads last published.

A meter provider gets one set of instruments, whoever shares it: the SDK refuses a second one of the same name. Each
watch adds its readings and takes them away when it stops. A callback runs under the SDK's lock: it only reads. That of
the first instrument also tells those who must do something before each collection.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from tradewatch.runtime import fork
from tradewatch.runtime.failures import failures
from tradewatch.semconv import METRICS, Metric, Reading

Published = Callable[[], Sequence[Reading]]
# Called before each collection, until it returns False.
Before = Callable[[], bool]


class _Outlet:
    """What one provider's callbacks read."""

    def __init__(self) -> None:
        self.sources: dict[Published, Mapping[str, str]] = {}
        self._sorted: dict[Published, tuple[Sequence[Reading], dict[str, list[Reading]]]] = {}
        self.before: list[Before] = []

    def collecting(self, options: CallbackOptions) -> Iterable[Observation]:
        for each in list(self.before):
            with failures.kept("metrics"):
                if not each():
                    self.before.remove(each)
        return ()

    def observe(self, metric: Metric) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def callback(options: CallbackOptions) -> Iterable[Observation]:
            return [
                Observation(reading.value, {**extra, **dict(reading.attributes)})
                for published, extra in list(self.sources.items())
                for reading in self._by_name(published).get(metric.name, ())
            ]

        return callback

    def forget(self, published: Published) -> None:
        self.sources.pop(published, None)
        self._sorted.pop(published, None)

    def _by_name(self, published: Published) -> dict[str, list[Reading]]:
        """The current readings, sorted once for all instruments."""
        readings = published()
        known = self._sorted.get(published)
        if known is None or known[0] is not readings:
            found: dict[str, list[Reading]] = {}
            for reading in readings:
                found.setdefault(reading.metric.name, []).append(reading)
            known = self._sorted[published] = readings, found
        return known[1]


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
            outlet.sources[published] = dict(extra)
            outlet.before.append(before)

    def forked(self) -> None:
        """In a forked child: what the parent reports is not the child's to report."""
        self._lock = threading.Lock()
        for outlet in self._outlets.values():
            outlet.sources.clear()

    def remove(self, provider: MeterProvider, published: Published) -> None:
        """Report them no more."""
        with self._lock:
            outlet = self._outlets.get(provider)
            if outlet is not None:
                outlet.forget(published)


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
