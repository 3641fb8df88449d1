"""A bot that other threads change while it is searched for clients: the search finds them all the same, each time."""

import gc
import sys
import threading
import types

import ccxt
import pytest

from tradewatch.instrumentation.ccxt import is_client
from tradewatch.instrumentation.discovery import search


@pytest.fixture(scope="module")
def client():
    made = ccxt.binance()
    yield made
    made.session.close()


@pytest.fixture
def at_each_collection():
    """Has a function run whenever an object is made that the garbage collector knows: there other threads may run."""
    was, added = gc.get_threshold(), []

    def call(function):
        def run(phase, info):
            if phase == "stop":
                function()

        added.append(run)
        gc.callbacks.append(run)
        gc.set_threshold(1)

    yield call
    gc.set_threshold(*was)
    for each in added:
        gc.callbacks.remove(each)


def found(bot):
    return [f.path for f in search(bot, is_client).found]


class Bot:
    """Its class changes too."""


@pytest.mark.parametrize("place", ["attributes", "dictionary", "class"])
def test_what_changes_in_the_middle_of_each_read_is_read_all_the_same(client, at_each_collection, place):
    bot = type("Bot", (Bot,), {})()
    holder = {"attributes": bot, "dictionary": bot, "class": type(bot)}[place]
    bot.prices = {n: n for n in range(20)}
    if place == "dictionary":
        bot.prices["exchange"] = client
    else:
        holder.exchange = client
    changes = []

    def change():
        n = len(changes)
        changes.append(n)
        if place == "dictionary":
            bot.prices[f"new {n}"] = n
        else:
            setattr(holder, f"x{n}", n)

    at_each_collection(change)
    paths = found(bot)
    assert paths == (["bot.prices['exchange']"] if place == "dictionary" else ["bot.exchange"])
    assert len(changes) > 1


def test_many_threads_that_change_a_bot_hide_no_client(client):
    bot = types.SimpleNamespace(prices={n: n for n in range(50)}, exchange=client, pool=set(), queue=[])
    bot.prices["client"] = client
    ending = threading.Event()

    def churn(seed):
        n = seed
        while not ending.is_set():
            n += 1
            setattr(bot, f"x{seed}_{n % 97}", [n])
            bot.prices[n] = [n]
            bot.prices.pop(n, None)
            bot.pool.add(n)
            bot.queue.append({n})
            if n % 50 == 0:
                delattr(bot, f"x{seed}_{n % 97}")
                bot.pool.clear()
                bot.queue.clear()

    threads = [threading.Thread(target=churn, args=(seed * 10**6,)) for seed in range(1, 4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    for thread in threads:
        thread.start()
    try:
        for _ in range(100):
            assert found(bot) == ["bot.exchange"]
    finally:
        ending.set()
        sys.setswitchinterval(interval)
        for thread in threads:
            thread.join()
