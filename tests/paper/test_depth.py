"""A book of limited depth: orders that fill in parts, and resting ones that wait their turn."""

import pytest

from tradewatch import paper
from tradewatch.paper.binance import user_data
from tradewatch.paper.candles import read_candles
from tradewatch.paper.errors import Refusal
from tradewatch.paper.market import LEVELS
from tradewatch.paper.orders import NewOrder
from tradewatch.paper.units import ONE, parse, show

SYMBOL = "BTCUSDT"
FLAT = (100, 100, 100, 100)
SECOND = 10**9


@pytest.fixture
def thin(make, rows):
    """An exchange at 99.90 to 100.10 with 0.5 BTC at each level, and its clock; every 15 s or so 1 BTC trades.

    At a price that stands still buyers and sellers take turns: sellers trade at 20 s and 59.999 s of a minute.
    """
    return make(rows(*[FLAT] * 10), spread_bp=20, depth="0.5", balances={"BTC": "5", "USDT": "1000"})


def order(side, quantity, price=None, **more):
    kind = {"type": "MARKET"} if price is None else {"type": "LIMIT", "price": parse(price)}
    return NewOrder(**{"symbol": SYMBOL, "side": side, "quantity": parse(quantity), **kind, **more})


def text(amount):
    return show(amount).rstrip("0").rstrip(".")


def told(trades):
    return [(text(one.price), text(one.quantity), one.role) for one in trades]


def later(exchange, clock, seconds):
    clock.pass_seconds(seconds)
    exchange.advance()


def held(exchange, code, account="main"):
    one = exchange.holdings(account)[code]
    return text(one.free), text(one.locked)


def timed(exchange, account="main"):
    start = exchange.markets[SYMBOL].candles.start_ns
    return [((one.at_ns - start) / SECOND, text(one.quantity)) for one in exchange.trades(account)]


def test_a_market_order_takes_level_after_level_each_a_trade_with_its_own_fee(thin):
    exchange, _ = thin
    placed, trades = exchange.submit("main", order("BUY", "1.2"))
    assert told(trades) == [("100.1", "0.5", "taker"), ("100.11", "0.5", "taker"), ("100.12", "0.2", "taker")]
    assert len({one.trade_id for one in trades}) == 3
    assert [text(one.fee) for one in trades] == ["0.0005", "0.0005", "0.0002"]
    assert (placed.status, text(placed.executed), text(placed.quote_executed)) == ("FILLED", "1.2", "120.129")
    assert held(exchange, "USDT") == ("879.871", "0")


def test_a_sell_takes_the_bids_downwards(thin):
    exchange, _ = thin
    _, trades = exchange.submit("main", order("SELL", "0.7"))
    assert told(trades) == [("99.9", "0.5", "taker"), ("99.89", "0.2", "taker")]


def test_what_an_order_took_is_there_again_for_the_next(thin):
    exchange, _ = thin
    for _ in range(2):
        assert told(exchange.submit("main", order("BUY", "0.5"))[1]) == [("100.1", "0.5", "taker")]


def test_a_market_order_by_quote_pays_the_price_of_each_level(thin):
    exchange, _ = thin
    placed, trades = exchange.submit("main", NewOrder(SYMBOL, "BUY", "MARKET", quote_quantity=parse("60")))
    # 0.5 for 50.05; 9.95 buy 0.09939 at 100.11, in whole steps.
    step = exchange.markets[SYMBOL].instrument.step
    left = parse("9.95") * ONE // parse("100.11") // step * step
    assert told(trades) == [("100.1", "0.5", "taker"), ("100.11", text(left), "taker")]
    assert (placed.status, placed.quantity) == ("FILLED", parse("0.5") + left)


def test_a_market_order_beyond_the_book_fills_as_far_as_it_goes(make, rows):
    exchange, _ = make(rows(FLAT), depth="0.001", balances={"USDT": "1000"})
    heard = exchange.feed.subscribe(lambda event: getattr(event, "change", None) == "expired")
    placed, trades = exchange.submit("main", order("BUY", "2"))
    assert (placed.status, text(placed.executed), len(trades)) == ("EXPIRED", "1", LEVELS)
    [report] = [user_data.execution_report(event) for event in heard.drain()]
    assert (report["x"], report["X"], report["z"], report["eR"]) == (
        "EXPIRED", "EXPIRED", "1.00000000", "INSUFFICIENT_LIQUIDITY",
    )  # fmt: skip
    assert held(exchange, "USDT")[1] == "0"


def test_a_limit_order_takes_what_is_within_its_limit_and_the_rest_waits(thin):
    exchange, clock = thin
    placed, trades = exchange.submit("main", order("BUY", "1.2", "100.11"))
    assert told(trades) == [("100.1", "0.5", "taker"), ("100.11", "0.5", "taker")]
    assert (placed.status, placed.is_open, text(placed.left)) == ("PARTIALLY_FILLED", True, "0.2")
    assert held(exchange, "USDT") == ("879.873", "20.022")
    later(exchange, clock, 19)
    assert len(exchange.trades("main")) == 2
    later(exchange, clock, 2)  # the first seller
    assert told(exchange.trades("main")[2:]) == [("100.11", "0.2", "maker")]
    assert exchange.order("main", SYMBOL, placed.order_id, None).status == "FILLED"
    assert held(exchange, "USDT") == ("879.873", "0")


def test_what_is_left_of_it_fills_whole_when_the_market_falls_beyond_what_it_met(make, rows):
    exchange, clock = make(rows((100, 100, 99, 99), (99, 99, 99, 99)), spread_bp=20, depth="0.5")
    exchange.submit("main", order("BUY", "9", "100.11"))
    later(exchange, clock, 21)
    *_, seller, last = exchange.trades("main")
    quote = exchange.markets[SYMBOL].quote(last.at_ns)
    assert told([seller, last]) == [("100.11", "1", "maker"), ("100.11", "7", "maker")]
    assert text(quote.ask) == "100.09"


@pytest.mark.parametrize(
    ("in_force", "quantity", "status", "executed", "trades"),
    [
        ("IOC", "1.2", "EXPIRED", "1", 2),
        ("IOC", "1", "FILLED", "1", 2),
        ("FOK", "1.2", "EXPIRED", "0", 0),
        ("FOK", "1", "FILLED", "1", 2),
    ],
)
def test_an_immediate_order_fills_what_there_is_or_nothing(thin, in_force, quantity, status, executed, trades):
    exchange, _ = thin
    placed, made = exchange.submit("main", order("BUY", quantity, "100.11", time_in_force=in_force))
    assert (placed.status, text(placed.executed), len(made), placed.is_open) == (status, executed, trades, False)
    assert held(exchange, "USDT")[1] == "0"


def test_a_post_only_order_never_takes_a_part(thin):
    exchange, _ = thin
    with pytest.raises(Refusal, match="would_take"):
        exchange.submit("main", order("BUY", "9", "100.10", type="LIMIT_MAKER"))
    assert exchange.submit("main", order("BUY", "9", "100.09", type="LIMIT_MAKER"))[0].status == "NEW"


def test_an_order_at_the_touch_waits_until_what_stood_there_has_traded(thin):
    exchange, clock = thin
    placed, _ = exchange.submit("main", order("BUY", "3", "99.90"))
    stood = []
    for _ in range(8):
        later(exchange, clock, 20)
        now = exchange.order("main", SYMBOL, placed.order_id, None)
        stood.append((now.status, text(now.executed), held(exchange, "USDT")[1]))
    # 0.5 were there before it: of the first seller's 1 it gets 0.5.
    assert timed(exchange) == [(20, "0.5"), (59.999, "1"), (80, "1"), (119.999, "0.5")]
    assert stood[:3] == [
        ("PARTIALLY_FILLED", "0.5", "249.75"),
        ("PARTIALLY_FILLED", "0.5", "249.75"),
        ("PARTIALLY_FILLED", "1.5", "149.85"),
    ]
    assert stood[-1] == ("FILLED", "3", "0")
    assert {one.price for one in exchange.trades("main")} == {parse("99.90")}
    assert {text(one.fee) for one in exchange.trades("main")} == {"0.0005", "0.001"}


def test_an_order_within_the_spread_has_nobody_before_it(thin):
    exchange, clock = thin
    exchange.submit("main", order("BUY", "1", "100"))
    exchange.submit("main", order("SELL", "1", "100.05"))
    later(exchange, clock, 45)
    assert timed(exchange) == [(20, "1"), (40, "1")]


def test_nobody_is_ahead_any_more_once_the_market_bids_less(make, rows):
    exchange, clock = make(rows(FLAT, *[(99.95, 99.95, 99.95, 99.95)] * 2), spread_bp=20, depth="5")
    placed, _ = exchange.submit("main", order("BUY", "3", "99.90"))
    later(exchange, clock, 59)
    assert (timed(exchange), text(exchange.open_orders("main")[0].ahead)) == ([], "4")
    later(exchange, clock, 60)
    # The bid is 99.85 and the ask 100.05 from 60 s on: sellers come to the order at once.
    assert timed(exchange) == [(60, "1"), (80, "1")]
    assert exchange.order("main", SYMBOL, placed.order_id, None).is_open


def test_what_trades_is_in_whole_steps_and_a_minute_without_trades_moves_no_queue(make):
    lines = ["open_time,open,high,low,close,volume"]
    for n, volume in enumerate(("0.12345678", "0", "0.12345678")):
        lines.append(f"{1_677_801_600_000 + n * 60_000},100,100,100,100,{volume}")
    exchange, clock = make(read_candles(lines, "rows"), spread_bp=20, depth="0.01")
    exchange.submit("main", order("BUY", "1", "99.90"))
    later(exchange, clock, 170)
    assert timed(exchange) == [(20, "0.02086"), (59.999, "0.03086"), (140, "0.03086")]
    assert exchange.submit("main", order("SELL", "0.1"))[0].status == "FILLED"


def test_an_order_that_the_market_does_not_reach_waits(thin):
    exchange, clock = thin
    exchange.submit("main", order("BUY", "1", "99.89"))
    later(exchange, clock, 500)
    assert exchange.trades("main") == []


def test_the_queue_of_a_level_is_met_when_the_market_comes_to_it(make, rows):
    """99.80 is the bid in the second minute: 0.5 stood there before the order, as when it was placed."""
    exchange, clock = make(
        rows((100, 100, 99.9, 99.9), *[(99.9, 99.9, 99.9, 99.9)] * 5), spread_bp=20, depth="1.5"
    )  # fmt: skip
    exchange.submit("main", order("BUY", "2", "99.80"))
    later(exchange, clock, 300)
    # Sellers at 20 s (the bid is 99.80 then), 59.999 s, 80 s and 119.999 s, 1 each, and 1.5 ahead.
    assert timed(exchange) == [(59.999, "0.5"), (80, "1"), (119.999, "0.5")]


def test_a_price_that_goes_through_an_order_fills_it_whole_at_that_instant(make, rows):
    falling = rows(FLAT, (100, 100, 90, 90), (90, 90, 90, 90))
    fills = []
    for depth in (None, "0.5"):
        exchange, clock = make(falling, spread_bp=20, depth=depth)
        exchange.submit("main", order("BUY", "30", "95"))
        later(exchange, clock, 170)
        fills.append([(one.at_ns, one.quantity, one.price) for one in exchange.trades("main")])
    assert fills[0] == fills[1] != []


def test_own_orders_share_what_a_print_brings_best_price_and_oldest_first(make, rows):
    other = paper.Account("key-2", "secret-2", {"USDT": "500"}, "second")
    exchange, clock = make(rows(*[FLAT] * 3), spread_bp=20, depth="0.5", accounts=[other])
    exchange.submit("main", order("BUY", "0.3", "99.90"))
    exchange.submit("second", order("BUY", "0.6", "99.90"))
    exchange.submit("main", order("BUY", "0.1", "99.95"))
    later(exchange, clock, 60)
    # At 20 s: 0.1 at the better price, 0.5 of the market, 0.3 and the rest, 0.1, to the youngest; then 0.5 more.
    assert timed(exchange) == [(20, "0.1"), (20, "0.3")]
    assert timed(exchange, "second") == [(20, "0.1"), (59.999, "0.5")]


def test_cancelling_a_partly_filled_order_keeps_what_was_filled(thin):
    exchange, clock = thin
    placed, _ = exchange.submit("main", order("BUY", "3", "99.90"))
    later(exchange, clock, 21)
    gone = exchange.cancel("main", SYMBOL, placed.order_id, None)
    assert (gone.status, text(gone.executed), text(gone.quote_executed)) == ("CANCELED", "0.5", "49.95")
    assert held(exchange, "USDT") == ("950.05", "0")
    later(exchange, clock, 500)
    assert len(exchange.trades("main")) == 1


def test_an_amended_order_keeps_its_place_only_if_it_does_not_ask_for_more(thin):
    exchange, clock = thin
    orders = [exchange.submit("main", order("BUY", "2", "99.90"))[0] for _ in range(3)]
    later(exchange, clock, 21)
    assert [one.ahead for one in exchange.open_orders("main")] == [0, 0, 0]
    for placed, price, quantity in zip(orders, (None, None, "99.89"), ("1", "3", None), strict=True):
        exchange.amend("main", placed.order_id, price and parse(price), quantity and parse(quantity))
    assert [text(one.ahead) for one in exchange.open_orders("main")] == ["0", "0.5", "0.5"]
    # The first has had 0.5 of now 1.
    assert text(exchange.open_orders("main")[0].left) == "0.5"
    assert held(exchange, "USDT")[1] == text(parse("49.95") + parse("299.7") + parse("199.78"))
    with pytest.raises(Refusal, match="quantity"):
        exchange.amend("main", orders[0].order_id, None, parse("0.5"))


@pytest.mark.parametrize(
    ("change", "quantity", "first", "second"),
    [
        # Sellers bring 1 at 20 s and at 59.999 s; 0.5 of the market's stand before either order.
        (None, None, [(20, "0.5"), (59.999, "0.3")], [(59.999, "0.7")]),
        ("amend", "0.4", [(20, "0.4")], [(20, "0.1"), (59.999, "1")]),
        ("amend", "0.9", [], [(20, "0.5"), (59.999, "1")]),
        ("replace", "0.4", [], [(20, "0.5"), (59.999, "1")]),
    ],
)
def test_of_two_own_orders_at_a_price_the_one_that_came_again_is_second(make, rows, change, quantity, first, second):
    other = paper.Account("key-2", "secret-2", {"USDT": "500"}, "second")
    exchange, clock = make(rows(*[FLAT] * 3), spread_bp=20, depth="0.5", accounts=[other])
    placed, _ = exchange.submit("main", order("BUY", "0.8", "99.90"))
    exchange.submit("second", order("BUY", "2", "99.90"))
    if change == "amend":
        exchange.amend("main", placed.order_id, None, parse(quantity))
    elif change == "replace":
        exchange.replace("main", placed.order_id, order("BUY", quantity, "99.90"))
    later(exchange, clock, 60)
    assert (timed(exchange), timed(exchange, "second")) == (first, second)


def test_a_book_that_thins_out_lets_orders_through_in_parts_until_it_is_full_again(make, rows):
    exchange, clock = make(rows(*[FLAT] * 5), spread_bp=20, balances={"BTC": "5", "USDT": "1000"})
    market = exchange.markets[SYMBOL]
    start = market.candles.start_ns
    market.thin(start + 60 * SECOND, start + 120 * SECOND, parse("0.25"))
    made = []
    for _ in range(3):
        made.append(len(exchange.submit("main", order("SELL", "0.6"))[1]))
        later(exchange, clock, 60)
    assert made == [1, 3, 1]
    assert [text(market.quote(start + n * 60 * SECOND).size) for n in range(3)] == ["9000", "0.25", "9000"]


def test_prints_trade_with_resting_orders_only_while_the_book_is_thin(make, rows):
    exchange, clock = make(rows(*[FLAT] * 5), spread_bp=20)
    start = exchange.markets[SYMBOL].candles.start_ns
    exchange.markets[SYMBOL].thin(start + 60 * SECOND, start + 100 * SECOND, parse("0.25"))
    exchange.submit("main", order("BUY", "9", "100"))
    later(exchange, clock, 250)
    assert timed(exchange) == [(80, "1")]


@pytest.mark.parametrize("depth", [0, 9])
def test_a_depth_below_a_step_is_refused(rows, depth):
    with pytest.raises(ValueError, match="depth"):
        paper.Market("BTC/USDT", rows(FLAT), depth=depth)


def test_every_change_is_told_with_what_is_locked(thin):
    exchange, clock = thin
    heard = exchange.feed.subscribe(lambda event: type(event).__name__ in ("OrderChanged", "BalancesChanged"))
    placed, _ = exchange.submit("main", order("BUY", "1.2", "100.11"))
    later(exchange, clock, 5)
    exchange.cancel("main", SYMBOL, placed.order_id, None)
    seen = []
    for event in heard.drain():
        if hasattr(event, "order"):
            seen.append((event.change, event.order.status, text(event.order.executed)))
        elif "USDT" in event.holdings:
            seen.append((text(event.holdings["USDT"].free), text(event.holdings["USDT"].locked)))
    assert seen == [
        ("new", "NEW", "0"),
        ("879.873", "120.127"),
        ("trade", "PARTIALLY_FILLED", "0.5"),
        ("879.873", "70.077"),
        ("trade", "PARTIALLY_FILLED", "1"),
        ("879.873", "20.022"),
        ("canceled", "CANCELED", "1"),
        ("899.895", "0"),
    ]
