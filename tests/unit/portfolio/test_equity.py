"""Equity: what is held at what it is worth, and when it is not to be trusted."""

import decimal
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from fills import START_NS, balances, equity, fill, mark
from tradewatch.model import Equity, Fill, OrderKey, OrderReport
from tradewatch.portfolio import BALANCES_NOT_SEEN, NO_MARKET_SEEN, Portfolio, Total


def test_equity_is_what_is_held_times_what_it_is_worth(portfolio, clock):
    assert portfolio.snapshot().equity == Equity(None, "USDT", (BALANCES_NOT_SEEN,), clock.now_ns(), False)
    assert portfolio.balances(balances(0, BTC="2", USDT="1000"))
    assert equity(portfolio) == (1_200, ())
    portfolio.fill(fill("buy", 1, 110, 5, fees=[("0.01", "BTC"), ("3", "USDT")]))
    assert equity(portfolio) == (1_000 - 113 + 299, ())
    mark(portfolio, clock, 200)
    assert equity(portfolio) == (887 + 598, ())


def test_equity_is_in_the_quote_of_the_first_market_unless_told(clock):
    portfolio = Portfolio(clock)
    assert portfolio.snapshot().equity == Equity(None, None, (BALANCES_NOT_SEEN,), clock.now_ns(), False)
    mark(portfolio, clock, "0.04", "ETH/BTC")
    mark(portfolio, clock, "50000", "BTC/USDT")
    portfolio.balances(balances(0, ETH="10", USDT="5000"))
    assert portfolio.snapshot().equity == Equity(Decimal("0.5"), "BTC", (), clock.now_ns())
    told = Portfolio(clock, "USDT")
    mark(told, clock, "0.04", "ETH/BTC")
    assert told.snapshot().currency == "USDT"


def test_an_order_alone_makes_its_market_counted_and_its_account_known(clock):
    portfolio = Portfolio(clock)
    key = OrderKey("paper", "main", "BTC/USDT", "1", None)
    report = OrderReport(key, "buy", "limit", "open", None, None, None, None, None, START_NS, START_NS)
    assert portfolio.report(report)
    assert not portfolio.report(report)
    portfolio.balances(balances(0, BTC="1", USDT="5"))
    assert equity(portfolio) == (None, ("BTC: no price in USDT",))


def test_a_balance_in_no_market_of_the_bot_is_visible_and_not_in_the_sum(portfolio):
    portfolio.balances(balances(0, USDT="1000", DOGE="7", PEPE="0"))
    snapshot = portfolio.snapshot()
    assert (snapshot.equity.value, snapshot.equity.stale) == (1_000, ())
    assert snapshot.unvalued == (Total("main", "DOGE", Decimal(7)),)


def test_a_missing_price_leaves_equity_unknown_unless_nothing_is_held(portfolio, clock):
    portfolio.balances(balances(0, USDT="1000"))
    portfolio.fill(fill("buy", 1, 10, 5, market="ETH/USDT"))
    assert equity(portfolio) == (None, ("ETH: no price in USDT",))
    portfolio.fill(fill("sell", 1, 11, 6, market="ETH/USDT"))
    assert equity(portfolio) == (1_001, ())


def test_an_old_price_keeps_the_value_and_says_so(portfolio, clock):
    portfolio.balances(balances(0, BTC="2", USDT="1000"))
    clock.pass_s(60)
    assert equity(portfolio) == (1_200, ())
    clock.pass_s(1)
    assert equity(portfolio) == (1_200, ("BTC: price older than 60 s",))
    [position] = portfolio.snapshot().positions
    assert position.price_is_stale
    mark(portfolio, clock, 100)
    assert equity(portfolio) == (1_200, ())


def test_all_accounts_are_summed_and_named_where_one_is_unknown(portfolio):
    portfolio.balances(balances(0, USDT="1000"))
    portfolio.fill(fill("buy", 1, 100, 5, account="second"))
    assert equity(portfolio) == (None, (f"second: {BALANCES_NOT_SEEN}",))
    portfolio.balances(balances(10, account="second", BTC="1", USDT="50"))
    assert equity(portfolio) == (1_150, ())
    assert [(p.account, p.amount) for p in portfolio.snapshot().positions] == [("second", 1)]


def test_before_any_market_was_seen_what_is_held_is_not_worth_zero(clock):
    portfolio = Portfolio(clock, "USDT")
    portfolio.balances(balances(0, BTC="1"))
    assert equity(portfolio) == (None, (NO_MARKET_SEEN,))
    mark(portfolio, clock, 100)
    assert equity(portfolio) == (100, ())


steps = st.lists(
    st.tuples(
        st.sampled_from(["buy", "sell"]),
        st.integers(1, 10**9).map(lambda n: Decimal(n).scaleb(-8)),
        st.integers(1, 10**7).map(lambda n: Decimal(n).scaleb(-2)),
        st.sampled_from(["BTC/USDT", "BNB/USDT"]),
        st.sampled_from(["USDT", "base"]),
        st.integers(1, 10**7).map(lambda n: Decimal(n).scaleb(-2)),
    ),
    min_size=1,
    max_size=10,
)


@settings(max_examples=200, deadline=None)
@given(steps)
def test_without_flows_equity_changes_by_realised_and_unrealised(clock_class, trades):
    clock = clock_class()
    portfolio = Portfolio(clock)
    mark(portfolio, clock, 50_000)
    mark(portfolio, clock, 600, "BNB/USDT")
    portfolio.balances(balances(0, BTC="3", BNB="5", USDT="1000"))
    before = portfolio.snapshot()
    for n, (side, amount, price, market, fee, now) in enumerate(trades):
        clock.pass_s(1)
        paid = [(amount / 1000, market.split("/")[0] if fee == "base" else "USDT")]
        portfolio.fill(fill(side, amount, price, n + 1, fees=paid, market=market))
        mark(portfolio, clock, now, market)
        after = portfolio.snapshot()
        [realized] = after.realized
        [unrealized] = after.unrealized
        assert after.equity.stale == ()
        change = after.equity.value - before.equity.value
        assert abs(change - realized.amount - unrealized.amount) <= Decimal("1e-17")


@settings(max_examples=100, deadline=None)
@given(steps, st.randoms(use_true_random=False), st.integers(0, 12))
def test_equity_does_not_depend_on_the_order_of_arrival(clock_class, trades, random, first):
    def run(inputs):
        clock = clock_class()
        clock.pass_s(50)
        portfolio = Portfolio(clock)
        mark(portfolio, clock, 50_000)
        mark(portfolio, clock, 600, "BNB/USDT")
        for given_ in inputs:
            (portfolio.fill if isinstance(given_, Fill) else portfolio.balances)(given_)
            portfolio.snapshot()
        return portfolio.snapshot()

    inputs = [
        fill(side, amount, price, n, fees=[(amount / 1000, "BNB")], market=market)
        for n, (side, amount, price, market, _, _) in enumerate(trades)
    ]
    inputs.append(balances(first, took=0, BTC="3", BNB="5", USDT="1000"))
    expected = run(inputs)
    random.shuffle(inputs)
    found = run(inputs)
    assert (found.equity, found.positions) == (expected.equity, expected.positions)


def test_the_bots_decimal_context_does_not_reach_equity(clock):
    with decimal.localcontext(decimal.Context(prec=2, traps=[decimal.Inexact, decimal.Rounded])):
        portfolio = Portfolio(clock)
        mark(portfolio, clock, "50123.45")
        portfolio.balances(balances(0, BTC="1.23456789", USDT="1000.01"))
        portfolio.snapshot()
        mark(portfolio, clock, "50000.01")
        portfolio.balances(balances(10, BTC="1.23456789", USDT="1000.02"))
        snapshot = portfolio.snapshot()
    assert snapshot.equity.value == Decimal("62728.4168456789")
    assert snapshot.equity.stale == ("USDT: the venue's balance differs from the books by 0.01",)
    assert snapshot.daily_pnl == Decimal("-152.3950603416")
    assert snapshot.drawdown_ratio == snapshot.daily_loss_ratio == Decimal("0.002423554272317037")
