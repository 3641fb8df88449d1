"""From call records to spans of the OpenTelemetry SDK, on the service thread."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer

from tradewatch.model import Attempt, Call
from tradewatch.runtime.failures import failures
from tradewatch.runtime.scrub import scrubber
from tradewatch.runtime.service import pause
from tradewatch.semconv import attributes as a
from tradewatch.telemetry.tally import outcome_of

_MOST_WAITING = 50_000
_STRETCH_S = 0.0003
_EVERY_S = 0.1
# Between stretches, while more spans wait than are sent.
_CROWDED_S = 0.002


class Emitter:
    """Takes records from the safety thread and hands them to the providers, in stretches of 0.3 ms.

    Args:
        tracer: None where nobody wants spans.
        saw: given each call once its span is made, with a context that holds the span.
        extra: attributes for every span.
        crowded: whether spans come faster than they are sent.
    """

    def __init__(
        self,
        tracer: Tracer | None,
        saw: Callable[[Call, Context], None],
        extra: Mapping[str, str],
        crowded: Callable[[], bool],
    ) -> None:
        self._tracer = tracer
        self._saw = saw
        self._extra = dict(extra)
        self._crowded = crowded
        self._waiting: deque[Call] = deque()
        self.dropped = 0

    def take(self, call: Call) -> None:
        """Queue a record; where the service thread is stuck and the queue full, it is counted and let go."""
        if len(self._waiting) >= _MOST_WAITING:
            self.dropped += 1
        else:
            self._waiting.append(call)

    async def run(self, ending: asyncio.Event) -> None:
        """The service thread's job."""
        while not ending.is_set():
            await self._drain()
            await pause(ending, _EVERY_S)
        await self._drain()

    async def _drain(self) -> None:
        # Spans carry wall time; the offset is taken anew each time, since the wall clock is set now and then.
        offset_ns = time.time_ns() - time.monotonic_ns()
        pause_at = time.monotonic() + _STRETCH_S
        while self._waiting:
            call = self._waiting.popleft()
            with failures.kept("telemetry"):
                context = call.parent
                if self._tracer is not None:
                    context = self._trace(self._tracer, call, offset_ns)
                self._saw(call, context)
            if time.monotonic() >= pause_at:
                await asyncio.sleep(_CROWDED_S if self._crowded() else 0)
                pause_at = time.monotonic() + _STRETCH_S

    def _trace(self, tracer: Tracer, call: Call, offset_ns: int) -> Context:
        cell = call.cell
        span = tracer.start_span(
            f"{cell.operation} {cell.exchange}",
            call.parent,
            SpanKind.INTERNAL,
            {**self._extra, **_call_attributes(call)},
            start_time=call.start_mono_ns + offset_ns,
        )
        inside: Context = call.parent
        if span.is_recording():
            inside = trace.set_span_in_context(span, call.parent)
            before: Counter[tuple[str, str]] = Counter()
            for attempt in call.attempts:
                n = before[attempt.method, attempt.path]
                before[attempt.method, attempt.path] += 1
                child = tracer.start_span(
                    attempt.method,
                    inside,
                    SpanKind.CLIENT,
                    _attempt_attributes(attempt, n),
                    start_time=attempt.start_mono_ns + offset_ns,
                )
                if attempt.error is not None:
                    child.set_status(Status(StatusCode.ERROR, attempt.error))
                child.end(attempt.end_mono_ns + offset_ns)
            if call.error is not None:
                span.set_status(Status(StatusCode.ERROR, call.message))
        span.end(call.end_mono_ns + offset_ns)
        return inside


def _call_attributes(call: Call) -> dict[str, str | int | float | bool]:
    cell = call.cell
    found: dict[str, str | int | float | bool | None] = {
        a.EXCHANGE.name: cell.exchange,
        a.OPERATION.name: cell.operation,
        a.SYMBOL.name: call.symbol,
        a.ATTEMPTS.name: len(call.attempts),
        a.THROTTLE.name: call.throttle_ns / 1e9 if call.throttle_ns else None,
        a.ERROR_TYPE.name: call.error,
        a.CANCELLED.name: True if call.cancelled else None,
    }
    if len(call.requests) == 1:
        request, outcome = call.requests[0], outcome_of(call, 0)
        found |= {
            a.SYMBOL.name: request.key.symbol or call.symbol,
            a.ORDER_SIDE.name: request.side,
            a.ORDER_TYPE.name: request.type,
            a.ORDER_AMOUNT.name: _text(request.amount),
            a.ORDER_PRICE.name: _text(request.price),
            a.CLIENT_ID.name: (outcome.key.client_id if outcome else None) or request.key.client_id,
        }
        if outcome is not None:
            found |= {
                a.ORDER_ID.name: outcome.key.order_id,
                a.ORDER_STATUS.name: outcome.status,
                a.ORDER_FILLED.name: _text(outcome.filled),
                a.ORDER_AVERAGE.name: _text(outcome.average),
            }
    return {k: scrubber.value(v) if type(v) is str else v for k, v in found.items() if v is not None}


def _attempt_attributes(attempt: Attempt, n: int) -> dict[str, str | int]:
    found: dict[str, str | int | None] = {
        a.HTTP_METHOD.name: attempt.method,
        a.HTTP_STATUS.name: attempt.status,
        a.SERVER.name: attempt.host,
        a.URL_PATH.name: attempt.path,
        a.ERROR_TYPE.name: attempt.error,
        a.RESEND.name: n or None,
    }
    return {k: scrubber.value(v) if type(v) is str else v for k, v in found.items() if v is not None}


def _text(value: object) -> str | None:
    return None if value is None else f"{value:f}"
