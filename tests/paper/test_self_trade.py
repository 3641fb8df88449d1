"""Orders that would meet own ones: which expire, and what clients are told: selfTradePreventionMode and stptype."""

import pytest

from tradewatch import paper
from tradewatch.paper.binance import user_data
from tradewatch.paper.kraken import channels
from tradewatch.paper.kraken.names import names_of
from tradewatch.paper.kraken.parameters import from_websocket
from tradewatch.paper.orders import NewOrder
from tradewatch.paper.units import ONE

FLAT = (100, 100, 100, 100)
TAKER, MAKER, BOTH = "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"


@pytest.fixture
def waiting(make, rows):
    """An exchange at 99 to 101 with an own order to sell at 100 and one at 103."""
    exchange, _ = make(rows(FLAT, FLAT), spread_bp=200)
    for price in (100, 103):
        exchange.submit("main", NewOrder("BTCUSDT", "SELL", "LIMIT", quantity=ONE // 2, price=price * ONE))
    return exchange


@pytest.mark.parametrize(
    ("mode", "statuses"),
    [
        ("NONE", ["NEW", "NEW", "NEW"]),
        (TAKER, ["NEW", "NEW", "EXPIRED_IN_MATCH"]),
        (MAKER, ["EXPIRED_IN_MATCH", "NEW", "NEW"]),
        (BOTH, ["EXPIRED_IN_MATCH", "NEW", "EXPIRED_IN_MATCH"]),
    ],
)
def test_the_mode_says_which_of_two_own_orders_expires(waiting, mode, statuses):
    waiting.submit("main", NewOrder("BTCUSDT", "BUY", "LIMIT", quantity=ONE, price=100 * ONE, self_trade=mode))
    assert [order.status for order in waiting.orders("main")] == statuses
    locked = {name: held.locked for name, held in waiting.holdings("main").items()}
    open_sells = sum(order.side == "SELL" for order in waiting.open_orders("main"))
    bought = 100 * ONE if statuses[2] == "NEW" else 0
    assert locked == {"BTC": open_sells * ONE // 2, "USDT": bought}
    assert waiting.trades("main") == []


@pytest.mark.parametrize(("kind", "price"), [("MARKET", None), ("LIMIT", 102)])
def test_an_order_that_takes_trades_once_its_own_is_out_of_the_way(waiting, kind, price):
    price = price and price * ONE
    order, trades = waiting.submit(
        "main", NewOrder("BTCUSDT", "BUY", kind, quantity=ONE, price=price, self_trade=MAKER)
    )
    assert (order.status, [trade.price for trade in trades]) == ("FILLED", [101 * ONE])
    assert [one.status for one in waiting.orders("main")[:2]] == ["EXPIRED_IN_MATCH", "NEW"]


@pytest.mark.parametrize("price", [99, 99.5])
def test_orders_that_do_not_meet_stay(waiting, price):
    asked = NewOrder("BTCUSDT", "BUY", "LIMIT", quantity=ONE, price=round(price * ONE), self_trade=BOTH)
    assert waiting.submit("main", asked)[0].status == "NEW"
    assert len(waiting.open_orders("main")) == 3


def test_at_the_markets_own_price_the_market_comes_first(waiting):
    waiting.cancel("main", "BTCUSDT", 1, None)
    waiting.submit("main", NewOrder("BTCUSDT", "SELL", "LIMIT", quantity=ONE // 2, price=101 * ONE))
    order, _ = waiting.submit("main", NewOrder("BTCUSDT", "BUY", "MARKET", quantity=ONE, self_trade=BOTH))
    assert (order.status, waiting.orders("main")[2].status) == ("FILLED", "NEW")


def test_a_sell_meets_its_own_bid_and_an_order_that_only_makes_meets_none(make, rows):
    exchange, _ = make(rows(FLAT, FLAT), spread_bp=200)
    exchange.submit("main", NewOrder("BTCUSDT", "BUY", "LIMIT", quantity=ONE, price=100 * ONE))
    for kind, status in (("LIMIT_MAKER", "NEW"), ("LIMIT", "EXPIRED_IN_MATCH")):
        asked = NewOrder("BTCUSDT", "SELL", kind, quantity=ONE // 4, price=100 * ONE, self_trade=TAKER)
        assert exchange.submit("main", asked)[0].status == status


@pytest.mark.parametrize(
    ("asked", "statuses"),
    [
        ({}, ["open", "canceled"]),
        ({"stptype": "cancel-newest"}, ["open", "canceled"]),
        ({"stptype": "cancel-oldest"}, ["canceled", "closed"]),
        ({"stptype": "cancel-both"}, ["canceled", "canceled"]),
    ],
)
def test_kraken_prevents_it_unless_told_how_by_ending_the_newest(dollars, rows, connect_kraken, asked, statuses):
    exchange, _ = dollars(rows(FLAT, FLAT), spread_bp=200, balances={"BTC": "1", "USD": "1000"})
    heard = exchange.feed.subscribe(lambda event: getattr(event, "reason", None) is not None)
    with paper.serve_in_thread(exchange, venue="kraken") as server:
        client = connect_kraken(server)
        placed = [
            client.create_order("BTC/USD", "limit", "sell", 0.5, 100),
            client.create_order("BTC/USD", "market", "buy", 0.5, None, asked),
        ]
        assert [client.fetch_order(one["id"])["status"] for one in placed] == statuses
        with pytest.raises(Exception, match="EGeneral:Invalid arguments:stptype"):
            client.create_order("BTC/USD", "market", "buy", 0.5, None, {"stptype": "cancel_both"})
    ended = heard.drain()
    assert len(ended) == statuses.count("canceled")
    for event in ended:
        [told] = channels.changed(names_of(exchange), event, [], every_state=True)
        assert (told["exec_type"], told["reason"]) == ("canceled", "Self trade prevented")


def test_kraken_spells_it_with_underscores_over_the_websocket():
    asked = {"order_type": "market", "side": "buy", "symbol": "BTC/USD", "order_qty": 1, "stp_type": "cancel_both"}
    assert from_websocket(asked)["stptype"] == "cancel-both"


def test_clients_are_told_in_binances_words(waiting, connect):
    heard = waiting.feed.subscribe()
    with paper.serve_in_thread(waiting) as server:
        client = connect(server)
        order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1"}
        said = client.private_post_order({**order, "price": "100", "selfTradePreventionMode": BOTH})
        assert (said["status"], said["selfTradePreventionMode"], said["preventedQuantity"], said["fills"]) == (
            "EXPIRED_IN_MATCH", BOTH, "1.00000000", [],
        )  # fmt: skip
        assert client.parse_order(said)["status"] == "expired"
        with pytest.raises(Exception, match="-1013"):
            client.private_post_order({**order, "price": "90", "selfTradePreventionMode": "SOMETIMES"})
    reports = [body for event in heard.drain() for body in user_data.events(waiting, event) if "x" in body]
    told = [(body["i"], body["x"], body["X"], body["V"], body.get("B")) for body in reports]
    assert told == [
        (3, "NEW", "NEW", BOTH, None),
        (1, "TRADE_PREVENTION", "EXPIRED_IN_MATCH", "NONE", "0.50000000"),
        (3, "TRADE_PREVENTION", "EXPIRED_IN_MATCH", BOTH, "1.00000000"),
    ]
