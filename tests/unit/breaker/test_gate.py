"""Orders on their way through the gate, one thread and many."""

from __future__ import annotations

import itertools
import sys
import threading
import time

import pytest

from tradewatch.breaker import Breaker, OrderGate, UnknownOrder
from tradewatch.model import Gate, Halt, Refusal
from tradewatch.runtime.clock import SystemClock

HALT = Halt("HALTED", "DailyLoss", "why", (), 1)


def test_an_open_gate_lets_orders_pass(gate, request_of):
    keeps_to_the_protocol: Gate = gate
    assert keeps_to_the_protocol.closed is False
    assert gate.admit(request_of()) is None


def test_a_closed_gate_refuses_with_the_halt_and_counts(gate, request_of):
    gate.close(HALT)
    assert gate.closed is True
    assert gate.admit(request_of()) == Refusal(request_of(), HALT)
    assert gate.admit(request_of(2)) == Refusal(request_of(2), HALT)
    assert gate.refused == 2


def test_a_stop_that_protects_a_position_passes_a_closed_gate(gate, request_of):
    gate.close(HALT)
    assert gate.admit(request_of(protective=True)) is None
    assert gate.refused == 0


def test_closing_tells_which_orders_may_have_passed(gate, request_of):
    answered, waiting = gate.enter(request_of(1)), gate.enter(request_of(2))
    gate.leave(answered, "answered")
    assert gate.close(HALT) == {waiting}
    after = gate.enter(request_of(3))
    assert gate.waiting(frozenset({waiting})) == {waiting}
    gate.leave(waiting, "answered")
    assert gate.waiting(frozenset({waiting})) == frozenset()
    assert gate.in_flight() == (request_of(3),)
    gate.leave(after, "refused")


class SlowlyClosingGate(OrderGate):
    """Something happens at the last moment at which the gate is open, and at the first at which it is closed."""

    def happens(self) -> None: ...

    @property
    def closed(self) -> bool:
        return self._is_closed

    @closed.setter
    def closed(self, value: bool) -> None:
        if value:
            self.happens()
        self._is_closed = value
        if value:
            self.happens()


def test_an_order_that_passes_at_the_last_moment_is_waited_for(clock, request_of):
    gate = SlowlyClosingGate(clock)
    passed, refused = set(), set()

    def an_order_comes() -> None:
        token = gate.enter(request_of())
        (passed if gate.admit(request_of()) is None else refused).add(token)

    gate.happens = an_order_comes
    waiting = gate.close(HALT)
    assert (len(passed), len(refused)) == (1, 1)
    assert passed <= waiting


def test_an_order_without_an_answer_is_listed_until_its_fate_is_known(gate, clock, request_of, told):
    gate.leave(gate.enter(request_of(1)), "unknown")
    gate.leave(gate.enter(request_of(2)), "answered")
    gate.leave(gate.enter(request_of(3)), "refused")
    assert gate.unknown() == (UnknownOrder(request_of(1), clock.ns),)
    two, one = told("c2", "c1").reports
    assert gate.settle(two) is False
    assert gate.settle(one) is True
    assert gate.settle(one) is False
    assert gate.unknown() == ()


def test_an_answer_that_comes_after_the_wait_takes_the_order_off_the_list(gate, clock, request_of):
    late, never = gate.enter(request_of(1)), gate.enter(request_of(2))
    gate.stop_waiting(frozenset({late, never}))
    assert [each.request for each in gate.unknown()] == [request_of(1), request_of(2)]
    gate.leave(late, "answered")
    clock.pass_seconds(5)
    gate.leave(never, "unknown")
    assert gate.unknown() == (UnknownOrder(request_of(2), clock.ns),)


def test_leaving_twice_is_nothing(gate, request_of):
    token = gate.enter(request_of())
    gate.leave(token, "answered")
    gate.leave(token, "unknown")
    assert gate.unknown() == ()


def test_the_list_of_unknown_orders_is_bounded_and_says_what_it_forgot(gate, request_of):
    for n in range(1003):
        gate.leave(gate.enter(request_of(n)), "unknown")
    assert [each.request for each in gate.unknown()] == [request_of(n) for n in range(3, 1003)]
    assert gate.forgotten == 3


@pytest.fixture
def nervous_switching():
    """Let the interpreter change threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_no_order_is_under_way_once_a_halt_is_confirmed(nervous_switching, request_of):
    clock = SystemClock()
    gate = OrderGate(clock)
    settled = threading.Event()
    done = threading.Event()
    sent, violations = itertools.count(), []

    def trade(name: int) -> None:
        request = request_of(name)
        while not done.is_set():
            token = gate.enter(request)
            if gate.admit(request) is None:
                next(sent)
                for _ in range(20):  # on its way to the venue
                    if settled.is_set():
                        violations.append(name)
                gate.leave(token, "answered")
            else:
                gate.leave(token, "refused")

    threads = [threading.Thread(target=trade, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(80):
            waiting = gate.close(HALT)
            end = time.monotonic() + 30
            while gate.waiting(waiting):
                assert time.monotonic() < end
            settled.set()
            time.sleep(0.001)
            settled.clear()
            gate.open()
            time.sleep(0.001)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert violations == []
    assert next(sent) > 80
    assert gate.refused > 0
    assert gate.in_flight() == ()


def test_unknown_orders_and_refusals_are_counted_exactly_by_many_threads(nervous_switching, request_of):
    gate = OrderGate(SystemClock())
    gate.close(HALT)

    def trade(name: int) -> None:
        for n in range(500):
            token = gate.enter(request_of(name * 1000 + n))
            gate.admit(request_of())
            gate.leave(token, "unknown")

    threads = [threading.Thread(target=trade, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        gate.unknown()
        gate.in_flight()
    for thread in threads:
        thread.join()
    assert gate.refused == 3000
    assert 990 <= len(gate.unknown()) <= 1000  # threads that shorten it together may take one too many
    assert gate.forgotten == 3000 - len(gate.unknown())


def test_halts_and_resumptions_from_many_threads_leave_gate_and_state_equal(nervous_switching, store, request_of):
    clock = SystemClock()
    gate = OrderGate(clock)
    breaker = Breaker(store, gate, clock)
    done = threading.Event()

    def trade() -> None:
        while not done.is_set():
            token = gate.enter(request_of())
            gate.leave(token, "refused" if gate.admit(request_of()) else "answered")

    def interfere(name: str) -> None:
        for n in range(20):
            breaker.halt(name, str(n))
            try:
                breaker.resume(name, "again")
            except Exception as error:
                if type(error).__name__ != "ResumeRefused":
                    raise

    traders = [threading.Thread(target=trade) for _ in range(2)]
    others = [threading.Thread(target=interfere, args=(f"r{n}",)) for n in range(3)]
    for thread in traders + others:
        thread.start()
    for thread in others:
        thread.join()
    breaker.halt("last", "the end")
    ends = time.monotonic() + 20
    while not breaker.status().confirmed and time.monotonic() < ends:
        time.sleep(0.005)
        breaker.advance()
    status = breaker.status()
    done.set()
    for thread in traders:
        thread.join()
    assert (status.state, status.confirmed, gate.closed) == ("HALTED", True, True)
    kinds = [e.kind for e in store.read(["breaker.halted", "breaker.resumed"])]
    assert kinds == ["breaker.halted", "breaker.resumed"] * (len(kinds) // 2) + ["breaker.halted"]
