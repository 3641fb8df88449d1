"""The lag of an event loop: small where it runs, growing while it stands still, missing where there is no such loop."""

import asyncio
import threading
import time

import pytest
import uvloop

from tradewatch.health.loops import Loops

MAKERS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class Running:
    """A loop that runs in a thread of its own, and can be made to stand still."""

    def __init__(self, make):
        self.loop = make()
        self.go_on = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        self.loop.run_forever()
        self.loop.close()

    def stand_still(self):
        began = threading.Event()

        def stand():
            began.set()
            self.go_on.wait(60)

        self.loop.call_soon_threadsafe(stand)
        assert began.wait(10)

    def end(self):
        self.go_on.set()
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.fixture(params=MAKERS)
def running(request, until):
    made = []

    def make():
        made.append(Running(MAKERS[request.param]))
        until(made[-1].loop.is_running)
        return made[-1]

    yield make
    for each in made:
        each.end()


def loops_of(*found, admit=lambda name: name):
    return Loops(lambda: list(found), admit)


def test_a_loop_that_runs_answers(running, until):
    one = running()
    loops = loops_of(("bot.exchange", one.loop))
    assert loops.lags() == {}
    asked = time.monotonic()
    loops.ask()
    until(lambda: loops._loops[0].asked_ns is None)
    assert 0 < loops.lags()["bot.exchange"] <= time.monotonic() - asked


def test_the_lag_of_one_that_stands_still_grows_until_it_goes_on_and_is_told_for_a_while(running, until):
    one = running()
    loops = loops_of(("bot.exchange", one.loop))
    loops.ask()
    until(lambda: loops._loops[0].asked_ns is None)
    one.stand_still()
    before = time.monotonic()
    loops.ask()
    asked = time.monotonic()
    seen = []
    for least in (0.05, 0.1, 0.2):
        until(lambda least=least: time.monotonic() - asked > least)
        loops.ask()
        seen.append(loops.lags()["bot.exchange"])
        assert least < seen[-1] <= time.monotonic() - before
    assert seen == sorted(seen)
    one.go_on.set()
    until(lambda: loops._loops[0].asked_ns is None)
    longest = loops.lags()["bot.exchange"]
    assert longest >= seen[-1]
    # Only one callback waited, however often it was looked.
    assert len(loops._loops[0].waits_ns) == 2
    loops.ask()
    until(lambda: loops._loops[0].asked_ns is None)
    assert loops.lags()["bot.exchange"] >= longest

    def calm_again():
        loops.ask()
        until(lambda: loops._loops[0].asked_ns is None)
        return loops.lags()["bot.exchange"] < longest

    until(calm_again)


def test_a_closed_loop_is_gone(running, until):
    one, other = running(), running()
    loops = loops_of(("one", one.loop), ("other", other.loop))
    loops.ask()
    until(lambda: set(loops.lags()) == {"one", "other"})
    one.end()
    assert one.loop.is_closed()
    assert set(loops.lags()) == {"other"}
    loops.ask()
    assert len(loops._loops) == 1


def test_a_loop_that_was_let_go_is_gone():
    found = [("a", asyncio.new_event_loop())]
    loops = Loops(lambda: found, str)
    loops.ask()
    assert len(loops._loops) == 1
    found.pop()[1].close()
    loops.ask()
    assert loops._loops == ()


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_loop_that_does_not_run_does_not_lag(make, until):
    loop = make()
    loops = loops_of(("bot", loop))
    loops.ask()
    assert loops.lags() == {}

    async def asked():
        await asyncio.to_thread(loops.ask)
        await asyncio.to_thread(until, lambda: loops._loops[0].asked_ns is None)
        return loops.lags()

    assert set(loop.run_until_complete(asked())) == {"bot"}
    # Between two runs nothing waits, so nothing is known.
    assert loops.lags() == {}
    loop.close()


def test_a_callback_that_a_loop_ended_before_is_not_a_lag():
    """It is run when the loop runs next, however long that takes."""
    loop = asyncio.new_event_loop()
    loops = loops_of(("bot", loop))

    def last():
        loop.stop()
        loops.ask()

    loop.call_soon(last)
    loop.run_forever()
    assert loops._loops[0].asked_ns is not None
    assert loops.lags() == {}
    loop.run_until_complete(asyncio.sleep(0))
    assert not loops._loops[0].waits_ns
    loop.close()


def test_a_loop_that_is_none_reaches_nobody(lenient):
    """A bot may bring a loop of its own making, of which not even this works."""
    loops = loops_of(("bot", asyncio.AbstractEventLoop()))
    loops.ask()
    assert loops.lags() == {}
    assert lenient == {"loops": 1}


def test_clients_on_one_loop_are_one_and_names_are_told_apart(running, until):
    one, other, third = running(), running(), running()
    found = [("bot.a", one.loop), ("bot.b", one.loop), ("made later", other.loop), ("made later", third.loop)]
    loops = loops_of(*found)
    loops.ask()
    until(lambda: set(loops.lags()) == {"bot.a", "made later", "made later 2"})
    other.end()
    loops.ask()
    until(lambda: set(loops.lags()) == {"bot.a", "made later 2"})


def test_what_metrics_have_no_room_for_is_the_slowest_of_them(running, until):
    made = [running() for _ in range(3)]
    loops = loops_of(*((f"c{n}", each.loop) for n, each in enumerate(made)), admit=lambda name: "_OTHER")
    loops.ask()
    until(lambda: len(loops.lags()) == 3 and all(each.asked_ns is None for each in loops._loops))
    [reading] = loops.readings()
    assert (reading.metric.name, reading.attributes) == ("trading.loop.lag", (("trading.loop", "_OTHER"),))
    assert reading.value == max(loops.lags().values())
