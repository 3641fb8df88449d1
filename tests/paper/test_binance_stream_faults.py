"""What goes wrong with Binance's streams and websocket API, as ccxt.pro and a bare websocket meet it."""

import asyncio
import json

import aiohttp
import ccxt
import pytest

from tradewatch import paper
from tradewatch.paper.faults import Fault, Faults, Latency, Match, Rule
from tradewatch.paper.orders import NewOrder

SYMBOL = "BTC/USDT"


def faulty(make, rows, *rules):
    exchange, clock = make(rows(*[(100, 100, 100, 100)] * 4), spread_bp=20)
    return exchange, clock, Faults(rules, seed=3)


async def reports(server, exchange, orders, seconds=0.4):
    """The executionReports that a raw user stream brings while market orders go in."""
    async with aiohttp.ClientSession() as session:
        async with session.post(server.url + "/api/v3/userDataStream", headers={"X-MBX-APIKEY": "paper-key"}) as answer:
            key = (await answer.json())["listenKey"]
        async with session.ws_connect(f"{server.url}/ws/{key}") as socket:
            for place in orders:
                place()
                await asyncio.sleep(0.02)
            seen = []
            while True:
                try:
                    message = await socket.receive(seconds)
                except TimeoutError:
                    return seen, "open"
                if message.type is not aiohttp.WSMsgType.TEXT:
                    return seen, "closed"
                body = json.loads(message.data)
                if body["e"] == "executionReport":
                    seen.append((body["i"], body["x"]))


@pytest.mark.parametrize(
    ("fault", "number", "expected", "end"),
    [
        (Fault("repeat"), 3, [(1, "NEW"), (1, "TRADE"), (1, "TRADE"), (2, "NEW"), (2, "TRADE")], "open"),
        (Fault("lose"), 3, [(1, "NEW"), (2, "NEW"), (2, "TRADE")], "open"),
        (Fault("reorder"), 1, [(1, "NEW"), (1, "TRADE"), (2, "NEW"), (2, "TRADE")], "open"),
        (Fault("late", latency=Latency("fixed", 150)), 3, [(1, "NEW"), (2, "NEW"), (2, "TRADE"), (1, "TRADE")], "open"),
        (Fault("drop"), 3, [(1, "NEW")], "closed"),
        (Fault("silence", hold_s=30), 3, [(1, "NEW")], "open"),
    ],
)
def test_a_message_that_goes_wrong_is_in_the_log(make, rows, fault, number, expected, end):
    exchange, _, faults = faulty(make, rows, Rule(Match(channel="user_data", nth=(number,)), fault))

    def buy():
        exchange.submit("main", NewOrder("BTCUSDT", "BUY", "MARKET", quantity=10**8))

    async def run():
        async with paper.serve(exchange, faults=faults) as server:
            assert await reports(server, exchange, [buy, buy]) == (expected, end)
            return [
                (one.operation, one.channel, one.number, one.fault, one.account)
                for one in server.log.entries
                if one.fault
            ]

    assert asyncio.run(run()) == [("ws_message", "user_data", number, fault.kind, "main")]


def test_a_false_tick_on_a_stream(quiet):
    exchange, clock = quiet
    faults = Faults([Rule(Match(channel="quote", nth=(1,)), Fault("false_tick", factor=500_000))])

    async def run():
        async with paper.serve(exchange, faults=faults) as server, aiohttp.ClientSession() as session:
            async with session.ws_connect(f"{server.url}/ws/btcusdt@bookTicker") as socket:
                seen = [json.loads((await socket.receive(5)).data)["b"]]
                for _ in range(2):
                    clock.pass_seconds(60 * (95 / 60 if len(seen) == 1 else 0.01))
                    seen.append(json.loads((await socket.receive(5)).data)["b"])
            faults_logged = [(one.channel, one.number, one.fault) for one in server.log.entries if one.fault]
        return seen, faults_logged

    seen, logged = asyncio.run(run())
    assert [float(bid) for bid in seen[:2]] == [99.9, 46.2]
    assert float(seen[2]) > 90
    assert logged == [("quote", 1, "false_tick")]


@pytest.mark.parametrize(
    ("fault", "error", "placed"),
    [
        (Fault("rate_limit"), ccxt.RateLimitExceeded, 0),
        (Fault("nonce"), ccxt.InvalidNonce, 0),
        (Fault("server_error", at="answer", code=-1006), ccxt.OperationFailed, 1),
        (Fault("timeout", at="answer"), ccxt.RequestTimeout, 1),
        (Fault("reset", at="answer"), ccxt.NetworkError, 1),
    ],
)
def test_an_order_over_the_websocket_api_goes_wrong(make, rows, connect_pro, fault, error, placed):
    exchange, _, faults = faulty(make, rows, Rule(Match(operation="order_place", method="WS"), fault))

    async def run():
        async with paper.serve(exchange, faults=faults) as server, connect_pro(server) as client:
            await client.load_markets()
            with pytest.raises(error):
                await asyncio.wait_for(client.create_order_ws(SYMBOL, "market", "buy", 1), 1.0)
            entry = next(one for one in server.log.entries if one.operation == "order_place")
            return entry.fault, entry.accepted, entry.code

    if fault.kind == "timeout":
        error = asyncio.TimeoutError
    fate = asyncio.run(run())
    assert fate[:2] == (fault.kind, bool(placed))
    assert len(exchange.orders("main")) == placed
