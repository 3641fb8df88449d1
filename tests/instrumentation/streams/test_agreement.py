"""Under any combination of faults of messages and prices the books equal the exchange's, and what is counted agrees."""

import asyncio
import time
from collections import Counter

import ccxt
import ccxt.pro
from hypothesis import given, settings
from hypothesis import strategies as st

import tradewatch
from streaming import DRAWN, booked
from tradewatch.paper.faults import MESSAGE_KINDS, Latency
from tradewatch.paper.log import MESSAGE
from tradewatch.runtime.clock import ScaledClock

START_NS = 1_677_801_600 * 10**9
CHANNELS = {"binance": ("user_data", "btcusdt@miniTicker"), "kraken": ("executions", "ticker")}


def rules(kind):
    """Faults of messages, of the private stream first of all; and a market that jumps while the bot trades."""
    private, public = CHANNELS[kind]
    which = st.fixed_dictionaries(
        {"channel": st.sampled_from([private, private, public])},
        optional={"nth": st.lists(st.integers(2, 14), min_size=1, max_size=4).map(tuple)},
    )
    what = st.one_of(
        st.fixed_dictionaries({"kind": st.sampled_from(["repeat", "reorder", "lose", "drop"])}),
        st.fixed_dictionaries({"kind": st.just("late"), "latency": st.just(Latency("fixed", 90))}),
        st.fixed_dictionaries({"kind": st.just("silence"), "hold_s": st.sampled_from([0.1, 30.0])}),
    )
    # Where all messages of a channel are met, some come through.
    sometimes = which.map(lambda match: match if "nth" in match else {**match, "probability": 0.4})
    gap = st.tuples(
        st.builds(lambda s: {"from_ns": START_NS + s * 10**9}, st.integers(2, 12)),
        st.builds(lambda by: {"kind": "price_gap", "factor": by}, st.sampled_from([700_000, 1_400_000])),
    )
    # Never twice in a row: a price that comes twice is one.
    false = st.tuples(
        st.fixed_dictionaries({"channel": st.just("quote"), "nth": st.sampled_from([(1,), (2, 4), (3, 7)])}),
        st.builds(lambda by: {"kind": "false_tick", "factor": by}, st.sampled_from([100_000, 900_000, 5_000_000])),
    )
    messages = st.tuples(sometimes, what)
    return st.lists(st.one_of(messages, messages, messages, gap, false), min_size=1, max_size=4)


ANY = st.sampled_from(["binance", "kraken"]).flatmap(lambda kind: st.tuples(st.just(kind), rules(kind)))


@settings(parent=DRAWN, max_examples=18)
@given(drawn=ANY)
def test_books_and_counts_agree_under_any_faults_of_messages_and_prices(
    drawn, places, pointed, make_bot, watch_over, application, tmp_path_factory, eventually, listening
):
    kind, met = drawn
    seen, folder = type(application)(), tmp_path_factory.mktemp("state")

    class Counting(getattr(ccxt.pro, kind)):
        heard = 0

        def handle_message(self, client, message):
            self.heard += 1
            super().handle_message(client, message)

    async def run():
        clock = ScaledClock(START_NS, 20.0, time.time_ns())
        async with places(kind, *met, clock=clock) as place:
            client = place.client(pointed, Counting)
            watch = watch_over(make_bot(client), clock=clock, state_dir=folder, **seen.settings)
            await client.fetch_ticker(place.symbol)
            await client.fetch_balance()
            watches = client.watch_my_trades, client.watch_orders, lambda: client.watch_ticker(place.symbol)
            async with listening(client, *watches):
                await eventually(place.subscribed)
                for i in range(8):
                    side = "sell" if i % 3 == 2 else "buy"
                    if i % 2:
                        await client.create_order(place.symbol, "market", side, (i + 1) / 10)
                    else:
                        place.trade(side, i + 1)
                    await asyncio.sleep(0.04)
                await asyncio.sleep(0.2)
                # What was told to nobody is asked for.
                await client.fetch_my_trades(place.symbol)
                books = place.books()
                assert len(books["trades"]) == 8
                await eventually(lambda: watch.status().portfolio.fills == 8)
                ours, theirs = booked(watch, place)
                assert ours == theirs
                assert watch.status().portfolio.corrections == ()
                await client.fetch_balance()
                await client.fetch_ticker(place.symbol)
                await eventually(lambda: watch.status().portfolio.equity.value == place.equity())
            went_wrong = [e.fault for e in list(place.server.log.entries) if e.operation == MESSAGE]
            assert set(went_wrong) <= {*MESSAGE_KINDS, "false_tick"}

            def counted(name):
                return sum(point.value for point in seen.points().get(f"trading.stream.{name}", {}).values())

            await eventually(lambda: counted("messages") == client.heard)
            await eventually(lambda: counted("connections") == 0)
            # More than one message may be met before a connection is down.
            assert (counted("drops") > 0) == ("drop" in went_wrong)
            assert counted("reconnects") <= counted("drops") <= went_wrong.count("drop")
            status = watch.status()
            assert sum(status.orders.values()) == 4
            assert status.breaker.state == "ACTIVE"
            tradewatch.shutdown()
            spans = {kind: [s for s in seen.spans() if s.kind.name == kind] for kind in ("INTERNAL", "CONSUMER")}
            called = Counter(s.attributes["trading.operation"] for s in spans["INTERNAL"])
            # How long a watch waits is no latency of the venue's: it is a span alone.
            assert {name: n for name, n in called.items() if not name.startswith("watch_")} == {
                each.operation: each.calls for each in status.operations
            }
            sent = [s for s in spans["INTERNAL"] if s.attributes["trading.operation"] == "create_order"]
            assert Counter(s.attributes["trading.order.status"] for s in sent) == status.orders
            orders = {s.attributes["trading.order.id"]: s.context.span_id for s in sent}
            assert len(orders) == 4
            assert orders.keys() <= {str(one["order_id"]) for one in books["orders"]}
            # What a stream tells of an order of the bot's own hangs below the call that sent it.
            assert all(orders[s.attributes["trading.order.id"]] == s.parent.span_id for s in spans["CONSUMER"])
            seen.close()

    asyncio.run(run())
