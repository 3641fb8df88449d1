"""The metrics that are not histograms, as observable instruments that read what the safety threads last published.

A meter provider gets one set of instruments, whoever shares it: the SDK refuses a second one of the same name. Each
watch adds its readings and takes them away when it stops. A callback runs under the SDK's lock: it only reads.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from tradewatch.semconv import METRICS, Metric, Reading

Published = Callable[[], Sequence[Reading]]


class Gauges:
    """The observable instruments of a process, by meter provider."""

    def __init__(self) -> None:
        self._sources: weakref.WeakKeyDictionary[MeterProvider, dict[Published, Mapping[str, str]]]
        self._sources = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()

    def add(self, provider: MeterProvider, scope: str, published: Published, extra: Mapping[str, str]) -> None:
        """Report these readings through `provider`, each with the attributes `extra`."""
        with self._lock:
            sources = self._sources.get(provider)
            if sources is None:
                sources = self._sources[provider] = {}
                _instruments(provider, scope, sources)
            sources[published] = dict(extra)

    def forked(self) -> None:
        """In a forked child: what the parent reports is not the child's to report."""
        self._lock = threading.Lock()
        for sources in self._sources.values():
            sources.clear()

    def remove(self, provider: MeterProvider, published: Published) -> None:
        """Report them no more."""
        with self._lock:
            self._sources.get(provider, {}).pop(published, None)


def _instruments(provider: MeterProvider, scope: str, sources: Mapping[Published, Mapping[str, str]]) -> None:
    meter = provider.get_meter(scope)
    for metric in METRICS:
        if metric.instrument != "histogram":
            make = meter.create_observable_counter if metric.instrument == "counter" else meter.create_observable_gauge
            make(metric.name, [_observe(metric, sources)], metric.unit, metric.meaning)


def _observe(
    metric: Metric, sources: Mapping[Published, Mapping[str, str]]
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def callback(options: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(reading.value, {**extra, **dict(reading.attributes)})
            for published, extra in list(sources.items())
            for reading in published()
            if reading.metric is metric
        ]

    return callback
