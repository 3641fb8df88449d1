"""ccxt's binanceusdm, sync and pro, on the paper perpetual over real sockets."""

import asyncio

import ccxt
import pytest

from tradewatch import paper
from tradewatch.paper.units import ONE

SYMBOL = "BTC/USDT:USDT"
FLAT = (100, 100, 100, 100)


def test_a_client_reads_the_contract(perpetual, connect_usdm):
    exchange, clock = perpetual(FLAT, FLAT)
    with paper.serve_in_thread(exchange, venue="binanceusdm") as server:
        client = connect_usdm(server)
        market = client.load_markets()[SYMBOL]
        assert (market["type"], market["linear"], market["settle"], market["contractSize"]) == (
            "swap",
            True,
            "USDT",
            1.0,
        )
        assert (market["precision"]["amount"], market["precision"]["price"], market["limits"]["cost"]["min"]) == (
            1e-05, 0.01, 5.0,
        )  # fmt: skip
        assert client.fetch_ticker(SYMBOL)["last"] == 100.0
        assert client.fetch_order_book(SYMBOL, 5)["bids"][0] == [99.9, 9000.0]
        rate = client.fetch_funding_rate(SYMBOL)
        assert (rate["markPrice"], rate["fundingRate"]) == (100.0, 0.0001)
        assert rate["fundingTimestamp"] == exchange.next_funding_ns // 10**6
        assert client.fetch_mark_price(SYMBOL)["markPrice"] == 100.0
        assert client.fetch_bids_asks([SYMBOL])[SYMBOL]["ask"] == 100.1
        clock.pass_seconds(60)
        assert client.fetch_ohlcv(SYMBOL, "1m", limit=1)[0][1:5] == [100.0] * 4
        assert len(client.fetch_trades(SYMBOL, limit=4)) == 4
        tiers = client.fetch_leverage_tiers([SYMBOL])[SYMBOL]
        assert [(tier["maintenanceMarginRate"], tier["maxLeverage"]) for tier in tiers] == [(0.004, 125.0)]


def test_a_client_holds_a_position(perpetual, connect_usdm, read):
    exchange, clock = perpetual(FLAT, (100, 110, 100, 110), (110, 110, 110, 110))
    with paper.serve_in_thread(exchange, venue="binanceusdm") as server:
        client = connect_usdm(server)
        assert client.set_leverage(10, SYMBOL)["leverage"] == 10
        with pytest.raises(ccxt.MarginModeAlreadySet):
            client.set_margin_mode("cross", SYMBOL)
        assert client.fetch_position_mode(SYMBOL)["hedged"] is False
        bought = client.create_order(SYMBOL, "market", "buy", 2)
        assert (bought["status"], bought["average"], bought["filled"]) == ("closed", 100.1, 2.0)
        resting = client.create_order(SYMBOL, "limit", "sell", 1, 120, {"reduceOnly": True})
        assert (resting["status"], resting["reduceOnly"]) == ("open", True)
        assert [order["id"] for order in client.fetch_open_orders(SYMBOL)] == [resting["id"]]
        clock.pass_seconds(120)
        [position] = client.fetch_positions([SYMBOL])
        asked = ("side", "contracts", "entryPrice", "markPrice", "unrealizedPnl", "notional")
        assert [position[key] for key in asked] == ["long", 2.0, 100.1, 110.0, 19.8, 220.0]
        assert (position["hedged"], position["info"]["leverage"]) == (False, "10")
        balance = client.fetch_balance()["USDT"]
        assert (balance["total"], balance["used"]) == (10_019.6999, 22.0)
        assert client.cancel_order(resting["id"], SYMBOL)["status"] == "canceled"
        sold = client.create_order(SYMBOL, "market", "sell", 5, None, {"reduceOnly": True})
        assert (sold["filled"], sold["average"]) == (2.0, 109.89)
        trades = client.fetch_my_trades(SYMBOL)
        assert [trade["info"]["realizedPnl"] for trade in trades] == ["0.00000000", "19.58000000"]
        assert [trade["fee"] for trade in trades] == [
            {"cost": 0.1001, "currency": "USDT"}, {"cost": 0.10989, "currency": "USDT"},
        ]  # fmt: skip
        assert client.fetch_positions([SYMBOL]) == []
        shown = read(server, "/paper/books")["accounts"]["main"]
        assert (shown["wallet"], shown["wallet_held"], shown["equity"]) == ("10019.37001",) * 3
        assert shown["positions"][SYMBOL] == {
            "amount": "0", "entry_price": None, "realised": "19.58", "fees": "0.20999", "funding": "0",
            "clearance": "0", "currency": "USDT",
        }  # fmt: skip


def test_refusals_in_the_perpetuals_words(perpetual, connect_usdm):
    exchange, _ = perpetual(FLAT, wallet="100")
    with paper.serve_in_thread(exchange, venue="binanceusdm") as server:
        client = connect_usdm(server)
        for error, code, call in [
            (ccxt.InsufficientFunds, -2019, lambda: client.create_order(SYMBOL, "market", "buy", 50)),
            (ccxt.InvalidOrder, -2022,
             lambda: client.create_order(SYMBOL, "market", "sell", 1, None, {"reduceOnly": True})),
            (ccxt.OrderNotFound, -2011, lambda: client.cancel_order("99", SYMBOL)),
            (ccxt.OrderNotFound, -2013, lambda: client.fetch_order("99", SYMBOL)),
            (ccxt.OrderImmediatelyFillable, -2021,
             lambda: client.create_order(SYMBOL, "market", "sell", 1, None, {"stopLossPrice": 120})),
            (ccxt.BadSymbol, -1121, lambda: client.fapipublic_get_depth({"symbol": "NONE"})),
            (ccxt.ExchangeError, -4164, lambda: client.create_order(SYMBOL, "limit", "buy", 0.01, 90)),
            (ccxt.ExchangeError, -4120, lambda: client.fapiprivate_post_order(
                {"symbol": "BTCUSDT", "side": "BUY", "type": "STOP_MARKET", "stopPrice": "120", "quantity": "1"})),
        ]:  # fmt: skip
            with pytest.raises(error, match=str(code)):
                call()
            assert server.log.entries[-1].code == code


def test_conditional_orders_are_apart_from_ordinary_ones(perpetual, connect_usdm):
    exchange, clock = perpetual(FLAT, (100, 100, 90, 90), FLAT)
    with paper.serve_in_thread(exchange, venue="binanceusdm") as server:
        client = connect_usdm(server)
        client.create_order(SYMBOL, "market", "buy", 2)
        stop = client.create_order(SYMBOL, "market", "sell", 2, None, {"stopLossPrice": 95, "reduceOnly": True})
        take = client.create_order(
            SYMBOL, "TAKE_PROFIT_MARKET", "sell", None, None, {"takeProfitPrice": 120, "closePosition": True}
        )
        assert (stop["status"], stop["triggerPrice"], stop["type"]) == ("open", 95.0, "market")
        assert client.fetch_open_orders(SYMBOL) == []
        waiting = client.fetch_open_orders(SYMBOL, params={"trigger": True})
        assert [order["id"] for order in waiting] == [stop["id"], take["id"]]
        client.cancel_all_orders(SYMBOL)
        assert len(client.fetch_open_orders(SYMBOL, params={"trigger": True})) == 2
        clock.pass_seconds(120)
        assert client.fetch_open_orders(SYMBOL, params={"trigger": True}) == []
        assert client.fetch_order(stop["id"], SYMBOL, {"trigger": True})["info"]["algoStatus"] == "FINISHED"
        assert [trade["side"] for trade in client.fetch_my_trades(SYMBOL)] == ["buy", "sell"]
        other = client.create_order(SYMBOL, "limit", "buy", 1, 106, {"triggerPrice": 105})
        client.cancel_order(other["id"], SYMBOL, {"trigger": True})
        with pytest.raises(ccxt.OrderNotFound):
            client.cancel_order(other["id"], SYMBOL, {"trigger": True})


def test_funding_and_liquidation_reach_the_client(perpetual, connect_usdm, read):
    terms = paper.Terms(funding_rate=ONE // 1000, funding_interval_ns=60 * 10**9)
    exchange, clock = perpetual(FLAT, FLAT, (100, 100, 80, 80), FLAT, wallet="50", terms=terms)
    with paper.serve_in_thread(exchange, venue="binanceusdm") as server:
        client = connect_usdm(server)
        client.create_order(SYMBOL, "market", "buy", 5)
        [position] = client.fetch_positions([SYMBOL])
        assert 90 < position["liquidationPrice"] < 91
        clock.pass_seconds(90)
        [paid] = client.fetch_funding_history(SYMBOL)
        assert (paid["amount"], paid["code"]) == (-0.5, "USDT")
        assert client.fetch_funding_rate_history(SYMBOL)[-1]["fundingRate"] == 0.001
        clock.pass_seconds(120)
        assert client.fetch_positions() == []
        shown = read(server, "/paper/books")["accounts"]["main"]
        assert (float(shown["wallet"]), shown["orders"][-1]["client_order_id"][:10]) == (0.0, "autoclose-")
        assert float(shown["positions"][SYMBOL]["clearance"]) < 0


def test_a_client_watches_orders_positions_and_prices(perpetual, stream_usdm, eventually):
    exchange, clock = perpetual(FLAT, (100, 110, 100, 110), (110, 110, 110, 110), FLAT)

    async def run():
        async with paper.serve(exchange, venue="binanceusdm") as server, stream_usdm(server) as client:
            await client.load_markets()
            orders = asyncio.create_task(client.watch_orders())
            mine = asyncio.create_task(client.watch_my_trades())
            client.options["watchPositions"]["fetchPositionsSnapshot"] = False
            positions = asyncio.create_task(client.watch_positions())
            balance = asyncio.create_task(client.watch_balance())
            await eventually(lambda: any(one.path == "/private/ws" for one in server.log.entries))
            await asyncio.sleep(0.1)
            bought = await client.create_order(SYMBOL, "market", "buy", 2)
            assert [one["id"] for one in await orders] == [bought["id"]]
            [trade] = await mine
            assert (trade["price"], trade["fee"], trade["takerOrMaker"]) == (
                100.1, {"cost": 0.1001, "currency": "USDT"}, "taker",
            )  # fmt: skip
            assert [(one["symbol"], one["contracts"], one["side"]) for one in await positions] == [
                (SYMBOL, 2.0, "long")
            ]
            assert (await balance)["USDT"]["total"] == 9999.8999
            stop = await client.create_order(SYMBOL, "market", "sell", 1, None, {"takeProfitPrice": 105})
            await eventually(lambda: client.orders[-1]["id"] == stop["id"])
            ticker = asyncio.create_task(client.watch_ticker(SYMBOL, {"name": "ticker"}))
            mark = asyncio.create_task(client.watch_mark_price(SYMBOL))
            book = await client.watch_order_book(SYMBOL)
            assert book["bids"][0] == [99.9, 9000.0]
            later = asyncio.create_task(client.watch_order_book(SYMBOL))
            await asyncio.sleep(0)
            clock.pass_seconds(90)
            await eventually(lambda: len(client.myTrades) == 2)
            assert (client.myTrades[-1]["side"], client.myTrades[-1]["amount"]) == ("sell", 1.0)
            assert (await later)["bids"][0][0] > 99.9
            assert {(await ticker)["last"], (await mark)["markPrice"]} <= {100.0, 105.0}
            logged = [one.path for one in server.log.entries if one.operation == "ws_connect"]
            assert all(path.split("/")[1] in ("public", "market", "private") for path in logged)

    asyncio.run(run())


def test_a_client_trades_over_the_websocket_api(perpetual, stream_usdm):
    exchange, _ = perpetual(FLAT)

    async def run():
        async with paper.serve(exchange, venue="binanceusdm") as server, stream_usdm(server) as client:
            bought = await client.create_order_ws(SYMBOL, "market", "buy", 2)
            assert (bought["status"], bought["average"]) == ("closed", 100.1)
            resting = await client.create_order_ws(SYMBOL, "limit", "sell", 1, 120)
            assert (await client.fetch_order_ws(resting["id"], SYMBOL))["status"] == "open"
            assert (await client.cancel_order_ws(resting["id"], SYMBOL))["status"] == "canceled"
            stop = await client.create_order_ws(SYMBOL, "market", "sell", 1, None, {"stopLossPrice": 95})
            assert [one["id"] for one in await client.fetch_open_orders(SYMBOL, params={"trigger": True})] == [
                stop["id"]
            ]
            await client.cancel_order_ws(stop["id"], SYMBOL, {"trigger": True})
            assert (await client.fetch_balance_ws())["USDT"]["total"] == 9999.6999
            [position] = await client.fetch_positions_ws([SYMBOL])
            assert (position["contracts"], position["side"]) == (2.0, "long")
            assert (await client.fetch_ticker_ws(SYMBOL))["bid"] == 99.9
            with pytest.raises(ccxt.InsufficientFunds):
                await client.create_order_ws(SYMBOL, "market", "buy", 8_000)
            return [one.operation for one in server.log.entries if one.method == "WS"]

    assert asyncio.run(run()) == [
        "order_place", "order_place", "order_query", "order_cancel", "algo_place", "algo_cancel", "account",
        "position_risk", "book_ticker", "order_place",
    ]  # fmt: skip


def test_weights_and_order_counts_of_the_perpetual(perpetual, connect_usdm):
    exchange, _ = perpetual(FLAT)
    limits = paper.Limits(weight_1m=60, orders_10s=2)
    with paper.serve_in_thread(exchange, venue="binanceusdm", limits=limits) as server:
        client = connect_usdm(server)
        client.load_markets()
        for number in (1, 2):
            client.create_order(SYMBOL, "market", "buy", 1)
            headers = {name.lower(): value for name, value in client.last_response_headers.items()}
            assert (headers["x-mbx-order-count-10s"], headers["x-mbx-order-count-1m"]) == (str(number), str(number))
        with pytest.raises(ccxt.DDoSProtection, match="-1015"):
            client.create_order(SYMBOL, "market", "buy", 1)
        assert 1 <= int(client.last_response_headers["Retry-After"]) <= 10
        for _ in range(5):
            client.fetch_order_book(SYMBOL)
        with pytest.raises(ccxt.DDoSProtection, match="-1003"):
            client.fetch_order_book(SYMBOL)
