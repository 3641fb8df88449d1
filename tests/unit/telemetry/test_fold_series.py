"""Series go with their bot or venue, once each reader was told; in a forked child they are not told at all."""

import os

from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    InMemoryMetricReader,
)

from folding import Calls, Folded, points
from tradewatch.model import Call


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
