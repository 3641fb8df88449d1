"""Bots in the shapes that they have: the client is found where it is held, and a halt reaches it however it is used."""

import asyncio
import types

import pytest

import tradewatch

SYMBOL = "BTC/USDT"
ORDER = (SYMBOL, "market", "buy", 1)


class Held:
    """Something that holds what it is given by name."""

    def __init__(self, **given):
        vars(self).update(given)


class Slotted:
    __slots__ = ("_client",)

    def __init__(self, client):
        self._client = client


def on_a_class(client):
    return type("Bot", (), {"exchange": client})()


def on_a_module(client):
    module = types.ModuleType("a_bot")
    module.exchange = client
    return module


# How a bot holds its client, where that is found, and how it sends an order.
SHAPES = {
    "self.exchange": (lambda c: Held(exchange=c), "bot.exchange", lambda b: b.exchange.create_order),
    "self.client": (lambda c: Held(client=c), "bot.client", lambda b: b.client.createOrder),
    "self._trading_client": (
        lambda c: Held(_trading_client=c),
        "bot._trading_client",
        lambda b: b._trading_client.create_order,
    ),
    "self.api": (lambda c: Held(api=c), "bot.api", lambda b: b.api.create_order),
    "a slot": (Slotted, "bot._client", lambda b: b._client.create_order),
    "on the class": (on_a_class, "bot.exchange", lambda b: b.exchange.create_order),
    "of a module": (on_a_module, "bot.exchange", lambda b: b.exchange.create_order),
    "by name": (
        lambda c: Held(exchanges={"binance": c}),
        "bot.exchanges['binance']",
        lambda b: b.exchanges["binance"].create_order,
    ),
    "by name, with more": (
        lambda c: Held(exchanges={"binance": {"instance": c, "fee": 1}}),
        "bot.exchanges['binance']['instance']",
        lambda b: b.exchanges["binance"]["instance"].create_order,
    ),
    "in a list": (lambda c: Held(clients=[None, c]), "bot.clients[1]", lambda b: b.clients[1].create_order),
    "executor.exchange": (
        lambda c: Held(executor=Held(exchange=c)),
        "bot.executor.exchange",
        lambda b: b.executor.exchange.create_order,
    ),
    "broker.client": (
        lambda c: Held(broker=Held(client=c)),
        "bot.broker.client",
        lambda b: b.broker.client.create_order,
    ),
    "a method captured early": (lambda c: Held(send=c.create_order), "bot.send.__self__", lambda b: b.send),
    "an implicit method captured early": (
        lambda c: Held(
            send=lambda *_: c.private_post_order(
                {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "1"}
            ),
            kept=c,
        ),
        "bot.kept",
        lambda b: b.send,
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_bot_of_this_shape_is_found_and_halted(api, venue, watch_over, shape):
    holds, path, sends = SHAPES[shape]
    place = venue()
    client = api.client(place)
    api.do(client.load_markets())
    bot = holds(client)
    watch = watch_over(bot, name="shape", clock=place.clock)
    assert [found.path for found in watch.status().clients] == [path]
    api.do(sends(bot)(*ORDER))
    watch.halt("news")
    with pytest.raises(tradewatch.OrderRefused):
        api.do(sends(bot)(*ORDER))
    assert len(place.orders()) == 1


def test_tasks_of_a_group_and_callbacks_have_the_decision_as_parent(awaiting, venue, make_bot, watch_over, application):
    place = venue()
    client = awaiting.client(place)
    awaiting.do(client.load_markets())
    watch_over(make_bot(client), clock=place.clock, **application.settings)

    async def trade():
        begun = asyncio.get_running_loop().create_future()
        with tradewatch.decision("grid-1"):
            asyncio.get_running_loop().call_soon(
                lambda: begun.set_result(asyncio.ensure_future(client.create_order(*ORDER)))
            )
            async with asyncio.TaskGroup() as group:
                group.create_task(client.fetch_ticker(SYMBOL))
                group.create_task(client.create_order(*ORDER))
            await (await begun)

    awaiting.do(trade())
    tradewatch.shutdown()
    spans = application.spans()
    [decision] = [span for span in spans if span.name == "decision grid-1"]
    assert decision.attributes["trading.strategy"] == "grid-1"
    below = sorted(
        span.name for span in spans if span.parent is not None and span.parent.span_id == decision.context.span_id
    )
    assert below == ["create_order binance", "create_order binance", "fetch_ticker binance"]


def test_clients_that_no_search_would_find_are_watched_from_the_start_where_they_are_named(
    api, venue, make_bot, watch_over
):
    place = venue()
    found, hidden = api.client(place), api.client(place)
    watch = watch_over(make_bot(found), clock=place.clock, clients=[hidden, found])
    assert [each.path for each in watch.status().clients] == ["bot.exchange", "clients[0]"]
    watch.halt("news")
    with pytest.raises(tradewatch.OrderRefused):
        api.do(hidden.create_order(*ORDER))
    assert place.orders() == []


@pytest.mark.parametrize("wrong", [object(), "binance", None])
def test_what_is_no_client_is_refused(make_bot, watch_over, wrong):
    with pytest.raises(ValueError, match=r"clients\[0\] is a \w+; accepted: an exchange client"):
        watch_over(make_bot(), clients=[wrong])


def test_a_strategy_is_named_on_each_call_and_order_and_on_no_metric(api, venue, make_bot, watch_over, application):
    place = venue()
    client = api.client(place)
    api.do(client.load_markets())
    watch_over(make_bot(client), clock=place.clock, strategy="grid-1", **application.settings)
    api.do(client.fetch_ticker(SYMBOL))
    api.do(client.create_order(*ORDER))
    tradewatch.shutdown()
    assert [(call["name"], call["attributes"]["trading.strategy"]) for call in application.calls()] == [
        ("fetch_ticker binance", "grid-1"),
        ("create_order binance", "grid-1"),
    ]
    assert not [name for name, points in application.points().items() for p in points if "trading.strategy" in dict(p)]
