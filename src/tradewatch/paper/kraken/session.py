"""One websocket connection of version 2: subscriptions, the messages that events lead to, and requests.

Source: https://docs.kraken.com/api/docs/guides/spot-ws-intro and https://docs.kraken.com/api/docs/websocket-v2/status
and the pages beside it. Times of arrival and answer (`time_in`, `time_out`) are real, all others simulated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from tradewatch.paper.accounts import Account
from tradewatch.paper.errors import Refusal
from tradewatch.paper.exchange import Exchange
from tradewatch.paper.faults import Fault
from tradewatch.paper.feed import BalancesChanged, Event, OrderChanged, Printed, Quoted
from tradewatch.paper.kraken import channels, requests
from tradewatch.paper.kraken.errors import KrakenError, fault_text, in_words
from tradewatch.paper.kraken.market_data import INTERVALS, last_bars
from tradewatch.paper.kraken.names import Names, Pair
from tradewatch.paper.kraken.tokens import Tokens
from tradewatch.paper.kraken.trading import Trading
from tradewatch.paper.market import Quote
from tradewatch.paper.orders import Order, Trade
from tradewatch.paper.session import Message, Reply
from tradewatch.paper.tape import tape

PUBLIC = ("ticker", "book", "trade", "ohlc", "instrument")
PRIVATE = ("executions", "balances")
DEPTHS = (10, 25, 100, 500, 1000)
HEARTBEAT_NS = 10**9
_SNAPSHOT_CANDLES = 720
_SNAPSHOT_TRADES = 50
_DECODER = msgspec.json.Decoder(float_hook=Decimal)

Params = Mapping[str, Any]


class Subscription(msgspec.Struct):
    """What a client listens to: a channel, of a pair where it has such, with its options."""

    channel: str
    pair: Pair | None
    depth: int = 10
    interval: int = 1
    trigger: str = "trades"
    every_state: bool = True
    shown: Quote | None = None
    sequence: int = 0


class KrakenSession:
    """The protocol's side of a connection.

    Args:
        exchange: what it is about.
        names: of its pairs.
        trading: shared with REST.
        tokens: those that GetWebSocketsToken gave.
        connection_id: told at the start.
        wall_ns: the real clock.
    """

    def __init__(
        self,
        exchange: Exchange,
        names: Names,
        trading: Trading,
        tokens: Tokens,
        *,
        connection_id: int,
        wall_ns: Callable[[], int],
    ) -> None:
        self.account: str | None = None
        self._exchange = exchange
        self._names = names
        self._trading = trading
        self._tokens = tokens
        self._connection_id = connection_id
        self._wall_ns = wall_ns
        self._subscriptions: dict[tuple[str, str | None], Subscription] = {}
        self._last_sent_ns = wall_ns()

    def opened(self) -> Sequence[Message]:
        """The venue's status."""
        status = {
            "version": "2.0.10",
            "system": "online",
            "api_version": "v2",
            "connection_id": self._connection_id,
        }
        return [self._message("status", {"channel": "status", "type": "update", "data": [status]})]

    def operation(self, text: str) -> str:
        """The request's method: `add_order`, `subscribe`, ..."""
        method = _request(text).get("method")
        return method if isinstance(method, str) and method in (*requests.METHODS, *_OWN) else "unknown"

    def received(self, text: str) -> Reply:
        """Do what a request asks."""
        wall_ns = self._wall_ns()
        request = _request(text)
        method, params = request.get("method"), request.get("params") or {}
        try:
            if not isinstance(method, str) or not isinstance(params, dict):
                raise KrakenError("Malformed request")
            match method:
                case "ping":
                    return Reply([self._answer("pong", request, wall_ns, {})], accepted=True)
                case "subscribe" | "unsubscribe":
                    return self._subscribe(method, params, request, wall_ns)
                case _:
                    return self._do(method, params, request, wall_ns)
        except (KrakenError, Refusal) as refused:
            return self._refused(in_words(refused), request, wall_ns)

    def faulted(self, text: str, fault: Fault) -> Reply:
        """An injected fault in Kraken's words."""
        return self._refused(fault_text(fault, self.operation(text)), _request(text), self._wall_ns())

    def wants(self, event: Event) -> bool:
        """Whether something that is subscribed follows from it."""
        match event:
            case OrderChanged() | BalancesChanged():
                channel = "executions" if isinstance(event, OrderChanged) else "balances"
                return (channel, None) in self._subscriptions and event.account == self.account
            case Printed() | Quoted():
                return any(
                    one.pair is not None and one.pair.key == event.symbol for one in self._subscriptions.values()
                )
        return False

    def told(self, event: Event) -> Iterable[Message]:
        """The updates that follow from an event."""
        match event:
            case OrderChanged():
                one = self._subscriptions.get(("executions", None))
                if one is not None:
                    fills = self._fills(event.account, event.order)
                    for data in channels.changed(self._names, event, fills, every_state=one.every_state):
                        yield self._update(one, [data])
            case BalancesChanged():
                one = self._subscriptions.get(("balances", None))
                if one is not None and event.entries:
                    yield self._update(one, channels.moved(self._names, event.entries))
            case Printed():
                yield from self._printed(event)
            case Quoted():
                yield from self._quoted(event)

    def beat(self, wall_ns: int) -> Sequence[Message]:
        """A heartbeat where something is subscribed and nothing was sent for a second."""
        if not self._subscriptions or wall_ns - self._last_sent_ns < HEARTBEAT_NS:
            return ()
        return [self._message("heartbeat", {"channel": "heartbeat"})]

    def _printed(self, event: Printed) -> Iterable[Message]:
        market = self._exchange.markets[event.symbol]
        for one in list(self._subscriptions.values()):
            if one.pair is None or one.pair.key != event.symbol:
                continue
            if one.channel == "trade":
                yield self._update(one, [channels.trade(one.pair, event.print)])
            elif one.channel == "ohlc":
                current = last_bars(market, event.print.at_ns, one.interval, 1)
                data = [channels.candle(one.pair, candle, one.interval) for candle in current]
                yield self._update(one, data, timestamp=channels.moment(event.print.at_ns))
            elif one.channel == "ticker" and one.trigger == "trades":
                quote = market.quote(event.print.at_ns)
                yield self._update(one, [channels.ticker(one.pair, market, quote)], quote=quote)

    def _quoted(self, event: Quoted) -> Iterable[Message]:
        for one in list(self._subscriptions.values()):
            if one.pair is None or one.pair.key != event.symbol:
                continue
            if one.channel == "ticker" and one.trigger == "bbo":
                market = self._exchange.markets[event.symbol]
                yield self._update(one, [channels.ticker(one.pair, market, event.quote)], quote=event.quote)
            elif one.channel == "book" and one.shown is not None:
                before, one.shown = one.shown, event.quote
                if (before.bid, before.ask, before.size) != (event.quote.bid, event.quote.ask, event.quote.size):
                    data = channels.book_update(one.pair, before, event.quote, one.depth)
                    yield self._update(one, [data], quote=event.quote)

    def _subscribe(self, method: str, params: Params, request: Params, wall_ns: int) -> Reply:
        channel = params.get("channel")
        if channel not in (*PUBLIC, *PRIVATE):
            raise KrakenError("Subscription name invalid")
        if channel in PRIVATE:
            self._authenticated(params, wall_ns)
        symbols: Sequence[object] = [None]
        if channel not in (*PRIVATE, "instrument"):
            given = params.get("symbol")
            if not isinstance(given, list) or not given:
                raise KrakenError("Pair field must be an array")
            symbols = given
        messages: list[Message] = []
        error: str | None = None
        for symbol in symbols:
            try:
                messages += (
                    self._start(channel, symbol, params, request, wall_ns)
                    if method == "subscribe"
                    else self._stop(channel, symbol, request, wall_ns)
                )
            except KrakenError as refused:
                error = str(refused)
                more = {} if symbol is None else {"symbol": symbol}
                messages.append(self._answer(method, request, wall_ns, more | {"error": error, "success": False}))
        return Reply(messages, account=self.account, error=error, accepted=error is None)

    def _start(self, channel: str, symbol: object, params: Params, request: Params, wall_ns: int) -> list[Message]:
        pair = None
        if symbol is not None:
            pair = next((one for one in self._names.pairs if one.symbol == symbol), None)
            if pair is None:
                raise KrakenError(f"Currency pair not supported {symbol}")
        one = _subscription(channel, pair, params)
        key = channel, None if pair is None else pair.key
        if key in self._subscriptions:
            raise KrakenError("Already subscribed")
        self._subscriptions[key] = one
        snapshot = params.get("snapshot", channel not in ("trade",)) is not False
        result: dict[str, object] = {"channel": channel, "snapshot": snapshot}
        if pair is not None:
            result["symbol"] = pair.symbol
        if channel == "book":
            result["depth"] = one.depth
        if channel == "ohlc":
            result["interval"] = one.interval
        if channel == "ticker":
            result["event_trigger"] = one.trigger
        if channel == "executions":
            result["maxratecount"] = int(self._trading.counter_most)
        answer = self._answer("subscribe", request, wall_ns, {"result": result, "success": True})
        return [answer, *(self._snapshot(one, params) if snapshot or channel == "book" else ())]

    def _stop(self, channel: str, symbol: object, request: Params, wall_ns: int) -> list[Message]:
        pair = next((one for one in self._names.pairs if one.symbol == symbol), None)
        if self._subscriptions.pop((channel, None if pair is None else pair.key), None) is None:
            raise KrakenError("Subscription Not Found")
        result = {"channel": channel} | ({} if symbol is None else {"symbol": symbol})
        return [self._answer("unsubscribe", request, wall_ns, {"result": result, "success": True})]

    def _snapshot(self, one: Subscription, params: Params) -> list[Message]:
        pair, now_ns = one.pair, self._exchange.now_ns
        data: object
        quote: Quote | None = None
        more: dict[str, object] = {}
        if one.channel == "instrument":
            data = channels.instruments(self._exchange, self._names)
        elif one.channel == "balances":
            assert self.account is not None
            data = channels.balances(self._exchange, self.account)
        elif one.channel == "executions":
            data = self._executions(params)
        else:
            assert pair is not None
            market = self._exchange.markets[pair.key]
            if one.channel == "trade":
                data = [channels.trade(pair, print_) for print_ in tape(market, now_ns, _SNAPSHOT_TRADES)]
            elif one.channel == "ohlc":
                candles = last_bars(market, now_ns, one.interval, _SNAPSHOT_CANDLES)
                data = [channels.candle(pair, candle, one.interval) for candle in candles]
                more["timestamp"] = channels.moment(now_ns)
            else:
                quote = market.quote(now_ns)
                if one.channel == "book":
                    one.shown = quote
                    data = [channels.book(pair, quote, one.depth)]
                else:
                    data = [channels.ticker(pair, market, quote)]
        return [self._data(one, "snapshot", data, quote, more)]

    def _executions(self, params: Params) -> list[channels.Data]:
        """Trades if asked for, oldest first, then open orders."""
        assert self.account is not None
        found: list[channels.Data] = []
        if params.get("snap_trades") is True:
            for trade in self._exchange.trades(self.account)[-_SNAPSHOT_TRADES:]:
                order = self._exchange.order(self.account, trade.symbol, trade.order_id, None)
                fills = self._fills(self.account, order)
                fills = fills[: fills.index(trade) + 1]
                is_whole = sum(fill.quantity for fill in fills) == order.quantity
                status = "filled" if is_whole else "partially_filled"
                found.append(channels.executed(self._names, order, fills, status))
        if params.get("snap_orders", True) is not False:
            orders = self._exchange.open_orders(self.account)
            found += [channels.open_order(self._names, order, self._fills(self.account, order)) for order in orders]
        return found

    def _fills(self, account: str, order: Order) -> list[Trade]:
        """The trades that an order had had as it stood."""
        fills: list[Trade] = []
        left = order.executed
        for trade in self._exchange.trades(account, order.symbol) if left else ():
            if left and trade.order_id == order.order_id:
                fills.append(trade)
                left -= trade.quantity
        return fills

    def _do(self, method: str, params: Params, request: Params, wall_ns: int) -> Reply:
        act = requests.METHODS.get(method)
        if act is None:
            raise KrakenError(f"Unknown method: {method}")
        account = self._authenticated(params, wall_ns)
        if "trade" not in account.permissions:
            raise KrakenError("EAccount:Invalid permissions")
        client_id = params.get("cl_ord_id")
        self._trading.beat(wall_ns)
        outcomes = act(self._trading, self._names, account.name, params, wall_ns)
        messages = [self._answer(method, request, wall_ns, {"success": True} | dict(one.body)) for one in outcomes]
        return Reply(
            messages,
            account=account.name,
            order_id=next((one.order_id for one in outcomes if one.order_id is not None), None),
            client_order_id=client_id if isinstance(client_id, str) else None,
            error=next((one.error for one in outcomes if one.error is not None), None),
            accepted=any(one.error is None for one in outcomes),
        )

    def _authenticated(self, params: Params, wall_ns: int) -> Account:
        account = self._tokens.account(str(params.get("token", "")), wall_ns)
        self.account = account.name
        return account

    def _refused(self, error: str, request: Params, wall_ns: int) -> Reply:
        method = str(request.get("method", ""))
        message = self._answer(method, request, wall_ns, {"error": error, "success": False})
        params = request.get("params")
        client_id = params.get("cl_ord_id") if isinstance(params, dict) else None
        return Reply(
            [message], self.account, client_order_id=client_id if isinstance(client_id, str) else None, error=error
        )

    def _answer(self, method: str, request: Params, wall_ns: int, body: Mapping[str, object]) -> Message:
        echoed = {"req_id": request["req_id"]} if "req_id" in request else {}
        times = {"time_in": channels.moment(wall_ns), "time_out": channels.moment(self._wall_ns())}
        return self._message(method, {"method": method, **echoed, **body, **times})

    def _update(
        self, one: Subscription, data: object, *, quote: Quote | None = None, timestamp: str | None = None
    ) -> Message:
        return self._data(one, "update", data, quote, {} if timestamp is None else {"timestamp": timestamp})

    def _data(
        self, one: Subscription, kind: str, data: object, quote: Quote | None, more: Mapping[str, object]
    ) -> Message:
        body: dict[str, object] = {"channel": one.channel, "type": kind, "data": data, **more}
        if one.channel in PRIVATE:
            one.sequence += 1
            body["sequence"] = one.sequence
        quotes = {one.pair.key: quote} if one.pair is not None and quote is not None else {}
        return self._message(one.channel, body, quotes)

    def _message(self, channel: str, body: object, quotes: dict[str, Quote] | None = None) -> Message:
        self._last_sent_ns = self._wall_ns()
        return Message(channel, channels.encode(body), quotes or {})


_OWN = ("ping", "subscribe", "unsubscribe")


def _request(text: str) -> Params:
    try:
        request = _DECODER.decode(text)
    except msgspec.DecodeError:
        return {}
    return request if isinstance(request, dict) else {}


def _subscription(channel: str, pair: Pair | None, params: Params) -> Subscription:
    depth, interval = params.get("depth", 10), params.get("interval", 1)
    if channel == "book" and (type(depth) is not int or depth not in DEPTHS):
        raise KrakenError("Subscription depth not supported")
    if channel == "ohlc" and (type(interval) is not int or interval not in INTERVALS):
        raise KrakenError("Subscription ohlc interval not supported")
    trigger = params.get("event_trigger", "trades")
    if trigger not in ("trades", "bbo"):
        raise KrakenError("Malformed request")
    every_state = params.get("order_status", True) is not False
    return Subscription(
        channel, pair, depth if channel == "book" else 10, interval if channel == "ohlc" else 1, trigger, every_state
    )
