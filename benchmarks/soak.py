"""Ten minutes of a busy bot on a venue that misbehaves and a collector that comes and goes: does anything grow?

A ccxt bot makes 2,000 calls a second against the paper exchange in a process of its own, with errors, latencies and
lost answers, while a collector answers, refuses, says nothing, and answers again. Every ten seconds a line says what
stands. At the end every call that the bot made must have been counted, the memory
of the second half flat, and after `shutdown` no thread of ours left.

    make soak              ten minutes
    make soak SECONDS=30   shorter
    python -m benchmarks.soak --json   for a machine to read
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import http.server
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
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import tradewatch
from benchmarks.processes import client, venue

KEY, SECRET = "soak-key", "soak-secret"
SYMBOL = "BTC/USDT"
WORKERS = 64
# What a process may still gain in the second half: arenas are not given back to the system at once, and the books keep
# up to 50,000 fills of a market (some 2 KB each; here there are five a second).
GROWTH_MB = 12.0
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


class Collector:
    """OTLP over HTTP. What it does changes every fifth of the run: answer, refuse, keep silent, answer, say 429."""

    def __init__(self, seconds: float) -> None:
        self.spans = 0
        self.answers: Counter[str] = Counter()
        began = time.monotonic()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(handler) -> None:  # noqa: N805
                body = handler.rfile.read(int(handler.headers["Content-Length"]))
                if handler.headers.get("Content-Encoding") == "gzip":
                    import gzip

                    body = gzip.decompress(body)
                phase = ("answer", "refuse", "silent", "answer", "busy")[min(4, int(5 * self.share(began, seconds)))]
                self.answers[phase] += 1
                if phase == "silent":
                    time.sleep(3)
                    return
                if phase == "answer":
                    self.spans += sum(
                        len(scope.spans)
                        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
                        for scope in resource.scope_spans
                    )
                handler.send_response({"answer": 200, "refuse": 400, "busy": 429}[phase])
                if phase == "busy":
                    handler.send_header("Retry-After", "1")
                handler.send_header("Content-Length", "0")
                handler.end_headers()

            def log_message(handler, *args: Any) -> None:  # noqa: N805
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, name="collector", daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @staticmethod
    def share(began: float, seconds: float) -> float:
        return (time.monotonic() - began) / seconds


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


def memory_mb() -> float:
    gc.collect()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise OSError("no VmRSS: this runs on Linux")


def line(watch: Any, bot: Bot, collector: Collector, began: float) -> dict[str, Any]:
    status = watch.status()
    return {
        "s": round(time.monotonic() - began, 1),
        "calls": sum(bot.calls.values()),
        "errors": sum(bot.errors.values()),
        "memory_mb": round(memory_mb(), 1),
        "threads": threading.active_count(),
        "spans": collector.spans,
        "dropped": {
            "reads": status.telemetry.reads_dropped,
            "records": status.telemetry.records_dropped,
            **{f"{lost.signal} {lost.kind} {lost.reason}": lost.count for lost in status.telemetry.dropped},
        },
        "overhead_cpu": round(status.overhead_cpu or 0, 4),
        "collector": dict(collector.answers),
    }


async def soak(seconds: float, rate: float, quiet: bool) -> dict[str, Any]:
    collector = Collector(seconds)
    os.environ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = f"{collector.url}/v1/traces"
    os.environ["OTEL_EXPORTER_OTLP_TIMEOUT"] = "2"
    with tempfile.TemporaryDirectory() as folder, venue(*venue_arguments(Path(folder))) as url:
        threads_before = set(threading.enumerate())
        bot = Bot(client(ccxt.async_support, url, apiKey=KEY, secret=SECRET, timeout=2_000))
        watch = tradewatch.instrument(bot, state_dir=Path(folder) / "state", port=0, limits={"overhead": 1.0})
        lines = []
        try:
            await bot.exchange.load_markets()
            workers = [asyncio.create_task(bot.work(n)) for n in range(WORKERS)]
            began = reported = time.monotonic()
            made = 0
            while time.monotonic() - began < seconds:
                await asyncio.sleep(0.01)
                wanted = int((time.monotonic() - began) * rate)
                # A venue that stalls is not caught up with: the rate is a rate.
                bot.due = min(bot.due + wanted - made, WORKERS * 4)
                made = wanted
                if time.monotonic() - reported >= 10:
                    reported = time.monotonic()
                    lines.append(line(watch, bot, collector, began))
                    if not quiet:
                        print(json.dumps(lines[-1]), file=sys.stderr, flush=True)
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            await bot.exchange.close()
            took = time.monotonic() - began
            last = line(watch, bot, collector, began)
        finally:
            began_shutdown = time.monotonic()
            await asyncio.to_thread(tradewatch.shutdown)
            shutdown_s = time.monotonic() - began_shutdown
            collector.server.shutdown()
    left = [
        t.name
        for t in set(threading.enumerate()) - threads_before
        if t.is_alive() and (t.name.startswith("tradewatch") or "Otel" in t.name)
    ]
    status = watch.status()
    seen = {o.operation: o.calls for o in status.operations}
    half = [each["memory_mb"] for each in lines[len(lines) // 2 :]] or [last["memory_mb"]]
    return {
        "seconds": round(took, 1),
        "calls": dict(bot.calls),
        "calls_a_second": round(sum(bot.calls.values()) / took),
        "errors": dict(bot.errors),
        "counted": {name: seen.get(name, 0) for name in bot.calls},
        "memory_mb": [each["memory_mb"] for each in lines] + [last["memory_mb"]],
        "grown_in_second_half_mb": round(max(half) - half[0], 1),
        "spans_exported": collector.spans,
        "spans_made": sum(o.calls for o in status.operations) + status.attempts,
        "spans_lost_and_counted": sum(lost.count for lost in status.telemetry.dropped if lost.signal == "spans"),
        "reads_dropped": status.telemetry.reads_dropped,
        "records_dropped": status.telemetry.records_dropped,
        "failures": status.failures,
        "threads_left": left,
        "shutdown_s": round(shutdown_s, 2),
        "overhead_cpu": last["overhead_cpu"],
    }


def verdicts(found: dict[str, Any]) -> list[tuple[bool, str]]:
    return [
        (found["calls"] == found["counted"], "every call was counted"),
        (found["grown_in_second_half_mb"] <= GROWTH_MB, f"memory grew by at most {GROWTH_MB:g} MB in the second half"),
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
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    with contextlib.suppress(KeyboardInterrupt):
        found = asyncio.run(soak(arguments.seconds, arguments.rate, arguments.json))
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
