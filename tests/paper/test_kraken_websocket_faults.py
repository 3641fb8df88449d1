"""Everything that can go wrong with a message of Kraken's websocket, over real sockets."""

import asyncio
import contextlib

import pytest

from tradewatch.paper import feed
from tradewatch.paper.faults import Fault, Latency, Match, Rule
from tradewatch.paper.kraken.names import spelled
from tradewatch.paper.orders import NewOrder
from tradewatch.paper.units import parse

SYMBOL = "BTC/USD"
ORDER = {"order_type": "limit", "side": "buy", "order_qty": 1, "symbol": SYMBOL, "limit_price": 90}


def on(channel, kind, **more):
    return Rule(Match(channel=channel, nth=more.pop("nth", (1,))), Fault(kind, **more))


async def trades_of(found, count):
    """Subscribe, let the tape print, and read the ids of what arrives."""
    await found.ask("subscribe", channel="trade", symbol=[SYMBOL])
    found.clock.pass_seconds(72)
    return [(await found.next("trade"))["data"][0]["trade_id"] for _ in range(count)]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ((), [2, 3, 4, 5]),
        ((on("trade", "lose"),), [3, 4, 5]),
        ((on("trade", "repeat", nth=(2,)),), [2, 3, 3, 4, 5]),
        ((on("trade", "reorder"),), [3, 2, 4, 5]),
        ((on("trade", "reorder", nth=(1, 2)),), [3, 2, 4, 5]),
        ((on("trade", "late", latency=Latency("fixed", 200)),), [3, 4, 5, 2]),
        ((on("book", "lose"),), [2, 3, 4, 5]),
    ],
)  # fmt: skip
async def test_messages_are_lost_repeated_reordered_and_late(line, rules, expected):
    found = await line(rules)
    assert await trades_of(found, len(expected)) == expected
    await found.nothing()


async def test_a_dropped_line_ends_without_a_word_and_the_order_stays(line):
    found = await line([on("add_order", "drop")])
    with pytest.raises(ConnectionError, match=r"CLOSE|ERROR"):
        await found.private("add_order", **ORDER)
    assert len(found.exchange.open_orders("main")) == 1
    assert [one.accepted for one in found.server.log.entries if one.operation == "add_order"] == [True]
    again = await found.another()
    await again.private("subscribe", channel="executions")
    assert [one["order_id"] for one in (await again.next("executions"))["data"]] == [spelled("O", 1)]
    await again.socket.close()


async def test_a_silent_line_stays_open_and_loses_what_it_would_have_said(line):
    found = await line([on("trade", "silence", hold_s=0.5)])
    await found.ask("subscribe", channel="trade", symbol=[SYMBOL])
    found.clock.pass_seconds(24)
    await found.socket.ping()
    with pytest.raises(TimeoutError):
        await found.message(0.4)
    await asyncio.sleep(0.2)
    found.clock.pass_seconds(24)
    assert (await found.next("trade"))["data"][0]["trade_id"] == 3


@pytest.mark.parametrize(
    ("fault", "error", "placed"),
    [
        (Fault("rate_limit"), "EOrder:Rate limit exceeded", 0),
        (Fault("server_error", code="EService:Unavailable"), "EService:Unavailable", 0),
        (Fault("server_error", at="answer", code="EService:Timeout"), "EService:Timeout", 1),
        (Fault("timeout", at="answer"), None, 1),
        (Fault("timeout"), None, 0),
    ],
)  # fmt: skip
async def test_requests_over_the_line_fail_as_those_over_rest(line, fault, error, placed):
    found = await line([Rule(Match(operation="add_order", method="WS"), fault)])
    await found.message()
    await found.socket.send_json({"method": "add_order", "params": ORDER | {"token": found.token}})
    if error is None:
        await found.nothing()
    else:
        assert (await found.message())["error"] == error
    assert len(found.exchange.open_orders("main")) == placed
    entry = found.server.log.entries[-1]
    assert (entry.fault, entry.accepted, entry.error) == (fault.kind, placed == 1, error)


async def test_a_slow_request_does_not_hold_up_the_next(line):
    slow = Rule(Match(operation="add_order", nth=(1,)), Fault("latency", at="answer", latency=Latency("fixed", 300)))
    found = await line([slow])
    await found.private("subscribe", channel="executions")
    await found.next("executions")
    await found.socket.send_json({"method": "add_order", "params": ORDER | {"token": found.token}, "req_id": 70})
    await found.socket.send_json({"method": "ping", "req_id": 71})
    seen = [await found.message() for _ in range(4)]
    order = [one.get("method") or one["data"][0]["exec_type"] for one in seen]
    assert order.index("add_order") == 3  # the fill reports came before the answer
    assert sorted(order[:3]) == ["new", "pending_new", "pong"]


async def test_a_client_that_does_not_read_is_dropped(line):
    found = await line()
    await found.ask("subscribe", channel="trade", symbol=[SYMBOL])
    slow = found.exchange.feed._subscriptions[0]
    print_ = feed.Printed("BTCUSD", feed.tape(found.exchange.markets["BTCUSD"], found.exchange.now_ns, 1)[0])
    for _ in range(10_001):
        slow.offer(print_)
    assert slow.overflowed
    with pytest.raises(ConnectionError):
        await found.next("no such channel")


async def test_a_stream_that_fails_ends_its_line_and_is_heard_of(line, monkeypatch, caplog):
    found = await line()
    await found.ask("subscribe", channel="trade", symbol=[SYMBOL])

    def broken(one, print_):
        raise ZeroDivisionError("no trade today")

    monkeypatch.setattr("tradewatch.paper.kraken.channels.trade", broken)
    found.clock.pass_seconds(24)
    with pytest.raises(ConnectionError):
        await found.next("trade")
    assert "no trade today" in caplog.text


async def test_the_same_seed_gives_the_same_stream(line):
    streams = []
    for _ in range(2):
        rules = [Rule(Match(channel="trade", probability=0.5), Fault("lose"))]
        found = await line(rules)
        await found.ask("subscribe", channel="trade", symbol=[SYMBOL])
        found.exchange.submit("main", NewOrder("BTCUSD", "BUY", "LIMIT", quantity=parse("1"), price=parse("95")))
        found.clock.pass_seconds(114)
        seen = []
        with contextlib.suppress(TimeoutError):
            while True:
                message = await found.message(0.5)
                if message["channel"] == "trade":
                    seen.append(message["data"][0])
        streams.append(seen)
    assert streams[0] == streams[1]
    assert 0 < len(streams[0]) < 7
