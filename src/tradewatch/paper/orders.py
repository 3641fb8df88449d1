"""Orders and trades as values; amounts in units of 10^-8, times in epoch nanoseconds of simulated time."""

from __future__ import annotations

from typing import Literal

import msgspec

Side = Literal["BUY", "SELL"]
OrderType = Literal["LIMIT", "MARKET", "LIMIT_MAKER"]
TimeInForce = Literal["GTC", "IOC", "FOK"]
Status = Literal["NEW", "FILLED", "CANCELED", "EXPIRED"]
Role = Literal["maker", "taker"]


class NewOrder(msgspec.Struct, frozen=True):
    """What a client asks for. Market orders have `quantity` or `quote_quantity`, others `quantity` and `price`."""

    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce = "GTC"
    quantity: int | None = None
    quote_quantity: int | None = None
    price: int | None = None
    client_id: str | None = None


class Order(msgspec.Struct, frozen=True):
    """An accepted order as it stands; `symbol` is the venue's spelling (BTCUSDT), `price` 0 for a market order."""

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

    @property
    def is_open(self) -> bool:
        """Whether it rests in the book."""
        return self.status == "NEW"


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
