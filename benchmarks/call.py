"""What one call costs on the bot's side, beside naive OpenTelemetry, prometheus_client and nothing, in one run.

Figures are medians over the rounds, less the bare call. `hot` is a method of a ccxt client that returns at once,
called over and over, by the thread's CPU time. `cold` is the same method after ccxt has parsed a ticker, each call
timed by itself. `asked` is hot, and the method asks for the ids of the current span. Exporters let spans go, so that
no encoding slows down the calls.

    python -m benchmarks --only call --quick
    python -m benchmarks.call --json
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ccxt
import ccxt.async_support
from opentelemetry import trace

import tradewatch
from benchmarks import ways
from benchmarks.figures import Figure, alone, compared
from benchmarks.turns import in_turns, medians, program
from benchmarks.ways import CACHED, LABELS, NAIVE, NOTHING, RECORD, SPAN

ANSWER = {"symbol": "BTC/USDT", "info": {}}
RAW = {
    "symbol": "BTCUSDT",
    "priceChange": "-94.99",
    "priceChangePercent": "-0.42",
    "weightedAvgPrice": "22412.29628482",
    "prevClosePrice": "22500.10",
    "lastPrice": "22400.00",
    "bidPrice": "22399.99",
    "bidQty": "1.4",
    "askPrice": "22400.01",
    "askQty": "0.7",
    "openPrice": "22495.00",
    "highPrice": "22600.00",
    "lowPrice": "22300.00",
    "volume": "8913.3",
    "quoteVolume": "199652000.30",
    "openTime": 1499783499040,
    "closeTime": 1499869899040,
    "count": 76,
}
# What is wanted of a hot call: µs added, times below naive, times below cached prometheus_client.
WANTED = {
    ("sync", RECORD): (0.6, 60, 2),
    ("async", RECORD): (0.7, 50, 2),
    ("sync", SPAN): (1.3, 30, None),
    ("async", SPAN): (1.3, 30, None),
}
Timer = Callable[[Callable[[], Any], bool, int], float]


def instant(is_async: bool, asks: bool) -> Any:
    """A client whose method returns at once."""

    def ask() -> None:
        if asks:
            trace.get_current_span().get_span_context()

    class Sync(ccxt.binance):
        def fetch_status(self, params: Any = None) -> Any:
            ask()
            return ANSWER

    class Async(ccxt.async_support.binance):
        async def fetch_status(self, params: Any = None) -> Any:
            ask()
            return ANSWER

    return (Async if is_async else Sync)()


def hot(function: Callable[[], Any], is_async: bool, calls: int) -> float:
    """Nanoseconds of this thread's CPU a call, one after the other: not what others take of the machine meanwhile."""
    if not is_async:
        began = time.thread_time_ns()
        for _ in range(calls):
            function()
        return (time.thread_time_ns() - began) / calls

    async def loop() -> float:
        began = time.thread_time_ns()
        for _ in range(calls):
            await function()
        return (time.thread_time_ns() - began) / calls

    return asyncio.run(loop())


def cold(function: Callable[[], Any], is_async: bool, calls: int) -> float:
    """Nanoseconds a call that comes after ccxt has parsed something."""
    other = ccxt.binance()
    market = {**other.safe_market("BTCUSDT", None, None, "spot"), "symbol": "BTC/USDT"}
    clock = time.perf_counter_ns
    times = []
    if not is_async:
        for _ in range(calls):
            other.parse_ticker(RAW, market)
            began = clock()
            function()
            times.append(clock() - began)
        return statistics.median(times)

    async def loop() -> float:
        for _ in range(calls):
            other.parse_ticker(RAW, market)
            began = clock()
            await function()
            times.append(clock() - began)
        return statistics.median(times)

    return asyncio.run(loop())


def added(
    variants: dict[str, Callable[[], Any]], timer: Timer, is_async: bool, rounds: int, calls: int, rest_s: float
) -> dict[str, float]:
    """Microseconds that each variant adds to the bare call; the bare call itself as it is."""
    for function in variants.values():
        timer(function, is_async, 200)

    def turn(function: Callable[[], Any]) -> Callable[[], float]:
        return lambda: timer(function, is_async, calls) / 1e3

    found = medians(in_turns({name: turn(each) for name, each in variants.items()}, rounds, rest_s))
    return {name: us - (0 if name == NOTHING else found[NOTHING]) for name, us in found.items()}


def calls_of(
    is_async: bool, asks: bool, folder: Path, rounds: int, calls: int, rest_s: float
) -> dict[str, dict[str, float]]:
    """The method that returns at once: asked, or hot and cold."""
    bare, recorded, spanned = (instant(is_async, asks) for _ in range(3))
    bots = [recorded], [spanned]
    provider = ways.roomy(ways.discarded())
    tradewatch.instrument(bots[0], name="recorded", state_dir=folder / "recorded", port=0)
    tradewatch.instrument(bots[1], name="spanned", state_dir=folder / "spanned", port=0, tracer_provider=provider)
    function = bare.fetch_status
    variants = {
        NOTHING: function,
        CACHED: ways.prometheus(function, "fetch_status", is_async, cached=True),
        LABELS: ways.prometheus(function, "fetch_status", is_async, cached=False),
        NAIVE: ways.naive(function, "fetch_status", is_async, ways.roomy(ways.discarded())),
        RECORD: recorded.fetch_status,
        SPAN: spanned.fetch_status,
    }
    if asks:
        variants = {name: variants[name] for name in (NOTHING, NAIVE, SPAN)}
        result = {"asked": added(variants, hot, is_async, max(3, rounds // 3), calls // 2, rest_s)}
    else:
        result = {
            "hot": added(variants, hot, is_async, rounds, calls, rest_s),
            "cold": added(variants, cold, is_async, max(3, rounds // 3), max(200, calls // 6), rest_s),
        }
    for bot in bots:
        tradewatch.uninstrument(bot)
    return result


def figures(kind: str, way: str, us: dict[str, float]) -> list[Figure]:
    """Of one kind (sync, async) and one way of calling (hot, cold, asked)."""
    found = []
    for name in (RECORD, SPAN):
        if name not in us:
            continue
        what, ours = f"{way} call, {kind}: {name}", us[name]
        most, naively, cached = WANTED[kind, name] if way == "hot" else (None, None, None)
        if most is not None:
            found.append(alone(what, ours, "µs", at_most=most, note=f"a bare call takes {us[NOTHING]:.2f} µs"))
        found.append(compared(what, ours, "µs", NAIVE, us[NAIVE], "below", at_least=naively))
        if name == RECORD:
            found.append(compared(what, ours, "µs", CACHED, us[CACHED], "below", at_least=cached))
            found.append(compared(what, ours, "µs", LABELS, us[LABELS], "below"))
    return found


def measure(quick: bool) -> list[Figure]:
    rounds, calls, rest_s = (3, 800, 0.02) if quick else (12, 2_000, 0.05)
    os.environ["OTEL_TRACES_EXPORTER"] = "none"
    found: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("sync", "async"):
            for asks in (False, True):
                here = Path(folder) / f"{kind}-{asks}"
                for way, us in calls_of(kind == "async", asks, here, rounds, calls, rest_s).items():
                    found += figures(kind, way, us)
    return found


if __name__ == "__main__":
    program(measure, __doc__)
