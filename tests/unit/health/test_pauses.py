"""Pauses of the garbage collector."""

import gc
import sys
import time
from pathlib import Path

import pytest

import tradewatch
from tradewatch.health import GcPauses
from tradewatch.semconv import metrics as m
from tradewatch.telemetry.cell import Cells


@pytest.fixture
def no_collections():
    """None but those that a test asks for."""
    gc.disable()
    yield
    gc.enable()


def made():
    cells = Cells()
    pauses = GcPauses(cells)
    pauses.cells = cells
    return pauses


@pytest.fixture
def pauses(no_collections):
    pauses = made()
    pauses.start()
    yield pauses
    pauses.stop()


def counted(made):
    list(made.look())
    [cell] = made.cells.of(m.GC_DURATION)
    return cell.total, cell.sum_ns[0]


def test_each_collection_is_counted_with_the_time_that_it_took(pauses):
    began = time.monotonic_ns()
    for generation in (0, 1, 2, 2):
        gc.collect(generation)
    took = time.monotonic_ns() - began
    count, sum_ns = counted(pauses)
    assert count == 4
    assert 0 < sum_ns <= took
    gc.collect()
    assert counted(pauses)[0] == 5


def test_a_pause_is_as_long_as_the_collection(pauses):
    class Slow:
        def __del__(self):
            time.sleep(0.05)

    one = Slow()
    one.itself = one
    del one
    gc.collect()
    assert counted(pauses)[1] >= 50_000_000


def test_no_python_code_of_ours_runs_in_a_collection(pauses):
    """Another thread could come in there, which CPython 3.11 does not bear in the middle of `ast.parse`."""
    ran = []
    # Others have callbacks too, hypothesis among them.
    sys.setprofile(lambda frame, event, argument: ran.append(frame.f_code.co_filename) if event == "call" else None)
    try:
        gc.collect()
    finally:
        sys.setprofile(None)
    assert [file for file in ran if Path(tradewatch.__file__).parent in Path(file).parents] == []
    assert counted(pauses)[0] == 1


def test_of_more_collections_than_are_kept_the_latest_are_counted(pauses):
    for _ in range(3_000):
        gc.collect(0)
    count, sum_ns = counted(pauses)
    assert count == 2_048
    assert sum_ns > 0


def test_after_the_end_nothing_of_ours_is_called(no_collections):
    before = list(gc.callbacks)
    pauses = made()
    pauses.start()
    assert len(gc.callbacks) == len(before) + 1
    gc.collect()
    pauses.stop()
    assert gc.callbacks == before
    pauses.stop()
    gc.collect()
    assert counted(pauses)[0] == 1


def test_one_that_was_under_way_at_the_start_is_no_pause(no_collections):
    pauses = made()
    pauses._callback("stop", {"generation": 2})
    assert counted(pauses)[0] == 0
    pauses._callback("start", {"generation": 2})
    pauses._callback("stop", {"generation": 2})
    assert counted(pauses)[0] == 1


def test_counts_are_the_interpreters(told, no_collections):
    before = gc.get_stats()
    gc.collect(1)
    found = told(GcPauses(Cells()).look())
    for n in range(3):
        assert found["cpython.gc.collections", str(n)] == before[n]["collections"] + (n == 1)
        assert found["cpython.gc.collected_objects", str(n)] >= before[n]["collected"]
        assert found["cpython.gc.uncollectable_objects", str(n)] == before[n]["uncollectable"]
