"""Values of attributes are bounded: the first are shown, further ones are one series, and a metric says how many."""

import threading
from collections import Counter
from decimal import Decimal

import pytest

from tradewatch.model import Attempt, Call, OrderKey, OrderRequest
from tradewatch.semconv import ATTRIBUTES, METRICS, Reading
from tradewatch.semconv import metrics as m
from tradewatch.telemetry.cardinality import Cardinality, Room
from tradewatch.telemetry.cell import Cells
from tradewatch.telemetry.tally import Tally

MOST = {a.name: a.most for a in ATTRIBUTES if a.most is not None}
# What calls do not tell: limits are told by answers (tests/instrumentation/test_venue.py), the others by the machine.
ELSEWHERE = {"trading.rate_limit", "system.device", "network.interface.name", "trading.loop"}
OF_CALLS = {name: most for name, most in MOST.items() if name not in ELSEWHERE}


def overflowed(cardinality):
    return {dict(r.attributes)["attribute"]: r.value for r in cardinality.readings() if r.value}


def test_what_bots_venues_and_machines_name_is_bounded_and_nothing_else():
    assert MOST == {
        "trading.operation": 200,
        "trading.symbol": 200,
        "trading.order.side": 10,
        "trading.order.type": 30,
        "error.type": 50,
        "http.request.method": 20,
        "trading.rate_limit": 50,
        "system.device": 20,
        "network.interface.name": 20,
        "trading.loop": 20,
    }


def test_the_first_values_are_shown_and_stay():
    room = Room(2)
    assert [room.admit(v) for v in ("a", "b", "c", "a", "d", "c", "_OTHER")] == [
        "a",
        "b",
        "_OTHER",
        "a",
        *["_OTHER"] * 3,
    ]
    assert room.overflowed == 2


def test_counting_what_overflows_is_bounded_too():
    room = Room(0)
    for n in range(12_000):
        room.admit(str(n))
    assert room.overflowed == 10_000


def test_threads_share_a_room():
    room, shown = Room(50), [set() for _ in range(8)]

    def ask(mine):
        for n in range(5_000):
            mine.add(room.admit(str(n % 500)))

    threads = [threading.Thread(target=ask, args=(mine,)) for mine in shown]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # In a race each thread may admit one value too many.
    assert 51 <= len(set.union(*shown)) <= 51 + 8


def call(cells, n, symbol="BTC/USDT", side="buy", kind="limit", error=None, method="GET"):
    cell = cells.cell("binance", f"operation-{n}", error)
    key = OrderKey("binance", "main", symbol, None, None)
    request = OrderRequest(key, "create_order", side, kind, Decimal(1), None)
    cell.count(5)
    return Call(cell, 0, 5, 3, (Attempt(0, 2, method, "h", "/", 200, error),), error, None, None, requests=(request,))


def test_five_thousand_of_everything_are_bounded_cells_and_nothing_is_uncounted():
    cells = Cells()
    tally = Tally(cells)
    for n in range(5_000):
        tally.book(call(cells, n, f"S{n}/USDT", f"side{n}", f"type{n}", f"error{n}", f"METHOD{n}"))
    seen = {name: set() for name in OF_CALLS}
    for cell in cells.every():
        for name, value in cell.attributes:
            if name in seen:
                seen[name].add(value)
    assert {name: len(values) for name, values in seen.items()} == {name: most + 1 for name, most in OF_CALLS.items()}
    assert all("_OTHER" in values for values in seen.values())
    counted = Counter()
    for cell in cells.every():
        counted[cell.metric.name] += cell.total
    # Streams have a fixed number of channels; what comes over them is no call.
    no_calls = (m.STREAM_LAG, m.GC_DURATION)
    of_calls = (metric for metric in METRICS if metric.instrument == "histogram" and metric not in no_calls)
    histograms = {metric.name: 5_000 for metric in of_calls}
    assert counted == histograms
    assert sum(r.value for r in tally.readings()) == 5_000 == sum(tally.by_status().values())
    assert sum(tally.errors.values()) == 5_000
    assert len(tally.errors) == 51
    assert overflowed(cells.cardinality) == {name: 5_000 - most for name, most in OF_CALLS.items()}
    # Nothing that is looked up by what the bot says grows either.
    assert max(len(tally._attempts), len(tally._throttles), len(tally.errors), len(cells.every())) < 1_000


def position(symbol, amount):
    return Reading(m.POSITIONS, amount, (("trading.symbol", symbol),))


def fills(symbol, n):
    return Reading(m.FILLS, n, (("trading.order.side", "buy"), ("trading.symbol", symbol)))


def test_symbols_that_are_only_held_leave_room_for_those_dealt_in():
    cardinality = Cardinality()
    dust = list(cardinality.bounded(position(f"DUST{n}", 1) for n in range(5_000)))
    assert len(dust) == 100
    assert cardinality.admit("trading.symbol", "BTC/USDT") == "BTC/USDT"
    [held] = cardinality.bounded([position("BTC/USDT", 7)])
    assert held == position("BTC/USDT", 7)


def test_counters_add_up_beyond_the_room_and_positions_are_left_out():
    cardinality = Cardinality()
    for n in range(200):
        cardinality.admit("trading.symbol", f"S{n}")
    readings = [fills("S1", 4), fills("X", 1), fills("Y", 2), position("S1", 5), position("X", 6), Reading(m.STALE, 1)]
    assert set(cardinality.bounded(readings)) == {
        fills("S1", 4),
        fills("_OTHER", 3),
        position("S1", 5),
        Reading(m.STALE, 1),
    }
    assert overflowed(cardinality) == {"trading.symbol": 2}


@pytest.mark.parametrize("many", [5_000])
def test_all_tickers_of_a_venue_take_no_room(blocking, venue, make_bot, watch_over, application, until, many):
    """A bulk read of thousands of symbols, then a deal: the symbol that is dealt in is shown."""
    place = venue()
    client = blocking.client(place)
    watch = watch_over(make_bot(client), clock=place.clock, **application.settings)
    tickers = {f"S{n}/USDT": {"symbol": f"S{n}/USDT", "bid": 1.0, "ask": 1.01, "last": 1.0} for n in range(many)}
    client.parse_tickers = lambda *args, **kwargs: tickers
    assert len(client.fetch_tickers()) == many
    client.create_order("BTC/USDT", "market", "buy", 1)
    until(lambda: watch.status().portfolio.fills == 1)
    until(lambda: "trading.order.duration" in application.points())
    for name in ("trading.orders", "trading.order.duration", "trading.fills"):
        assert {dict(key)["trading.symbol"] for key in application.points()[name]} == {"BTC/USDT"}
    overflow = application.points()["tradewatch.attribute.overflow"]
    assert {dict(key)["attribute"]: point.value for key, point in overflow.items()} == dict.fromkeys(MOST, 0)


def test_endpoints_without_end_are_one_series(blocking, venue, make_bot, watch_over, application, until):
    """A bot that puts ids into paths: 300 endpoints, of which 200 are shown."""
    place = venue()
    client = blocking.client(place)
    watch = watch_over(make_bot(client), clock=place.clock, **application.settings)
    for n in range(300):
        with pytest.raises(blocking.ccxt.BaseError):
            client.fetch2(f"nothing/{n}", "public")

    def counts():
        points = application.points().get("trading.exchange.call.duration", {})
        found = Counter()
        for key, point in points.items():
            found[dict(key)["trading.operation"]] += point.count
        return found if sum(found.values()) == 300 else None

    found = until(counts)
    assert len(found) == 201
    assert found["_OTHER"] == 100
    assert {o.operation: o.calls for o in watch.status().operations} == dict(found)

    def overflow():
        place.clock.pass_seconds(1)
        return application.points()["tradewatch.attribute.overflow"][(("attribute", "trading.operation"),)].value

    until(lambda: overflow() == 100)
    [(_, binding)] = watch._clients.mine()
    assert len(binding.probe.operations) == 200
