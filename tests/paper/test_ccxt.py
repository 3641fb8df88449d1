"""Real ccxt clients, sync and async, over real sockets."""

import asyncio
import time

import ccxt
import pytest

from tradewatch import paper
from tradewatch.paper.fees import Fees, ThirdCurrency
from tradewatch.paper.requests import Limits

SYMBOL = "BTC/USDT"


@pytest.fixture
def quiet(make, rows):
    """Prices stand at 100 for a minute and then fall to 90."""
    return make(rows((100, 100, 100, 100), (100, 100, 90, 95), (95, 95, 95, 95)), spread_bp=20)


def test_a_client_reads_the_market(make, connect):
    exchange, clock = make()
    with paper.serve_in_thread(exchange) as server:
        client = connect(server)
        market = client.load_markets()[SYMBOL]
        assert (market["precision"]["amount"], market["precision"]["price"], market["limits"]["cost"]["min"]) == (
            1e-05, 0.01, 5.0,
        )  # fmt: skip
        assert {"BTC", "USDT"} <= set(client.currencies)
        assert client.fetch_time() == pytest.approx(time.time() * 1000, abs=5000)
        ticker = client.fetch_ticker(SYMBOL)
        assert (ticker["bid"], ticker["ask"], ticker["last"]) == (23426.45, 23431.15, 23428.8)
        assert ticker["timestamp"] == clock.now_ns() // 10**6
        book = client.fetch_order_book(SYMBOL, 5)
        assert (book["bids"][0], book["asks"][0], len(book["asks"])) == ([23426.45, 9000.0], [23431.15, 9000.0], 5)
        candles = client.fetch_ohlcv(SYMBOL, "5m", limit=3)
        assert [candle[0] % 300_000 for candle in candles] == [0, 0, 0]
        assert candles[-1][4] == 23428.8
        trades = client.fetch_trades(SYMBOL, limit=4)
        assert [trade["timestamp"] for trade in trades] == sorted(trade["timestamp"] for trade in trades)
        assert client.fetch_bids_asks([SYMBOL])[SYMBOL]["ask"] == 23431.15
        assert client.fetch_tickers([SYMBOL])[SYMBOL]["close"] == 23428.8


def test_a_client_trades(quiet, connect):
    exchange, clock = quiet
    with paper.serve_in_thread(exchange) as server:
        client = connect(server)
        bought = client.create_order(SYMBOL, "market", "buy", 2)
        assert {key: bought[key] for key in ("status", "filled", "average", "cost", "fee")} == {
            "status": "closed",
            "filled": 2.0,
            "average": 100.1,
            "cost": 200.2,
            "fee": {"currency": "BTC", "cost": 0.002},
        }
        rest = client.create_order(SYMBOL, "limit", "buy", 1, 95, {"clientOrderId": "mine"})
        assert (rest["status"], rest["clientOrderId"]) == ("open", "mine")
        assert [order["id"] for order in client.fetch_open_orders(SYMBOL)] == [rest["id"]]
        balance = client.fetch_balance()
        assert balance["USDT"] == {"free": 49704.8, "used": 95.0, "total": 49799.8}
        assert balance["BTC"] == {"free": 2.998, "used": 0.0, "total": 2.998}
        clock.pass_seconds(120)
        filled = client.fetch_order(rest["id"], SYMBOL)
        assert (filled["status"], filled["average"]) == ("closed", 95.0)
        trades = client.fetch_my_trades(SYMBOL)
        assert [(trade["takerOrMaker"], trade["price"], trade["fee"]["currency"]) for trade in trades] == [
            ("taker", 100.1, "BTC"), ("maker", 95.0, "BTC"),
        ]  # fmt: skip
        assert 1677801680000 < trades[1]["timestamp"] < 1677801700000
        assert client.fetch_open_orders(SYMBOL) == []


def test_a_client_cancels(quiet, connect):
    exchange, _ = quiet
    with paper.serve_in_thread(exchange) as server:
        client = connect(server)
        orders = [client.create_order(SYMBOL, "limit", "buy", 1, price) for price in (91, 92, 93)]
        assert client.cancel_order(orders[0]["id"], SYMBOL)["status"] == "canceled"
        assert [order["status"] for order in client.cancel_all_orders(SYMBOL)] == ["canceled"] * 2
        with pytest.raises(ccxt.OrderNotFound):
            client.cancel_all_orders(SYMBOL)
        with pytest.raises(ccxt.OrderNotFound):
            client.cancel_order(orders[0]["id"], SYMBOL)
        assert [order["status"] for order in client.fetch_orders(SYMBOL)] == ["canceled"] * 3


def test_other_kinds_of_orders(quiet, connect):
    exchange, _ = quiet
    with paper.serve_in_thread(exchange) as server:
        client = connect(server)
        spent = client.create_order(SYMBOL, "market", "buy", 0, None, {"cost": 500})
        assert (spent["cost"], spent["filled"]) == (499.9995, 4.995)
        expired = client.create_order(SYMBOL, "limit", "buy", 1, 99, {"timeInForce": "IOC"})
        assert (expired["status"], expired["filled"]) == ("expired", 0.0)
        posted = client.create_order(SYMBOL, "limit", "buy", 1, 99, {"postOnly": True})
        assert client.fetch_order(posted["id"], SYMBOL)["status"] == "open"
        with pytest.raises(ccxt.OrderImmediatelyFillable):
            client.create_order(SYMBOL, "limit", "buy", 1, 101, {"postOnly": True})
        killed = client.create_order(SYMBOL, "limit", "sell", 1, 101, {"timeInForce": "FOK"})
        assert killed["status"] == "expired"


def test_a_client_knows_the_fee_currency_even_without_its_market(make, rows, connect):
    fees = Fees(third=ThirdCurrency("BNB", price=150 * 10**8))
    exchange, _ = make(rows((100, 100, 100, 100)), balances={"USDT": "1000", "BNB": "1"}, spread_bp=0, fees=fees)
    with paper.serve_in_thread(exchange) as server:
        client = connect(server)
        assert client.load_markets()["BNB/USDT"]["active"] is False
        orders = [client.create_order(SYMBOL, "market", "buy", 1) for _ in range(2)]
        assert [order["fee"] for order in orders] == [{"currency": "BNB", "cost": 0.0005}] * 2
        assert client.fetch_balance()["BNB"]["free"] == 0.999


def test_what_a_client_gets_for_a_bad_order(quiet, connect):
    exchange, clock = quiet
    with paper.serve_in_thread(exchange) as server:
        client = connect(server)
        client.load_markets()
        with pytest.raises(ccxt.InsufficientFunds):
            client.create_order(SYMBOL, "market", "buy", 1000)
        with pytest.raises(ccxt.BadRequest, match="NOTIONAL"):
            client.create_order(SYMBOL, "limit", "buy", 0.001, 90)
        raw = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.000001"}
        with pytest.raises(ccxt.InvalidOrder, match="LOT_SIZE"):
            client.private_post_order(raw)
        with pytest.raises(ccxt.OrderNotFound):
            client.fetch_order("77", SYMBOL)
        with pytest.raises(ccxt.BadSymbol):
            client.public_get_depth({"symbol": "ETHUSDT"})
        with pytest.raises(ccxt.AuthenticationError):
            connect(server, secret="wrong").fetch_balance()
        with pytest.raises(ccxt.AuthenticationError):
            connect(server, apiKey="wrong").fetch_balance()
        late = connect(server)
        late.options["timeDifference"] = 60_000
        with pytest.raises(ccxt.InvalidNonce):
            late.fetch_balance()
        clock.pass_seconds(300)
        with pytest.raises(ccxt.MarketClosed):
            client.create_order(SYMBOL, "market", "buy", 1)
        assert client.load_markets(True)[SYMBOL]["active"] is False


def test_a_client_that_asks_too_much_is_told_to_wait(quiet, connect, read):
    exchange, _ = quiet
    with paper.serve_in_thread(exchange, limits=Limits(weight_1m=30)) as server:
        client = connect(server)
        client.load_markets()
        for _ in range(5):
            client.fetch_ticker(SYMBOL)
        with pytest.raises(ccxt.DDoSProtection, match="429"):
            client.fetch_ticker(SYMBOL)
        assert 0 < int(client.last_response_headers["Retry-After"]) <= 60
        refused = read(server, "/paper/requests")[-1]
        assert (refused["status"], refused["code"], refused["accepted"]) == (429, -1003, False)


async def test_async_clients_trade_at_the_same_time(quiet, connect_async):
    exchange, _ = quiet
    async with paper.serve(exchange) as server:
        clients = [connect_async(server) for _ in range(3)]
        try:
            await asyncio.gather(*(client.load_markets() for client in clients))
            orders = await asyncio.gather(
                *(client.create_order(SYMBOL, "market", "buy", 1) for client in clients for _ in range(5))
            )
            assert len({order["id"] for order in orders}) == 15
            rest = await clients[0].create_order(SYMBOL, "limit", "sell", 1, 150)
            await clients[1].cancel_order(rest["id"], SYMBOL)
            balance = await clients[2].fetch_balance()
            assert balance["total"] == {"BTC": 15.985, "USDT": 48498.5}
        finally:
            await asyncio.gather(*(client.close() for client in clients))


def test_books_and_requests_are_read_beside_the_api(quiet, connect, read):
    exchange, clock = quiet
    with paper.serve_in_thread(exchange) as server:
        client = connect(server)
        client.load_markets()
        client.fetch_ticker(SYMBOL)
        order = client.create_order(SYMBOL, "market", "buy", 1, None, {"clientOrderId": "mine"})
        clock.pass_seconds(150)
        books = read(server, "/paper/books")
        account = books["accounts"]["main"]
        assert account["equity"]["value"] == "50089.805"  # 49,899.9 + 1.999 at 95
        assert account["equity_at_last_quote"]["value"] == "50099.8"
        assert account["equity_at_last_quote"]["at_ns"] == 1677801600 * 10**9
        requests = read(server, "/paper/requests")
        assert [entry["seq"] for entry in requests] == [1, 2, 3]
        assert [entry["operation"] for entry in requests] == ["exchange_info", "ticker_24hr", "order_place"]
        last = requests[-1]
        assert last["received_ns"] <= last["answered_ns"]
        assert {key: value for key, value in last.items() if key not in ("received_ns", "answered_ns")} == {
            "seq": 3,
            "received_sim_ns": 1677801600 * 10**9,
            "method": "POST",
            "path": "/api/v3/order",
            "operation": "order_place",
            "answered_sim_ns": 1677801600 * 10**9,
            "status": 200,
            "weight": 1,
            "code": None,
            "error": None,
            "account": "main",
            "client_order_id": "mine",
            "order_id": int(order["id"]),
            "accepted": True,
            "fault": None,
            "injected": [],
            "channel": None,
            "number": None,
        }
        assert read(server, "/paper/requests?since=2") == [last]
        assert read(server, "/paper/clock")["now_ns"] == clock.now_ns()


def test_the_log_file_holds_every_request_and_no_secret(quiet, connect, read, tmp_path):
    exchange, _ = quiet
    path = tmp_path / "requests.jsonl"
    with path.open("ab") as file, paper.serve_in_thread(exchange, log_file=file) as server:
        client = connect(server)
        client.create_order(SYMBOL, "market", "buy", 1)
        client.fetch_balance()
        with pytest.raises(ccxt.AuthenticationError):
            connect(server, apiKey="another-key").fetch_balance()
        shown = str(read(server, "/paper/requests")) + str(read(server, "/paper/books"))
    text = path.read_text()
    assert len(text.splitlines()) == 5
    for secret in ("paper-key", "paper-secret", "another-key", "signature", "timestamp"):
        assert secret not in text + shown


def test_a_taken_port_is_an_error(quiet):
    exchange, _ = quiet
    with paper.serve_in_thread(exchange) as server:
        port = int(server.url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"), paper.serve_in_thread(exchange, port=port):
            pass
