"""Pauses of the garbage collector."""

import gc
import time

import pytest

from tradewatch.health import GcPauses
from tradewatch.semconv import metrics as m
from tradewatch.telemetry.cell import Cells


@pytest.fixture
def no_collections():
    """None but those that a test asks for."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def pauses(no_collections):
    cells = Cells()
    made = GcPauses(cells)
    made.start()
    yield cells
    made.stop()


def counted(cells):
    return {cell.attributes[0][1]: cell.total for cell in cells.of(m.GC_DURATION)}


def test_each_collection_is_counted_by_its_generation_with_the_time_that_it_took(pauses):
    began = time.monotonic_ns()
    for generation in (0, 1, 2, 2):
        gc.collect(generation)
    took = time.monotonic_ns() - began
    assert counted(pauses) == {"0": 1, "1": 1, "2": 2}
    assert 0 < sum(cell.sum_ns[0] for cell in pauses.of(m.GC_DURATION)) <= took


def test_a_pause_is_as_long_as_the_collection(pauses):
    class Slow:
        def __del__(self):
            time.sleep(0.05)

    one = Slow()
    one.itself = one
    del one
    gc.collect()
    [full] = [cell for cell in pauses.of(m.GC_DURATION) if cell.attributes[0][1] == "2"]
    assert full.sum_ns[0] >= 50_000_000


def test_after_the_end_nothing_of_ours_is_called(no_collections):
    before = list(gc.callbacks)
    cells = Cells()
    pauses = GcPauses(cells)
    pauses.start()
    assert len(gc.callbacks) == len(before) + 1
    pauses.stop()
    assert gc.callbacks == before
    pauses.stop()
    gc.collect()
    assert set(counted(cells).values()) == {0}


def test_one_that_was_under_way_at_the_start_is_no_pause(no_collections):
    cells = Cells()
    pauses = GcPauses(cells)
    pauses._callback("stop", {"generation": 2})
    assert set(counted(cells).values()) == {0}


@pytest.mark.parametrize("info", [{"generation": 7}, {}])
def test_a_failure_of_ours_is_told_later_and_reaches_nobody(no_collections, lenient, info):
    """What raises in such a callback is printed to the bot's standard error."""
    cells = Cells()
    pauses = GcPauses(cells)
    for _ in range(3):
        pauses._callback("start", {})
        pauses._callback("stop", info)
    assert set(counted(cells).values()) == {0}
    assert lenient == {}
    assert len(list(pauses.look())) == 9
    assert lenient == {"garbage collector": 1}
    list(pauses.look())
    assert lenient == {"garbage collector": 1}


def test_counts_are_the_interpreters(told, no_collections):
    before = gc.get_stats()
    gc.collect(1)
    found = told(GcPauses(Cells()).look())
    for n in range(3):
        assert found["cpython.gc.collections", str(n)] == before[n]["collections"] + (n == 1)
        assert found["cpython.gc.collected_objects", str(n)] >= before[n]["collected"]
        assert found["cpython.gc.uncollectable_objects", str(n)] == before[n]["uncollectable"]
