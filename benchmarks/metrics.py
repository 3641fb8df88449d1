"""What metrics cost on the background threads: folding against `record()`, and a scrape against OpenTelemetry's reader.

Figures are CPU times of the thread, which is how long the interpreter is held, medians over the rounds.

    python -m benchmarks --only metrics --quick
    python -m benchmarks.metrics --json
"""

from __future__ import annotations

import random

from opentelemetry.context import Context
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest

from benchmarks.figures import Figure, compared
from benchmarks.turns import in_turns, medians, program, thread_s
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


def folding(title: str, readers: int, cells: int, calls: int, rounds: int) -> Figure:
    """Microseconds a call, at so many calls of a cell between two folds."""
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
        return thread_s(fold.tick)

    def recorded() -> float:
        def record() -> None:
            for each in attributes:
                for duration in durations:
                    histogram.record(duration / NS, each, context)

        return thread_s(record)

    found = medians(in_turns({"fold": folded, "record": recorded}, rounds))
    for provider in (ours, theirs):
        provider.shutdown()
    cell, (ours_us, theirs_us) = found["fold"] / cells * 1e6, (found[name] / cells / calls * 1e6 for name in found)
    what = f"metrics a call, {title} a fold, {readers} reader" + "s" * (readers > 1)
    return compared(what, ours_us, "µs", "record()", theirs_us, "below", note=f"a changed cell {cell:.1f} µs")


def scraping(rounds: int) -> Figure:
    """A page of 1,000 histograms, and of the SDK's own collection before it."""
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
        return thread_s(lambda: "".join(_paced(exposition(data, openmetrics=openmetrics))))

    ways = {
        "collection": lambda: thread_s(reader.read),
        "text": lambda: write(False),
        "openmetrics": lambda: write(True),
        "whole": lambda: thread_s(lambda: "".join(_paced(exposition(reader.read(), openmetrics=False)))),
        "exporter": lambda: thread_s(lambda: generate_latest(registry)),
    }
    ms = {name: seconds * 1e3 for name, seconds in medians(in_turns(ways, rounds)).items()}
    provider.shutdown()
    note = f"the SDK's collection {ms['collection']:.1f} in one stretch, the text {ms['text']:.1f} in short ones"
    note += f", OpenMetrics {ms['openmetrics']:.1f}"
    what = f"scrape of {STREAMS:,} histograms, CPU"
    return compared(what, ms["whole"], "ms", "PrometheusMetricReader", ms["exporter"], "below", note=note)


def measure(quick: bool) -> list[Figure]:
    rounds = 7 if quick else 41
    why = disagreement()
    if why is not None:
        raise RuntimeError(f"nothing is folded here: {why}")
    return [
        folding("1 call", 1, 200, 1, rounds),
        folding("100 calls", 1, 20, CALLS, rounds),
        folding("100 calls", 3, 20, CALLS, rounds),
        scraping(max(3, rounds // 4)),
    ]


if __name__ == "__main__":
    program(measure, __doc__)
