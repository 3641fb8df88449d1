"""Parts of telemetry that stand still: what has no more room is counted, a halt holds, and an end comes."""

import threading

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

import tradewatch

SYMBOL = "BTC/USDT"


@pytest.fixture
def over():
    """Set after the test, and by one that wants things to go on."""
    event = threading.Event()
    yield event
    event.set()


def test_calls_that_the_service_thread_does_not_take_are_counted(
    api, venue, make_bot, watch_over, application, monkeypatch, until, over
):
    """An exporter of the application's blocks it: 50 calls wait at most, 300 come."""
    reached = threading.Event()

    class Blocking(SpanExporter):
        def export(self, spans):
            reached.set()
            over.wait(60)

    monkeypatch.setattr("tradewatch.telemetry.emit._MOST_WAITING", 50)
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(Blocking()))
    place = venue()
    client = api.client(place)
    api.do(client.load_markets())
    watch = watch_over(make_bot(client), clock=place.clock, tracer_provider=tracers, meter_provider=application.meters)
    api.do(client.fetch_ticker(SYMBOL))
    assert reached.wait(10)
    for _ in range(300):
        api.do(client.fetch_ticker(SYMBOL))
    until(lambda: watch.status().telemetry.records_dropped >= 240)
    assert {o.operation: o.calls for o in watch.status().operations}["fetch_ticker"] == 301

    def told():
        api.do(client.create_order(SYMBOL, "market", "buy", 1))  # which has readings published
        points = application.points().get("tradewatch.telemetry.dropped", {})
        return {dict(key)["signal"]: point.value for key, point in points.items()}

    until(lambda: 240 <= told().get("calls", 0) <= watch.status().telemetry.records_dropped)
    watch.halt("it stands still")
    with pytest.raises(tradewatch.OrderRefused):
        api.do(client.create_order(SYMBOL, "market", "buy", 1))
    until(lambda: watch.status().breaker.confirmed)


def test_an_exporter_that_does_not_return_costs_no_fill_and_is_said(
    blocking, venue, make_bot, watch_over, monkeypatch, caplog, until, over, tmp_path
):
    """The application's, on the thread that writes fills to the disk: they are there after an orderly end."""
    reached = threading.Event()

    class Blocking(SpanExporter):
        def export(self, spans):
            reached.set()
            over.wait(60)

    monkeypatch.setattr("tradewatch.own._EVERY_NS", 0)
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(Blocking()))
    place = venue()
    bot = make_bot(blocking.client(place))
    watch = watch_over(bot, clock=place.clock, tracer_provider=tracers, state_dir=tmp_path / "state")

    def says_so():
        bot.exchange.create_order(SYMBOL, "market", "buy", 0.1)  # which has the safety thread look
        return any(message.startswith("the service thread stands still") for message in caplog.messages)

    until(says_so)
    assert reached.is_set()
    tradewatch.shutdown()
    [booked] = watch.status().portfolio.positions
    assert watch.status().telemetry.records_dropped > 0
    again = watch_over(bot, clock=place.clock, state_dir=tmp_path / "state")
    until(lambda: [p.amount for p in again.status().portfolio.positions] == [booked.amount])


def test_a_request_that_stands_still_is_said_and_counted_while_the_bot_trades(
    collector, exporting, signal, venue, blocking, make_bot, watch_over, monkeypatch, caplog, until, over
):
    """No time-out ends it: the collector takes the request and says nothing. A halt holds, and the end comes."""
    monkeypatch.setattr("tradewatch.telemetry.outbox._STANDS_STILL_S", 0.1)
    monkeypatch.setattr("tradewatch.telemetry.providers._LOOK_S", 0.05)
    there = collector(*[lambda connection, there: over.wait(60)] * 50)
    monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{signal.variable}_ENDPOINT", f"{there.url}{signal.path}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "600")
    for name, value in (("OTEL_BSP_SCHEDULE_DELAY", "10"), ("OTEL_BLRP_SCHEDULE_DELAY", "10")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "30")
    place = venue()
    client = blocking.client(place)
    watch = watch_over(make_bot(client), clock=place.clock)
    client.fetch_ticker(SYMBOL)
    signal.make(watch._outputs.providers, "one")
    line = f"no {signal.name} reach the collector: no answer, and no error, for "
    until(lambda: any(message.startswith(line) for message in caplog.messages))
    assert client.create_order(SYMBOL, "market", "buy", 1)["status"] == "closed"
    watch.halt("it stands still")
    with pytest.raises(tradewatch.OrderRefused):
        client.create_order(SYMBOL, "market", "buy", 1)
    tradewatch.shutdown()
    assert {(d.signal, d.reason) for d in watch.status().telemetry.dropped} == {(signal.name, "unreachable")}
