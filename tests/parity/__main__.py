"""Compares one run of each kind, and says what differs as JSON: for environments with other versions of the SDK."""

import json
import sys
import time

from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from parity import points, runs, traces
from parity.naive import CALL, HISTOGRAMS, Metrics
from tradewatch.runtime.scrub import scrubber

BOT = {"trading.bot": "bot"}
EXPONENTIAL = {Histogram: ExponentialBucketHistogramAggregation()}
DELTA = {Histogram: AggregationTemporality.DELTA}


class Foreign(SpanProcessor):
    """Of the application's own, so that spans start with their calls."""


class Providers:
    """Of one run: its spans, and what each reader tells."""

    def __init__(self, processor):
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(processor(self.exporter))
        if processor is SimpleSpanProcessor:
            self.tracers.add_span_processor(Foreign())
        self.readers = [InMemoryMetricReader(), InMemoryMetricReader(DELTA)]
        self.readers.append(InMemoryMetricReader(preferred_aggregation=EXPONENTIAL))
        self.meters = MeterProvider(self.readers, shutdown_on_exit=False)

    def spans(self):
        self.tracers.force_flush()
        return [traces.seen(span) for span in self.exporter.get_finished_spans()]


def differences(kind, processor):
    """What differs between a watched run and the reference, by name; and how much was compared."""
    mine, naive, twin = (Providers(processor) for _ in range(3))
    by_hand, found, recorded = Metrics(twin.meters, BOT), [], set()

    def settled(watch, calls):
        nonlocal recorded
        if watch is None:
            return
        ends = time.monotonic() + 20
        while time.monotonic() < ends:
            spans = mine.spans()
            if sum(s.is_call for s in spans) == calls and watch._outputs.fold._candidates == points.durations(spans):
                break
            time.sleep(0.01)
        recorded = points.replayed(spans, by_hand, recorded)
        for n, (one, other) in enumerate(zip(mine.readers, twin.readers, strict=True)):
            got, wanted = one.get_metrics_data(), other.get_metrics_data()
            if points.plain(got, HISTOGRAMS) != points.plain(wanted, HISTOGRAMS):
                found.append(("points", n, repr(points.plain(got, HISTOGRAMS)), repr(points.plain(wanted, HISTOGRAMS))))
            if n == 0:
                counted[:] = [points.counts(got)]

    counted = []
    bot = runs.watched(kind, mine.tracers, mine.meters, settled)
    runs.by_hand(kind, naive.tracers, naive.meters, BOT)
    trees = [traces.forest(mine.spans()), traces.as_documented(traces.forest(naive.spans()), scrubber.text)]
    shown = [sorted(map(traces.plain, each), key=repr) for each in trees]
    if shown[0] != shown[1]:
        found.append(("spans", *map(repr, shown)))
    found += traces.lie_within(mine.spans()) + traces.lie_in_steps(mine.spans(), bot.steps)
    of_naive = points.counts(naive.readers[0].get_metrics_data())
    if counted[0] != of_naive:
        found.append(("counts", repr(counted[0]), repr(of_naive)))
    calls = sum(n for (name, _), n in of_naive.items() if name == CALL)
    for each in (mine, naive, twin):
        each.tracers.shutdown()
        each.meters.shutdown()
    return found, [len(shown[0]), calls]


if __name__ == "__main__":
    for run in (("sync", BatchSpanProcessor), ("async", SimpleSpanProcessor)):
        differs, compared = differences(*run)
        sys.stdout.write(json.dumps({"differs": differs, "compared": compared}) + "\n")
