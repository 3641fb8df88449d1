"""Spans, logs and metrics on their way to an exporter: what queues them, and what writes a request of them.

Spans are written by `otlp.py`, logs and points of metrics by upstream's encoder, a few at a time; all of it on the
thread of an outbox.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Sequence
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanContext, Status, StatusCode

from tradewatch.runtime.failures import failures
from tradewatch.runtime.safety import breathe
from tradewatch.runtime.scrub import scrubber
from tradewatch.telemetry.cleaning import clean, clean_log, clean_span
from tradewatch.telemetry.collector import Collector, Exporter, Signal, Writing, finish
from tradewatch.telemetry.finished import Finished, texts, urgent
from tradewatch.telemetry.otlp import Encoder
from tradewatch.telemetry.outbox import Outbox, Sent, Size
from tradewatch.telemetry.points import Point, PointReader, clean_point, grouped, write_by

# Of upstream's encoder, 20 µs a record: a stretch of 0.3 ms.
_AT_ONCE = 8
# What a span of the SDK's takes in memory less its attributes. By tracemalloc on CPython 3.11 one with six: 3.1 kB.
_SPAN_BYTES = 2_300
Span = ReadableSpan | Finished


class SpanSink(SpanProcessor):
    """Queues finished spans; takes no lock, and costs one of the SDK's 2 µs, one of ours 1."""

    def __init__(self, outbox: Outbox[Span]) -> None:
        self.outbox = outbox
        self._put = outbox.put
        self._kept = failures.kept("spans")

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a sampled span."""
        with self._kept:
            context = span.context
            if context is None or not context.trace_flags & 1:
                return
            attributes: Any = span.attributes
            size = _SPAN_BYTES + texts(attributes)
            for event in span.events:
                size += _SPAN_BYTES + texts(event.attributes)
            for link in span.links:
                size += _SPAN_BYTES + texts(link.attributes)
            self._put(span, size, urgent(span.status, attributes))

    def take(self, spans: Sequence[Finished]) -> None:
        """Queue those of ours that are sampled."""
        with self._kept:
            for span in spans:
                if span.context.trace_flags & 1:
                    shape = span.shape
                    self._put(span, shape.size, shape.is_urgent)

    def shutdown(self) -> None:
        """Send what there is, within two seconds."""
        self.outbox.close(2.0)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until what there is now is sent; False where that took longer."""
        return self.outbox.flush(timeout_millis / 1000)


def spans_by_otlp(size: Size, headers: str | None = None) -> Outbox[Span]:
    """An outbox of spans to the collector that OTEL_* variables name; `headers` as they have them.

    Raises:
        Exception: whatever upstream says of what such a variable holds.
    """
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    answer = ExportTraceServiceResponse
    collector = Collector(
        Signal("TRACES", OTLPSpanExporter, "encode_spans", _span_writer(), _each(clean_span), answer, "rejected_spans"),
        headers,
    )
    return Outbox("spans", collector.send, collector.close, size)


def spans_by(exporter: Exporter, size: Size) -> Outbox[Span]:
    """An outbox of spans to any exporter of the SDK's kind, such as the console's; they are scrubbed all the same."""
    return Outbox("spans", _handing(exporter, _each(clean_span)), exporter.shutdown, size)


def logs_by_otlp(size: Size, headers: str | None = None) -> Outbox[Any]:
    """An outbox of log records to the collector that OTEL_* variables name; `headers` as they have them.

    Raises:
        Exception: whatever upstream says of what such a variable holds.
    """
    from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

    write, answer = _in_pieces(encode_logs, clean_log), ExportLogsServiceResponse
    collector = Collector(
        Signal("LOGS", OTLPLogExporter, "encode_logs", write, _each(clean_log), answer, "rejected_log_records"),
        headers,
    )
    return Outbox("logs", collector.send, collector.close, size)


def logs_by(exporter: Exporter, size: Size) -> Outbox[Any]:
    """An outbox of log records to any exporter of the SDK's kind."""
    return Outbox("logs", _handing(exporter, _each(clean_log)), exporter.shutdown, size)


def spans_to_console(size: Size) -> Outbox[Span]:
    """An outbox of spans that are printed."""
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter

    return spans_by(ConsoleSpanExporter(out=sys.stdout), size)


def logs_to_console(size: Size) -> Outbox[Any]:
    """An outbox of log records that are printed."""
    from opentelemetry.sdk._logs.export import ConsoleLogRecordExporter

    return logs_by(ConsoleLogRecordExporter(sys.stdout), size)


def metrics_by_otlp(size: Size, headers: str | None = None) -> PointReader:
    """A reader of metrics, with an outbox to the collector that OTEL_* variables name; `headers` as they have them.

    Raises:
        Exception: whatever upstream says of what such a variable holds.
    """
    from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

    write, answer = write_by(encode_metrics), ExportMetricsServiceResponse
    collector = Collector(
        Signal("METRICS", OTLPMetricExporter, "encode_metrics", write, _points, answer, "rejected_data_points"),
        headers,
    )
    return PointReader(collector.exporter, Outbox("metrics", collector.send, collector.close, size))


def metrics_by(exporter: Exporter, size: Size) -> PointReader:
    """A reader of metrics, with an outbox to any exporter of the SDK's kind."""
    return PointReader(exporter, Outbox("metrics", _handing(exporter, _points), exporter.shutdown, size))


def metrics_to_console(size: Size) -> PointReader:
    """A reader of metrics, with an outbox that prints them."""
    from opentelemetry.sdk.metrics.export import ConsoleMetricExporter

    return metrics_by(ConsoleMetricExporter(out=sys.stdout), size)


def _points(batch: Sequence[Point]) -> MetricsData:
    return grouped(_each(clean_point)(batch))


def _each(clean_one: Callable[[Any], Any]) -> Callable[[Sequence[Any]], list[Any]]:
    def cleaned(batch: Sequence[Any]) -> list[Any]:
        clean_ones = []
        for one in batch:
            clean_ones.append(clean_one(one))
            breathe()
        return clean_ones

    return cleaned


def _handing(exporter: Exporter, cleaned: Callable[[Sequence[Any]], Any]) -> Callable[[Sequence[Any]], Sent]:
    def send(batch: Sequence[Any]) -> Sent:
        done = exporter.export(cleaned(batch))
        return Sent() if done.name == "SUCCESS" else Sent(refused=True, why="its exporter failed")

    return send


def _span_writer() -> Callable[[Sequence[Any]], Writing]:
    """Ours where it writes what upstream writes, else upstream's."""
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    if not encodes_like(encode_spans):
        failures.warn("otlp encoder", "OpenTelemetry's own encoder is used: spans of this version are built otherwise")
        return _in_pieces(encode_spans, clean_span)
    encoder = Encoder(clean)
    known = scrubber.known

    def write(batch: Sequence[Span]) -> Writing:
        nonlocal known
        if scrubber.known != known:
            known = scrubber.known
            encoder.forget()
        before = encoder.skipped
        request = yield from encoder.encode(batch)
        return request, encoder.skipped - before

    return write


def encodes_like(encode_spans: Callable[[Sequence[ReadableSpan]], Any]) -> bool:
    """Whether our encoder writes a span of this version's SDK as `encode_spans` does."""
    from opentelemetry.sdk.trace import TracerProvider

    try:
        resource, parent = Resource({"service.name": "self-test"}), SpanContext(1, 2, True)
        known: Any = {"text": "x", "number": 1, "truth": True, "real": 0.5, "list": ("a", "b")}
        plain = ReadableSpan("plain", SpanContext(3, 4, False), parent, resource, known, start_time=1, end_time=2)
        provider = TracerProvider(ALWAYS_ON, resource, shutdown_on_exit=False)
        with provider.get_tracer("self-test", "1").start_as_current_span("sdk", Context(), attributes=known) as span:
            span.add_event("event", known)
            span.add_link(parent, known)
            span.set_status(Status(StatusCode.ERROR, "said"))
        spans: list[Any] = [plain, span]
        theirs = encode_spans(spans)
        request, _ = finish(_counted(Encoder().encode(spans)))
        return bool(type(theirs).FromString(request) == theirs)
    except Exception:
        return False


def _counted(request: Generator[None, None, bytes]) -> Writing:
    return (yield from request), 0


def _in_pieces(encode: Callable[[Sequence[Any]], Any], clean_one: Callable[[Any], Any]) -> Callable[..., Writing]:
    """Upstream's encoder, a few at a time: messages one after the other are read as one."""

    def write(batch: Sequence[Any]) -> Writing:
        pieces, impossible = [], 0
        for n in range(0, len(batch), _AT_ONCE):
            few = batch[n : n + _AT_ONCE]
            try:
                pieces.append(encode([clean_one(one) for one in few]).SerializePartialToString())
            except Exception:
                for one in few:
                    try:
                        pieces.append(encode([clean_one(one)]).SerializePartialToString())
                    except Exception:  # an object of the bot's may be anything
                        impossible += 1
            yield
        return b"".join(pieces), impossible

    return write
