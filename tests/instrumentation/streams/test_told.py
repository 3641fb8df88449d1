"""What watch_* methods tell is in the books: once each, and equal to the exchange's own."""

import asyncio
import contextlib
import operator
from decimal import Decimal

import ccxt
import pytest

from streaming import PRIVATE, booked
from tradewatch.paper.faults import Fault, Latency, Match, Rule
from tradewatch.paper.units import ONE

KINDS = ["binance", "kraken"]

FAULTS = {
    "none": None,
    "repeated": {"kind": "repeat"},
    "reordered": {"kind": "reorder"},
    "late": {"kind": "late", "latency": Latency("fixed", 120)},
    "dropped": {"kind": "drop"},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", FAULTS)
def test_private_fills_equal_the_books_of_the_exchange(
    kind, fault, places, pointed, make_bot, watch_over, running_clock, eventually, listening
):
    made = FAULTS[fault]
    rules = () if made is None else (({"channel": PRIVATE[kind], "nth": (3, 5, 8)}, made),)

    async def run():
        async with places(kind, *rules, clock=running_clock) as place:
            client = place.client(pointed)
            watch = watch_over(make_bot(client), clock=running_clock)
            await client.fetch_ticker(place.symbol)
            await client.fetch_balance()
            async with listening(client, client.watch_my_trades, client.watch_orders):
                await eventually(lambda: place.subscribed())
                for i in range(9):
                    side = "sell" if i % 3 == 2 else "buy"
                    place.trade(side, i + 1)
                    await asyncio.sleep(0.05)
                if fault == "dropped":
                    # What was told to nobody is asked for.
                    await client.fetch_my_trades(place.symbol)
                assert len(place.books()["trades"]) == 9
                await eventually(lambda: watch.status().portfolio.fills == 9)
                ours, theirs = booked(watch, place)
                assert ours == theirs
                assert watch.status().portfolio.incomplete == ()

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", ["none", "repeated", "reordered"])
def test_orders_that_fill_in_parts_equal_the_books_of_the_exchange(
    kind, fault, places, pointed, make_bot, watch_over, running_clock, eventually, listening
):
    made = FAULTS[fault]
    rules = () if made is None else (({"channel": PRIVATE[kind], "nth": (4, 7)}, made),)

    async def run():
        async with places(kind, *rules, clock=running_clock, depth=ONE * 3 // 10) as place:
            client = place.client(pointed)
            watch = watch_over(make_bot(client), clock=running_clock)
            await client.fetch_ticker(place.symbol)
            await client.fetch_balance()
            async with listening(client, client.watch_my_trades, client.watch_orders):
                await eventually(lambda: place.subscribed())
                # Levels of 0.3: four trades; two and a rest; one at the touch behind 0.3, where sellers bring 1 at
                # a time; and one that is cancelled when 0.6 of it are filled, unless buyers were quicker.
                await client.create_order(place.symbol, "market", "buy", 1.1)
                crossing = await client.create_order(place.symbol, "limit", "buy", 0.9, 100.11)
                waiting = await client.create_order(place.symbol, "limit", "buy", 1.2, 99.9)
                given_up = await client.create_order(place.symbol, "limit", "sell", 0.9, 99.89)
                with contextlib.suppress(ccxt.OrderNotFound):
                    await client.cancel_order(given_up["id"], place.symbol)
                wanted = {crossing["id"], waiting["id"]}

                def all_filled():
                    return wanted <= {str(o["order_id"]) for o in place.books()["orders"] if o["status"] == "FILLED"}

                await eventually(all_filled, 30)
                books = place.books()
                assert [trade["role"] for trade in books["trades"]].count("maker") >= 3
                await eventually(lambda: watch.status().portfolio.fills == len(books["trades"]))
                ours, theirs = booked(watch, place)
                assert ours == theirs
                assert watch.status().portfolio.incomplete == ()
                assert sum(watch.status().orders.values()) == len(books["orders"]) == 4

    asyncio.run(run())


def test_a_snapshot_of_trades_and_open_orders_books_each_trade_once(
    places, pointed, make_bot, watch_over, running_clock, eventually, listening
):
    """Kraken repeats the last fills at each subscription, with open orders behind them, of which ccxt makes trades."""
    drop = Rule(Match(channel="executions", nth=(1,)), Fault("drop"))

    async def run():
        async with places("kraken", clock=running_clock, depth=ONE * 3 // 10) as place:
            client = place.client(pointed)
            watch = watch_over(make_bot(client), clock=running_clock)
            await client.fetch_ticker(place.symbol)
            await client.fetch_balance()
            for i in range(4):
                place.trade("buy", 4 + i)
            await client.create_order(place.symbol, "limit", "sell", 50, 99.89)  # 0.6 of it fill, now at the latest
            async with listening(client, client.watch_my_trades):
                await eventually(lambda: client.myTrades)
                # What has no price is what ccxt makes of the open order.
                assert [one["order"] for one in client.myTrades if one["price"] is None]
                for _ in range(2):
                    await eventually(lambda: watch.status().portfolio.fills == len(place.books()["trades"]))
                    subscribed = len(place.subscribed())
                    place.server.faults.add([drop])
                    place.trade("buy", 1)
                    await eventually(lambda seen=subscribed: len(place.subscribed()) > seen)

                await eventually(lambda: operator.eq(*booked(watch, place)))
                assert watch.status().portfolio.fills >= 12

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("watch", ["watch_ticker", "watch_order_book", "watch_trades"])
def test_prices_of_streams_value_what_is_held(
    kind, watch, places, pointed, make_bot, watch_over, running_clock, eventually, listening
):
    async def run():
        async with places(kind, clock=running_clock, moving=True) as place:
            client = place.client(pointed)
            watching = watch_over(make_bot(client), clock=running_clock)
            await client.fetch_balance()
            assert watching.status().portfolio.equity.value is None
            async with listening(client, lambda: getattr(client, watch)(place.symbol)):
                await eventually(lambda: watching.status().portfolio.equity.value)
                [quoted] = [p for p in watching.status().portfolio.positions if p.symbol == place.symbol]
                # The market moves between 96 and 106.
                assert 94 < quoted.price < 108
                assert watching.status().portfolio.equity.value == 1_000_000 + 100 * quoted.price
                assert watching.status().portfolio.equity.stale == ()
                # Waiting for a message is no call of the venue.
                assert not [o for o in watching.status().operations if o.operation.startswith("watch_")]

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_fills_told_by_a_stream_are_in_their_orders_trace(
    kind, places, pointed, make_bot, watch_over, application, running_clock, eventually, listening
):
    place_order = "order_place" if kind == "binance" else "add_order"
    # The answer comes after the stream has told of the fill.
    rules = ({"operation": place_order}, {"kind": "latency", "at": "answer", "latency": Latency("fixed", 200)})

    async def run():
        async with places(kind, rules, clock=running_clock) as place:
            client = place.client(pointed)
            watch = watch_over(make_bot(client), clock=running_clock, **application.settings)
            await client.fetch_ticker(place.symbol)
            await client.fetch_balance()
            async with listening(client, client.watch_my_trades):
                await eventually(lambda: place.subscribed())
                # Of an order that nobody here placed there is no trace to be in.
                place.trade("buy", 1)
                await eventually(lambda: watch.status().portfolio.fills == 1)
                placed = await client.create_order(place.symbol, "market", "buy", 0.2)
                await eventually(lambda: watch.status().portfolio.fills == 2)
                assert watch.status().portfolio.positions[0].amount == Decimal(
                    place.books()["positions"][place.symbol]["amount"]
                )

                def told():
                    return [s for s in application.spans() if s.kind.name == "CONSUMER"]

                [span] = await eventually(told)
                [order] = [s for s in application.spans() if s.name == f"create_order {kind}"]
                assert span.parent.span_id == order.context.span_id
                assert span.context.trace_id == order.context.trace_id
                assert span.name == f"watch_my_trades {kind}"
                attributes = dict(span.attributes)
                assert attributes.pop("trading.bot") == "Bot"
                assert attributes == {
                    "trading.exchange": kind,
                    "trading.operation": "watch_my_trades",
                    "trading.channel": "my_trades",
                    "trading.symbol": place.symbol,
                    "trading.order.id": placed["id"],
                    "trading.order.side": "buy",
                    "trading.fill.amount": format(Decimal("0.2"), "f") if kind == "kraken" else "0.20000000",
                    "trading.fill.price": attributes["trading.fill.price"],
                }
                assert Decimal(attributes["trading.fill.price"]) == Decimal("100.1")

    asyncio.run(run())


def test_balances_of_a_stream_that_names_what_changed_are_not_taken_for_all(
    places, pointed, make_bot, watch_over, running_clock, eventually, listening
):
    async def run():
        async with places("binance", clock=running_clock) as place:
            client = place.client(pointed)
            watch = watch_over(make_bot(client), clock=running_clock)
            await client.fetch_ticker(place.symbol)
            async with listening(client, client.watch_balance, client.watch_my_trades):
                await eventually(lambda: place.subscribed())
                place.exchange.transfer("main", "USDT", 10**10)
                place.trade("buy", 1)
                await eventually(lambda: watch.status().portfolio.fills == 1)
                assert watch.status().portfolio.equity.value is None
                await client.fetch_balance()
                await eventually(lambda: watch.status().portfolio.equity.value)

    asyncio.run(run())


def test_balances_of_kraken_are_whole(places, pointed, make_bot, watch_over, running_clock, eventually, listening):
    async def run():
        async with places("kraken", clock=running_clock) as place:
            client = place.client(pointed)
            watch = watch_over(make_bot(client), clock=running_clock)
            await client.fetch_ticker(place.symbol)
            async with listening(client, client.watch_balance, client.watch_my_trades):
                await eventually(lambda: watch.status().portfolio.equity.value == 1_010_000)
                place.trade("buy", 1)
                await eventually(lambda: watch.status().portfolio.fills == 1)
                books = place.books()
                await eventually(lambda: watch.status().portfolio.equity.value == Decimal(books["equity"]["value"]))
                assert watch.status().portfolio.equity.stale == ()

    asyncio.run(run())
