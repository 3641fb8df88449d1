"""Forks of a bot that is watched: what holds in the child, what is left alone, and that nothing hangs."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sqlite3
import threading
import time
import traceback
import urllib.request

import pytest
import requests

import tradewatch
from tradewatch import registry
from tradewatch.runtime.failures import failures

SYMBOL = "BTC/USDT"
# Python 3.12 and later warn of what is tested here.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


class Child:
    """A forked child that runs a function and says, as JSON, what it returned."""

    def __init__(self, function):
        read, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                os.close(read)
                # Whatever hangs in here ends by this signal, not by the patience of the test.
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.alarm(30)
                try:
                    said = {"result": function()}
                except BaseException:
                    said = {"error": traceback.format_exc()}
                os.write(write, json.dumps(said).encode())
                code = 0
            finally:
                os._exit(code)
        os.close(write)
        self._pipe = os.fdopen(read)

    def result(self):
        with self._pipe:
            text = self._pipe.read()
        _, status = os.waitpid(self.pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0, "the child hung or died"
        said = json.loads(text)
        assert "error" not in said, said["error"]
        return said["result"]


def forked(function):
    return Child(function).result()


def placed(client):
    """None, or what the refusal said."""
    import ccxt

    try:
        client.create_order(SYMBOL, "market", "buy", 1)
    except ccxt.InvalidOrder as error:
        return str(error)


def fresh(client):
    """The client with connections of its own, as a child should have them."""
    client.session.adapters.clear()
    client.session.mount("http://", requests.adapters.HTTPAdapter())
    return client


@pytest.fixture
def bot(blocking, venue, make_bot):
    place = venue()
    made = make_bot(blocking.client(place))
    made.place = place
    made.exchange.load_markets()
    return made


def test_what_was_halted_at_the_fork_stays_halted_in_the_child(bot, watch_over):
    watch = watch_over(bot)
    assert forked(lambda: placed(fresh(bot.exchange))) is None
    watch.halt("news")
    assert "halted since" in forked(lambda: placed(fresh(bot.exchange)))
    watch.resume("looked")
    assert forked(lambda: placed(fresh(bot.exchange))) is None
    assert len(bot.place.orders()) == 2


def test_a_child_can_be_halted_and_resumed_in_memory(bot, watch_over, lenient):
    watch = watch_over(bot)

    def halts():
        watch.halt("the child's own")
        return placed(fresh(bot.exchange)), watch.status().breaker.confirmed

    refused, confirmed = forked(halts)
    assert "the child's own" in refused
    assert not confirmed
    assert placed(bot.exchange) is None
    assert watch.status().breaker.state == "ACTIVE"


def test_a_child_has_no_thread_no_port_and_writes_nothing(bot, watch_over, tmp_path):
    watch = watch_over(bot, port=0)
    endpoint = watch.status().telemetry.endpoint

    def trades():
        placed(fresh(bot.exchange))
        time.sleep(0.3)
        status = watch.status()
        threads = [t.name for t in threading.enumerate() if not t.name.startswith("Otel")]  # those of other tests
        return threads, status.safety_alive, status.service_alive

    assert forked(trades) == [["MainThread"], False, False]
    with contextlib.closing(sqlite3.connect(tmp_path / "state" / "events.db")) as log:
        written = log.execute("SELECT count(*) FROM events WHERE kind = 'portfolio.fill'").fetchone()[0]
    assert written == 0
    assert watch.status().orders == {}
    # A child that outlives its parent must not keep the port: nobody would answer there.
    port = int(endpoint.split(":")[2].split("/")[0])
    child = Child(lambda: time.sleep(2))
    time.sleep(0.2)
    tradewatch.shutdown()
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))
        again.listen()
    child.result()


def test_what_a_child_does_is_not_counted_with_what_its_parent_did(bot, watch_over):
    watch = watch_over(bot)
    bot.exchange.fetch_time()

    def calls():
        bot.exchange.fetch_time()
        return {o.operation: o.calls for o in watch.status().operations}

    assert forked(calls) == {"fetch_time": 1}


def test_a_childs_readers_see_no_series_of_the_parent(bot, watch_over, application, until):
    watch_over(bot, **application.settings)
    application.meters.get_meter("bot").create_counter("rounds").add(1)
    bot.exchange.fetch_ticker(SYMBOL)
    until(lambda: "trading.exchange.call.duration" in application.points())
    assert forked(lambda: sorted(application.points())) == ["rounds"]
    assert {"trading.exchange.call.duration", "rounds"} <= application.points().keys()


def test_a_child_that_is_instrumented_is_a_bot_of_its_own(bot, watch_over, tmp_path):
    watch = watch_over(bot)

    def again():
        try:
            tradewatch.instrument(bot, state_dir=tmp_path / "state", port=0)
        except tradewatch.StoreInUse:
            in_use = True
        mine = tradewatch.instrument(bot, name="child", state_dir=tmp_path / "child", port=0)
        said = placed(fresh(bot.exchange))
        mine.resume("looked")
        bot.exchange.fetch_time()
        calls = {o.operation: o.calls for o in mine.status().operations}
        tradewatch.shutdown()
        return in_use, mine is watch, said, calls

    assert forked(again) == [True, False, None, {"create_order": 1, "fetch_time": 1}]
    watch.halt("news")
    _, _, said, calls = forked(again)
    assert "news" in said
    assert calls == {"create_order": 1, "fetch_time": 1}
    assert watch.status().breaker.state == "HALTED"


@pytest.mark.parametrize("owner", ["ours", "theirs"])
def test_forks_in_the_middle_of_everything_do_not_hang(bot, watch_over, application, owner):
    """Calls on three threads, a scrape and a collection at every moment; each child trades, halts and collects."""
    watch = watch_over(bot, **(application.settings if owner == "theirs" else {"port": 0}))
    endpoint, ending = watch.status().telemetry.endpoint, threading.Event()

    def calls():
        while not ending.is_set():
            bot.exchange.microseconds()
            placed(bot.exchange)

    def collects():
        while not ending.is_set():
            if endpoint is None:
                application.points()
            else:
                urllib.request.urlopen(endpoint).read()

    threads = [threading.Thread(target=each) for each in (calls, calls, calls, collects)]
    for each in threads:
        each.start()

    def child():
        fresh(bot.exchange)
        said = placed(bot.exchange)
        watch.halt("in the child")
        return said, placed(bot.exchange) is not None

    try:
        for _ in range(40):
            assert forked(child) == [None, True]
    finally:
        ending.set()
        for each in threads:
            each.join()
    assert watch.status().breaker.state == "ACTIVE"
    assert watch.status().safety_alive


LOCKS = {
    "state": lambda watch: watch._breaker._state_lock,
    "disk": lambda watch: watch._breaker._disk_lock,
    "watches": lambda watch: registry._lock,
    "wrapping": lambda watch: registry._ccxt._lock,
    "gauges": lambda watch: registry._gauges._lock,
    "failures": lambda watch: failures._lock,
}


@pytest.mark.parametrize("which", LOCKS)
def test_a_lock_that_another_thread_held_at_the_fork_is_free_in_the_child(bot, watch_over, tmp_path, which, lenient):
    watch = watch_over(bot)
    locked, ending = threading.Event(), threading.Event()

    def holds():
        with LOCKS[which](watch):
            locked.set()
            ending.wait(20)

    def child():
        said = placed(fresh(bot.exchange))
        watch.halt("in the child")
        failures.warn("a test", "said")
        again = tradewatch.instrument(bot, name="child", state_dir=tmp_path / "child", port=None)
        return said, placed(bot.exchange) is not None, again.status().breaker.reason

    thread = threading.Thread(target=holds)
    thread.start()
    locked.wait()
    try:
        assert forked(child) == [None, True, "in the child"]
    finally:
        ending.set()
        thread.join()


def test_a_fork_waits_for_our_work_in_the_sdk(bot, watch_over):
    """What the gate is for: no child begins while a thread of ours may hold a lock of the SDK."""
    from tradewatch.runtime import fork

    inside, seen = threading.Event(), []

    def works():
        with fork.held:
            inside.set()
            time.sleep(0.2)
            seen.append("done")

    thread = threading.Thread(target=works)
    thread.start()
    inside.wait()
    assert forked(lambda: list(seen)) == ["done"]
    thread.join()


def test_a_fork_in_the_middle_of_an_async_call(awaiting, venue, make_bot, watch_over):
    place = venue(({"operation": "ticker_24hr"}, {"kind": "latency", "latency": _latency(400)}))
    client = awaiting.client(place)
    awaiting.do(client.load_markets())
    watch = watch_over(make_bot(client))
    watch.halt("news")
    import ccxt

    async def both():
        running = asyncio.ensure_future(client.fetch_ticker(SYMBOL))
        await asyncio.sleep(0.1)

        def child():
            # A loop of its own, as a child must have; the client's binding and gate are what it inherited.
            async def order():
                try:
                    await client.create_order(SYMBOL, "market", "buy", 1)
                except ccxt.InvalidOrder as error:
                    return str(error)

            coroutine = order()
            try:
                coroutine.send(None)
            except StopIteration as ended:
                return ended.value

        said = Child(child)
        return await running, said

    ticker, child = awaiting.do(both())
    assert "halted since" in child.result()
    assert ticker["symbol"] == SYMBOL
    assert {o.operation: o.calls for o in watch.status().operations} == {"fetch_ticker": 1}
    assert place.orders() == []


def test_a_pre_fork_server(bot, watch_over, tmp_path):
    """A master that loads the application, and workers that are forked from it, die and are replaced."""
    watch = watch_over(bot)

    def worker(number):
        def serve():
            fresh(bot.exchange)
            mine = tradewatch.instrument(
                bot, name=f"worker-{number}", state_dir=tmp_path / f"worker-{number}", port=None
            )
            said = placed(bot.exchange)
            mine.halt("enough")
            tradewatch.shutdown()
            return said

        return Child(serve)

    assert [each.result() for each in [worker(n) for n in range(3)]] == [None] * 3
    # Replaced after the halt of each: what a worker has on disk is its own.
    assert all("enough" in each.result() for each in [worker(n) for n in range(3)])
    assert watch.status().breaker.state == "ACTIVE"
    assert placed(bot.exchange) is None


def _latency(ms):
    from tradewatch.paper.faults import Latency

    return Latency("fixed", ms)
