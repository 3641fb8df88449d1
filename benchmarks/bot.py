"""A bot in a process of its own that goes one of the ways, and tells what it cost: all threads of the process included.

    python -m benchmarks.bot WAY FILE URL

FILE is where the collector counts arrivals, URL a paper exchange or empty. It reads one command a line and answers
with one line: `["real", calls, seconds]`, `["burst", calls, waiting]` and `["calls", calls]`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ccxt.async_support
import msgspec
from msgspec import structs

from benchmarks import ways
from benchmarks.collector import Arrivals
from benchmarks.processes import client

EACH = 500
PATIENCE_S = 10.0


class Instant(ccxt.async_support.binance):
    """Reads a ticker without a venue."""

    async def fetch_ticker(self, symbol: str, params: Any = None) -> Any:
        return {"symbol": symbol, "info": {}}


class Gone(msgspec.Struct, frozen=True):
    """What became of a client on one of the ways.

    `reached` is how many calls have come to their end: their spans at the collector, or, where nobody wants spans,
    their records in the books. `behind` is how many of so many calls, counted from the start, are
    on their way. `dropped` is what tradewatch itself counted as lost.
    """

    method: Callable[..., Any]
    reached: Callable[[], int]
    behind: Callable[[int], int]
    dropped: Callable[[], int]


def gone(way: str, made: Any, folder: str, arrivals: Arrivals) -> Gone:
    function = made.fetch_ticker
    at_collector = Gone(function, arrivals.count, lambda calls: calls - arrivals.count(), lambda: 0)
    if way not in {ways.RECORD, ways.SPAN}:
        if way == ways.NAIVE:
            function = ways.naive(function, "fetch_ticker", True, ways.tracers(ways.by_otlp()))
        elif way != ways.NOTHING:
            function = ways.prometheus(function, "fetch_ticker", True, cached=way == ways.CACHED)
        return structs.replace(at_collector, method=function)
    import tradewatch

    if way == ways.RECORD:
        os.environ["OTEL_TRACES_EXPORTER"] = "none"
    watch = tradewatch.instrument([made], state_dir=folder, port=0)

    def counted() -> int:
        return sum(each.calls for each in watch.status().operations if each.operation == "fetch_ticker")

    def dropped() -> int:
        told = watch.status().telemetry
        return told.reads_dropped + told.records_dropped + sum(each.count for each in told.dropped)

    if way == ways.SPAN:
        return structs.replace(at_collector, method=made.fetch_ticker, dropped=dropped)
    # `status()` would cost more than what is measured.
    journal = watch._journal
    return Gone(made.fetch_ticker, counted, lambda calls: len(journal.reads), dropped)


async def real(function: Callable[..., Any], calls: int, settled_s: float) -> float:
    """Microseconds of CPU a call, with what is exported in so many seconds after them."""
    began = time.process_time_ns()
    for _ in range(calls):
        await function("BTC/USDT")
    await asyncio.sleep(settled_s)
    return (time.process_time_ns() - began) / calls / 1e3


async def plain(function: Callable[..., Any], calls: int) -> float:
    """CPU seconds of so many calls."""
    began = time.process_time()
    for _ in range(calls):
        await function("BTC/USDT")
    return time.process_time() - began


async def burst(there: Gone, calls: int, waiting: int) -> tuple[float, int, int]:
    """CPU seconds until all calls have come to their end, how many did, and what was counted as dropped.

    The bot slows down where more than `waiting` calls are on their way.
    """
    before, dropped = there.reached(), there.dropped()
    began = time.process_time()

    async def wait(made: int, most: int) -> None:
        since = time.monotonic()
        # Nothing says when a span has arrived: the other side is asked.
        while there.behind(before + made) > most and time.monotonic() - since < PATIENCE_S:  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    for made in range(EACH, calls + EACH, EACH):
        for _ in range(EACH):
            await there.method("BTC/USDT")
        await wait(made, waiting)
    await wait(calls, 0)
    return time.process_time() - began, there.reached() - before, there.dropped() - dropped


def main() -> None:
    way, file, url = sys.argv[1:4]
    arrivals = Arrivals(Path(file))
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:

        async def build() -> Any:
            if not url:
                return Instant()
            made = client(ccxt.async_support, url)
            await made.load_markets()
            return made

        made = runner.run(build())
        there = gone(way, made, folder, arrivals)
        for line in sys.stdin:
            what, *arguments = json.loads(line)
            result: Any = None
            if what == "real":
                result = runner.run(real(there.method, *arguments))
            elif what == "calls":
                result = runner.run(plain(there.method, *arguments))
            elif what == "burst":
                result = runner.run(burst(there, *arguments))
            print(json.dumps(result), flush=True)
        runner.run(made.close())


if __name__ == "__main__":
    main()
