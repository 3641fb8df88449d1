"""What the safety thread counts of each call: orders by what became of them, errors, and all durations in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tradewatch.model import Attempt, Call, OrderReport, resent
from tradewatch.runtime.scrub import scrubber
from tradewatch.semconv import Reading
from tradewatch.semconv import attributes as a
from tradewatch.semconv import metrics as m
from tradewatch.telemetry.cell import Attributes, Cell, Cells


class Tally:
    """Written by the safety thread alone; `timed` may be asked by any."""

    def __init__(self, cells: Cells) -> None:
        self.orders: Counter[Attributes] = Counter()
        self.errors: Counter[str] = Counter()
        self.attempts = 0
        self.throttle_ns = 0
        self.retries: Counter[tuple[str, str]] = Counter()
        self.nonces: Counter[str] = Counter()
        self.nonce_errors: Counter[tuple[str, str]] = Counter()
        self._cells = cells
        # By what they are told apart by; a call has one or more of them each time.
        self._attempts: dict[tuple[str, str, str, int | None, str | None], Cell] = {}
        self._throttles: dict[tuple[str, str], Cell] = {}
        self._orders: dict[tuple[str, str, str, str, str], Cell] = {}

    def book(self, call: Call) -> None:
        """Count the orders of a call, its error, and its durations (its own was counted where it ended)."""
        self.attempts += len(call.attempts)
        self.throttle_ns += call.throttle_ns
        if call.attempts:
            self._look(call)
        note, own = self._cells.note, call.cell
        for cell, duration_ns in self.timed(call):
            if cell is not own:
                cell.count(duration_ns)
                if cell.metric is m.ORDER_DURATION:
                    self.orders[cell.attributes] += 1
            note(cell, duration_ns)
        if call.error is not None:
            self.errors[self._cells.cardinality.admit(a.ERROR_TYPE.name, call.error)] += 1

    def _look(self, call: Call) -> None:
        """Count what was sent again, and nonces."""
        exchange = call.cell.exchange
        if len(call.attempts) > 1:
            again = sum(before > 0 for before in resent(call.attempts))
            if again:
                self.retries[exchange, call.cell.operation] += again
        for attempt in call.attempts:
            if attempt.nonce is not None:
                self.nonces[exchange] += 1
            if attempt.nonce_error is not None:
                self.nonce_errors[exchange, attempt.nonce_error] += 1

    def timed(self, call: Call) -> Iterator[tuple[Cell, int]]:
        """Each duration of a call in nanoseconds, and the cell it belongs to; the call's own first.

        What a stream told has none.
        """
        if call.cell is None:
            return
        took_ns = call.end_mono_ns - call.start_mono_ns
        yield call.cell, took_ns
        if call.throttle_ns:
            yield self._throttle(call.cell), call.throttle_ns
        for attempt in call.attempts:
            yield self._attempt(call.cell, attempt), attempt.end_mono_ns - attempt.start_mono_ns
        for i in range(len(call.requests)):
            yield self._order(call, i), took_ns

    def by_status(self) -> dict[str, int]:
        """How many orders came to each status."""
        counts: Counter[str] = Counter()
        for attributes, n in self.orders.copy().items():
            counts[str(dict(attributes)[a.ORDER_STATUS.name])] += n
        return dict(counts)

    def readings(self) -> Iterator[Reading]:
        """`trading.orders`, retries, nonces."""
        for attributes, n in self.orders.items():
            yield Reading(m.ORDERS, n, tuple((name, str(value)) for name, value in attributes))

        for (exchange, operation), n in self.retries.items():
            yield Reading(m.RETRIES, n, ((a.EXCHANGE.name, exchange), (a.OPERATION.name, operation)))
        for exchange, n in self.nonces.items():
            yield Reading(m.NONCE_GENERATED, n, ((a.EXCHANGE.name, exchange),))
        for (exchange, kind), n in self.nonce_errors.items():
            yield Reading(m.NONCE_ERRORS, n, ((a.EXCHANGE.name, exchange), (a.NONCE_ERROR.name, kind)))

    def _throttle(self, of: Cell) -> Cell:
        key = (of.exchange, of.operation)
        cell = self._throttles.get(key)
        if cell is None:
            attributes = ((a.EXCHANGE.name, of.exchange), (a.OPERATION.name, of.operation))
            cell = self._throttles[key] = self._cells.other(m.THROTTLE_DURATION, attributes)
        return cell

    def _attempt(self, of: Cell, attempt: Attempt) -> Cell:
        key = (of.exchange, of.operation, attempt.method, attempt.status, attempt.error)
        cell = self._attempts.get(key)
        if cell is None:
            admit = self._cells.cardinality.admit
            error, status = attempt.error, attempt.status
            found = {
                a.ERROR_TYPE.name: None if error is None else admit(a.ERROR_TYPE.name, error),
                a.HTTP_METHOD.name: admit(a.HTTP_METHOD.name, attempt.method),
                a.HTTP_STATUS.name: status,
                a.EXCHANGE.name: of.exchange,
                a.OPERATION.name: of.operation,
            }
            cell = self._cells.other(m.REQUEST_DURATION, tuple((k, v) for k, v in found.items() if v is not None))
            # What has no room of its own is looked up each time, so that this does not grow.
            if found[a.ERROR_TYPE.name] == error and found[a.HTTP_METHOD.name] == attempt.method:
                self._attempts[key] = cell
        return cell

    def _order(self, call: Call, i: int) -> Cell:
        """Side, type and symbol are the bot's own where it gave them: some venues answer with an id alone."""
        request, outcome = call.requests[i], outcome_of(call, i)
        symbol = request.key.symbol or (outcome.key.symbol if outcome else "")
        side = request.side or (outcome.side if outcome else None) or ""
        kind = request.type or (outcome.type if outcome else None) or ""
        key = (request.key.venue, side, outcome.status if outcome else "pending", kind, symbol)
        cell = self._orders.get(key)
        if cell is None:
            admit = self._cells.cardinality.admit
            names = (a.EXCHANGE.name, a.ORDER_SIDE.name, a.ORDER_STATUS.name, a.ORDER_TYPE.name, a.SYMBOL.name)
            found = tuple((k, v) for k, v in zip(names, (*key[:4], scrubber.value(symbol)), strict=True) if v)
            shown = tuple((k, admit(k, v)) for k, v in found)
            cell = self._cells.other(m.ORDER_DURATION, shown)
            if shown == found:
                self._orders[key] = cell
        return cell


def outcome_of(call: Call, i: int) -> OrderReport | None:
    """What became of a call's order; None where nothing was told."""
    return call.outcomes[i] if i < len(call.outcomes) else None
