"""Folded metrics equal those of `record()` on the same calls, whatever the provider is set up like."""

import random
import threading

import pytest
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, AlwaysOnExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import (
    InMemoryMetricReader,
)

from folding import DELTA, EXPONENTIAL, READERS, VIEWS, Calls, Folded, Recorded, plain, points

EXTRAS = {"ours": {}, "the application's": {"trading.bot": "grid"}}


class SlowOnes(AlwaysOffExemplarFilter):
    """A filter of the application's own: what took long."""

    def should_sample(self, value, time_unix_nano, attributes, context):
        return value > 0.05 and attributes["trading.exchange"] == "binance"


@pytest.mark.parametrize("owner", EXTRAS)
@pytest.mark.parametrize("views", VIEWS)
@pytest.mark.parametrize("readers", READERS)
def test_folded_points_equal_recorded_ones(providers, readers, views, owner):
    (one, folded_readers), (other, recorded_readers) = providers(readers, views)
    folded, recorded = Folded(one, EXTRAS[owner]), Recorded(other, EXTRAS[owner])
    calls = Calls(f"{readers} {views}", folded.cells)
    later = None
    for turn in range(6):
        for _ in range(calls.random.choice((0, 1, 7, 60)) if turn else 25):
            call = calls.next()
            folded.make(call)
            recorded.make(call)
            if calls.random.random() < 0.1:
                folded.fold.tick()
        if turn == 2:
            # A reader that comes later sees what comes after it.
            folded.fold.tick()
            later = (InMemoryMetricReader(), InMemoryMetricReader())
            one.add_metric_reader(later[0])
            other.add_metric_reader(later[1])
            folded_readers, recorded_readers = [*folded_readers, later[0]], [*recorded_readers, later[1]]
        for mine, naive in zip(folded_readers, recorded_readers, strict=True):
            # Not every reader collects each time.
            if calls.random.random() < 0.7 or turn == 5:
                assert plain(mine.get_metrics_data()) == plain(naive.get_metrics_data())
    assert calls.n > 20
    assert folded.fold.why is None


@pytest.mark.parametrize("exemplars", [AlwaysOnExemplarFilter, AlwaysOffExemplarFilter, SlowOnes])
def test_the_providers_filter_of_exemplars_is_asked(providers, exemplars):
    (one, mine), (other, naive) = providers("three", "twice", exemplars())
    folded, recorded = Folded(one, {}), Recorded(other, {})
    calls = Calls(7, folded.cells)
    for _ in range(3):
        for _ in range(40):
            call = calls.next()
            folded.make(call)
            recorded.make(call)
        for a, b in zip(mine, naive, strict=True):
            assert plain(a.get_metrics_data()) == plain(b.get_metrics_data())


def test_where_folding_cannot_be_every_duration_is_recorded(providers):
    (one, mine), (other, naive) = providers("three", "renamed, other buckets")
    folded, recorded = Folded(one, {}, "as a test"), Recorded(other, {})
    calls = Calls(3, folded.cells)
    for _ in range(50):
        call = calls.next()
        folded.make(call)
        recorded.make(call)
    for a, b in zip(mine, naive, strict=True):
        assert plain(a.get_metrics_data()) == plain(b.get_metrics_data())
    assert folded.fold.notes == ("metrics are recorded one by one, at a higher cost: as a test",)
    assert all(cell.waiting == [] for cell in folded.cells.every())


def test_a_call_that_is_counted_but_not_seen_yet_is_in_the_next_collection():
    """Its count and sum are exact at once; smallest and largest are within its buckets until the call is seen."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    folded = Folded(provider, {})
    cell = folded.cells.cell("binance", "fetch_ticker", None)
    durations = [3_000_000, 40_000_000, 41_000_000]
    for duration in durations:
        cell.count(duration)
    [point] = points(reader)
    assert (point.count, round(point.sum, 9)) == (3, 0.084)
    assert 0.0025 < point.min <= 0.05
    assert 0.0025 < point.max <= 0.05
    for duration in durations:
        folded.cells.note(cell, duration)
    [point] = points(reader)
    assert (point.count, round(point.sum, 9), point.min, point.max) == (3, 0.084, 0.003, 0.041)
    provider.shutdown()


def test_eight_threads_are_folded_exactly_while_three_readers_collect():
    readers = [InMemoryMetricReader(), InMemoryMetricReader(DELTA), InMemoryMetricReader(DELTA, EXPONENTIAL)]
    provider = MeterProvider(readers, shutdown_on_exit=False)
    folded = Folded(provider, {})
    added, over = [0, 0], threading.Event()

    def work(seed):
        chance = random.Random(seed)
        for _ in range(20_000):
            folded.cells.cell("binance", f"operation-{chance.randrange(4)}", None).count(chance.randrange(1, 10**9))

    def collect():
        while not over.is_set():
            add()
            folded.fold.tick()

    def add():
        readers[0].get_metrics_data()
        for point in points(readers[1]):
            added[0] += point.count
            added[1] += point.sum
            assert all(n >= 0 for n in point.bucket_counts)

    workers = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    collector = threading.Thread(target=collect)
    for thread in (collector, *workers):
        thread.start()
    for thread in workers:
        thread.join()
    over.set()
    collector.join()
    add()
    cells = folded.cells.every()
    assert sum(cell.total for cell in cells) == 160_000 == added[0]
    assert abs(added[1] - sum(cell.sum_ns[0] for cell in cells) / 1e9) < 1e-3
    cumulative = {point.attributes["trading.operation"]: point for point in points(readers[0])}
    for cell in cells:
        assert list(cumulative[cell.operation].bucket_counts) == cell.counts
    provider.shutdown()
