"""Whether folding agrees with `record()` on the SDK that is installed: tried once, on private providers."""

from __future__ import annotations

from functools import cache
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from tradewatch.model import Call
from tradewatch.runtime.failures import describe
from tradewatch.semconv import metrics as m
from tradewatch.telemetry.cell import Cells
from tradewatch.telemetry.fold import Fold
from tradewatch.telemetry.tally import Tally

_ROUNDS_NS = (
    ((0, 300_000), (1, 42_000_000), (0, 500_000), (0, 40_000_000_000), (0, 77_000_001)),
    ((1, 1), (0, 300_001)),
    ((0, 2_000_000), (2, 900_000_000), (3, 8_000_000)),
)
_SPAN = NonRecordingSpan(SpanContext(1, 1, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED)))
_SAMPLED = set_span_in_context(_SPAN, Context())


@cache
def disagreement() -> str | None:
    """None where they agree, else what does not. Takes some milliseconds."""
    try:
        folded, recorded = _told(fold=True), _told(fold=False)
    except Exception as error:
        return describe(error)
    if not recorded:
        return "the SDK keeps no metrics here"
    return None if folded == recorded else "folding and record() differ on this version of the SDK"


def _told(*, fold: bool) -> list[Any]:
    """What every kind of reader tells of the same durations, and after each round of them."""
    from opentelemetry.sdk.metrics import Histogram as SdkHistogram
    from opentelemetry.sdk.metrics import MeterProvider, TraceBasedExemplarFilter
    from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
    from opentelemetry.sdk.metrics.view import (
        ExplicitBucketHistogramAggregation,
        ExponentialBucketHistogramAggregation,
        View,
    )
    from opentelemetry.sdk.resources import Resource

    delta: Any = {SdkHistogram: AggregationTemporality.DELTA}
    exponential: Any = {SdkHistogram: ExponentialBucketHistogramAggregation()}
    readers = (
        InMemoryMetricReader(),
        InMemoryMetricReader(delta),
        InMemoryMetricReader(preferred_aggregation=exponential),
    )
    name = m.CALL_DURATION.name
    views = (
        View(instrument_name=name),
        View(instrument_name=name, name="fewer", attribute_keys={"trading.exchange"}),
        View(instrument_name=name, name="other", aggregation=ExplicitBucketHistogramAggregation((0.1, 1.0))),
    )
    provider = MeterProvider(
        readers, Resource.get_empty(), TraceBasedExemplarFilter(), shutdown_on_exit=False, views=views
    )
    cells = Cells()
    tally = Tally(cells)
    way = Fold(provider.get_meter("tradewatch"), cells, tally.timed, {}, None if fold else "as a comparison")
    if fold and way.why is not None:
        raise ValueError(way.why)
    told = []
    for durations in _ROUNDS_NS:
        for operation, duration_ns in durations:
            cell = cells.cell("venue", f"operation-{operation}", None)
            cell.count(duration_ns)
            call = Call(cell, 0, duration_ns, duration_ns // 2, (), None, None, None)
            tally.book(call)
            way.saw(call, _SAMPLED, 0)
        way.tick()
        told += [_plain(reader.get_metrics_data()) for reader in readers]
    return told if any(told) else []


def _plain(data: Any) -> list[Any]:
    """Everything of the points but times, and the order of additions and of exemplars."""
    if data is None:
        return []
    metrics = [m for resource in data.resource_metrics for scope in resource.scope_metrics for m in scope.metrics]
    return sorted(
        [
            metric.name,
            sorted(point.attributes.items()),
            point.count,
            round(point.sum, 9),
            point.min,
            point.max,
            point.bucket_counts if hasattr(point, "bucket_counts") else (point.scale, point.zero_count, point.positive),
            sorted((e.value, e.trace_id, e.span_id) for e in point.exemplars),
        ]
        for metric in metrics
        for point in metric.data.data_points
    )
