"""A halt reaches every client of the process: those nobody found, shared ones, copies, and tasks begun elsewhere."""

import asyncio
import copy
import threading

import pytest

import tradewatch

SYMBOL = "BTC/USDT"


def test_a_client_in_a_closure_is_watched_from_its_first_call(api, venue, make_bot, watch_over):
    place = venue()
    hidden = api.client(place)
    watch = watch_over(make_bot(api.client(place)), clock=place.clock)
    watch.halt("news")
    with pytest.raises(api.ccxt.InvalidOrder):
        api.do(hidden.create_order(SYMBOL, "market", "buy", 1))
    assert place.orders() == []


def test_either_bots_halt_stops_a_client_that_both_have(api, venue, make_bot, watch_over, tmp_path):
    place = venue()
    client = api.client(place)
    first, second = make_bot(client), make_bot(client)
    watch_over(first, clock=place.clock)
    watch = watch_over(second, clock=place.clock, state_dir=tmp_path / "second")
    assert any("belongs to another bot too" in note for note in watch.status().notes)
    watch.halt("news")
    with pytest.raises(api.ccxt.InvalidOrder):
        api.do(client.create_order(SYMBOL, "market", "buy", 1))
    watch.resume("fine")
    api.do(client.create_order(SYMBOL, "market", "buy", 1))
    assert len(place.orders()) == 1


def test_ccxts_own_retry_of_an_order_does_not_pass_a_halt(api, venue, make_bot, watch_over, until):
    place = venue(({"operation": "order_place"}, {"kind": "server_error", "status": 503}))
    options = {"maxRetriesOnFailure": 1, "maxRetriesOnFailureDelay": 1500}
    client = api.client(place, options={**options, "fetchMarkets": {"types": ["spot"]}, "fetchMargins": False})
    api.do(client.load_markets())
    watch = watch_over(make_bot(client), clock=place.clock)

    def halt():
        until(place.orders)
        watch.halt("news")

    halting = threading.Thread(target=halt)
    halting.start()
    with pytest.raises(api.ccxt.InvalidOrder, match="halted since"):
        api.do(client.create_order(SYMBOL, "limit", "buy", 1, 50))
    halting.join()
    assert [e.status for e in place.orders()] == [503]
    # A 503 may have left an order behind.
    assert len(watch.status().breaker.unknown) == 1


def test_a_bot_that_a_client_is_found_on_takes_it_over_from_one_that_was_only_there(
    api, venue, make_bot, watch_over, tmp_path
):
    place = venue()
    first = watch_over(make_bot(), clock=place.clock)
    client = api.client(place)
    api.do(client.fetch_ticker(SYMBOL))
    assert [c.path for c in first.status().clients] == ["made later"]
    second = watch_over(make_bot(client), clock=place.clock, state_dir=tmp_path / "second")
    api.do(client.fetch_ticker(SYMBOL))
    assert (first.status().clients, [c.path for c in second.status().clients]) == ((), ["bot.exchange"])
    assert [[o.calls for o in watch.status().operations] for watch in (first, second)] == [[1], [1]]
    first.halt("the first alone")
    api.do(client.create_order(SYMBOL, "market", "buy", 1))
    second.halt("its own")
    with pytest.raises(api.ccxt.InvalidOrder, match="its own"):
        api.do(client.create_order(SYMBOL, "market", "buy", 1))
    assert len(place.orders()) == 1


def test_a_copy_that_outlives_its_watch_belongs_to_the_next(blocking, venue, make_bot, watch_over):
    place = venue()
    mine = type("Mine", (blocking.ccxt.binance,), {})  # copying writes a name into the class
    bot = make_bot(blocking.client(place, mine))
    watch_over(bot, clock=place.clock)
    bot.exchange = copy.copy(bot.exchange)
    tradewatch.uninstrument(bot)
    watch = watch_over(bot, clock=place.clock)
    watch.halt("news")
    with pytest.raises(blocking.ccxt.InvalidOrder):
        bot.exchange.create_order(SYMBOL, "market", "buy", 1)


def test_an_order_of_a_task_that_a_read_began_is_an_order(awaiting, venue, make_bot, watch_over):
    place = venue()
    begun, halted = [], asyncio.Event()

    class Mine(awaiting.ccxt.binance):
        async def fetch_ticker(self, symbol, params={}):  # noqa: B006
            begun.append(asyncio.ensure_future(self.later(symbol)))
            return await super().fetch_ticker(symbol, params)

        async def later(self, symbol):
            await halted.wait()
            return await self.create_order(symbol, "market", "buy", 1)

    client = awaiting.client(place, Mine)
    watch = watch_over(make_bot(client), clock=place.clock)

    async def trade():
        await client.fetch_ticker(SYMBOL)
        await asyncio.to_thread(watch.halt, "news")
        halted.set()
        return await asyncio.gather(*begun, return_exceptions=True)

    [outcome] = awaiting.do(trade())
    assert isinstance(outcome, awaiting.ccxt.InvalidOrder)
    assert place.orders() == []
    tradewatch.shutdown()
    assert watch.status().orders == {"refused": 1}


def test_a_wall_clock_set_back_stops_no_rule(blocking, venue, make_bot, watch_over, until):
    rows = [(100, 100, 100, 100), (100, 100, 50, 50), *[(50, 50, 50, 50)] * 10]
    place = venue(rows=rows, balances={"BTC": "100", "USDT": "1000"})
    client = blocking.client(place)

    class SetBack:
        """The wall clock that the SDK sees, an hour behind what it said before; the monotonic one goes on."""

        back_ns = 0

        def now_ns(self):
            return place.clock.now_ns() - self.back_ns

        def mono_ns(self):
            return place.clock.mono_ns()

        def real_seconds(self, seconds):
            return seconds

    clock = SetBack()
    watch = watch_over(make_bot(client), clock=clock)
    client.fetch_balance()
    client.fetch_ticker(SYMBOL)
    until(lambda: watch.status().portfolio.day_start is not None)
    place.clock.pass_seconds(150)
    clock.back_ns = 5 * 10**9
    client.fetch_ticker(SYMBOL)
    place.clock.pass_seconds(2)
    client.fetch_ticker(SYMBOL)
    until(lambda: watch.status().breaker.state == "HALTED")


def test_a_copy_of_a_client_that_was_let_go_is_gated_again(blocking, venue, make_bot, watch_over):
    place = venue()
    bot = make_bot(blocking.client(place))
    watch_over(bot, clock=place.clock)
    bot.copy = object.__new__(type(bot.exchange))  # as copy.copy does, which leaves a trace on the class
    vars(bot.copy).update(vars(bot.exchange))
    tradewatch.uninstrument(bot)
    watch = watch_over(make_bot(bot.exchange), clock=place.clock)
    watch.halt("news")
    with pytest.raises(tradewatch.OrderRefused):
        bot.copy.create_order("BTC/USDT", "market", "buy", 1)
    assert place.orders() == []
