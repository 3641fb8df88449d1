"""Whether an order is taken, and what becomes of it: a pure decision over the account, the market and its quote."""

from __future__ import annotations

from functools import partial

import msgspec

from tradewatch.paper import matching
from tradewatch.paper.accounts import State
from tradewatch.paper.errors import Refusal
from tradewatch.paper.fees import Fees, fee_of
from tradewatch.paper.instrument import Instrument, check_notional, check_price, check_quantity
from tradewatch.paper.market import Market, Quote
from tradewatch.paper.orders import FeeIn, NewOrder, Order, Side

MAX_OPEN_ORDERS = 200


class Admitted(msgspec.Struct, frozen=True):
    """An order past all checks.

    `price` is 0 for market orders; `reserves` of `currency` are to be locked for it, with the fee where the fee is in
    that currency: at first, and after each level that it takes.
    """

    arrival: matching.Arrival
    price: int
    quantity: int
    currency: str
    reserves: tuple[int, ...]
    fee_in: FeeIn


def admit(
    request: NewOrder,
    market: Market,
    state: State,
    fees: Fees,
    *,
    now_ns: int,
    replacing: Order | None = None,
    executed: int = 0,
) -> Admitted:
    """Judge an order; `replacing` is an open one whose money and client id it takes over.

    `executed` of the quantity has been traded before, by an order that is amended.

    Raises:
        Refusal: market_closed, price, quantity, notional, would_take, duplicate_client_id, too_many_orders,
            insufficient_balance.
    """
    instrument, quote = market.instrument, market.quote(now_ns)
    if now_ns >= market.end_ns:
        raise Refusal("market_closed")
    price, quantity = _checked(request, instrument, quote)
    if quantity <= executed:
        raise Refusal("quantity")
    arrived = matching.arrival(
        request.side,
        quantity - executed,
        None if request.type == "MARKET" else price,
        quote,
        instrument.tick,
        in_force="GTX" if request.type == "LIMIT_MAKER" else request.time_in_force,
    )
    if request.client_id is not None:
        known = state.by_client.get((request.symbol, request.client_id))
        if known in state.open and (replacing is None or known != replacing.order_id):
            raise Refusal("duplicate_client_id")
    others = sum(order.symbol == request.symbol for order in state.open.values()) - (replacing is not None)
    if others >= MAX_OPEN_ORDERS:
        raise Refusal("too_many_orders")
    fee_in = request.fee_in or fees.charged_in
    needs = partial(reserved, instrument, request.side, fee_in=fee_in)
    reserves = [needs(price, arrived.rests, rate=fees.maker)]
    for take in reversed(arrived.takes):
        reserves.insert(0, reserves[0] + needs(take.price, take.quantity, rate=fees.taker))
    currency = gives(instrument, request.side)
    free = state.holdings[currency].free
    if replacing is not None and gives(instrument, replacing.side) == currency:
        free += replacing.reserved
    rate = fees.taker if arrived.takes else fees.maker
    if free < max(reserves[0], needs(price, quantity - executed, rate=rate)):
        raise Refusal("insufficient_balance")
    return Admitted(arrived, price, quantity, currency, tuple(reserves), fee_in)


def _checked(request: NewOrder, instrument: Instrument, quote: Quote) -> tuple[int, int]:
    """Limit price (0 for market orders) and base quantity, past the filters."""
    if request.type == "MARKET":
        quantity = matching.market_quantity(request, instrument, quote)
        check_quantity(instrument, quantity)
        check_notional(instrument, matching.touch(request.side, quote), quantity)
        return 0, quantity
    price, quantity = request.price or 0, request.quantity or 0
    check_price(instrument, price)
    check_quantity(instrument, quantity)
    check_notional(instrument, price, quantity)
    return price, quantity


def gives(instrument: Instrument, side: Side) -> str:
    """Which currency an order of a side gives."""
    return instrument.quote if side == "BUY" else instrument.base


def reserved(instrument: Instrument, side: Side, price: int, quantity: int, *, fee_in: FeeIn, rate: int) -> int:
    """What an order gives for a quantity at a price, with the fee if that is in the same currency."""
    amount = instrument.notional(price, quantity) if side == "BUY" else quantity
    return amount + fee_of(rate, amount) if fee_in == ("quote" if side == "BUY" else "base") else amount
