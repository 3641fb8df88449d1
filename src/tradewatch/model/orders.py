"""Orders, fills, balances and prices as the venue reported them."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Literal

import msgspec

Side = Literal["buy", "sell"]
OrderStatus = Literal["pending", "open", "filled", "cancelled", "expired", "rejected", "refused", "unknown"]


class Money(msgspec.Struct, frozen=True):
    """An amount in one currency; nothing is ever added across currencies."""

    amount: Decimal
    currency: str


class OrderKey(msgspec.Struct, frozen=True):
    """What tells one order from every other. Ids are the venue's (`order_id`) and the bot's (`client_id`)."""

    venue: str
    account: str
    symbol: str
    order_id: str | None
    client_id: str | None


class OrderRequest(msgspec.Struct, frozen=True):
    """An order that the bot is about to send. Amount in the base currency, price in quote per base, None for market."""

    key: OrderKey
    operation: str
    side: str | None
    type: str | None
    amount: Decimal | None
    price: Decimal | None
    reduce_only: bool = False
    protective: bool = False


class OrderReport(msgspec.Struct, frozen=True):
    """What the venue said of an order, copied at the call because bots change the dicts that they are given.

    Amounts in the base currency, `average` in quote per base, `cost` in quote. `venue_ns` is the venue's time of the
    order's last change, `seen_ns` ours when the report arrived.
    """

    key: OrderKey
    side: str | None
    type: str | None
    status: OrderStatus
    amount: Decimal | None
    price: Decimal | None
    filled: Decimal | None
    average: Decimal | None
    cost: Decimal | None
    venue_ns: int | None
    seen_ns: int


class Fill(msgspec.Struct, frozen=True):
    """One trade of an order. `account`, `market`, `order_id` and `trade_id` together are its identity.

    `market` is the unified symbol (BTC/USDT). Amount in base, price in quote per base; `fees` may be in any currency
    and are positive when paid. Decimals come from the venue's own text, never through a float where text was given.
    """

    account: str
    market: str
    order_id: str
    trade_id: str
    side: Side
    amount: Decimal
    price: Decimal
    fees: tuple[Money, ...]
    venue_ns: int
    source: Literal["order", "trades", "provisional"]

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """Account, market, order id, trade id."""
        return (self.account, self.market, self.order_id, self.trade_id)


class Balances(msgspec.Struct, frozen=True):
    """What the venue said an account holds (free and locked together), asked between `start_ns` and `end_ns`."""

    account: str
    totals: tuple[Money, ...]
    start_ns: int
    end_ns: int


class Mark(msgspec.Struct, frozen=True):
    """A price that the bot was given for a market: the mid where bid and ask are known, else the last trade.

    `in_bulk` where it came with those of many markets, so that asking for it says nothing of this one.
    """

    market: str
    price: Decimal
    at_ns: int
    source: Literal["mid", "last", "close"]
    in_bulk: bool = False


class Quote(msgspec.Struct, frozen=True, gc=False):
    """What an answer says of one market's price, as the client library gave it.

    `read` makes of it what there is to be known; most are not read, since a newer one is there by then.
    """

    market: Any
    bid: Any
    ask: Any
    last: Any
    at_ns: int
    read: Callable[[Quote], Any]
