"""What a raw message says of itself: its channel, and when what it tells of happened.

From the venues' documents: Binance ('WebSocket Streams', 'User Data Streams': `e`, `E`), Kraken ('WebSocket v2':
`channel`, `timestamp`), Bybit v5 (`topic`; `ts`, and `creationTime` of private topics), OKX v5 (`arg.channel`;
`data[].ts`, and `data[].uTime` of orders). Of other venues the channel is found by the words in its name, and there is
no time.
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from typing import Any

from tradewatch.telemetry.traffic import Channel

_BINANCE: dict[str, Channel] = {
    **dict.fromkeys(("24hrTicker", "24hrMiniTicker", "1hTicker", "4hTicker", "1dTicker"), "ticker"),
    **dict.fromkeys(("bookTicker", "markPriceUpdate"), "ticker"),
    **dict.fromkeys(("trade", "aggTrade"), "trades"),
    "depthUpdate": "order_book",
    **dict.fromkeys(("kline", "continuous_kline", "indexPrice_kline", "markPrice_kline"), "ohlcv"),
    **dict.fromkeys(("executionReport", "ORDER_TRADE_UPDATE", "ALGO_UPDATE"), "orders"),
    **dict.fromkeys(("outboundAccountPosition", "balanceUpdate", "externalLockUpdate", "ACCOUNT_UPDATE"), "balance"),
}
_KRAKEN: dict[str, Channel] = {
    "ticker": "ticker",
    "trade": "trades",
    "book": "order_book",
    "ohlc": "ohlcv",
    "executions": "orders",
    "balances": "balance",
}
# In this order: an order book is no order, one's own trades are not everybody's.
_WORDS: tuple[tuple[Channel, re.Pattern[str]], ...] = (
    ("ticker", re.compile(r"(?i)ticker|bbo")),
    ("order_book", re.compile(r"(?i)book|depth|level2|l2")),
    ("my_trades", re.compile(r"(?i)(my|user).?(trade|fill|match)|fills?$|execution")),
    ("ohlcv", re.compile(r"(?i)ohlc|kline|candle")),
    ("trades", re.compile(r"(?i)trade|deal|match")),
    ("orders", re.compile(r"(?i)order")),
    ("balance", re.compile(r"(?i)balance|wallet|account|asset")),
    ("positions", re.compile(r"(?i)position")),
)
# Binance gives milliseconds, or microseconds where the bot asks for them.
_MICROSECONDS_FROM = 10**14


def said(message: Any) -> tuple[Channel, int | None]:
    """The channel of a decoded message, and its event time in epoch nanoseconds.

    None where it names no time, or is a snapshot, which tells of what happened before.
    """
    body = _body(message)
    if type(body) is not dict:
        return "other", None
    event = body.get("e")
    if type(event) is str:
        return _binance(body, event)
    channel = body.get("channel")
    if type(channel) is str:
        return _kraken(body, channel)
    for key in ("topic", "stream", "ch", "arg"):
        name = body.get(key)
        if type(name) is dict:
            name = name.get("channel")
        if type(name) is str:
            return by_words(name), _milliseconds(body)
    if "lastUpdateId" in body:  # Binance's partial depth has no name
        return "order_book", None
    # Nor has its book ticker.
    return ("ticker" if "u" in body and "b" in body and "a" in body else "other"), None


def _body(message: Any) -> Any:
    """Past the envelopes of Binance's combined streams and of its websocket API, and of its lists of tickers."""
    body = message
    if type(body) is dict:
        for wrapper in ("event", "data"):
            inner = body.get(wrapper)
            inside = inner[0] if type(inner) is list and inner else inner
            if type(inside) is dict and "e" in inside:
                return inside
    return body[0] if type(body) is list and body else body


def _binance(body: dict[str, Any], event: str) -> tuple[Channel, int | None]:
    channel = _BINANCE.get(event) or by_words(event)
    if channel == "orders":
        told = body.get("o")
        if (told if type(told) is dict else body).get("x") == "TRADE":
            channel = "my_trades"
    at = body.get("E")
    if type(at) is not int or at <= 0:
        return channel, None
    return channel, at * (1_000 if at >= _MICROSECONDS_FROM else 1_000_000)


def _kraken(body: dict[str, Any], name: str) -> tuple[Channel, int | None]:
    channel = _KRAKEN.get(name) or by_words(name)
    data = body.get("data")
    last = data[-1] if type(data) is list and data else None
    if type(last) is not dict:
        return channel, None
    if name == "executions" and last.get("exec_type") == "trade":
        channel = "my_trades"
    if body.get("type") == "snapshot":
        return channel, None
    return channel, _rfc3339(last.get("timestamp") or body.get("timestamp"))


def _milliseconds(body: dict[str, Any]) -> int | None:
    data = body.get("data")
    if body.get("action") == "snapshot" or body.get("type") == "snapshot":
        return None
    at = body.get("ts") or body.get("creationTime")
    if at is None and type(data) is list and data and type(data[-1]) is dict:
        # An order's last update; balances and positions are also pushed when nothing happened.
        at = data[-1].get("ts") or (data[-1].get("uTime") if "ordId" in data[-1] else None)
    if type(at) is str and at.isascii() and at.isdecimal():
        at = int(at)
    return at * 1_000_000 if type(at) is int and 0 < at < _MICROSECONDS_FROM else None


def _rfc3339(text: Any) -> int | None:
    if type(text) is not str:
        return None
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1e6) * 1_000
    except ValueError:
        return None


@lru_cache(2_000)
def by_words(name: str) -> Channel:
    """The channel that a venue's own name for it speaks of."""
    return next((channel for channel, words in _WORDS if words.search(name)), "other")
