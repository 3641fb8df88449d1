"""Orders counted by what became of them, exactly and once, for rules and metrics alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tradewatch.model import Call
from tradewatch.semconv import Reading
from tradewatch.semconv import attributes as a
from tradewatch.semconv import metrics as m
from tradewatch.telemetry.emit import order_keys


class Tally:
    """Written by the safety thread alone."""

    def __init__(self) -> None:
        self.orders: Counter[tuple[tuple[str, str], ...]] = Counter()
        self.errors: Counter[str] = Counter()
        self.attempts = 0
        self.throttle_ns = 0

    def book(self, call: Call) -> None:
        """Count a call's orders and attempts, its error, and what it waited in the client's own rate limiter."""
        self.attempts += len(call.attempts)
        self.throttle_ns += call.throttle_ns
        for key in order_keys(call):
            self.orders[key] += 1
        if call.error is not None:
            self.errors[call.error] += 1

    def by_status(self) -> dict[str, int]:
        """How many orders came to each status."""
        counts: Counter[str] = Counter()
        for key, n in self.orders.copy().items():
            counts[dict(key)[a.ORDER_STATUS.name]] += n
        return dict(counts)

    def readings(self) -> Iterator[Reading]:
        """`trading.orders`."""
        for key, n in self.orders.items():
            yield Reading(m.ORDERS, n, tuple(sorted((k, v) for k, v in key if v)))
