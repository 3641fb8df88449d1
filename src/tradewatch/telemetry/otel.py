"""What tradewatch needs of OpenTelemetry beyond its public names, all in one place and looked at once.

Two things: the variable that holds the current context (the public `detach` logs where a coroutine is closed in
another context), and how the SDK makes a span (so that one can be made from a record, after the call). Where either is
not as it was when this was written, `attach` and `detach` are used, and every span is started by the SDK itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, Tracer, TracerProvider

from tradewatch.telemetry.finished import Finished, Shape, Sink, readable

Value = str | int | float | bool

[SPAN_KEY] = trace.set_span_in_context(trace.INVALID_SPAN, Context())


def _context_variable() -> tuple[Callable[[], Context], Callable[[Any], Any], Callable[[Any], None]]:
    runtime: Any = getattr(context_api, "_RUNTIME_CONTEXT", None)
    variable = getattr(runtime, "_current_context", None)
    if type(runtime).__name__ == "ContextVarsRuntimeContext" and isinstance(variable, ContextVar):
        return variable.get, variable.set, variable.reset
    return context_api.get_current, context_api.attach, context_api.detach


# Read, set and put back the current context; putting it back raises ValueError in another context than it was set in.
get_context, set_context, reset_context = _context_variable()


def processors_of(provider: TracerProvider) -> tuple[Any, ...] | None:
    """The span processors of an SDK's provider; None where that cannot be told."""
    found: tuple[Any, ...] | None = getattr(getattr(provider, "_active_span_processor", None), "_span_processors", None)
    return found


def readers_of(provider: MeterProvider | None) -> tuple[Any, ...]:
    """The metric readers that an SDK's provider was made with; none where that cannot be told."""
    return tuple(getattr(provider, "_metric_readers", ()))


def only_ends(provider: TracerProvider) -> bool:
    """Whether every processor of `provider` cares for ended spans alone, on whichever thread they end.

    True of ours and of the SDK's Simple and Batch; anybody else's may look at spans as they start.
    """
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

    processors = processors_of(provider)
    return processors is not None and all(
        type(p) in (SimpleSpanProcessor, BatchSpanProcessor) or type(p).__module__.startswith("tradewatch.")
        for p in processors
    )


def sinks_of(provider: TracerProvider) -> tuple[Sink, ...]:
    """The span processors of `provider` where all of them take finished spans as they are; else none."""
    processors = processors_of(provider) or ()
    return processors if all(hasattr(p, "take") for p in processors) else ()


def parent_in(context: Context) -> SpanContext | None:
    """The identity of the span that is current in a context."""
    return trace.get_current_span(context).get_span_context() if SPAN_KEY in context else None


def keeps(parent: SpanContext | None) -> bool:
    """Whether a sampler that `keeps_all` keeps what has this parent."""
    return parent is None or bool(parent.trace_flags & TraceFlags.SAMPLED)


def begun(  # noqa: PLR0917  as many as a span begins with
    tracer: Any,
    name: str,
    context: Context | None,
    parent: SpanContext | None,
    kind: SpanKind,
    attributes: Mapping[str, Value],
    is_kept: bool,
) -> tuple[SpanContext, SpanContext | None, Mapping[str, Any] | None]:
    """What `tracer.start_span` would begin, without a span.

    Args:
        tracer: the SDK's.
        name: the span's.
        context: the one that the span's parent is current in; for the sampler.
        parent: the span that is current there (`parent_in`).
        kind: the span's.
        attributes: known at the start; the sampler sees these.
        is_kept: whether there is no need to ask the sampler (`keeps`).

    Returns:
        The span's identity, its parent, and the attributes that it begins with, `attributes` themselves where the
        sampler added none; None where it dropped the span.
    """
    if not tracer._is_enabled():
        return parent or trace.INVALID_SPAN_CONTEXT, None, None
    ids = tracer.id_generator
    if parent is None or not parent.is_valid:
        parent = None
        trace_id, is_random = ids.generate_trace_id(), ids.is_trace_id_random()
    else:
        trace_id, is_random = parent.trace_id, parent.trace_flags.random_trace_id
    kept: Mapping[str, Any]
    if is_kept:
        kept, state = attributes, None if parent is None else parent.trace_state
        decision, is_sampled, is_recording = _sampling()[2], True, True
    else:
        sampled = tracer.sampler.should_sample(context, trace_id, name, kind, attributes, ())
        decision, kept, state = sampled.decision, sampled.attributes, sampled.trace_state
        kept = attributes if kept == attributes else kept or {}
        is_sampled, is_recording = decision.is_sampled(), decision.is_recording()
    flags = _FLAGS[is_sampled, bool(is_random)]
    identity = SpanContext(trace_id, ids.generate_span_id(), False, flags, state)
    ended = tracer._tracer_metrics.start_span(parent, decision)
    if not is_recording:
        return identity, parent, None
    ended()
    return identity, parent, kept


_FLAGS = {
    (is_sampled, is_random): TraceFlags(
        (TraceFlags.SAMPLED if is_sampled else TraceFlags.DEFAULT)
        | (TraceFlags.RANDOM_TRACE_ID if is_random else TraceFlags.DEFAULT)
    )
    for is_sampled in (False, True)
    for is_random in (False, True)
}


def keeps_all(sampler: Any) -> bool:
    """Whether a sampler keeps every span that has no parent or one that is kept: the SDK's default, and "always on".

    There is no need to ask such a one: its answer is known. Of any other nothing is.
    """
    always_on, parent_based, _ = _sampling()
    if type(sampler) is not parent_based:
        return sampler is always_on
    kept_with_parents = (sampler._remote_parent_sampled, sampler._local_parent_sampled)
    return sampler._root is always_on and kept_with_parents == (always_on, always_on)


@lru_cache(maxsize=1)
def _sampling() -> tuple[Any, Any, Any]:
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision, ParentBased

    return ALWAYS_ON, ParentBased, Decision.RECORD_AND_SAMPLE


def shaped(  # noqa: PLR0917  as many as a shape has parts
    tracer: Any,
    name: str,
    kind: SpanKind,
    start: Mapping[str, Value],
    more: Mapping[str, Value],
    status: Status,
    kept: Mapping[str, Any] | None = None,
    *,
    varying: str | None = None,
    lasts: bool = False,
) -> Shape:
    """What `set_attributes(more)` and `set_status` make of a span that began with `start`, or with `kept` instead.

    `varying` is one of `more` whose number each span has for itself. Where the SDK's limits may cut it off, there is
    no such attribute.
    """
    begins = start if kept is None else kept
    limits = tracer._span_limits
    most, longest = limits.max_span_attributes, limits.max_span_attribute_length
    # Ours are plain values under plain names, so they need the SDK's cleaning only where there is something to cut.
    if begins is start and longest is None and (most is None or len(start) + len(more) <= most):
        found = {**start, **more}
        if varying is not None:
            found.pop(varying)
        return Shape(name, kind, start, more, found, status, tracer, varying, lasts)
    bounded = BoundedAttributes(most, begins, immutable=False, max_value_len=longest)
    for key, value in more.items():
        bounded[key] = value
    return Shape(name, kind, start, more, bounded, status, tracer)


@lru_cache(maxsize=1)
def makes_the_same_spans() -> bool:
    """Whether a span that is made of a record is what this SDK itself gives for the same span; tried once."""
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import SpanLimits, SpanProcessor
        from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
        from opentelemetry.sdk.trace.sampling import DEFAULT_ON

        seen: list[Any] = []

        class Keep(SpanProcessor):
            def on_end(self, span: Any) -> None:
                seen.append(span)

        Keep.__module__ = "an.application"
        provider = SdkTracerProvider(
            DEFAULT_ON,
            Resource({"a": "b"}),
            shutdown_on_exit=False,
            # Nothing is cut here: the SDK would log it.
            span_limits=SpanLimits(max_span_attributes=3, max_span_attribute_length=4),
        )
        provider.add_span_processor(Keep())
        tracer: Tracer = provider.get_tracer("trial", "1", attributes={"c": "d"})
        outer = tracer.start_span("outer", Context())
        inside = trace.set_span_in_context(outer, Context())
        status = Status(StatusCode.ERROR, "why")
        for context in (Context(), inside):
            span = tracer.start_span("trial", context, SpanKind.CLIENT, {"x": "long"}, start_time=5)
            span.set_attributes({"y": 1, "z": True})
            span.set_status(status)
            span.end(7)
            start = {"x": "long"}
            above = parent_in(context)
            is_kept = keeps_all(provider.sampler) and keeps(above)
            identity, parent, kept = begun(tracer, "trial", context, above, SpanKind.CLIENT, start, is_kept)
            shape = shaped(tracer, "trial", SpanKind.CLIENT, start, {"y": 1, "z": True}, status, kept)
            made = readable(Finished(shape, identity, parent, 5, 7))
            if _told(made) != _told(seen[-1]) or identity.trace_flags != span.get_span_context().trace_flags:
                return False
        # The list that `only_ends` looks at is where processors are.
        return not only_ends(provider)
    except Exception:  # whatever another SDK lacks
        return False


def _told(span: Any) -> tuple[Any, ...]:
    same_trace = span.parent is not None and span.parent.trace_id == span.context.trace_id
    return (
        span.name,
        span.kind,
        span.parent,
        same_trace,
        dict(span.attributes),
        span.dropped_attributes,
        (span.events, span.links, span.dropped_events, span.dropped_links),
        (span.status.status_code, span.status.description),
        (span.start_time, span.end_time),
        span.resource,
        span.instrumentation_scope,
        span.context.trace_state,
        span.context.is_remote,
    )
