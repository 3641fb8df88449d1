"""Orders over a websocket pass the gate, again where they are handed to the connection; and what becomes of them."""

import asyncio

import aiohttp
import ccxt
import ccxt.pro
import pytest

KINDS = ["binance", "kraken"]
OPERATION = {"binance": "order_place", "kraken": "add_order"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spelling", ["create_order_ws", "createOrderWs"])
@pytest.mark.parametrize("captured", [False, True], ids=["found", "captured early"])
def test_a_halted_bot_sends_no_order_over_a_websocket(
    kind, spelling, captured, places, pointed, make_bot, watch_over, running_clock, eventually
):
    def methods(client):
        return [getattr(client, name) for name in (spelling, "edit_order_ws", "cancel_order_ws")]

    async def run():
        async with places(kind, clock=running_clock) as place:
            client = place.client(pointed)
            create, edit, cancel = methods(client)
            watch = watch_over(make_bot(client), clock=running_clock)
            if not captured:
                create, edit, cancel = methods(client)
            try:
                order = await create(place.symbol, "limit", "buy", 1, 90)
                await eventually(lambda: sum(watch.status().orders.values()) == 1)
                [call] = [o for o in watch.status().operations if o.operation == "create_order_ws"]
                assert (call.calls, watch.status().breaker.unknown) == (1, ())
                watch.halt("test")
                with pytest.raises(ccxt.InvalidOrder, match="halted"):
                    await create(place.symbol, "market", "buy", 1)
                with pytest.raises(ccxt.InvalidOrder, match="halted"):
                    await edit(order["id"], place.symbol, "limit", "buy", 1, 91)
                assert len(place.requests(OPERATION[kind])) == 1
                assert not place.requests("order_replace", "amend_order")
                # Cancels pass.
                await cancel(order["id"], *([place.symbol] if kind == "binance" else []))
                assert [o for o in place.exchange.orders("main") if o.is_open] == []
            finally:
                await client.close()

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("when", ["after it is watched", "before it is watched"])
def test_an_order_that_waits_for_its_dial_is_refused_when_it_would_be_sent(
    kind, when, places, pointed, make_bot, watch_over, running_clock, eventually
):
    async def run():
        async with places(kind, clock=running_clock) as place:
            client = place.client(pointed)
            await client.load_markets()
            bot, watch = make_bot(client), None
            dialling, let_go = asyncio.Event(), asyncio.Event()
            dial = aiohttp.ClientSession.ws_connect

            class Slow:
                def __init__(self, made):
                    self.made = made

                async def __aenter__(self):
                    dialling.set()
                    await let_go.wait()
                    return await self.made.__aenter__()

            client.open()
            client.session.ws_connect = lambda *args, **kwargs: Slow(dial(client.session, *args, **kwargs))
            if when == "after it is watched":
                watch = watch_over(bot, clock=running_clock)
            create = client.create_order_ws
            try:
                # On the same line, and to be sent when the line is there.
                if kind == "binance":
                    others = asyncio.create_task(client.fetch_balance_ws())
                    await asyncio.wait_for(dialling.wait(), 5)
                if watch is None:
                    watch = watch_over(bot, clock=running_clock)
                ordering = asyncio.create_task(create(place.symbol, "market", "buy", 1))
                await asyncio.wait_for(dialling.wait(), 5)
                await asyncio.sleep(0.1)
                assert not ordering.done()
                watch.halt("test")
                let_go.set()
                with pytest.raises(ccxt.InvalidOrder, match="halted"):
                    await asyncio.wait_for(ordering, 5)
                assert not place.requests(OPERATION[kind])
                await eventually(lambda: watch.status().orders == {"refused": 1})
                if kind == "binance":
                    assert "info" in await asyncio.wait_for(others, 5)
            finally:
                await client.close()

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_an_order_that_waits_in_the_connections_throttle_is_refused_there(
    kind, places, pointed, make_bot, watch_over, running_clock, eventually
):
    async def run():
        async with places(kind, clock=running_clock) as place:
            client = place.client(pointed)
            watch = watch_over(make_bot(client), clock=running_clock)
            try:
                # Others on the same line: Kraken's answers and executions come over one.
                others = asyncio.create_task(client.watch_orders())
                await eventually(place.subscribed)
                await client.create_order_ws(place.symbol, "limit", "buy", 1, 90)
                await others
                others = asyncio.create_task(client.watch_orders())
                lines = dict(client.clients)
                reached, let_go = asyncio.Event(), asyncio.Event()

                async def wait(cost=None):
                    reached.set()
                    await let_go.wait()

                for line in lines.values():
                    line.throttle = wait
                client.enableRateLimit = True
                ordering = asyncio.create_task(client.create_order_ws(place.symbol, "market", "buy", 1))
                await asyncio.wait_for(reached.wait(), 5)
                watch.halt("test")
                let_go.set()
                with pytest.raises(ccxt.InvalidOrder, match="halted"):
                    await ordering
                assert len(place.requests(OPERATION[kind])) == 1
                await eventually(lambda: watch.status().orders.get("refused") == 1)
                # The line is as it was, and so are the others.
                assert client.clients == lines
                place.trade("buy", 1)
                await asyncio.wait_for(others, 5)
            finally:
                await client.close()

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({"kind": "reset", "at": "answer"}, "unknown"),
        ({"kind": "timeout", "at": "answer", "hold_s": 30}, "unknown"),
        ({"kind": "nonce"}, "rejected"),
    ],
)
def test_an_order_whose_answer_is_lost_on_a_websocket_is_unknown(
    kind, fault, status, places, pointed, make_bot, watch_over, running_clock, eventually
):
    rule = ({"operation": OPERATION[kind], "method": "WS"}, fault)

    async def run():
        async with places(kind, rule, clock=running_clock) as place:
            client = place.client(pointed)
            watch = watch_over(make_bot(client), clock=running_clock)
            try:
                await client.load_markets()
                with pytest.raises((ccxt.BaseError, asyncio.TimeoutError)):
                    await asyncio.wait_for(client.create_order_ws(place.symbol, "market", "buy", 1), 1)
                await eventually(lambda: watch.status().orders == {status: 1})
                assert len(watch.status().breaker.unknown) == (status == "unknown")
            finally:
                await client.close()

    asyncio.run(run())


def test_an_order_that_was_never_handed_to_a_connection_is_not_unknown(
    places, pointed, make_bot, watch_over, running_clock, eventually
):
    async def run():
        async with places("binance", clock=running_clock) as place:
            client = place.client(pointed)
            watch = watch_over(make_bot(client), clock=running_clock)
            try:
                await client.load_markets()
                client.urls["api"]["ws"]["ws-api"]["spot"] = "ws://127.0.0.1:1/ws-api/v3"
                with pytest.raises(ccxt.NetworkError):
                    await client.create_order_ws(place.symbol, "market", "buy", 1)
                await eventually(lambda: watch.status().orders == {"rejected": 1})
                assert watch.status().breaker.unknown == ()
            finally:
                await client.close()

    asyncio.run(run())
