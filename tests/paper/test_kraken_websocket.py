"""Kraken's websocket message by message over real sockets."""

import zlib
from decimal import Decimal

import pytest

from tradewatch.paper.kraken.names import spelled
from tradewatch.paper.units import parse

SYMBOL = "BTC/USD"
ORDER = {"order_type": "limit", "side": "buy", "order_qty": 1, "symbol": SYMBOL, "limit_price": 90}


async def test_a_connection_begins_with_the_status_and_answers_pings(line):
    found = await line()
    status = await found.message()
    assert status["data"][0] | {"connection_id": 0} == {
        "version": "2.0.10", "system": "online", "api_version": "v2", "connection_id": 0,
    }  # fmt: skip
    await found.socket.send_json({"method": "ping", "req_id": 7})
    assert (await found.message())["method"] == "pong"
    assert [entry.operation for entry in found.server.log.entries] == ["ws_connect", "ping"]


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ("{", "Malformed request"),
        ('{"method": 3}', "Malformed request"),
        ('{"method": "dance", "params": {}}', "Unknown method: dance"),
        ('{"method": "subscribe", "params": {"channel": "news"}}', "Subscription name invalid"),
        ('{"method": "subscribe", "params": {"channel": "ticker"}}', "Pair field must be an array"),
        ('{"method": "subscribe", "params": {"channel": "ticker", "symbol": ["A/B"]}}',
         "Currency pair not supported A/B"),
        ('{"method": "subscribe", "params": {"channel": "book", "symbol": ["BTC/USD"], "depth": 11}}',
         "Subscription depth not supported"),
        ('{"method": "subscribe", "params": {"channel": "ohlc", "symbol": ["BTC/USD"], "interval": 2}}',
         "Subscription ohlc interval not supported"),
        ('{"method": "unsubscribe", "params": {"channel": "ticker", "symbol": ["BTC/USD"]}}', "Subscription Not Found"),
        ('{"method": "subscribe", "params": {"channel": "executions", "token": "x"}}', "ESession:Invalid session"),
        ('{"method": "add_order", "params": {"order_type": "market"}}', "ESession:Invalid session"),
    ],
)  # fmt: skip
async def test_what_cannot_be_is_refused_in_krakens_words(line, request_, error):
    found = await line()
    await found.message()
    await found.socket.send_str(request_)
    answer = await found.message()
    assert (answer["error"], answer["success"]) == (error, False)
    assert found.server.log.entries[-1].error == error


async def test_a_token_ends_after_a_quarter_of_an_hour_unless_it_was_used(line):
    found = await line()
    wall = [10**18]
    tokens = found.server.wire.tokens
    account = next(iter(found.exchange.accounts.values()))
    used, unused = tokens.issue(account, wall[0]), tokens.issue(account, wall[0])
    assert tokens.account(used, wall[0]) is account
    later = wall[0] + 901 * 10**9
    assert tokens.account(used, later) is account
    with pytest.raises(Exception, match="ESession:Invalid session"):
        tokens.account(unused, later)


async def test_the_life_of_an_order_as_executions_tell_it(line):
    found = await line()
    subscribed = await found.private("subscribe", channel="executions", snap_trades=True)
    assert subscribed["result"] == {"channel": "executions", "snapshot": True, "maxratecount": 180}
    snapshot = await found.message()
    assert (snapshot["type"], snapshot["data"], snapshot["sequence"]) == ("snapshot", [], 1)
    placed = await found.private("add_order", **ORDER, cl_ord_id="mine")
    order_id = spelled("O", 1)
    assert placed == {
        "method": "add_order", "req_id": 2, "success": True, "result": {"order_id": order_id, "cl_ord_id": "mine"},
    }  # fmt: skip
    pending, new = [await found.next("executions") for _ in range(2)]
    assert pending["data"] == [
        {
            "exec_type": "pending_new", "order_status": "pending_new", "order_id": order_id, "cl_ord_id": "mine",
            "order_userref": 0, "timestamp": "2023-03-03T00:00:00.000000Z", "symbol": SYMBOL, "side": "buy",
            "order_type": "limit", "order_qty": Decimal(1), "cum_cost": Decimal(0), "time_in_force": "GTC",
            "limit_price_type": "static", "limit_price": Decimal(90), "fee_usd_equiv": Decimal(0),
            "fee_ccy_pref": "fciq",
        }
    ]  # fmt: skip
    assert (new["data"][0]["exec_type"], "symbol" in new["data"][0], new["sequence"]) == ("new", False, 3)
    amended = await found.private("amend_order", order_id=order_id, limit_price=95, order_qty=2)
    assert amended["result"]["order_id"] == order_id
    change = (await found.next("executions"))["data"][0]
    assert (change["exec_type"], change["limit_price"], change["order_qty"]) == ("amended", Decimal(95), Decimal(2))
    found.clock.pass_seconds(114)
    trade, filled = [(await found.next("executions"))["data"][0] for _ in range(2)]
    assert (trade["exec_type"], trade["order_status"], trade["last_qty"], trade["last_price"], trade["fees"]) == (
        "trade", "partially_filled", Decimal(2), Decimal(95), [{"asset": "USD", "qty": Decimal("0.19")}],
    )  # fmt: skip
    assert filled == {
        "exec_type": "filled", "order_status": "filled", "order_id": order_id, "cl_ord_id": "mine", "order_userref": 0,
        "timestamp": trade["timestamp"], "cum_qty": Decimal(2), "cum_cost": Decimal(190), "avg_price": Decimal(95),
        "fee_usd_equiv": Decimal("0.19"),
    }  # fmt: skip
    again = await found.private("unsubscribe", channel="executions")
    assert again["success"] is True
    await found.private("subscribe", channel="executions", snap_trades=True)
    snapshot = await found.next("executions")
    assert [one["exec_id"] for one in snapshot["data"]] == [trade["exec_id"]]


async def test_requests_of_orders_and_their_answers(line):
    found = await line()
    refused = await found.private("add_order", **(ORDER | {"order_qty": 100}))
    assert (refused["error"], refused["success"]) == ("EOrder:Insufficient funds", False)
    checked = await found.private("add_order", **ORDER, validate=True)
    assert (checked["success"], checked["result"]) == (True, {})
    assert found.exchange.orders("main") == []
    sell = {"order_type": "limit", "side": "sell", "order_qty": 0.1, "limit_price": 200}
    batch = await found.private("batch_add", symbol=SYMBOL, orders=[sell, sell | {"order_userref": 5}])
    ids = [one["order_id"] for one in batch["result"]]
    assert batch["result"][1]["order_userref"] == 5
    edited = await found.private("edit_order", order_id=ids[0], symbol=SYMBOL, limit_price=210)
    assert edited["result"]["original_order_id"] == ids[0]
    answers = await found.ask("cancel_order", 2, token=found.token, order_id=[edited["result"]["order_id"], ids[0]])
    assert [one["success"] for one in answers] == [True, False]
    assert answers[1]["error"] == "EOrder:Unknown order"
    assert (await found.private("cancel_all"))["result"] == {"count": 1}
    spent = {"order_type": "market", "side": "buy", "symbol": SYMBOL, "cash_order_qty": 100}
    bought = await found.private("add_order", **spent)
    (trade,) = found.exchange.trades("main")
    assert (spelled("O", trade.order_id), trade.quantity) == (bought["result"]["order_id"], parse("0.999"))
    armed = await found.private("cancel_all_orders_after", timeout=60)
    assert armed["result"]["triggerTime"] > armed["result"]["currentTime"]
    entries = [entry for entry in found.server.log.entries if entry.operation == "cancel_order"]
    assert [(entry.method, entry.accepted, entry.error) for entry in entries] == [("WS", True, "EOrder:Unknown order")]


async def test_balances_tell_lines_of_the_statement(line):
    found = await line()
    await found.private("subscribe", channel="balances")
    snapshot = await found.next("balances")
    assert [(one["asset"], one["balance"]) for one in snapshot["data"]] == [("BTC", Decimal(1)), ("USD", Decimal(1000))]
    await found.private("add_order", **ORDER)  # locks money: no line
    found.exchange.transfer("main", "USD", parse("50"))
    update = await found.next("balances")
    assert (update["sequence"], update["data"][0]["type"], update["data"][0]["balance"]) == (
        2,
        "deposit",
        Decimal(1050),
    )


async def test_a_book_is_kept_from_its_updates(line, rows):
    found = await line(record=rows((100, 130, 70, 100), (100, 120, 50, 110)), spread_bp=9)
    began = found.clock.now_ns()
    found.exchange.markets["BTCUSD"].thin(began + 10 * 10**9, began + 30 * 10**9, parse("0.125"))
    await found.ask("subscribe", channel="book", symbol=[SYMBOL], depth=25)
    snapshot = (await found.next("book"))["data"][0]
    sides = {side: {one["price"]: one["qty"] for one in snapshot[side]} for side in ("bids", "asks")}
    assert [len(levels) for levels in sides.values()] == [25, 25]
    for step in range(30):
        found.clock.now += (1_000_000, 900_000_000, 3_000_000_000)[step % 3]
        found.exchange.advance()
        quote = found.exchange.markets["BTCUSD"].quote(found.exchange.now_ns)
        if quote.bid / 1e8 == float(max(sides["bids"])):
            continue
        update = (await found.next("book"))["data"][0]
        for side, levels in sides.items():
            for one in update[side]:
                if one["qty"]:
                    levels[one["price"]] = one["qty"]
                else:
                    levels.pop(one["price"], None)
            kept = sorted(levels, reverse=side == "bids")[:25]
            sides[side] = {level: levels[level] for level in kept}
        assert {float(size) for levels in sides.values() for size in levels.values()} == {quote.size / 1e8}
        best = max(sides["bids"]), min(sides["asks"])
        assert tuple(map(float, best)) == (quote.bid / 1e8, quote.ask / 1e8)
        texts = [
            f"{one:f}".replace(".", "").lstrip("0")
            for side in ("asks", "bids")
            for level in list(sides[side].items())[:10]
            for one in level
        ]
        assert update["checksum"] == zlib.crc32("".join(texts).encode())


async def test_a_book_that_thins_out_at_a_standing_price_is_told_level_by_level(line, rows):
    found = await line(record=rows(*[(100, 100, 100, 100)] * 3))
    found.exchange.markets["BTCUSD"].thin(found.clock.now_ns() + 10 * 10**9, None, parse("0.125"))
    await found.ask("subscribe", channel="book", symbol=[SYMBOL], depth=10)
    snapshot = (await found.next("book"))["data"][0]
    assert {float(one["qty"]) for side in ("bids", "asks") for one in snapshot[side]} == {9000.0}
    found.clock.pass_seconds(10)
    update = (await found.next("book"))["data"][0]
    for side in ("bids", "asks"):
        assert [one["price"] for one in update[side]] == [one["price"] for one in snapshot[side]]
        assert {one["qty"] for one in update[side]} == {Decimal("0.12500000")}
    texts = [
        f"{update[side][n][name]:f}".replace(".", "").lstrip("0")
        for side in ("asks", "bids")
        for n in range(10)
        for name in ("price", "qty")
    ]
    assert update["checksum"] == zlib.crc32("".join(texts).encode()) != snapshot["checksum"]


async def test_trades_candles_and_instruments(line):
    found = await line()
    for channel in ("trade", "ohlc"):
        await found.ask("subscribe", channel=channel, symbol=[SYMBOL], snapshot=True)
        assert (await found.next(channel))["type"] == "snapshot"
    found.clock.pass_seconds(24)
    trade, candle = await found.next("trade"), await found.next("ohlc")
    assert (trade["data"][0]["trade_id"], trade["data"][0]["qty"]) == (2, Decimal(1))
    assert (candle["data"][0]["trades"], candle["data"][0]["volume"]) == (2, Decimal(2))
    answer = await found.ask("subscribe", channel="instrument")
    assert answer["success"] is True
    (pair,) = (await found.next("instrument"))["data"]["pairs"]
    assert (pair["symbol"], pair["price_precision"], pair["status"]) == (SYMBOL, 2, "online")


async def test_a_quiet_line_has_heartbeats_and_an_unused_one_none(line):
    found = await line()
    await found.message()
    await found.nothing(1.3)
    await found.ask("subscribe", channel="trade", symbol=[SYMBOL])
    assert (await found.message(3)) == {"channel": "heartbeat"}
