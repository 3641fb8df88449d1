"""What differs between Binance's products that one protocol serves: routes, limits, words, streams."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from tradewatch.paper.accounts import Account
from tradewatch.paper.binance.parameters import Params
from tradewatch.paper.errors import Reason
from tradewatch.paper.feed import Event, Feed
from tradewatch.paper.journal import Booked, Moved
from tradewatch.paper.market import Market, Quote
from tradewatch.paper.requests import Limits

Told = tuple[object, dict[str, Quote]]
Weight = Callable[[Params], int]


class Core(Protocol):
    """An exchange without its wire, spot or perpetual, as far as the protocol itself needs it."""

    markets: dict[str, Market]
    accounts: dict[str, Account]
    names: list[str]
    feed: Feed
    now_ns: int
    told_factor: int

    def advance(self) -> int:
        """Carry every market on to the present."""
        ...

    def market(self, symbol: str) -> Market:
        """The market of an id."""
        ...

    def told(self, market: Market) -> Quote:
        """The quote of the present that market data tells."""
        ...


class Done(msgspec.Struct, frozen=True):
    """A body to send, and which order it is about."""

    body: object
    order_id: int | None = None
    client_order_id: str | None = None


class Route(msgspec.Struct, frozen=True):
    """An endpoint: what it is called, what it weighs, and the function that answers it.

    Without a function it needs no more than the protocol itself knows. `counts` says that it places an order;
    `key_only` that it needs a key but no signature.
    """

    operation: str
    weight: int | Weight
    public: Callable[[Any, Params], Told] | None = None
    private: Callable[[Any, str, Params], Done] | None = None
    counts: bool = False
    key_only: bool = False


class OrderWindow(msgspec.Struct, frozen=True):
    """A limit on orders: its length, how exchangeInfo and headers name it, and which of the limits it is."""

    length_s: int
    interval: str
    number: int
    header: str
    most: Callable[[Limits], int]


class Product(msgspec.Struct, frozen=True):
    """One of Binance's products.

    Args:
        routes: by method and path.
        ws_methods: of the websocket API, each with the route that it is.
        ws_api_path: where that is.
        refusals: code and words for each reason.
        limits: unless others are given.
        order_windows: limits on orders.
        exchange_info: the body, from exchange, parameters, rate limits and real milliseconds.
        user_events: the messages of a user stream that an event leads to.
        is_contract: whether streams have the perpetual's form.
        user_events_on_api: whether the websocket API carries the user stream.
        lines: of the exchange's journal, where an order's first fill takes from the order counts.
    """

    routes: Mapping[tuple[str, str], Route]
    ws_methods: Mapping[str, tuple[str, str]]
    ws_api_path: str
    refusals: Mapping[Reason, tuple[int, str]]
    limits: Limits
    order_windows: tuple[OrderWindow, ...]
    exchange_info: Callable[[Any, Params, list[dict[str, object]], int], object]
    user_events: Callable[[Any, Event], Iterable[dict[str, object]]]
    is_contract: bool = False
    user_events_on_api: bool = False
    lines: Callable[[Any], Sequence[Booked | Moved]] | None = None


def by_symbol(one: int, several: int) -> Weight:
    """A weight for a request with `symbol` and one without."""
    return lambda params: one if "symbol" in params else several
