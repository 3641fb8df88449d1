"""Under any faults orders that fill in parts, and rest, are booked, and in spans, as the exchange has them."""

import asyncio
import contextlib
import operator
import random
import time
from decimal import Decimal

import ccxt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tradewatch
from streaming import DRAWN, PLACING, PRIVATE, booked, spans_agree
from tradewatch.paper.faults import Latency
from tradewatch.paper.units import ONE
from tradewatch.runtime.clock import ScaledClock

START_NS = 1_677_801_600 * 10**9
CANCELLING = {"binance": "order_cancel", "binanceusdm": "order_cancel", "kraken": "cancel_order"}


def rules(kind):
    """Faults of what the private stream tells, and answers to orders that are lost after the exchange has acted."""
    nth = st.lists(st.integers(2, 14), min_size=1, max_size=4).map(tuple)
    told = st.fixed_dictionaries({"channel": st.just(PRIVATE[kind]), "nth": nth})
    message = st.one_of(
        st.fixed_dictionaries({"kind": st.sampled_from(["repeat", "reorder", "lose", "drop"])}),
        st.fixed_dictionaries({"kind": st.just("late"), "latency": st.just(Latency("fixed", 150))}),
    )
    asked = st.fixed_dictionaries(
        {
            "operation": st.sampled_from([PLACING[kind], PLACING[kind], CANCELLING[kind]]),
            "nth": st.lists(st.integers(1, 8), min_size=1, max_size=3).map(tuple),
        }
    )
    slow = {"kind": "latency", "at": "answer", "latency": Latency("fixed", 150)}
    lost = [{"kind": "half_json"}, {"kind": "reset"}, {"kind": "server_error", "status": 503, "at": "answer"}]
    answer = st.sampled_from([slow, *lost, {"kind": "reset", "at": "answer"}])
    return st.lists(st.tuples(told, message) | st.tuples(asked, answer), min_size=1, max_size=4)


# Some bots listen to what their orders became, some only ask.
WATCHES = st.sampled_from([("my_trades", "orders"), ("my_trades", "orders"), ("orders",), ()])


@pytest.mark.parametrize("kind", PLACING)
@settings(parent=DRAWN, max_examples=8)
@given(draws=st.data())
def test_orders_that_fill_in_parts_agree_under_any_faults(
    kind, draws, places, pointed, make_bot, watch_over, application, tmp_path_factory, eventually, listening
):
    met, watches, seed = draws.draw(rules(kind)), draws.draw(WATCHES), draws.draw(st.integers(0, 2**32))
    seen, folder, chance = type(application)(), tmp_path_factory.mktemp("state"), random.Random(seed)

    async def run():
        clock = ScaledClock(START_NS, 20.0, time.time_ns())
        async with places(kind, *met, clock=clock, depth=ONE * 3 // 10) as place:
            client = place.client(pointed)
            watch = watch_over(make_bot(client), clock=clock, state_dir=folder, **seen.settings)
            await client.fetch_ticker(place.symbol)
            await client.fetch_balance()
            raised, known, told = [], [], {}

            async def trades():
                for one in await client.watch_my_trades():
                    # Of an open order in a snapshot of Kraken's ccxt makes a trade without a price.
                    if one["price"] is not None:
                        told[one["id"]] = one["order"], Decimal(str(one["amount"]))

            loops = {"my_trades": trades, "orders": client.watch_orders}

            def resting():
                return [
                    str(o["order_id"]) for o in place.books()["orders"] if o["status"] in ("NEW", "PARTIALLY_FILLED")
                ]

            async def cancel(order_id):
                with contextlib.suppress(ccxt.BaseError):
                    await client.cancel_order(order_id, place.symbol)

            async with listening(client, *(loops[each] for each in watches)):
                await eventually(lambda: place.subscribed() or not watches)
                for _ in range(8):
                    if known and chance.random() < 0.25:
                        await cancel(known.pop())
                    price = chance.choice([None, 100.12, 100.1, 99.9, 99.88])
                    asked = chance.choice(["buy", "sell"]), chance.randint(1, 17) / 10, price
                    raised.append(True)
                    with contextlib.suppress(ccxt.BaseError):
                        made = await client.create_order(place.symbol, "limit" if price else "market", *asked)
                        raised[-1] = False
                        known += [made["id"]] if made.get("id") else []
                    await asyncio.sleep(chance.choice([0, 0.02, 0.2]))
                await client.fetch_open_orders(place.symbol)
                await client.fetch_closed_orders(place.symbol)
                for _ in range(20):
                    for order_id in resting():
                        await cancel(order_id)
                assert not resting()
                told_trades = list(told.values())
                # What was told to nobody is asked for.
                await client.fetch_my_trades(place.symbol)
                books, placed = place.books(), place.requests(PLACING[kind])
                assert (len(placed), len(books["orders"])) == (len(raised), sum(each.accepted for each in placed))
                assert len(books["trades"]) < 50  # Kraken's page
                with contextlib.suppress(AssertionError):
                    await eventually(lambda: operator.eq(*booked(watch, place)))
                ours, theirs = booked(watch, place)
                assert ours == theirs
                assert watch.status().portfolio.corrections == ()
                await eventually(lambda: sum(watch.status().orders.values()) == len(raised))
                await client.fetch_balance()
                await client.fetch_ticker(place.symbol)
                await eventually(lambda: watch.status().portfolio.equity.value == place.equity())
            tradewatch.shutdown()
            spans_agree(seen.spans(), place, raised, told_trades)
            seen.close()

    asyncio.run(run())
