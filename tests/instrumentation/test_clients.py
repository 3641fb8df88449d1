"""Clients as bots hold them: of ccxt.pro, shared by two bots, made in connect(), and of a venue with other habits."""

import asyncio

import pytest

import tradewatch

SYMBOL = "BTC/USDT"


def test_a_client_of_ccxt_pro_is_seen_and_halted_like_any_other(awaiting, venue, application, make_bot, watch_over):
    import ccxt.pro

    place = venue()
    client = awaiting.client(place, ccxt.pro.binance)
    watch = watch_over(make_bot(client), clock=place.clock, **application.settings)
    awaiting.do(client.fetch_ticker(SYMBOL))
    awaiting.do(client.create_order(SYMBOL, "market", "buy", 1))
    watch.halt("news")
    for send in (
        lambda: client.create_order(SYMBOL, "market", "buy", 1),
        lambda: client.create_order_ws(SYMBOL, "market", "buy", 1),
        lambda: client.createOrderWs(SYMBOL, "market", "buy", 1),
        lambda: client.edit_order_ws("1", SYMBOL, "limit", "buy", 1, 50),
    ):
        with pytest.raises(ccxt.InvalidOrder, match="halted since"):
            awaiting.do(send())
    assert len(place.orders()) == 1
    tradewatch.shutdown()
    assert [c["name"] for c in application.calls()][:2] == ["fetch_ticker binance", "create_order binance"]


def test_a_client_of_two_bots_is_halted_by_either(blocking, venue, make_bot, watch_over, application, tmp_path):
    place = venue()
    shared = blocking.client(place)
    one, other = make_bot(shared), make_bot(shared)
    first = watch_over(one, clock=place.clock, name="one", state_dir=tmp_path / "1", **application.settings)
    second = watch_over(other, clock=place.clock, name="other", state_dir=tmp_path / "2", **application.settings)
    assert shared.create_order(SYMBOL, "market", "buy", 1)["status"] == "closed"
    for watch in (first, second):
        watch.halt("news")
        with pytest.raises(blocking.ccxt.InvalidOrder):
            shared.create_order(SYMBOL, "market", "buy", 1)
        watch.resume("over")
    assert len(place.orders()) == 1
    second.halt("news")
    tradewatch.uninstrument(other)
    assert shared.create_order(SYMBOL, "market", "buy", 1)["status"] == "closed"
    first.halt("news")
    with pytest.raises(blocking.ccxt.InvalidOrder):
        shared.create_order(SYMBOL, "market", "buy", 1)
    tradewatch.uninstrument(one)
    assert shared.create_order(SYMBOL, "market", "buy", 1)["status"] == "closed"


def test_a_bot_that_makes_its_client_in_connect_is_halted(api, venue, make_bot, watch_over, application):
    place = venue()

    class Bot(make_bot):
        def connect(self):
            self.exchange = api.client(place)

    bot = Bot()
    watch = watch_over(bot, clock=place.clock, **application.settings)
    watch.halt("news")
    bot.connect()
    with pytest.raises(api.ccxt.InvalidOrder):
        api.do(bot.exchange.create_order(SYMBOL, "market", "buy", 1))
    bot.connect()
    with pytest.raises(api.ccxt.InvalidOrder):
        api.do(bot.exchange.createOrder(SYMBOL, "market", "buy", 1))
    assert place.orders() == []


def test_a_task_that_outlives_the_call_it_was_made_in_has_calls_of_its_own(
    awaiting, venue, make_bot, watch_over, application
):
    """asyncio copies the context into a task: one that is made inside a call must not count as part of it for ever."""
    place = venue()
    later = []

    class Starts(awaiting.ccxt.binance):
        async def fetch_balance(self, params={}):  # noqa: B006
            later.append(asyncio.ensure_future(self.refresh()))
            return await super().fetch_balance(params)

        async def refresh(self):
            await asyncio.sleep(0.2)
            return await self.fetch_ticker(SYMBOL)

    client = awaiting.client(place, Starts)
    awaiting.do(client.load_markets())
    watch_over(make_bot(client), clock=place.clock, **application.settings)

    async def trade():
        await client.fetch_balance()
        await asyncio.gather(*later)

    awaiting.do(trade())
    tradewatch.shutdown()
    assert [(c["name"], len(c["attempts"])) for c in application.calls()] == [
        ("fetch_balance binance", 1),
        ("fetch_ticker binance", 1),
    ]
