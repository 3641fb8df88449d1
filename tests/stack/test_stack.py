"""A bot's telemetry through real servers: spans read back from Jaeger, metrics from Prometheus on both ways there."""

import os

import pytest

from tradewatch.rules import default_groups
from tradewatch.semconv import METRICS

BOT = """
import asyncio, gc
import ccxt.async_support

exchange = client()
feed = client(ccxt.async_support.binance)
loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()
asyncio.run_coroutine_threadsafe(feed.fetch_ticker("BTC/USDT"), loop).result(30)
exchange.fetch_balance()
for _ in range(3):
    exchange.fetch_ticker("BTC/USDT")
placed = exchange.create_order("BTC/USDT", "market", "buy", 1)
exchange.fetch_my_trades("BTC/USDT")
try:
    exchange.fetch_order("no such order", "BTC/USDT")
except ccxt.BaseError:
    pass
say(order=placed["id"], instance=watch()._outputs.providers.instance_id)
gc.collect()
sys.stdin.readline()
asyncio.run_coroutine_threadsafe(feed.close(), loop).result(30)
loop.call_soon_threadsafe(loop.stop)
"""
OF_SYSTEM = ("process.", "system.", "cpython.", "trading.loop.", "tradewatch.process.", "tradewatch.log_file.")
LABELS = {
    "__name__",
    "le",
    "trading_bot",
    *(a.label for m in METRICS if m.name.startswith(OF_SYSTEM) for a in m.attributes),
}
# What moves while nobody trades is not to be held against another moment's value.
MOVES = ("tradewatch_overhead", "tradewatch_telemetry", "otel_sdk", "process_")


@pytest.fixture
def traded(stack, venue, program, tmp_path):
    """A bot that has traded, with a client on a loop, and is still there: its venue and what it said."""
    place = venue()
    (tmp_path / "feed.pid").write_text(str(os.getpid()))
    bot = program(
        BOT, place.url, name="stacked", OTEL_EXPORTER_OTLP_ENDPOINT=stack.otlp,
        OTEL_METRICS_EXPORTER="otlp,prometheus", OTEL_METRIC_EXPORT_INTERVAL="500",
        TRADEWATCH_PORT=str(stack.scraped), TRADEWATCH_LOG_FILES=__file__, TRADEWATCH_PROCESSES="no such program",
        TRADEWATCH_PID_FILES=str(tmp_path / "feed.pid"),
    )  # fmt: skip
    yield place, bot.said()
    bot.tell()
    bot.end()


def of_run(instance, found):
    """The series that came by the Collector, by name and labels without those of the way."""
    return {
        tuple(pair for pair in labels if pair[0] not in ("job", "instance")): value
        for labels, value in found.items()
        if ("instance", instance) in labels
    }


def scraped(found):
    return {
        tuple(pair for pair in labels if pair[0] not in ("job", "instance")): value
        for labels, value in found.items()
        if ("job", "direct") in labels
    }


def is_steady(labels):
    name = dict(labels)["__name__"]
    return name.startswith(("trading_", "tradewatch_")) and not name.startswith(MOVES)


def test_what_a_bot_did_is_in_jaeger_and_the_same_in_prometheus_both_ways(stack, traded, until):
    place, said = traded
    requests = [(entry.method, entry.status) for entry in place.log()]

    def spans():
        found = {span["spanID"]: span for trace in stack.traces("stacked") for span in trace["spans"]}
        attempts = [s for s in found.values() if tags(s).get("http.request.method")]
        return found if len(attempts) == len(requests) else None

    found = until(spans, 30)
    attempts = [span for span in found.values() if tags(span).get("http.request.method")]
    assert sorted((tags(s)["http.request.method"], tags(s)["http.response.status_code"]) for s in attempts) == sorted(
        requests
    )
    calls = {span["spanID"]: span for span in found.values() if "trading.operation" in tags(span)}
    assert {tags(span)["trading.operation"] for span in calls.values()} == {
        "fetch_balance", "fetch_ticker", "create_order", "fetch_my_trades", "fetch_order"
    }  # fmt: skip
    for span in attempts:
        [reference] = span["references"]
        parent = calls[reference["spanID"]]
        assert parent["startTime"] <= span["startTime"]
        assert span["startTime"] + span["duration"] <= parent["startTime"] + parent["duration"] + 2  # whole µs
    [order] = [s for s in found.values() if tags(s).get("trading.order.id")]
    assert tags(order)["trading.order.id"] == said["order"] == str(place.exchange.orders("main")[0].order_id)
    assert {tags(s).get("error.type") for s in found.values()} == {None, "BadRequest"}

    def equal():
        vector = stack.prometheus.query('{__name__=~"trading_.+|tradewatch_.+"}')
        pushed, pulled = of_run(said["instance"], vector), scraped(vector)
        steady = {labels for labels in pushed.keys() | pulled.keys() if is_steady(labels)}
        if not steady or any(pushed.get(labels) != pulled.get(labels) for labels in steady):
            return None
        return {labels: pulled[labels] for labels in steady}

    series = until(equal, 30)
    counted = sum(
        value
        for labels, value in series.items()
        if dict(labels)["__name__"] == "trading_exchange_request_duration_seconds_count"
    )
    assert counted == len(requests)
    assert sum(v for k, v in series.items() if dict(k)["__name__"] == "trading_orders_total") == 1


def test_process_and_host_are_the_same_series_both_ways(stack, traded, until):
    _, said = traded
    ours = [m.prometheus for m in METRICS if m.name.startswith(OF_SYSTEM)]

    def equal():
        vector = stack.prometheus.query(f'{{__name__=~"({"|".join(ours)}).*"}}')
        pushed, pulled = set(of_run(said["instance"], vector)), set(scraped(vector))
        names = {dict(labels)["__name__"] for labels in pushed}
        there = {name for name in ours if any(each.startswith(name) for each in names)}
        return pushed == pulled and there == set(ours) and pushed

    for labels in until(equal, 60):
        assert dict(labels).keys() <= LABELS, labels


def tags(span):
    return {tag["key"]: tag["value"] for tag in span["tags"]}


def test_a_slow_point_leads_to_its_trace(stack, traded, until):
    def both():
        found = stack.prometheus.exemplars("trading_exchange_call_duration_seconds_bucket")
        ids = {one["labels"]["trace_id"] for series in found for one in series["exemplars"]}
        traces = {trace["traceID"] for trace in stack.traces("stacked")}
        return ids & traces

    assert until(both, 30)


def test_prometheus_evaluates_the_default_rules_too(stack):
    groups = stack.prometheus.get("/api/v1/rules")["groups"]
    theirs = {(rule["name"], rule["health"]) for group in groups for rule in group["rules"]}
    names = {name for name, _ in theirs}
    assert names == {rule.rule.name for group in default_groups() for rule in group.rules}
    assert not {health for _, health in theirs} & {"err"}
