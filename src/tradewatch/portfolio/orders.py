"""What an order says it has filled, against the trades known of it; and the orders of a market, 200 bytes each."""

from __future__ import annotations

from decimal import Decimal
from itertools import islice

import msgspec

from tradewatch.model import OrderReport, Side
from tradewatch.portfolio.arithmetic import ZERO, add, is_bookable, multiply, subtract
from tradewatch.portfolio.entries import Key
from tradewatch.portfolio.identities import Identities, Identity

# A report about an order that was told of before these many others of its market cannot be booked: some 10 MB.
REMEMBERED_ORDERS = 50_000
# Of orders before those it is known that they were: 2 MB. Orders are forgotten so many at a time.
_FORGOTTEN_ORDERS = 100_000
_AT_A_TIME = 32
# The latest are at hand; each other one is a text in MessagePack.
_AT_HAND = 128


class Order(msgspec.Struct, gc=False, array_like=True):
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


class Orders:
    """The orders of one market that were told of last, `REMEMBERED_ORDERS` and few more; of others, that they were."""

    def __init__(self) -> None:
        self._at_hand: dict[str, Order] = {}
        self._written: dict[str, bytes] = {}
        self._forgotten = Identities(_FORGOTTEN_ORDERS)

    def may_have_had(self, order_id: str, venue_ns: int) -> bool:
        """Whether trades of an order that was told of at this time may have been forgotten.

        So it is of one that was forgotten and has traded again since.
        """
        if _identity(order_id) in self._forgotten or self.stood(order_id):
            return True
        if order_id in self._at_hand or order_id in self._written:
            return False
        forgotten_to_ns = self._forgotten.forgotten_to_ns
        return forgotten_to_ns is not None and venue_ns <= forgotten_to_ns

    def stood(self, order_id: str) -> bool:
        """Whether an order was forgotten that stood provisionally: its trades would be booked beside that."""
        return _identity(order_id, stood=True) in self._forgotten

    def open(self, order_id: str) -> tuple[Order, tuple[str, ...]]:
        """An order, a new one where none is remembered; and the ids of those that were forgotten for it.

        What is changed of it must be changed before the next one is asked for.
        """
        order = self._at_hand.pop(order_id, None)
        if order is None:
            text = self._written.pop(order_id, None)
            order = Order() if text is None else _decode(text)
        self._at_hand[order_id] = order
        if len(self._at_hand) > _AT_HAND:
            oldest_id = next(iter(self._at_hand))
            self._written[oldest_id] = _encode(self._at_hand.pop(oldest_id))
        if len(self._at_hand) + len(self._written) < REMEMBERED_ORDERS + _AT_A_TIME:
            return order, ()
        return order, self._forget(tuple(islice(self._written, _AT_A_TIME)))

    def _forget(self, order_ids: tuple[str, ...]) -> tuple[str, ...]:
        last_ns, identities = 0, []
        for order_id in order_ids:
            order = _decode(self._written.pop(order_id))
            last_ns = max(last_ns, order.last_ns)
            identity = _identity(order_id, stood=order.provisional is not None or order.is_settled)
            if identity not in self._forgotten:
                self._forgotten.add(identity)
                identities.append(identity)
        if identities:
            self._forgotten.retire(identities, last_ns)
        return order_ids


def _identity(order_id: str, *, stood: bool = False) -> Identity:
    return order_id, "stood" if stood else ""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Order).decode


def _positive(value: Decimal | None) -> Decimal | None:
    """`value`, or None where it is no price: venues and ccxt write 0 for what they do not know."""
    return value if value is not None and is_bookable(value) and value > 0 else None
