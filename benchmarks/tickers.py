"""A server of Binance's miniTicker messages over websockets, as a process: it sends a burst for each line it is told.

    python -m benchmarks.tickers

prints its port. A line on its input is the numbers of bursts, and a line on its output says that they were sent: of
each one message a stream, of its next symbol. Two at once are one to the bot: ccxt tells of the last.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from aiohttp import web

# ccxt spreads Binance's streams over 50 connections; aiohttp would open 100 at most.
STREAMS, SYMBOLS, CONNECTIONS = 200, 5_000, 50
EACH = SYMBOLS // STREAMS


def message(symbol: int, price: float) -> str:
    """One update of a market, in the form of Binance's document."""
    at_ms = time.time_ns() // 10**6
    return json.dumps(
        {"e": "24hrMiniTicker", "E": at_ms, "s": f"C{symbol}USDT", "c": f"{price:.4f}", "o": "1", "h": "1", "l": "1",
         "v": "1", "q": "1"}
    )  # fmt: skip


async def serve() -> None:
    sockets: dict[int, web.WebSocketResponse] = {}
    all_there = asyncio.Event()

    async def socket(request: web.Request) -> web.WebSocketResponse:
        found = web.WebSocketResponse()
        await found.prepare(request)
        sockets[int(request.match_info["n"])] = found
        if len(sockets) == CONNECTIONS:
            all_there.set()
        async for _ in found:
            pass
        return found

    app = web.Application()
    app.router.add_get("/ws/{n}", socket)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(site._server.sockets[0].getsockname()[1], flush=True)  # type: ignore[union-attr]
    while line := await asyncio.to_thread(sys.stdin.readline):
        await all_there.wait()
        numbers = json.loads(line)
        for number in numbers:
            for n in range(STREAMS):
                text = message(n * EACH + number % EACH, 1 + number / 1e6)
                await sockets[n % CONNECTIONS].send_str(text)
        print(len(numbers), flush=True)


if __name__ == "__main__":
    asyncio.run(serve())
