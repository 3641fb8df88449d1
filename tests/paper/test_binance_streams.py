"""Binance's streams, user data and websocket API, as ccxt.pro and a bare websocket see them."""

import asyncio
import hashlib
import hmac
import json

import aiohttp
import ccxt
import ccxt.pro
import pytest

from tradewatch import paper
from tradewatch.paper.fees import Fees, ThirdCurrency

SYMBOL = "BTC/USDT"
MS = 10**6


async def listen(url, *requests, count, then=None):
    """The messages of a raw connection, after some requests, `count` of them."""
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        for request in requests:
            await socket.send_str(json.dumps(request))
        messages = []
        for number in range(count):
            messages.append(json.loads((await socket.receive(5)).data))
            if number == 0 and then is not None:
                then()
        return messages


def ws(server, path):
    return server.url.replace("http", "ws") + path


def test_ccxt_watches_the_market(quiet, connect_pro, eventually):
    exchange, clock = quiet

    async def run():
        async with paper.serve(exchange) as server, connect_pro(server) as client:
            await client.load_markets()
            book = asyncio.create_task(client.watch_order_book(SYMBOL))
            trades = asyncio.create_task(client.watch_trades(SYMBOL))
            await eventually(lambda: len(exchange.feed._subscriptions) == 2)
            assert (await book)["bids"][0] == [99.9, 9000.0]
            clock.pass_seconds(95)
            seen = await client.watch_order_book(SYMBOL)
            assert (seen["bids"][0], seen["asks"][0]) == ([92.4, 9000.0], [92.6, 9000.0])
            assert len(seen["bids"]) == len(seen["asks"]) == 1000
            assert sorted({trade["price"] for trade in await trades}) == [100.0]
            ticker = await client.watch_ticker(SYMBOL, {"name": "ticker"})
            assert (ticker["bid"], ticker["ask"], ticker["last"], ticker["high"]) == (92.4, 92.6, 92.5, 100.0)
            assert ticker["timestamp"] == clock.now_ns() // MS
            assert (await client.watch_tickers([SYMBOL]))[SYMBOL]["last"] == 92.5
            assert (await client.watch_bids_asks([SYMBOL]))[SYMBOL]["ask"] == 92.6
            [candle] = await client.watch_ohlcv(SYMBOL, "1m")
            assert candle == [clock.began // MS + 60_000, 100.0, 100.0, 92.5, 92.5, 2.0]

    asyncio.run(run())


def test_ccxt_watches_its_account(quiet, connect_pro, eventually):
    exchange, clock = quiet

    async def run():
        async with paper.serve(exchange) as server, connect_pro(server) as client:
            await client.load_markets()
            orders = asyncio.create_task(client.watch_orders())
            mine = asyncio.create_task(client.watch_my_trades())
            balance = asyncio.create_task(client.watch_balance())
            await eventually(lambda: any(one.operation == "user_data_subscribe" for one in server.log.entries))
            resting = await client.create_order(SYMBOL, "limit", "buy", 1, 95, {"clientOrderId": "mine"})
            assert [(one["id"], one["status"], one["clientOrderId"]) for one in await orders] == [
                (resting["id"], "open", "mine"),
            ]  # fmt: skip
            assert (await balance)["USDT"] == {"free": 49905.0, "used": 95.0, "total": 50000.0}
            clock.pass_seconds(120)
            [trade] = await mine
            assert (trade["order"], trade["price"], trade["takerOrMaker"], trade["fee"]) == (
                resting["id"], 95.0, "maker", {"cost": 0.001, "currency": "BTC"},
            )  # fmt: skip
            await eventually(lambda: client.orders[-1]["status"] == "closed")
            other = await client.create_order(SYMBOL, "limit", "buy", 1, 80)
            await client.cancel_order(other["id"], SYMBOL)
            await eventually(lambda: client.orders[-1]["status"] == "canceled")
            assert client.orders[-1]["clientOrderId"] == other["clientOrderId"]
            exchange.transfer("main", "USDT", 5 * 10**8)
            await eventually(lambda: client.balance["spot"]["USDT"]["free"] != 49905.0)

    asyncio.run(run())


def test_ccxt_trades_over_the_websocket_api(quiet, connect_pro):
    exchange, _ = quiet

    async def run():
        async with paper.serve(exchange) as server, connect_pro(server) as client:
            bought = await client.create_order_ws(SYMBOL, "market", "buy", 2)
            assert (bought["status"], bought["average"], bought["fee"]["currency"]) == ("closed", 100.1, "BTC")
            resting = await client.create_order_ws(SYMBOL, "limit", "buy", 1, 90)
            assert [one["id"] for one in await client.fetch_open_orders_ws(SYMBOL)] == [resting["id"]]
            assert (await client.fetch_order_ws(resting["id"], SYMBOL))["status"] == "open"
            edited = await client.edit_order_ws(resting["id"], SYMBOL, "limit", "buy", 1, 91)
            assert (edited["price"], edited["status"]) == (91.0, "open")
            assert (await client.cancel_order_ws(edited["id"], SYMBOL))["status"] == "canceled"
            # ccxt makes no balances of spot's account.status, so it is read raw.
            held = {one["asset"]: one["free"] for one in (await client.fetch_balance_ws())["info"]["balances"]}
            assert held["USDT"] == "49799.80000000"
            assert len(await client.fetch_my_trades_ws(SYMBOL)) == 1
            with pytest.raises(ccxt.OrderNotFound):
                await client.cancel_order_ws("99", SYMBOL)
            with pytest.raises(ccxt.InsufficientFunds):
                await client.create_order_ws(SYMBOL, "limit", "buy", 1000, 99)
            await client.create_order_ws(SYMBOL, "limit", "buy", 1, 89)
            assert len(await client.cancel_all_orders_ws(SYMBOL)) == 1
            logged = [(one.method, one.operation, one.code) for one in server.log.entries if one.method == "WS"]
            assert logged == [
                ("WS", "order_place", None), ("WS", "order_place", None), ("WS", "open_orders", None),
                ("WS", "order_query", None), ("WS", "order_replace", None), ("WS", "order_cancel", None),
                ("WS", "account", None), ("WS", "my_trades", None), ("WS", "order_cancel", -2011),
                ("WS", "order_place", -2010), ("WS", "order_place", None), ("WS", "open_orders_cancel", None),
            ]  # fmt: skip

    asyncio.run(run())


def test_the_websocket_api_counts_with_rest_and_refuses_as_it_does(quiet):
    exchange, _ = quiet

    async def run():
        limits = paper.Limits(weight_1m=46)
        async with paper.serve(exchange, limits=limits, wall_ns=lambda: 1_700_000_010 * 10**9) as server:
            answers = await listen(
                ws(server, "/ws-api/v3"),
                {"id": 1, "method": "exchangeInfo"},
                {"id": "two", "method": "time", "params": {}},
                {"id": 3, "method": "depth", "params": {"symbol": "BTCUSDT", "limit": 2, "returnRateLimits": False}},
                {"id": 4, "method": "account.status", "params": {"apiKey": "paper-key", "timestamp": 1}},
                {"id": 5, "method": "nothing"},
                {"id": 6, "method": "ping"},
                count=6,
            )
            assert [(one["id"], one["status"]) for one in answers] == [
                (1, 200), ("two", 200), (3, 200), (4, 400), (5, 400), (6, 429),
            ]  # fmt: skip
            assert answers[0]["rateLimits"] == [
                {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 46, "count": 20}
            ]
            assert answers[1]["result"] == {"serverTime": 1_700_000_010_000}
            assert "rateLimits" not in answers[2]
            assert [answers[2]["result"]["bids"][0], answers[3]["error"]["code"]] == [
                ["99.90000000", "9000.00000000"],
                -1102,
            ]
            assert answers[5]["error"]["code"] == -1003
            assert answers[5]["error"]["data"] == {"serverTime": 1_700_000_010_000, "retryAfter": 1_700_000_040_000}

    asyncio.run(run())


def test_what_is_signed_is_sorted_whatever_order_it_came_in(quiet):
    exchange, _ = quiet
    payload = "apiKey=paper-key&symbol=BTCUSDT&timestamp=1700000010000"
    signature = hmac.new(b"paper-secret", payload.encode(), hashlib.sha256).hexdigest()
    params = {"timestamp": 1700000010000, "symbol": "BTCUSDT", "signature": signature, "apiKey": "paper-key"}

    async def run():
        async with paper.serve(exchange, wall_ns=lambda: 1_700_000_010 * 10**9) as server:
            return await listen(
                ws(server, "/ws-api/v3"),
                {"id": 1, "method": "openOrders.status", "params": params},
                {"id": 2, "method": "openOrders.status", "params": {**params, "symbol": "ETHUSDT"}},
                count=2,
            )

    answers = asyncio.run(run())
    assert (answers[0]["result"], answers[1]["error"]["code"]) == ([], -1022)


def test_streams_are_subscribed_listed_and_left_raw_and_combined(quiet):
    exchange, clock = quiet

    async def run():
        async with paper.serve(exchange) as server:
            names = ["btcusdt@bookTicker", "btcusdt@depth5@100ms", "btcusdt@nothing"]
            raw = await listen(
                ws(server, "/ws"),
                {"method": "SUBSCRIBE", "params": names, "id": 1},
                {"method": "LIST_SUBSCRIPTIONS", "id": 2},
                {"method": "UNSUBSCRIBE", "params": names[1:], "id": "three"},
                {"method": "LIST_SUBSCRIPTIONS", "id": 4},
                {"method": "SUBSCRIBE", "params": "btcusdt", "id": 5},
                {"method": "DANCE", "id": 6},
                count=8,
            )
            assert raw[0] == {"result": None, "id": 1}
            assert (raw[1]["s"], raw[1]["b"], "e" in raw[1]) == ("BTCUSDT", "99.90000000", False)
            assert (len(raw[2]["bids"]), raw[2]["lastUpdateId"]) == (5, raw[1]["u"])
            assert [one.get("result") for one in raw[3:6]] == [names, None, names[:1]]
            assert [one["error"]["code"] for one in raw[6:]] == [2, 2]
            both = await listen(
                ws(server, "/stream?streams=btcusdt@miniTicker/btcusdt@trade/btcusdt@aggTrade"),
                count=3,
                then=lambda: clock.pass_seconds(24),
            )
            assert [one["stream"] for one in both] == ["btcusdt@miniTicker", "btcusdt@trade", "btcusdt@aggTrade"]
            assert [one["data"]["e"] for one in both] == ["24hrMiniTicker", "trade", "aggTrade"]
            assert both[1]["data"]["E"] == clock.began // MS + 20_000

    asyncio.run(run())


def test_a_depth_stream_continues_the_snapshot(quiet, eventually):
    exchange, clock = quiet
    exchange.markets["BTCUSDT"].thin(clock.began + 30 * 10**9, clock.began + 45 * 10**9, 12_500_000)

    async def run():
        async with paper.serve(exchange) as server, aiohttp.ClientSession() as session:  # noqa: SIM117
            async with session.ws_connect(ws(server, "/ws/btcusdt@depth")) as socket:
                async with session.get(server.url + "/api/v3/depth?symbol=BTCUSDT&limit=1000") as answer:
                    book = await answer.json()
                sides = {"b": dict(book["bids"]), "a": dict(book["asks"])}
                last = book["lastUpdateId"]
                for _ in range(6):
                    clock.pass_seconds(15)
                    at_ns = clock.now_ns()
                    await eventually(lambda at_ns=at_ns: exchange.now_ns == at_ns)
                while True:
                    try:
                        update = json.loads((await socket.receive(0.3)).data)
                    except TimeoutError:
                        break
                    if update["u"] <= book["lastUpdateId"]:
                        continue
                    assert update["U"] <= last + 1 <= update["u"] + 1
                    last = update["u"]
                    for side, levels in sides.items():
                        for price, size in update[side]:
                            levels[price] = size
                            if float(size) == 0:
                                del levels[price]
                async with session.get(server.url + "/api/v3/depth?symbol=BTCUSDT&limit=1000") as answer:
                    now = await answer.json()
                assert last > book["lastUpdateId"]
                assert sides == {"b": dict(now["bids"]), "a": dict(now["asks"])}

    asyncio.run(run())


def test_a_book_that_thins_out_at_a_standing_price_is_told_level_by_level(quiet):
    exchange, clock = quiet
    exchange.markets["BTCUSDT"].thin(clock.began + 10 * 10**9, None, 12_500_000)

    async def run():
        seen = {}
        address = "/stream?streams=btcusdt@depth/btcusdt@bookTicker"
        async with paper.serve(exchange) as server, aiohttp.ClientSession() as session:  # noqa: SIM117
            async with session.ws_connect(ws(server, address)) as socket:
                while len(seen) < 2:
                    said = json.loads((await socket.receive(20)).data)
                    name, data = said["stream"].partition("@")[2], said["data"]
                    if name == "bookTicker" and data["B"] == "9000.00000000":
                        clock.now = clock.began + 10 * 10**9
                    elif name == "bookTicker" or data["b"]:
                        seen[name] = data
        return seen

    told = asyncio.run(run())
    assert [told["bookTicker"][name] for name in "bBaA"] == ["99.90000000", "0.12500000", "100.10000000", "0.12500000"]
    depth = told["depth"]
    assert [len(depth[side]) for side in "ba"] == [1000, 1000]
    assert {size for side in "ba" for _, size in depth[side]} == {"0.12500000"}
    assert depth["b"][-1][0] == "99.90000000"


def test_a_listen_key_is_a_stream_that_ends_with_it_and_is_in_no_log(quiet):
    exchange, _ = quiet
    wall = [1_700_000_000 * 10**9]

    async def run():
        async with paper.serve(exchange, wall_ns=lambda: wall[0]) as server, aiohttp.ClientSession() as session:
            address = server.url + "/api/v3/userDataStream"

            async def ask(method, headers=None, **params):
                async with session.request(method, address, params=params, headers=headers) as answer:
                    return answer.status, await answer.json()

            key_header = {"X-MBX-APIKEY": "paper-key"}
            assert await ask("POST") == (401, {"code": -2014, "msg": "API-key format invalid."})
            _, body = await ask("POST", key_header)
            key = body["listenKey"]
            assert (await ask("POST", key_header))[1] == {"listenKey": key}
            assert (await ask("PUT", key_header, listenKey="x"))[1]["code"] == -1125
            async with session.ws_connect(ws(server, f"/ws/{key}")) as socket:
                exchange.transfer("main", "USDT", 10**8)
                first = [json.loads((await socket.receive(5)).data) for _ in range(2)]
                assert [one["e"] for one in first] == ["balanceUpdate", "outboundAccountPosition"]
                assert (first[0]["d"], first[1]["B"][0]["f"]) == ("1.00000000", "50001.00000000")
                wall[0] += 3_601 * 10**9
                expired = json.loads((await socket.receive(5)).data)
                assert (expired["e"], expired["listenKey"]) == ("listenKeyExpired", key)
            assert (await ask("PUT", key_header, listenKey=key))[1]["code"] == -1125
            assert "/ws/LISTEN_KEY" in [one.path for one in server.log.entries]
            assert key not in str(server.log.entries)

    asyncio.run(run())


def test_a_third_currency_of_fees_is_known_to_the_stream(make, rows, connect_pro, eventually):
    fees = Fees(third=ThirdCurrency("BNB", price=300 * 10**8))
    exchange, _ = make(
        rows((100, 100, 100, 100)), spread_bp=20, fees=fees, balances={"BNB": "1", "BTC": "1", "USDT": "5000"}
    )

    async def run():
        async with paper.serve(exchange) as server, connect_pro(server) as client:
            await client.load_markets()
            mine = asyncio.create_task(client.watch_my_trades())
            await eventually(lambda: any(one.operation == "user_data_subscribe" for one in server.log.entries))
            for _ in range(2):
                await client.create_order(SYMBOL, "market", "buy", 1)
            await mine
            await eventually(lambda: len(client.myTrades) == 2)
            assert [trade["fee"]["currency"] for trade in client.myTrades] == ["BNB", "BNB"]

    asyncio.run(run())
