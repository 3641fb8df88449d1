"""Folding beside recording: fixture `providers`, calls of every shape, and both ways of counting them.

Stands on nothing but the SDK, so that it runs in environments with other versions of it.
"""

import random
from decimal import Decimal

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import Histogram, MeterProvider
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
from tradewatch.runtime.clock import epoch_offset_ns
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
        self.fold.saw(call, call.parent, epoch_offset_ns())


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


def points(reader):
    data = reader.get_metrics_data()
    return [
        point
        for resource in (data.resource_metrics if data is not None else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    ]
