"""Metrics equal what naive OpenTelemetry records on the same calls, for every reader, view and filter of exemplars.

Twice: a second run that is instrumented by hand has as many values in each series; and what is recorded by hand of each
span of the first run, into a provider of the same set-up, gives the same points to the last bucket and exemplar.
"""

import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import (
    AlwaysOffExemplarFilter,
    AlwaysOnExemplarFilter,
    Counter,
    Histogram,
    MeterProvider,
    ObservableCounter,
    TraceBasedExemplarFilter,
)
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    InMemoryMetricReader,
)
from opentelemetry.sdk.metrics.view import (
    DropAggregation,
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    SumAggregation,
    View,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from prometheus_client import CollectorRegistry

from folding import Periodic
from parity import points, runs, traces
from parity.naive import CALL, HISTOGRAMS, ORDER, ORDERS, REQUEST, Metrics

BOT = {"trading.bot": "bot"}
IS_DELTA = dict.fromkeys((Histogram, Counter, ObservableCounter), AggregationTemporality.DELTA)
EXPONENTIAL = {Histogram: ExponentialBucketHistogramAggregation()}


class Scraped(PrometheusMetricReader):
    """Prometheus's own reader; what a scrape of it says."""

    def __init__(self):
        self.scraped = CollectorRegistry()
        super().__init__(registry=self.scraped)

    def samples(self):
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): points.Near(sample.value)
            for family in self.scraped.collect()
            if family.name.startswith("trading_")
            for sample in family.samples
        }


READERS = {
    "cumulative": InMemoryMetricReader,
    "delta": lambda: InMemoryMetricReader(IS_DELTA),
    "exponential": lambda: InMemoryMetricReader(preferred_aggregation=EXPONENTIAL),
    "exponential delta": lambda: InMemoryMetricReader(IS_DELTA, EXPONENTIAL),
    "periodic": Periodic,
    "periodic delta": lambda: Periodic(IS_DELTA),
}


def view(name="trading.*", /, **settings):
    return View(instrument_name=name, **settings)


VIEWS = {
    "none": lambda: (),
    "renamed": lambda: (view(CALL, name="calls"), view(ORDER, name="orders.taken")),
    "other buckets": lambda: (
        view(CALL, aggregation=ExplicitBucketHistogramAggregation((0.001, 0.01, 0.2))),
        view(REQUEST, aggregation=ExplicitBucketHistogramAggregation((0.005,), record_min_max=False)),
    ),
    "fewer attributes": lambda: (view("trading.*.duration", attribute_keys={"trading.exchange", "trading.bot"}),),
    "dropped": lambda: (view(REQUEST, aggregation=DropAggregation()), view(ORDERS, aggregation=DropAggregation())),
    "several of one": lambda: (
        view(CALL),
        view(CALL, name="by.venue", attribute_keys={"trading.exchange"}),
        view(CALL, name="total", aggregation=SumAggregation(), attribute_keys=set()),
        view(CALL, name="fine", aggregation=ExponentialBucketHistogramAggregation(max_size=40)),
    ),
}
# Views that put reads, orders and errors into one series.
MERGING = ("fewer attributes", "several of one")
NAMES = (*HISTOGRAMS, ORDERS, "calls", "orders.taken", "by.venue", "total", "fine")


DURATIONS = tuple(name.replace(".", "_") for name in HISTOGRAMS)
LATER = tuple(name for name in NAMES if name != ORDERS)


@pytest.fixture
def meters():
    """Makes meter providers, all with one set of readers or with one by each view, and shuts them down."""
    made = []

    def make(readers, **settings):
        made.append(MeterProvider(readers, shutdown_on_exit=False, **settings))
        return made[-1]

    yield make
    for each in made:
        each.shutdown()


class Spans:
    """A tracer provider that keeps its spans, by which a twin records."""

    def __init__(self, sampler=ALWAYS_ON):
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.recorded = set()

    def seen(self):
        return [traces.seen(span) for span in self.exporter.get_finished_spans()]

    def calls(self):
        return sum(span.is_call for span in self.seen())

    def record(self, metrics):
        """By hand, of what has come since the last time."""
        self.recorded = points.replayed(self.seen(), metrics, self.recorded)


def seen_by(watch, spans, calls, *, exemplars=True):
    """Whether all of so many calls have reached the metrics, the last exemplar included."""
    return spans.calls() == calls and (
        not exemplars or watch._outputs.fold._candidates == points.durations(spans.seen())
    )


@pytest.mark.parametrize("views", VIEWS)
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_points_of_every_reader_are_those_recorded_by_hand(meters, until, kind, views):
    """All readers on one provider; collected in the middle, after the last call, and when nothing is watched."""
    spans = Spans()
    mine = {name: make() for name, make in READERS.items()}
    theirs = {name: make() for name, make in READERS.items()}
    one, other = (meters([*each.values()], views=VIEWS[views]()) for each in (mine, theirs))
    by_hand = Metrics(other, BOT)
    collected, last, names = 0, {}, dict.fromkeys(READERS, NAMES) | {"later": LATER}

    def settled(watch, calls):
        nonlocal collected
        if watch is None:
            return
        until(lambda: seen_by(watch, spans, calls))
        spans.record(by_hand)
        for name, reader in mine.items():
            got, wanted = reader.get_metrics_data(), theirs[name].get_metrics_data()
            # One that comes later sees what comes later; but counters are observed, and tell of all.
            expected, before = points.plain(wanted, names[name], merged=views in MERGING), last.get(name, (None, None))
            shown = points.plain(got, names[name], merged=views in MERGING)
            assert points.as_documented(shown, expected) == expected, name
            assert points.in_order(before[0], got) == points.in_order(before[1], wanted) == [], name
            last[name] = got, wanted
        if not collected:
            for provider, readers in ((one, mine), (other, theirs)):
                readers["later"] = InMemoryMetricReader()
                provider.add_metric_reader(readers["later"])
        collected += 1

    runs.watched(kind, spans.provider, one, settled)
    assert collected == 3
    assert len(points.points(last["cumulative"][0], NAMES)) > 3
    # The histograms of a bot that is let go are told once more at most, but for those that a view merges.
    mine["cumulative"].get_metrics_data()
    told = points.points(mine["cumulative"].get_metrics_data(), LATER)
    assert told == {} or views in MERGING


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_bot_that_is_instrumented_by_hand_counts_the_same(meters, until, kind):
    found = []
    for run in (runs.watched, runs.by_hand):
        spans, reader = Spans(), InMemoryMetricReader()
        provider = meters([reader])
        if run is runs.watched:

            def settled(watch, calls, spans=spans, reader=reader):
                if watch is not None:
                    until(lambda: seen_by(watch, spans, calls))
                    found[:] = [points.counts(reader.get_metrics_data())]

            bot = run(kind, spans.provider, provider, settled)
        else:
            bot = run(kind, spans.provider, provider, BOT)
            found.append(points.counts(reader.get_metrics_data()))
    assert found[0] == found[1]
    assert sum(n for (name, _), n in found[0].items() if name == CALL) == bot.calls


ON_BY_DEFAULT = (TraceBasedExemplarFilter, ALWAYS_ON)


class Slow(AlwaysOffExemplarFilter):
    """A filter of the application's own: what took long, on one venue."""

    def should_sample(self, value, time_unix_nano, attributes, context):
        return value > 0.004 and attributes.get("trading.exchange") == "binance"


@pytest.mark.parametrize("sampler", [ALWAYS_ON, ALWAYS_OFF])
@pytest.mark.parametrize("chosen", [TraceBasedExemplarFilter, AlwaysOnExemplarFilter, AlwaysOffExemplarFilter, Slow])
def test_exemplars_are_those_that_the_providers_filter_takes(meters, until, chosen, sampler):
    """Each leads to the span of its call, at a time within it; one that is not sampled is an exemplar by filter."""
    spans, mute = Spans(sampler), Spans()
    reader, twin = InMemoryMetricReader(), InMemoryMetricReader()
    one, other = meters([reader], exemplar_filter=chosen()), meters([twin], exemplar_filter=chosen())

    def settled(watch, calls):
        if watch is not None:
            # Without a sampled span the number of calls is all that is known of them.
            until(
                lambda: sum(o.calls for o in watch.status().operations) == calls and not watch._outputs.emitter._waiting
            )
            until(lambda: spans.calls() == (calls if sampler is ALWAYS_ON else 0))
            if sampler is ALWAYS_ON and chosen in (TraceBasedExemplarFilter, AlwaysOnExemplarFilter):
                until(lambda: seen_by(watch, spans, calls))

    bot = runs.watched("sync", spans.provider, one, settled, tracer=mute.provider.get_tracer("bot"))
    # All was drained when the watch ended: now is the last time that its series are told.
    mine = points.points(reader.get_metrics_data(), HISTOGRAMS)
    exemplars = [each for _, point in mine.values() for each in point.exemplars]
    assert bool(exemplars) is (chosen in (AlwaysOnExemplarFilter, Slow) or (chosen, sampler) == ON_BY_DEFAULT)
    spans.record(Metrics(other, BOT))
    if sampler is ALWAYS_ON:
        found, wanted = (
            {key: points.exemplars(point, merged=False) for key, (_, point) in each.items()}
            for each in (mine, points.points(twin.get_metrics_data(), HISTOGRAMS))
        )
        assert found == wanted
        calls = {span.id: span for span in spans.seen() if span.is_call}
        assert all(calls[each.span_id].trace == each.trace_id for each in exemplars)
    told = [sum(a <= each.time_unix_nano <= b for _, a, b, _ in bot.steps) for each in exemplars]
    assert told == [1] * len(exemplars)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_prometheus_own_reader_scrapes_the_same(meters, until, kind):
    spans, reader, twin = Spans(), Scraped(), Scraped()
    one, other = meters([reader]), meters([twin])
    by_hand, compared = Metrics(other, BOT), []

    def settled(watch, calls):
        if watch is not None:
            until(lambda: seen_by(watch, spans, calls))
            spans.record(by_hand)
            wanted = twin.samples()
            # Families of ours that have no counterpart are about tradewatch itself, and about money.
            mine = {k: v for k, v in reader.samples().items() if k[0].startswith(("trading_orders", *DURATIONS))}
            assert mine == wanted
            compared.append(len(mine))

    runs.watched(kind, spans.provider, one, settled)
    assert len(compared) == 3
    assert compared[0] > 100
