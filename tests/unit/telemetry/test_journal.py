"""The journal: orders first; reads dropped and counted when their ring is full; orders and errors never."""

import threading

import pytest

from tradewatch.model import OrderKey, OrderRequest
from tradewatch.telemetry.cell import Cells
from tradewatch.telemetry.journal import Journal
from tradewatch.telemetry.live import NOWHERE, LiveCall
from tradewatch.telemetry.probe import Probe

ORDER = OrderRequest(OrderKey("binance", "main", "BTC/USDT", None, None), "create_order", "buy", "market", None, None)


def call(n, requests=(), error=None):
    operation = Probe("binance", "main", Cells(), Journal(), None).operation("fetch_time")
    live = LiveCall(operation, None, NOWHERE, n, n + 1, error=error)
    if requests:
        live.own().requests = requests
    return live


def test_orders_and_errors_come_first_each_in_order():
    journal = Journal()
    for each in (call(1), call(2, (ORDER,)), call(3, error="timeout"), call(4)):
        journal.append(each)
    assert [c.start_ns for c in journal.drain()] == [2, 3, 1, 4]
    assert list(journal.drain()) == []


def test_a_full_ring_of_reads_drops_what_is_new_and_counts_it():
    journal = Journal(reads=2)
    for n in range(5):
        journal.append(call(n))
    assert journal.dropped == 3
    assert [c.start_ns for c in journal.drain()] == [0, 1]


def test_where_the_ring_of_orders_is_full_the_appending_thread_books_the_oldest_itself():
    journal, booked = Journal(orders=3), []
    journal.inline = booked.append
    records = [call(n, (ORDER,)) for n in range(5)] + [call(5, error="timeout")]
    for each in records:
        journal.append(each)
    assert journal.booked_inline == len(booked) >= 3
    assert journal.touched
    assert booked + list(journal.drain()) == records
    assert journal.dropped == 0


def test_a_full_ring_of_orders_keeps_them_beyond_the_bound_while_the_safety_thread_is_at_work():
    journal, booked = Journal(orders=1), []
    journal.inline = booked.append
    with journal.booking:
        for n in range(4):
            journal.append(call(n, (ORDER,)))
    assert booked == []
    assert [c.start_ns for c in journal.drain()] == [0, 1, 2, 3]


def test_no_order_is_lost_or_booked_twice_or_out_of_turn_by_many_threads_at_a_full_ring():
    """Eight threads append, one drains now and then: the ring is full most of the time."""
    journal, booked, appended, ends = Journal(orders=5), [], 400, threading.Event()
    journal.inline = booked.append

    def drains():
        while not ends.wait(0.002):
            with journal.booking:
                booked.extend(journal.drain())

    def appends(thread):
        for n in range(appended):
            journal.append(call(1 + n * 8 + thread, (ORDER,)))

    draining = threading.Thread(target=drains)
    draining.start()
    threads = [threading.Thread(target=appends, args=(n,)) for n in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    ends.set()
    draining.join()
    booked += journal.drain()
    starts = [live.start_ns for live in booked]
    assert sorted(starts) == list(range(1, 8 * appended + 1))
    for thread in range(8):
        of_thread = [s for s in starts if s % 8 == (1 + thread) % 8]
        assert of_thread == sorted(of_thread)
    assert journal.booked_inline > 0


@pytest.mark.parametrize(
    ("requests", "error", "wakes"), [((), None, False), ((), "timeout", False), ((ORDER,), None, True)]
)
def test_only_what_acting_rules_wait_for_wakes(requests, error, wakes):
    journal = Journal()
    journal.append(call(1, requests, error))
    assert journal.wake.wait(0) is wakes


def test_what_arrives_while_draining_is_for_the_next_drain():
    journal = Journal()
    journal.append(call(1))
    drained = []
    for each in journal.drain():
        drained.append(each.start_ns)
        journal.append(call(each.start_ns + 1))
    assert drained == [1]
    assert [c.start_ns for c in journal.drain()] == [2]


def test_in_a_forked_child_nothing_is_kept_of_what_nobody_reads():
    journal = Journal()
    journal.append(call(0, (ORDER,)))
    journal.append(call(1))
    with journal.booking:  # as it may be at a fork
        journal.forked()
        for n in range(200):
            journal.append(call(n, (ORDER,)))
            journal.append(call(n))
    assert list(journal.drain()) == []
