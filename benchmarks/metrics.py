"""What metrics cost on the background threads: folding against `record()`, and a scrape against OpenTelemetry's reader.

The ways take turns in one run, since the machine's speed drifts; figures are CPU times, medians over the rounds.

    make bench              some seconds
    .venv/bin/python benchmarks/metrics.py --json   for a machine to read
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

from opentelemetry.context import Context
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest

from tradewatch.semconv.metrics import DURATION_BOUNDS_S
from tradewatch.telemetry.agreement import disagreement
from tradewatch.telemetry.cell import Cells
from tradewatch.telemetry.exposition import exposition
from tradewatch.telemetry.fold import Fold
from tradewatch.telemetry.scrape import ScrapeReader, _paced
from tradewatch.telemetry.tally import Tally

STREAMS = 1_000
CALLS = 100
NS = 1e9


def timed(work: Callable[[], Any]) -> float:
    """CPU seconds of this thread: what the interpreter is held for, whoever else uses the machine."""
    gc.collect()
    began = time.thread_time()
    work()
    return time.thread_time() - began


def medians(ways: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Of each way, its seconds; each takes its turn in every round."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            found[name].append(way())
    return {name: statistics.median(times) for name, times in found.items()}


def folding(readers: int, cells: int, calls: int, rounds: int) -> dict[str, float]:
    """Microseconds a call, and a changed cell, at so many calls of a cell between two folds."""
    durations = [random.Random(1).randrange(1_000_000, 900_000_000) for _ in range(calls)]
    attributes = [{"trading.exchange": "binance", "trading.operation": f"operation-{n}"} for n in range(cells)]
    ours = MeterProvider([InMemoryMetricReader() for _ in range(readers)], shutdown_on_exit=False)
    table = Cells()
    fold = Fold(ours.get_meter("tradewatch"), table, Tally(table).timed, {}, None)
    kept = [table.cell("binance", f"operation-{n}", None) for n in range(cells)]
    theirs = MeterProvider([InMemoryMetricReader() for _ in range(readers)], shutdown_on_exit=False)
    histogram = theirs.get_meter("naive").create_histogram(
        "duration", "s", explicit_bucket_boundaries_advisory=list(DURATION_BOUNDS_S)
    )
    context = Context()

    def count() -> None:
        for cell in kept:
            for duration in durations:
                cell.count(duration)
                table.note(cell, duration)

    def folded() -> float:
        count()
        return timed(fold.tick)

    def recorded() -> float:
        def record() -> None:
            for each in attributes:
                for duration in durations:
                    histogram.record(duration / NS, each, context)

        return timed(record)

    found = medians({"fold": folded, "record": recorded}, rounds)
    for provider in (ours, theirs):
        provider.shutdown()
    n = cells * calls
    return {
        "fold_us_a_cell": found["fold"] / cells * 1e6,
        "fold_us_a_call": found["fold"] / n * 1e6,
        "record_us_a_call": found["record"] / n * 1e6,
        "ratio": found["record"] / found["fold"],
    }


def scraping(rounds: int) -> dict[str, float]:
    """Milliseconds for a page of 1,000 histograms, and of the SDK's own collection before it."""
    reader, registry = ScrapeReader(), CollectorRegistry()
    theirs = PrometheusMetricReader(scope_info_enabled=False, registry=registry)
    provider = MeterProvider([reader, theirs], shutdown_on_exit=False)
    histogram = provider.get_meter("tradewatch").create_histogram(
        "trading.exchange.call.duration", "s", explicit_bucket_boundaries_advisory=list(DURATION_BOUNDS_S)
    )
    chance = random.Random(2)
    for n in range(STREAMS):
        for _ in range(5):
            told = {"trading.exchange": "binance", "trading.operation": f"operation-{n}", "error.type": "timeout"}
            histogram.record(chance.lognormvariate(-3, 2), told)

    def write(openmetrics: bool) -> float:
        data = reader.read()
        return timed(lambda: "".join(_paced(exposition(data, openmetrics=openmetrics))))

    ways = {
        "collection": lambda: timed(reader.read),
        "text": lambda: write(False),
        "openmetrics": lambda: write(True),
        "whole": lambda: timed(lambda: "".join(_paced(exposition(reader.read(), openmetrics=False)))),
        "exporter": lambda: timed(lambda: generate_latest(registry)),
    }
    found = {f"{name}_ms": seconds * 1e3 for name, seconds in medians(ways, rounds).items()}
    provider.shutdown()
    return found | {"ratio": found["exporter_ms"] / found["whole_ms"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: the order of magnitude alone")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    rounds = 7 if options.quick else 41
    why = disagreement()
    if why is not None:
        raise SystemExit(f"nothing is folded here: {why}")
    results: dict[str, Any] = {
        "one call a fold, 1 reader": folding(1, 200, 1, rounds),
        "100 calls a fold, 1 reader": folding(1, 20, CALLS, rounds),
        "100 calls a fold, 3 readers": folding(3, 20, CALLS, rounds),
        f"a scrape of {STREAMS:,} histograms": scraping(max(3, rounds // 4)),
    }
    if options.json:
        print(json.dumps(results, indent=2))
        return
    for name, found in results.items():
        if "fold_us_a_cell" in found:
            print(
                f"\n{name}: a changed cell {found['fold_us_a_cell']:.1f} µs, a call {found['fold_us_a_call']:.2f} µs;"
                f" record() {found['record_us_a_call']:.1f} µs, {found['ratio']:.1f} x ours"
            )
        else:
            print(
                f"\n{name}: {found['whole_ms']:.1f} ms, of which the SDK's collection takes"
                f" {found['collection_ms']:.1f} in one stretch and the text {found['text_ms']:.1f} in short ones"
                f" (OpenMetrics {found['openmetrics_ms']:.1f}); OpenTelemetry's reader {found['exporter_ms']:.1f} ms,"
                f" {found['ratio']:.1f} x ours"
            )


if __name__ == "__main__":
    main()
