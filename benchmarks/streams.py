"""200 streams of 5,000 symbols over real sockets: what a message costs a bot, with and without tradewatch.

A server on loopback sends Binance's miniTicker messages to a ccxt.pro client over 50 connections, four streams of 25
symbols each. The same bursts are taken in turns without tradewatch and with it, in one process; the client's CPU time
is of its own thread, so neither the server's nor the safety thread's work is in it.
`python benchmarks/streams.py [--rounds 7]`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import resource
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import ccxt.pro
from aiohttp import web

import tradewatch
from tradewatch.telemetry.traffic import CHANNELS

# ccxt spreads Binance's streams over 50 connections; aiohttp would open 100 at most.
STREAMS, SYMBOLS, CONNECTIONS = 200, 5_000, 50
EACH = SYMBOLS // STREAMS
# Messages of a connection in a burst; the next burst is of its next symbols.
BURST = 5


def message(symbol: int, price: float) -> str:
    """One update of a market, in the form of Binance's document."""
    at_ms = time.time_ns() // 10**6
    return json.dumps(
        {"e": "24hrMiniTicker", "E": at_ms, "s": f"C{symbol}USDT", "c": f"{price:.4f}", "o": "1", "h": "1", "l": "1",
         "v": "1", "q": "1"}
    )  # fmt: skip


class Server(threading.Thread):
    """Sends a burst to every connection when told; each message is of another symbol."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.url, self.ready = "", threading.Event()
        self.sockets: dict[int, web.WebSocketResponse] = {}
        self.loop = asyncio.new_event_loop()

    def run(self) -> None:
        self.loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        app = web.Application()
        app.router.add_get("/ws/{n}", self._socket)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"ws://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/ws"  # type: ignore[union-attr]
        self.ready.set()
        await asyncio.Event().wait()

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets[int(request.match_info["n"])] = socket
        async for _ in socket:
            pass
        return socket

    async def burst(self, number: int) -> None:
        """Messages of some symbols of each connection."""
        for n in range(STREAMS):
            socket = self.sockets[n % CONNECTIONS]
            for i in range(BURST):
                await socket.send_str(message(n * EACH + (number * BURST + i) % EACH, 1 + number / 1_000))


class Bot:
    """One client, and a loop a connection that waits for the next ticker."""

    def __init__(self, url: str) -> None:
        self.exchange = ccxt.pro.binance({"enableRateLimit": False, "timeout_on_exit": 0})
        markets = [market(n) for n in range(SYMBOLS)]
        self.exchange.set_markets(markets)
        self.exchange.urls["api"]["ws"]["spot"] = url
        self.exchange.options["streamLimits"]["spot"] = CONNECTIONS
        self.exchange.options["tickersLimit"] = 1_000
        self.told = 0

    async def listen(self, n: int) -> None:
        """Take what one connection brings, again and again."""
        symbols = [f"C{n * EACH + i}/USDT" for i in range(EACH)]
        while True:
            self.told += len(await self.exchange.watch_tickers(symbols))


def market(n: int) -> dict[str, object]:
    """As ccxt describes a spot market."""
    return {
        "id": f"C{n}USDT", "lowercaseId": f"c{n}usdt", "symbol": f"C{n}/USDT",
        "base": f"C{n}", "quote": "USDT", "baseId": f"C{n}",
        "quoteId": "USDT", "type": "spot", "spot": True, "active": True, "contract": False,
        "linear": None, "inverse": None, "margin": False,
        "precision": {"amount": 1e-5, "price": 1e-4}, "limits": {}, "info": {},
    }  # fmt: skip


def resident_kb() -> int:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024


async def settled(bot: Bot) -> None:
    """Wait until nothing comes any more."""
    before = -1
    while before != bot.told:
        before = bot.told
        await asyncio.sleep(0.1)


async def measure(rounds: int) -> dict[str, object]:
    """Bursts with and without, in turns."""
    server = Server()
    server.start()
    server.ready.wait()
    bot = Bot(server.url)
    loops = [asyncio.create_task(bot.listen(n)) for n in range(STREAMS)]
    while len(server.sockets) < CONNECTIONS:  # noqa: ASYNC110  another thread's
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.5)

    async def burst() -> float:
        nonlocal sent
        gc.collect()
        began = time.thread_time_ns()
        sent += 1
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(server.burst(sent), server.loop))
        await settled(bot)
        return (time.thread_time_ns() - began) / (STREAMS * BURST)

    sent = 0
    await burst()
    bare: list[float] = []
    watched: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for n in range(rounds):
            bare.append(await burst())
            watch = tradewatch.instrument(bot, port=None, state_dir=f"{folder}/{n}")
            watched.append(await burst())
            if n < rounds - 1:
                tradewatch.uninstrument(bot)
        rss: list[int] = []
        waiting = 0
        for _ in range(EACH // BURST):  # every symbol at least once more
            await burst()
            waiting = max(waiting, len(watch._journal._quotes))
            rss.append(resident_kb())
        series = sum(1 for _ in watch._safety.published) + len(watch._cells.every())
        streams = [r for r in watch._safety.published if r.metric.name.startswith("trading.stream.")]
        prices, dropped = len(watch._safety._portfolio._prices._last), watch._journal.dropped
        tradewatch.uninstrument(bot)
    for loop in loops:
        loop.cancel()
    await asyncio.gather(*loops, return_exceptions=True)
    await bot.exchange.close()
    return {
        "streams": STREAMS,
        "connections": CONNECTIONS,
        "symbols": SYMBOLS,
        "messages": sent * STREAMS * BURST,
        "bare_us": round(statistics.median(bare) / 1e3, 2),
        "watched_us": round(statistics.median(watched) / 1e3, 2),
        "ratio": round(statistics.median(watched) / statistics.median(bare), 3),
        "prices_kept": prices,
        "quotes_waiting_at_most": waiting,
        "reads_dropped": dropped,
        "series": series,
        "series_of_streams": len(streams),
        "series_of_streams_at_most": 2 * len(CHANNELS) + 3,
        "rss_kb": rss,
    }


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    json.dump(asyncio.run(measure(max(2, parser.parse_args().rounds))), sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
