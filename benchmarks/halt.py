"""From a losing fill to the next order refused, over real sockets: a ccxt client, the paper exchange, a real disk.

Each round is a new account, bot and watch. A wide spread makes the first market order a loss beyond the limit; from its
answer on, orders are sent as fast as the client can until one is refused. Figures are the time from the losing order's
answer to the refusal, to the closed gate, and to the halt on disk.

    python -m benchmarks --only halt --quick
    python -m benchmarks.halt --json
"""

from __future__ import annotations

import os
import statistics
import tempfile
import threading
import time
from pathlib import Path

import ccxt

import tradewatch
from benchmarks.figures import Figure, alone
from benchmarks.processes import client
from benchmarks.turns import program
from tradewatch import paper
from tradewatch.runtime.clock import ScaledClock

START_NS = 1_677_804_600 * 10**9  # 2023-03-03 00:50 UTC, in the candles that ship with the paper exchange
CANDLES = Path(paper.__file__).parent / "data" / "BTCUSDT-1m-2023-03-03.csv.gz"
REFUSED, MOST_MS = "next order refused", 50


def one_round(folder: Path, n: int) -> dict[str, float]:
    """Milliseconds from the losing order's answer."""
    clock = ScaledClock(START_NS, 1.0, time.time_ns())
    market = paper.Market("BTC/USDT", paper.load_candles(CANDLES), spread_bp=200)
    account = paper.Account("paper-key", "paper-secret", {"BTC": "1", "USDT": "50000"})
    with paper.serve_in_thread(paper.Exchange([market], [account], clock)) as server:
        bot = type("Bot", (), {})()
        bot.exchange = client(ccxt, server.url, apiKey="paper-key", secret="paper-secret")
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
        "gate closed": 1000 * (closed["closed"] - answered),
        REFUSED: 1000 * (refused - answered),
        "halt on disk": 1000 * (confirmed - answered),
    }


def measure(quick: bool) -> list[Figure]:
    rounds = 5 if quick else 50
    os.environ["OTEL_TRACES_EXPORTER"] = "none"
    with tempfile.TemporaryDirectory() as folder:
        found = [one_round(Path(folder), n) for n in range(rounds)]
    figures = []
    for what in found[0]:
        ms = sorted(each[what] for each in found)
        # Of fewer than a hundred rounds the longest stands for it.
        p99 = ms[min(len(ms) - 1, int(0.99 * len(ms)))]
        most = MOST_MS if what == REFUSED else None
        figures.append(
            alone(
                f"losing fill to {what}, p99",
                p99,
                "ms",
                at_most=most,
                note=f"median {statistics.median(ms):.2f}, longest {ms[-1]:.2f} of {rounds} rounds",
            )
        )
    return figures


if __name__ == "__main__":
    program(measure, __doc__)
