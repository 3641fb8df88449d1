"""From calls to spans, in three ways that give the same span.

Nobody asked for it: made from the record on the service thread, and handed over as it is where only exporters of ours
listen. Somebody asked for it while the call ran: started by the SDK at that moment, with the call's own start time, and
ended at the call's end on the bot's thread. A processor that is neither ours nor the SDK's Simple or Batch listens:
started and ended by the SDK with the call, so that `on_start` and `on_end` come on the bot's thread, parent before
child.

The sampler is asked once for each span, with the attributes that are known at its start.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    NoOpTracer,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TracerProvider,
)

from tradewatch.model import Attempt, Call, OrderReport, resent
from tradewatch.runtime.clock import epoch_offset_ns
from tradewatch.runtime.failures import failures
from tradewatch.runtime.scrub import scrubber
from tradewatch.semconv import attributes as a
from tradewatch.telemetry import otel
from tradewatch.telemetry.finished import Finished, Shape, Sink, readable
from tradewatch.telemetry.live import NOTHING_TOLD, NOWHERE, Asked, LiveCall, Try, described
from tradewatch.telemetry.orders import OrderTraces
from tradewatch.telemetry.otel import Value

if TYPE_CHECKING:
    from tradewatch.telemetry.probe import Operation

_UNSET = Status(StatusCode.UNSET)
_MOST_SHAPES = 4_096
_NOTHING_ODD = (None,) * 4
_NONE_RESENT = (0,)


def spans_to(provider: TracerProvider, scope: str, extra: Mapping[str, str]) -> Spans | None:
    """Spans for a provider; None where nobody wants any."""
    tracer = provider.get_tracer(scope)
    return None if isinstance(tracer, NoOpTracer) else Spans(provider, tracer, extra)


class Spans:
    """The spans of one watch.

    Args:
        provider: whose processors get the spans.
        tracer: of that provider.
        extra: attributes for every call's span.

    Attributes:
        eager: whether spans are started with their calls, for a processor that listens to starts.
    """

    def __init__(self, provider: TracerProvider, tracer: Any, extra: Mapping[str, str]) -> None:
        self._provider = provider
        self._tracer = tracer
        self._extra = dict(extra)
        # The attributes that all calls of an operation have.
        self._always: weakref.WeakKeyDictionary[Operation, dict[str, Value]] = weakref.WeakKeyDictionary()
        # One lock for each call that is being asked at this moment, and for no other.
        self._locks: dict[int, threading.RLock] = {}
        self._orders = OrderTraces()
        # What ordinary calls and their attempts have in common.
        self._shapes: dict[tuple[object, ...], Shape] = {}
        self._known = scrubber.known
        self._ended: list[Finished] = []
        self._sinks: tuple[Sink, ...] = ()
        self._as_the_sdk = hasattr(tracer, "span_processor") and otel.makes_the_same_spans()
        self.eager = True
        self._keeps_all = False
        self.look()

    def look(self) -> None:
        """See which processors there are: the application may have added one."""
        self.eager = not (self._as_the_sdk and otel.only_ends(self._provider))
        self._keeps_all = self._as_the_sdk and otel.keeps_all(self._tracer.sampler)
        self._sinks = () if self.eager else otel.sinks_of(self._provider)
        if scrubber.known != self._known:
            self._known = scrubber.known
            self._shapes.clear()

    def begin_eagerly(self, live: LiveCall) -> None:
        """Start a call's span now, on the thread that makes the call."""
        live.asked = self._started(live, is_eager=True)

    def real(self, live: LiveCall) -> Span:
        """The call's span as the SDK's own, started at the first question; all threads get the same one."""
        asked = live.asked
        if asked is None:
            with self._asking(live):
                asked = live.asked
                if asked is None:
                    asked = live.asked = self._started(live, is_eager=False)
            self._locks.pop(id(live), None)
        # It may have ended between the question and the answer, or long ago.
        if live.end_ns:
            self.finish(live)
        return asked.span

    def finish(self, live: LiveCall) -> None:
        """End the span of a call that has ended: once, by whoever sees first that it is both there and over."""
        asked = live.asked
        if asked is None:
            return
        # No call stands between the reading and the writing, so no other thread does.
        was_over, asked.is_over = asked.is_over, True
        if was_over or not asked.span.is_recording():
            return
        call = described(live, NOTHING_TOLD)
        asked.span.set_attributes(_end_attributes(call))
        if call.error is not None:
            asked.span.set_status(Status(StatusCode.ERROR, call.message))
        asked.span.end(call.end_mono_ns + asked.offset_ns)

    def attempt(self, live: LiveCall, made: Try) -> None:
        """The span of an attempt that has ended, where the call's was started eagerly; on the bot's thread."""
        asked = live.asked
        if asked is None or not asked.is_eager:
            return
        tries, attempts = live.tries, live.attempts
        at = tries.index(made)
        attempt, n = attempts[at], list(resent(attempts))[at]
        span = self._tracer.start_span(
            attempt.method,
            trace.set_span_in_context(asked.span, live.parent),
            SpanKind.CLIENT,
            _attempt_start(attempt, n),
            start_time=attempt.start_mono_ns + asked.offset_ns,
        )
        if span.is_recording():
            span.set_attributes(_attempt_end(attempt))
            if attempt.error is not None:
                span.set_status(Status(StatusCode.ERROR, attempt.error))
            span.end(attempt.end_mono_ns + asked.offset_ns)

    def emit(self, call: Call, offset_ns: int) -> SpanContext | None:
        """Note what the processors have not had yet of a call: its span unless it was asked for, its attempts.

        Args:
            call: as it was written down.
            offset_ns: from the monotonic clock to the epoch.

        Returns:
            The identity of the call's span; None of what a stream told, which is no call.
        """
        live: LiveCall = call.span
        if call.cell is None:
            for told in self._orders.told(call):
                self._tell(*told, offset_ns)
            return None
        asked, made = live.asked, None
        if asked is None and self._keeps_all and otel.SPAN_KEY not in call.parent:
            # Nobody need be asked whether it is kept: so its identity may be made before it is known to be needed.
            identity, made = self._from_record(call, offset_ns)
            its_own = Asked(NonRecordingSpan(identity), offset_ns, is_eager=False, is_over=True)
            # No call stands between the questions and the answer, so no other thread asks in between.
            if live.asked is None and not self._locks:
                asked = live.asked = its_own
        if asked is None:
            made = None
            with self._asking(live):
                asked = live.asked
                if asked is None:
                    identity, made = self._from_record(call, offset_ns)
                    asked = live.asked = Asked(NonRecordingSpan(identity), offset_ns, is_eager=False, is_over=True)
            self._locks.pop(id(live), None)
        live.parent = NOWHERE
        identity = asked.span.get_span_context()
        if call.attempts and not asked.is_eager:
            self._attempts(call, identity, asked.offset_ns)
        if made is not None:
            self._end(made)
        if call.outcomes:
            for told in self._orders.placed(call, identity):
                self._tell(*told, offset_ns)
        return identity

    def hand_over(self) -> None:
        """Give the processors what was noted since; to be called after some of `emit`."""
        if self._ended:
            ended, self._ended = self._ended, []
            for sink in self._sinks:
                sink.take(ended)

    def _end(self, span: Finished) -> None:
        if self._sinks:
            self._ended.append(span)
        else:
            self._tracer.span_processor.on_end(readable(span))

    def _tell(self, placed: SpanContext, call: Call, told: Mapping[str, Value | None], offset_ns: int) -> None:
        """The span of what a stream told of an order, under the one that placed it."""
        operation: Operation = call.span.operation
        at_ns = call.start_mono_ns + offset_ns
        context = Context({otel.SPAN_KEY: NonRecordingSpan(placed)})
        attributes = {**self._of_all(operation), **_scrubbed(told)}
        name, kind = operation.span_name, SpanKind.CONSUMER
        if self.eager:
            self._tracer.start_span(name, context, kind, attributes, start_time=at_ns).end(at_ns)
            return
        shape = otel.shaped(self._tracer, name, kind, attributes, {}, _UNSET)
        _, made = self._made(shape, context, placed, at_ns, at_ns)
        if made is not None:
            self._end(made)

    def _made(  # noqa: PLR0917  as many as a span has parts
        self,
        shape: Shape,
        context: Context | None,
        parent: SpanContext | None,
        start_ns: int,
        end_ns: int,
        number: float = 0.0,
    ) -> tuple[SpanContext, Finished | None]:
        """A span's identity, and the span itself unless the sampler dropped it."""
        tracer, is_kept = self._tracer, self._keeps_all and otel.keeps(parent)
        identity, parent, kept = otel.begun(tracer, shape.name, context, parent, shape.kind, shape.start, is_kept)
        if kept is None:
            return identity, None
        if kept is not shape.start:
            more = shape.end if shape.varying is None else {**shape.end, shape.varying: number}
            shape = otel.shaped(tracer, shape.name, shape.kind, shape.start, more, shape.status, kept)
        return identity, Finished(shape, identity, parent, start_ns, end_ns, number)

    def _asking(self, live: LiveCall) -> threading.RLock:
        # `setdefault` is atomic. A thread that comes when the lock has been let go sees what was done under it.
        return self._locks.setdefault(id(live), threading.RLock())

    def _started(self, live: LiveCall, *, is_eager: bool) -> Asked:
        offset_ns = epoch_offset_ns()
        span: Span = trace.INVALID_SPAN
        # The sampler and `on_start` see the context that the call began in, as they would have at its beginning.
        token = otel.set_context(live.parent)
        try:
            with failures.kept("spans"):
                span = self._tracer.start_span(
                    live.operation.span_name,
                    live.parent,
                    SpanKind.INTERNAL,
                    self._start_attributes(described(live, NOTHING_TOLD), live.operation),
                    start_time=live.start_ns + offset_ns,
                )
        finally:
            otel.reset_context(token)
        return Asked(span, offset_ns, is_eager)

    def _from_record(self, call: Call, offset_ns: int) -> tuple[SpanContext, Finished | None]:
        shape, parent = self._shape_of(call), otel.parent_in(call.parent)
        start_ns, end_ns = call.start_mono_ns + offset_ns, call.end_mono_ns + offset_ns
        return self._made(shape, call.parent, parent, start_ns, end_ns, call.throttle_ns / 1e9)

    def _shape_of(self, call: Call) -> Shape:
        operation: Operation = call.span.operation
        is_plain = call.error is None and not (call.cancelled or call.requests or call.outcomes)
        key = (operation, call.symbol, len(call.attempts), bool(call.throttle_ns))
        shape = self._shapes.get(key) if is_plain else None
        if shape is None:
            shape = otel.shaped(
                self._tracer,
                operation.span_name,
                SpanKind.INTERNAL,
                self._start_attributes(call, operation),
                _end_attributes(call),
                _UNSET if call.error is None else Status(StatusCode.ERROR, call.message),
                varying=a.THROTTLE.name if is_plain and call.throttle_ns else None,
                lasts=is_plain,
            )
            if shape.lasts:
                self._keep(key, shape)
        return shape

    def _keep(self, key: tuple[object, ...], shape: Shape) -> None:
        if len(self._shapes) >= _MOST_SHAPES:
            self._shapes.clear()
        self._shapes[key] = shape

    def _attempts(self, call: Call, identity: SpanContext, offset_ns: int) -> None:
        inside: Context | None = None
        if not (self._keeps_all and otel.keeps(identity)):
            inside = Context({**call.parent, otel.SPAN_KEY: NonRecordingSpan(identity)})
        attempts = call.attempts
        for attempt, n in zip(attempts, resent(attempts) if len(attempts) > 1 else _NONE_RESENT, strict=True):
            shape = self._shape_of_attempt(attempt, n)
            start_ns, end_ns = attempt.start_mono_ns + offset_ns, attempt.end_mono_ns + offset_ns
            _, made = self._made(shape, inside, identity, start_ns, end_ns)
            if made is not None:
                self._end(made)

    def _shape_of_attempt(self, attempt: Attempt, n: int) -> Shape:
        odd = (attempt.error, attempt.nonce, attempt.nonce_error, attempt.retry_after_s)
        is_plain = not n and odd == _NOTHING_ODD
        key = (attempt.method, attempt.host, attempt.path, attempt.status)
        shape = self._shapes.get(key) if is_plain else None
        if shape is None:
            shape = otel.shaped(
                self._tracer,
                attempt.method,
                SpanKind.CLIENT,
                _attempt_start(attempt, n),
                _attempt_end(attempt),
                _UNSET if attempt.error is None else Status(StatusCode.ERROR, attempt.error),
                lasts=is_plain,
            )
            if shape.lasts:
                self._keep(key, shape)
        return shape

    def _start_attributes(self, call: Call, operation: Operation) -> dict[str, Value]:
        found = self._of_all(operation)
        if len(call.requests) != 1:
            return found if call.symbol is None else {**found, a.SYMBOL.name: call.symbol}
        request = call.requests[0]
        given = {
            a.SYMBOL.name: request.key.symbol or call.symbol,
            a.ORDER_SIDE.name: request.side,
            a.ORDER_TYPE.name: request.type,
            a.ORDER_AMOUNT.name: _text(request.amount),
            a.ORDER_PRICE.name: _text(request.price),
        }
        return {**found, **_scrubbed(given)}

    def _of_all(self, operation: Operation) -> dict[str, Value]:
        found = self._always.get(operation)
        if found is None:
            named = {a.EXCHANGE.name: operation.probe.venue, a.OPERATION.name: operation.name}
            found = self._always[operation] = {**self._extra, **_scrubbed(named)}
        return found


def _end_attributes(call: Call) -> dict[str, Value]:
    found: dict[str, Value | None] = {a.ATTEMPTS.name: len(call.attempts)}
    if call.throttle_ns:
        found[a.THROTTLE.name] = call.throttle_ns / 1e9
    if call.error is not None:
        found[a.ERROR_TYPE.name] = call.error
    if call.cancelled:
        found[a.CANCELLED.name] = True
    if len(call.requests) == 1:
        # The client library may have given it while the call ran: no sampler could be sure to see it.
        found[a.CLIENT_ID.name] = call.requests[0].key.client_id
    if len(call.requests) == 1 and call.outcomes:
        outcome: OrderReport = call.outcomes[0]
        found |= {
            a.CLIENT_ID.name: outcome.key.client_id or call.requests[0].key.client_id,
            a.ORDER_ID.name: outcome.key.order_id,
            a.ORDER_STATUS.name: outcome.status,
            a.ORDER_FILLED.name: _text(outcome.filled),
            a.ORDER_AVERAGE.name: _text(outcome.average),
        }
    return _scrubbed(found)


def _attempt_start(attempt: Attempt, n: int) -> dict[str, Value]:
    found = _endpoint(attempt.method, attempt.host, attempt.path, scrubber.known)
    if n:
        found = {**found, a.RESEND.name: n}
    return found if attempt.nonce is None else {**found, a.NONCE.name: scrubber.value(attempt.nonce)}


@lru_cache(maxsize=1_024)
def _endpoint(method: str, host: str, path: str, known: int) -> dict[str, Value]:
    """Nobody writes to it: all attempts there have the same one, as long as `known` secrets are known."""
    return _scrubbed({a.HTTP_METHOD.name: method, a.SERVER.name: host, a.URL_PATH.name: scrubber.text(path)})


def _attempt_end(attempt: Attempt) -> dict[str, Value]:
    return _scrubbed(
        {
            a.HTTP_STATUS.name: attempt.status,
            a.ERROR_TYPE.name: attempt.error,
            a.NONCE_ERROR.name: attempt.nonce_error,
            a.RETRY_AFTER.name: attempt.retry_after_s,
        }
    )


def _scrubbed(found: Mapping[str, Value | None]) -> dict[str, Value]:
    return {k: scrubber.value(v) if type(v) is str else v for k, v in found.items() if v is not None}


def _text(value: object) -> str | None:
    return None if value is None else f"{value:f}"
