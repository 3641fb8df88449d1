"""What one call costs on the bot's side: tradewatch, naive OpenTelemetry, prometheus_client, and nothing, in one run.

The call is a method of a ccxt client that returns at once, so that what is added is all there is to see. The variants
take turns in short rounds, since the machine's speed drifts; figures are medians over the rounds, less the bare call.

    make bench            about a minute
    make bench QUICK=1    a few seconds
    .venv/bin/python benchmarks/call.py --json   for a machine to read
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ccxt
import ccxt.async_support
import wrapt
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from prometheus_client import CollectorRegistry, Counter, Histogram

import tradewatch

ANSWER = {"symbol": "BTC/USDT", "info": {}}
NAIVE = "naive OpenTelemetry: wrapt, span of six attributes, histogram, counter"
LABELS = "prometheus_client: labels() at each call, no span"
CACHED = "prometheus_client: children kept, no span"
OURS = "tradewatch: metrics, and one record of which span and readings are made later"


class Sink(SpanExporter):
    def export(self, spans: Any) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def sync_client() -> Any:
    class Client(ccxt.binance):
        def fetch_status(self, params: Any = None) -> Any:
            return ANSWER

    return Client()


def async_client() -> Any:
    class Client(ccxt.async_support.binance):
        async def fetch_status(self, params: Any = None) -> Any:
            return ANSWER

    return Client()


def naive(function: Callable[..., Any], is_async: bool) -> Any:
    traces, meters = TracerProvider(), MeterProvider([InMemoryMetricReader()])
    traces.add_span_processor(BatchSpanProcessor(Sink()))
    tracer, meter = traces.get_tracer("naive"), meters.get_meter("naive")
    duration, calls = meter.create_histogram("duration", "s"), meter.create_counter("calls")
    attributes = {"exchange": "binance", "operation": "fetch_status", "symbol": "BTC/USDT", "a": 1, "b": "x", "c": True}
    labels = {"exchange": "binance", "operation": "fetch_status"}

    if is_async:

        async def around(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
            with tracer.start_as_current_span("fetch_status", attributes=attributes):
                began = time.perf_counter()
                result = await wrapped(*args, **kwargs)
                duration.record(time.perf_counter() - began, labels)
                calls.add(1, labels)
                return result
    else:

        def around(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
            with tracer.start_as_current_span("fetch_status", attributes=attributes):
                began = time.perf_counter()
                result = wrapped(*args, **kwargs)
                duration.record(time.perf_counter() - began, labels)
                calls.add(1, labels)
                return result

    return wrapt.FunctionWrapper(function, around)


def prometheus(function: Callable[..., Any], is_async: bool, cached: bool) -> Any:
    registry = CollectorRegistry()
    duration = Histogram("duration", "d", ["exchange", "operation"], registry=registry)
    calls = Counter("calls", "c", ["exchange", "operation"], registry=registry)
    kept = duration.labels("binance", "fetch_status"), calls.labels("binance", "fetch_status")

    def count(began: float) -> None:
        seconds, number = (
            kept if cached else (duration.labels("binance", "fetch_status"), calls.labels("binance", "fetch_status"))
        )
        seconds.observe(time.perf_counter() - began)
        number.inc()

    if is_async:

        async def around_async() -> Any:
            began = time.perf_counter()
            result = await function()
            count(began)
            return result

        return around_async

    def around() -> Any:
        began = time.perf_counter()
        result = function()
        count(began)
        return result

    return around


def time_sync(function: Callable[[], Any], calls: int) -> float:
    began = time.perf_counter_ns()
    for _ in range(calls):
        function()
    return (time.perf_counter_ns() - began) / calls


def time_async(function: Callable[[], Any], calls: int) -> float:
    async def loop() -> float:
        began = time.perf_counter_ns()
        for _ in range(calls):
            await function()
        return (time.perf_counter_ns() - began) / calls

    return asyncio.run(loop())


def measure(is_async: bool, rounds: int, calls: int, progress: Callable[[str], None]) -> dict[str, float]:
    """Nanoseconds a call that each variant adds to the bare one, median of the rounds."""
    bare = async_client() if is_async else sync_client()
    watched = async_client() if is_async else sync_client()
    bot = type("Bot", (), {})()
    bot.exchange = watched
    variants = {
        "nothing": bare.fetch_status,
        CACHED: prometheus(bare.fetch_status, is_async, cached=True),
        LABELS: prometheus(bare.fetch_status, is_async, cached=False),
        NAIVE: naive(bare.fetch_status, is_async),
    }
    with tempfile.TemporaryDirectory() as folder:
        tradewatch.instrument(bot, name="bench", state_dir=Path(folder) / "state", port=0)
        variants[OURS] = watched.fetch_status
        timer = time_async if is_async else time_sync
        for function in variants.values():
            timer(function, 200)
        found: dict[str, list[float]] = {name: [] for name in variants}
        for n in range(rounds):
            progress(f"{'async' if is_async else 'sync'}: round {n + 1} of {rounds}")
            for name, function in variants.items():
                # Between rounds the background threads finish what the last one left them.
                time.sleep(0.05)
                gc.collect()
                found[name].append(timer(function, calls))
        tradewatch.uninstrument(bot)
    base = statistics.median(found["nothing"])
    return {name: statistics.median(times) - (0 if name == "nothing" else base) for name, times in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: the order of magnitude alone")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    rounds, calls = (5, 1_000) if options.quick else (25, 3_000)

    def progress(text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r{text}   ", end="", file=sys.stderr, flush=True)

    os.environ["OTEL_TRACES_EXPORTER"] = "none"
    results = {kind: measure(kind == "async", rounds, calls, progress) for kind in ("sync", "async")}
    if sys.stderr.isatty():
        print("\r" + " " * 40 + "\r", end="", file=sys.stderr)
    if options.json:
        print(json.dumps(results, indent=2))
        return
    for kind, added in results.items():
        print(f"\n{kind}: a bare call takes {added['nothing'] / 1000:.2f} µs; added to it")
        for name, ns in added.items():
            if name != "nothing":
                ratio = ns / added[OURS] if added[OURS] > 0 else float("nan")
                print(f"  {ns / 1000:8.2f} µs  {ratio:6.1f} x ours   {name}")


if __name__ == "__main__":
    main()
