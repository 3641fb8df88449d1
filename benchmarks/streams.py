"""200 streams of 5,000 symbols over real sockets: what a message costs a bot, and whether memory levels off.

A server in a process of its own sends Binance's miniTicker messages to a ccxt.pro client over 50 connections, four
streams of 25 symbols each. The same bursts are taken in turns without tradewatch and with it, in one process; the
client's CPU time is of its own thread, so the safety thread's work is not in it. Then bursts go on, without and with
tradewatch, every symbol again and again: memory is that of the process after each burst, in the median of each quarter.

    python -m benchmarks --only streams --quick
    python -m benchmarks.streams --json
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import subprocess
import tempfile
import time
from typing import Any

import ccxt.pro

import tradewatch
from benchmarks.figures import Figure, alone, compared
from benchmarks.growth import medians, resident_mb, rise
from benchmarks.processes import answer, started
from benchmarks.tickers import CONNECTIONS, EACH, STREAMS, SYMBOLS
from benchmarks.turns import program
from tradewatch.telemetry.traffic import CHANNELS

# Bursts in which every symbol comes once.
ALL = EACH
# The line through the last half may rise by this: a reading differs from the next one by as much.
RISES_MB = 0.5


class Exchange(ccxt.pro.binance):
    """Counts the updates that it has worked off."""

    updates = 0

    def handle_message(self, client: Any, message: Any) -> Any:
        self.updates += "e" in message
        return super().handle_message(client, message)


class Bot:
    """One client, and a loop a stream that waits for the next ticker."""

    def __init__(self, url: str) -> None:
        self.exchange = Exchange({"enableRateLimit": False, "timeout_on_exit": 0})
        self.exchange.set_markets([market(n) for n in range(SYMBOLS)])
        self.exchange.urls["api"]["ws"]["spot"] = url
        self.exchange.options["streamLimits"]["spot"] = CONNECTIONS
        self.exchange.options["tickersLimit"] = 1_000
        self.told = 0

    async def listen(self, n: int) -> None:
        """Take what one stream brings, again and again."""
        symbols = [f"C{n * EACH + i}/USDT" for i in range(EACH)]
        while True:
            found = await self.exchange.watch_tickers(symbols)
            self.told += len(found)


def market(n: int) -> dict[str, object]:
    """As ccxt describes a spot market."""
    return {
        "id": f"C{n}USDT", "lowercaseId": f"c{n}usdt", "symbol": f"C{n}/USDT",
        "base": f"C{n}", "quote": "USDT", "baseId": f"C{n}",
        "quoteId": "USDT", "type": "spot", "spot": True, "active": True, "contract": False,
        "linear": None, "inverse": None, "margin": False,
        "precision": {"amount": 1e-5, "price": 1e-4}, "limits": {}, "info": {},
    }  # fmt: skip


class Bursts:
    """Has the server send one after the other, each to its end."""

    def __init__(self, server: subprocess.Popen[str], bot: Bot) -> None:
        self.sent = 0
        self._server, self._bot = server, bot

    async def one(self) -> None:
        assert self._server.stdin is not None
        self._server.stdin.write(f"{self.sent}\n")
        self._server.stdin.flush()
        await asyncio.to_thread(answer, self._server)
        self.sent += 1
        told = -1
        while self._bot.exchange.updates < self.sent * STREAMS or told != self._bot.told:
            told = self._bot.told
            await asyncio.sleep(0.02)

    async def microseconds(self) -> float:
        """CPU of this thread a message, each symbol once."""
        gc.collect()
        began = time.thread_time_ns()
        for _ in range(ALL):
            await self.one()
        return (time.thread_time_ns() - began) / ALL / STREAMS / 1_000

    async def memory_mb(self, rounds: int) -> list[float]:
        """The median of each quarter, while each symbol comes so many times."""
        found: list[float] = []
        for _ in range(rounds * ALL):
            await self.one()
            found.append(resident_mb())
        return medians(found, 4)


async def run(quick: bool) -> list[Figure]:
    rounds, again = (3, 4) if quick else (7, 16)
    with started("-m", "benchmarks.tickers") as server, tempfile.TemporaryDirectory() as folder:
        bot = Bot(f"ws://127.0.0.1:{answer(server)}/ws")
        loops = [asyncio.create_task(bot.listen(n)) for n in range(STREAMS)]
        sending = Bursts(server, bot)
        await sending.microseconds()
        bare: list[float] = []
        watched: list[float] = []
        for n in range(rounds):
            bare.append(await sending.microseconds())
            tradewatch.instrument(bot, port=None, state_dir=f"{folder}/{n}")
            watched.append(await sending.microseconds())
            tradewatch.uninstrument(bot)
        bare_mb = await sending.memory_mb(again)
        watch: Any = tradewatch.instrument(bot, port=None, state_dir=f"{folder}/last")
        watched_mb = await sending.memory_mb(again)
        published = watch._safety.published
        series = len(published) + len(watch._cells.every())
        of_streams = sum(1 for each in published if each.metric.name.startswith("trading.stream."))
        prices, dropped = len(watch._safety._portfolio._prices._last), watch._journal.dropped
        tradewatch.uninstrument(bot)
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        await bot.exchange.close()
    return [
        compared(
            f"a message of {STREAMS} streams, {SYMBOLS:,} symbols",
            statistics.median(watched),
            "µs",
            "nothing",
            statistics.median(bare),
            "times",
            note=f"{sending.sent * STREAMS:,} messages, {bot.told:,} told to the bot, {dropped} records dropped",
        ),
        *(
            alone(
                f"memory in quarter {n} of {again * SYMBOLS:,} messages",
                ours,
                "MB",
                note=f"without tradewatch, before: {theirs:.1f}",
            )
            for n, (ours, theirs) in enumerate(zip(watched_mb, bare_mb, strict=True), 1)
        ),
        alone(
            "memory's rise over the last half",
            rise(watched_mb[2:]),
            "MB",
            at_most=RISES_MB,
            note=f"without tradewatch, before: {rise(bare_mb[2:]):.2f}",
        ),
        alone("prices kept", prices, "", at_most=SYMBOLS),
        alone("series of streams", of_streams, "", at_most=2 * len(CHANNELS) + 3, note=f"of {series} in all"),
    ]


def measure(quick: bool) -> list[Figure]:
    return asyncio.run(run(quick))


if __name__ == "__main__":
    program(measure, __doc__)
