"""The market streams one by one: which events each hears, and what it says.

Source: https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-streams.md and, of the perpetual,
https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams. Times are simulated, in
milliseconds. Update ids of the book are microseconds of simulated time, in REST snapshots too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from tradewatch.paper.binance.parameters import INTERVALS
from tradewatch.paper.binance.public import day_of, levels, update_id
from tradewatch.paper.candles import MINUTE_NS
from tradewatch.paper.feed import Printed, Quoted
from tradewatch.paper.market import Market, Quote
from tradewatch.paper.tape import Bar, bars
from tradewatch.paper.units import show

Body = dict[str, Any]
DEPTH = 1_000  # levels a side that the book's changes are kept for
_NAME = re.compile(
    r"(?:(?P<symbol>[a-z0-9]+)@|!)(?P<kind>trade|aggTrade|bookTicker|depth|kline|ticker|miniTicker|markPrice)"
    r"(?P<levels>5|10|20)?(?:_(?P<interval>\w+))?(?P<array>@arr)?(?:@(?P<speed>100ms|250ms|500ms|1000ms|0ms|1s|3s))?"
)
_OF_PRINTS = ("trade", "aggTrade", "kline")


def stream(name: str, *, is_contract: bool) -> Stream | None:
    """The stream of a name; None for one that is not known, which the venue takes and says nothing on."""
    match = _NAME.fullmatch(name)
    if match is None or (match["kind"] == "markPrice") > is_contract:
        return None
    if match["kind"] == "kline" and match["interval"] not in INTERVALS:
        return None
    symbol = match["symbol"].upper() if match["symbol"] else None
    count = int(match["levels"]) if match["levels"] else None
    return Stream(
        match["kind"],
        symbol,
        count=count,
        interval=match["interval"],
        in_list=bool(match["array"]),
        is_contract=is_contract,
    )


class Stream:
    """One stream: a kind, of a symbol or (None) of all, with its levels, interval or list form."""

    def __init__(
        self,
        kind: str,
        symbol: str | None,
        count: int | None,
        interval: str | None,
        *,
        in_list: bool,
        is_contract: bool,
    ) -> None:
        self.kind = kind
        self._symbol = symbol
        self._count = count
        self._interval = interval
        self._in_list = in_list
        self._is_contract = is_contract
        self._shown: dict[str, Quote] = {}

    def hears(self, event: Printed | Quoted) -> bool:
        """Whether an event concerns it."""
        return self._symbol in (None, event.symbol) and isinstance(event, Printed) is (self.kind in _OF_PRINTS)

    def symbols(self, exchange: Any) -> list[str]:
        """The symbols that it is of and that are traded."""
        return [symbol for symbol in exchange.markets if self._symbol in (None, symbol)]

    def state(self, exchange: Any, now: Quoted) -> Iterable[object]:
        """What it shows at its subscription; prints and changes of the book have no state."""
        if self.kind == "kline":
            return [self._kline(exchange.markets[now.symbol], now.quote.at_ns, now.quote.at_ns)]
        if self.kind == "depth" and self._count is None:
            self._shown[now.symbol] = now.quote
            return []
        return [] if self.kind in _OF_PRINTS else self.told(exchange, now)

    def told(self, exchange: Any, event: Printed | Quoted) -> Iterable[object]:
        """What it says to an event."""
        market = exchange.markets[event.symbol]
        if isinstance(event, Printed):
            print_ = event.print
            if self.kind == "kline":
                return [self._kline(market, print_.at_ns, exchange.now_ns)]
            return [_trade(self.kind, event)]
        body = self._of_quote(exchange, market, event)
        if body is None:
            return []
        return [[body]] if self._in_list else [body]

    def _of_quote(self, exchange: Any, market: Market, event: Quoted) -> Body | None:
        quote, at_ms = event.quote, event.quote.at_ns // 1_000_000
        match self.kind:
            case "bookTicker":
                return self._book_ticker(market, quote)
            case "depth" if self._count is not None:
                return self._partial(market, quote, self._count)
            case "depth":
                return self._changes(market, event)
            case "markPrice":
                return {
                    "e": "markPriceUpdate",
                    "E": at_ms,
                    "s": event.symbol,
                    "p": show(quote.mid),
                    "i": show(quote.mid),
                    "P": show(quote.mid),
                    "r": show(exchange.funding_rate),
                    "T": exchange.next_funding_ns // 1_000_000,
                }
        day = day_of(market, quote)
        mini = {
            "e": "24hrMiniTicker",
            "E": at_ms,
            "s": event.symbol,
            "c": day["lastPrice"],
            "o": day["openPrice"],
            "h": day["highPrice"],
            "l": day["lowPrice"],
            "v": day["volume"],
            "q": day["quoteVolume"],
        }
        if self.kind == "miniTicker":
            return mini
        return mini | {
            "e": "24hrTicker",
            "p": day["priceChange"],
            "P": day["priceChangePercent"],
            "w": day["weightedAvgPrice"],
            "Q": day["lastQty"],
            "O": day["openTime"],
            "C": day["closeTime"],
            "F": day["firstId"],
            "L": day["lastId"],
            "n": day["count"],
        } | ({} if self._is_contract else {
            "x": day["prevClosePrice"],
            "b": day["bidPrice"],
            "B": day["bidQty"],
            "a": day["askPrice"],
            "A": day["askQty"],
        })  # fmt: skip

    def _book_ticker(self, market: Market, quote: Quote) -> Body:
        size = show(quote.size)
        body: Body = {
            "u": update_id(quote.at_ns),
            "s": market.instrument.id,
            "b": show(quote.bid),
            "B": size,
            "a": show(quote.ask),
            "A": size,
        }
        at_ms = quote.at_ns // 1_000_000
        return {"e": "bookTicker", "E": at_ms, "T": at_ms, **body} if self._is_contract else body

    def _partial(self, market: Market, quote: Quote, count: int) -> Body:
        bids, asks = levels(market, quote, count)
        if self._is_contract:
            return self._update(market, quote, quote, bids, asks)
        return {"lastUpdateId": update_id(quote.at_ns), "bids": bids, "asks": asks}

    def _changes(self, market: Market, event: Quoted) -> Body | None:
        before = self._shown.get(event.symbol, event.quote)
        self._shown[event.symbol] = event.quote
        tick, size = market.instrument.tick, show(event.quote.size)

        def changed(old: int, new: int, step: int) -> list[list[str]]:
            was = {old + step * n for n in range(DEPTH)}
            is_ = {new + step * n for n in range(DEPTH)}
            told = was ^ is_ if before.size == event.quote.size else was | is_
            return [[show(price), size if price in is_ else show(0)] for price in sorted(told) if price > 0]

        bids, asks = changed(before.bid, event.quote.bid, -tick), changed(before.ask, event.quote.ask, tick)
        return self._update(market, before, event.quote, bids, asks)

    def _update(
        self, market: Market, before: Quote, quote: Quote, bids: list[list[str]], asks: list[list[str]]
    ) -> Body:
        at_ms, first, last = quote.at_ns // 1_000_000, update_id(before.at_ns) + 1, update_id(quote.at_ns)
        body: Body = {"e": "depthUpdate", "E": at_ms, "s": market.instrument.id, "U": first, "u": max(first, last)}
        if self._is_contract:
            body |= {"T": at_ms, "pu": first - 1}
        return body | {"b": bids, "a": asks}

    def _kline(self, market: Market, at_ns: int, now_ns: int) -> Body:
        assert self._interval is not None
        minutes = INTERVALS[self._interval]
        length_ns = minutes * MINUTE_NS
        start_ns = at_ns // length_ns * length_ns
        [found] = bars(market, start_ns, start_ns, at_ns, minutes=minutes, limit=1)
        is_closed = at_ns + 1_000_000 >= start_ns + length_ns
        return {
            "e": "kline",
            "E": at_ns // 1_000_000,
            "s": market.instrument.id,
            "k": _candle(market, found, self._interval, length_ns, is_closed=is_closed),
        }


def _candle(market: Market, found: Bar, interval: str, length_ns: int, *, is_closed: bool) -> Body:
    return {
        "t": found.start_ns // 1_000_000,
        "T": (found.start_ns + length_ns) // 1_000_000 - 1,
        "s": market.instrument.id,
        "i": interval,
        "f": -1,
        "L": -1,
        "o": show(found.open),
        "c": show(found.close),
        "h": show(found.high),
        "l": show(found.low),
        "v": show(found.volume),
        "n": found.prints,
        "x": is_closed,
        "q": show(found.quote_volume),
        "V": show(found.volume // 2),
        "Q": show(found.quote_volume // 2),
        "B": "0",
    }


def _trade(kind: str, event: Printed) -> Body:
    print_ = event.print
    at_ms = print_.at_ns // 1_000_000
    body: Body = {"e": kind, "E": at_ms, "s": event.symbol, "p": show(print_.price), "q": show(print_.quantity)}
    ids: Body = {"t": print_.trade_id}
    if kind == "aggTrade":
        ids = {"a": print_.trade_id, "f": print_.trade_id, "l": print_.trade_id}
    return body | ids | {"T": at_ms, "m": print_.sell, "M": True}
