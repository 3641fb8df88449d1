"""What an order says it has filled, against the trades that are known of it."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from tradewatch.model import OrderReport, Side
from tradewatch.portfolio.arithmetic import ZERO, add, is_bookable, multiply, subtract
from tradewatch.portfolio.book import Key


class Order(msgspec.Struct, gc=False):
    """One order as far as its fills go: what is known by trades, and the most that a report has claimed.

    Amounts in base, costs in quote before fees. `provisional` is the key of the entry that stands for trades not seen
    yet; `is_settled` is true once that entry has been folded away, so that its trades must not be booked beside it.
    """

    side: Side | None = None
    known: Decimal = ZERO
    known_cost: Decimal = ZERO
    claimed: Decimal = ZERO
    claimed_cost: Decimal | None = None
    claimed_average: Decimal | None = None
    claimed_ns: int = 0
    last_ns: int = 0
    provisional: Key | None = None
    is_settled: bool = False

    def know(self, side: Side, amount: Decimal, price: Decimal, venue_ns: int) -> None:
        """Count a trade of this order in."""
        self.side = side
        self.known = add(self.known, amount)
        self.known_cost = add(self.known_cost, multiply(amount, price))
        self.last_ns = max(self.last_ns, venue_ns)

    def claim(self, report: OrderReport) -> bool:
        """Take a report's cumulative figures; False where they say no more than what is known.

        A smaller `filled` than was seen before is passed over: answers overtake each other.
        """
        filled = report.filled
        if filled is None or not is_bookable(filled) or filled <= 0 or filled < self.claimed:
            return False
        cost, average = _positive(report.cost), _positive(report.average)
        side: Side | None = self.side
        if side is None and report.side in ("buy", "sell"):
            side = "buy" if report.side == "buy" else "sell"
        if filled == self.claimed:
            cost = self.claimed_cost if cost is None else cost
            average = self.claimed_average if average is None else average
            if (side, cost, average) == (self.side, self.claimed_cost, self.claimed_average):
                return False
        else:
            self.claimed_ns = report.seen_ns if report.venue_ns is None else report.venue_ns
        self.side, self.claimed, self.claimed_cost, self.claimed_average = side, filled, cost, average
        self.last_ns = max(self.last_ns, self.claimed_ns)
        return True

    @property
    def missing(self) -> Decimal:
        """How much has been filled by trades that are not known, base."""
        return subtract(self.claimed, self.known) if self.claimed > self.known else ZERO

    @property
    def missing_cost(self) -> Decimal | None:
        """What the missing part cost or brought, quote: reported cost less known cost, else by the average price."""
        if self.claimed_cost is not None and self.claimed_cost > self.known_cost:
            return subtract(self.claimed_cost, self.known_cost)
        return None if self.claimed_average is None else multiply(self.missing, self.claimed_average)


def _positive(value: Decimal | None) -> Decimal | None:
    """`value`, or None where it is no price: venues and ccxt write 0 for what they do not know."""
    return value if value is not None and is_bookable(value) and value > 0 else None
