"""An application whose own telemetry raises or blocks: the bot's calls, the rules and a halt go on without it."""

import threading

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

import tradewatch

SYMBOL = "BTC/USDT"


class Blocking:
    """Lets nobody go on until the test is over."""

    def __init__(self):
        self.reached, self.over = threading.Event(), threading.Event()

    def __call__(self, *args, **kwargs):
        self.reached.set()
        self.over.wait(30)


class Raising:
    def __init__(self):
        self.reached = threading.Event()

    def __call__(self, *args, **kwargs):
        self.reached.set()
        raise RuntimeError("the application's own")


@pytest.fixture(params=[Blocking, Raising])
def broken(request):
    made = request.param()
    made.providers = []
    yield made
    if isinstance(made, Blocking):
        made.over.set()
    for provider in made.providers:
        provider.shutdown()


class Spans(SpanExporter):
    def __init__(self, broken):
        self.broken = broken

    def export(self, spans):
        return self.broken()


class Metrics(MetricExporter):
    def __init__(self, broken):
        super().__init__()
        self.broken = broken

    def export(self, metrics_data, timeout_millis=10_000, **kwargs):
        return self.broken()

    def force_flush(self, timeout_millis=10_000):
        return True

    def shutdown(self, timeout_millis=30_000, **kwargs):
        pass


def halted(watch, api, client):
    with pytest.raises(tradewatch.OrderRefused):
        api.do(client.create_order(SYMBOL, "market", "buy", 0.001))
    return watch.status().breaker.state == "HALTED"


def test_an_exporter_of_spans(api, venue, make_bot, watch_over, broken, lenient):
    tracers = TracerProvider(shutdown_on_exit=False)
    broken.providers.append(tracers)
    tracers.add_span_processor(SimpleSpanProcessor(Spans(broken)))
    place = venue()
    client = api.client(place)
    watch = watch_over(make_bot(client), clock=place.clock, tracer_provider=tracers)
    for _ in range(20):
        assert api.do(client.fetch_ticker(SYMBOL))["symbol"] == SYMBOL
    assert broken.reached.wait(5)
    watch.halt("the collector is on fire")
    assert halted(watch, api, client)
    assert watch.status().breaker.confirmed


def test_an_exporter_of_metrics(api, venue, make_bot, watch_over, broken, lenient, until):
    reader = PeriodicExportingMetricReader(Metrics(broken), export_interval_millis=50)
    sound = InMemoryMetricReader()
    meters = MeterProvider([reader, sound], shutdown_on_exit=False)
    broken.providers.append(meters)
    place = venue()
    client = api.client(place)
    watch = watch_over(make_bot(client), clock=place.clock, meter_provider=meters)
    assert broken.reached.wait(5)
    for _ in range(20):
        assert api.do(client.fetch_ticker(SYMBOL))["symbol"] == SYMBOL

    def counted():
        data = sound.get_metrics_data()
        return {
            metric.name: sum(point.count for point in metric.data.data_points)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == "trading.exchange.call.duration"
        }

    until(lambda: counted() == {"trading.exchange.call.duration": 20})
    watch.halt("the collector is on fire")
    assert halted(watch, api, client)
