"""Whatever was wrapped is put back exactly; the two checks of every test's end are made here on purpose."""

import asyncio
import threading

import pytest

import tradewatch
from tradewatch.instrumentation.ccxt import binding_of

SYMBOL = "BTC/USDT"


def attributes(cls):
    return {kind: dict(vars(kind)) for kind in cls.__mro__ if kind is not object}


def differing(was, now):
    """(class, attribute) of everything that is not the same object."""
    return [
        (kind.__qualname__, name)
        for kind in was
        for name in was[kind].keys() | now[kind].keys()
        if was[kind].get(name) is not now[kind].get(name)
    ]


def test_instrumenting_changes_attributes_and_undo_restores_each(api, venue, make_bot, watch_over):
    client = api.client(venue())
    was = attributes(type(client))
    bot = make_bot(client)
    own = dict(vars(client))
    watch_over(bot)
    changed = {name for _, name in differing(was, attributes(type(client)))}
    assert {"fetch2", "fetch", "throttle", "on_rest_response", "create_order", "createOrder", "fetchTicker"} <= changed
    tradewatch.uninstrument(bot)
    assert differing(was, attributes(type(client))) == []
    assert dict(vars(client)) == own


def test_a_class_first_used_while_instrumented_is_as_ccxt_would_have_left_it(api, venue, make_bot, watch_over):
    def subclass():
        class Mine(api.ccxt.binance):
            async def fetch_ticker(self, symbol, params={}):  # noqa: B006
                return symbol

            def create_order(self, *args, **kwargs):
                return super().create_order(*args, **kwargs)

        return Mine

    watched, untouched = subclass(), subclass()
    place = venue()
    own = dict(vars(watched))
    bot = make_bot()
    watch_over(bot)
    bot.exchange = api.client(place, watched)
    assert "_tradewatch" in vars(bot.exchange)
    tradewatch.uninstrument(bot)
    api.client(place, untouched)
    assert vars(watched).keys() == vars(untouched).keys()
    for name, value in own.items():
        assert vars(watched)[name] is value
    for name, value in vars(untouched).items():
        twin = vars(watched)[name]
        if hasattr(value, "__code__"):
            assert twin.__code__ is value.__code__, name
    assert "_tradewatch" not in vars(bot.exchange)


def test_a_class_of_another_exchange_is_restored_too(api, make_bot, watch_over, venue):
    client = api.client(venue(), api.ccxt.kraken)
    was = attributes(api.ccxt.kraken)
    bot = make_bot(client)
    watch_over(bot)
    assert ("kraken", "create_order") in differing(was, attributes(api.ccxt.kraken))
    tradewatch.uninstrument(bot)
    assert differing(was, attributes(api.ccxt.kraken)) == []


def test_undo_in_the_middle_of_a_call_leaves_the_call_alone(venue, blocking, awaiting, make_bot, watch_over, until):
    place = venue(({"operation": "ticker_24hr"}, {"kind": "latency", "latency": _latency(300)}))
    for api in (blocking, awaiting):
        client = api.client(place)
        api.do(client.load_markets())
        bot = make_bot(client)
        seen = len(place.log("ticker_24hr"))
        results = []

        def run(api=api, client=client, results=results):
            results.append(api.do(client.fetch_ticker(SYMBOL)))

        watch_over(bot, clock=place.clock)
        running = threading.Thread(target=run)
        running.start()
        until(lambda seen=seen: len(place.log("ticker_24hr")) > seen)
        tradewatch.uninstrument(bot)
        assert "_tradewatch" not in vars(client)
        running.join()
        assert results[0]["symbol"] == SYMBOL
        assert api.do(client.fetch_ticker(SYMBOL))["last"] == results[0]["last"]


def test_calls_that_end_while_the_watch_ends_are_sent_or_counted_as_lost(
    blocking, venue, make_bot, watch_over, application, monkeypatch, until
):
    place = venue()
    bot = make_bot(blocking.client(place))
    bot.exchange.load_markets()
    watch = watch_over(bot, clock=place.clock, **application.settings)
    over, made, close = threading.Event(), [], watch._outputs.close

    def trade():
        while not over.is_set():
            made.append(bot.exchange.fetch_ticker(SYMBOL))
            made.append(bot.exchange.create_order(SYMBOL, "market", "buy", 0.1))

    def closing(*arguments, **named):
        close(*arguments, **named)
        before = len(made)
        until(lambda: len(made) > before + 10)  # as while a collector does not answer

    monkeypatch.setattr(watch._outputs, "close", closing)
    thread = threading.Thread(target=trade)
    thread.start()
    try:
        until(lambda: len(made) > 10)
        tradewatch.uninstrument(bot)
    finally:
        over.set()
        thread.join()
    status = watch.status()
    assert status.telemetry.records_dropped > 0
    assert sum(o.calls for o in status.operations) == len(application.calls()) + status.telemetry.records_dropped


def test_watching_again_after_undo_sees_every_call_once(api, venue, make_bot, watch_over):
    place = venue()
    client = api.client(place)
    api.do(client.load_markets())
    bot = make_bot(client)
    for _ in range(3):
        watch = watch_over(bot, clock=place.clock)
        api.do(client.fetch_ticker(SYMBOL))
        tradewatch.uninstrument(bot)
        api.do(client.fetch_ticker(SYMBOL))
        assert [(o.operation, o.calls) for o in watch.status().operations] == [("fetch_ticker", 1)]


def test_one_of_two_bots_can_be_let_go(api, venue, make_bot, watch_over, tmp_path):
    place = venue()
    a, b = make_bot(api.client(place)), make_bot(api.client(place))
    watch_over(a, clock=place.clock)
    watch_b = watch_over(b, clock=place.clock, state_dir=tmp_path / "b")
    tradewatch.uninstrument(a)
    api.do(a.exchange.fetch_time())
    api.do(b.exchange.fetch_time())
    assert [(o.operation, o.calls) for o in watch_b.status().operations] == [("fetch_time", 1)]
    assert binding_of(a.exchange) is None


def test_somebody_elses_wrapper_around_ours_stays_and_works(api, venue, make_bot, watch_over):
    place = venue()
    client = api.client(place)
    bot = make_bot(client)
    kind = api.ccxt.binance
    was = vars(kind)["fetch_time"], vars(kind)["fetchTime"]
    watch_over(bot, clock=place.clock)
    ours = vars(kind)["fetch_time"]
    calls = []

    def theirs(self, *args, **kwargs):
        calls.append(1)
        return ours(self, *args, **kwargs)

    kind.fetch_time = theirs
    try:
        tradewatch.uninstrument(bot)
        assert vars(kind)["fetch_time"] is theirs
        assert api.do(client.fetch_time()) > 0
        assert calls == [1]
    finally:
        kind.fetch_time, kind.fetchTime = was


def test_undo_of_what_is_not_watched_does_nothing(make_bot):
    tradewatch.uninstrument(make_bot())
    tradewatch.uninstrument(None)
    tradewatch.shutdown()


@pytest.mark.parametrize("spelling", ["fetch_ticker", "fetchTicker"])
def test_coroutine_functions_stay_coroutine_functions(awaiting, venue, make_bot, watch_over, spelling):
    client = awaiting.client(venue())
    watch_over(make_bot(client))
    method = getattr(client, spelling)
    original = method.__func__.__tradewatch_original__
    assert asyncio.iscoroutinefunction(method)
    assert (method.__name__, method.__doc__) == (original.__name__, original.__doc__)


def _latency(ms):
    from tradewatch.paper.faults import Latency

    return Latency("fixed", ms)
