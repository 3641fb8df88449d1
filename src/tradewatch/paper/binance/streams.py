"""Streams: market data and user data by name, raw or combined, with SUBSCRIBE, UNSUBSCRIBE and LIST_SUBSCRIPTIONS.

Source: https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-streams.md. What shows a state (tickers,
candles, partial depth) is sent once at the subscription and then as it changes, at most as often as the exchange
advances; the venue sends it by its own clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from tradewatch.paper.binance import channels
from tradewatch.paper.binance.faults import ws_error
from tradewatch.paper.faults import Fault
from tradewatch.paper.feed import Event, Printed, Quoted
from tradewatch.paper.market import Quote
from tradewatch.paper.session import Message, Reply

if TYPE_CHECKING:
    from tradewatch.paper.binance.wire import BinanceWire

OPERATIONS = {
    "SUBSCRIBE": "subscribe",
    "UNSUBSCRIBE": "unsubscribe",
    "LIST_SUBSCRIPTIONS": "list_subscriptions",
}
USER_DATA = "user_data"  # the channel of user streams, whose name is a credential


class StreamSession:
    """The protocol's side of a connection.

    Args:
        wire: what it belongs to.
        streams: named in the address.
        combined: each message is wrapped with its stream's name.
        wall_ns: the real clock.
    """

    def __init__(
        self, wire: BinanceWire, streams: Sequence[str], *, combined: bool, wall_ns: Callable[[], int]
    ) -> None:
        self.account: str | None = None
        self._wire = wire
        self._combined = combined
        self._wall_ns = wall_ns
        self._streams: dict[str, channels.Stream | None] = {}
        self._add(streams)

    def opened(self) -> Sequence[Message]:
        """The states of the streams named in the address."""
        return list(self._states(list(self._streams)))

    def operation(self, text: str) -> str:
        """`subscribe`, `unsubscribe`, `list_subscriptions` or `unknown`."""
        return OPERATIONS.get(str(read_object(text).get("method")), "unknown")

    def received(self, text: str) -> Reply:
        """Subscribe, unsubscribe or list."""
        request = read_object(text)
        method, names, id_ = request.get("method"), request.get("params") or [], request.get("id")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            return self._refused(2, "Invalid request: params must be a list of strings", id_)
        match method:
            case "SUBSCRIBE":
                new = self._add(names)
                return Reply([self._answer("subscribe", None, id_), *self._states(new)], accepted=True)
            case "UNSUBSCRIBE":
                for name in names:
                    self._streams.pop(name, None)
                return Reply([self._answer("unsubscribe", None, id_)], accepted=True)
            case "LIST_SUBSCRIPTIONS":
                return Reply([self._answer("list_subscriptions", list(self._streams), id_)], accepted=True)
        return self._refused(2, "Invalid request: unknown variant, expected one of `SUBSCRIBE`, `UNSUBSCRIBE`", id_)

    def faulted(self, text: str, fault: Fault) -> Reply:
        """An injected fault in Binance's words."""
        code, message, _ = ws_error(fault)
        return self._refused(code, message, read_object(text).get("id"))

    def wants(self, event: Event) -> bool:
        """Whether something that is subscribed follows from it."""
        if isinstance(event, Printed | Quoted):
            return any(one is not None and one.hears(event) for one in self._streams.values())
        return self.account == event.account

    def told(self, event: Event) -> Iterable[Message]:
        """The messages that an event leads to."""
        if isinstance(event, Printed | Quoted):
            for name, one in list(self._streams.items()):
                if one is not None and one.hears(event):
                    for body in one.told(self._wire.exchange, event):
                        yield self._message(name, body, event)
            return
        for name, one in self._streams.items():
            if one is None and self._wire.listen_keys.account(name, self._wall_ns()) == event.account:
                for body in self._wire.product.user_events(self._wire.exchange, event):
                    yield self._wrapped(USER_DATA, name, body)

    def beat(self, wall_ns: int) -> Sequence[Message] | None:
        """A user stream whose key has expired says so once and is silent from then on."""
        expired = [
            name
            for name, one in self._streams.items()
            if one is None and len(name) == 64 and self._wire.listen_keys.account(name, wall_ns) is None
        ]
        messages = []
        for name in expired:
            del self._streams[name]
            if self.account is not None:
                body = {"e": "listenKeyExpired", "E": self._wire.exchange.now_ns // 1_000_000, "listenKey": name}
                messages.append(self._wrapped(USER_DATA, name, body))
        return messages

    def _add(self, names: Sequence[str]) -> list[str]:
        new = [name for name in names if name not in self._streams]
        for name in new:
            self._streams[name] = channels.stream(name, is_contract=self._wire.product.is_contract)
            owner = self._wire.listen_keys.account(name, self._wall_ns())
            self.account = owner or self.account
        return new

    def _states(self, names: Sequence[str]) -> Iterable[Message]:
        exchange = self._wire.exchange
        for name in names:
            one = self._streams[name]
            if one is not None:
                for symbol in one.symbols(exchange):
                    now = Quoted(symbol, exchange.told(exchange.markets[symbol]))
                    for body in one.state(exchange, now):
                        yield self._message(name, body, now)

    def _message(self, name: str, body: object, event: Printed | Quoted) -> Message:
        quotes: dict[str, Quote] = {event.symbol: event.quote} if isinstance(event, Quoted) else {}
        return self._wrapped(name, name, body, quotes)

    def _wrapped(self, channel: str, name: str, body: object, quotes: dict[str, Quote] | None = None) -> Message:
        sent = {"stream": name, "data": body} if self._combined else body
        return Message(channel, encoded(sent), quotes or {})

    def _answer(self, operation: str, result: object, id_: object) -> Message:
        return Message(operation, encoded({"result": result, "id": id_}))

    def _refused(self, code: int, message: str, id_: object) -> Reply:
        body = {"error": {"code": code, "msg": message}, "id": id_}
        return Reply([Message("error", encoded(body))], code=code)


def read_object(text: str) -> dict[str, Any]:
    """A JSON object; an empty one for anything else."""
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def encoded(value: object) -> str:
    """JSON as text."""
    return msgspec.json.encode(value).decode()
