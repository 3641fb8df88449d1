"""Ten minutes of a busy bot on a venue that misbehaves and a collector that comes and goes: does anything grow?

A ccxt bot makes 2,000 calls a second against a paper exchange with errors, latencies and lost answers, while a
collector answers, refuses, says nothing, answers again and is busy: ten times all of that. Both are processes of their
own, so what grows here is the bot, which keeps nothing but counts, or tradewatch. Every ten seconds a line says what
stands. At the end every call that the bot made must have been counted, every span have arrived or been counted as lost,
the memory of the second half be flat, and after `shutdown` no thread of ours be left.

Flat: memory is read every second; through the medians of the last five of the ten turns of the collector goes a line,
and it rises by no more than `NOISE_MB` over those five minutes. One of them is what books keep of 3,000 orders until
they are full; the others are the allocator's, which takes memory by the megabyte and gives none back that is used in
part. So a leak of more than 5 bytes a call is seen, or of 1 kB an order. In a run of less than `TELLS_S` what is
bounded is still filling up, and `FILLING_MB` more are let pass.

    make soak              ten minutes
    make soak SECONDS=60   shorter
    make soak LEAK=20      20 kB a second are kept for ever: memory must not be found flat
    python -m benchmarks.soak --json   for a machine to read
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import logging
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ccxt
import ccxt.async_support
import msgspec

import tradewatch
from benchmarks.collector import Arrivals, Mood
from benchmarks.growth import medians, resident_mb, rise
from benchmarks.processes import client, collector, venue

KEY, SECRET = "soak-key", "soak-secret"
SYMBOL = "BTC/USDT"
WORKERS = 64
NOISE_MB = 3.0
FILLING_MB = 8.0
TELLS_S = 300.0
# All of it ten times; in the second half five times.
MOODS: tuple[Mood, ...] = ("answers", "refuses", "is silent", "answers", "is busy")
TURNS = 10
SCENARIO = """
rules:
  - match: {every: 50}
    fault: {kind: server_error, status: 503, at: arrival}
  - match: {every: 70}
    fault: {kind: rate_limit, retry_after_s: 1}
  - match: {operation: order_place, every: 40}
    fault: {kind: timeout, hold_s: 0.2}
  - match: {probability: 0.02}
    fault: {kind: latency, ms: {uniform: [5, 80]}}
"""


def venue_arguments(folder: Path) -> list[str]:
    (folder / "faults.yaml").write_text(SCENARIO)
    arguments = ["--seed", "1", "--account", f"{KEY}:{SECRET}", "--balance", "BTC=1000,USDT=50000000"]
    # Its clock is ours: fills of another year would all be from before the balances.
    arguments += ["--candles", "random:25000", "--start", datetime.now(UTC).isoformat(timespec="seconds")]
    return [*arguments, "--scenario", str(folder / "faults.yaml")]


class Bot:
    """As fast as it is told to be; counts what it does on its own."""

    def __init__(self, exchange: Any) -> None:
        self.exchange = exchange
        self.calls: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.due = 0

    async def work(self, seed: int) -> None:
        rng = random.Random(seed)
        while True:
            while self.due <= 0:  # noqa: ASYNC110  64 workers and one budget: an event would wake them all
                await asyncio.sleep(0.002)
            self.due -= 1
            await self.call(rng)

    async def call(self, rng: random.Random) -> None:
        what, exchange = rng.random(), self.exchange
        try:
            if what < 0.70:
                self.calls["fetch_ticker"] += 1
                await exchange.fetch_ticker(SYMBOL)
            elif what < 0.90:
                self.calls["fetch_order_book"] += 1
                await exchange.fetch_order_book(SYMBOL, 5)
            elif what < 0.995:
                self.calls["fetch_balance"] += 1
                await exchange.fetch_balance()
            else:
                self.calls["create_order"] += 1
                await exchange.create_order(SYMBOL, "market", rng.choice(["buy", "sell"]), 0.001)
        except ccxt.BaseError as error:
            self.errors[type(error).__name__] += 1


def line(watch: Any, bot: Bot, arrivals: Arrivals, began: float) -> dict[str, Any]:
    status = watch.status()
    return {
        "s": round(time.monotonic() - began, 1),
        "calls": sum(bot.calls.values()),
        "errors": sum(bot.errors.values()),
        "memory_mb": round(resident_mb(), 1),
        "threads": threading.active_count(),
        "collector": arrivals.mood(),
        "spans": arrivals.count(),
        "dropped": {
            "reads": status.telemetry.reads_dropped,
            "records": status.telemetry.records_dropped,
            **{f"{lost.signal} {lost.kind} {lost.reason}": lost.count for lost in status.telemetry.dropped},
        },
        "overhead_cpu": round(status.overhead_cpu or 0, 4),
    }


async def drive(bot: Bot, watch: Any, arrivals: Arrivals, options: argparse.Namespace) -> Readings:
    """Have the bot work at its rate and the collector go through its moods, and read what stands."""
    found, kept = Readings([], []), []
    began = reported = read = time.monotonic()
    made = 0
    while (passed := time.monotonic() - began) < options.seconds:
        await asyncio.sleep(0.01)
        arrivals.be(MOODS[int(passed / options.seconds * TURNS * len(MOODS)) % len(MOODS)])
        wanted = int(passed * options.rate)
        # A venue that stalls is not caught up with: the rate is a rate.
        bot.due = min(bot.due + wanted - made, WORKERS * 4)
        made = wanted
        if time.monotonic() - read >= options.seconds / 600:
            kept.append(b"x" * int(options.leak * 1024 * (time.monotonic() - read)))
            read = time.monotonic()
            found.memory_mb.append(resident_mb())
            found.blocks.append(sys.getallocatedblocks())
        if time.monotonic() - reported >= 10:
            reported = time.monotonic()
            # As often as before each line: else a reading depends on when the interpreter last collected.
            gc.collect()
            if not options.json:
                print(json.dumps(line(watch, bot, arrivals, began)), file=sys.stderr, flush=True)
    return found


class Readings(msgspec.Struct, frozen=True):
    """Megabytes of this process, and small blocks that its interpreter has given out, 600 times a run."""

    memory_mb: list[float]
    blocks: list[int]


async def soak(options: argparse.Namespace) -> dict[str, Any]:
    with (
        collector() as there,
        tempfile.TemporaryDirectory() as folder,
        venue(*venue_arguments(Path(folder))) as url,
    ):
        os.environ |= {**there.environment, "OTEL_EXPORTER_OTLP_TIMEOUT": "2"}
        threads_before = set(threading.enumerate())
        bot = Bot(client(ccxt.async_support, url, apiKey=KEY, secret=SECRET, timeout=2_000))
        watch = tradewatch.instrument(bot, state_dir=Path(folder) / "state", port=0, limits={"overhead": 1.0})
        try:
            await bot.exchange.load_markets()
            workers = [asyncio.create_task(bot.work(n)) for n in range(WORKERS)]
            began = time.monotonic()
            readings = await drive(bot, watch, there.arrivals, options)
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            await bot.exchange.close()
            took = time.monotonic() - began
        finally:
            began_shutdown = time.monotonic()
            await asyncio.to_thread(tradewatch.shutdown)
            shutdown_s = time.monotonic() - began_shutdown
        exported = there.arrivals.count()
    left = [
        t.name
        for t in set(threading.enumerate()) - threads_before
        if t.is_alive() and (t.name.startswith("tradewatch") or "Otel" in t.name)
    ]
    status = watch.status()
    seen = {o.operation: o.calls for o in status.operations}
    levels, blocks = medians(readings.memory_mb, TURNS), medians(readings.blocks, TURNS)
    half = TURNS // 2
    return {
        "seconds": round(took, 1),
        "calls": dict(bot.calls),
        "calls_a_second": round(sum(bot.calls.values()) / took),
        "errors": dict(bot.errors),
        "counted": {name: seen.get(name, 0) for name in bot.calls},
        "memory_mb_a_turn": [round(each, 1) for each in levels],
        "memory_rises_in_second_half_mb": round(rise(levels[half:]), 2),
        "blocks_a_turn": [int(each) for each in blocks],
        "blocks_rise_in_second_half": round(rise(blocks[half:])),
        "spans_exported": exported,
        "spans_made": sum(o.calls for o in status.operations) + status.attempts,
        "spans_lost_and_counted": sum(lost.count for lost in status.telemetry.dropped if lost.signal == "spans"),
        "reads_dropped": status.telemetry.reads_dropped,
        "records_dropped": status.telemetry.records_dropped,
        "failures": status.failures,
        "threads_left": left,
        "shutdown_s": round(shutdown_s, 2),
        "overhead_cpu": round(status.overhead_cpu or 0, 4),
    }


def verdicts(found: dict[str, Any]) -> list[tuple[bool, str]]:
    allowed_mb, rises_mb = NOISE_MB, found["memory_rises_in_second_half_mb"]
    flat = "memory is flat"
    if found["seconds"] < TELLS_S:
        allowed_mb, flat = NOISE_MB + FILLING_MB, "memory does not run away, in a run too short to call it flat"
    return [
        (found["calls"] == found["counted"], "every call was counted"),
        (
            rises_mb <= allowed_mb,
            f"{flat}: it rises by {rises_mb:.2f} MB over the second half, at most {allowed_mb:g} are allowed",
        ),
        (
            found["spans_made"] == found["spans_exported"] + found["spans_lost_and_counted"],
            "every span was exported, or counted as lost",
        ),
        (not found["reads_dropped"] and not found["records_dropped"], "no record was dropped before it became a span"),
        (not found["threads_left"], "no thread is left"),
        (not found["failures"], "no failure of tradewatch's own"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--rate", type=float, default=2_000.0, help="calls a second")
    parser.add_argument("--leak", type=float, default=0.0, help="kB a second to keep for ever")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    with contextlib.suppress(KeyboardInterrupt):
        found = asyncio.run(soak(arguments))
        results = verdicts(found)
        if arguments.json:
            print(json.dumps(found | {"verdicts": {text: held for held, text in results}}, indent=1))
        else:
            print(json.dumps(found, indent=1))
            for held, text in results:
                print(("ok   " if held else "FAIL ") + text)
        sys.exit(0 if all(held for held, _ in results) else 1)


if __name__ == "__main__":
    main()
