"""Whether an order of the perpetual is taken, and the order that liquidates: pure, over account, market and marks."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tradewatch.paper import matching, queue
from tradewatch.paper.errors import Refusal
from tradewatch.paper.fees import fee_of
from tradewatch.paper.instrument import check_notional, check_price, check_quantity
from tradewatch.paper.market import Market, Quote
from tradewatch.paper.perpetual.account import Position, Wallet
from tradewatch.paper.perpetual.timeline import rises
from tradewatch.paper.perpetual.values import NewConditional, NewOrder, Order

MAX_OPEN_ORDERS = 200


class Admitted(msgspec.Struct, frozen=True):
    """An order past all checks: what it takes at once, how much of it there is, and its place if it rests."""

    arrival: matching.Arrival
    quantity: int
    place: queue.Place


def admit(request: NewOrder, market: Market, wallet: Wallet, marks: Mapping[str, int], now_ns: int) -> Admitted:
    """Judge an order; a reduce-only one is cut to the position.

    An order needs initial margin for what does not close, at its limit price or the prices that it trades at, and the
    taker's fee.

    Raises:
        Refusal: market_closed, price, quantity, notional, duplicate_client_id, too_many_orders, would_take,
            reduce_only, insufficient_margin.
    """
    instrument, quote = market.instrument, market.quote(now_ns)
    position = wallet.position(request.symbol)
    if now_ns >= market.end_ns:
        raise Refusal("market_closed")
    if request.type == "LIMIT":
        check_price(instrument, request.price)
    check_quantity(instrument, request.quantity)
    if wallet.by_client.get((request.symbol, request.client_id or "")) in wallet.open:
        raise Refusal("duplicate_client_id")
    if sum(order.symbol == request.symbol for order in wallet.open.values()) >= MAX_OPEN_ORDERS:
        raise Refusal("too_many_orders")
    quantity, closing = request.quantity, position.closing(request.side)
    if request.reduce_only:
        if not closing:
            raise Refusal("reduce_only")
        quantity = min(quantity, closing)
    limit = None if request.type == "MARKET" else request.price
    arrived = matching.arrival(request.side, quantity, limit, quote, instrument.tick, in_force=request.time_in_force)
    place = queue.place(request.side, request.price, quote, instrument.tick, took=bool(arrived.takes))
    if not request.reduce_only:
        parts = [*arrived.takes, matching.Take(request.price, arrived.rests)]
        worth = sum(instrument.notional(part.price, part.quantity) for part in parts)
        price = request.price or matching.touch(request.side, quote)
        check_notional(instrument, arrived.takes[0].price if arrived.takes else price, quantity)
        opening = max(quantity - closing, 0)
        margin = instrument.notional(request.price, opening) if request.price else worth * opening // quantity
        fee = fee_of(wallet.terms.taker, worth)
        if opening and margin // position.leverage + fee > wallet.available(marks):
            raise Refusal("insufficient_margin")
    return Admitted(arrived, quantity, place)


def admit_conditional(request: NewConditional, market: Market, wallet: Wallet, now_ns: int) -> None:
    """Judge an order that waits for the mark price.

    Raises:
        Refusal: market_closed, price, quantity, duplicate_client_id, would_trigger.
    """
    if now_ns >= market.end_ns:
        raise Refusal("market_closed")
    for price in (request.trigger, request.price) if request.price else (request.trigger,):
        check_price(market.instrument, price)
    if not request.closes_position:
        check_quantity(market.instrument, request.quantity)
    if request.client_id in {one.client_id for one in wallet.waiting.values()}:
        raise Refusal("duplicate_client_id")
    mark = market.quote(now_ns).mid
    if mark >= request.trigger if rises(request) else mark <= request.trigger:
        raise Refusal("would_trigger")


def closing_order(symbol: str, position: Position, quote: Quote, order_id: int, now_ns: int) -> Order:
    """The order that liquidates a position at the best price."""
    sells = position.amount > 0
    return Order(
        order_id=order_id,
        client_id=f"autoclose-{order_id}",
        symbol=symbol,
        side="SELL" if sells else "BUY",
        type="LIMIT",
        time_in_force="IOC",
        price=quote.bid if sells else quote.ask,
        quantity=abs(position.amount),
        reduce_only=True,
        created_ns=now_ns,
        updated_ns=now_ns,
    )
