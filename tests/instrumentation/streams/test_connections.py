"""Connections, drops, reconnects, messages, lag and silence, over real sockets."""

import asyncio
import contextlib

import ccxt
import ccxt.pro
import pytest

import tradewatch
from tradewatch.paper.faults import Latency

KINDS = ["binance", "kraken"]
TICKER = {"binance": "btcusdt@miniTicker", "kraken": "ticker"}


def counting(kind):
    """A bot's own subclass that counts what ccxt hands it."""

    class Mine(getattr(ccxt.pro, kind)):
        def handle_message(self, client, message):
            self.heard = getattr(self, "heard", 0) + 1
            super().handle_message(client, message)

    return Mine


@pytest.mark.parametrize("kind", KINDS)
def test_every_message_is_counted_once_by_channel(
    kind, places, pointed, make_bot, watch_over, application, readings, running_clock, eventually
):

    async def run():
        async with places(kind, clock=running_clock, moving=True) as place:
            client = place.client(pointed, counting(kind))
            watch_over(make_bot(client), clock=running_clock, **application.settings)
            try:
                ticker, book, trades, candles = (
                    asyncio.create_task(waiting)
                    for waiting in (
                        client.watch_ticker(place.symbol),
                        client.watch_order_book(place.symbol),
                        client.watch_trades(place.symbol),
                        client.watch_ohlcv(place.symbol, "1m"),
                    )
                )
                await asyncio.gather(ticker, book, trades, candles)
                opened = len(place.requests("ws_connect"))
                await eventually(lambda: readings.value("connections") == opened)
                assert (readings.value("drops"), readings.value("reconnects")) == (0, 0)
                assert readings("message.age").keys() == {"ticker", "order_book", "trades", "ohlcv"}
            finally:
                await client.close()
            await eventually(lambda: readings.value("connections") == 0)
            # What the bot closed is neither dropped nor silent.
            assert (readings.value("drops"), readings("message.age")) == (0, {})
            told = {channel: point.value for channel, point in readings("messages").items()}
            assert {"ticker", "order_book", "trades", "ohlcv"} <= told.keys()
            assert told.keys() <= {"ticker", "order_book", "trades", "ohlcv", "other"}
            assert sum(told.values()) == client.heard

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_a_drop_counts_once_and_the_next_watch_is_a_reconnect(
    kind, places, pointed, make_bot, watch_over, application, readings, running_clock, eventually
):

    async def run():
        async with places(
            kind, ({"channel": TICKER[kind], "nth": (2, 4)}, {"kind": "drop"}), clock=running_clock, moving=True
        ) as place:
            client = place.client(pointed)
            watch_over(make_bot(client), clock=running_clock, **application.settings)
            drops = 0
            try:
                for _ in range(60):
                    try:
                        await asyncio.wait_for(client.watch_ticker(place.symbol), 0.5)
                    except ccxt.NetworkError:
                        drops += 1
                    except TimeoutError:
                        pass
                    if drops == 2:
                        break
                assert drops == 2
                await eventually(lambda: readings.value("drops") == 2)
                # Nobody has dialled since the second.
                assert (readings.value("reconnects"), readings.value("connections")) == (1, 0)
                assert readings("message.age").keys() == {"ticker"}
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(client.watch_ticker(place.symbol), 0.2)
                await eventually(lambda: readings.value("reconnects") == 2)
                assert readings.value("connections") == 1
            finally:
                await client.close()
            await eventually(lambda: readings.value("connections") == 0)
            assert (readings.value("drops"), readings.value("reconnects")) == (2, 2)

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_a_silent_channel_grows_old_while_its_connection_stays_open(
    kind, places, pointed, make_bot, watch_over, application, readings, running_clock, eventually
):
    rule = ({"channel": TICKER[kind], "nth": (3,)}, {"kind": "silence", "hold_s": 60})

    async def run():
        async with places(kind, rule, clock=running_clock, moving=True) as place:
            client = place.client(pointed)
            watch_over(make_bot(client), clock=running_clock, **application.settings)
            try:
                with contextlib.suppress(TimeoutError):
                    while True:
                        await asyncio.wait_for(client.watch_ticker(place.symbol), 1)

                async def grows():
                    before = await eventually(lambda: readings.value("message.age", "ticker"))
                    await eventually(lambda: readings.value("message.age", "ticker") > before + 0.1)

                # Readings are published now and then: the first growth is of those that know the last message.
                await grows()
                heard = readings.value("messages", "ticker")
                await grows()
                assert readings.value("messages", "ticker") == heard
                assert (readings.value("connections"), readings.value("drops")) == (1, 0)
                if kind == "kraken":
                    return
                # Another channel, on another connection, talks.
                await client.watch_order_book(place.symbol)
                await eventually(lambda: readings.value("message.age", "order_book") is not None)
                assert readings.value("message.age", "order_book") < readings.value("message.age", "ticker")
                with contextlib.suppress(TimeoutError):
                    # Nobody confirms it: that line is silent.
                    await asyncio.wait_for(client.un_watch_ticker(place.symbol), 0.5)
                await eventually(lambda: readings("message.age").keys() == {"order_book"})
            finally:
                await client.close()

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_lag_is_from_the_venues_event_time_to_arrival(
    kind, places, pointed, make_bot, watch_over, application, readings, running_clock, eventually
):
    channel = {"binance": "btcusdt@trade", "kraken": "trade"}[kind]
    rule = ({"channel": channel}, {"kind": "late", "latency": Latency("fixed", 300)})

    async def run():
        async with places(kind, rule, clock=running_clock, moving=True) as place:
            client = place.client(pointed)
            watch_over(make_bot(client), clock=running_clock, **application.settings)
            try:
                for _ in range(2):
                    await client.watch_trades(place.symbol)
            finally:
                await client.close()
            # A snapshot tells of what was before: it has none. Kraken's comes where there were trades already.
            snapshots = (0, 1) if kind == "kraken" else (0,)

            def all_told():
                lag = readings("message.lag").get("trades")
                return lag if lag and readings.value("messages", "trades") - lag.count in snapshots else None

            lag = await eventually(all_told)
            assert lag.sum / lag.count >= 0.3
            assert lag.min >= 0.3

    asyncio.run(run())


def test_a_clock_that_is_behind_the_venues_gives_no_lag(
    places, pointed, make_bot, watch_over, application, readings, running_clock, clock_at, eventually
):
    async def run():
        async with places("binance", clock=running_clock, moving=True) as place:
            client = place.client(pointed)
            watch_over(make_bot(client), clock=clock_at(running_clock.start_ns), **application.settings)
            try:
                await client.watch_ticker(place.symbol)
                await eventually(lambda: readings.value("messages", "ticker"))
                assert readings("message.lag") == {}
            finally:
                await client.close()

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_a_connection_that_is_there_already_is_seen_and_given_back(
    kind, places, pointed, make_bot, watch_over, application, readings, running_clock, eventually
):
    def attributes(client):
        kinds = [*type(client).__mro__, *(type(line) for line in client.clients.values())]
        return {kind: dict(vars(kind)) for kind in kinds if kind is not object}

    async def run():
        async with places(kind, clock=running_clock, moving=True) as place:
            client = place.client(pointed)
            bot = make_bot(client)
            try:
                await client.watch_ticker(place.symbol)
                [line] = client.clients.values()
                was, own = attributes(client), dict(vars(line))
                watch_over(bot, clock=running_clock, **application.settings)
                assert attributes(client) != was
                for _ in range(2):
                    await client.watch_ticker(place.symbol)
                await eventually(lambda: (readings.value("messages", "ticker") or 0) >= 2)
                assert readings.value("connections") == 1
                tradewatch.uninstrument(bot)
                assert attributes(client) == was
                assert vars(line).keys() == own.keys()
                assert line.on_message_callback == own["on_message_callback"]
                await client.watch_ticker(place.symbol)
            finally:
                await client.close()

    asyncio.run(run())
