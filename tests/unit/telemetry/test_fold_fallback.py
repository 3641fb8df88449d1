"""Where folding does not agree with `record()`, or fails, every duration is recorded, and that is said."""

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics._internal import aggregation
from opentelemetry.sdk.metrics._internal._view_instrument_match import _ViewInstrumentMatch
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from tradewatch.model import Call
from tradewatch.runtime.clock import epoch_offset_ns
from tradewatch.telemetry.agreement import disagreement
from tradewatch.telemetry.cell import Cells
from tradewatch.telemetry.fold import Fold
from tradewatch.telemetry.tally import Tally


@pytest.fixture(autouse=True)
def tried_anew():
    """What was found out about the SDK holds for the process, and for no other test."""
    disagreement.cache_clear()
    yield
    disagreement.cache_clear()


def test_this_sdk_agrees():
    assert disagreement() is None


def test_a_private_name_that_is_gone_is_noticed(monkeypatch):
    monkeypatch.delattr(aggregation, "_DropAggregation")
    assert "_DropAggregation" in disagreement()


def other_sums(self, measurement, should_sample_exemplar=True):
    """An SDK that adds up in another unit."""
    aggregate(self, measurement, should_sample_exemplar)
    self._sum += measurement.value


aggregate = aggregation._ExplicitBucketHistogramAggregation.aggregate


def test_an_sdk_that_counts_in_another_way_is_noticed(monkeypatch):
    monkeypatch.setattr(aggregation._ExplicitBucketHistogramAggregation, "aggregate", other_sums)
    assert disagreement() == "folding and record() differ on this version of the SDK"


def test_an_sdk_that_finds_streams_in_another_way_is_noticed(monkeypatch):
    consume = _ViewInstrumentMatch.consume_measurement

    def elsewhere(self, measurement, should_sample_exemplar=True):
        consume(self, measurement, should_sample_exemplar)
        self.streams = self.__dict__.pop("_attributes_aggregation", None) or self.streams

    monkeypatch.setattr(_ViewInstrumentMatch, "consume_measurement", elsewhere)
    assert disagreement() is not None


class Metrics:
    """A watch's metrics on a provider of their own."""

    def __init__(self):
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)
        self.cells = Cells()
        tally = Tally(self.cells)
        self.book = tally.book
        self.fold = Fold(self.provider.get_meter("tradewatch"), self.cells, tally.timed, {}, None)

    def call(self):
        cell = self.cells.cell("binance", "fetch_ticker", None)
        cell.count(5_000_000)
        call = Call(cell, 0, 5_000_000, 0, (), None, None, Context())
        self.book(call)
        self.fold.saw(call, call.parent, epoch_offset_ns())
        self.fold.tick()

    def count(self):
        data = self.reader.get_metrics_data()
        [metric] = data.resource_metrics[0].scope_metrics[0].metrics
        [point] = metric.data.data_points
        return point.count


def test_a_fold_that_fails_while_running_is_the_last(lenient, monkeypatch):
    metrics = Metrics()
    metrics.call()
    assert (metrics.count(), metrics.fold.notes) == (1, ())

    def broken(*args):
        raise RuntimeError("the SDK changed")

    monkeypatch.setattr("tradewatch.telemetry.streams._increase", broken)
    metrics.call()
    assert lenient == {"metrics": 1}
    assert metrics.fold.notes == ("metrics are recorded one by one, at a higher cost: RuntimeError: the SDK changed",)
    monkeypatch.undo()
    before = metrics.count()
    for _ in range(5):
        metrics.call()
    assert metrics.count() == before + 5
    assert lenient == {"metrics": 1}
    metrics.provider.shutdown()


def test_a_provider_that_was_shut_down_or_disabled_is_left_alone(monkeypatch):
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    provider = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    cells = Cells()
    tally = Tally(cells)
    fold = Fold(provider.get_meter("tradewatch"), cells, tally.timed, {}, None)
    assert fold.why is not None
    cell = cells.cell("binance", "fetch_ticker", None)
    call = Call(cell, 0, 5, 0, (), None, None, Context())
    tally.book(call)
    fold.saw(call, call.parent, epoch_offset_ns())
    fold.tick()
    assert cell.waiting == []
    assert fold.notes == ()


def test_a_great_many_durations_are_folded_at_one_tick():
    metrics = Metrics()
    cell = metrics.cells.cell("binance", "fetch_ticker", None)
    for n in range(12_000):
        cell.count(n + 1)
        metrics.cells.note(cell, n + 1)
    metrics.fold.tick()
    assert cell.waiting == []
    [point] = metrics.reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    assert (point.count, point.min, point.max) == (12_000, 1e-9, 12e-6)
    metrics.provider.shutdown()


def test_durations_that_wait_are_bounded_and_still_counted(monkeypatch):
    monkeypatch.setattr("tradewatch.telemetry.cell._MOST_WAITING", 10)
    metrics = Metrics()
    cell = metrics.cells.cell("binance", "fetch_ticker", None)
    for _ in range(30):
        cell.count(5_000_000)
        metrics.cells.note(cell, 5_000_000)
    assert (len(cell.waiting), metrics.cells.unkept) == (10, 20)
    metrics.fold.tick()
    assert metrics.count() == 30
    metrics.cells.note(cell, 5_000_000)
    assert len(cell.waiting) == 1
    metrics.provider.shutdown()


def test_a_watch_says_that_it_records(blocking, venue, make_bot, watch_over, application, until, monkeypatch):
    monkeypatch.delattr(aggregation, "_DropAggregation")
    place = venue()
    client = blocking.client(place)
    watch = watch_over(make_bot(client), clock=place.clock, **application.settings)
    for _ in range(3):
        client.fetch_time()
    [note] = watch.status().telemetry.notes
    assert note.startswith("metrics are recorded one by one, at a higher cost: ")
    name = "trading.exchange.call.duration"
    until(lambda: sum(point.count for point in application.points().get(name, {}).values()) == 3)
