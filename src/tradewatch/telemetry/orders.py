"""What streams tell of an order, as spans in the trace of the call that placed it.

A fill often overtakes the answer to its order. What is told of an order that is not known yet therefore waits, in a
bounded place; of an order that another process placed, or an earlier run, nothing is ever made.
"""

from __future__ import annotations

from collections.abc import Iterator

from opentelemetry.trace import SpanContext, TraceFlags

from tradewatch.model import Call, Fill, OrderReport
from tradewatch.semconv import attributes as a
from tradewatch.telemetry.otel import Value

# Some 0.4 MB.
_ORDERS = 2_500
_WAITING = 1_000

# Account and the venue's order id.
Key = tuple[str, str]
Attributes = dict[str, Value | None]


class OrderTraces:
    """The spans that placed orders, and what waits for them. For one thread."""

    def __init__(self) -> None:
        self._placed: dict[int, bytes | SpanContext] = {}
        self._waiting: dict[Key, list[tuple[Call, Attributes]]] = {}
        self._n_waiting = 0

    def placed(self, call: Call, span: SpanContext) -> Iterator[tuple[SpanContext, Call, Attributes]]:
        """A call was answered: what had been told of its orders before."""
        for outcome in call.outcomes:
            if outcome.key.order_id is None:
                continue
            key = outcome.key.account, outcome.key.order_id
            if len(self._placed) >= _ORDERS:
                self._placed.pop(next(iter(self._placed)))
            self._placed[hash(key)] = _written(span)
            for waited, attributes in self._waiting.pop(key, ()):
                self._n_waiting -= 1
                yield span, waited, attributes

    def told(self, call: Call) -> Iterator[tuple[SpanContext, Call, Attributes]]:
        """What a stream tells of orders that are known; the rest waits."""
        for key, attributes in _of(call):
            span = self._placed.get(hash(key))
            if span is not None:
                yield _read(span), call, attributes
                continue
            if self._n_waiting >= _WAITING:
                self._n_waiting -= len(self._waiting.pop(next(iter(self._waiting))))
            self._waiting.setdefault(key, []).append((call, attributes))
            self._n_waiting += 1


def _written(span: SpanContext) -> bytes | SpanContext:
    """A span context in 25 bytes instead of 250, where it is no more than its numbers."""
    if span.trace_state or span.is_remote:
        return span
    return span.trace_id.to_bytes(16) + span.span_id.to_bytes(8) + span.trace_flags.to_bytes()


def _read(span: bytes | SpanContext) -> SpanContext:
    if isinstance(span, SpanContext):
        return span
    numbers = int.from_bytes(span[:16]), int.from_bytes(span[16:24])
    return SpanContext(*numbers, is_remote=False, trace_flags=TraceFlags(span[24]))


def _of(call: Call) -> Iterator[tuple[Key, Attributes]]:
    for fill in call.fills:
        yield (fill.account, fill.order_id), _fill(fill)
    for report in call.reports:
        if report.key.order_id is not None:
            yield (report.key.account, report.key.order_id), _report(report)


def _fill(fill: Fill) -> Attributes:
    return {
        a.CHANNEL.name: "my_trades",
        a.SYMBOL.name: fill.market,
        a.ORDER_ID.name: fill.order_id,
        a.ORDER_SIDE.name: fill.side,
        a.FILL_AMOUNT.name: f"{fill.amount:f}",
        a.FILL_PRICE.name: f"{fill.price:f}",
    }


def _report(report: OrderReport) -> Attributes:
    return {
        a.CHANNEL.name: "orders",
        a.SYMBOL.name: report.key.symbol or None,
        a.ORDER_ID.name: report.key.order_id,
        a.CLIENT_ID.name: report.key.client_id,
        a.ORDER_SIDE.name: report.side,
        a.ORDER_STATUS.name: report.status,
        a.ORDER_FILLED.name: None if report.filled is None else f"{report.filled:f}",
        a.ORDER_AVERAGE.name: None if report.average is None else f"{report.average:f}",
    }
