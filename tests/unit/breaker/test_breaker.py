"""Halting, resuming and what is said of it, with the disk in order and out of it."""

from __future__ import annotations

import threading

import pytest

from tradewatch.breaker import Breaker, OrderGate, ResumeRefused, Status, UnknownOrder
from tradewatch.model import Evidence, Halt, OrderKey, OrderRequest
from tradewatch.runtime.failures import failures


def test_a_first_start_is_active_and_open(breaker, gate, clock):
    assert breaker.status() == Status(
        state="ACTIVE",
        by="tradewatch",
        reason="first start",
        evidence=(),
        since_ns=clock.ns,
        confirmed=True,
        not_confirmed=None,
        further=(),
        unknown=(),
        in_flight=0,
        refused=0,
        forgotten=0,
        trips=0,
        note=None,
        confirmed_ns=None,
        first_refused_ns=None,
    )
    assert gate.closed is False


def test_a_halt_closes_the_gate_and_says_everything(breaker, gate, clock, reason, evidence, request_of):
    assert breaker.halt("DailyLoss", reason, evidence) == Halt("HALTED", "DailyLoss", reason, evidence, clock.ns)
    refusal = gate.admit(request_of())
    assert refusal is not None
    assert refusal.halt.reason == reason
    assert breaker.status() == Status(
        state="HALTED",
        by="DailyLoss",
        reason=reason,
        evidence=evidence,
        since_ns=clock.ns,
        confirmed=True,
        not_confirmed=None,
        further=(),
        unknown=(),
        in_flight=0,
        refused=1,
        forgotten=0,
        trips=1,
        note=None,
        confirmed_ns=clock.ns,
        first_refused_ns=clock.ns,
    )


def test_a_halt_is_not_confirmed_while_an_order_is_under_way(breaker, gate, request_of):
    token = gate.enter(request_of())
    breaker.halt("anna", "stop")
    assert breaker.status().not_confirmed == "1 order that had passed the gate not answered yet"
    breaker.advance()
    assert breaker.status().confirmed is False
    gate.leave(token, "answered")
    breaker.advance()
    assert breaker.status().confirmed is True
    assert breaker.status().unknown == ()


def test_an_order_that_came_after_the_halt_does_not_delay_it(breaker, gate, request_of):
    breaker.halt("anna", "stop")
    gate.enter(request_of())
    breaker.advance()
    assert breaker.status().confirmed is True


def test_an_order_that_is_never_answered_is_listed_as_unknown_after_ten_seconds(breaker, gate, clock, request_of):
    token = gate.enter(request_of())
    breaker.halt("anna", "stop")
    clock.pass_seconds(9.9)
    breaker.advance()
    assert breaker.status().confirmed is False
    clock.pass_seconds(0.1)
    breaker.advance()
    assert breaker.status().confirmed is True
    assert breaker.status().unknown == (UnknownOrder(request_of(), clock.ns),)
    gate.leave(token, "answered")
    assert breaker.status().unknown == ()


def test_an_order_whose_answer_was_lost_before_the_halt_is_listed_too(breaker, gate, clock, request_of, told):
    gate.leave(gate.enter(request_of()), "unknown")
    breaker.halt("anna", "stop")
    assert breaker.status().confirmed is True
    assert breaker.status().unknown == (UnknownOrder(request_of(), clock.ns),)
    breaker.hear(told("c1"))
    assert breaker.status().unknown == ()


def test_the_status_says_when_a_halt_was_confirmed_and_when_it_first_refused(breaker, gate, clock, request_of):
    token = gate.enter(request_of())
    breaker.halt("anna", "stop")
    clock.pass_seconds(1)
    gate.admit(request_of(2))
    clock.pass_seconds(1)
    gate.admit(request_of(3))
    assert breaker.status().confirmed_ns is None
    gate.leave(token, "answered")
    breaker.advance()
    status = breaker.status()
    assert (status.first_refused_ns, status.confirmed_ns) == (clock.ns - 10**9, clock.ns)
    clock.pass_seconds(1)
    breaker.advance()
    assert breaker.status() == status
    breaker.resume("anna", "fine")
    breaker.halt("anna", "stop")
    assert (breaker.status().first_refused_ns, breaker.status().confirmed_ns) == (None, clock.ns)


def test_the_first_halt_stands_and_a_further_one_is_seen_beside_it(breaker, reason, evidence, clock):
    first = breaker.halt("DailyLoss", reason, evidence)
    for _ in range(3):
        assert breaker.halt("OrderRate", "9 orders/s, limit 5") is first
        breaker.halt("DailyLoss", "daily loss 4 %")
    status = breaker.status()
    assert (status.by, status.reason, status.trips) == ("DailyLoss", reason, 1)
    assert status.further == (Halt("HALTED", "OrderRate", "9 orders/s, limit 5", (), clock.ns),)


def test_a_person_resumes_and_the_gate_opens(breaker, gate, clock):
    breaker.halt("OrderRate", "9 orders/s")
    breaker.halt("DailyLoss", "3.12 %")
    clock.pass_seconds(60)
    assert breaker.resume("anna", "a test order ran away") == Halt(
        "ACTIVE", "anna", "a test order ran away", (), clock.ns
    )
    status = breaker.status()
    assert (status.state, status.by, status.confirmed, status.further) == ("ACTIVE", "anna", True, ())
    assert gate.closed is False


def test_resuming_what_is_active_is_nothing(breaker, store):
    before = breaker.status()
    breaker.resume("anna", "why not")
    assert breaker.status() == before
    assert store.last("breaker.resumed") is None


def test_a_reason_with_a_key_in_it_is_masked_everywhere(breaker, store):
    breaker.halt("rule", "GET https://api/x?apiKey=abcdef123456&q=1 failed")
    assert breaker.status().reason == "GET https://api/x?apiKey=***&q=1 failed"
    assert b"abcdef123456" not in store.last("breaker.halted").body


def test_a_halt_without_a_reason_halts(breaker):
    assert breaker.halt("anna", "  ").reason == "no reason given"


class GateInterruptedWhileOpening(OrderGate):
    """A signal handler runs on the thread that is opening the gate, at the last moment before it is open."""

    def open(self) -> None:
        self.handler()
        super().open()


def test_a_signal_handler_that_halts_while_the_gate_is_being_opened_wins(store, clock, restart):
    gate = GateInterruptedWhileOpening(clock)
    breaker = Breaker(store, gate, clock)
    gate.handler = lambda: breaker.halt("SIGTERM", "the bot is being stopped")
    breaker.halt("DailyLoss", "3.12 %")
    with pytest.raises(ResumeRefused, match="meanwhile SIGTERM halted again"):
        breaker.resume("anna", "go on")
    assert gate.closed is True
    assert breaker.status().by == "SIGTERM"
    store.close()
    assert restart().status().by == "SIGTERM"


class LooksLikeANumber:
    def __float__(self) -> float:
        return 3.5


def test_odd_values_of_a_bot_do_not_keep_a_halt_from_the_disk(store, gate, clock, restart):
    key = OrderKey("binance", "main", "BTC/USDT", None, "caf\udce9")
    odd = OrderRequest(key, "create_order", object(), 7, [1], "a lot")
    gate.enter(odd)
    breaker = Breaker(store, gate, clock)
    breaker.halt(7, "undecodable \udce9", [Evidence("x", LooksLikeANumber(), 1)])
    assert breaker.status().not_confirmed == "1 order that had passed the gate not answered yet"
    store.close()
    status = restart().status()
    assert (status.by, status.reason, status.evidence) == ("7", "undecodable ?", (Evidence("x", 3.5, 1),))
    plain = OrderKey("binance", "main", "BTC/USDT", None, "caf?")
    assert status.unknown[0].request == OrderRequest(plain, "create_order", None, None, None, None)


def test_a_halt_whose_numbers_are_none_halts_without_them(breaker, gate):
    breaker.halt("rule", None, 5)
    assert gate.closed is True
    assert (breaker.status().reason, breaker.status().evidence) == ("None", ())


def test_listeners_hear_of_the_halt_of_its_confirmation_and_of_the_resumption(store, gate, clock, request_of):
    heard: list[tuple[str, bool]] = []
    breaker = Breaker(store, gate, clock, on_change=lambda status: heard.append((status.state, status.confirmed)))
    token = gate.enter(request_of())
    breaker.halt("DailyLoss", "3.12 %")
    breaker.advance()
    gate.leave(token, "answered")
    breaker.advance()
    breaker.advance()
    breaker.resume("anna", "go on")
    assert heard == [("HALTED", False), ("HALTED", True), ("ACTIVE", True)]


def test_a_listener_may_use_the_breaker_from_a_thread_that_it_waits_for(store, gate, clock):
    seen = []

    def listener(status: Status) -> None:
        asking = threading.Thread(target=lambda: seen.append(breaker.status().state))
        asking.start()
        asking.join(5)

    breaker = Breaker(store, gate, clock, on_change=listener)
    breaker.halt("anna", "stop")
    assert seen
    assert set(seen) == {"HALTED"}


def test_a_listener_that_raises_changes_nothing(store, gate, clock):
    failures.strict = False

    def listener(status: Status) -> None:
        raise RuntimeError("a bug of a listener")

    breaker = Breaker(store, gate, clock, on_change=listener)
    breaker.halt("anna", "stop")
    assert breaker.status().confirmed is True
    assert failures.counts["breaker listener"] >= 1
