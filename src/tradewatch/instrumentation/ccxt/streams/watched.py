"""`watch_*` methods: what they tell is read as the answers of reading calls are. They are no calls.

One waits for the next message, which may be a minute away: its length says nothing of the venue, so it is timed nowhere
and has no span. Prices replace what was told of the same market before, and the safety thread takes the last one, so
a busy stream costs it no more than a slow one. Orders and trades are written down, each once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from tradewatch.instrumentation.ccxt.binding import Binding, binding_of
from tradewatch.instrumentation.ccxt.numbers import mapping, time_ns
from tradewatch.instrumentation.ccxt.observe import best, quote, read_balances, read_marks, read_order, read_trades
from tradewatch.instrumentation.patch import standing_for
from tradewatch.runtime.failures import failures
from tradewatch.telemetry.live import LiveCall
from tradewatch.telemetry.traffic import Channel

_CHANNELS: dict[str, Channel] = {
    "ticker": "ticker",
    "tickers": "ticker",
    "bids_asks": "ticker",
    "mark_price": "ticker",
    "mark_prices": "ticker",
    "trades": "trades",
    "trades_for_symbols": "trades",
    "order_book": "order_book",
    "order_book_for_symbols": "order_book",
    "ohlcv": "ohlcv",
    "ohlcv_for_symbols": "ohlcv",
    "orders": "orders",
    "orders_for_symbols": "orders",
    "my_trades": "my_trades",
    "my_trades_for_symbols": "my_trades",
    "balance": "balance",
    "position": "positions",
    "positions": "positions",
    "position_for_symbols": "positions",
}


def watched(original: Any, name: str) -> Any:
    """A `watch_*` or `un_watch_*` method that also tells us: a coroutine function, or a plain one that hands one on."""
    stop = name.startswith("un_watch_")
    channel = _CHANNELS.get(name.removeprefix("un_").removeprefix("watch_"))
    read = None if stop else _READ.get(name)

    def asked(client: Any) -> None:
        binding = binding_of(client)
        if binding is not None and channel is not None:
            (binding.feed.unwatch if stop else binding.feed.watch)(channel)

    def tell(args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        if read is None:
            return
        with failures.kept("instrumentation"):
            binding = binding_of(args[0])
            if binding is not None:
                read(binding, name, args[1] if len(args) > 1 else kwargs.get("symbol"), result)

    async def told(args: tuple[Any, ...], kwargs: Mapping[str, Any], waiting: Coroutine[Any, Any, Any]) -> Any:
        result = await waiting
        tell(args, kwargs, result)
        return result

    async def call_async(*args: Any, **kwargs: Any) -> Any:
        with failures.kept("instrumentation"):
            asked(args[0])
        result = await original(*args, **kwargs)
        tell(args, kwargs, result)
        return result

    def call(*args: Any, **kwargs: Any) -> Any:
        with failures.kept("instrumentation"):
            asked(args[0])
        result = original(*args, **kwargs)
        if inspect.iscoroutine(result):
            return told(args, kwargs, result)
        return result

    return standing_for(original, call_async if inspect.iscoroutinefunction(original) else call)


Read = Callable[[Binding, str, Any, Any], None]


def _ticker(binding: Binding, name: str, symbol: Any, result: Any) -> None:
    probe = binding.probe
    told = quote(mapping(result))
    probe.quote((told[0], False), read_marks, (told,), probe.clock.now_ns(), False)


def _tickers(binding: Binding, name: str, symbol: Any, result: Any) -> None:
    probe, now = binding.probe, binding.probe.clock.now_ns()
    for each in list(mapping(result).values()):
        told = quote(mapping(each))
        probe.quote((told[0], True), read_marks, (told,), now, True)


def _book(binding: Binding, name: str, symbol: Any, result: Any) -> None:
    probe, told = binding.probe, mapping(result)
    bid, ask = best(told.get("bids")), best(told.get("asks"))
    if bid is not None and ask is not None:
        market = told.get("symbol") or symbol
        probe.quote((market, False), read_marks, ((market, bid, ask, None),), probe.clock.now_ns(), False)


def _trades(binding: Binding, name: str, symbol: Any, result: Any) -> None:
    probe = binding.probe
    last = mapping(result[-1]) if isinstance(result, list) and len(result) else {}
    if last.get("symbol") and last.get("price"):
        told = last["symbol"], None, None, last["price"]
        probe.quote((told[0], False), read_marks, (told,), probe.clock.now_ns(), False)


def _written(binding: Binding, name: str, symbol: Any, result: Any, read: Callable[..., None]) -> None:
    """What an existing reader of answers finds in a list of orders or trades, written down."""
    probe = binding.probe
    live: LiveCall = probe.heard(name)
    read(live, binding.seen, list(result) if isinstance(result, list) else result)
    if live.more.reports or live.more.fills:
        probe.write(live)


def _orders(binding: Binding, name: str, symbol: Any, result: Any) -> None:
    _written(binding, name, symbol, result, read_order)


def _my_trades(binding: Binding, name: str, symbol: Any, result: Any) -> None:
    _written(binding, name, symbol, result, read_trades)


def _balance(binding: Binding, name: str, symbol: Any, result: Any) -> None:
    """Only where they are whole: most venues name what changed alone, and what is not named would look like nothing.

    Kraken's stream begins with all of them, and ccxt puts in what changes.
    """
    told = mapping(result)
    info = mapping(told.get("info"))
    if info.get("channel") != "balances":
        return
    probe = binding.probe
    live, now = probe.heard(name), probe.clock.now_ns()
    at_ns = time_ns(told.get("timestamp"))
    live.told = read_balances, probe.account, dict(mapping(told.get("total"))), min(at_ns or now, now), now
    probe.write(live)


_READ: dict[str, Read] = {
    "watch_ticker": _ticker,
    "watch_tickers": _tickers,
    "watch_bids_asks": _tickers,
    "watch_order_book": _book,
    "watch_order_book_for_symbols": _book,
    "watch_trades": _trades,
    "watch_trades_for_symbols": _trades,
    "watch_orders": _orders,
    "watch_orders_for_symbols": _orders,
    "watch_my_trades": _my_trades,
    "watch_my_trades_for_symbols": _my_trades,
    "watch_balance": _balance,
}
