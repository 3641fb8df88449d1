"""Very many: 5,000 symbols traded by a real client, with limits of the SDK's own; a thousand threads at once."""

import contextlib
import gc
import threading
import tracemalloc
from collections import Counter

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import View

CALL, REQUEST = "trading.exchange.call.duration", "trading.exchange.request.duration"
ORDER, ORDERS = "trading.order.duration", "trading.orders"
MANY = 5_000
# As `semconv.attributes` bounds symbols.
ROOM = 200
KEPT_BY_SERIES = ("cardinality", "cell", "delta", "fold", "streams")


def points(reader):
    data = reader.get_metrics_data()
    return {
        metric.name: metric.data.data_points
        for resource in (data.resource_metrics if data is not None else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def symbols(found):
    return {point.attributes.get("trading.symbol") for point in found}


@pytest.fixture
def market_of_many(blocking, venue, make_bot, watch_over):
    """A client whose orders go to the venue, each for a symbol that it never dealt in; and who watches it."""
    place = venue()
    client = blocking.client(place)
    client.load_markets()
    [known] = client.markets.values()
    for n in range(MANY):
        # The venue has one market; to the client each of these is one.
        client.markets[f"S{n}/USDT"] = {**known, "symbol": f"S{n}/USDT"}

    def watched(provider):
        return watch_over(make_bot(client), clock=place.clock, meter_provider=provider)

    return client, place, watched


def trade(client, start, end):
    for n in range(start, end):
        # A tenth reaches the venue; the others fail in the client's own checks, and are orders all the same.
        amount = 1 if n % 10 == 0 else 1e-12
        with contextlib.suppress(client_errors(client)):
            client.create_order(f"S{n}/USDT", "limit", "buy", amount, 50)


def client_errors(client):
    import ccxt

    return ccxt.BaseError


def test_five_thousand_symbols_are_two_hundred_series_and_one_more(market_of_many, until):
    client, place, watched = market_of_many
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    watch = watched(provider)
    trade(client, 0, MANY)

    def told():
        # Each instrument is read by itself, while readings are published and cells folded by other threads.
        found = points(reader)
        counted = sum(point.count for point in found.get(ORDER, ()))
        published = sum(point.value for point in found.get(ORDERS, ()))
        named = {p.attributes["attribute"]: p.value for p in found.get("tradewatch.attribute.overflow", ())}
        has_all = counted == published == MANY and named.get("trading.symbol") == MANY - ROOM
        return found if has_all else place.clock.pass_seconds(1)

    found = until(told, 60)
    shown = [f"S{n}/USDT" for n in range(ROOM)]
    assert symbols(found[ORDER]) == symbols(found[ORDERS]) == {*shown, "_OTHER"}
    assert sum(point.value for point in found[ORDERS]) == MANY == sum(watch.status().orders.values())
    by_symbol = Counter()
    for point in found[ORDER]:
        by_symbol[point.attributes["trading.symbol"]] += point.count
    assert by_symbol == {**dict.fromkeys(shown, 1), "_OTHER": MANY - ROOM}
    # What overflowed is named, and nothing else did.
    overflow = {p.attributes["attribute"]: p.value for p in found["tradewatch.attribute.overflow"]}
    assert {name for name, n in overflow.items() if n} == {"trading.symbol"}
    # The venue's own log knows how many orders reached it.
    assert len(place.orders()) == MANY // 10
    provider.shutdown()


@pytest.mark.parametrize("limit", [3, 50])
def test_a_limit_of_the_sdks_own_holds_beside_ours_and_loses_nothing(market_of_many, until, limit):
    try:
        view = View(instrument_name="trading.*", aggregation_cardinality_limit=limit)
    except TypeError:
        pytest.skip("this SDK has no cardinality limits")
    client, place, watched = market_of_many
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], views=[view], shutdown_on_exit=False)
    watched(provider)
    trade(client, 0, 500)

    def told():
        # Ours is published by the safety thread, the histogram folded by another one.
        found = points(reader)
        orders = sum(point.count for point in found.get(ORDER, ()))
        beyond = sum(point.value for point in found.get("tradewatch.attribute.overflow", ()))
        return found if (orders, beyond) == (500, 500 - ROOM) else place.clock.pass_seconds(1)

    found = until(told, 30)
    assert len(found[ORDER]) <= limit + 1
    [beyond] = [point for point in found[ORDER] if point.attributes == {"otel.metric.overflow": True}]
    assert beyond.count == 500 - sum(point.count for point in found[ORDER] if point is not beyond) > 400
    # Ours comes first, and says what it was; the SDK's cannot.
    overflow = {p.attributes["attribute"]: p.value for p in found["tradewatch.attribute.overflow"]}
    assert overflow["trading.symbol"] == 500 - ROOM
    provider.shutdown()


def test_memory_does_not_grow_with_the_symbols(market_of_many, until):
    """After the room is full two thousand further symbols leave less than 150 bytes each: they are only counted.

    Looked at is what is kept by series; what is published each second comes and goes.
    """
    client, place, watched = market_of_many
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    watch = watched(provider)

    def traded(start, end):
        for n in range(start, end):
            with contextlib.suppress(client_errors(client)):
                client.create_order(f"S{n}/USDT", "limit", "buy", 1e-12, 50)
        until(lambda: sum(watch.status().orders.values()) == end or place.clock.pass_seconds(1), 60)
        points(reader)
        gc.collect()
        kept = tracemalloc.take_snapshot().filter_traces(
            [tracemalloc.Filter(True, f"*/tradewatch/telemetry/{file}.py") for file in KEPT_BY_SERIES]
        )
        return sum(each.size for each in kept.statistics("filename"))

    tracemalloc.start()
    try:
        full = traded(0, 500)
        assert traded(500, 2_500) - full < 150 * 2_000
    finally:
        tracemalloc.stop()
    provider.shutdown()


def test_a_thousand_threads_that_call_at_once_are_counted_exactly(blocking, venue, make_bot, watch_over, until):
    """To a client of its own each, as threaded bots have them, and at the same moment."""
    place, threads = venue(), 1_000

    class Calls(blocking.ccxt.binance):
        """Its requests never leave: a thousand sockets are no matter of telemetry."""

        def fetch(self, url, method="GET", headers=None, body=None):
            return {"serverTime": 1, "url": url}

    client = blocking.client(place, Calls)
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    watch = watch_over(make_bot(client), clock=place.clock, meter_provider=provider)
    barrier, answers = threading.Barrier(threads), []

    def call():
        barrier.wait(60)
        for _ in range(3):
            answers.append(client.fetch_time())

    each = [threading.Thread(target=call) for _ in range(threads)]
    for thread in each:
        thread.start()
    for thread in each:
        thread.join()
    assert answers == [1] * 3 * threads

    def counted(name):
        return sum(point.count for point in points(reader).get(name, ()))

    until(lambda: counted(REQUEST) == 3 * threads, 30)
    [call] = points(reader)[CALL]
    assert (call.count, sum(call.bucket_counts)) == (3 * threads, 3 * threads)
    [operation] = watch.status().operations
    assert operation.calls == 3 * threads
    provider.shutdown()
