"""Who else is in the process: other instrumentations, agents that patch ccxt, and every kind of event loop."""

import asyncio

import ccxt.async_support
import pytest
import requests
import uvloop
import wrapt
from opentelemetry.instrumentation.requests import RequestsInstrumentor

import tradewatch

SYMBOL = "BTC/USDT"


@pytest.fixture
def theirs(application):
    """OpenTelemetry's own instrumentation of requests, on the application's providers."""
    RequestsInstrumentor().instrument(tracer_provider=application.tracers, meter_provider=application.meters)
    yield
    RequestsInstrumentor().uninstrument()


@pytest.mark.parametrize("first", ["theirs", "ours"])
def test_an_attempt_has_one_span_and_the_bots_own_requests_keep_theirs(
    blocking, venue, make_bot, watch_over, application, request, until, first
):
    place = venue()
    client = blocking.client(place)
    if first == "theirs":
        request.getfixturevalue("theirs")
    watch_over(make_bot(client), **application.settings)
    if first == "ours":
        request.getfixturevalue("theirs")
    client.fetch_balance()
    requests.get(f"{place.url}/paper/clock", timeout=5)
    with pytest.raises(ccxt.BadSymbol):
        client.fetch_ticker("NO/SUCH")
    requests.get(f"{place.url}/paper/books", timeout=5)
    until(lambda: len(application.calls()) == 2)
    others = [s for s in application.spans() if s.instrumentation_scope.name != "tradewatch"]
    assert [(s.name, s.attributes["http.url"].rsplit("/", 1)[1]) for s in others] == [
        ("GET", "clock"),
        ("GET", "books"),
    ]
    assert sum(len(call["attempts"]) for call in application.calls()) == len(place.log())
    seconds = application.points()["http.client.duration"]
    assert sum(point.count for point in seconds.values()) == 2


def test_requests_of_a_client_that_nobody_watches_keep_theirs(blocking, venue, application, theirs):
    blocking.client(venue()).fetch_time()
    assert [s.name for s in application.spans()] == ["GET"]


@pytest.mark.parametrize("when", ["before", "after", "after and unpatched", "both"])
@pytest.mark.parametrize("method", ["fetch2", "fetch", "fetch_ticker", "create_order"])
def test_an_agent_that_patches_ccxt_is_called_as_without(api, venue, make_bot, watch_over, when, method):
    """Patched by wrapt, as agents do: `instance` is the client, each call is seen once by both, undo is exact."""
    place = venue()
    kind = type("Mine", (api.ccxt.binance,), {})
    owner = next(k for k in kind.__mro__ if method in vars(k))
    was, seen = vars(owner)[method], []

    def agent(wrapped, instance, args, kwargs):
        seen.append(instance)
        return wrapped(*args, **kwargs)

    def patch():
        wrapt.wrap_function_wrapper(owner, method, agent)

    def unpatch():
        setattr(owner, method, vars(owner)[method].__wrapped__)

    client = api.client(place, kind)
    api.do(client.load_markets())
    bot, names = make_bot(client), {"create_order": 1, "fetch_ticker": 2}
    try:
        if "before" in when or when == "both":
            patch()
        watch = watch_over(bot, clock=place.clock)
        if "after" in when or when == "both":
            patch()
        if when == "after and unpatched":
            unpatch()
        assert api.do(client.create_order(SYMBOL, "market", "buy", 1))["status"] == "closed"
        for _ in range(2):  # the first call of an operation goes another way
            assert api.do(client.fetch_ticker(SYMBOL))["symbol"] == SYMBOL
        assert {o.operation: o.calls for o in watch.status().operations} == names
        times = 0 if when == "after and unpatched" else 2 if when == "both" else 1
        assert seen == [client] * times * names.get(method, 3)
        watch.halt("news")
        with pytest.raises(ccxt.InvalidOrder):
            api.do(client.create_order(SYMBOL, "market", "buy", 1))
        assert len(place.orders()) == 1
        tradewatch.uninstrument(bot)
        seen.clear()
        assert api.do(client.fetch_ticker(SYMBOL))["symbol"] == SYMBOL
        assert seen == [client] * (0 if method == "create_order" else times)
        if when == "before":
            assert not hasattr(vars(owner)[method], "__tradewatch_original__")
    finally:
        tradewatch.shutdown()
        setattr(owner, method, was)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("when", ["before the loop", "in the loop", "after a loop"])
def test_instrumented_before_in_and_after_a_loop(venue, make_bot, watch_over, pointed, loop, when):
    place = venue()
    run = asyncio.run if loop == "asyncio" else uvloop.run

    async def trades(bot):
        bot.exchange = pointed(ccxt.async_support.binance, place.url, timeout_on_exit=0)
        if when == "in the loop":
            watch_over(bot, clock=place.clock)
        try:
            results = await asyncio.gather(*(bot.exchange.fetch_ticker(SYMBOL) for _ in range(5)))
            await bot.exchange.create_order(SYMBOL, "market", "buy", 1)
            return [r["symbol"] for r in results]
        finally:
            await bot.exchange.close()

    bot = make_bot()
    if when == "before the loop":
        watch_over(bot, clock=place.clock)
    elif when == "after a loop":
        assert run(trades(bot)) == [SYMBOL] * 5
        watch_over(bot, clock=place.clock)
    assert run(trades(bot)) == [SYMBOL] * 5
    watch = tradewatch.instrument(bot)
    assert {o.operation: (o.calls, o.errors) for o in watch.status().operations} == {
        "fetch_ticker": (5, 0),
        "create_order": (1, 0),
    }
