"""What one call costs on the bot's side: tradewatch, naive OpenTelemetry, prometheus_client, and nothing, in one run.

The variants take turns in short rounds, since the machine's speed drifts; figures are medians over the rounds, less
the bare call. `hot` is a method of a ccxt client that returns at once, called over and over. `cold` is the same method
after ccxt has parsed a ticker, each call timed by itself. `asked` is hot, and the method asks for the ids of the
current span. `real` is an async ccxt client that reads a ticker of a paper exchange in another process: the CPU time of
this process a call, background threads included. There, spans are encoded by OpenTelemetry's own encoder where that is
said; elsewhere the exporter lets them go, so that no encoding slows down the calls that are timed.

    make bench                                   two minutes
    make bench QUICK=1                           the order of magnitude, under a minute
    .venv/bin/python benchmarks/call.py --json   for a machine to read
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import ccxt
import ccxt.async_support
import wrapt
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from prometheus_client import CollectorRegistry, Counter, Histogram

import tradewatch

ANSWER = {"symbol": "BTC/USDT", "info": {}}
NOTHING = "nothing"
NAIVE = "naive OpenTelemetry: wrapt, span of six attributes, histogram, counter"
LABELS = "prometheus_client: labels() at each call, no span"
CACHED = "prometheus_client: children kept, no span"
RECORD = "tradewatch: metrics and record, nobody wants spans"
SPAN = "tradewatch: metrics, record and current span"
EXPORTED = "tradewatch: the same, spans of call and HTTP attempt encoded"

RAW = {
    "symbol": "BTCUSDT",
    "priceChange": "-94.99",
    "priceChangePercent": "-0.42",
    "weightedAvgPrice": "22412.29628482",
    "prevClosePrice": "22500.10",
    "lastPrice": "22400.00",
    "bidPrice": "22399.99",
    "bidQty": "1.4",
    "askPrice": "22400.01",
    "askQty": "0.7",
    "openPrice": "22495.00",
    "highPrice": "22600.00",
    "lowPrice": "22300.00",
    "volume": "8913.3",
    "quoteVolume": "199652000.30",
    "openTime": 1499783499040,
    "closeTime": 1499869899040,
    "count": 76,
}


class Discarded(SpanExporter):
    """Takes spans and lets them go."""

    def export(self, spans: Any) -> SpanExportResult:
        return SpanExportResult.SUCCESS


class Encoded(SpanExporter):
    """Encodes what it is given, as an exporter does before it sends."""

    def export(self, spans: Any) -> SpanExportResult:
        encode_spans(spans).SerializeToString()
        return SpanExportResult.SUCCESS


def tracers(exporter: SpanExporter) -> TracerProvider:
    provider = TracerProvider(shutdown_on_exit=False)
    # Roomier than the default, so that nothing is dropped, and what is exported is exported between the rounds.
    provider.add_span_processor(BatchSpanProcessor(exporter, 100_000, 500, 100_000))
    return provider


def instant(is_async: bool, asks: bool) -> Any:
    """A client whose method returns at once."""

    def ask() -> None:
        if asks:
            trace.get_current_span().get_span_context()

    class Sync(ccxt.binance):
        def fetch_status(self, params: Any = None) -> Any:
            ask()
            return ANSWER

    class Async(ccxt.async_support.binance):
        async def fetch_status(self, params: Any = None) -> Any:
            ask()
            return ANSWER

    return (Async if is_async else Sync)()


def naive(function: Callable[..., Any], operation: str, is_async: bool, exporter: SpanExporter) -> Any:
    provider, meters = tracers(exporter), MeterProvider([InMemoryMetricReader()])
    tracer, meter = provider.get_tracer("naive"), meters.get_meter("naive")
    duration, calls = meter.create_histogram("duration", "s"), meter.create_counter("calls")
    attributes = {"exchange": "binance", "operation": operation, "symbol": "BTC/USDT", "a": 1, "b": "x", "c": True}
    labels = {"exchange": "binance", "operation": operation}

    if is_async:

        async def around(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
            with tracer.start_as_current_span(operation, attributes=attributes):
                began = time.perf_counter()
                result = await wrapped(*args, **kwargs)
                duration.record(time.perf_counter() - began, labels)
                calls.add(1, labels)
                return result
    else:

        def around(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
            with tracer.start_as_current_span(operation, attributes=attributes):
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

    async def around_async(*args: Any) -> Any:
        began = time.perf_counter()
        result = await function(*args)
        count(began)
        return result

    def around(*args: Any) -> Any:
        began = time.perf_counter()
        result = function(*args)
        count(began)
        return result

    return around_async if is_async else around


class Watched:
    """Clients that tradewatch watches, each a bot of its own, until the end of the block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bots: list[list[Any]] = []

    def add(self, client: Any, exporter: SpanExporter | None) -> None:
        bot = [client]
        name = f"bench-{len(self._bots)}"
        providers = {} if exporter is None else {"tracer_provider": tracers(exporter)}
        tradewatch.instrument(bot, name=name, state_dir=self._folder / name, port=0, **providers)
        self._bots.append(bot)

    def close(self) -> None:
        for bot in self._bots:
            tradewatch.uninstrument(bot)


def hot(function: Callable[[], Any], is_async: bool, calls: int) -> float:
    """Nanoseconds a call, one after the other."""
    if not is_async:
        began = time.perf_counter_ns()
        for _ in range(calls):
            function()
        return (time.perf_counter_ns() - began) / calls

    async def loop() -> float:
        began = time.perf_counter_ns()
        for _ in range(calls):
            await function()
        return (time.perf_counter_ns() - began) / calls

    return asyncio.run(loop())


def cold(function: Callable[[], Any], is_async: bool, calls: int) -> float:
    """Nanoseconds a call that comes after ccxt has parsed something."""
    other = ccxt.binance()
    market = {**other.safe_market("BTCUSDT", None, None, "spot"), "symbol": "BTC/USDT"}
    clock = time.perf_counter_ns
    times = []
    if not is_async:
        for _ in range(calls):
            other.parse_ticker(RAW, market)
            began = clock()
            function()
            times.append(clock() - began)
        return statistics.median(times)

    async def loop() -> float:
        for _ in range(calls):
            other.parse_ticker(RAW, market)
            began = clock()
            await function()
            times.append(clock() - began)
        return statistics.median(times)

    return asyncio.run(loop())


Timer = Callable[[Callable[[], Any], bool, int], float]


def in_turn(
    variants: dict[str, Callable[[], Any]], timer: Timer, is_async: bool, rounds: int, calls: int
) -> dict[str, float]:
    """Nanoseconds that each variant adds to the bare call, medians of the rounds; the bare call itself as it is."""
    for function in variants.values():
        timer(function, is_async, 200)
    found: dict[str, list[float]] = {name: [] for name in variants}
    for n in range(rounds):
        # The order changes: none has always the same one before it.
        names = list(variants)
        for name in names[n % len(names) :] + names[: n % len(names)]:
            # In between, the background threads finish what the last one left them.
            time.sleep(0.1)
            gc.collect()
            found[name].append(timer(variants[name], is_async, calls))
    base = statistics.median(found[NOTHING])
    return {name: statistics.median(times) - (0 if name == NOTHING else base) for name, times in found.items()}


def instant_calls(is_async: bool, asks: bool, folder: Path, rounds: int, calls: int) -> dict[str, dict[str, float]]:
    """The method that returns at once, hot and cold."""
    bare, recorded, spanned = (instant(is_async, asks) for _ in range(3))
    variants = {
        NOTHING: bare.fetch_status,
        CACHED: prometheus(bare.fetch_status, is_async, cached=True),
        LABELS: prometheus(bare.fetch_status, is_async, cached=False),
        NAIVE: naive(bare.fetch_status, "fetch_status", is_async, Discarded()),
    }
    watched = Watched(folder)
    watched.add(recorded, None)
    watched.add(spanned, Discarded())
    variants[RECORD], variants[SPAN] = recorded.fetch_status, spanned.fetch_status
    if asks:
        variants = {name: variants[name] for name in (NOTHING, NAIVE, SPAN)}
        result = {"asked": in_turn(variants, hot, is_async, rounds, calls)}
    else:
        result = {
            "hot": in_turn(variants, hot, is_async, rounds, calls),
            "cold": in_turn(variants, cold, is_async, max(3, rounds // 3), max(200, calls // 6)),
        }
    watched.close()
    return result


def pointed(url: str) -> Any:
    client = ccxt.async_support.binance({"enableRateLimit": False, "options": {"fetchMarkets": {"types": ["spot"]}}})
    client.has["fetchCurrencies"] = False

    def moved(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: moved(each) for key, each in value.items()}
        return re.sub(r"^https?://[^/]+", url, value)

    client.urls["api"] = moved(client.urls["api"])
    return client


def real_calls(folder: Path, rounds: int, calls: int) -> dict[str, float]:
    """CPU nanoseconds of this process a call of an async client over loopback, the bare one's; what each adds to it."""
    limits = ["--weight-limit", "1000000000", "--order-limit", "1000000"]
    command = [sys.executable, "-m", "tradewatch.cli", "paper", "--json", *limits]
    venue = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert venue.stdout is not None
        return asyncio.run(_real_calls(json.loads(venue.stdout.readline())["url"], folder, rounds, calls))
    finally:
        venue.terminate()
        venue.wait(10)


async def _real_calls(url: str, folder: Path, rounds: int, calls: int) -> dict[str, float]:
    bare, counted, traced, recorded, spanned, exported = clients = [pointed(url) for _ in range(6)]
    watched = Watched(folder)
    for client in clients:
        await client.load_markets()
    variants = {
        NOTHING: bare.fetch_ticker,
        CACHED: prometheus(counted.fetch_ticker, True, cached=True),
        NAIVE: naive(traced.fetch_ticker, "fetch_ticker", True, Encoded()),
    }
    watched.add(recorded, None)
    watched.add(spanned, Discarded())
    watched.add(exported, Encoded())
    variants |= {
        RECORD: recorded.fetch_ticker,
        SPAN: spanned.fetch_ticker,
        EXPORTED: exported.fetch_ticker,
    }
    found: dict[str, list[float]] = {name: [] for name in variants}
    for n in range(rounds + 1):
        names = list(variants)
        for name in names[n % len(names) :] + names[: n % len(names)]:
            gc.collect()
            began = time.process_time_ns()
            for _ in range(calls):
                await variants[name]("BTC/USDT")
            # What is exported later belongs to the calls too; idle threads cost every variant the same.
            await asyncio.sleep(0.7)
            if n:  # the first round warms up
                found[name].append((time.process_time_ns() - began) / calls)
    watched.close()
    for client in clients:
        await client.close()
    base = statistics.median(found[NOTHING])
    return {name: statistics.median(times) - (0 if name == NOTHING else base) for name, times in found.items()}


# (kind, way, ours, what it is compared with, the ratio or share that is wanted)
TARGETS: tuple[tuple[str, str, str, str, float], ...] = (
    ("sync", "hot", RECORD, NAIVE, 60),
    ("async", "hot", RECORD, NAIVE, 50),
    ("sync", "hot", RECORD, CACHED, 2),
    ("async", "hot", RECORD, CACHED, 2),
    ("sync", "hot", SPAN, NAIVE, 30),
    ("async", "hot", SPAN, NAIVE, 30),
)
MOST_ADDED = 0.03


def ratios(results: dict[str, dict[str, dict[str, float]]]) -> Iterable[dict[str, Any]]:
    """How many times below what it is compared with each figure of ours is, beside its target."""
    for kind, way, ours, other, wanted in TARGETS:
        found = results[kind][way]
        yield {
            "what": f"{kind}, {way}: {ours.removeprefix('tradewatch: ')}",
            "against": other.split(",", maxsplit=1)[0],
            "times_below": found[other] / found[ours],
            "target_times_below": wanted,
        }
    real = results["async"]["real"]
    for name in (RECORD, SPAN, EXPORTED, NAIVE):
        yield {
            "what": f"a real async ccxt call, CPU: {name.split(': ')[0]}, {name.split(': ')[1]}",
            "against": NOTHING,
            "added": real[name] / real[NOTHING],
            "target_added": None if name == NAIVE else MOST_ADDED,
        }


def show(results: dict[str, dict[str, dict[str, float]]]) -> None:
    for kind, ways in results.items():
        for way, found in ways.items():
            print(f"\n{kind}, {way}: a bare call takes {found[NOTHING] / 1000:.2f} µs; added to it")
            for name, ns in found.items():
                if name != NOTHING:
                    below = f"naive is {found[NAIVE] / ns:6.1f} times that" if ns > 0 else "less than the noise"
                    print(f"  {ns / 1000:8.2f} µs  {below}   {name}")
    print("\nagainst the targets")
    for line in ratios(results):
        if "added" in line:
            target = "" if line["target_added"] is None else f"target {line['target_added']:.0%}"
            print(f"  {line['added']:+7.1%}  {target:<12} {line['what']}")
        else:
            target = f"target {line['target_times_below']:.0f}"
            print(f"  {line['times_below']:6.1f} x  {target:<12} {line['what']}, below {line['against']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: the order of magnitude alone")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    rounds, calls = (5, 1_000) if options.quick else (21, 2_000)
    os.environ["OTEL_TRACES_EXPORTER"] = "none"

    def progress(text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r{text:<30}", end="", file=sys.stderr, flush=True)

    results: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("sync", "async"):
            progress(f"{kind}: a call that returns at once")
            here = Path(folder) / kind
            results[kind] = instant_calls(kind == "async", False, here, rounds, calls)
            progress(f"{kind}: the span is asked for")
            asked = instant_calls(kind == "async", True, here / "asked", max(3, rounds // 3), calls // 2)
            results[kind] |= asked
        progress("async: real calls")
        real_rounds, real_each = (3, 150) if options.quick else (11, 400)
        results["async"]["real"] = real_calls(Path(folder) / "real", real_rounds, real_each)
    progress("")
    if options.json:
        print(json.dumps({"added_ns": results, "targets": list(ratios(results))}, indent=2))
    else:
        show(results)


if __name__ == "__main__":
    main()
