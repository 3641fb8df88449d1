"""Points on their way out: what is written a few at a time is what upstream writes of all at once, less its secrets."""

import pytest
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from tradewatch.telemetry import points
from tradewatch.telemetry.collector import finish
from tradewatch.telemetry.points import Point, grouped, write_by


@pytest.fixture
def recorded():
    """Makes metrics of all kinds in two scopes, each with so many points, and collects them."""
    reader = InMemoryMetricReader()
    views = [View(instrument_name="exponential*", aggregation=ExponentialBucketHistogramAggregation())]
    provider = MeterProvider([reader], Resource({"service.name": "bot"}), shutdown_on_exit=False, views=views)
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("t")

    def make(series, **attributes):
        for scope in ("a", "b"):
            meter = provider.get_meter(scope, "1", "https://schema.example")
            made = [meter.create_histogram(name, "s", "d") for name in ("plain", "exponential")]
            count, level = meter.create_counter("count"), meter.create_up_down_counter("level")
            gauge = meter.create_gauge("gauge")
            with tracer.start_as_current_span("exemplar"):
                for n in range(series):
                    given = {"n": n, "list": ["a", "b"], "real": 0.5, "truth": True, **attributes}
                    for each in made:
                        each.record(n / 3, given)
                    count.add(1, given)
                    level.add(-n, given)
                    gauge.set(n, given)
        return reader.get_metrics_data()

    yield make
    provider.shutdown()


def apart(data):
    return [
        Point(resource, scope, metric, point)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    ]


@pytest.mark.parametrize("series", [1, 2, 7, 40])
@pytest.mark.parametrize("at_once", [1, 3, 5, 1_000])
def test_a_request_equals_that_of_upstream(recorded, monkeypatch, series, at_once):
    monkeypatch.setattr(points, "_AT_ONCE", at_once)
    data = recorded(series)
    request, impossible = finish(write_by(encode_metrics)(apart(data)))
    theirs = encode_metrics(data)
    assert len(apart(data)) == series * 10
    assert type(theirs).FromString(request) == theirs
    assert impossible == 0


def test_two_collections_one_after_the_other_stay_two(recorded):
    """A batch may hold what was read before the collector went away and what was read at the end."""
    first, second = recorded(3), recorded(3)
    request, _ = finish(write_by(encode_metrics)(apart(first) + apart(second)))
    theirs = encode_metrics(first)
    theirs.MergeFrom(encode_metrics(second))
    assert type(theirs).FromString(request) == theirs


def test_no_secret_leaves_in_an_attribute_an_exemplar_or_a_resource(recorded):
    signed = "https://api.binance.com/x?signature=c8db56825ae71d6d"
    data = recorded(2, url=signed, token="vmPUZE6mv9SD5VNHk4")
    theirs = encode_metrics(data)
    request, _ = finish(write_by(encode_metrics)(apart(data)))
    assert b"c8db56825ae71d6d" in theirs.SerializeToString()
    for secret in (b"c8db56825ae71d6d", b"vmPUZE6mv9SD5VNHk4"):
        assert secret not in request
    assert request.count(b"signature=***") >= 20


def test_what_upstream_cannot_write_is_counted_and_the_rest_is_written(recorded):
    data = recorded(4)

    def encode(some):
        for point in apart(some):
            if point.data.attributes["n"] == 2:
                raise ValueError("an object of the bot's")
        return encode_metrics(some)

    request, impossible = finish(write_by(encode)(apart(data)))
    assert impossible == 10
    written = type(encode_metrics(data)).FromString(request)
    counted = [m for r in written.resource_metrics for s in r.scope_metrics for m in s.metrics if m.name == "count"]
    assert [len(metric.sum.data_points) for metric in counted] == [3, 3]


def test_points_are_grouped_as_they_were(recorded):
    data = recorded(3)
    assert grouped(apart(data)).to_json() == data.to_json()
