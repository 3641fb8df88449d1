"""Metrics on their way to an exporter, one point at a time: what reads them, groups them again and writes them.

The thread of an outbox reads the SDK's metrics at each interval. While it has some that a collector has yet to take it
reads no others: with cumulative values the next ones say all that was missed, and deltas go on to add up in the SDK.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from opentelemetry.sdk.metrics.export import Metric, MetricReader, MetricsData, ResourceMetrics, ScopeMetrics

from tradewatch.runtime import fork
from tradewatch.telemetry.cleaning import clean, clean_resource, clean_value
from tradewatch.telemetry.collector import Writing
from tradewatch.telemetry.outbox import Outbox

# Cleaned and by upstream's encoder, 30 µs each: a stretch of 0.3 ms.
_AT_ONCE = 5
# In memory, by tracemalloc on CPython 3.11: a histogram of ours takes 0.9 kB.
_POINT_BYTES = 1_000


class Point(NamedTuple):
    """A point, and what it is a point of."""

    resource: ResourceMetrics
    scope: ScopeMetrics
    metric: Metric
    data: Any


class PointReader(MetricReader):
    """Reads when its outbox asks, and leaves the points there.

    Args:
        exporter: its temporality and aggregation by kind of instrument are taken, as the SDK's own reader does.
        outbox: asks once `begin` was called.
    """

    def __init__(self, exporter: Any, outbox: Outbox[Point]) -> None:
        super().__init__(
            preferred_temporality=exporter._preferred_temporality, preferred_aggregation=exporter._preferred_aggregation
        )
        self.outbox = outbox

    def begin(self) -> None:
        """To be called once a provider has this reader: before there is nothing to read."""
        self.outbox.source = self

    def read(self) -> None:
        """Have what there is now wait in the outbox."""
        # A fork meanwhile would copy the SDK's locks as they are held.
        with fork.held:
            self.collect()

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        for resource in metrics_data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for data in metric.data.data_points:
                        self.outbox.put(Point(resource, scope, metric, data), _POINT_BYTES, urgent=False)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Read a last time and send what there is, within two seconds."""
        self.outbox.close(min(2.0, timeout_millis / 1000))

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Read now and wait until it is sent; False where that took longer."""
        self.read()
        return self.outbox.flush(timeout_millis / 1000)


def clean_point(point: Point) -> Point:
    """A point as it may leave. What it is a point of is cleaned when it is grouped."""
    data = point.data
    attributes = _clean(data.attributes)
    exemplars = [replace(each, filtered_attributes=_clean(each.filtered_attributes)) for each in data.exemplars]
    if attributes == data.attributes and exemplars == data.exemplars:
        return point
    return point._replace(data=replace(data, attributes=attributes, exemplars=exemplars))


def _clean(attributes: Any) -> dict[str, Any]:
    return {clean("", k): clean_value(k, v) for k, v in (attributes or {}).items()}


def grouped(points: Sequence[Point], clean_resources: dict[int, Any] | None = None) -> MetricsData:
    """Points that stand in the order they were read in, as the SDK hands them to an exporter.

    `clean_resources` keeps the clean resources of one batch by identity, over several calls.
    """
    clean_ones = {} if clean_resources is None else clean_resources
    resources: list[ResourceMetrics] = []
    last: Point | None = None
    for point in points:
        resource, scope, metric, data = point
        if last is None or resource is not last.resource:
            if id(resource) not in clean_ones:
                clean_ones[id(resource)] = clean_resource(resource.resource)
            resources.append(replace(resource, resource=clean_ones[id(resource)], scope_metrics=[]))
            last = None
        if last is None or scope is not last.scope:
            _added(resources[-1].scope_metrics, replace(scope, metrics=[]))
            last = None
        metrics = resources[-1].scope_metrics[-1].metrics
        if last is None or metric is not last.metric:
            said = replace(metric, description=clean("", metric.description or ""), unit=clean("", metric.unit or ""))
            of: Any = metric.data
            _added(metrics, replace(said, name=clean("", metric.name), data=replace(of, data_points=[])))
        _added(metrics[-1].data.data_points, data)
        last = point
    return MetricsData(resources)


def _added(to: Any, one: Any) -> None:
    """The SDK declares a sequence; here it is a list of our own."""
    to.append(one)


def write_by(encode: Callable[[MetricsData], Any]) -> Callable[[Sequence[Point]], Writing]:
    """What upstream's encoder would write of all the points, made a few at a time."""

    def write(batch: Sequence[Point]) -> Writing:
        request: Any = None
        impossible = 0
        last: Point | None = None
        resources: dict[int, Any] = {}
        for n in range(0, len(batch), _AT_ONCE):
            few = batch[n : n + _AT_ONCE]
            try:
                made = [(few, encode(grouped([clean_point(one) for one in few], resources)))]
            except Exception:  # a point of the bot's may hold anything: the others are written
                made = []
                for one in few:
                    try:
                        made.append(([one], encode(grouped([clean_point(one)], resources))))
                    except Exception:
                        impossible += 1
            for points, piece in made:
                if request is None:
                    request = piece
                else:
                    _join(request, piece, last, points[0])
                last = points[-1]
            yield
        return request.SerializePartialToString() if request is not None else b"", impossible

    return write


def _join(request: Any, piece: Any, last: Point | None, first: Point) -> None:
    """Go on with the metric, scope and resource that the request ends with, where the piece begins with the same."""
    assert last is not None
    if first.resource is last.resource:
        into, [resource] = request.resource_metrics[-1], piece.resource_metrics[:1]
        if first.scope is last.scope:
            inner, scope = into.scope_metrics[-1], resource.scope_metrics[0]
            if first.metric is last.metric:
                metric = scope.metrics[0]
                kind = metric.WhichOneof("data")
                getattr(inner.metrics[-1], kind).data_points.extend(getattr(metric, kind).data_points)
                del scope.metrics[0]
            inner.metrics.extend(scope.metrics)
            del resource.scope_metrics[0]
        into.scope_metrics.extend(resource.scope_metrics)
        del piece.resource_metrics[0]
    request.resource_metrics.extend(piece.resource_metrics)
