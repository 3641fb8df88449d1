"""python-binance against the paper exchange, over real sockets: REST, streams, user data, and orders by websocket.

The same calls also go to a server that knows nothing but the documents' examples (documents/binance.json): what the
client makes of those has the same fields of the same kinds as what it makes of the exchange's answers, and the same
value wherever the request decides it.
"""

import asyncio
import contextlib
import json
import queue
import threading
import warnings
from pathlib import Path

import pytest
from aiohttp import web

from tradewatch import paper
from tradewatch.paper.faults import Fault, Faults, Match, Rule
from tradewatch.paper.orders import NewOrder
from tradewatch.paper.units import ONE

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it imports websockets' old client
    from binance import AsyncClient, BinanceSocketManager, Client
    from binance.exceptions import BinanceAPIException
    from binance.ws.constants import WSListenerState

DOCUMENTS = json.loads((Path(__file__).parent / "documents" / "binance.json").read_text())
KEY, SECRET, SYMBOL = "paper-key", "paper-secret", "BTCUSDT"
FLAT, FALL = (100, 100, 100, 100), (100, 110, 90, 105)
PATHS = {
    "ping": "ping", "time": "time", "exchangeInfo": "exchangeInfo", "depth": "depth", "trades": "trades",
    "aggTrades": "aggTrades", "klines": "klines", "avgPrice": "avgPrice", "24hr": "ticker/24hr",
    "price": "ticker/price", "bookTicker": "ticker/bookTicker", "account": "account", "queryOrder": "order",
    "openOrders": "openOrders", "allOrders": "allOrders", "myTrades": "myTrades", "orderCounts": "rateLimit/order",
}  # fmt: skip
ROUTES = {("GET", f"/api/v3/{path}"): name for name, path in PATHS.items()} | {
    ("POST", "/api/v3/order"): "order",
    ("POST", "/api/v3/order/test"): "orderTest",
    ("DELETE", "/api/v3/order"): "cancel",
}
# What the request decides, or the venue always says: the values are compared, not the kinds alone.
DECIDED = {
    "asset", "baseAsset", "quoteAsset", "symbol", "s", "side", "S", "type", "o", "timeInForce", "f", "status", "X", "x",
    "selfTradePreventionMode", "V", "isWorking", "isBestMatch", "rateLimitType", "interval",
    "e", "permissionSets", "accountType", "origClientOrderId", "i", "timezone", "a",
}  # fmt: skip


def shown(value, name=""):
    """What a client hands to its user: fields, kinds, and values that the request decides; of lists the first."""
    if isinstance(value, dict):
        return {key: shown(one, key) for key, one in value.items()}
    if isinstance(value, list):
        nested = bool(value) and isinstance(value[0], dict | list)
        return [shown(one, name) for one in (value[:1] if nested else value)]
    if value is None or isinstance(value, bool):
        return type(value).__name__
    if isinstance(value, int | float):
        return "number"
    if value.replace(".", "", 1).lstrip("-").isdigit():
        return "decimal"
    return value if name in DECIDED else "text"


@contextlib.contextmanager
def documented():
    """A server that answers with the documents, whatever it is asked; its address."""

    async def answer(request):
        socket = web.WebSocketResponse()
        if not socket.can_prepare(request):
            return web.json_response(DOCUMENTS["rest"][ROUTES[request.method, request.path]]["body"])
        await socket.prepare(request)
        if request.path.startswith("/ws/"):
            stream = request.path.partition("@")[2]
            await socket.send_json(DOCUMENTS["streams"][stream]["body"])
        async for message in socket:
            asked = json.loads(message.data)
            await socket.send_json(DOCUMENTS["ws_api"][asked["method"]]["body"] | {"id": asked["id"]})
            if asked["method"].startswith("userDataStream"):
                for one in DOCUMENTS["user_data"].values():
                    await socket.send_json({"subscriptionId": 0, "event": one["body"]})
        return socket

    started, loop = queue.Queue(), asyncio.new_event_loop()

    async def serve():
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        ended = asyncio.Event()
        started.put((runner.addresses[0][1], ended))
        await ended.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    port, ended = started.get(timeout=5)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(5)
        loop.close()


@pytest.fixture
def redirect(monkeypatch):
    """Points every client that is made from here on to a server."""

    def to(url):
        for cls in (Client, AsyncClient):
            monkeypatch.setattr(cls, "API_URL", f"{url}/api")
            monkeypatch.setattr(cls, "MARGIN_API_URL", f"{url}/sapi")
            monkeypatch.setattr(cls, "WS_API_URL", url.replace("http", "ws") + "/ws-api/v3")
        monkeypatch.setattr(BinanceSocketManager, "STREAM_URL", url.replace("http", "ws") + "/")

    return to


@pytest.fixture
def connected(redirect):
    """A sync client of a server."""

    @contextlib.contextmanager
    def to(url):
        redirect(url)
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)  # its constructor takes the thread's
        client = Client(KEY, SECRET)
        try:
            yield client
        finally:
            client.close_connection()
            asyncio.set_event_loop(None)
            loop.close()

    return to


def calls(client):
    """The calls of the documents' examples, in an order in which each has something to say: by name, to be made."""
    known = {"symbol": SYMBOL}
    return {
        "ping": client.ping,
        "time": client.get_server_time,
        "exchangeInfo": client.get_exchange_info,
        "depth": lambda: client.get_order_book(**known, limit=5),
        "trades": lambda: client.get_recent_trades(**known),
        "aggTrades": lambda: client.get_aggregate_trades(**known),
        "klines": lambda: client.get_klines(**known, interval="1m"),
        "avgPrice": lambda: client.get_avg_price(**known),
        "24hr": lambda: client.get_ticker(**known),
        "price": lambda: client.get_symbol_ticker(**known),
        "bookTicker": lambda: client.get_orderbook_ticker(**known),
        "order": lambda: client.order_market_sell(**known, quantity="0.5", newClientOrderId="taken"),
        "orderTest": lambda: client.create_test_order(**known, side="BUY", type="MARKET", quantity="1"),
        "resting": lambda: client.order_limit_buy(**known, quantity="1", price="90", newClientOrderId="mine"),
        "openOrders": lambda: client.get_open_orders(**known),
        "queryOrder": lambda: client.get_order(**known, origClientOrderId="mine"),
        "cancel": lambda: client.cancel_order(**known, origClientOrderId="mine"),
        "allOrders": lambda: client.get_all_orders(**known),
        "myTrades": lambda: client.get_my_trades(**known),
        "account": client.get_account,
        "orderCounts": client.get_current_order_count,
    }


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, one in theirs.items():
        mine, documented_one = shown(ours[name]), shown(one)
        if name == "exchangeInfo":
            for listed in ("orderTypes", "allowedSelfTradePreventionModes"):
                mine["symbols"][0][listed] = documented_one["symbols"][0][listed] = []
        if name == "allOrders":  # the documents show one that rests, ours was taken
            for each in (mine, documented_one):
                each[0] = {key: kind if key not in ("side", "type", "status") else "" for key, kind in each[0].items()}
        assert mine == documented_one, name


def test_the_client_makes_the_same_of_rest_answers_as_of_the_documents(make, rows, connected):
    exchange, _ = make(rows(FLAT, FALL), spread_bp=20)
    with paper.serve_in_thread(exchange) as server, connected(server.url) as client:
        ours = {name: call() for name, call in calls(client).items()}
        assert {entry.code for entry in server.log.entries} == {None}
    with documented() as url, connected(url) as client:
        theirs = {name: call() for name, call in calls(client).items()}
    assert set(DOCUMENTS["rest"]) == set(ours) - {"resting"}
    for answers in (ours, theirs):
        del answers["resting"]
    assert_same(ours, theirs)


async def test_the_async_client_makes_the_same_too(make, rows, redirect):
    exchange, _ = make(rows(FLAT, FALL), spread_bp=20)

    async def answers(url):
        redirect(url)
        client = await AsyncClient.create(KEY, SECRET)
        try:
            found = {name: await call() for name, call in calls(client).items()}
        finally:
            await client.close_connection()
        del found["resting"]
        return found

    async with paper.serve(exchange) as server:
        ours = await answers(server.url)
    with documented() as url:
        theirs = await answers(url)
    assert_same(ours, theirs)


async def ended(*sockets):
    """End connections before their client does, which would wait for ten seconds' silence."""
    for socket in sockets:
        socket.ws_state = WSListenerState.EXITING
        await socket.ws.close()


async def heard(clock=None):
    """The first message that says something of each socket, as its manager hands it over."""
    client = await AsyncClient.create(KEY, SECRET)
    manager = BinanceSocketManager(client)
    sockets = {
        "trade": manager.trade_socket(SYMBOL), "aggTrade": manager.aggtrade_socket(SYMBOL),
        "depth": manager.depth_socket(SYMBOL), "depth5": manager.depth_socket(SYMBOL, depth="5"),
        "kline_1m": manager.kline_socket(SYMBOL), "ticker": manager.symbol_ticker_socket(SYMBOL),
        "miniTicker": manager.symbol_miniticker_socket(SYMBOL), "bookTicker": manager.symbol_book_ticker_socket(SYMBOL),
    }  # fmt: skip
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(client.close_connection)
        for socket in sockets.values():
            await stack.enter_async_context(socket)
        if clock is not None:
            clock.pass_seconds(95)
        found = {}
        for name, socket in sockets.items():
            while not found.get(name) or found[name].get("b") == []:
                found[name] = await asyncio.wait_for(socket.recv(), 5)
        await ended(*sockets.values())
        return found


async def test_the_socket_manager_makes_the_same_of_streams(make, rows, redirect):
    exchange, clock = make(rows(FLAT, FALL), spread_bp=20)
    async with paper.serve(exchange) as server:
        redirect(server.url)
        ours = await heard(clock)
    with documented() as url:
        redirect(url)
        theirs = await heard()
    assert set(theirs) == set(DOCUMENTS["streams"])
    assert_same(ours, theirs)


async def by_websocket(transfer=None):
    """Orders over the websocket API, and what the user socket says of them."""
    client = await AsyncClient.create(KEY, SECRET)
    manager, known = BinanceSocketManager(client), {"symbol": SYMBOL}
    try:
        async with manager.user_socket() as user:
            found = {"order.place": None, "ticker.price": await client.ws_get_symbol_ticker(**known)}
            resting = {"side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "90"}
            await client.ws_create_order(**known, **resting, newClientOrderId="mine")
            found["order.status"] = await client.ws_get_order(**known, origClientOrderId="mine")
            found["order.cancel"] = await client.ws_cancel_order(**known, origClientOrderId="mine")
            found["order.place"] = await client.ws_create_order(**known, side="SELL", type="MARKET", quantity="0.5")
            if transfer is not None:
                transfer()
            while not {"executionReport", "outboundAccountPosition", "balanceUpdate"} <= found.keys():
                event = await asyncio.wait_for(user.recv(), 5)
                found.setdefault(event["e"], event)
        await ended(client.ws_api)
        return found
    finally:
        await client.close_connection()


async def test_the_client_makes_the_same_of_orders_by_websocket_and_of_user_data(make, rows, redirect):
    exchange, _ = make(rows(FLAT, FALL), spread_bp=20)
    async with paper.serve(exchange) as server:
        redirect(server.url)
        ours = await by_websocket(lambda: exchange.transfer("main", "BTC", ONE))
        log = [entry.operation for entry in server.log.entries if entry.method == "WS"]
    assert log.count("order_place") == 2
    with documented() as url:
        redirect(url)
        theirs = await by_websocket()
    assert ours.keys() == theirs.keys() == (DOCUMENTS["ws_api"].keys() | DOCUMENTS["user_data"].keys()) - {
        "userDataStream.subscribe.signature", "userDataStream.unsubscribe",
    }  # fmt: skip
    assert_same(ours, theirs)


async def test_a_cancel_is_told_with_its_own_id_and_the_orders(make, rows, redirect):
    exchange, _ = make(rows(FLAT, FALL), spread_bp=20)
    async with paper.serve(exchange) as server:
        redirect(server.url)
        client = await AsyncClient.create(KEY, SECRET)
        try:
            async with BinanceSocketManager(client).user_socket() as user:
                order = {"symbol": SYMBOL, "quantity": "1", "price": "90"}
                for name in ("first", "second"):
                    await client.order_limit_buy(**order, newClientOrderId=name)
                await client.cancel_order(symbol=SYMBOL, origClientOrderId="first", newClientOrderId="undo")
                await client.ws_cancel_order(symbol=SYMBOL, origClientOrderId="second")
                told = []
                while len(told) < 2:
                    event = await asyncio.wait_for(user.recv(), 5)
                    if event.get("x") == "CANCELED":
                        told.append((event["c"], event["C"], event["X"]))
            await ended(client.ws_api)
        finally:
            await client.close_connection()
    assert told == [("undo", "first", "CANCELED"), ("cancel-2", "second", "CANCELED")]


def test_refusals_raise_what_bots_catch(make, rows, connected):
    busy = Rule(Match(operation="klines"), Fault("rate_limit", retry_after_s=7))
    gateway = Rule(Match(operation="depth"), Fault("server_error", status=502))
    exchange, _ = make(rows(FLAT, FALL), spread_bp=20)
    order = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"}
    with (
        paper.serve_in_thread(exchange, faults=Faults([busy, gateway])) as server,
        connected(server.url) as client,
    ):
        for wrong, code in (
            (lambda: client.create_order(**order, quantity="9000", price="99"), -2010),
            (lambda: client.create_order(**order, quantity="1", price="90.001"), -1013),
            (lambda: client.cancel_order(symbol=SYMBOL, orderId=99), -2011),
            (lambda: client.get_klines(symbol=SYMBOL, interval="1m"), -1003),
            (lambda: client.get_order_book(symbol=SYMBOL), 0),
        ):
            with pytest.raises(BinanceAPIException) as raised:
                wrong()
            assert raised.value.code == code
        with pytest.raises(BinanceAPIException) as raised:
            client.get_order(symbol=SYMBOL, orderId=99)
        said = DOCUMENTS["errors"]["unknown order"]["body"]
        assert {"code": raised.value.code, "msg": raised.value.message} == said
        client.API_SECRET = "wrong"
        with pytest.raises(BinanceAPIException) as raised:
            client.get_account()
        assert raised.value.code == -1022


def test_the_average_price_is_of_the_prints_of_five_minutes(make, rows, connected):
    exchange, clock = make(rows(FLAT, (100, 110, 90, 105), *[(105, 105, 105, 105)] * 9), spread_bp=20)
    with paper.serve_in_thread(exchange) as server, connected(server.url) as client:
        clock.pass_seconds(119.999)
        # Eight prints of one each: 100 four times, then 100, 90, 110 and 105.
        assert client.get_avg_price(symbol=SYMBOL)["price"] == "100.62500000"
        clock.pass_seconds(420)
        assert client.get_avg_price(symbol=SYMBOL) == {
            "mins": 5, "price": "105.00000000", "closeTime": clock.now_ns() // 10**6,
        }  # fmt: skip


def test_order_counts_are_those_of_the_headers(make, rows, connected):
    exchange, _ = make(rows(FLAT, FALL), spread_bp=20)
    with paper.serve_in_thread(exchange) as server, connected(server.url) as client:
        for _ in range(3):
            client.order_limit_buy(symbol=SYMBOL, quantity="1", price="90")
        told = client.response.headers
        counts = [one["count"] for one in client.get_current_order_count()]
        assert counts == [3, 3] == [int(told["x-mbx-order-count-10s"]), int(told["x-mbx-order-count-1d"])]


def test_deposits_and_withdrawals_are_listed(make, rows, connected):
    exchange, _ = make(rows(FLAT, FALL))
    exchange.transfer("main", "USDT", 250 * ONE)
    exchange.submit("main", NewOrder(SYMBOL, "BUY", "MARKET", quantity=ONE))
    exchange.transfer("main", "BTC", -ONE // 2)
    with paper.serve_in_thread(exchange) as server, connected(server.url) as client:
        assert [(one["coin"], float(one["amount"])) for one in client.get_deposit_history()] == [("USDT", 250)]
        assert [(one["coin"], float(one["amount"])) for one in client.get_withdraw_history()] == [("BTC", 0.5)]
