"""Orders that fill in parts, as real clients see them: Binance spot, Kraken, the USD-M perpetual, over sockets."""

import asyncio

import pytest
from kraken.spot import User

from tradewatch import paper
from tradewatch.paper.requests import Limits
from tradewatch.paper.units import parse

FLAT = (100, 100, 100, 100)
CONTRACT = "BTC/USDT:USDT"


def seen(order):
    return tuple(order[name] for name in ("status", "filled", "remaining", "average"))


@pytest.fixture
def thin(make, rows):
    """Binance at 99.90 to 100.10, 0.5 at each level; sellers bring 1 BTC at 20 s, at 59.999 s, and so on."""
    return make(rows(*[FLAT] * 6), spread_bp=20, depth="0.5", balances={"BTC": "5", "USDT": "1000"})


@pytest.fixture
def thin_dollars(dollars, rows):
    """The same of Kraken."""
    return dollars(rows(*[FLAT] * 6), spread_bp=20, depth="0.5", balances={"BTC": "5", "USD": "1000"})


@pytest.fixture
def thin_contract(perpetual):
    """The same of the perpetual."""
    return perpetual(*[FLAT] * 6, depth="0.5")


def test_binance_over_rest(thin, connect):
    exchange, clock = thin
    symbol = "BTC/USDT"
    with paper.serve_in_thread(exchange) as server:
        client = connect(server)
        assert client.fetch_order_book(symbol, 5)["asks"][:2] == [[100.1, 0.5], [100.11, 0.5]]
        assert len(client.fetch_order_book(symbol, 5000)["asks"]) == 1000
        bought = client.create_order(symbol, "market", "buy", 1.2)
        assert seen(bought) == ("closed", 1.2, 0.0, 100.1075)
        fills = [(one["price"], one["amount"], one["fee"]["cost"]) for one in bought["trades"]]
        assert fills == [(100.1, 0.5, 0.0005), (100.11, 0.5, 0.0005), (100.12, 0.2, 0.0002)]
        crossing = client.create_order(symbol, "limit", "buy", 1.2, 100.11)
        assert seen(crossing) == ("open", 1.0, 0.2, 100.105)
        raw = client.private_get_order({"symbol": "BTCUSDT", "orderId": crossing["id"]})
        assert [raw[name] for name in ("status", "origQty", "executedQty", "cummulativeQuoteQty", "isWorking")] == [
            "PARTIALLY_FILLED", "1.20000000", "1.00000000", "100.10500000", True,
        ]  # fmt: skip
        assert client.fetch_balance()["USDT"] == {"free": 759.744, "used": 20.022, "total": 779.766}
        [listed] = client.fetch_open_orders(symbol)
        assert (listed["id"], seen(listed)) == (crossing["id"], ("open", 1.0, 0.2, 100.105))
        gone = client.cancel_order(crossing["id"], symbol)
        assert seen(gone) == ("canceled", 1.0, 0.2, 100.105)
        immediate = client.create_order(symbol, "limit", "sell", 1.2, 99.89, {"timeInForce": "IOC"})
        assert seen(immediate) == ("expired", 1.0, 0.2, 99.895)
        assert immediate["info"]["expiryReason"] == "UNFILLED_IOC_QUANTITY_EXPIRED"
        killed = client.create_order(symbol, "limit", "sell", 1.2, 99.89, {"timeInForce": "FOK"})
        assert (seen(killed)[:3], killed["trades"]) == (("expired", 0.0, 1.2), [])
        assert client.fetch_order(killed["id"], symbol)["info"]["expiryReason"] == "UNFILLED_FOK_ORDER_EXPIRED"
        assert "expiryReason" not in client.fetch_order(crossing["id"], symbol)["info"]
        waiting = client.create_order(symbol, "limit", "buy", 2, 99.9)
        clock.pass_seconds(61)
        assert seen(client.fetch_order(waiting["id"], symbol)) == ("open", 1.5, 0.5, 99.9)
        clock.pass_seconds(20)
        assert seen(client.fetch_order(waiting["id"], symbol)) == ("closed", 2.0, 0.0, 99.9)
        trades = client.fetch_my_trades(symbol)
        assert [one["amount"] for one in trades if one["order"] == waiting["id"]] == [0.5, 1.0, 0.5]
        assert len({one["id"] for one in trades}) == len(trades) == 10
        assert client.fetch_balance()["USDT"]["used"] == 0.0


def test_binances_user_stream(thin, connect_pro, eventually):
    exchange, _ = thin
    symbol = "BTC/USDT"

    async def run():
        async with paper.serve(exchange) as server, connect_pro(server) as client:
            await client.load_markets()
            reports = []
            handle = client.handle_order_update
            client.handle_order_update = lambda line, message: (reports.append(message), handle(line, message))
            tasks = [asyncio.create_task(client.watch_orders()), asyncio.create_task(client.watch_my_trades())]
            await eventually(lambda: any(one.operation == "user_data_subscribe" for one in server.log.entries))
            order = await client.create_order(symbol, "limit", "buy", 1.2, 100.11, {"clientOrderId": "mine"})
            await client.cancel_order(order["id"], symbol)
            await client.create_order(symbol, "market", "sell", 0.6)
            await eventually(lambda: client.orders is not None and len(client.myTrades or ()) == 4)
            asked = ("i", "x", "X", "l", "z", "L", "Z", "Y", "n", "w", "m")
            told = [tuple(one[name] for name in asked) for one in reports if one["i"] == int(order["id"])]
            assert [(*one[1:3], *map(float, one[3:9]), *one[9:]) for one in told] == [
                ("NEW", "NEW", 0, 0, 0, 0, 0, 0, True, False),
                ("TRADE", "PARTIALLY_FILLED", 0.5, 0.5, 100.1, 50.05, 50.05, 0.0005, True, False),
                ("TRADE", "PARTIALLY_FILLED", 0.5, 1, 100.11, 100.105, 50.055, 0.0005, True, False),
                ("CANCELED", "CANCELED", 0, 1, 0, 100.105, 0, 0, False, False),
            ]
            assert [seen(one) for one in client.orders] == [
                ("canceled", 1.0, 0.2, 100.105), ("closed", 0.6, 0.0, pytest.approx(99.8983333333)),
            ]  # fmt: skip
            assert [one["amount"] for one in client.myTrades] == [0.5, 0.5, 0.5, 0.1]
            await asyncio.gather(*tasks)

    asyncio.run(run())


def test_kraken_over_rest(thin_dollars, connect_kraken):
    exchange, clock = thin_dollars
    symbol = "BTC/USD"
    with paper.serve_in_thread(exchange, venue="kraken", limits=Limits(tier="pro")) as server:
        client = connect_kraken(server)
        assert client.fetch_order_book(symbol, 5)["bids"][0][:2] == [99.9, 0.5]
        taken = client.create_order(symbol, "market", "buy", 1.2)
        order = client.fetch_order(taken["id"], symbol, {"trades": True})
        assert (seen(order), order["cost"]) == (("closed", 1.2, 0.0, 100.1075), 120.129)
        assert float(order["fee"]["cost"]) == 0.120129
        fills = sorted(client.fetch_my_trades(symbol), key=lambda one: one["price"])  # all of one instant
        assert order["info"]["trades"] == [one["id"] for one in fills]
        assert [(one["price"], one["amount"], one["fee"]["cost"]) for one in fills] == [
            (100.1, 0.5, 0.05005), (100.11, 0.5, 0.050055), (100.12, 0.2, 0.020024),
        ]  # fmt: skip
        crossing = client.create_order(symbol, "limit", "buy", 1.2, 100.11)
        [listed] = client.fetch_open_orders(symbol)
        assert (listed["id"], seen(listed)) == (crossing["id"], ("open", 1.0, 0.2, 100.105))
        raw = listed["info"]
        assert [raw[name] for name in ("status", "vol", "vol_exec", "cost", "fee", "price")] == [
            "open", "1.20000000", "1.00000000", "100.10500000", "0.10010500", "100.10500",
        ]  # fmt: skip
        # 0.2 at 100.11 with its fee.
        assert client.fetch_balance()["USD"]["used"] == 20.042022
        client.edit_order(crossing["id"], symbol, "limit", "buy", 1.1, 100.11)
        assert seen(client.fetch_order(crossing["id"])) == ("closed", 1.1, 0.0, 100.10454)
        waiting = client.create_order(symbol, "limit", "buy", 2, 99.9)
        clock.pass_seconds(21)
        assert seen(client.fetch_order(waiting["id"]))[:3] == ("open", 0.5, 1.5)
        client.cancel_order(waiting["id"])
        assert seen(client.fetch_order(waiting["id"])) == ("canceled", 0.5, 1.5, 99.9)
        gone = client.create_order(symbol, "limit", "sell", 1.2, 99.89, {"timeInForce": "IOC"})
        assert seen(client.fetch_order(gone["id"])) == ("canceled", 1.0, 0.2, 99.895)
        assert client.fetch_balance()["USD"]["used"] == 0.0
        last = client.create_order(symbol, "limit", "buy", 1.2, 100.11)
        # The SDK reads the same; its nonces are above ccxt's.
        user = User(key="paper-key", secret=client.secret, url=server.url)
        assert user.get_open_orders()["open"][last["id"]]["vol_exec"] == "1.00000000"


def test_krakens_edit_takes_what_is_left_and_no_less_than_was_filled(thin_dollars, connect_kraken):
    exchange, _ = thin_dollars
    with paper.serve_in_thread(exchange, venue="kraken", limits=Limits(tier="pro")) as server:
        client = connect_kraken(server)
        order = client.create_order("BTC/USD", "limit", "buy", 1.2, 100.11)
        with pytest.raises(Exception, match="EGeneral:Invalid arguments:volume"):
            client.private_post_editorder({"pair": "XBTUSD", "txid": order["id"], "volume": "0.9"})
        client.private_post_editorder({"pair": "XBTUSD", "txid": order["id"], "price": "99.5"})
    first, second = exchange.orders("main")
    assert (first.status, first.executed, second.status, second.quantity) == (
        "CANCELED", parse("1"), "NEW", parse("0.2"),
    )  # fmt: skip


async def test_krakens_executions(thin_dollars, stream_kraken, eventually):
    exchange, clock = thin_dollars
    symbol = "BTC/USD"
    async with paper.serve(exchange, venue="kraken", limits=Limits(tier="pro")) as server:
        client = stream_kraken(server)
        await client.load_markets()
        reports = []
        handle = client.handle_message

        def heard(line, message):
            if message.get("channel") == "executions":
                reports.extend(message["data"])
            handle(line, message)

        client.handle_message = heard
        tasks = [asyncio.create_task(client.watch_orders()), asyncio.create_task(client.watch_my_trades())]
        await eventually(lambda: any(one.operation == "subscribe" and one.account for one in server.log.entries))
        order = await client.create_order(symbol, "limit", "buy", 1.2, 100.11)
        await eventually(lambda: len(client.myTrades or ()) == 2)
        clock.pass_seconds(21)
        await eventually(lambda: len(client.myTrades) == 3)
        given_up = await client.create_order(symbol, "limit", "sell", 1.2, 99.89)
        await client.cancel_order(given_up["id"])
        await eventually(lambda: any(one["exec_type"] == "canceled" for one in reports))
        asked = ("exec_type", "order_status", "last_qty", "cum_qty", "cum_cost", "avg_price")
        told = {
            of: [tuple(one.get(name) for name in asked) for one in reports if one["order_id"] == of]
            for of in (order["id"], given_up["id"])
        }
        assert told[given_up["id"]][2:] == [
            ("trade", "partially_filled", 0.5, 0.5, 49.95, 99.9),
            ("trade", "partially_filled", 0.5, 1.0, 99.895, 99.895),
            ("canceled", "canceled", None, 1.0, 99.895, 99.895),
        ]
        assert told[order["id"]] == [
            ("pending_new", "pending_new", None, None, 0.0, None),
            ("new", "new", None, None, None, None),
            ("trade", "partially_filled", 0.5, 0.5, 50.05, 100.1),
            ("trade", "partially_filled", 0.5, 1.0, 100.105, 100.105),
            ("trade", "partially_filled", 0.2, 1.2, 120.127, 100.10583333),
            ("filled", "filled", None, 1.2, 120.127, 100.10583333),
        ]
        await asyncio.gather(*tasks)


def test_the_perpetual_over_rest(thin_contract, connect_usdm, read):
    exchange, clock = thin_contract
    with paper.serve_in_thread(exchange, venue="binanceusdm") as server:
        client = connect_usdm(server)
        bought = client.create_order(CONTRACT, "market", "buy", 1.2)
        assert seen(bought) == ("closed", 1.2, 0.0, 100.1075)
        crossing = client.create_order(CONTRACT, "limit", "buy", 1.2, 100.11)
        assert seen(crossing) == ("open", 1.0, 0.2, 100.105)
        assert crossing["info"]["status"] == "PARTIALLY_FILLED"
        # 0.2 at 100.11, twentyfold.
        assert exchange.wallet("main").order_margin() == parse("1.0011")
        clock.pass_seconds(21)
        assert seen(client.fetch_order(crossing["id"], CONTRACT)) == ("closed", 1.2, 0.0, 100.10583333)
        closing = client.create_order(CONTRACT, "limit", "sell", 3, 100.1, {"reduceOnly": True})
        clock.pass_seconds(20)  # a buyer of 1 comes to 0.5 that stood there before
        assert seen(client.fetch_order(closing["id"], CONTRACT)) == ("open", 0.5, 1.9, 100.1)
        cancelled = client.cancel_order(closing["id"], CONTRACT)
        assert seen(cancelled) == ("canceled", 0.5, 1.9, 100.1)
        immediate = client.create_order(CONTRACT, "limit", "sell", 1.2, 99.89, {"timeInForce": "IOC"})
        assert seen(immediate) == ("expired", 1.0, 0.2, 99.895)
        [position] = client.fetch_positions([CONTRACT])
        assert position["contracts"] == 0.9
        trades = client.fetch_my_trades(CONTRACT)
        assert len({one["id"] for one in trades}) == len(trades) == 9
        shown = read(server, "/paper/books")["accounts"]["main"]
        assert float(shown["wallet"]) == pytest.approx(float(shown["wallet_held"]), abs=len(trades) * 1e-8)
        assert shown["positions"][CONTRACT]["amount"] == "0.9"


def test_the_perpetuals_user_stream(thin_contract, stream_usdm, eventually):
    exchange, _ = thin_contract

    async def run():
        async with paper.serve(exchange, venue="binanceusdm") as server, stream_usdm(server) as client:
            await client.load_markets()
            reports = []
            handle = client.handle_order_update
            client.handle_order_update = lambda line, message: (reports.append(message["o"]), handle(line, message))
            tasks = [asyncio.create_task(client.watch_orders()), asyncio.create_task(client.watch_my_trades())]
            await eventually(lambda: any(one.path == "/private/ws" for one in server.log.entries))
            order = await client.create_order(CONTRACT, "limit", "buy", 1.2, 100.11)
            await client.cancel_order(order["id"], CONTRACT)
            await eventually(lambda: reports and reports[-1]["x"] == "CANCELED")
            told = [(one["x"], one["X"], *(float(one[name]) for name in ("l", "z", "L", "ap"))) for one in reports]
            assert told == [
                ("NEW", "NEW", 0, 0, 0, 0),
                ("TRADE", "PARTIALLY_FILLED", 0.5, 0.5, 100.1, 100.1),
                ("TRADE", "PARTIALLY_FILLED", 0.5, 1, 100.11, 100.105),
                ("CANCELED", "CANCELED", 0, 1, 0, 100.105),
            ]
            for in_force in ("IOC", "FOK"):
                await client.create_order(CONTRACT, "limit", "sell", 1.2, 99.89, {"timeInForce": in_force})
            await eventually(lambda: sum(one["x"] == "EXPIRED" for one in reports) == 2)
            expired = [(one["f"], float(one["z"]), one["er"]) for one in reports if one["x"] == "EXPIRED"]
            assert expired == [("IOC", 1.0, "2"), ("FOK", 0.0, "10")]
            assert seen(client.orders[0]) == ("canceled", 1.0, 0.2, 100.105)
            assert [one["amount"] for one in client.myTrades] == [0.5] * 4
            await asyncio.gather(*tasks)

    asyncio.run(run())
