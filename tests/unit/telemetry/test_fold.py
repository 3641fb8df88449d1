"""Folded metrics equal those of `record()` on the same calls, whatever the provider is set up like.

Stands on nothing but the SDK, so that it runs in environments with other versions of it.
"""

import os
import random
import threading
from decimal import Decimal

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, AlwaysOnExemplarFilter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    InMemoryMetricReader,
    MetricExporter,
    MetricExportResult,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.metrics.view import (
    DropAggregation,
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    LastValueAggregation,
    SumAggregation,
    View,
)
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from tradewatch.model import Attempt, Call, OrderKey, OrderReport, OrderRequest
from tradewatch.semconv.metrics import DURATION_BOUNDS_S
from tradewatch.telemetry.cell import BOUNDS_NS, Cells
from tradewatch.telemetry.fold import Fold
from tradewatch.telemetry.gauges import Gauges
from tradewatch.telemetry.tally import Tally

CALL, REQUEST = "trading.exchange.call.duration", "trading.exchange.request.duration"
THROTTLE, ORDER = "trading.exchange.throttle.duration", "trading.order.duration"
NAMES = (CALL, REQUEST, THROTTLE, ORDER)
SPANLESS = set()
DELTA = {Histogram: AggregationTemporality.DELTA}
EXPONENTIAL = {Histogram: ExponentialBucketHistogramAggregation()}


class Kept(MetricExporter):
    """What a periodic reader exported last."""

    def __init__(self, temporality):
        super().__init__(preferred_temporality=temporality)
        self.data = None

    def export(self, metrics_data, timeout_millis=10_000, **kwargs):
        self.data = metrics_data
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis=10_000):
        return True

    def shutdown(self, timeout_millis=30_000, **kwargs):
        pass


class Periodic(PeriodicExportingMetricReader):
    def __init__(self, temporality=None):
        self.kept = Kept(temporality)
        super().__init__(self.kept, export_interval_millis=3_600_000)

    def get_metrics_data(self):
        self.kept.data = None
        self.collect()
        return self.kept.data


def view(instrument=CALL, /, **settings):
    return View(instrument_name=instrument, **settings)


READERS = {
    "cumulative": lambda: [InMemoryMetricReader()],
    "delta": lambda: [InMemoryMetricReader(DELTA)],
    "exponential": lambda: [InMemoryMetricReader(preferred_aggregation=EXPONENTIAL)],
    "exponential delta": lambda: [InMemoryMetricReader(DELTA, EXPONENTIAL)],
    "periodic": lambda: [Periodic()],
    "periodic delta and cumulative": lambda: [Periodic(DELTA), InMemoryMetricReader()],
    "three": lambda: [InMemoryMetricReader(), InMemoryMetricReader(DELTA), InMemoryMetricReader(DELTA, EXPONENTIAL)],
}
VIEWS = {
    "none": list,
    "fewer attributes": lambda: [view(n, attribute_keys={"trading.exchange", "trading.symbol"}) for n in NAMES],
    "no attributes": lambda: [view("*", attribute_keys=set())],
    "renamed, other buckets": lambda: [
        view(name="calls", aggregation=ExplicitBucketHistogramAggregation((0.001, 0.1, 1.0))),
        view(REQUEST, name="requests", aggregation=ExplicitBucketHistogramAggregation((0.5,))),
    ],
    "dropped": lambda: [view(aggregation=DropAggregation()), view(ORDER, aggregation=DropAggregation())],
    "twice": lambda: [view(), view(name="by.venue", attribute_keys={"trading.exchange"})],
    "our buckets, no extremes": lambda: [
        view(aggregation=ExplicitBucketHistogramAggregation(DURATION_BOUNDS_S, record_min_max=False))
    ],
    "exponential": lambda: [view("trading.*", aggregation=ExponentialBucketHistogramAggregation(max_size=40))],
    "sum and last": lambda: [view(aggregation=SumAggregation()), view(REQUEST, aggregation=LastValueAggregation())],
}


def limited():
    """A limit of streams, where the SDK has one."""
    try:
        return [view("*", aggregation_cardinality_limit=3)]
    except TypeError:
        pytest.skip("this SDK has no cardinality limits")


VIEWS["limited"] = limited


def context(kind, n):
    """A context with no span, a sampled one or one that is not."""
    if kind == "none":
        return Context()
    flags = TraceFlags(TraceFlags.SAMPLED if kind == "sampled" else TraceFlags.DEFAULT)
    return set_span_in_context(NonRecordingSpan(SpanContext(n, n, is_remote=False, trace_flags=flags)), Context())


class Calls:
    """A seeded stream of calls of every shape, each of which can be made in a watch's cells, or recorded."""

    def __init__(self, seed, cells):
        self.random = random.Random(seed)
        self.cells = cells
        self.n = 0

    def duration_ns(self):
        kind = self.random.random()
        if kind < 0.1:
            return self.random.choice(BOUNDS_NS) + self.random.choice((0, 1))
        if kind < 0.15:
            return self.random.randrange(30_000_000_000, 90_000_000_000)
        return int(self.random.lognormvariate(17, 2)) + 1

    def next(self):
        chance, self.n = self.random, self.n + 1
        operation = chance.choice(("fetch_ticker", "fetch_order_book", "create_order", "cancel_order"))
        error = chance.choice((None, None, None, "timeout", "nonce"))
        cell = self.cells.cell(chance.choice(("binance", "kraken")), operation, error)
        start, took = self.n * 10**9, self.duration_ns()
        attempts = tuple(
            Attempt(
                start, start + self.duration_ns(), method, "host", "/p", status, None if status == 200 else "rejected"
            )
            for method, status in [chance.choice((("GET", 200), ("POST", 200), ("POST", 429), ("GET", None)))]
            * chance.choice((0, 1, 1, 2))
        )
        requests, outcomes = (), ()
        if operation == "create_order":
            key = OrderKey(cell.exchange, "main", chance.choice(("BTC/USDT", "ETH/USDT")), None, None)
            requests = (OrderRequest(key, operation, "buy", chance.choice(("limit", None)), Decimal(1), None),)
            if chance.random() < 0.7:
                status = chance.choice(("filled", "open"))
                outcomes = (OrderReport(key, "buy", "market", status, None, None, None, None, None, None, 1),)
        throttle = self.duration_ns() if chance.random() < 0.3 else 0
        kind = chance.choice(("none", "sampled", "sampled", "unsampled"))
        spans = [took, throttle, *(a.end_mono_ns - a.start_mono_ns for a in attempts)]
        SPANLESS.update(ns / 1e9 for ns in spans if kind == "none")
        parent = context(kind, self.n)
        return Call(
            cell, start, start + took, throttle, attempts, error, None, parent, requests=requests, outcomes=outcomes
        )


class Recorded:
    """Naive OpenTelemetry: one `record()` for each duration."""

    def __init__(self, provider, extra):
        meter = provider.get_meter("tradewatch")
        self.histograms = {
            name: meter.create_histogram(name, "s", explicit_bucket_boundaries_advisory=list(DURATION_BOUNDS_S))
            for name in NAMES
        }
        self.extra = extra

    def make(self, call):
        both = {"trading.exchange": call.cell.exchange, "trading.operation": call.cell.operation}
        took = (call.end_mono_ns - call.start_mono_ns) / 1e9
        self.record(CALL, took, {**both, "error.type": call.error}, call)
        if call.throttle_ns:
            self.record(THROTTLE, call.throttle_ns / 1e9, both, call)
        for attempt in call.attempts:
            told = {"http.request.method": attempt.method, "http.response.status_code": attempt.status}
            seconds = (attempt.end_mono_ns - attempt.start_mono_ns) / 1e9
            self.record(REQUEST, seconds, {**both, **told, "error.type": attempt.error}, call)
        for i, request in enumerate(call.requests):
            outcome = call.outcomes[i] if call.outcomes else None
            attributes = {
                "trading.exchange": request.key.venue,
                "trading.symbol": request.key.symbol,
                "trading.order.side": request.side,
                "trading.order.type": request.type or (outcome and outcome.type),
                "trading.order.status": outcome.status if outcome else "pending",
            }
            self.record(ORDER, took, attributes, call)

    def record(self, name, seconds, attributes, call):
        given = {k: v for k, v in attributes.items() if v is not None}
        self.histograms[name].record(seconds, {**self.extra, **given}, call.parent)


class Folded:
    """A watch's metrics on a provider: cells, tally, fold, and the callback before each collection."""

    def __init__(self, provider, extra, why=None):
        self.cells = Cells()
        self.tally = Tally(self.cells)
        self.gauges = Gauges()
        self.fold = Fold(provider.get_meter("tradewatch"), self.cells, self.tally.timed, extra, why)
        self.gauges.add(provider, "tradewatch", tuple, extra, self.fold.collecting)

    def make(self, call):
        call.cell.count(call.end_mono_ns - call.start_mono_ns)
        self.tally.book(call)
        self.fold.saw(call, call.parent)


def plain(data):
    """Every point of our histograms but for times: name and attributes → what it says."""
    found = {}
    for resource in data.resource_metrics if data is not None else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    key = (metric.name, tuple(sorted(point.attributes.items())))
                    assert key not in found
                    found[key] = (type(metric.data).__name__, *told(point))
    return found


class Near(float):
    """A sum, but for the order of its additions."""

    def __eq__(self, other):
        return abs(float(self) - float(other)) <= 1e-12 * max(1.0, abs(float(other)))

    __hash__ = None


def side(buckets):
    """How many empty buckets an exponential side has grown at its end depends on the order of its values."""
    counts = list(buckets.bucket_counts)
    while counts and not counts[-1]:
        counts.pop()
    return buckets.offset, counts


def ids(exemplar):
    """Of the span. Where the SDK replaces an exemplar by one without a span, it leaves the ids of the other."""
    without_a_span = exemplar.value in SPANLESS
    return () if without_a_span else (exemplar.trace_id, exemplar.span_id)


def told(point):
    exemplars = sorted((e.value, *ids(e), sorted(e.filtered_attributes.items())) for e in point.exemplars)
    if not hasattr(point, "bucket_counts"):
        # A reservoir of fixed size keeps a random choice (up to SDK 1.44 even its last place is left to chance).
        exemplars = min(len(exemplars), 19)
    if hasattr(point, "value"):
        return Near(point.value), exemplars
    extremes = (point.count, Near(point.sum), point.min, point.max, exemplars)
    if hasattr(point, "scale"):
        return *extremes, point.scale, point.zero_count, side(point.positive), side(point.negative)
    return *extremes, point.bucket_counts, point.explicit_bounds


@pytest.fixture
def providers():
    """Makes providers of one set-up, twice: for folding and for recording."""
    made = []

    def make(readers, views, exemplars=None):
        pair = []
        for _ in range(2):
            its = READERS[readers]()
            made.append(MeterProvider(its, exemplar_filter=exemplars, views=VIEWS[views](), shutdown_on_exit=False))
            pair.append((made[-1], its))
        return pair

    yield make
    for one in made:
        one.shutdown()


EXTRAS = {"ours": {}, "the application's": {"trading.bot": "grid"}}


@pytest.mark.parametrize("owner", EXTRAS)
@pytest.mark.parametrize("views", VIEWS)
@pytest.mark.parametrize("readers", READERS)
def test_folded_points_equal_recorded_ones(providers, readers, views, owner):
    (one, folded_readers), (other, recorded_readers) = providers(readers, views)
    folded, recorded = Folded(one, EXTRAS[owner]), Recorded(other, EXTRAS[owner])
    calls = Calls(f"{readers} {views}", folded.cells)
    later = None
    for turn in range(6):
        for _ in range(calls.random.choice((0, 1, 7, 60)) if turn else 25):
            call = calls.next()
            folded.make(call)
            recorded.make(call)
            if calls.random.random() < 0.1:
                folded.fold.tick()
        if turn == 2:
            # A reader that comes later sees what comes after it.
            folded.fold.tick()
            later = (InMemoryMetricReader(), InMemoryMetricReader())
            one.add_metric_reader(later[0])
            other.add_metric_reader(later[1])
            folded_readers, recorded_readers = [*folded_readers, later[0]], [*recorded_readers, later[1]]
        for mine, naive in zip(folded_readers, recorded_readers, strict=True):
            # Not every reader collects each time.
            if calls.random.random() < 0.7 or turn == 5:
                assert plain(mine.get_metrics_data()) == plain(naive.get_metrics_data())
    assert calls.n > 20
    assert folded.fold.why is None


class SlowOnes(AlwaysOffExemplarFilter):
    """A filter of the application's own: what took long."""

    def should_sample(self, value, time_unix_nano, attributes, context):
        return value > 0.05 and attributes["trading.exchange"] == "binance"


@pytest.mark.parametrize("exemplars", [AlwaysOnExemplarFilter, AlwaysOffExemplarFilter, SlowOnes])
def test_the_providers_filter_of_exemplars_is_asked(providers, exemplars):
    (one, mine), (other, naive) = providers("three", "twice", exemplars())
    folded, recorded = Folded(one, {}), Recorded(other, {})
    calls = Calls(7, folded.cells)
    for _ in range(3):
        for _ in range(40):
            call = calls.next()
            folded.make(call)
            recorded.make(call)
        for a, b in zip(mine, naive, strict=True):
            assert plain(a.get_metrics_data()) == plain(b.get_metrics_data())


def test_where_folding_cannot_be_every_duration_is_recorded(providers):
    (one, mine), (other, naive) = providers("three", "renamed, other buckets")
    folded, recorded = Folded(one, {}, "as a test"), Recorded(other, {})
    calls = Calls(3, folded.cells)
    for _ in range(50):
        call = calls.next()
        folded.make(call)
        recorded.make(call)
    for a, b in zip(mine, naive, strict=True):
        assert plain(a.get_metrics_data()) == plain(b.get_metrics_data())
    assert folded.fold.notes == ("metrics are recorded one by one, at a higher cost: as a test",)
    assert all(cell.waiting == [] for cell in folded.cells.every())


def test_a_call_that_is_counted_but_not_seen_yet_is_in_the_next_collection():
    """Its count and sum are exact at once; smallest and largest are within its buckets until the call is seen."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    folded = Folded(provider, {})
    cell = folded.cells.cell("binance", "fetch_ticker", None)
    durations = [3_000_000, 40_000_000, 41_000_000]
    for duration in durations:
        cell.count(duration)
    [point] = points(reader)
    assert (point.count, round(point.sum, 9)) == (3, 0.084)
    assert 0.0025 < point.min <= 0.05
    assert 0.0025 < point.max <= 0.05
    for duration in durations:
        folded.cells.note(cell, duration)
    [point] = points(reader)
    assert (point.count, round(point.sum, 9), point.min, point.max) == (3, 0.084, 0.003, 0.041)
    provider.shutdown()


def points(reader):
    data = reader.get_metrics_data()
    return [
        point
        for resource in (data.resource_metrics if data is not None else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    ]


def test_eight_threads_are_folded_exactly_while_three_readers_collect():
    readers = [InMemoryMetricReader(), InMemoryMetricReader(DELTA), InMemoryMetricReader(DELTA, EXPONENTIAL)]
    provider = MeterProvider(readers, shutdown_on_exit=False)
    folded = Folded(provider, {})
    added, over = [0, 0], threading.Event()

    def work(seed):
        chance = random.Random(seed)
        for _ in range(20_000):
            folded.cells.cell("binance", f"operation-{chance.randrange(4)}", None).count(chance.randrange(1, 10**9))

    def collect():
        while not over.is_set():
            add()
            folded.fold.tick()

    def add():
        readers[0].get_metrics_data()
        for point in points(readers[1]):
            added[0] += point.count
            added[1] += point.sum
            assert all(n >= 0 for n in point.bucket_counts)

    workers = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    collector = threading.Thread(target=collect)
    for thread in (collector, *workers):
        thread.start()
    for thread in workers:
        thread.join()
    over.set()
    collector.join()
    add()
    cells = folded.cells.every()
    assert sum(cell.total for cell in cells) == 160_000 == added[0]
    assert abs(added[1] - sum(cell.sum_ns[0] for cell in cells) / 1e9) < 1e-3
    cumulative = {point.attributes["trading.operation"]: point for point in points(readers[0])}
    for cell in cells:
        assert list(cumulative[cell.operation].bucket_counts) == cell.counts
    provider.shutdown()


def test_series_go_once_their_last_values_were_collected_by_each_reader(providers):
    (one, [cumulative, delta, exponential]), _ = providers("three", "none")
    folded = Folded(one, {})
    calls = Calls(1, folded.cells)
    for _ in range(30):
        folded.make(calls.next())
    assert points(cumulative)
    folded.make(calls.next())
    folded.fold.close()
    assert points(cumulative)
    assert points(cumulative) == []
    assert points(delta)
    assert points(delta) == []
    assert points(exponential)
    assert points(exponential) == []
    assert folded.fold.collecting() is False


def test_series_that_another_watch_writes_to_stay(providers):
    (one, [reader]), _ = providers("cumulative", "none")
    first, second = Folded(one, {}), Folded(one, {})
    for folded in (first, second):
        calls = Calls(5, folded.cells)
        folded.make(calls.next())
        folded.fold.tick()
    first.fold.close()
    points(reader)
    assert {p.count for p in points(reader)} >= {2}


def test_a_forked_child_tells_nothing_of_its_parents_series():
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    folded = Folded(provider, {})
    calls = Calls(2, folded.cells)
    for _ in range(30):
        folded.make(calls.next())
    assert points(reader)
    folded.make(calls.next())
    with folded.fold._lock:  # as it may be at a fork
        child = os.fork()
        if not child:
            folded.fold.fork()
            os._exit(len(points(reader)))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert points(reader)
    provider.shutdown()


def test_a_stream_that_a_view_merges_stays_when_one_of_its_watches_goes(providers):
    (one, [reader]), _ = providers("cumulative", "no attributes")
    first, second = Folded(one, {"trading.bot": "a"}), Folded(one, {"trading.bot": "b"})
    for folded in (second, first):
        cell = folded.cells.cell("binance", "fetch_ticker", None)
        folded.make(Call(cell, 0, 5_000_000, 0, (), None, None, Context()))
        folded.fold.tick()
    first.fold.close()
    assert [p.count for p in points(reader)] == [2]
    assert [p.count for p in points(reader)] == [2]


def test_series_of_a_venue_go_when_no_client_is_left_and_come_back_with_it(providers):
    (one, [reader]), _ = providers("cumulative", "none")
    folded = Folded(one, {})

    def call(exchange):
        cell = folded.cells.cell(exchange, "fetch_ticker", None)
        folded.make(Call(cell, 0, 5_000_000, 0, (), None, None, Context()))

    def counts():
        return {p.attributes["trading.exchange"]: p.count for p in points(reader)}

    for exchange in ("binance", "kraken", "kraken"):
        call(exchange)
    folded.fold.retire("kraken")
    assert counts() == {"binance": 1, "kraken": 2}
    folded.fold.retire("kraken")
    assert counts() == {"binance": 1}
    call("kraken")
    assert counts() == {"binance": 1, "kraken": 1}
    assert counts() == {"binance": 1, "kraken": 1}
