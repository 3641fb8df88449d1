"""The two threads: steps follow wakes, a failing job starts again, and an end does not wait for what hangs."""

import asyncio
import sys
import threading
import time

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from tradewatch.runtime.clock import ScaledClock
from tradewatch.runtime.failures import failures
from tradewatch.runtime.safety import SafetyThread, Wake
from tradewatch.runtime.service import Service, pause
from tradewatch.telemetry.cell import Cells
from tradewatch.telemetry.fold import Fold
from tradewatch.telemetry.tally import Tally


def test_a_wake_is_a_step_and_the_end_is_one_more(until):
    steps, wake = [], Wake()

    def step():
        steps.append(1)
        return 60.0

    thread = SafetyThread(step, wake)
    thread.start()
    until(lambda: len(steps) == 1)
    wake.set()
    until(lambda: len(steps) == 2)
    assert thread.stop(5)
    assert len(steps) == 3
    assert not thread.alive


def test_a_handler_may_end_the_thread_whatever_step_of_a_wake_it_interrupts():
    """That of SIGTERM ends it from another thread, and waits for that: the interrupted one goes no step further."""
    wake, stopped, ends = Wake(), [], []

    def interrupt(frame, event, argument):
        if event == "line":
            thread = SafetyThread(lambda: 60.0, wake)
            thread.start()
            ending = threading.Thread(target=lambda: stopped.append(thread.stop(20)), daemon=True)
            ending.start()
            ending.join(20)
            ends.append(not ending.is_alive())
        return interrupt

    sys.settrace(interrupt)
    try:
        wake.set()
    finally:
        sys.settrace(None)
    assert all(ends)
    assert stopped == [True] * len(ends) != []


def test_a_step_that_fails_is_not_the_last(until, lenient):
    steps = []

    def step():
        steps.append(1)
        if len(steps) == 1:
            raise RuntimeError("no")
        return 0.01

    thread = SafetyThread(step, Wake())
    thread.start()
    until(lambda: len(steps) > 2)
    thread.stop(5)
    assert failures.counts == {"safety": 1}


def test_a_job_that_fails_starts_again_and_others_go_on(until, lenient, monkeypatch):
    monkeypatch.setattr("tradewatch.runtime.service._FIRST_RETRY_S", 0.01)
    ran, last = {"bad": 0, "good": 0}, []

    async def bad(ending):
        ran["bad"] += 1
        if ran["bad"] == 1:
            raise RuntimeError("no")
        await ending.wait()

    async def good(ending):
        while not ending.is_set():
            ran["good"] += 1
            await pause(ending, 0.01)

    service = Service({"bad": bad, "good": good}, lambda left_s: last.append(0 < left_s <= 5))
    service.start()
    until(lambda: ran["bad"] == 2 and ran["good"] > 2)
    assert service.stop(5)
    assert last == [True]
    assert failures.counts == {"bad": 1}


def test_an_end_does_not_wait_for_a_job_that_hangs():
    let_go = threading.Event()

    async def hangs(ending):
        await asyncio.to_thread(let_go.wait, 20)

    service = Service({"hangs": hangs}, lambda left_s: None)
    service.start()
    assert service.stop(0.1) is False
    let_go.set()
    service._thread.join(10)


def test_a_beginning_that_was_interrupted_leaves_no_thread_behind(monkeypatch):
    goes_on, run, last = threading.Event(), asyncio.run, []

    def late(main):
        assert goes_on.wait(20)
        run(main)

    async def job(ending):
        await ending.wait()

    service = Service({"job": job}, lambda left_s: last.append("closed"))
    wait, waits = service._ready.wait, []

    def interrupted(within_s):
        waits.append(within_s)
        if len(waits) == 1:
            raise KeyboardInterrupt
        goes_on.set()
        return wait(within_s)

    monkeypatch.setattr(asyncio, "run", late)
    monkeypatch.setattr(service._ready, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        service.start()
    try:
        assert service.stop(20)
    finally:
        goes_on.set()
    assert last == ["closed"]


def test_a_thread_that_stands_still_is_said_to(until, caplog):
    let_go, stands = threading.Event(), threading.Event()

    async def hangs(ending):
        stands.set()
        let_go.wait(20)

    service = Service({"hangs": hangs}, lambda left: None)
    service.start()
    assert stands.wait(10)
    for _ in range(3):
        service.measure()
    assert caplog.messages == []
    for _ in range(3):
        service.measure()
    [said] = caplog.messages
    assert said.startswith("the service thread stands still")
    let_go.set()
    service.stop(10)


def test_a_job_that_would_end_the_process_ends_neither_the_thread_nor_the_others(until, lenient, monkeypatch):
    monkeypatch.setattr("tradewatch.runtime.service._FIRST_RETRY_S", 0.01)
    ran = []

    async def exits(ending):
        ran.append("exits")
        if len(ran) == 1:
            raise SystemExit
        await ending.wait()

    service = Service({"exits": exits}, lambda left: None)
    service.start()
    until(lambda: len(ran) == 2)
    assert service.alive
    assert failures.counts == {"exits": 1}
    assert service.stop(10)


def test_two_clocks_of_the_same_numbers_agree():
    now = time.time_ns()
    one, other = (ScaledClock(10**18, 200, now) for _ in range(2))
    assert abs(one.now_ns() - other.now_ns()) < 200 * 50_000_000
    assert one.real_seconds(200) == 1


def test_what_the_service_thread_has_used_is_measured_when_asked(until):
    async def works(ending):
        n = 0
        while not ending.is_set():
            n = sum(range(20_000))
            await asyncio.sleep(0)
        assert n

    service = Service({"works": works}, lambda left: None)
    service.measure()  # not begun: nothing to measure
    service.start()
    assert service.cpu_ns == 0
    service.measure()
    until(lambda: service.cpu_ns > 0)
    before = service.cpu_ns

    def grown():
        service.measure()
        return service.cpu_ns > before

    until(grown)
    assert service.stop(5)
    service.measure()  # over: nothing happens


def test_a_fold_that_sleeps_is_woken_by_a_duration_each_time(until):
    cells = Cells()
    provider = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    fold = Fold(provider.get_meter("tradewatch"), cells, Tally(cells).timed, {}, None)
    service = Service({"metrics": fold.run}, lambda left: None)
    service.start()
    cell = cells.cell("binance", "fetch_ticker", None)
    for _ in range(2):
        # In the long pause, which only a ring ends in time.
        until(lambda: fold._bell._waiting is not None)
        cell.count(5)
        cells.note(cell, 5)
        until(lambda: not cell.queued and not cell.waiting)
    assert service.stop(5)
