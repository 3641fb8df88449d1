"""What sends a bot's orders is the parent of the client's calls, on whatever thread or task they are made."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import tradewatch

SYMBOL = "BTC/USDT"


class Trader:
    def __init__(self, client):
        self.client = client

    def execute_order(self, side):
        return self.client.create_order(SYMBOL, "market", side, 1)

    def helper(self):
        return self.client.fetch_ticker(SYMBOL)


class Pooled(Trader):
    """Hands its orders to a pool and to a thread of its own."""

    def execute_order(self, side):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(super().execute_order, side).result()
        thread = threading.Thread(target=super().execute_order, args=(side,))
        thread.start()
        thread.join()


class AsyncTrader(Trader):
    async def execute_order(self, side):
        return await asyncio.create_task(self.client.create_order(SYMBOL, "market", side, 1))


class Bot:
    def __init__(self, trader):
        self.order_manager = trader


def family(application):
    """The names of the spans with those of their parents."""
    tradewatch.shutdown()
    spans = application.spans()
    names = {span.context.span_id: span.name for span in spans}
    found = [(span.name, names[span.parent.span_id] if span.parent else None) for span in spans]
    return sorted(pair for pair in found if pair[0] not in ("GET", "POST"))


def test_an_executor_is_found_by_its_attributes_name(venue, api, watch_over, application):
    place = venue()
    trader = (Trader if type(api).__name__ == "Sync" else AsyncTrader)(api.client(place))
    watch_over(Bot(trader), clock=place.clock, **application.settings)
    api.do(trader.execute_order("buy"))
    api.do(trader.helper())
    kind = type(trader).__name__
    assert family(application) == [
        ("create_order binance", f"execute_order {kind}"),
        (f"execute_order {kind}", None),
        ("fetch_ticker binance", None),
    ]


def test_the_span_goes_along_to_the_threads_that_an_executor_starts(venue, blocking, watch_over, application):
    place = venue()
    bot = Bot(Pooled(blocking.client(place)))
    watch_over(bot, clock=place.clock, **application.settings)
    bot.order_manager.execute_order("buy")
    assert family(application) == [
        ("create_order binance", "execute_order Pooled"),
        ("create_order binance", "execute_order Pooled"),
        ("execute_order Pooled", None),
    ]


def test_an_executor_that_is_named(venue, blocking, watch_over, application, make_bot):
    place = venue()
    bot = make_bot()
    bot.router = Trader(blocking.client(place))
    watch_over(bot, clock=place.clock, executors=[bot.router.helper], **application.settings)
    bot.router.helper()
    bot.router.execute_order("buy")
    assert family(application) == [
        ("create_order binance", None),
        ("fetch_ticker binance", "helper Trader"),
        ("helper Trader", None),
    ]


def test_what_has_no_method_that_sends_orders_is_no_executor(make_bot, watch_over):
    with pytest.raises(ValueError, match=r"object has none of the methods execute, execute_order.*bot\.router\.send"):
        watch_over(make_bot(), executors=[object()])


def test_undo_restores_everything(venue, blocking, watch_over, application):
    before = (vars(Trader)["execute_order"], threading.Thread.start, ThreadPoolExecutor.submit)
    place = venue()
    bot = Bot(Trader(blocking.client(place)))
    watch_over(bot, clock=place.clock, **application.settings)
    assert vars(Trader)["execute_order"] is not before[0]
    assert threading.Thread.start is not before[1]
    tradewatch.uninstrument(bot)
    assert (vars(Trader)["execute_order"], threading.Thread.start, ThreadPoolExecutor.submit) == before


def test_a_pool_or_a_client_of_such_a_name_is_left_alone(venue, blocking, watch_over, application):
    class Odd:
        def __init__(self, client):
            self.executor = ThreadPoolExecutor(1)
            self.broker = client

    place = venue()
    bot = Odd(blocking.client(place))
    submit = ThreadPoolExecutor.submit
    watch_over(bot, clock=place.clock, **application.settings)
    assert ThreadPoolExecutor.submit is submit
    assert bot.executor.submit(bot.broker.fetch_ticker, SYMBOL).result()["symbol"] == SYMBOL
    bot.executor.shutdown()
    assert family(application) == [("fetch_ticker binance", None)]


def test_a_failing_and_a_cancelled_execution(venue, awaiting, watch_over, application):
    class Failing(AsyncTrader):
        async def execute(self, how):
            if how == "wait":
                await asyncio.sleep(10)
            raise LookupError(how)

    place = venue()
    trader = Failing(awaiting.client(place))
    watch_over(Bot(trader), clock=place.clock, **application.settings)

    async def run():
        with pytest.raises(LookupError):
            await trader.execute("fail")
        task = asyncio.create_task(trader.execute("wait"))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    awaiting.do(run())
    tradewatch.shutdown()
    failed, cancelled = application.spans()
    assert (failed.status.status_code.name, failed.attributes["error.type"]) == ("ERROR", "LookupError")
    assert (cancelled.status.status_code.name, cancelled.attributes.get("error.type")) == ("UNSET", None)


def test_a_pools_thread_does_not_keep_the_span_that_it_was_started_under(venue, blocking, watch_over, application):
    place = venue()
    pool = ThreadPoolExecutor(1)

    class Handing(Trader):
        def execute_order(self, side):
            return pool.submit(super().execute_order, side).result()

    bot = Bot(Handing(blocking.client(place)))
    watch_over(bot, clock=place.clock, **application.settings)
    bot.order_manager.execute_order("buy")
    pool.submit(bot.order_manager.helper).result()
    pool.shutdown()
    assert ("fetch_ticker binance", None) in family(application)
