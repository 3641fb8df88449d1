"""What tests of spans stand on: tracer providers that keep what they get, and clients in which somebody asks."""

import threading

from opentelemetry import propagate, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_ON,
    Decision,
    Sampler,
    SamplingResult,
)

SYMBOL = "BTC/USDT"


class Foreign(SpanProcessor):
    """A processor of the application's own: notes what it is told, on which thread, and hands ended spans on."""

    def __init__(self, exporter):
        self.exporter, self.told = exporter, []

    def on_start(self, span, parent_context=None):
        self.told.append(("start", span.name, span.context.span_id, threading.get_ident()))

    def on_end(self, span):
        self.told.append(("end", span.name, span.context.span_id, threading.get_ident()))
        if span.context.trace_flags.sampled:
            self.exporter.export((span,))


class Traces:
    """A tracer provider and what reached its exporter."""

    def __init__(self, processor="simple", sampler=ALWAYS_ON, **settings):
        self.exporter = InMemorySpanExporter()
        kind = {"simple": SimpleSpanProcessor, "batch": BatchSpanProcessor, "foreign": Foreign}[processor]
        self.processor = kind(self.exporter)
        self.provider = TracerProvider(sampler, Resource({"service.name": "bot"}), shutdown_on_exit=False, **settings)
        self.provider.add_span_processor(self.processor)

    def spans(self):
        self.provider.force_flush()
        return self.exporter.get_finished_spans()

    def forget(self):
        self.spans()
        self.exporter.clear()

    def told(self):
        """Everything that must be equal, sorted: ids and times are each span's own."""
        names = {s.context.span_id: s.name for s in self.spans()}
        return sorted(
            (
                s.name,
                s.kind.name,
                sorted(s.attributes.items()),
                None if s.parent is None else names.get(s.parent.span_id, "not exported"),
                s.status.status_code.name,
                s.status.description,
                (s.resource, s.instrumentation_scope.name, s.context.trace_flags, s.context.is_remote),
                (s.events, s.links, s.dropped_attributes),
            )
            for s in self.spans()
        )

    def lie_within(self):
        """Whether each span's times lie within its parent's."""
        by_id = {s.context.span_id: s for s in self.spans()}
        pairs = [(s, by_id[s.parent.span_id]) for s in by_id.values() if s.parent and s.parent.span_id in by_id]
        return all(p.start_time <= s.start_time <= s.end_time <= p.end_time for s, p in pairs)


def span_context():
    return trace.get_current_span().get_span_context()


def asking(api, question):
    """ccxt's client, and in each of its attempts somebody asks for the current span."""

    class Sync(api.ccxt.binance):
        def fetch(self, *args, **kwargs):
            question()
            return super().fetch(*args, **kwargs)

    class Async(api.ccxt.binance):
        async def fetch(self, *args, **kwargs):
            question()
            return await super().fetch(*args, **kwargs)

    return Sync if api.name == "sync" else Async


QUESTIONS = {
    "unasked": lambda: None,
    "asked for ids": span_context,
    "asked by propagation": lambda: propagate.inject({}),
    "asked for an attribute": lambda: trace.get_current_span().is_recording(),
}


class ByAttribute(Sampler):
    """Drops what its attributes name, and counts what it is asked."""

    def __init__(self):
        self.asked = []

    def should_sample(self, parent_context, trace_id, name, kind=None, attributes=None, links=None):
        self.asked.append((name, dict(attributes or {})))
        drop = (attributes or {}).get("trading.operation") == "fetch_ticker"
        return SamplingResult(Decision.DROP if drop else Decision.RECORD_AND_SAMPLE, attributes)

    def get_description(self):
        return "by attribute"
