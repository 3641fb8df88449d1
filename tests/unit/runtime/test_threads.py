"""The two threads: steps follow wakes, a failing job starts again, and an end does not wait for what hangs."""

import asyncio
import threading
import time

from tradewatch.runtime.clock import ScaledClock
from tradewatch.runtime.failures import failures
from tradewatch.runtime.safety import SafetyThread
from tradewatch.runtime.service import Service, pause


def test_a_wake_is_a_step_and_the_end_is_one_more(until):
    steps, wake = [], threading.Event()

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


def test_a_step_that_fails_is_not_the_last(until, lenient):
    steps = []

    def step():
        steps.append(1)
        if len(steps) == 1:
            raise RuntimeError("no")
        return 0.01

    thread = SafetyThread(step, threading.Event())
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


def test_two_clocks_of_the_same_numbers_agree():
    now = time.time_ns()
    one, other = (ScaledClock(10**18, 200, now) for _ in range(2))
    assert abs(one.now_ns() - other.now_ns()) < 200 * 50_000_000
    assert one.real_seconds(200) == 1
