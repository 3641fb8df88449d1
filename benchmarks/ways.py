"""The ways that are compared. Each imports what it needs when it is chosen: the memory of one is not that of another.

The naive way is what most guides show: wrapt, a span of six attributes as the current one, a histogram and a counter.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

NOTHING = "nothing"
NAIVE = "naive OpenTelemetry"
LABELS = "prometheus_client, labels()"
CACHED = "prometheus_client, cached"
RECORD = "metrics and record"
SPAN = "metrics, record and span"


def discarded() -> SpanExporter:
    """Takes spans and lets them go."""
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Discarded(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    return Discarded()


def by_otlp() -> SpanExporter:
    """OpenTelemetry's own, over HTTP to where the environment says."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


def tracers(exporter: SpanExporter, **batch: Any) -> TracerProvider:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, **batch))
    return provider


def roomy(exporter: SpanExporter) -> TracerProvider:
    """Nothing is dropped, and what is exported is exported between the rounds."""
    return tracers(exporter, max_queue_size=100_000, schedule_delay_millis=500, max_export_batch_size=100_000)


def naive(
    function: Callable[..., Any],
    operation: str,
    is_async: bool,
    provider: TracerProvider,
    reader: MetricReader | None = None,
) -> Any:
    import wrapt
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    meters = MeterProvider([reader or InMemoryMetricReader()], shutdown_on_exit=False)
    tracer, meter = provider.get_tracer("naive"), meters.get_meter("naive")
    duration, calls = meter.create_histogram("duration", "s"), meter.create_counter("calls")
    attributes = {"exchange": "binance", "operation": operation, "symbol": "BTC/USDT", "a": 1, "b": "x", "c": True}
    labels = {"exchange": "binance", "operation": operation}

    if is_async:

        async def around(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
            with tracer.start_as_current_span(operation, attributes=attributes):
                began = time.perf_counter()
                result = await wrapped(*args, **kwargs)
                duration.record(time.perf_counter() - began, labels)
                calls.add(1, labels)
                return result
    else:

        def around(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
            with tracer.start_as_current_span(operation, attributes=attributes):
                began = time.perf_counter()
                result = wrapped(*args, **kwargs)
                duration.record(time.perf_counter() - began, labels)
                calls.add(1, labels)
                return result

    return wrapt.FunctionWrapper(function, around)


def prometheus(function: Callable[..., Any], operation: str, is_async: bool, cached: bool, registry: Any = None) -> Any:
    from prometheus_client import CollectorRegistry, Counter, Histogram

    registry = registry or CollectorRegistry()
    duration = Histogram("duration", "d", ["exchange", "operation"], registry=registry)
    calls = Counter("calls", "c", ["exchange", "operation"], registry=registry)
    kept = duration.labels("binance", operation), calls.labels("binance", operation)

    def count(began: float) -> None:
        seconds, times = kept if cached else (duration.labels("binance", operation), calls.labels("binance", operation))
        seconds.observe(time.perf_counter() - began)
        times.inc()

    async def around_async(*args: Any) -> Any:
        began = time.perf_counter()
        result = await function(*args)
        count(began)
        return result

    def around(*args: Any) -> Any:
        began = time.perf_counter()
        result = function(*args)
        count(began)
        return result

    return around_async if is_async else around
