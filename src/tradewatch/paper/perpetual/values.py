"""Orders, fills and terms of the perpetual as values; amounts in units of 10^-8, times in simulated nanoseconds."""

from __future__ import annotations

from typing import Literal

import msgspec

from tradewatch.paper.orders import Role, Side
from tradewatch.paper.units import ONE

OrderType = Literal["LIMIT", "MARKET"]
TimeInForce = Literal["GTC", "IOC", "FOK", "GTX"]
Status = Literal["NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED", "EXPIRED"]
ConditionalType = Literal["STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET"]
ConditionalStatus = Literal["NEW", "FINISHED", "CANCELED", "EXPIRED", "REJECTED"]
IncomeKind = Literal["REALIZED_PNL", "COMMISSION", "FUNDING_FEE", "INSURANCE_CLEAR", "TRANSFER"]
MarginType = Literal["cross", "isolated"]
HOUR_NS = 3_600 * 10**9


class Terms(msgspec.Struct, frozen=True):
    """The terms of every contract; rates in units of 10^-8.

    Args:
        maker: fee of orders that rested, on the notional.
        taker: fee of orders that traded on arrival.
        maintenance: margin that a position needs, of its notional at the mark price: one tier.
        clearance: fee of a liquidation, of the notional that is closed.
        max_leverage: of any contract.
        leverage: until an account sets another.
        funding_rate: paid by longs to shorts at each interval, of the notional at the mark price; may be below zero.
        funding_interval_ns: counted from midnight UTC.
    """

    maker: int = ONE // 5000
    taker: int = ONE // 2000
    maintenance: int = ONE // 250
    clearance: int = ONE // 80
    max_leverage: int = 125
    leverage: int = 20
    funding_rate: int = ONE // 10_000
    funding_interval_ns: int = 8 * HOUR_NS


class NewOrder(msgspec.Struct, frozen=True):
    """What a client asks for; `price` of limit orders alone."""

    symbol: str
    side: Side
    type: OrderType
    quantity: int
    price: int = 0
    time_in_force: TimeInForce = "GTC"
    reduce_only: bool = False
    client_id: str | None = None


class Order(msgspec.Struct, frozen=True):
    """An accepted order as it stands. `closes` says that it closes a position; `from_conditional` what placed it.

    `ahead` and `through` are its place in the queue (`queue.Place`).
    """

    order_id: int
    client_id: str
    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    price: int
    quantity: int
    reduce_only: bool
    created_ns: int
    updated_ns: int
    status: Status = "NEW"
    executed: int = 0
    quote_executed: int = 0
    closes: bool = False
    from_conditional: ConditionalType | None = None
    ahead: int = 0
    through: int = 0

    @property
    def is_open(self) -> bool:
        """Whether it rests in the book."""
        return self.status in ("NEW", "PARTIALLY_FILLED")

    @property
    def left(self) -> int:
        """What is not filled."""
        return self.quantity - self.executed

    @property
    def turn(self) -> int:
        """Its place among the exchange's own orders: none is amended."""
        return self.order_id


class Fill(msgspec.Struct, frozen=True):
    """One fill: `fee` and `realised` (before fees) are in quote."""

    trade_id: int
    order_id: int
    symbol: str
    side: Side
    price: int
    quantity: int
    quote_amount: int
    fee: int
    realised: int
    role: Role
    at_ns: int


class NewConditional(msgspec.Struct, frozen=True):
    """An order that waits for the mark price: `quantity` is 0 with `closes_position`, `price` 0 for market orders."""

    symbol: str
    side: Side
    type: ConditionalType
    trigger: int
    quantity: int = 0
    price: int = 0
    time_in_force: TimeInForce = "GTC"
    reduce_only: bool = False
    closes_position: bool = False
    client_id: str | None = None


class Conditional(msgspec.Struct, frozen=True):
    """A conditional order as it stands; `order_id` is of the order that it became."""

    algo_id: int
    client_id: str
    asked: NewConditional
    created_ns: int
    updated_ns: int
    status: ConditionalStatus = "NEW"
    triggered_ns: int = 0
    order_id: int | None = None


class Income(msgspec.Struct, frozen=True):
    """A line of what moved the wallet: signed, in quote; `trade_id` of fills."""

    income_id: int
    kind: IncomeKind
    symbol: str
    amount: int
    at_ns: int
    trade_id: int | None = None


class OrderNews(msgspec.Struct, frozen=True):
    """An order as it stands after a change; `fill` of a fill."""

    execution: Literal["NEW", "TRADE", "CANCELED", "EXPIRED", "CALCULATED"]
    order: Order
    fill: Fill | None = None


class AccountNews(msgspec.Struct, frozen=True):
    """Wallet and positions after a change, and why."""

    reason: Literal["ORDER", "FUNDING_FEE", "INSURANCE_CLEAR", "DEPOSIT", "WITHDRAW"]
    symbols: tuple[str, ...]


class SettingsNews(msgspec.Struct, frozen=True):
    """A contract's leverage has changed."""

    symbol: str
    leverage: int
