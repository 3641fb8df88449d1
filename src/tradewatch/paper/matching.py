"""Who trades when and at what price: pure functions over orders, quotes and paths.

Depth at the best bid and ask is ample: an order that matches is filled whole, at one price. So an immediate order
trades at the opposite best price, and a resting order is filled whole at its own price at the first instant at which
the opposite best price reaches it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from tradewatch.paper.errors import Refusal
from tradewatch.paper.instrument import Instrument
from tradewatch.paper.market import Market, Quote
from tradewatch.paper.orders import NewOrder, Order, Side
from tradewatch.paper.units import ONE

Outcome = Literal["fill", "rest", "expire"]


def touch(side: Side, quote: Quote) -> int:
    """The best price that an immediate order of this side trades at."""
    return quote.ask if side == "BUY" else quote.bid


def outcome(order: NewOrder, quote: Quote) -> Outcome:
    """What becomes of an order on arrival.

    Raises:
        Refusal: would_take, a LIMIT_MAKER that would take.
    """
    if order.type == "MARKET":
        return "fill"
    price = order.price or 0
    matches = price >= quote.ask if order.side == "BUY" else price <= quote.bid
    if order.type == "LIMIT_MAKER":
        if matches:
            raise Refusal("would_take")
        return "rest"
    if matches:
        return "fill"
    return "rest" if order.time_in_force == "GTC" else "expire"


def own_met(order: NewOrder, quote: Quote, resting: Iterable[Order]) -> list[Order]:
    """The own orders that an arriving one would trade with: those better than the market, within its limit."""
    if order.type == "LIMIT_MAKER":
        return []
    buys = order.side == "BUY"
    others = (one for one in resting if one.symbol == order.symbol and one.side != order.side)
    if buys:
        return [one for one in others if one.price < quote.ask and (order.price is None or one.price <= order.price)]
    return [one for one in others if one.price > quote.bid and (order.price is None or one.price >= order.price)]


def market_quantity(order: NewOrder, instrument: Instrument, quote: Quote) -> int:
    """The base quantity of a market order: given, or as many steps as `quote_quantity` pays for."""
    if order.quantity is not None:
        return order.quantity
    price = touch(order.side, quote)
    return (order.quote_quantity or 0) * ONE // price // instrument.step * instrument.step


def crossings(market: Market, resting: Iterable[Order], after_ns: int, until_ns: int) -> list[tuple[int, Order]]:
    """Which resting orders are filled in (after, until], each with its instant; by instant, then order id."""
    orders = list(resting)
    if not orders or until_ns <= after_ns:
        return []
    lowest, highest = market.reach(after_ns, until_ns)
    filled = []
    for order in orders:
        if order.side == "BUY":
            level = market.buy_level(order.price)
            at_ns = market.falls_to(level, after_ns, until_ns) if lowest <= level else None
        else:
            level = market.sell_level(order.price)
            at_ns = market.rises_to(level, after_ns, until_ns) if highest >= level else None
        if at_ns is not None and (order.expires_ns is None or at_ns < order.expires_ns):
            filled.append((at_ns, order))
    return sorted(filled, key=lambda pair: (pair[0], pair[1].order_id))
