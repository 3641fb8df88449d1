"""What takes an unknown order off the list: an order at the venue that can only be it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tradewatch.breaker import UnknownOrder


@pytest.fixture
def listed(breaker, gate, request_of):
    """Lists an order as unknown, with changes to its request or key; returns the list of client ids then."""

    def lose(n=1, key=None, **changes):
        request = request_of(n)
        gate.leave(gate.enter(replace(request, key=replace(request.key, **(key or {})), **changes)), "unknown")

    return lose


def unknown(breaker):
    return [each.request.key.client_id for each in breaker.status().unknown]


def test_the_order_of_the_same_client_id_settles_and_listeners_hear_of_it(breaker, listed, told):
    listed(1)
    listed(2)
    breaker.hear(told("c3", "c2", None))
    assert unknown(breaker) == ["c1"]


@pytest.mark.parametrize("difference", [{"venue": "kraken"}, {"account": "other"}, {"symbol": "ETH/USDT"}])
def test_an_order_somewhere_else_is_another(breaker, listed, told, difference):
    listed()
    breaker.hear(told("c1", **difference))
    assert unknown(breaker) == ["c1"]


def test_an_order_without_a_client_id_is_never_matched(breaker, listed, told):
    listed(key={"client_id": None})
    breaker.hear(told(None))
    assert unknown(breaker) == [None]


def test_an_order_sent_under_the_venues_own_symbol_is_known_by_its_id(breaker, listed, told):
    listed(key={"symbol": "BTCUSDT"}, operation="private_post_order")
    breaker.hear(told("c1"))
    assert unknown(breaker) == []


def test_an_edit_is_not_settled_by_the_order_that_it_edits(breaker, listed, told):
    listed(operation="edit_order")
    breaker.hear(told("c1"))
    assert unknown(breaker) == ["c1"]


def test_an_order_that_changed_last_long_before_is_an_earlier_one(breaker, listed, told, clock):
    listed()
    breaker.hear(told("c1", at_ns=clock.ns - 61 * 10**9))
    breaker.hear(told("c1", at_ns=None))
    assert unknown(breaker) == ["c1"]
    breaker.hear(told("c1", at_ns=clock.ns - 59 * 10**9))
    assert unknown(breaker) == []


def test_two_lost_under_one_client_id_are_both_in_doubt(breaker, listed, told):
    listed()
    listed()
    breaker.hear(told("c1"))
    assert unknown(breaker) == ["c1", "c1"]


@pytest.mark.parametrize("first", ["the lost one", "the placed one"])
def test_a_client_id_that_another_order_was_placed_under_tells_nothing(breaker, listed, told, placed, first):
    if first == "the lost one":
        listed()
    breaker.hear(placed(1, "open"))
    if first == "the placed one":
        listed()
    breaker.hear(told("c1"))
    assert unknown(breaker) == ["c1"]


@pytest.mark.parametrize("status", ["rejected", "refused", "unknown"])
def test_a_repetition_that_was_not_placed_leaves_no_doubt(breaker, listed, told, placed, status):
    listed()
    breaker.hear(placed(1, status))
    breaker.hear(told("c1"))
    assert unknown(breaker) == []


def test_the_answer_to_a_repetition_is_about_the_repetition(breaker, listed, told, placed):
    listed()
    breaker.hear(replace(placed(1, "rejected"), reports=told("c1").reports))
    assert unknown(breaker) == ["c1"]


def test_the_doubt_survives_a_restart(breaker, gate, store, restart, clock, request_of, told, placed):
    gate.leave(gate.enter(request_of()), "unknown")
    breaker.hear(placed(1, "filled"))
    breaker.halt("anna", "stop")
    store.close()
    again = restart()
    again.hear(told("c1"))
    assert again.status().unknown == (UnknownOrder(request_of(), clock.ns, ambiguous=True),)


def test_an_order_that_is_still_under_way_stays_in_the_table(breaker, gate, request_of, told):
    token = gate.enter(replace(request_of(), key=replace(request_of().key, client_id=None)))
    gate.amend(token, request_of())
    breaker.hear(told("c1"))
    assert gate.in_flight() == (request_of(),)
    gate.leave(token, "unknown")
    gate.amend(token, request_of(2))
    assert gate.in_flight() == ()
    assert unknown(breaker) == ["c1"]
