"""The journal: orders first, reads dropped and counted when their ring is full, orders never pushed out by reads."""

import pytest

from tradewatch.model import Call, OrderKey, OrderRequest
from tradewatch.telemetry.journal import Journal

ORDER = OrderRequest(OrderKey("binance", "main", "BTC/USDT", None, None), "create_order", "buy", "market", None, None)


def call(n, requests=(), error=None):
    return Call(None, n, n + 1, 0, (), error, None, None, requests=requests)


def test_orders_and_errors_come_first_each_in_order():
    journal = Journal()
    for each in (call(1), call(2, (ORDER,)), call(3, error="timeout"), call(4)):
        journal.append(each)
    assert [c.start_mono_ns for c in journal.drain()] == [2, 3, 1, 4]
    assert list(journal.drain()) == []


def test_a_full_ring_drops_what_is_new_and_counts_it():
    journal = Journal(reads=2, orders=1)
    for n in range(5):
        journal.append(call(n))
    for n in range(5, 8):
        journal.append(call(n, (ORDER,)))
    assert journal.dropped == {"reads": 3, "orders": 2}
    assert [c.start_mono_ns for c in journal.drain()] == [5, 0, 1]


@pytest.mark.parametrize(
    ("record", "wakes"), [(call(1), False), (call(1, error="timeout"), False), (call(1, (ORDER,)), True)]
)
def test_only_what_acting_rules_wait_for_wakes(record, wakes):
    journal = Journal()
    journal.append(record)
    assert journal.wake.is_set() is wakes


def test_what_arrives_while_draining_is_for_the_next_drain():
    journal = Journal()
    journal.append(call(1))
    drained = []
    for each in journal.drain():
        drained.append(each.start_mono_ns)
        journal.append(call(each.start_mono_ns + 1))
    assert drained == [1]
    assert [c.start_mono_ns for c in journal.drain()] == [2]
