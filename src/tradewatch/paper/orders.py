"""Orders and trades as values; amounts in units of 10^-8, times in epoch nanoseconds of simulated time."""

from __future__ import annotations

from typing import Literal

import msgspec

Side = Literal["BUY", "SELL"]
OrderType = Literal["LIMIT", "MARKET", "LIMIT_MAKER"]
TimeInForce = Literal["GTC", "IOC", "FOK"]
Status = Literal["NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED", "EXPIRED", "EXPIRED_IN_MATCH"]
Role = Literal["maker", "taker"]
FeeIn = Literal["received", "quote", "base"]
SelfTrade = Literal["NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"]


class NewOrder(msgspec.Struct, frozen=True):
    """What a client asks for. Market orders have `quantity` or `quote_quantity`, others `quantity` and `price`.

    `user_ref` is a number of the client's that several orders may share; `expires_ns` ends a resting order;
    `fee_in` None takes the exchange's rule; `self_trade` says what expires where it meets own orders.
    """

    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce = "GTC"
    quantity: int | None = None
    quote_quantity: int | None = None
    price: int | None = None
    client_id: str | None = None
    user_ref: int | None = None
    expires_ns: int | None = None
    fee_in: FeeIn | None = None
    self_trade: SelfTrade = "NONE"


class Order(msgspec.Struct, frozen=True):
    """An accepted order as it stands; `symbol` is the market's id (BTCUSDT), `price` 0 for a market order.

    `reserved` is what is locked for it now, in the currency that it gives. `client_named` says that the client gave
    `client_id`; otherwise the exchange made one. `ahead` and `through` are its place in the queue (`queue.Place`),
    `turn` is its place among the exchange's own orders.
    """

    order_id: int
    client_id: str
    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    price: int
    quantity: int
    quote_quantity: int
    created_ns: int
    updated_ns: int
    status: Status = "NEW"
    executed: int = 0
    quote_executed: int = 0
    reserved: int = 0
    client_named: bool = False
    user_ref: int | None = None
    expires_ns: int | None = None
    fee_in: FeeIn = "received"
    self_trade: SelfTrade = "NONE"
    ahead: int = 0
    through: int = 0
    turn: int = 0

    @property
    def is_open(self) -> bool:
        """Whether it rests in the book."""
        return self.status in ("NEW", "PARTIALLY_FILLED")

    @property
    def left(self) -> int:
        """What is not filled."""
        return self.quantity - self.executed


class Trade(msgspec.Struct, frozen=True):
    """One fill of one order; `fee` is in `fee_currency`, `quote_amount` is price times quantity."""

    trade_id: int
    order_id: int
    client_id: str
    symbol: str
    side: Side
    price: int
    quantity: int
    quote_amount: int
    fee: int
    fee_currency: str
    role: Role
    at_ns: int
