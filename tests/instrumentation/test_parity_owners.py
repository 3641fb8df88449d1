"""The same as naive OpenTelemetry where the providers are tradewatch's own: at the collector, and in a scrape."""

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_client import CollectorRegistry

from parity import points, runs, traces
from parity.naive import HISTOGRAMS, ORDERS, Metrics
from tradewatch.runtime.scrub import scrubber

FAMILIES = tuple(name.replace(".", "_") for name in (*HISTOGRAMS, ORDERS))


def histograms(collector):
    """What a collector got last of each histogram: (name, attributes) → count, sum, least, most, buckets, bounds."""
    found = {}
    for name, metric in collector.last_metrics().items():
        if name in HISTOGRAMS:
            for p in metric.histogram.data_points:
                key = name, metric.unit, tuple(sorted(traces.values(p.attributes).items()))
                near = points.Near(p.sum)
                found[key] = (p.count, near, p.min, p.max, list(p.bucket_counts), list(p.explicit_bounds))
    return found


def orders(collector):
    metric = collector.last_metrics().get(ORDERS)
    got = metric.sum.data_points if metric is not None else ()
    return {tuple(sorted(traces.values(p.attributes).items())): p.as_int or p.as_double for p in got}


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_what_arrives_at_a_collector_is_what_upstreams_exporter_brings(collect, exported, until, kind):
    """Spans, histograms and orders by OTLP: of a run that is watched, and of one that is instrumented by hand."""
    mine, theirs = collect(), collect()
    exported(mine.url)
    taken, compared_with = {}, []

    def settled(watch, calls):
        if watch is None:
            return
        until(lambda: sum(span.is_call for span in traces.arrived(mine.traces)) == calls)
        # Of the very same calls: each histogram to the last bucket, by upstream's exporter.
        recorded = collect()
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{recorded.url}/v1/metrics"))
        meters = MeterProvider([reader], shutdown_on_exit=False)
        points.replayed(traces.arrived(mine.traces), Metrics(meters, {}))
        meters.shutdown()
        until(lambda: histograms(mine) == histograms(recorded))
        compared_with.append(len(histograms(recorded)))
        until(lambda: orders(mine) == orders(recorded))
        taken.update(orders(mine))

    # A bot without providers has no spans of its own.
    bot = runs.watched(kind, None, None, settled, tracer=trace.NoOpTracer())
    spans = traces.arrived(mine.traces)

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{theirs.url}/v1/traces")))
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{theirs.url}/v1/metrics"))
    meters = MeterProvider([reader], shutdown_on_exit=False)
    by_hand = runs.by_hand(kind, provider, meters, {}, trace.NoOpTracer())
    provider.shutdown()
    meters.shutdown()
    reference = traces.arrived(theirs.traces)
    assert compared(spans, reference)[0] == compared(spans, reference)[1]
    assert traces.lie_in_steps(spans, bot.steps) == traces.lie_in_steps(reference, by_hand.steps) == []
    assert taken == orders(theirs)
    assert len(compared_with) == 3
    assert compared_with[-1] > 20


def compared(spans, naive):
    expected = traces.as_documented(traces.forest(naive), scrubber.text)
    return [sorted(map(traces.plain, trees), key=repr) for trees in (traces.forest(spans), expected)]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_scrape_says_what_prometheus_own_reader_says(application, scrape, until, kind):
    """The metrics are tradewatch's own, the spans the application's, by which the same calls are recorded by hand."""
    registry = CollectorRegistry()
    twin = MeterProvider([PrometheusMetricReader(registry=registry, scope_info_enabled=False)], shutdown_on_exit=False)
    by_hand, state = Metrics(twin, {}), {"recorded": set(), "compared": 0}

    def settled(watch, calls):
        if watch is None:
            return

        def spans():
            return [traces.seen(span) for span in application.spans()]

        until(lambda: sum(span.is_call for span in spans()) == calls)
        state["recorded"] = points.replayed(spans(), by_hand, state["recorded"])
        samples = [sample for family in registry.collect() for sample in family.samples]
        # To Prometheus an empty label is none.
        labelled = [(s, tuple(sorted((k, v) for k, v in s.labels.items() if v))) for s in samples]
        wanted = {(sample.name, labels): points.Near(sample.value) for sample, labels in labelled}
        wanted = {key: value for key, value in wanted.items() if key[0].startswith(FAMILIES)}

        def found():
            own = ("job", "instance", "otel_scope_name", "otel_scope_version", "otel_scope_schema_url")
            return {
                (name, tuple((k, v) for k, v in labels if k not in own)): value
                for (name, labels), value in scrape(watch.status().telemetry.endpoint).items()
                if name.startswith(FAMILIES)
            }

        # The orders are those that were last published.
        until(lambda: found() == wanted)
        state["compared"] += len(wanted) > 100

    runs.watched(kind, application.tracers, None, settled)
    assert state["compared"] == 3
    twin.shutdown()
