import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewatch import paper
from tradewatch.paper.binance.refusals import REFUSALS
from tradewatch.paper.candles import random_candles
from tradewatch.paper.fees import Fees, ThirdCurrency
from tradewatch.paper.orders import NewOrder
from tradewatch.paper.units import ONE, parse, show

SYMBOL = "BTCUSDT"
WALK = random_candles("100", 1677801600 * 10**9, 60, seed=11, volatility_bp=30)


def buy(quantity, price=None, **more):
    return order("BUY", quantity, price, **more)


def sell(quantity, price=None, **more):
    return order("SELL", quantity, price, **more)


def order(side, quantity, price=None, **more):
    kind = {"type": "MARKET"} if price is None else {"type": "LIMIT", "price": parse(price)}
    return NewOrder(**{"symbol": SYMBOL, "side": side, "quantity": parse(quantity), **kind, **more})


def balances(exchange, account="main"):
    return {code: (show(held.free), show(held.locked)) for code, held in exchange.holdings(account).items()}


def flat(rows, *closes):
    """Candles that stand at 100 and then run from close to close."""
    quads, at = [], 100
    for close in (100, *closes):
        quads.append((at, max(at, close), min(at, close), close))
        at = close
    return rows(*quads)


def refused(code, message):
    """Refused, and in these words by Binance."""
    return pytest.raises(paper.Refusal, check=lambda error: REFUSALS[error.reason] == (code, message))


def test_a_market_buy_trades_at_the_ask_and_pays_its_fee_in_base(make, rows):
    exchange, clock = make(flat(rows), spread_bp=20, balances={"USDT": "1000"})
    placed, trades = exchange.submit("main", buy("2"))
    assert placed.status == "FILLED"
    [trade] = trades
    assert (show(trade.price), show(trade.fee), trade.fee_currency, trade.role, trade.at_ns) == (
        "100.10000000", "0.00200000", "BTC", "taker", clock.now_ns(),
    )  # fmt: skip
    assert balances(exchange) == {"BTC": ("1.99800000", "0.00000000"), "USDT": ("799.80000000", "0.00000000")}


def test_a_market_sell_trades_at_the_bid_and_pays_its_fee_in_quote(make, rows):
    exchange, _ = make(flat(rows), spread_bp=20, balances={"BTC": "3"})
    exchange.submit("main", sell("2"))
    assert balances(exchange) == {"BTC": ("1.00000000", "0.00000000"), "USDT": ("199.60020000", "0.00000000")}


def test_a_market_order_by_quote_takes_as_many_steps_as_it_pays_for(make, rows):
    exchange, _ = make(flat(rows), spread_bp=20, balances={"USDT": "1000"})
    placed, _ = exchange.submit("main", NewOrder(SYMBOL, "BUY", "MARKET", quote_quantity=parse("100")))
    assert (show(placed.quantity), show(placed.quote_executed)) == ("0.99900000", "99.99990000")


def test_a_resting_buy_locks_its_quote_and_fills_as_maker_at_its_price_when_the_ask_gets_there(make, rows):
    exchange, clock = make(flat(rows, 90, 100), spread_bp=0, balances={"USDT": "1000"})
    placed, trades = exchange.submit("main", buy("2", "95"))
    assert (placed.status, trades) == ("NEW", [])
    assert balances(exchange)["USDT"] == ("810.00000000", "190.00000000")
    clock.pass_seconds(180)
    exchange.advance()
    [trade] = exchange.trades("main")
    # 100 to 90 between 60 and 100 s of the candle that falls: low comes first when the open is the high.
    assert (show(trade.price), trade.role) == ("95.00000000", "maker")
    assert exchange.markets[SYMBOL].quote(trade.at_ns).ask == parse("95")
    assert exchange.markets[SYMBOL].quote(trade.at_ns - 1).ask > parse("95")
    assert exchange.order("main", SYMBOL, placed.order_id, None).status == "FILLED"
    assert balances(exchange) == {"BTC": ("1.99800000", "0.00000000"), "USDT": ("810.00000000", "0.00000000")}


def test_a_limit_order_that_matches_takes_at_the_better_price(make, rows):
    exchange, _ = make(flat(rows), spread_bp=20, balances={"USDT": "1000"})
    placed, [trade] = exchange.submit("main", buy("2", "105"))
    assert (placed.status, show(trade.price), trade.role) == ("FILLED", "100.10000000", "taker")
    assert balances(exchange)["USDT"] == ("799.80000000", "0.00000000")


def test_a_matching_limit_order_needs_its_whole_limit_in_the_account(make, rows):
    exchange, _ = make(flat(rows), spread_bp=20, balances={"USDT": "205"})
    with refused(-2010, "Account has insufficient balance for requested action."):
        exchange.submit("main", buy("2", "105"))


@pytest.mark.parametrize("in_force", ["IOC", "FOK"])
def test_an_immediate_order_fills_whole_or_expires(make, rows, in_force):
    exchange, clock = make(flat(rows, 90), spread_bp=0, balances={"USDT": "1000"})
    placed, trades = exchange.submit("main", buy("1", "99", time_in_force=in_force))
    assert (placed.status, trades) == ("EXPIRED", [])
    assert balances(exchange)["USDT"] == ("1000.00000000", "0.00000000")
    placed, trades = exchange.submit("main", buy("1", "100", time_in_force=in_force))
    assert (placed.status, len(trades)) == ("FILLED", 1)
    clock.pass_seconds(120)
    exchange.advance()
    assert len(exchange.trades("main")) == 1


def test_a_post_only_order_rests_or_is_refused(make, rows):
    exchange, _ = make(flat(rows), spread_bp=20)
    with refused(-2010, "Order would immediately match and take."):
        exchange.submit("main", buy("1", "100.10", type="LIMIT_MAKER"))
    placed, _ = exchange.submit("main", buy("1", "100.09", type="LIMIT_MAKER"))
    assert placed.status == "NEW"


def test_cancelling_frees_what_was_locked(make, rows):
    exchange, _ = make(flat(rows), balances={"BTC": "3", "USDT": "1000"})
    before = balances(exchange)
    first, _ = exchange.submit("main", buy("2", "50"))
    second, _ = exchange.submit("main", sell("3", "150", client_id="stop"))
    assert balances(exchange) == {"BTC": ("0.00000000", "3.00000000"), "USDT": ("900.00000000", "100.00000000")}
    assert exchange.cancel("main", SYMBOL, first.order_id, None).status == "CANCELED"
    assert exchange.cancel("main", SYMBOL, None, "stop").order_id == second.order_id
    assert balances(exchange) == before
    with refused(-2011, "Unknown order sent."):
        exchange.cancel("main", SYMBOL, first.order_id, None)


def test_cancelling_all_is_refused_when_nothing_is_open(make, rows):
    exchange, _ = make(flat(rows))
    for price in ("50", "60"):
        exchange.submit("main", buy("1", price))
    assert [order.status for order in exchange.cancel_all("main", SYMBOL)] == ["CANCELED"] * 2
    with refused(-2011, "Unknown order sent."):
        exchange.cancel_all("main", SYMBOL)


def test_an_order_is_found_by_both_ids_only_if_they_agree(make, rows):
    exchange, _ = make(flat(rows))
    placed, _ = exchange.submit("main", buy("1", "50", client_id="mine"))
    assert exchange.order("main", SYMBOL, placed.order_id, "mine") == placed
    with refused(-2013, "Order does not exist."):
        exchange.order("main", SYMBOL, placed.order_id, "other")
    with refused(-2013, "Order does not exist."):
        exchange.order("main", SYMBOL, None, "other")


def test_a_client_id_may_be_used_again_only_after_its_order_is_done(make, rows):
    exchange, _ = make(flat(rows))
    first, _ = exchange.submit("main", buy("1", "50", client_id="mine"))
    with refused(-2010, "Duplicate order sent."):
        exchange.submit("main", buy("1", "50", client_id="mine"))
    exchange.cancel("main", SYMBOL, first.order_id, None)
    second, _ = exchange.submit("main", buy("1", "50", client_id="mine"))
    assert exchange.order("main", SYMBOL, None, "mine") == second


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        (buy("0.000001"), -1013, "Filter failure: LOT_SIZE"),
        (buy("9000.00001"), -1013, "Filter failure: LOT_SIZE"),
        (buy("1", "99.999"), -1013, "Filter failure: PRICE_FILTER"),
        (buy("1", "1000000.01"), -1013, "Filter failure: PRICE_FILTER"),
        (buy("1", "0"), -1013, "Filter failure: PRICE_FILTER"),
        (buy("0.04999"), -1013, "Filter failure: NOTIONAL"),
        (buy("0.05", "99.99"), -1013, "Filter failure: NOTIONAL"),
        (buy("501"), -2010, "Account has insufficient balance for requested action."),
        (sell("1.00001"), -2010, "Account has insufficient balance for requested action."),
        (buy("1", symbol="ETHUSDT"), -1121, "Invalid symbol."),
    ],
)
def test_a_refused_order_changes_nothing(make, rows, request_, code, message):
    exchange, _ = make(flat(rows), spread_bp=0)
    before = balances(exchange)
    with refused(code, message):
        exchange.submit("main", request_)
    assert balances(exchange) == before
    assert exchange.orders("main") == []


def test_an_order_of_just_the_least_notional_is_accepted(make, rows):
    exchange, _ = make(flat(rows), spread_bp=0)
    assert exchange.submit("main", buy("0.05"))[0].status == "FILLED"


def test_two_hundred_orders_may_be_open(make, rows):
    exchange, _ = make(flat(rows))
    for _ in range(200):
        exchange.submit("main", buy("1", "10"))
    with refused(-1013, "Filter failure: MAX_NUM_ORDERS"):
        exchange.submit("main", buy("1", "10"))


def test_past_the_end_the_market_is_closed_and_orders_can_still_be_cancelled(make, rows):
    exchange, clock = make(flat(rows), spread_bp=0)
    placed, _ = exchange.submit("main", buy("1", "99"))
    clock.pass_seconds(6000)
    exchange.advance()
    with refused(-1013, "Market is closed."):
        exchange.submit("main", buy("1"))
    assert exchange.cancel("main", SYMBOL, placed.order_id, None).status == "CANCELED"


def test_fees_in_a_third_currency_are_discounted_while_it_lasts(make, rows):
    market = paper.Market("BNB/USDT", rows((300, 300, 300, 300), (300, 300, 300, 300)), 0)
    fees = Fees(third=ThirdCurrency("BNB"))
    exchange, _ = make(flat(rows), spread_bp=0, balances={"USDT": "1000", "BNB": "0.0003"}, fees=fees, markets=[market])
    _, [trade] = exchange.submit("main", buy("1"))
    # 100 USDT at 0.1 % less 25 % is 0.075 USDT, at 300 USDT.
    assert (show(trade.fee), trade.fee_currency) == ("0.00025000", "BNB")
    _, [trade] = exchange.submit("main", buy("1"))
    assert (show(trade.fee), trade.fee_currency) == ("0.00100000", "BTC")
    assert balances(exchange)["BNB"] == ("0.00005000", "0.00000000")


def test_a_third_currency_without_a_market_needs_a_price(make, rows):
    held = {"USDT": "1000", "BNB": "1"}
    exchange, _ = make(flat(rows), spread_bp=0, balances=held, fees=Fees(third=ThirdCurrency("BNB")))
    assert exchange.submit("main", buy("1"))[1][0].fee_currency == "BTC"
    priced = Fees(third=ThirdCurrency("BNB", price=parse("150")))
    exchange, _ = make(flat(rows), spread_bp=0, balances=held, fees=priced)
    [trade] = exchange.submit("main", buy("1"))[1]
    assert (show(trade.fee), trade.fee_currency) == ("0.00050000", "BNB")


def test_accounts_do_not_see_each_other(make, rows):
    other = paper.Account("key-2", "secret-2", {"USDT": "500"}, "second")
    exchange, _ = make(flat(rows), spread_bp=0, accounts=[other])
    placed, _ = exchange.submit("second", buy("1", "50"))
    assert exchange.open_orders("main") == []
    with refused(-2013, "Order does not exist."):
        exchange.order("main", SYMBOL, placed.order_id, None)
    assert "secret-2" not in repr(other)
    assert "key-2" not in repr(other)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 30 * 60 * 10**9), max_size=12),
    st.integers(0, 1000),
    st.sampled_from([None, ONE // 20, ONE // 2]),
)
def test_fills_do_not_depend_on_when_anybody_asks(pauses, seed, depth):
    def run(stops):
        clock = Clock(WALK.start_ns)
        exchange = paper.Exchange(
            [paper.Market("BTC/USDT", WALK, 2.0, depth=depth)],
            [paper.Account(name, "s", {"BTC": "50", "USDT": "5000"}, name) for name in ("main", "second")],
            clock,
        )
        rng = random.Random(seed)
        for _ in range(8):
            price = f"{rng.uniform(98, 102):.2f}"
            exchange.submit(rng.choice(["main", "second"]), order(rng.choice(["BUY", "SELL"]), "1", price))
        for at in [*stops, WALK.end_ns]:
            clock.now = at
            exchange.advance()
        times = [booked.trade.at_ns for booked in exchange.journal.lines]
        assert times == sorted(times)
        return exchange.journal.lines, [(exchange.orders(name), balances(exchange, name)) for name in exchange.names]

    stops, at = [], WALK.start_ns
    for pause in pauses:
        at = min(at + pause, WALK.end_ns)
        stops.append(at)
    assert run(stops) == run([])


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["BUY", "SELL", "cancel", "wait", "quote"]),
            st.integers(1, 3_000_000),
            st.one_of(st.none(), st.integers(9_700, 10_300)),
            st.sampled_from(["GTC", "IOC", "FOK"]),
        ),
        max_size=40,
    ),
    st.booleans(),
    st.sampled_from([None, ONE // 1000, ONE // 50]),
    st.sampled_from(["received", "quote"]),
)
def test_money_is_neither_made_nor_lost(actions, third, depth, charged_in):
    clock = Clock(WALK.start_ns)
    opening = {"BTC": "20", "USDT": "2000", "BNB": "0.01"}
    third_currency = ThirdCurrency("BNB", price=parse("250")) if third else None
    fees = Fees(maker=ONE // 1250, taker=ONE // 800, third=third_currency, charged_in=charged_in)
    market = paper.Market("BTC/USDT", WALK, 5.0, depth=depth)
    exchange = paper.Exchange([market], [paper.Account("k", "s", opening)], clock, fees)
    for kind, size, price, in_force in actions:
        clock.now += size * 10_000
        exchange.advance()
        try:
            if kind == "wait":
                clock.now += size * 100_000
            elif kind == "cancel":
                exchange.cancel("main", SYMBOL, 1 + size % 12, None)
            elif kind == "quote":
                exchange.submit("main", NewOrder(SYMBOL, "BUY", "MARKET", quote_quantity=size * 10_000))
            elif price is None:
                exchange.submit("main", NewOrder(SYMBOL, kind, "MARKET", quantity=size * 1000))
            else:
                exchange.submit(
                    "main",
                    NewOrder(SYMBOL, kind, "LIMIT", in_force, quantity=size * 1000, price=price * ONE // 100),
                )
        except paper.Refusal:
            continue
        finally:
            check_conserved(exchange, opening)


def check_conserved(exchange, opening):
    expected = {code: parse(amount) for code, amount in opening.items()}
    for trade in exchange.trades("main"):
        sign = 1 if trade.side == "BUY" else -1
        assert trade.quote_amount * ONE == trade.price * trade.quantity
        expected["BTC"] += sign * trade.quantity
        expected["USDT"] -= sign * trade.quote_amount
        expected[trade.fee_currency] -= trade.fee
    locked = dict.fromkeys(opening, 0)
    for resting in exchange.open_orders("main"):
        if resting.side == "BUY":
            worth = resting.price * resting.left // ONE
            locked["USDT"] += worth + (worth // 1250 if resting.fee_in == "quote" else 0)
        else:
            locked["BTC"] += resting.left
    for placed in exchange.orders("main"):
        fills = [trade for trade in exchange.trades("main") if trade.order_id == placed.order_id]
        assert placed.executed == sum(trade.quantity for trade in fills)
        assert placed.quote_executed == sum(trade.quote_amount for trade in fills)
    held = exchange.holdings("main")
    assert {code: one.free + one.locked for code, one in held.items()} == expected
    assert {code: one.locked for code, one in held.items()} == locked
    assert all(one.free >= 0 and one.locked >= 0 for one in held.values())


class Clock:
    def __init__(self, now_ns):
        self.now = now_ns

    def now_ns(self):
        return self.now

    def mono_ns(self):
        return self.now

    def real_seconds(self, seconds):
        return seconds
