"""What streams carry: connections, drops, messages by channel, how late they are, and since when there is silence.

A message is counted on the loop of the client that it is for; the readings are made on the safety thread. The bot's
side costs some additions and an append: no lock, as in `cell`.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterator
from time import monotonic_ns
from typing import Literal

from tradewatch.semconv import Metric, Reading
from tradewatch.semconv import attributes as a
from tradewatch.semconv import metrics as m
from tradewatch.telemetry.cell import Cell, Cells

Channel = Literal["ticker", "trades", "order_book", "ohlcv", "orders", "my_trades", "balance", "positions", "other"]
CHANNELS: tuple[Channel, ...] = (
    "ticker",
    "trades",
    "order_book",
    "ohlcv",
    "orders",
    "my_trades",
    "balance",
    "positions",
    "other",
)
# Lags that wait for the safety thread. Where there are more, they are counted by the bot's thread, without extremes.
_MOST_LAGS = 50_000
# Addresses that dropped a connection and have none again, a client.
_MOST_LOST = 1_000


class Venue:
    """The counters of one venue, all clients of one watch together. Each `x[0] += 1` is exact under the GIL."""

    __slots__ = ("drops", "exchange", "lags", "messages", "reconnects")

    def __init__(self, exchange: str, cells: Cells) -> None:
        self.exchange = exchange
        self.messages: dict[Channel, list[int]] = {channel: [0] for channel in CHANNELS}
        self.lags: dict[Channel, Cell] = {
            channel: cells.other(m.STREAM_LAG, ((a.CHANNEL.name, channel), (a.EXCHANGE.name, exchange)))
            for channel in CHANNELS
        }
        self.drops = [0]
        self.reconnects = [0]


class Connection:
    """One websocket connection: what came last of each channel, monotonic nanoseconds, since it was opened.

    It ends once: by `Feed.dropped`, or by `Feed.closed` where the bot wanted it so.
    """

    __slots__ = ("__weakref__", "address", "is_open", "last_ns")

    def __init__(self, address: str) -> None:
        self.address = address
        self.is_open = True
        self.last_ns: dict[Channel, int] = {}


class Feed:
    """The streams of one client. Its loop writes, the safety thread reads.

    Attributes:
        venue: where messages are counted.
        watched: since when the bot asks for a channel; it should be talking from then on.
    """

    __slots__ = ("__weakref__", "_before_ns", "_connections", "_lags", "_lost", "venue", "watched")

    def __init__(self, venue: Venue, lags: deque[tuple[Cell, int]]) -> None:
        self.venue = venue
        self.watched: dict[Channel, int] = {}
        self._lags = lags
        self._connections: dict[int, weakref.ref[Connection]] = {}
        # The last message of a channel whose connection is gone.
        self._before_ns: dict[Channel, int] = {}
        self._lost: dict[str, None] = {}

    def watch(self, channel: Channel) -> None:
        """The bot asks for a channel."""
        if channel not in self.watched:
            self.watched[channel] = monotonic_ns()

    def unwatch(self, channel: Channel) -> None:
        """It does not any more; where another of its subscriptions goes on, the next `watch` tells."""
        self.watched.pop(channel, None)

    def open(self, connection: Connection) -> None:
        """A connection was opened, or found open."""
        if connection.address in self._lost:
            self._lost.pop(connection.address)
            self.venue.reconnects[0] += 1
        self._connections[id(connection)] = weakref.ref(connection)

    def message(self, connection: Connection, channel: Channel, lag_ns: int | None) -> None:
        """A message came; `lag_ns` since its event, where that can be told."""
        venue = self.venue
        venue.messages[channel][0] += 1
        connection.last_ns[channel] = monotonic_ns()
        if lag_ns is not None:
            if len(self._lags) < _MOST_LAGS:
                self._lags.append((venue.lags[channel], lag_ns))
            else:
                venue.lags[channel].count(lag_ns)

    def dropped(self, connection: Connection) -> None:
        """A connection ended that the bot did not close. Its channels are waited for further."""
        if self._end(connection):
            self.venue.drops[0] += 1
            while len(self._lost) >= _MOST_LOST:
                self._lost.pop(next(iter(self._lost)), None)
            self._lost[connection.address] = None
            for channel, at_ns in connection.last_ns.items():
                self._before_ns[channel] = max(at_ns, self._before_ns.get(channel, 0))

    def closed(self, connection: Connection) -> None:
        """The bot closed a connection: nothing is waited for that it alone brought."""
        if self._end(connection):
            for channel in connection.last_ns:
                if not any(channel in other.last_ns for other in self.connections()):
                    self.unwatch(channel)

    def close(self) -> None:
        """The bot closed all its streams."""
        for connection in self.connections():
            self._end(connection)
        self.watched.clear()
        self._lost.clear()

    def connections(self) -> list[Connection]:
        """Those that are open."""
        found = [ref() for ref in list(self._connections.values())]
        return [each for each in found if each is not None and each.is_open]

    def ages_ns(self, now_ns: int) -> Iterator[tuple[Channel, int]]:
        """How long each channel that is watched has been silent, monotonic nanoseconds."""
        there = self.connections()
        for channel, since_ns in list(self.watched.items()):
            brought = [at_ns for each in there if (at_ns := each.last_ns.get(channel)) is not None]
            last_ns = min(brought) if brought else max(since_ns, self._before_ns.get(channel, 0))
            yield channel, max(0, now_ns - last_ns)

    def _end(self, connection: Connection) -> bool:
        was_open, connection.is_open = connection.is_open, False
        self._connections.pop(id(connection), None)
        return was_open


class Traffic:
    """The streams of one watch.

    Args:
        cells: where lags are counted.
    """

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._venues: dict[str, Venue] = {}
        self._feeds: list[weakref.ref[Feed]] = []
        self._lags: deque[tuple[Cell, int]] = deque()

    def feed(self, exchange: str) -> Feed:
        """A new client's."""
        venue = self._venues.get(exchange)
        if venue is None:
            venue = self._venues.setdefault(exchange, Venue(exchange, self._cells))
        feed = Feed(venue, self._lags)
        self._feeds.append(weakref.ref(feed))
        return feed

    def lags(self) -> Iterator[tuple[Cell, int]]:
        """The lags that came since they were last taken."""
        for _ in range(len(self._lags)):
            yield self._lags.popleft()

    def readings(self) -> Iterator[Reading]:
        """All but the lags, of the venues that anything was streamed from."""
        now_ns = monotonic_ns()
        feeds = [feed for ref in list(self._feeds) if (feed := ref()) is not None]
        if len(feeds) < len(self._feeds):
            self._feeds = [ref for ref in self._feeds if ref() is not None]
        open_by: dict[str, int] = {}
        ages: dict[tuple[str, Channel], int] = {}
        for feed in feeds:
            exchange = feed.venue.exchange
            open_by[exchange] = open_by.get(exchange, 0) + len(feed.connections())
            for channel, age_ns in feed.ages_ns(now_ns):
                ages[exchange, channel] = max(age_ns, ages.get((exchange, channel), 0))
        for exchange, venue in list(self._venues.items()):
            told = [(channel, n[0]) for channel, n in venue.messages.items() if n[0]]
            streamed = told or open_by.get(exchange) or venue.drops[0]
            if not streamed:
                continue
            of = ((a.EXCHANGE.name, exchange),)
            yield Reading(m.STREAM_CONNECTIONS, open_by.get(exchange, 0), of)
            yield Reading(m.STREAM_DROPS, venue.drops[0], of)
            yield Reading(m.STREAM_RECONNECTS, venue.reconnects[0], of)
            for channel, n in told:
                yield _reading(m.STREAM_MESSAGES, n, exchange, channel)
        for (exchange, channel), age_ns in ages.items():
            yield _reading(m.STREAM_AGE, age_ns / 1e9, exchange, channel)


def _reading(metric: Metric, value: float, exchange: str, channel: Channel) -> Reading:
    return Reading(metric, value, ((a.CHANNEL.name, channel), (a.EXCHANGE.name, exchange)))
