"""A process beside the one that has the state: halted while that one's log says so, and for reasons of its own."""

import contextlib

import pytest

from tradewatch.breaker import Breaker, Follower, OrderGate
from tradewatch.runtime.clock import SystemClock
from tradewatch.store import Store


@pytest.fixture
def main(tmp_path):
    """The breaker of the process that has the folder."""
    clock = SystemClock()
    with contextlib.closing(Store.open(tmp_path, clock)) as store:
        yield Breaker(store, OrderGate(clock), clock)


@pytest.fixture
def beside():
    clock = SystemClock()
    return Breaker(None, OrderGate(clock), clock)


def state(breaker):
    status = breaker.status()
    return status.state, status.by, status.reason, breaker.gate.closed


def test_it_is_halted_from_the_start_by_what_halted_the_other(main, beside, tmp_path):
    main.halt("DailyLoss", "too much")
    Follower(tmp_path, beside)
    assert state(beside) == ("HALTED", "DailyLoss", "too much", True)


def test_it_is_halted_and_resumed_with_the_other(main, beside, tmp_path):
    follower = Follower(tmp_path, beside)
    for reason in ("first", "second"):
        follower.look()
        assert beside.status().state == "ACTIVE"
        main.halt("me", reason)
        follower.look()
        follower.look()
        assert state(beside) == ("HALTED", "me", reason, True)
        main.resume("me", "looked")
        follower.look()
    assert not beside.gate.closed


def test_a_halt_of_its_own_is_its_own(main, beside, tmp_path):
    follower = Follower(tmp_path, beside)
    beside.halt("mine", "here")
    main.halt("me", "there")
    follower.look()
    main.resume("me", "looked")
    follower.look()
    assert state(beside) == ("HALTED", "mine", "here", True)


def test_a_halt_of_its_own_on_top_of_the_others_stays_when_that_is_resumed(main, beside, tmp_path):
    follower = Follower(tmp_path, beside)
    main.halt("me", "there")
    follower.look()
    beside.halt("mine", "here")
    main.resume("me", "looked")
    follower.look()
    assert beside.gate.closed


def test_a_log_that_is_gone_changes_nothing(main, beside, tmp_path):
    main.halt("me", "there")
    follower = Follower(tmp_path, beside)
    for path in tmp_path.glob("events.db*"):
        path.unlink()
    follower.look()
    assert state(beside) == ("HALTED", "me", "there", True)
