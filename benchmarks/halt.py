"""From a losing fill to the next order refused, over real sockets: a ccxt client, the paper exchange, a real disk.

Each round is a new account, bot and watch. A wide spread makes the first market order a loss beyond the limit; from its
answer on, orders are sent as fast as the client can until one is refused. What is printed is the time from the losing
order's answer to the refusal, to the closed gate, and to the halt on disk.

    make bench                                   twenty rounds
    .venv/bin/python benchmarks/halt.py --json   for a machine to read
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import ccxt

import tradewatch
from tradewatch import paper
from tradewatch.runtime.clock import ScaledClock

START_NS = 1_677_804_600 * 10**9  # 2023-03-03 00:50 UTC, in the candles that ship with the paper exchange
CANDLES = Path(paper.__file__).parent / "data" / "BTCUSDT-1m-2023-03-03.csv.gz"


def client_for(url: str) -> Any:
    client = ccxt.binance(
        {
            "apiKey": "paper-key",
            "secret": "paper-secret",
            "enableRateLimit": False,
            "options": {"fetchMarkets": {"types": ["spot"]}, "fetchMargins": False},
        }
    )
    client.has["fetchCurrencies"] = False

    def redirect(urls: Any) -> Any:
        if isinstance(urls, dict):
            return {key: redirect(value) for key, value in urls.items()}
        return re.sub(r"^https?://[^/]+", url, urls)

    client.urls["api"] = redirect(client.urls["api"])
    return client


def one_round(folder: Path, n: int) -> dict[str, float]:
    """Milliseconds from the losing order's answer."""
    clock = ScaledClock(START_NS, 1.0, time.time_ns())
    market = paper.Market("BTC/USDT", paper.load_candles(CANDLES), spread_bp=200)
    account = paper.Account("paper-key", "paper-secret", {"BTC": "1", "USDT": "50000"})
    with paper.serve_in_thread(paper.Exchange([market], [account], clock)) as server:
        bot = type("Bot", (), {})()
        bot.exchange = client_for(server.url)
        watch = tradewatch.instrument(
            bot, name=f"halt-{n}", state_dir=folder / str(n), port=0, clock=clock, limits={"daily_loss": 0.0005}
        )
        bot.exchange.fetch_balance()
        bot.exchange.fetch_ticker("BTC/USDT")
        while watch.status().portfolio.day_start is None:
            time.sleep(0.01)
        closed: dict[str, float] = {}

        def look() -> None:
            while "closed" not in closed:
                if watch.status().breaker.state == "HALTED":
                    closed["closed"] = time.perf_counter()
                time.sleep(0.0005)

        looking = threading.Thread(target=look)
        looking.start()
        bot.exchange.create_order("BTC/USDT", "market", "buy", 0.5)
        answered = time.perf_counter()
        try:
            while time.perf_counter() - answered < 10:
                bot.exchange.create_order("BTC/USDT", "limit", "buy", 0.001, 10_000)
        except ccxt.InvalidOrder:
            refused = time.perf_counter()
        looking.join()
        while not watch.status().breaker.confirmed:
            time.sleep(0.0005)
        confirmed = time.perf_counter()
        tradewatch.uninstrument(bot)
    return {
        "gate closed (seen from outside)": 1000 * (closed["closed"] - answered),
        "next order refused": 1000 * (refused - answered),
        "halt confirmed on disk": 1000 * (confirmed - answered),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, help="default 20")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    os.environ["OTEL_TRACES_EXPORTER"] = "none"
    found: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for n in range(options.rounds):
            if sys.stderr.isatty():
                print(f"\rhalt: round {n + 1} of {options.rounds}   ", end="", file=sys.stderr, flush=True)
            found.append(one_round(Path(folder), n))
    if sys.stderr.isatty():
        print("\r" + " " * 40 + "\r", end="", file=sys.stderr)
    figures = {
        what: {"median": statistics.median(r[what] for r in found), "max": max(r[what] for r in found)}
        for what in found[0]
    }
    if options.json:
        print(json.dumps(figures, indent=2))
        return
    print(f"\nafter a losing fill, over {options.rounds} rounds")
    for what, ms in figures.items():
        print(f"  median {ms['median']:7.2f} ms   max {ms['max']:7.2f} ms   {what}")


if __name__ == "__main__":
    main()
