"""Whether an order of the perpetual is taken, and the order that liquidates: pure, over account, market and marks."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tradewatch.paper.errors import Refusal
from tradewatch.paper.fees import fee_of
from tradewatch.paper.instrument import check_notional, check_price, check_quantity
from tradewatch.paper.market import Market, Quote
from tradewatch.paper.perpetual.account import Position, Wallet
from tradewatch.paper.perpetual.timeline import rises
from tradewatch.paper.perpetual.values import NewConditional, NewOrder, Order

MAX_OPEN_ORDERS = 200


class Admitted(msgspec.Struct, frozen=True):
    """An order past all checks: whether it trades at once, at which price, and how much of it."""

    takes: bool
    price: int
    quantity: int


def admit(request: NewOrder, market: Market, wallet: Wallet, marks: Mapping[str, int], now_ns: int) -> Admitted:
    """Judge an order; a reduce-only one is cut to the position.

    An order needs initial margin for what does not close, at its limit price or the price that it trades at, and the
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
    touch = quote.ask if request.side == "BUY" else quote.bid
    crosses = request.price >= quote.ask if request.side == "BUY" else request.price <= quote.bid
    takes = request.type == "MARKET" or crosses
    if request.time_in_force == "GTX" and takes:
        raise Refusal("would_take")
    price, quantity, closing = touch if takes else request.price, request.quantity, position.closing(request.side)
    if request.reduce_only:
        if not closing:
            raise Refusal("reduce_only")
        return Admitted(takes, price, min(quantity, closing))
    check_notional(instrument, price, quantity)
    opening = instrument.notional(request.price or price, max(quantity - closing, 0))
    fee = fee_of(wallet.terms.taker, instrument.notional(price, quantity))
    if opening and opening // position.leverage + fee > wallet.available(marks):
        raise Refusal("insufficient_margin")
    return Admitted(takes, price, quantity)


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
