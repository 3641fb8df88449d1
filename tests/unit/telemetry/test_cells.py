"""Cells count exactly, and their quantiles are Prometheus's."""

import bisect
import math
import threading

from hypothesis import given
from hypothesis import strategies as st

from tradewatch.semconv.metrics import DURATION_BOUNDS_S
from tradewatch.telemetry.cell import BOUNDS_NS, Cells, merged, quantile_s


def counted(durations_ns):
    cells = Cells()
    cell = cells.cell("binance", "fetch_ticker", None)
    for duration in durations_ns:
        cell.count(duration)
    return cell


def test_a_duration_on_a_bound_belongs_to_the_bucket_below():
    cell = counted([BOUNDS_NS[3], BOUNDS_NS[3] + 1, BOUNDS_NS[-1] + 1])
    assert [i for i, n in enumerate(cell.counts) if n] == [3, 4, len(BOUNDS_NS)]
    assert cell.sum_ns == [2 * BOUNDS_NS[3] + BOUNDS_NS[-1] + 2]


def reference(counts, q):
    """`histogram_quantile` of Prometheus's documentation, in the plainest way."""
    total = sum(counts)
    rank, below = q * total, 0
    for i, n in enumerate(counts):
        if below + n >= rank and n:
            if i == len(counts) - 1:
                return DURATION_BOUNDS_S[-1]
            start = 0 if i == 0 else DURATION_BOUNDS_S[i - 1]
            return start + (DURATION_BOUNDS_S[i] - start) * ((rank - below) / n)
        below += n
    raise AssertionError(counts)


@given(st.lists(st.integers(0, 40 * 10**9), min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_quantile_is_prometheus_own(durations, q):
    counts = counted(durations).counts
    assert abs(quantile_s(counts, q) - reference(counts, q)) < 1e-12


@given(st.lists(st.integers(0, 30 * 10**9), min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_quantile_is_in_the_bucket_of_the_true_one(durations, q):
    true_ns = sorted(durations)[max(0, math.ceil(q * len(durations)) - 1)]
    told_s = quantile_s(counted(durations).counts, q)
    i = bisect.bisect_left(BOUNDS_NS, true_ns)
    low, high = (DURATION_BOUNDS_S[i - 1] if i else 0.0), DURATION_BOUNDS_S[i]
    assert low <= told_s <= high


def test_without_calls_there_is_no_quantile():
    assert quantile_s(counted([]).counts, 0.5) is None


def test_eight_threads_are_counted_exactly():
    cells = Cells()

    def work():
        for _ in range(20_000):
            cells.cell("binance", "fetch_ticker", None).count(1_000_000)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [cell] = cells
    assert (cell.total, cell.sum_ns[0]) == (160_000, 160_000 * 1_000_000)


def test_cells_of_one_operation_add_up():
    cells = Cells()
    cells.cell("binance", "fetch_ticker", None).count(1)
    cells.cell("binance", "fetch_ticker", "timeout").count(1)
    assert sum(merged(cells)) == 2
