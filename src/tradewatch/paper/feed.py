"""What happens at the exchange, as events for whoever listens: the one way from the core to the streams of a wire.

The exchange publishes in order of simulated time; a listener has a bounded queue of its own, and one that falls behind
loses its subscription instead of slowing the exchange, as venues drop slow connections. Nothing is made or kept while
nobody listens.

Own orders and money come from the exchange as they happen, at their exact instants. Prints are the tape's, each once.
Quotes are a sample at each `Exchange.advance`, published only where they changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import msgspec

from tradewatch.paper.accounts import Entry, Holding
from tradewatch.paper.market import Market, Quote
from tradewatch.paper.orders import Order, Trade
from tradewatch.paper.tape import Print, tape

Change = Literal["new", "amended", "trade", "canceled", "expired"]
_ALL_PRINTS = 1 << 30


class OrderChanged(msgspec.Struct, frozen=True):
    """An own order as it stands after a change; `trade` is the fill of change `trade`.

    `reason` says why an order ended other than by its owner's word: `deadman`, `time_in_force`, `self_trade`.
    `cancel_id` is the id that its owner gave the cancel.
    """

    account: str
    change: Change
    order: Order
    at_ns: int
    trade: Trade | None = None
    reason: str | None = None
    cancel_id: str | None = None


class BalancesChanged(msgspec.Struct, frozen=True):
    """Currencies whose holdings changed, as they stand now; `entries` are the new lines of the statement, if any.

    Without entries money was locked or freed alone.
    """

    account: str
    holdings: Mapping[str, Holding]
    entries: tuple[Entry, ...]
    at_ns: int


class Printed(msgspec.Struct, frozen=True):
    """A trade on the market's public tape."""

    symbol: str
    print: Print


class Quoted(msgspec.Struct, frozen=True):
    """The market's best prices have changed: every level of the book follows from them."""

    symbol: str
    quote: Quote


class ContractChanged(msgspec.Struct, frozen=True):
    """An account of the perpetual has changed; `news` says what, as one of the values of `perpetual.values`."""

    account: str
    news: object
    at_ns: int


Event = OrderChanged | BalancesChanged | ContractChanged | Printed | Quoted


class Subscription:
    """One listener's queue.

    Attributes:
        overflowed: it fell behind and gets nothing more; what is queued can still be read.
    """

    def __init__(self, wants: Callable[[Event], bool], limit: int) -> None:
        self._wants = wants
        self._queue: asyncio.Queue[Event] = asyncio.Queue(limit)
        self.overflowed = False

    def offer(self, event: Event) -> None:
        """Queue an event that is wanted; never waits."""
        if self.overflowed or not self._wants(event):
            return
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            self.overflowed = True

    async def next(self) -> Event:
        """The oldest event that is due; waits for one."""
        return await self._queue.get()

    def drain(self) -> list[Event]:
        """Everything that is due, without waiting."""
        return [self._queue.get_nowait() for _ in range(self._queue.qsize())]


class Feed:
    """The listeners of one exchange.

    Args:
        limit: events that a listener may be behind.
    """

    def __init__(self, limit: int = 10_000) -> None:
        self._limit = limit
        self._subscriptions: list[Subscription] = []

    @property
    def is_heard(self) -> bool:
        """Whether anybody listens."""
        return bool(self._subscriptions)

    def subscribe(self, wants: Callable[[Event], bool] = lambda event: True) -> Subscription:
        """Listen from now on to the events that `wants` is true of."""
        subscription = Subscription(wants, self._limit)
        self._subscriptions.append(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Listen no more."""
        self._subscriptions.remove(subscription)

    def publish(self, event: Event) -> None:
        """Tell everybody who wants it."""
        for subscription in self._subscriptions:
            subscription.offer(event)


def prints_between(markets: Iterable[Market], after_ns: int, until_ns: int) -> list[Printed]:
    """The tape of all markets in (after, until], by time, then in the order of the markets."""
    found = [
        Printed(market.instrument.id, print_)
        for market in markets
        for print_ in tape(market, until_ns, _ALL_PRINTS, start_ns=after_ns + 1)
    ]
    return sorted(found, key=lambda printed: printed.print.at_ns)
