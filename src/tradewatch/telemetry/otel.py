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


def made_from_record(  # noqa: PLR0917  as many as a span has parts
    tracer: Any,
    name: str,
    context: Context,
    kind: SpanKind,
    attributes: Mapping[str, Value],
    more: Mapping[str, Value],
    status: Status,
    start_ns: int,
    end_ns: int,
) -> tuple[SpanContext, Any | None]:
    """What `tracer.start_span`, `set_attributes(more)`, `set_status` and `end` lead to, without a span in between.

    Args:
        tracer: the SDK's.
        name: the span's.
        context: the one that the span's parent is current in.
        kind: the span's.
        attributes: known at the start; the sampler sees these.
        more: known at the end.
        status: at the end.
        start_ns: epoch nanoseconds.
        end_ns: likewise.

    Returns:
        The span's identity, and the `ReadableSpan` for the processors; None where the sampler dropped it.
    """
    parent: SpanContext | None = None
    if SPAN_KEY in context:
        parent = trace.get_current_span(context).get_span_context()
    if not tracer._is_enabled():
        return parent or trace.INVALID_SPAN_CONTEXT, None
    ids = tracer.id_generator
    if parent is None or not parent.is_valid:
        parent = None
        trace_id, is_random = ids.generate_trace_id(), ids.is_trace_id_random()
    else:
        trace_id, is_random = parent.trace_id, parent.trace_flags.random_trace_id
    kept: Mapping[str, Any]
    if _keeps_all(tracer.sampler) and (parent is None or parent.trace_flags & TraceFlags.SAMPLED):
        decision, kept, state = _sampling()[2], attributes, None if parent is None else parent.trace_state
    else:
        sampled = tracer.sampler.should_sample(context, trace_id, name, kind, attributes, ())
        decision, kept, state = sampled.decision, sampled.attributes, sampled.trace_state
    flags = TraceFlags.SAMPLED if decision.is_sampled() else TraceFlags.DEFAULT
    if is_random:
        flags |= TraceFlags.RANDOM_TRACE_ID
    identity = SpanContext(trace_id, ids.generate_span_id(), False, TraceFlags(flags), state)
    ended = tracer._tracer_metrics.start_span(parent, decision)
    if not decision.is_recording():
        return identity, None
    ended()
    return identity, _readable_span()(
        name,
        identity,
        parent,
        tracer.resource,
        _within_limits(tracer._span_limits, attributes, kept, more),
        (),
        (),
        kind,
        tracer.instrumentation_info,
        status,
        start_ns,
        end_ns,
        tracer._instrumentation_scope,
    )


def _keeps_all(sampler: Any) -> bool:
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


@lru_cache(maxsize=1)
def _readable_span() -> Any:
    """Imported once it is needed: an application may have the API alone."""
    from opentelemetry.sdk.trace import ReadableSpan

    return ReadableSpan


def _within_limits(limits: Any, given: Mapping[str, Value], sampled: Any, more: Mapping[str, Value]) -> Any:
    """Ours are plain values under plain names, so they need the SDK's cleaning only where there is something to cut."""
    found = {**given, **more}
    most, longest = limits.max_span_attributes, limits.max_span_attribute_length
    if (sampled is given or sampled == given) and longest is None and (most is None or len(found) <= most):
        return found
    bounded = BoundedAttributes(most, sampled, immutable=False, max_value_len=longest)
    for name, value in more.items():
        bounded[name] = value
    return bounded


@lru_cache(maxsize=1)
def makes_the_same_spans() -> bool:
    """Whether `made_from_record` gives what this SDK itself gives for the same span; tried once."""
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
            identity, made = made_from_record(
                tracer, "trial", context, SpanKind.CLIENT, {"x": "long"}, {"y": 1, "z": True}, status, 5, 7
            )
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
