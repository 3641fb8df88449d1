"""With tradewatch's own providers: what a collector is sent by OTLP, what a scrape shows, and the exchange's log."""

import contextlib
import logging
import socket
import urllib.error
import urllib.request
from collections import Counter

import pytest
from opentelemetry import metrics, trace

import tradewatch

SYMBOL = "BTC/USDT"


def trade(api, client):
    """A few calls of each kind, some of which fail."""
    api.do(client.fetch_balance())
    for _ in range(3):
        with contextlib.suppress(api.ccxt.BaseError):
            api.do(client.fetch_ticker(SYMBOL))
    orders = [api.do(client.create_order(SYMBOL, "market", "buy", 1)) for _ in range(2)]
    orders.append(api.do(client.create_order(SYMBOL, "limit", "sell", 1, 150)))
    with contextlib.suppress(api.ccxt.InsufficientFunds):
        api.do(client.create_order(SYMBOL, "market", "sell", 500))
    return orders


FAULTS = ({"operation": "ticker_24hr", "nth": (2,)}, {"kind": "server_error", "status": 503})


def attributes(thing):
    return {a.key: a.value.int_value if a.value.HasField("int_value") else a.value.string_value for a in thing}


def test_a_collector_is_sent_every_call_once(api, venue, make_bot, watch_over, collect, exported):
    collector = collect()
    exported(collector.url)
    place = venue(FAULTS)
    client = api.client(place)
    watch_over(make_bot(client), clock=place.clock, name="grid")
    orders = trade(api, client)
    tradewatch.shutdown()
    spans = collector.spans()
    calls = {s.span_id: s for s in spans if s.kind == s.SPAN_KIND_INTERNAL}
    attempts = [s for s in spans if s.kind == s.SPAN_KIND_CLIENT]
    assert len(calls) + len(attempts) == len(spans)
    assert Counter(s.name for s in calls.values()) == {
        "fetch_balance binance": 1,
        "fetch_ticker binance": 3,
        "create_order binance": 4,
    }
    assert {s.parent_span_id for s in attempts} <= calls.keys()
    assert all(s.trace_id == calls[s.parent_span_id].trace_id for s in attempts)
    sent = Counter((a["http.request.method"], a["url.path"], a["http.response.status_code"]) for a in map(of, attempts))
    assert sent == Counter((e.method, e.path, e.status) for e in place.log())
    ids = {of(s).get("trading.order.id") for s in calls.values()} - {None}
    assert ids == {o["id"] for o in orders} == {str(e.order_id) for e in place.orders() if e.accepted}
    assert [s["trading.bot"] for s in collector.resources()] == ["grid"] * len(collector.resources())
    assert {s["service.name"] for s in collector.resources()} == {"grid"}
    points = collector.last_metrics()["trading.exchange.request.duration"].histogram.data_points
    counted = Counter()
    for point in points:
        counted[attributes(point.attributes)["http.response.status_code"]] += point.count
    assert counted == Counter(e.status for e in place.log())


def of(span):
    return attributes(span.attributes)


def test_the_last_export_has_every_series(api, venue, make_bot, watch_over, collect, exported, until):
    """Those that were sent before and have not changed since too: what reads the last one alone misses none."""
    collector = collect()
    exported(collector.url)
    place = venue()
    client = api.client(place)
    watch_over(make_bot(client), clock=place.clock)
    api.do(client.fetch_time())
    until(lambda: operations(collector) == {"fetch_time"})
    api.do(client.fetch_ticker("BTC/USDT"))
    tradewatch.shutdown()
    assert operations(collector) >= {"fetch_time", "fetch_ticker"}


def operations(collector):
    """Those whose calls the last request with metrics counts."""
    metric = collector.last_metrics().get("trading.exchange.call.duration")
    return {attributes(p.attributes)["trading.operation"] for p in metric.histogram.data_points} if metric else set()


def test_half_a_surrogate_pair_in_the_environment_costs_one_character(
    blocking, venue, make_bot, watch_over, collect, exported, monkeypatch, capfd
):
    """Linux hands on any bytes; as Python reads them, no exporter could write them."""
    collector = collect()
    exported(collector.url)
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment=a\udcff")
    place = venue()
    client = blocking.client(place)
    watch_over(make_bot(client), clock=place.clock, name="grid")
    client.fetch_time()
    with tradewatch.span("half \udcff", half="\udcff"):
        pass
    tradewatch.shutdown()
    assert {s.name for s in collector.spans()} >= {"fetch_time binance", "half ?"}
    assert operations(collector) == {"fetch_time"}
    assert {found["deployment"] for found in collector.resources()} == {"a?"}
    assert capfd.readouterr().err == ""


def test_a_scrape_agrees_with_the_log_and_the_status(api, venue, make_bot, watch_over, scrape, until):
    place = venue(FAULTS)
    client = api.client(place)
    watch = watch_over(make_bot(client), clock=place.clock)
    trade(api, client)
    endpoint = watch.status().telemetry.endpoint

    def settled():
        found = scrape(endpoint)
        calls = sum(v for (name, _), v in found.items() if name == "trading_exchange_call_duration_seconds_count")
        orders = sum(v for (name, _), v in found.items() if name == "trading_orders_total")
        attempts = sum(v for (name, _), v in found.items() if name == "trading_exchange_request_duration_seconds_count")
        return found if (calls, orders, attempts) == (8, 4, len(place.log())) else None

    found = until(settled)
    counts = Counter()
    for (name, labels), value in found.items():
        if name == "trading_exchange_request_duration_seconds_count":
            given = dict(labels)
            counts[given["http_request_method"], int(given["http_response_status_code"])] += int(value)
    assert counts == Counter((e.method, e.status) for e in place.log())
    orders = {dict(k[1])["trading_order_status"]: v for k, v in found.items() if k[0] == "trading_orders_total"}
    assert orders == watch.status().orders == {"filled": 2, "open": 1, "rejected": 1}
    assert found["trading_fills_total", (("trading_order_side", "buy"), ("trading_symbol", SYMBOL))] == 2
    assert found["tradewatch_breaker_state", (("state", "ACTIVE"),)] == 1
    assert found["tradewatch_breaker_state", (("state", "HALTED"),)] == 0
    by_operation = {o.operation: (o.calls, o.errors) for o in watch.status().operations}
    assert by_operation == {"create_order": (4, 1), "fetch_ticker": (3, 1), "fetch_balance": (1, 0)}
    equity = found["trading_portfolio_equity", (("trading_currency", "USDT"),)]
    assert equity == float(watch.status().portfolio.equity.value)


def test_a_watch_without_an_exporter_makes_no_spans_and_is_scraped(blocking, venue, make_bot, watch_over):
    place = venue()
    watch = watch_over(make_bot(blocking.client(place)), clock=place.clock)
    telemetry = watch.status().telemetry
    assert (telemetry.spans, telemetry.providers, telemetry.notes) == (False, "tradewatch", ())
    assert telemetry.endpoint.startswith("http://127.0.0.1:")
    tradewatch.shutdown()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(telemetry.endpoint)


def test_nothing_becomes_global(blocking, venue, make_bot, watch_over, collect, exported):
    exported(collect().url)
    tracers, meters = trace.get_tracer_provider(), metrics.get_meter_provider()
    watch_over(make_bot(blocking.client(venue())))
    assert (trace.get_tracer_provider(), metrics.get_meter_provider()) == (tracers, meters)


def test_an_applications_providers_still_work_after_shutdown(blocking, venue, application, make_bot, watch_over):
    place = venue()
    client = blocking.client(place)
    bot = make_bot(client)
    for _ in range(2):
        watch_over(bot, clock=place.clock, **application.settings)
        client.fetch_time()
        tradewatch.shutdown()
    with application.tracers.get_tracer("app").start_as_current_span("after"):
        pass
    application.meters.get_meter("app").create_counter("after").add(1)
    assert [s.name for s in application.spans() if s.kind.name == "INTERNAL"] == [
        "fetch_time binance",
        "fetch_time binance",
        "after",
    ]
    assert "after" in application.points()


def test_metrics_of_a_bot_that_is_let_go_are_told_no_more(
    blocking, venue, application, make_bot, watch_over, caplog, until
):
    """Watched again on the same provider, the bot is told once, and nobody is warned."""
    place = venue()
    bot = make_bot(blocking.client(place))
    watch_over(bot, clock=place.clock, **application.settings).halt("news")
    tradewatch.shutdown()
    application.points()
    assert "tradewatch.breaker.state" not in application.points()
    with caplog.at_level(logging.WARNING):
        watch = watch_over(bot, clock=place.clock, **application.settings)
        watch.resume("false alarm")

        def states():
            points = application.points().get("tradewatch.breaker.state", {})
            return {dict(key)["state"]: point.value for key, point in points.items()}

        until(lambda: states() == {"ACTIVE": 1, "HALTED": 0})
    assert caplog.records == []


def test_two_bots_on_one_provider_are_told_apart_or_together(
    blocking, venue, application, make_bot, watch_over, tmp_path, until
):
    """Counters of both are not overwritten by each other: four orders stay four."""
    place = venue()
    bots = [make_bot(blocking.client(place)) for _ in range(2)]
    for n, bot in enumerate(bots):
        watch_over(bot, clock=place.clock, state_dir=tmp_path / str(n), name=f"bot-{n}", **application.settings)
    for n, bot in enumerate(bots):
        for _ in range(1 + 2 * n):
            bot.exchange.create_order(SYMBOL, "market", "buy", 1)

    def orders():
        data = application.reader.get_metrics_data()
        return [
            point.value
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == "trading.orders"
            for point in metric.data.data_points
        ]

    until(lambda: sum(orders()) == 4)


@pytest.mark.parametrize("port_of", ["taken", "free"])
def test_a_taken_port_is_said_and_all_else_works(blocking, venue, make_bot, watch_over, caplog, scrape, port_of):
    place = venue()
    client = blocking.client(place)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        if port_of == "taken":
            taken.listen()
        else:
            taken.close()
        watch = watch_over(make_bot(client), clock=place.clock, port=port)
        client.create_order(SYMBOL, "market", "buy", 1)
        telemetry = watch.status().telemetry
        if port_of == "free":
            assert telemetry.endpoint == f"http://127.0.0.1:{port}/metrics"
            assert scrape(telemetry.endpoint)
            return
    assert telemetry.endpoint is None
    assert telemetry.notes == (
        f"no scrape endpoint: 127.0.0.1:{port} cannot be used (Address already in use); "
        "set port= to another, or 0 for any",
    )
    assert [r.getMessage() for r in caplog.records if r.name == "tradewatch"] == list(telemetry.notes)
    watch.halt("news")
    with pytest.raises(blocking.ccxt.InvalidOrder):
        client.create_order(SYMBOL, "market", "buy", 1)


@pytest.mark.parametrize("state", ["down", "answers 400", "answers 503"])
def test_a_broken_collector_changes_nothing_for_the_bot(
    blocking, venue, make_bot, watch_over, collect, exported, state, lenient
):
    if state == "down":
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            exported(f"http://127.0.0.1:{closed.getsockname()[1]}")
    else:
        exported(collect(int(state[-3:])).url)
    place = venue()
    client = blocking.client(place)
    watch = watch_over(make_bot(client), clock=place.clock)
    for _ in range(5):
        client.create_order(SYMBOL, "market", "buy", 1)
    assert len(place.orders()) == 5
    watch.halt("news")
    with pytest.raises(blocking.ccxt.InvalidOrder):
        client.create_order(SYMBOL, "market", "buy", 1)
    tradewatch.shutdown()
    assert watch.status().portfolio.fills == 5
    assert lenient == {}
