"""Whether an order is taken, and what becomes of it: a pure decision over the account, the market and its quote."""

from __future__ import annotations

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

    `price` is 0 for market orders; `trade_price` what it trades at if it does, else its own; `reserve` of `currency`
    is to be locked for it, with the fee where the fee is in that currency.
    """

    outcome: matching.Outcome
    price: int
    quantity: int
    trade_price: int
    currency: str
    reserve: int
    fee_in: FeeIn


def admit(
    request: NewOrder, market: Market, state: State, fees: Fees, *, now_ns: int, replacing: Order | None = None
) -> Admitted:
    """Judge an order; `replacing` is an open one whose money and client id it takes over.

    Raises:
        Refusal: market_closed, price, quantity, notional, would_take, duplicate_client_id, too_many_orders,
            insufficient_balance.
    """
    instrument, quote = market.instrument, market.quote(now_ns)
    if now_ns >= market.end_ns:
        raise Refusal("market_closed")
    price, quantity = _checked(request, instrument, quote)
    outcome = matching.outcome(request, quote)
    if request.client_id is not None:
        known = state.by_client.get((request.symbol, request.client_id))
        if known in state.open and (replacing is None or known != replacing.order_id):
            raise Refusal("duplicate_client_id")
    others = sum(order.symbol == request.symbol for order in state.open.values()) - (replacing is not None)
    if others >= MAX_OPEN_ORDERS:
        raise Refusal("too_many_orders")
    trade_price = matching.touch(request.side, quote) if outcome == "fill" else price
    fee_in = request.fee_in or fees.charged_in
    rate = fees.taker if outcome == "fill" else fees.maker
    currency, reserve = _needed(instrument, request.side, trade_price, quantity, fee_in=fee_in, rate=rate)
    free = state.holdings[currency].free
    if replacing is not None and _gives(instrument, replacing.side) == currency:
        free += replacing.reserved
    if free < max(
        reserve, _needed(instrument, request.side, price or trade_price, quantity, fee_in=fee_in, rate=rate)[1]
    ):
        raise Refusal("insufficient_balance")
    return Admitted(outcome, price, quantity, trade_price, currency, reserve, fee_in)


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


def _gives(instrument: Instrument, side: Side) -> str:
    return instrument.quote if side == "BUY" else instrument.base


def _needed(
    instrument: Instrument, side: Side, price: int, quantity: int, *, fee_in: FeeIn, rate: int
) -> tuple[str, int]:
    """Which currency an order gives, and how much of it, with the fee if that is in the same currency."""
    amount = instrument.notional(price, quantity) if side == "BUY" else quantity
    if fee_in == ("quote" if side == "BUY" else "base"):
        amount += fee_of(rate, amount)
    return _gives(instrument, side), amount
