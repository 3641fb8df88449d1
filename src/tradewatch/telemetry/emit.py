"""From call records to spans and histograms of the OpenTelemetry SDK, on the service thread."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Mapping

from opentelemetry import trace
from opentelemetry.metrics import Histogram, Meter
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer

from tradewatch.model import Attempt, Call, OrderReport
from tradewatch.runtime import fork
from tradewatch.runtime.failures import failures
from tradewatch.runtime.scrub import scrubber
from tradewatch.runtime.service import pause
from tradewatch.semconv import attributes as a
from tradewatch.semconv import metrics as m
from tradewatch.semconv.metrics import DURATION_BOUNDS_S, Metric

_MOST_WAITING = 50_000
_STRETCH_S = 0.0003
_EVERY_S = 0.1


class Emitter:
    """Takes records from the safety thread and hands them to the providers, in stretches of 0.3 ms.

    Args:
        tracer: None where nobody wants spans.
        meter: of the histograms.
        extra: attributes for every measurement.
    """

    def __init__(self, tracer: Tracer | None, meter: Meter, extra: Mapping[str, str]) -> None:
        self._tracer = tracer
        self._extra = dict(extra)
        self._waiting: deque[Call] = deque()
        self._call = _histogram(meter, m.CALL_DURATION)
        self._request = _histogram(meter, m.REQUEST_DURATION)
        self._throttle = _histogram(meter, m.THROTTLE_DURATION)
        self._order = _histogram(meter, m.ORDER_DURATION)
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
            with failures.kept("telemetry"), fork.held:
                self._measure(call)
                if self._tracer is not None:
                    self._trace(self._tracer, call, offset_ns)
            if time.monotonic() >= pause_at:
                await asyncio.sleep(0)
                pause_at = time.monotonic() + _STRETCH_S

    def _measure(self, call: Call) -> None:
        cell = call.cell
        common = {**self._extra, a.EXCHANGE.name: cell.exchange, a.OPERATION.name: cell.operation}
        took_s = (call.end_mono_ns - call.start_mono_ns) / 1e9
        self._call.record(took_s, _with(common, a.ERROR_TYPE.name, call.error), call.parent)
        if call.throttle_ns:
            self._throttle.record(call.throttle_ns / 1e9, common, call.parent)
        for attempt in call.attempts:
            found = _with(common, a.HTTP_METHOD.name, attempt.method)
            found = _with(found, a.HTTP_STATUS.name, attempt.status)
            seconds = (attempt.end_mono_ns - attempt.start_mono_ns) / 1e9
            self._request.record(seconds, _with(found, a.ERROR_TYPE.name, attempt.error), call.parent)
        for key in order_keys(call):
            attributes = {**self._extra, **{name: value for name, value in key if value}}
            self._order.record(took_s, attributes, call.parent)

    def _trace(self, tracer: Tracer, call: Call, offset_ns: int) -> None:
        cell = call.cell
        span = tracer.start_span(
            f"{cell.operation} {cell.exchange}",
            call.parent,
            SpanKind.INTERNAL,
            {**self._extra, **_call_attributes(call)},
            start_time=call.start_mono_ns + offset_ns,
        )
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


def order_keys(call: Call) -> list[tuple[tuple[str, str], ...]]:
    """The attributes under which each order of a call is counted: venue, symbol, side, type and status.

    Side, type and symbol are the bot's own: some venues answer with an id alone.
    """
    keys: list[tuple[tuple[str, str], ...]] = []
    for i, request in enumerate(call.requests):
        outcome = _outcome(call, i)
        keys.append(
            (
                (a.ORDER_SIDE.name, request.side or (outcome.side if outcome else None) or ""),
                (a.ORDER_STATUS.name, outcome.status if outcome else "pending"),
                (a.ORDER_TYPE.name, request.type or (outcome.type if outcome else None) or ""),
                (a.SYMBOL.name, scrubber.value(request.key.symbol or (outcome.key.symbol if outcome else ""))),
                (a.EXCHANGE.name, request.key.venue),
            )
        )
    return keys


def _outcome(call: Call, i: int) -> OrderReport | None:
    return call.outcomes[i] if i < len(call.outcomes) else None


def _with(common: dict[str, str | int], name: str, value: str | int | None) -> dict[str, str | int]:
    return common if value is None else {**common, name: value}


def _histogram(meter: Meter, metric: Metric) -> Histogram:
    return meter.create_histogram(
        metric.name, metric.unit, metric.meaning, explicit_bucket_boundaries_advisory=list(DURATION_BOUNDS_S)
    )


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
        request, outcome = call.requests[0], _outcome(call, 0)
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
