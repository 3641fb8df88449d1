"""What listeners are told, in which order, and what becomes of one that falls behind."""

import pytest

from tradewatch import paper
from tradewatch.paper import feed
from tradewatch.paper.orders import NewOrder
from tradewatch.paper.units import ONE, parse

SYMBOL = "BTCUSDT"


def limit(side, price, quantity="1", **more):
    return NewOrder(SYMBOL, side, "LIMIT", quantity=parse(quantity), price=parse(price), **more)


def seen(events):
    """Events in short: what changed, and when in seconds from the start of the record."""
    found = []
    for event in events:
        match event:
            case feed.OrderChanged():
                found.append((event.change, event.order.status))
            case feed.BalancesChanged():
                lines = [(line.kind, line.currency, line.amount / ONE, line.fee / ONE) for line in event.entries]
                held = {name: (one.free / ONE, one.locked / ONE) for name, one in event.holdings.items()}
                found.append((held, lines))
            case feed.Printed():
                found.append(("print", event.print.price / ONE))
            case feed.Quoted():
                found.append(("quote", event.quote.bid / ONE))
    return found


def test_a_resting_order_tells_its_life_between_the_prints_of_the_tape(make, rows):
    exchange, clock = make(rows((100, 100, 100, 100), (100, 100, 90, 100)), spread_bp=0, balances={"USDT": "1000"})
    heard = exchange.feed.subscribe()
    exchange.submit("main", limit("BUY", "95"))
    clock.pass_seconds(105)
    exchange.advance()
    assert seen(heard.drain()) == [
        ("new", "NEW"),
        ({"USDT": (905.0, 95.0)}, []),
        ("print", 100.0),
        ("print", 100.0),
        ("print", 100.0),
        ("print", 100.0),
        ("print", 100.0),
        ("trade", "FILLED"),
        ({"USDT": (905.0, 0.0), "BTC": (0.999, 0.0)}, [("trade", "USDT", -95.0, 0.0), ("trade", "BTC", 1.0, 0.001)]),
        ("print", 90.0),
        ("quote", 92.5),
    ]


def test_an_amended_order_keeps_its_id_and_a_deposit_is_a_line_of_the_statement(make, rows):
    exchange, _ = make(rows((100, 100, 100, 100)), spread_bp=0, balances={"USDT": "1000"})
    placed, _ = exchange.submit("main", limit("BUY", "90"))
    heard = exchange.feed.subscribe()
    exchange.amend("main", placed.order_id, parse("80"), parse("2"))
    exchange.transfer("main", "USDT", parse("50"))
    exchange.cancel("main", SYMBOL, placed.order_id, None)
    assert seen(heard.drain()) == [
        ("amended", "NEW"),
        ({"USDT": (840.0, 160.0)}, []),
        ({"USDT": (890.0, 160.0)}, [("deposit", "USDT", 50.0, 0.0)]),
        ("canceled", "CANCELED"),
        ({"USDT": (1050.0, 0.0)}, []),
    ]
    assert exchange.order("main", SYMBOL, placed.order_id, None).price == parse("80")


def test_an_order_that_is_replaced_frees_its_money_for_the_next_or_stays(make, rows):
    exchange, _ = make(rows((100, 100, 100, 100)), spread_bp=0, balances={"USDT": "100"})
    placed, _ = exchange.submit("main", limit("BUY", "95"))
    second, _ = exchange.replace("main", placed.order_id, limit("BUY", "97"))
    assert [order.order_id for order in exchange.open_orders("main")] == [second.order_id]
    with pytest.raises(paper.Refusal, match="insufficient_balance"):
        exchange.replace("main", second.order_id, limit("BUY", "97", "2"))
    assert [order.order_id for order in exchange.open_orders("main")] == [second.order_id]
    assert exchange.holdings("main")["USDT"].free == parse("3")


def test_an_order_ends_at_its_expiry_unless_the_price_came_first(make, rows):
    record = rows((100, 100, 90, 100), (100, 100, 80, 100))
    exchange, clock = make(record, spread_bp=0, balances={"USDT": "1000"})
    expiry = record.start_ns + 30 * 10**9
    reached, _ = exchange.submit("main", limit("BUY", "95", expires_ns=expiry))
    missed, _ = exchange.submit("main", limit("BUY", "85", expires_ns=expiry))
    clock.pass_seconds(114)
    exchange.advance()
    ends = [exchange.order("main", SYMBOL, order.order_id, None) for order in (reached, missed)]
    assert [order.status for order in ends] == ["FILLED", "EXPIRED"]
    assert ends[1].updated_ns == expiry
    assert exchange.holdings("main")["USDT"].locked == 0


def test_a_fee_in_the_quote_is_reserved_with_the_order(make, rows):
    fees = paper.Fees(charged_in="quote")
    exchange, clock = make(rows((100, 100, 90, 100)), spread_bp=0, balances={"USDT": "100"}, fees=fees)
    exchange.submit("main", limit("BUY", "95"))
    assert exchange.holdings("main")["USDT"].locked == parse("95.095")
    clock.pass_seconds(30)
    exchange.advance()
    held = exchange.holdings("main")
    assert (held["USDT"].free, held["USDT"].locked, held["BTC"].free) == (parse("4.905"), 0, parse("1"))


def test_a_listener_that_falls_behind_gets_nothing_more(make, rows):
    exchange, _ = make(rows((100, 100, 100, 100)), spread_bp=0, balances={"USDT": "1000"})
    exchange.feed = feed.Feed(limit=3)
    slow = exchange.feed.subscribe(lambda event: isinstance(event, feed.Quoted))
    for bid in range(5):
        exchange.feed.publish(feed.Quoted(SYMBOL, exchange.market(SYMBOL).quote(exchange.now_ns)))
        assert slow.overflowed == (bid >= 3)
    assert len(slow.drain()) == 3
    exchange.feed.publish(feed.Quoted(SYMBOL, exchange.market(SYMBOL).quote(exchange.now_ns)))
    assert slow.drain() == []
