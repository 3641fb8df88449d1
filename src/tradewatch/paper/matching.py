"""Who trades when and at what price: pure functions over orders, quotes and paths.

An immediate order takes the book level by level from the opposite best price on, as far as its limit goes, each level a
trade of its own; what it has taken is there again for the next order. A resting order is filled whole at its own price
at the first instant at which the opposite best price reaches it; `queue` says what trades first where depth is limited.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from tradewatch.paper.errors import Refusal
from tradewatch.paper.instrument import Instrument
from tradewatch.paper.market import LEVELS, Market, Quote
from tradewatch.paper.orders import NewOrder, Order, Side, TimeInForce
from tradewatch.paper.units import ONE


class Take(msgspec.Struct, frozen=True):
    """What an order takes of one level: units of 10^-8 quote per base, and of 10^-8 base."""

    price: int
    quantity: int


class Arrival(msgspec.Struct, frozen=True):
    """What becomes of an order on arrival: what it takes, best price first, and what of it rests or expires."""

    takes: tuple[Take, ...]
    rests: int
    expires: int


def touch(side: Side, quote: Quote) -> int:
    """The best price that an immediate order of this side trades at."""
    return quote.ask if side == "BUY" else quote.bid


def takes(side: Side, quantity: int, limit: int | None, quote: Quote, tick: int) -> tuple[Take, ...]:
    """What a quantity takes of the book, as far as a limit (None: any price) and the book go."""
    sign, found = 1 if side == "BUY" else -1, []
    for price in _levels(side, quote, tick):
        if not quantity or (limit is not None and (price - limit) * sign > 0):
            break
        found.append(Take(price, min(quantity, quote.size)))
        quantity -= found[-1].quantity
    return tuple(found)


def arrival(
    side: Side, quantity: int, limit: int | None, quote: Quote, tick: int, *, in_force: Literal[TimeInForce, "GTX"]
) -> Arrival:
    """What becomes of an order on arrival; `limit` None is a market order, in force GTX one that only makes.

    Raises:
        Refusal: would_take, an order that only makes would take.
    """
    taken = takes(side, quantity, limit, quote, tick)
    left = quantity - sum(one.quantity for one in taken)
    if in_force == "GTX" and taken:
        raise Refusal("would_take")
    if limit is not None and in_force in ("GTC", "GTX"):
        return Arrival(taken, left, 0)
    if limit is not None and in_force == "FOK" and left:
        return Arrival((), 0, quantity)
    return Arrival(taken, 0, left)


def own_met(order: NewOrder, arrived: Arrival, quote: Quote, resting: Iterable[Order]) -> list[Order]:
    """The own orders that an arriving one would trade with: those better than the market where it trades last.

    What is left to rest would trade with any within its limit.
    """
    if order.type == "LIMIT_MAKER":
        return []
    others = [one for one in resting if one.symbol == order.symbol and one.side != order.side]
    sign = 1 if order.side == "BUY" else -1
    if order.price is not None:
        others = [one for one in others if (one.price - order.price) * sign <= 0]
    if arrived.takes and arrived.rests:
        return others
    last = arrived.takes[-1].price if arrived.takes else touch(order.side, quote)
    return [one for one in others if (one.price - last) * sign < 0]


def market_quantity(order: NewOrder, instrument: Instrument, quote: Quote) -> int:
    """The base quantity of a market order: given, or as many steps as `quote_quantity` pays for."""
    if order.quantity is not None:
        return order.quantity
    left, quantity = order.quote_quantity or 0, 0
    for price in _levels(order.side, quote, instrument.tick):
        bought = min(left * ONE // price // instrument.step * instrument.step, quote.size)
        quantity += bought
        left -= instrument.notional(price, bought)
        if bought < quote.size:
            break
    return quantity


def crossings(market: Market, resting: Iterable[Order], after_ns: int, until_ns: int) -> list[tuple[int, Order]]:
    """Which resting orders are filled whole in (after, until], each with its instant; by instant, then turn."""
    orders = list(resting)
    if not orders or until_ns <= after_ns:
        return []
    lowest, highest = market.reach(after_ns, until_ns)
    filled = []
    for order in orders:
        if order.side == "BUY":
            level = market.buy_level(order.through)
            at_ns = market.falls_to(level, after_ns, until_ns) if lowest <= level else None
        else:
            level = market.sell_level(order.through)
            at_ns = market.rises_to(level, after_ns, until_ns) if highest >= level else None
        if at_ns is not None and (order.expires_ns is None or at_ns < order.expires_ns):
            filled.append((at_ns, order))
    return sorted(filled, key=lambda pair: (pair[0], pair[1].turn))


def _levels(side: Side, quote: Quote, tick: int) -> Iterator[int]:
    """The prices that an order of a side meets, best first."""
    for number in range(LEVELS):
        price = quote.ask + number * tick if side == "BUY" else quote.bid - number * tick
        if price <= 0:
            return
        yield price
