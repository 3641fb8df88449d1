"""Kraken over REST: the answers about the market.

Each function returns the result and the quotes, by symbol, whose mid it tells. Times in the answers are simulated, in
seconds, but for Time and SystemStatus.

Source: https://docs.kraken.com/api-reference/market-data/get-ticker-information and the pages beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from tradewatch.paper.candles import MINUTE_NS
from tradewatch.paper.exchange import Exchange
from tradewatch.paper.kraken.errors import KrakenError, invalid
from tradewatch.paper.kraken.names import Names, Pair, asset, fixed
from tradewatch.paper.market import Market, Quote
from tradewatch.paper.tape import Bar, Print, bar, bars, tape
from tradewatch.paper.units import ONE, show

Params = Mapping[str, object]
Told = tuple[object, dict[str, Quote]]
INTERVALS = (1, 5, 15, 30, 60, 240, 1440, 10080, 21600)
COST_DECIMALS = 5
_DAY_MINUTES = 1440


def server_time(wall_ns: int) -> object:
    """Time: the real clock."""
    at = datetime.fromtimestamp(wall_ns / 1e9, UTC)
    return {"unixtime": wall_ns // 10**9, "rfc1123": at.strftime("%a, %d %b %y %H:%M:%S +0000")}


def system_status(wall_ns: int) -> object:
    """SystemStatus."""
    at = datetime.fromtimestamp(wall_ns / 1e9, UTC)
    return {"status": "online", "timestamp": at.strftime("%Y-%m-%dT%H:%M:%SZ")}


def assets(exchange: Exchange, names: Names, params: Params) -> Told:
    """Assets."""
    found = [asset(code) for code in exchange.currencies]
    wanted = _list(params, "asset")
    if wanted is not None:
        by_name = {name: one for one in found for name in (one.id, one.altname, one.code)}
        if any(name not in by_name for name in wanted):
            raise KrakenError("EQuery:Unknown asset")
        found = [by_name[name] for name in wanted]
    return {
        one.id: {
            "aclass": "currency",
            "altname": one.altname,
            "decimals": 8,
            "display_decimals": one.display_decimals,
            "status": "enabled",
        }
        for one in found
    }, {}


def asset_pairs(exchange: Exchange, names: Names, params: Params) -> Told:
    """AssetPairs: a market past the end of its candles is `cancel_only`."""
    return {
        name: _pair_info(exchange, one, exchange.markets[one.key])
        for name, one in _chosen(exchange, names, params, whole=True).items()
    }, {}


def ticker(exchange: Exchange, names: Names, params: Params) -> Told:
    """Ticker: today is the time since midnight UTC, the other figure of a pair is of the last 24 hours."""
    body, quotes = {}, {}
    for name, one in _chosen(exchange, names, params, whole=True).items():
        market = exchange.markets[one.key]
        quote = quotes[one.key] = exchange.told(market)
        today, day = today_of(market, quote), day_of(market, quote)
        size, whole = _size(one, quote), str(max(quote.size // ONE, 1))
        body[name] = {
            "a": [_price(one, quote.ask), whole, size],
            "b": [_price(one, quote.bid), whole, size],
            "c": [_price(one, quote.mid), last_size(market, quote.at_ns)],
            "v": [show(today.volume), show(day.volume)],
            "p": [_price(one, vwap(today)), _price(one, vwap(day))],
            "t": [today.prints, day.prints],
            "l": [_price(one, min(today.low, quote.mid)), _price(one, min(day.low, quote.mid))],
            "h": [_price(one, max(today.high, quote.mid)), _price(one, max(day.high, quote.mid))],
            "o": _price(one, today.open),
        }
    return body, quotes


def depth(exchange: Exchange, names: Names, params: Params) -> Told:
    """Depth: levels one tick apart, all of the market's depth."""
    ((name, one),) = _chosen(exchange, names, params).items()
    quote = exchange.told(exchange.markets[one.key])
    count = max(1, min(_whole(params, "count") or 100, 500))
    at, size = quote.at_ns // 10**9, _size(one, quote)
    bids, asks = ladder(one, quote, count)
    sides = {"asks": asks, "bids": bids}
    body = {side: [[_price(one, price), size, at] for price in prices] for side, prices in sides.items()}
    return {name: body}, {one.key: quote}


def ohlc(exchange: Exchange, names: Names, params: Params) -> Told:
    """OHLC: at most 720 candles, the last one as far as it has come; `last` is the one before it."""
    ((name, one),) = _chosen(exchange, names, params).items()
    market, now_ns = exchange.markets[one.key], exchange.now_ns
    interval = _whole(params, "interval") or 1
    if interval not in INTERVALS:
        raise invalid("interval")
    since = _whole(params, "since")
    found = last_bars(market, now_ns, interval, 720)
    body = [
        [
            candle.start_ns // 10**9,
            _price(one, candle.open),
            _price(one, candle.high),
            _price(one, candle.low),
            _price(one, candle.close),
            _price(one, vwap(candle) if candle.volume else 0),
            show(candle.volume),
            candle.prints,
        ]
        for candle in found
        if since is None or candle.start_ns > since * 10**9
    ]
    committed = found[-2].start_ns if len(found) > 1 else found[-1].start_ns
    told = {one.key: market.quote(now_ns)} if body else {}
    return {name: body, "last": committed // 10**9}, told


def trades(exchange: Exchange, names: Names, params: Params) -> Told:
    """Trades: the recorded tape, most recent last, 1,000 at most; `since` in seconds or nanoseconds, exclusive."""
    ((name, one),) = _chosen(exchange, names, params).items()
    market, now_ns = exchange.markets[one.key], exchange.now_ns
    since = _whole(params, "since")
    since_ns = None if since is None else since if since > 10**14 else since * 10**9
    count = max(1, min(_whole(params, "count") or 1000, 1000))
    prints = tape(market, now_ns, count, None if since_ns is None else since_ns + 1)
    body = [
        [
            _price(one, print_.price),
            show(print_.quantity),
            print_.at_ns / 1e9,
            "s" if print_.sell else "b",
            "m",
            "",
            print_.trade_id,
        ]
        for print_ in prints
    ]
    return {name: body, "last": str(prints[-1].at_ns if prints else since_ns or now_ns)}, {}


def _size(one: Pair, quote: Quote) -> str:
    """What stands at a level: three decimals, or as many as it needs."""
    return fixed(quote.size, one.lot_decimals if quote.size % (ONE // 1000) else 3)


def ladder(one: Pair, quote: Quote, count: int) -> tuple[list[int], list[int]]:
    """The prices of bids and asks, best first; a bid is above zero."""
    tick = one.instrument.tick
    bids = [quote.bid - tick * level for level in range(count) if quote.bid > tick * level]
    return bids, [quote.ask + tick * level for level in range(count)]


def day_of(market: Market, quote: Quote) -> Bar:
    """The last 1,440 minutes, from the start of a minute."""
    opened_ns = max(quote.at_ns // MINUTE_NS * MINUTE_NS - (_DAY_MINUTES - 1) * MINUTE_NS, market.candles.start_ns)
    return bar(market, min(opened_ns, market.end_ns - MINUTE_NS), quote.at_ns + MINUTE_NS, quote.at_ns)


def today_of(market: Market, quote: Quote) -> Bar:
    """Since midnight UTC."""
    midnight_ns = quote.at_ns // (_DAY_MINUTES * MINUTE_NS) * _DAY_MINUTES * MINUTE_NS
    opened_ns = max(midnight_ns, market.candles.start_ns)
    return bar(market, min(opened_ns, market.end_ns - MINUTE_NS), quote.at_ns + MINUTE_NS, quote.at_ns)


def last_bars(market: Market, now_ns: int, minutes: int, count: int) -> list[Bar]:
    """The last candles of an interval, the present one as far as it has come."""
    length_ns = minutes * MINUTE_NS
    last_ns = min(now_ns, market.end_ns - 1) // length_ns * length_ns
    return bars(market, last_ns - (count - 1) * length_ns, last_ns, now_ns, minutes=minutes, limit=count)


def vwap(candle: Bar) -> int:
    """Average price by volume, in units; the close where nothing was traded."""
    return candle.quote_volume * ONE // candle.volume if candle.volume else candle.close


def last_size(market: Market, now_ns: int) -> str:
    """The quantity of the tape's last print; zero where there is none."""
    last: list[Print] = tape(market, now_ns, 1)
    return show(last[0].quantity if last else 0)


def _price(one: Pair, units: int) -> str:
    return fixed(units, max(one.price_decimals, 5))


def _chosen(exchange: Exchange, names: Names, params: Params, *, whole: bool = False) -> dict[str, Pair]:
    """The pairs asked for, by the name that the answer gives them: the id, but as asked where that has a slash."""
    wanted = _list(params, "pair")
    if wanted is None and whole:
        return {one.id: one for one in names.pairs}
    if not wanted or (len(wanted) > 1 and not whole):
        raise invalid("pair") if not wanted else KrakenError("EQuery:Unknown asset pair")
    found = {}
    for name in wanted:
        one = names.find(name)
        found[name if "/" in name else one.id] = one
    return found


def _list(params: Params, name: str) -> list[str] | None:
    text = params.get(name)
    return [part.strip() for part in str(text).split(",")] if text else None


def _whole(params: Params, name: str) -> int | None:
    text = str(params.get(name) or "")
    if not text:
        return None
    whole, _, fraction = text.partition(".")
    if not (whole.isascii() and whole.isdigit() and len(whole) < 20 and (not fraction or fraction.isdigit())):
        raise invalid(name)
    return int(whole)


def _pair_info(exchange: Exchange, one: Pair, market: Market) -> dict[str, object]:
    instrument = one.instrument
    return {
        "altname": one.altname,
        "wsname": one.wsname,
        "aclass_base": "currency",
        "base": one.base.id,
        "aclass_quote": "currency",
        "quote": one.quote.id,
        "lot": "unit",
        "cost_decimals": COST_DECIMALS,
        "pair_decimals": one.price_decimals,
        "lot_decimals": one.lot_decimals,
        "lot_multiplier": 1,
        "leverage_buy": [],
        "leverage_sell": [],
        "fees": [[0, exchange.fees.taker * 100 / ONE]],
        "fees_maker": [[0, exchange.fees.maker * 100 / ONE]],
        "fee_volume_currency": "ZUSD",
        "margin_call": 80,
        "margin_stop": 40,
        "ordermin": fixed(instrument.step, one.lot_decimals),
        "costmin": fixed(instrument.min_notional, 2),
        "tick_size": one.price_step,
        "status": "online" if exchange.now_ns < market.end_ns else "cancel_only",
    }
