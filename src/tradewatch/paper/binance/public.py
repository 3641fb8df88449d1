"""Binance spot: the answers about the market.

Each function returns the body and the quotes, by symbol, whose mid it tells, so that the books know what was quoted.
Times in the answers are simulated, in milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import msgspec

from tradewatch.paper.binance.parameters import INTERVALS, Params, limit_of, millis, whole
from tradewatch.paper.binance.product import Core, Told
from tradewatch.paper.candles import MINUTE_NS
from tradewatch.paper.errors import VenueError, mandatory
from tradewatch.paper.exchange import Exchange
from tradewatch.paper.instrument import Instrument, filters
from tradewatch.paper.market import LEVELS, Market, Quote
from tradewatch.paper.orders import SelfTrade
from tradewatch.paper.tape import Bar, bar, bars, tape
from tradewatch.paper.units import ONE, show

DAY_MINUTES = 1440
AVERAGE_MINUTES = 5


def ping(exchange: Core, params: Params) -> Told:
    """GET /api/v3/ping."""
    return {}, {}


def exchange_info(exchange: Exchange, params: Params, limits: list[dict[str, object]], wall_ms: int) -> object:
    """GET /api/v3/exchangeInfo: symbols and filters; a market past the end of its candles has status BREAK."""
    return {
        "timezone": "UTC",
        "serverTime": wall_ms,
        "rateLimits": limits,
        "exchangeFilters": [],
        "symbols": [
            *(
                _symbol(market.instrument, "TRADING" if exchange.now_ns < market.end_ns else "BREAK")
                for market in chosen(exchange, params)
            ),
            *(
                _symbol(instrument, "BREAK")
                for instrument in _unpriced(exchange)
                if not {"symbol", "symbols"} & set(params)
            ),
        ],
    }


def depth(exchange: Core, params: Params) -> Told:
    """GET /api/v3/depth: at most 1,000 levels one tick apart, all of the market's depth."""
    market = market_of(exchange, params)
    quote = exchange.told(market)
    bids, asks = levels(market, quote, min(limit_of(params, 100, 5000), LEVELS))
    return {"lastUpdateId": update_id(exchange.now_ns), "bids": bids, "asks": asks}, {market.instrument.id: quote}


def levels(market: Market, quote: Quote, count: int) -> tuple[list[list[str]], list[list[str]]]:
    """Bids and asks, best first."""
    tick, size = market.instrument.tick, show(quote.size)
    bids = [[show(quote.bid - tick * n), size] for n in range(count) if quote.bid > tick * n]
    return bids, [[show(quote.ask + tick * n), size] for n in range(count)]


def update_id(at_ns: int) -> int:
    """The number of the book's state at an instant: microseconds of simulated time."""
    return at_ns // 1_000


def trades(exchange: Core, params: Params) -> Told:
    """GET /api/v3/trades: the recorded tape, most recent last."""
    market, now_ns = market_of(exchange, params), exchange.now_ns
    prints = tape(market, now_ns, limit_of(params, 500, 1000))
    body = [
        {
            "id": print_.trade_id,
            "price": show(print_.price),
            "qty": show(print_.quantity),
            "quoteQty": show(print_.price * print_.quantity // ONE),
            "time": print_.at_ns // 1_000_000,
            "isBuyerMaker": print_.sell,
            "isBestMatch": True,
        }
        for print_ in prints
    ]
    return body, {}


def agg_trades(exchange: Core, params: Params) -> Told:
    """GET /api/v3/aggTrades: the same tape, each print an aggregate of one."""
    market, now_ns = market_of(exchange, params), exchange.now_ns
    start_ns, end_ns = millis(params, "startTime"), millis(params, "endTime")
    from_id = whole(params, "fromId")
    until_ns = now_ns if end_ns is None else min(end_ns, now_ns)
    prints = tape(market, until_ns, limit_of(params, 500, 1000), start_ns, from_id)
    body = [
        {
            "a": print_.trade_id,
            "p": show(print_.price),
            "q": show(print_.quantity),
            "f": print_.trade_id,
            "l": print_.trade_id,
            "T": print_.at_ns // 1_000_000,
            "m": print_.sell,
            "M": True,
        }
        for print_ in prints
    ]
    return body, {}


def klines(exchange: Core, params: Params) -> Told:
    """GET /api/v3/klines: the recorded candles; the present one as far as it has come."""
    market, now_ns = market_of(exchange, params), exchange.now_ns
    interval = params.get("interval")
    if not interval:
        raise mandatory("interval")
    if interval not in INTERVALS:
        raise VenueError(-1120, "Invalid interval.")
    start_ns, end_ns = millis(params, "startTime"), millis(params, "endTime")
    length_ns = INTERVALS[interval] * MINUTE_NS
    limit = limit_of(params, 500, 1000)
    last_ns = now_ns if end_ns is None else min(now_ns, end_ns)
    if start_ns is None:
        first_ns = last_ns // length_ns * length_ns - (limit - 1) * length_ns
    else:
        first_ns = -(-start_ns // length_ns) * length_ns
    found = bars(market, first_ns, last_ns, now_ns, minutes=INTERVALS[interval], limit=limit)
    told = bool(found) and found[-1].start_ns <= now_ns < found[-1].start_ns + length_ns
    body = [_kline(one, length_ns) for one in found]
    return body, {market.instrument.id: market.quote(now_ns)} if told else {}


def ticker_24hr(exchange: Core, params: Params) -> Told:
    """GET /api/v3/ticker/24hr: the last 1,440 minutes, from the start of a minute."""
    return each(exchange, params, day_of)


def ticker_price(exchange: Core, params: Params) -> Told:
    """GET /api/v3/ticker/price: the mid, which is the last price too."""
    return each(exchange, params, lambda market, quote: {"symbol": market.instrument.id, "price": show(quote.mid)})


def book_ticker(exchange: Core, params: Params) -> Told:
    """GET /api/v3/ticker/bookTicker."""
    return each(exchange, params, _best)


def avg_price(exchange: Core, params: Params) -> Told:
    """GET /api/v3/avgPrice: by volume over the prints of the last five minutes; the mid where there were none."""
    market, now_ns = market_of(exchange, params), exchange.now_ns
    recent = tape(market, now_ns, 1000, start_ns=now_ns - AVERAGE_MINUTES * MINUTE_NS)
    last = tape(market, now_ns, 1)
    volume = sum(print_.quantity for print_ in recent)
    value = sum(print_.price * print_.quantity for print_ in recent)
    body = {
        "mins": AVERAGE_MINUTES,
        "price": show(value // volume if volume else market.quote(now_ns).mid),
        "closeTime": (last[0].at_ns if last else now_ns) // 1_000_000,
    }
    return body, {}


def _best(market: Market, quote: Quote) -> dict[str, object]:
    size = show(quote.size)
    return {
        "symbol": market.instrument.id,
        "bidPrice": show(quote.bid),
        "bidQty": size,
        "askPrice": show(quote.ask),
        "askQty": size,
    }


def day_of(market: Market, quote: Quote) -> dict[str, object]:
    """The ticker of the last 24 hours."""
    now_ns = quote.at_ns
    opened_ns = max(now_ns // MINUTE_NS * MINUTE_NS - (DAY_MINUTES - 1) * MINUTE_NS, market.candles.start_ns)
    day = bar(market, min(opened_ns, market.end_ns - MINUTE_NS), now_ns + MINUTE_NS, now_ns)
    change = quote.mid - day.open
    return _best(market, quote) | {
        "priceChange": show(change),
        "priceChangePercent": f"{change / day.open * 100:.3f}",
        "weightedAvgPrice": show(day.quote_volume * ONE // day.volume if day.volume else quote.mid),
        "prevClosePrice": show(day.open),
        "lastPrice": show(quote.mid),
        "lastQty": show(0),
        "openPrice": show(day.open),
        "highPrice": show(max(day.high, quote.mid)),
        "lowPrice": show(min(day.low, quote.mid)),
        "volume": show(day.volume),
        "quoteVolume": show(day.quote_volume),
        "openTime": opened_ns // 1_000_000,
        "closeTime": now_ns // 1_000_000,
        "firstId": -1,
        "lastId": -1,
        "count": day.prints,
    }


def each(exchange: Core, params: Params, render: Callable[[Market, Quote], dict[str, object]]) -> Told:
    """What is told of the markets asked for: one object for `symbol`, a list for `symbols` or none."""
    quotes = {market.instrument.id: exchange.told(market) for market in chosen(exchange, params)}
    body = [render(exchange.markets[symbol], quote) for symbol, quote in quotes.items()]
    return (body[0] if "symbol" in params else body), quotes


def chosen(exchange: Core, params: Params) -> list[Market]:
    """The markets of `symbol` or `symbols`; all without either."""
    if "symbol" in params and "symbols" in params:
        raise VenueError(-1128, "Combination of optional parameters invalid.")
    if "symbol" in params:
        return [exchange.market(params["symbol"])]
    if "symbols" not in params:
        return list(exchange.markets.values())
    try:
        symbols = msgspec.json.decode(params["symbols"], type=list[str])
    except msgspec.DecodeError:
        raise VenueError(-1100, "Illegal characters found in parameter 'symbols'.") from None
    return [exchange.market(symbol) for symbol in dict.fromkeys(symbols)]


def market_of(exchange: Core, params: Params) -> Market:
    """The market of `symbol`, which must be there."""
    if not params.get("symbol"):
        raise mandatory("symbol")
    return exchange.market(params["symbol"])


def _unpriced(exchange: Exchange) -> list[Instrument]:
    """Pairs that make a fee currency without a market known to clients, which look its code up in this list."""
    third, markets = exchange.fees.third, exchange.markets.values()
    if third is None or any(third.currency in (one.instrument.base, one.instrument.quote) for one in markets):
        return []
    return [Instrument(third.currency, next(iter(markets)).instrument.quote)]


def _symbol(instrument: Instrument, status: str) -> dict[str, object]:
    return {
        "symbol": instrument.id,
        "status": status,
        "baseAsset": instrument.base,
        "baseAssetPrecision": 8,
        "quoteAsset": instrument.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
        "icebergAllowed": False,
        "ocoAllowed": False,
        "otoAllowed": False,
        "opoAllowed": False,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": False,
        "cancelReplaceAllowed": True,
        "amendAllowed": False,
        "pegInstructionsAllowed": False,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": filters(instrument),
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "NONE",
        "allowedSelfTradePreventionModes": list(get_args(SelfTrade)),
    }


def _kline(bar_: Bar, length_ns: int) -> list[object]:
    return [
        bar_.start_ns // 1_000_000,
        show(bar_.open),
        show(bar_.high),
        show(bar_.low),
        show(bar_.close),
        show(bar_.volume),
        (bar_.start_ns + length_ns) // 1_000_000 - 1,
        show(bar_.quote_volume),
        bar_.prints,
        show(bar_.volume // 2),
        show(bar_.quote_volume // 2),
        "0",
    ]
