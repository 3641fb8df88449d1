"""A bot that listens to 200 streams of 5,000 symbols; and, as a process, the same bot that listens to nothing.

    python -m benchmarks.listener

reads one command a line and answers with one line: `["watched", way]`, `["sync", rounds]` and `["async", rounds]`.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import ccxt.pro

import tradewatch
from benchmarks import ways
from benchmarks.call import hot, instant
from benchmarks.tickers import CONNECTIONS, EACH, SYMBOLS

KINDS = ("sync", "async")
# A round is over before the next thing happens in the process.
CALLS = 200


class Exchange(ccxt.pro.binance):
    """Counts the updates that it has worked off."""

    updates = 0

    def handle_message(self, client: Any, message: Any) -> Any:
        self.updates += "e" in message
        return super().handle_message(client, message)


def market(n: int) -> dict[str, object]:
    """As ccxt describes a spot market."""
    return {
        "id": f"C{n}USDT", "lowercaseId": f"c{n}usdt", "symbol": f"C{n}/USDT",
        "base": f"C{n}", "quote": "USDT", "baseId": f"C{n}",
        "quoteId": "USDT", "type": "spot", "spot": True, "active": True, "contract": False,
        "linear": None, "inverse": None, "margin": False,
        "precision": {"amount": 1e-5, "price": 1e-4}, "limits": {}, "info": {},
    }  # fmt: skip


class Bot:
    """A client of the streams, with a loop a stream that waits for the next ticker; and two that answer at once."""

    def __init__(self, url: str = "") -> None:
        self.exchange = Exchange({"enableRateLimit": False, "timeout_on_exit": 0})
        self.exchange.set_markets([market(n) for n in range(SYMBOLS)])
        self.exchange.urls["api"]["ws"]["spot"] = url
        self.exchange.options["streamLimits"]["spot"] = CONNECTIONS
        self.exchange.options["tickersLimit"] = 1_000
        self.instant = {kind: instant(kind == "async", asks=False) for kind in KINDS}
        self.told = 0
        self.idle = asyncio.Event()
        self.idle.set()

    async def listen(self, n: int) -> None:
        """Take what one stream brings, again and again."""
        symbols = [f"C{n * EACH + i}/USDT" for i in range(EACH)]
        while await self.idle.wait():
            found = await self.exchange.watch_tickers(symbols)
            self.told += len(found)

    def hot(self, kind: str, rounds: int) -> Callable[[], float]:
        """Takes the nanoseconds of CPU of one call in the quickest of so many rounds."""
        function = self.instant[kind].fetch_status
        return lambda: min(hot(function, kind == "async", CALLS) for _ in range(rounds))


def watched(bot: Bot, way: str, folder: str) -> Any:
    """Its watch: of one whose spans nobody wants, or with spans."""
    os.environ["OTEL_TRACES_EXPORTER"] = "none"
    wanted: dict[str, Any] = {"tracer_provider": ways.roomy(ways.discarded())} if way == ways.SPAN else {}
    return tradewatch.instrument(bot, port=None, state_dir=f"{folder}/{way}", **wanted)


def main() -> None:
    bot = Bot()
    # As where turns are taken: a collection of all markets would take longer than what is measured.
    gc.freeze()
    with tempfile.TemporaryDirectory() as folder:
        for line in sys.stdin:
            what, argument = json.loads(line)
            result = None
            if what == "watched":
                tradewatch.uninstrument(bot)
                watched(bot, argument, folder)
            else:
                result = bot.hot(what, argument)()
            print(json.dumps(result), flush=True)
        tradewatch.uninstrument(bot)


if __name__ == "__main__":
    main()
