"""Histograms of a bot, end to end, on an application's provider and on ours: as the log, and gone with the bot."""

import gc
import weakref
from collections import Counter

import pytest
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

import tradewatch
from folding import Periodic
from tradewatch.paper.faults import Latency
from tradewatch.semconv import METRICS

SYMBOL = "BTC/USDT"
CALL = "trading.exchange.call.duration"
HISTOGRAMS = {m.name for m in METRICS if m.instrument == "histogram"}


def counted(application, name=CALL):
    """Operation → count."""
    found = Counter()
    for key, point in application.points().get(name, {}).items():
        found[dict(key)["trading.operation"]] += point.count
    return dict(found)


def test_histograms_agree_with_the_venues_log(api, venue, make_bot, watch_over, application, until):
    place = venue(({"operation": "ticker_24hr", "nth": (2,)}, {"kind": "server_error", "status": 503}))
    client = api.client(place)
    watch_over(make_bot(client), clock=place.clock, **application.settings)
    api.do(client.fetch_ticker(SYMBOL))
    with pytest.raises(api.ccxt.ExchangeNotAvailable):
        api.do(client.fetch_ticker(SYMBOL))
    api.do(client.create_order(SYMBOL, "market", "buy", 1))
    until(lambda: counted(application) == {"fetch_ticker": 2, "create_order": 1})

    def requests():
        found = Counter()
        for key, point in application.points().get("trading.exchange.request.duration", {}).items():
            found[dict(key)["http.response.status_code"]] += point.count
        return found

    # The cells of attempts and orders are written a moment later, when the safety thread takes the call.
    until(lambda: requests() == Counter(e.status for e in place.log()))
    [(key, point)] = application.points()["trading.order.duration"].items()
    assert dict(key) == {
        "trading.exchange": "binance",
        "trading.symbol": SYMBOL,
        "trading.order.side": "buy",
        "trading.order.type": "market",
        "trading.order.status": "filled",
    }
    assert point.count == 1
    assert point.min == point.max == pytest.approx(point.sum)


def test_an_exemplar_leads_to_the_span_of_its_call(blocking, venue, make_bot, watch_over, application, until):
    place = venue()
    client = blocking.client(place)
    watch_over(make_bot(client), clock=place.clock, **application.settings)
    client.fetch_ticker(SYMBOL)
    spans = {s.context.span_id: s.name for s in until(application.spans)}
    seen = {}

    def exemplars():
        for key, point in application.points().get(CALL, {}).items():
            for exemplar in point.exemplars:
                seen[dict(key)["trading.operation"]] = spans.get(exemplar.span_id)
        return seen

    until(exemplars)
    spans.update({s.context.span_id: s.name for s in application.spans()})
    assert set(seen) <= {"fetch_ticker", "load_markets"}
    assert seen["fetch_ticker"] in ("fetch_ticker binance", None)
    assert "fetch_ticker binance" in spans.values()


def test_exemplars_are_scraped_as_openmetrics(blocking, venue, make_bot, watch_over, application, until):
    import urllib.request

    place = venue()
    client = blocking.client(place)
    watch = watch_over(make_bot(client), clock=place.clock, tracer_provider=application.tracers)
    endpoint = watch.status().telemetry.endpoint
    accepted = urllib.request.Request(endpoint, headers={"Accept": "application/openmetrics-text;version=1.0.0"})

    def exemplars():
        client.fetch_time()
        with urllib.request.urlopen(accepted) as answer:
            families = parse_openmetrics(answer.read().decode())
            samples = [sample for family in families for sample in family.samples]
        return {int(s.exemplar.labels["span_id"], 16) for s in samples if s.exemplar and "call_duration" in s.name}

    found = until(exemplars)
    assert found <= {s.context.span_id for s in application.spans() if s.name == "fetch_time binance"}


def test_histograms_of_a_bot_that_is_let_go_are_told_once_more(blocking, venue, application, make_bot, watch_over):
    place = venue()
    client = blocking.client(place)
    bot = make_bot(client)
    watch_over(bot, clock=place.clock, **application.settings)
    client.fetch_time()
    client.create_order(SYMBOL, "market", "buy", 1)
    tradewatch.uninstrument(bot)
    told = application.points()
    assert sum(point.count for point in told[CALL].values()) == 2
    assert not HISTOGRAMS & set(application.points())
    # Watched again, it begins anew.
    watch_over(bot, clock=place.clock, **application.settings)
    client.fetch_time()
    tradewatch.shutdown()
    assert counted(application) == {"fetch_time": 1}
    assert not HISTOGRAMS & set(application.points())


def test_what_a_bot_counted_last_is_told_by_each_reader_when_it_is_let_go(blocking, venue, make_bot, watch_over):
    place = venue()
    bot = make_bot(blocking.client(place))
    quick, late = InMemoryMetricReader(), Periodic()
    provider = MeterProvider([quick, late], shutdown_on_exit=False)
    watch_over(bot, clock=place.clock, meter_provider=provider)
    bot.exchange.create_order(SYMBOL, "market", "buy", 1)
    tradewatch.uninstrument(bot)

    def orders(data):
        metrics = [m for r in (data.resource_metrics if data else ()) for s in r.scope_metrics for m in s.metrics]
        return sum(point.value for m in metrics if m.name == "trading.orders" for point in m.data.data_points)

    # The one that is quick tells them until the other one has heard.
    assert [orders(quick.get_metrics_data()) for _ in range(2)] == [1, 1]
    assert orders(late.get_metrics_data()) == 1
    assert [orders(quick.get_metrics_data()) for _ in range(3)][1:] == [0, 0]
    provider.shutdown()


def test_series_of_a_bot_that_is_watched_again_do_not_add_up(blocking, venue, make_bot, watch_over, application):
    place = venue()
    bot = make_bot(blocking.client(place))
    for _ in range(2):
        watch_over(bot, clock=place.clock, **application.settings)
        bot.exchange.create_order(SYMBOL, "market", "buy", 1)
        tradewatch.uninstrument(bot)
    assert [point.value for point in application.points()["trading.orders"].values()] == [1]


def test_series_of_a_venue_go_with_its_last_client(venue, make_bot, watch_over, application, until, blocking):
    class Elsewhere(blocking.ccxt.binance):
        def describe(self):
            return self.deep_extend(super().describe(), {"id": "elsewhere"})

    place = venue()
    bot = make_bot(blocking.client(place))
    bot.other = blocking.client(place, cls=Elsewhere)
    watch = watch_over(bot, clock=place.clock, **application.settings)
    bot.exchange.fetch_time()
    bot.other.fetch_time()

    def venues():
        return {dict(key)["trading.exchange"] for key in application.points().get(CALL, {})}

    until(lambda: venues() == {"binance", "elsewhere"})
    blocking._clients.remove(bot.other)
    bot.other.session.close()
    del bot.other

    def gone():
        gc.collect()
        return len(watch.status().clients) == 1 and venues() == {"binance"}

    until(gone)
    assert {o.exchange for o in watch.status().operations} == {"binance", "elsewhere"}


def test_a_delta_reader_that_comes_later_is_served(blocking, venue, make_bot, watch_over, until):
    first = InMemoryMetricReader()
    provider = MeterProvider([first], shutdown_on_exit=False)
    place = venue()
    client = blocking.client(place)
    watch_over(make_bot(client), clock=place.clock, meter_provider=provider)
    client.fetch_time()

    def count(reader):
        data = reader.get_metrics_data()
        metrics = [m for r in (data.resource_metrics if data else ()) for s in r.scope_metrics for m in s.metrics]
        return sum(point.count for m in metrics if m.name == CALL for point in m.data.data_points)

    until(lambda: count(first) == 1)
    later = InMemoryMetricReader({Histogram: AggregationTemporality.DELTA})
    provider.add_metric_reader(later)
    client.fetch_time()
    client.fetch_time()
    assert count(later) == 2
    assert count(later) == 0
    assert count(first) == 3
    tradewatch.shutdown()
    provider.shutdown()
    later.shutdown()


def quantile_of_buckets(buckets, q):
    """Prometheus's `histogram_quantile` of {le: cumulative count}, after `bucketQuantile` of its promql/quantile.go."""
    bounds = sorted(buckets)
    rank = q * buckets[bounds[-1]]
    at = next((i for i, le in enumerate(bounds[:-1]) if buckets[le] >= rank), len(bounds) - 1)
    if at == len(bounds) - 1:
        return bounds[-2]
    start, below = (bounds[at - 1], buckets[bounds[at - 1]]) if at else (0.0, 0.0)
    return start + (bounds[at] - start) * ((rank - below) / (buckets[bounds[at]] - below))


def test_percentiles_by_operation_are_those_of_prometheus_on_a_scrape(api, venue, make_bot, watch_over, scrape, until):
    slow = [
        ({"operation": "ticker_24hr", "nth": (n,)}, {"kind": "latency", "latency": Latency("fixed", 4.0 * n)})
        for n in range(1, 9)
    ]
    place = venue(*slow, ({"operation": "ticker_24hr", "nth": (9,)}, {"kind": "server_error", "status": 503}))
    client = api.client(place)
    watch = watch_over(make_bot(client), clock=place.clock)
    for _ in range(8):
        api.do(client.fetch_ticker(SYMBOL))
    with pytest.raises(api.ccxt.ExchangeNotAvailable):
        api.do(client.fetch_ticker(SYMBOL))
    buckets = Counter()
    name = "trading_exchange_call_duration_seconds_bucket"
    for (sample, labels), value in scrape(watch.status().telemetry.endpoint).items():
        if sample == name and dict(labels)["trading_operation"] == "fetch_ticker":
            buckets[float(dict(labels)["le"])] += value
    [told] = [each for each in watch.status().operations if each.operation == "fetch_ticker"]
    assert (told.calls, told.errors, buckets[float("inf")]) == (9, 1, 9)
    for q, shown in ((0.5, told.p50_s), (0.95, told.p95_s), (0.99, told.p99_s)):
        assert shown == pytest.approx(quantile_of_buckets(buckets, q), rel=1e-12)


def test_an_application_that_forgets_its_provider_is_rid_of_it(venue, api, make_bot, watch_over):
    """Also where a reader of it never comes again for what it was to be told a last time."""
    provider = MeterProvider([InMemoryMetricReader(), InMemoryMetricReader()], shutdown_on_exit=False)
    watch_over(make_bot(api.client(venue())), meter_provider=provider)
    tradewatch.shutdown()
    forgotten = weakref.ref(provider)
    del provider
    gc.collect()
    assert forgotten() is None


def test_a_reader_that_never_comes_does_not_have_others_tell_of_a_bot_that_is_gone(
    venue, api, make_bot, watch_over, monkeypatch
):
    monkeypatch.setattr("tradewatch.telemetry.gauges._LONGEST_NS", 0)
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader, InMemoryMetricReader()], shutdown_on_exit=False)
    watch_over(make_bot(api.client(venue())), meter_provider=provider)
    tradewatch.shutdown()

    def told():
        data = reader.get_metrics_data()
        return data is not None and any(scope.metrics for r in data.resource_metrics for scope in r.scope_metrics)

    assert told()
    told()
    assert not told()
    provider.shutdown()
