"""The metrics that are not histograms, as observable instruments that read what the safety thread last published.

A callback runs under the SDK's lock, once a reader: it only reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from tradewatch.semconv import METRICS, Metric, Reading


def register(meter: Meter, published: Callable[[], Sequence[Reading]]) -> None:
    """Make an instrument for every counter and gauge.

    Args:
        meter: whose readers will ask.
        published: the current readings, cheap to call.
    """
    for metric in METRICS:
        if metric.instrument != "histogram":
            make = meter.create_observable_counter if metric.instrument == "counter" else meter.create_observable_gauge
            make(metric.name, [_observe(metric, published)], metric.unit, metric.meaning)


def _observe(
    metric: Metric, published: Callable[[], Sequence[Reading]]
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def callback(options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(r.value, dict(r.attributes)) for r in published() if r.metric is metric]

    return callback
