"""The perpetual's core: positions, margin, funding, conditional orders, liquidation, and books beside it."""

import random
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tradewatch import paper
from tradewatch.paper.errors import Refusal
from tradewatch.paper.perpetual.values import NewConditional, NewOrder
from tradewatch.paper.units import ONE, parse

SYMBOL = "BTCUSDT"
FLAT = (100, 100, 100, 100)


def market(side, quantity, **more):
    return NewOrder(SYMBOL, side, "MARKET", parse(quantity), **more)


def limit(side, price, quantity="1", **more):
    return NewOrder(SYMBOL, side, "LIMIT", parse(quantity), parse(price), **more)


def waits(kind, side, trigger, **more):
    return NewConditional(SYMBOL, side, kind, parse(trigger), **more)


def position(exchange):
    one = exchange.wallet("main").position(SYMBOL)
    return one.amount / ONE, one.entry_price / ONE


def balance(exchange):
    return exchange.wallet("main").balance / ONE


def test_a_position_grows_shrinks_and_turns(perpetual):
    exchange, clock = perpetual(FLAT, (110, 110, 110, 110), (110, 110, 110, 110))
    exchange.submit("main", market("BUY", "2"))
    assert (position(exchange), balance(exchange)) == ((2.0, 100.1), 10_000 - 0.1001)
    clock.pass_seconds(60)
    exchange.advance()
    exchange.submit("main", market("BUY", "2"))
    assert position(exchange) == (4.0, 105.105)
    exchange.submit("main", market("SELL", "1"))
    assert position(exchange) == (3.0, 105.105)
    assert exchange.wallet("main").fills[-1].realised == parse("4.785")  # 109.89 less 105.105
    exchange.submit("main", market("SELL", "5"))
    assert position(exchange) == (-2.0, 109.89)
    assert exchange.wallet("main").fills[-1].realised == parse("14.355")
    kinds = [income.kind for income in exchange.wallet("main").incomes]
    assert kinds == ["COMMISSION", "COMMISSION", "REALIZED_PNL", "COMMISSION", "REALIZED_PNL", "COMMISSION"]


def test_margin_bounds_what_can_be_opened(perpetual):
    exchange, _ = perpetual(FLAT, wallet="100")
    with pytest.raises(Refusal, match="insufficient_margin"):
        exchange.submit("main", market("BUY", "20"))  # 2002 at 20 x is 100.1
    exchange.set_leverage("main", SYMBOL, 50)
    exchange.submit("main", market("BUY", "20"))
    assert exchange.wallet("main").position_margin(SYMBOL, exchange.marks()) == parse("40")
    with pytest.raises(Refusal, match="insufficient_margin"):
        exchange.set_leverage("main", SYMBOL, 1)
    with pytest.raises(Refusal, match="leverage"):
        exchange.set_leverage("main", SYMBOL, 126)
    exchange.submit("main", market("SELL", "20"))  # closing needs none
    assert position(exchange) == (0.0, 0.0)
    with pytest.raises(Refusal, match="insufficient_margin"):
        exchange.submit("main", limit("BUY", "90", "60"))
    exchange.submit("main", limit("BUY", "90", "40"))
    assert exchange.wallet("main").order_margin() == parse("72")
    with pytest.raises(Refusal, match="insufficient_margin"):
        exchange.submit("main", limit("BUY", "90", "20"))


def test_reduce_only_reduces_and_nothing_else(perpetual):
    exchange, clock = perpetual(FLAT, (100, 100, 90, 100), FLAT)
    with pytest.raises(Refusal, match="reduce_only"):
        exchange.submit("main", market("SELL", "1", reduce_only=True))
    exchange.submit("main", market("SELL", "2"))
    with pytest.raises(Refusal, match="reduce_only"):
        exchange.submit("main", market("SELL", "1", reduce_only=True))
    resting = exchange.submit("main", limit("BUY", "95", "2", reduce_only=True))
    exchange.submit("main", market("BUY", "1"))
    clock.pass_seconds(120)
    exchange.advance()
    filled = exchange.order("main", SYMBOL, resting.order_id, None)
    assert (filled.status, filled.executed, position(exchange)) == ("FILLED", ONE, (0.0, 0.0))
    exchange.submit("main", market("BUY", "1"))
    cut = exchange.submit("main", market("SELL", "9", reduce_only=True))
    assert (cut.quantity, position(exchange)) == (ONE, (0.0, 0.0))


def test_post_only_and_immediate_orders(perpetual):
    exchange, _ = perpetual(FLAT)
    with pytest.raises(Refusal, match="would_take"):
        exchange.submit("main", limit("BUY", "101", time_in_force="GTX"))
    assert exchange.submit("main", limit("BUY", "99", time_in_force="GTX")).status == "NEW"
    assert exchange.submit("main", limit("BUY", "99", time_in_force="IOC")).status == "EXPIRED"
    assert exchange.submit("main", limit("BUY", "101", time_in_force="FOK")).quote_executed == parse("100.1")


def test_funding_is_paid_by_longs_at_its_instant(perpetual):
    terms = paper.Terms(funding_rate=ONE // 1000, funding_interval_ns=120 * 10**9)
    exchange, clock = perpetual(FLAT, FLAT, (110, 110, 110, 110), FLAT, FLAT, terms=terms, spread_bp=0)
    exchange.submit("main", market("BUY", "2"))
    before = balance(exchange)
    clock.pass_seconds(180)
    exchange.advance()
    assert balance(exchange) == pytest.approx(before - 0.22)
    paid = exchange.wallet("main").incomes[-1]
    assert (paid.kind, paid.amount, (paid.at_ns - clock.began) / 10**9) == ("FUNDING_FEE", -parse("0.22"), 120.0)
    exchange.submit("main", market("SELL", "4"))
    clock.pass_seconds(90)
    exchange.advance()
    assert exchange.wallet("main").incomes[-1].amount == parse("0.2")


@pytest.mark.parametrize(
    ("opens", "kind", "side", "trigger", "price"),
    [
        ("BUY", "STOP_MARKET", "SELL", "95", 94.9),
        ("SELL", "TAKE_PROFIT_MARKET", "BUY", "95", 95.1),
        ("SELL", "STOP_MARKET", "BUY", "105", 105.11),
        ("BUY", "TAKE_PROFIT_MARKET", "SELL", "105", 104.89),
    ],
)
def test_a_conditional_order_becomes_a_market_order_at_its_trigger(perpetual, opens, kind, side, trigger, price):
    exchange, clock = perpetual(FLAT, (100, 100, 90, 90), (90, 110, 90, 110), FLAT)
    exchange.submit("main", market(opens, "2"))
    waiting = exchange.submit_conditional("main", waits(kind, side, trigger, closes_position=True))
    other = exchange.submit_conditional(
        "main", waits(kind, side, "80" if trigger == "95" else "120", closes_position=True)
    )
    assert exchange.wallet("main").open == {}
    clock.pass_seconds(210)
    exchange.advance()
    done = exchange.wallet("main").conditionals[waiting.algo_id]
    order = exchange.wallet("main").orders[done.order_id]
    fill = exchange.wallet("main").fills[-1]
    assert (done.status, order.type, order.closes, order.from_conditional) == ("FINISHED", "MARKET", True, kind)
    assert (fill.price / ONE, fill.at_ns, position(exchange)) == (pytest.approx(price), done.triggered_ns, (0.0, 0.0))
    assert exchange.wallet("main").conditionals[other.algo_id].status == "EXPIRED"


def test_a_conditional_order_that_would_trigger_or_cannot_be_placed(perpetual):
    exchange, clock = perpetual(FLAT, (100, 100, 90, 90), FLAT, wallet="10")
    with pytest.raises(Refusal, match="would_trigger"):
        exchange.submit_conditional("main", waits("STOP_MARKET", "SELL", "100", quantity=ONE))
    with pytest.raises(Refusal, match="would_trigger"):
        exchange.submit_conditional("main", waits("TAKE_PROFIT_MARKET", "SELL", "99", quantity=ONE))
    poor = exchange.submit_conditional("main", waits("STOP_MARKET", "SELL", "95", quantity=100 * ONE))
    stop = exchange.submit_conditional("main", waits("STOP", "SELL", "95", quantity=ONE, price=parse("94")))
    gone = exchange.submit_conditional("main", waits("STOP_MARKET", "SELL", "94", quantity=ONE, client_id="mine"))
    exchange.cancel_conditional("main", None, "mine")
    with pytest.raises(Refusal, match="order_not_open"):
        exchange.cancel_conditional("main", gone.algo_id, None)
    clock.pass_seconds(120)
    exchange.advance()
    states = [exchange.wallet("main").conditionals[one.algo_id].status for one in (poor, stop, gone)]
    assert states == ["REJECTED", "FINISHED", "CANCELED"]
    assert position(exchange)[0] == -1.0


def test_cross_margin_is_liquidated_at_the_price_that_was_told(perpetual):
    exchange, clock = perpetual(FLAT, (100, 100, 90, 90), FLAT, wallet="10", spread_bp=0)
    exchange.submit("main", market("BUY", "1.9"))
    price = exchange.wallet("main").liquidation_price(SYMBOL, exchange.marks()) / ONE
    resting = exchange.submit("main", limit("BUY", "50", "0.1"))
    # base + (p - entry) * size = maintenance * p * size
    wallet = 10 - 190 * 0.0005
    assert price == pytest.approx((190 - wallet) / (1.9 * (1 - 0.004)))
    clock.pass_seconds(120)
    exchange.advance()
    fill = exchange.wallet("main").fills[-1]
    assert fill.price / ONE == pytest.approx(price, abs=0.011)
    assert exchange.wallet("main").orders[fill.order_id].client_id.startswith("autoclose-")
    assert exchange.order("main", SYMBOL, resting.order_id, None).status == "CANCELED"
    assert (position(exchange), balance(exchange)) == ((0.0, 0.0), 0.0)
    assert exchange.wallet("main").incomes[-1].kind == "INSURANCE_CLEAR"
    assert exchange.books.wallet("main") == Fraction(0)


def test_an_isolated_position_costs_no_more_than_its_own_margin(perpetual):
    exchange, clock = perpetual(FLAT, (100, 100, 90, 90), FLAT, wallet="1000", spread_bp=0)
    assert exchange.set_margin_type("main", SYMBOL, "isolated")
    assert not exchange.set_margin_type("main", SYMBOL, "isolated")
    exchange.submit("main", market("BUY", "2"))
    with pytest.raises(Refusal, match="open_position"):
        exchange.set_margin_type("main", SYMBOL, "cross")
    wallet = exchange.wallet("main")
    assert (wallet.position(SYMBOL).isolated, wallet.cross_balance) == (parse("10"), parse("989.9"))
    clock.pass_seconds(120)
    exchange.advance()
    assert position(exchange) == (0.0, 0.0)
    assert balance(exchange) == pytest.approx(989.9)


def test_a_print_at_the_instant_of_a_funding_still_comes_to_those_who_wait(perpetual):
    terms = paper.Terms(funding_rate=ONE // 1000, funding_interval_ns=60 * 10**9)
    exchange, clock = perpetual(FLAT, FLAT, FLAT, terms=terms, depth="0.5")
    exchange.submit("main", market("BUY", "0.5"))
    clock.pass_seconds(50)
    exchange.advance()
    exchange.submit("main", limit("SELL", "100.05", "3"))
    clock.pass_seconds(60)
    exchange.advance()
    # Buyers bring 1 at 60 s, with the funding, and 1 at 100 s.
    start = exchange.markets[SYMBOL].candles.start_ns
    fills = [((one.at_ns - start) / 1e9, one.quantity, one.role) for one in exchange.wallet("main").fills[1:]]
    assert fills == [(60, ONE, "maker"), (100, ONE, "maker")]
    assert [one.at_ns - start for one in exchange.wallet("main").incomes if one.kind == "FUNDING_FEE"] == [60 * 10**9]
    resting = exchange.wallet("main").open[2]
    assert (resting.status, resting.left, position(exchange)[0]) == ("PARTIALLY_FILLED", ONE, -1.5)


def test_two_accounts_two_contracts_and_shared_cross_margin(perpetual, rows):
    second = paper.Market("ETH/USDT", rows((50, 50, 50, 50), (50, 60, 50, 60), (60, 60, 60, 60)), 0)
    other = paper.Account("k2", "s2", {"USDT": "10"}, "other")
    exchange, clock = perpetual(
        FLAT, (100, 100, 90, 90), (90, 90, 90, 90), wallet="40", spread_bp=0, markets=[second], accounts=[other]
    )
    exchange.submit("main", market("BUY", "2"))
    exchange.submit("main", NewOrder("ETHUSDT", "BUY", "MARKET", 2 * ONE))
    exchange.submit("other", market("BUY", "1.9"))
    clock.pass_seconds(120)
    exchange.advance()
    assert exchange.wallet("other").held() == []  # what the other contract gains saves the first account
    assert [symbol for symbol, _ in exchange.wallet("main").held()] == ["BTCUSDT", "ETHUSDT"]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["BUY", "SELL"]),
        st.sampled_from(["market", "limit", "stop", "reduce", "wait"]),
        st.integers(1, 40),
        st.integers(-30, 30),
    ),
    max_size=25,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(steps=STEPS, seed=st.integers(0, 10_000), depth=st.sampled_from([None, ONE // 100, ONE // 2]))
def test_the_books_agree_with_the_exchange_after_any_history(clock_at, steps, seed, depth):
    candles = paper.random_candles("100", 1_677_801_600 * 10**9, 120, seed, volatility_bp=80)
    clock = clock_at(candles.start_ns)
    terms = paper.Terms(funding_interval_ns=600 * 10**9)
    exchange = paper.Perpetual(
        [paper.Market("BTC/USDT", candles, depth=depth)], [paper.Account("k", "s", {"USDT": "500"})], clock, terms
    )
    rng = random.Random(seed)
    for side, kind, tenths, offset in steps:
        price = (exchange.marks()[SYMBOL] + offset * ONE // 10) // 10**6 * 10**6
        quantity = tenths * ONE // 10
        try:
            match kind:
                case "market":
                    exchange.submit("main", NewOrder(SYMBOL, side, "MARKET", quantity))
                case "reduce":
                    exchange.submit("main", NewOrder(SYMBOL, side, "MARKET", quantity, reduce_only=True))
                case "limit":
                    exchange.submit("main", NewOrder(SYMBOL, side, "LIMIT", quantity, price))
                case "stop":
                    exchange.submit_conditional(
                        "main", NewConditional(SYMBOL, side, "STOP_MARKET", price, quantity=quantity)
                    )
        except Refusal:
            pass
        clock.pass_seconds(60 * (rng.choice([0, 0.1, 1, 4])))
        exchange.advance()
    wallet, book = exchange.wallet("main"), exchange.books.read()["main"].get(SYMBOL)
    for order in wallet.orders.values():
        fills = [one for one in wallet.fills if one.order_id == order.order_id]
        assert (order.executed, order.quote_executed) == (
            sum(one.quantity for one in fills), sum(one.quote_amount for one in fills),
        )  # fmt: skip
    held = Fraction(wallet.balance, ONE)
    assert abs(held - exchange.books.wallet("main")) <= Fraction(len(wallet.fills), ONE)
    assert sum(one.amount for one in wallet.incomes) == wallet.balance - parse("500")
    assert (book.amount if book else 0) == Fraction(wallet.position(SYMBOL).amount, ONE)
    assert wallet.balance >= 0
    marks = exchange.marks()
    equity = Fraction(wallet.balance + wallet.unrealised(marks), ONE)
    assert abs(equity - exchange.books.equity("main", marks)) <= Fraction(2 * len(wallet.fills) + 2, ONE)
