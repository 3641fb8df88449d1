"""Real clients against Kraken's protocol over real sockets: ccxt, ccxt.pro, python-kraken-sdk and krakenex."""

import asyncio
import base64
import urllib.error
import urllib.request

import ccxt
import krakenex
import pytest
from kraken.exceptions import KrakenInsufficientFundsError, KrakenInvalidNonceError
from kraken.spot import Market, SpotOrderBookClient, Trade, User
from kraken.spot import SpotClient as SdkClient

from tradewatch import paper
from tradewatch.paper.faults import Fault, Faults, Match, Rule
from tradewatch.paper.requests import Limits

SYMBOL = "BTC/USD"
KEY, KRAKEN_SECRET = "paper-key", base64.b64encode(b"paper-secret").decode()
ROOMY = Limits(tier="pro")


@pytest.fixture
def served(dollars, rows):
    """A server at 100 that goes to 90 and back, its exchange and its clock."""

    def build(venue="kraken", faults=None, **settings):
        record = rows((100, 100, 100, 100), (100, 110, 90, 105))
        exchange, clock = dollars(record, **({"spread_bp": 20, "balances": {"BTC": "1", "USD": "1000"}} | settings))
        return paper.serve_in_thread(exchange, venue=venue, faults=faults, limits=ROOMY), exchange, clock

    return build


def test_ccxt_trades_and_reads_what_it_did(served, connect_kraken, read):
    serving, _, clock = served()
    with serving as server:
        client = connect_kraken(server)
        client.load_markets()
        market = client.market(SYMBOL)
        assert (market["id"], market["precision"]["amount"], market["precision"]["price"], market["taker"]) == (
            "XXBTZUSD", 1e-05, 0.01, 0.001,
        )  # fmt: skip
        ticker = client.fetch_ticker(SYMBOL)
        assert (ticker["bid"], ticker["ask"], ticker["last"]) == (99.9, 100.1, 100.0)
        taken = client.create_order(SYMBOL, "market", "buy", 1)
        assert (taken["status"], taken["filled"], taken["amount"]) == (None, None, 1.0)
        rests = client.create_order(SYMBOL, "limit", "sell", 0.5, 104, {"postOnly": True, "clientOrderId": "mine"})
        order = client.fetch_order(taken["id"])
        assert (order["status"], order["filled"], order["average"], order["cost"], float(order["fee"]["cost"])) == (
            "closed", 1.0, 100.1, 100.1, 0.1001,
        )  # fmt: skip
        (found,) = client.fetch_open_orders(SYMBOL)
        assert (found["id"], found["clientOrderId"], found["price"], found["postOnly"]) == (
            rests["id"], "mine", 104.0, True,
        )  # fmt: skip
        balance = client.fetch_balance()
        assert (balance["BTC"]["free"], balance["BTC"]["used"], balance["USD"]["total"]) == (1.5, 0.5, 899.7999)
        clock.pass_seconds(114)
        first, second = client.fetch_my_trades(SYMBOL)
        assert (first["order"], first["takerOrMaker"], first["fee"]) == (
            taken["id"], "taker", {"currency": "USD", "cost": 0.1001},
        )  # fmt: skip
        assert (second["order"], second["takerOrMaker"], second["price"], second["fee"]["cost"]) == (
            rests["id"], "maker", 104.0, 0.052,
        )  # fmt: skip
        assert [entry["amount"] for entry in client.fetch_ledger("BTC")] == [1.0, 0.5]
        assert {order["id"]: order["status"] for order in client.fetch_closed_orders(SYMBOL)} == dict.fromkeys(
            (taken["id"], rests["id"]), "closed"
        )
        books = read(server, "/paper/books")["accounts"]["main"]
        assert [order["order_id"] for order in books["orders"]] == [taken["id"], rests["id"]]
        assert books["trades"][1]["order_id"] == rests["id"]
    assert [entry.operation for entry in server.log.entries if entry.order_id] == ["add_order", "add_order"]


def test_ccxt_raises_what_bots_catch(served, connect_kraken):
    serving, _, _ = served()
    with serving as server:
        client = connect_kraken(server)
        with pytest.raises(ccxt.InsufficientFunds):
            client.create_order(SYMBOL, "limit", "buy", 100, 90)
        with pytest.raises(ccxt.ExchangeError, match="EOrder:Cost minimum not met"):
            client.create_order(SYMBOL, "limit", "buy", 0.00001, 0.01)
        with pytest.raises(ccxt.OrderNotFound):
            client.cancel_order("OAAAAA-BBBBB-CCCCCC")
        with pytest.raises(ccxt.AuthenticationError):
            connect_kraken(server, apiKey="nobody").fetch_balance()
        client.fetch_balance()
        client.incrementing_nonce = lambda: 1
        with pytest.raises(ccxt.InvalidNonce):
            client.fetch_balance()
        shown = str(server.log.entries)
    assert KEY not in shown
    assert KRAKEN_SECRET not in shown


def test_money_that_comes_and_goes_is_seen_by_clients_and_books(served, connect_kraken, read):
    serving, _, _ = served()
    with serving as server:
        client = connect_kraken(server)
        for query in ("currency=USD&amount=250", "currency=BTC&amount=-0.4&fee=0.1&account=main"):
            request = urllib.request.Request(f"{server.url}/paper/transfer?{query}", method="POST")
            urllib.request.urlopen(request).close()
        (deposit,), (withdrawal,) = client.fetch_deposits("USD"), client.fetch_withdrawals()
        assert (deposit["amount"], deposit["currency"], deposit["status"], deposit["type"]) == (
            250.0, "USD", "ok", "deposit",
        )  # fmt: skip
        assert (withdrawal["amount"], withdrawal["currency"], withdrawal["fee"]["cost"]) == (0.4, "BTC", 0.1)
        assert client.fetch_deposits("BTC") == []
        entries = {entry["currency"]: entry for entry in client.fetch_ledger()}
        assert (entries["BTC"]["type"], entries["BTC"]["after"]) == ("transaction", 0.5)
        assert entries["USD"]["referenceId"] == deposit["id"]
        sent = client.withdraw("BTC", 0.1, "", {"key": "mine"})
        assert {one["id"] for one in client.fetch_withdrawals()} == {withdrawal["id"], sent["id"]}
        account = read(server, "/paper/books")["accounts"]["main"]
        assert account["balances"]["BTC"] == {"free": "0.4", "locked": "0"}
        assert account["positions"]["BTC/USD"]["amount"] == "0.4"
        assert account["positions"]["BTC/USD"]["realised"] == "0"


def test_a_transfer_that_cannot_be_is_refused(served):
    serving, exchange, _ = served()
    with serving as server:
        for query in ("currency=USD", "currency=XXX&amount=1", "currency=USD&amount=-5000", "amount=1&account=none"):
            request = urllib.request.Request(f"{server.url}/paper/transfer?{query}", method="POST")
            with pytest.raises(urllib.error.HTTPError, match="400"):
                urllib.request.urlopen(request)
        with pytest.raises(urllib.error.HTTPError, match="405"):
            urllib.request.urlopen(f"{server.url}/paper/transfer?currency=USD&amount=1")
    assert exchange.transfers("main") == []


def test_binance_lists_deposits_and_withdrawals_too(make, rows, connect):
    exchange, _ = make(rows((100, 100, 100, 100)), balances={"BTC": "1", "USDT": "1000"})
    exchange.transfer("main", "USDT", 250 * 10**8)
    exchange.transfer("main", "BTC", -4 * 10**7, 10**7)
    with paper.serve_in_thread(exchange) as server:
        client = connect(server)
        (deposit,), (withdrawal,) = client.fetch_deposits("USDT"), client.fetch_withdrawals()
        assert (deposit["amount"], deposit["currency"], deposit["status"]) == (250.0, "USDT", "ok")
        assert (withdrawal["amount"], withdrawal["fee"]["cost"], withdrawal["status"]) == (0.4, 0.1, "ok")
        assert client.fetch_balance()["BTC"]["total"] == 0.5


def test_krakenex_reads_errors_and_results(served):
    serving, _, _ = served()
    with serving as server:
        client = krakenex.API(KEY, KRAKEN_SECRET)
        client.uri = server.url
        try:
            assert client.query_public("Time")["error"] == []
            answer = client.query_private(
                "AddOrder", {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "price": "90", "volume": "1"}
            )
            (txid,) = answer["result"]["txid"]
            assert list(client.query_private("OpenOrders")["result"]["open"]) == [txid]
            assert client.query_private("CancelOrder", {"txid": "ONONE"}) == {"error": ["EOrder:Unknown order"]}
        finally:
            client.close()


def test_the_sdk_trades_and_raises_krakens_errors(served):
    serving, _, _ = served()
    with serving as server:
        trade, user = (one(KEY, KRAKEN_SECRET, url=server.url) for one in (Trade, User))
        placed = trade.create_order("market", "buy", "XBTUSD", "1")
        assert user.get_orders_info(placed["txid"][0], trades=True)[placed["txid"][0]]["vol_exec"] == "1.00000000"
        batch = [{"ordertype": "limit", "side": "buy", "volume": "1", "price": price} for price in ("90", "91")]
        orders = [{**one, "type": one.pop("side")} for one in batch]
        done = trade.create_order_batch(orders, "XBTUSD")
        assert [one["descr"]["order"] for one in done["orders"]] == [
            "buy 1.00000000 XBTUSD @ limit 90.00", "buy 1.00000000 XBTUSD @ limit 91.00",
        ]  # fmt: skip
        assert "triggerTime" in trade.cancel_all_orders_after_x(60)
        assert trade.cancel_all_orders() == {"count": 2}
        with pytest.raises(KrakenInsufficientFundsError):
            trade.create_order("limit", "buy", "XBTUSD", "100", price="90")
        assert Market(url=server.url).get_asset_pairs(pair="BTC/USD")["BTC/USD"]["altname"] == "XBTUSD"
        stale = SdkClient(KEY, KRAKEN_SECRET, url=server.url)
        stale.get_nonce = lambda: "1"
        with pytest.raises(KrakenInvalidNonceError):
            stale.request("POST", "/0/private/Balance")


def short(orders):
    return [(order["id"], order["symbol"], order["status"]) for order in orders]


async def test_ccxt_pro_watches_the_market_and_its_own_orders(served, stream_kraken, eventually):
    serving, exchange, clock = served()
    with serving as server:
        client = stream_kraken(server, options={"watchOrderBook": {"checksum": False}})
        ticker = await client.watch_ticker(SYMBOL)
        assert (ticker["bid"], ticker["ask"]) == (99.9, 100.1)
        book = await client.watch_order_book(SYMBOL)
        assert book["bids"][0] == [99.9, 9000.0]
        candles = await client.watch_ohlcv(SYMBOL)
        assert candles[-1][1:] == [100.0, 100.0, 100.0, 100.0, 1.0]
        balance = await client.watch_balance()
        assert balance["total"] == {"BTC": 1.0, "USD": 1000.0}
        orders = asyncio.ensure_future(client.watch_orders(SYMBOL))
        await eventually(lambda: [entry.account for entry in server.log.entries].count("main") >= 3)
        await asyncio.sleep(0.05)
        placed = await client.create_order_ws(SYMBOL, "limit", "sell", 0.5, 104)
        (order,) = await asyncio.wait_for(orders, 10)
        assert (order["id"], order["status"], order["price"], order["amount"]) == (placed["id"], "open", 104.0, 0.5)
        trades = asyncio.ensure_future(client.watch_my_trades(SYMBOL))
        clock.pass_seconds(114)
        (trade,) = await asyncio.wait_for(trades, 10)
        assert (trade["order"], trade["price"], trade["amount"], trade["takerOrMaker"], trade["fee"]) == (
            placed["id"], 104.0, 0.5, "maker", {"cost": 0.052, "currency": "USD"},
        )  # fmt: skip
        # The last report has no symbol, so that ccxt keeps it as an order of its own.
        closed = [(placed["id"], None, "closed")]
        await eventually(lambda: [seen for seen in short(client.orders) if seen[2] == "closed"] == closed)
        quote = exchange.markets["BTCUSD"].quote(exchange.now_ns)
        await eventually(lambda: client.orderbooks[SYMBOL]["bids"][0][0] == quote.bid / 1e8)
        assert len(client.orderbooks[SYMBOL]["asks"]) == 10
        with pytest.raises(ccxt.ExchangeError, match="EOrder:Insufficient funds"):
            await client.create_order_ws(SYMBOL, "limit", "buy", 500, 90)


async def test_the_sdk_accepts_every_checksum_of_a_moving_book(rows, dollars, monkeypatch, eventually):
    """Its order book client compares each update's checksum with its own and says where they differ."""
    record = rows((100, 130, 70, 100), (100, 120, 50, 110))
    exchange, clock = dollars(record, spread_bp=7)
    exchange.markets["BTCUSD"].thin(record.start_ns + 10 * 10**9, record.start_ns + 20 * 10**9, 12_500_000)
    updates, errors = [], []

    async def heard(pair, message):
        (errors if "error" in message else updates).append(message)

    with paper.serve_in_thread(exchange, venue="kraken", limits=ROOMY) as server:
        monkeypatch.setattr(SpotOrderBookClient, "WS_URL", server.url.replace("http://", "ws://"))
        monkeypatch.setattr("kraken.spot.orderbook.Market", lambda: Market(url=server.url))
        client = SpotOrderBookClient(callback=heard)
        await client.start()
        try:
            await client.add_book(pairs=[SYMBOL])
            await eventually(lambda: updates)
            for step in range(40):
                clock.now += 1_370_000_000 if step % 2 else 1_000_000
                seen = len(updates)
                if step % 2:
                    await eventually(lambda seen=seen: len(updates) > seen)
            assert errors == []
            assert client.get(SYMBOL)["valid"] is True
            quote = exchange.markets["BTCUSD"].quote(exchange.now_ns)
            await eventually(lambda: float(next(iter(client.get(SYMBOL)["bid"]))) == quote.bid / 1e8)
        finally:
            await client.close()
    assert len(updates) > 20


async def test_a_fill_reaches_the_stream_before_the_rest_answer(served, stream_kraken, connect_kraken, eventually):
    late = Rule(Match(operation="add_order"), Fault("timeout", at="answer", hold_s=30))
    serving, _, _ = served(faults=Faults([late]))
    with serving as server:
        client = stream_kraken(server, timeout=500)
        await client.load_markets()
        watching = asyncio.ensure_future(client.watch_my_trades())
        await eventually(lambda: any(entry.operation == "subscribe" for entry in server.log.entries))
        await asyncio.sleep(0.05)
        with pytest.raises(ccxt.RequestTimeout):
            await client.create_order(SYMBOL, "market", "buy", 1)
        (trade,) = await asyncio.wait_for(watching, 10)
        assert trade["amount"] == 1.0
