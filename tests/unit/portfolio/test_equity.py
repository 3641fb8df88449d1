"""Equity, the day's result and drawdown, and when they are not to be trusted."""

import datetime
import decimal
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewatch.model import Balances, Equity, Fill, Mark, Money, OrderKey, OrderReport
from tradewatch.portfolio import BALANCES_NOT_SEEN, NO_MARKET_SEEN, DayStart, Peak, Portfolio, Total

START_NS = 1_790_000_000_000_000_000  # 2026-09-21 14:13:20 UTC
SECOND = 1_000_000_000


def fill(side, amount, price, at, *, trade=None, fees=(), market="BTC/USDT", account="main"):
    paid = tuple(Money(Decimal(a), c) for a, c in fees)
    ns = START_NS + int(at * SECOND)
    return Fill(account, market, "o", trade or f"{at}", side, Decimal(amount), Decimal(price), paid, ns, "trades")


def balances(at, *, account="main", took=1, **totals):
    money = tuple(Money(Decimal(amount), currency) for currency, amount in totals.items())
    ns = START_NS + int(at * SECOND)
    return Balances(account, money, ns, ns + int(took * SECOND))


def mark(portfolio, clock, price, market="BTC/USDT"):
    """Seen twice: one price that is far from the last would wait for a second."""
    seen = [portfolio.mark(Mark(market, Decimal(price), clock.now_ns() - ago, "mid")) for ago in (1, 0)]
    return any(seen)


@pytest.fixture
def portfolio(clock):
    clock.pass_s(100)
    result = Portfolio(clock)
    mark(result, clock, 100)
    return result


def equity(portfolio):
    found = portfolio.snapshot().equity
    return found.value, found.stale


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


# Later balances


def test_balances_that_agree_with_the_books_say_nothing(portfolio):
    portfolio.balances(balances(0, BTC="2", USDT="1000"))
    portfolio.fill(fill("buy", 1, 110, 5))
    portfolio.balances(balances(10, BTC="3.000000001", USDT="890"))
    assert equity(portfolio) == (1_190, ())


def test_balances_that_differ_are_said_to_and_the_books_stay(portfolio):
    portfolio.balances(balances(0, BTC="2", USDT="1000"))
    portfolio.balances(balances(10, BTC="2", USDT="1500.50"))
    assert equity(portfolio) == (1_200, ("USDT: the venue's balance differs from the books by 500.5",))
    portfolio.balances(balances(20, BTC="2", USDT="1000"))
    assert equity(portfolio) == (1_200, ())


def test_a_late_fill_explains_a_difference(portfolio):
    portfolio.balances(balances(0, BTC="2", USDT="1000"))
    portfolio.balances(balances(10, BTC="3", USDT="890"))
    assert equity(portfolio)[1] == (
        "BTC: the venue's balance differs from the books by 1",
        "USDT: the venue's balance differs from the books by -110",
    )
    portfolio.fill(fill("buy", 1, 110, 5))
    assert equity(portfolio) == (1_190, ())


def test_a_late_fill_can_also_show_a_difference(portfolio):
    portfolio.balances(balances(0, BTC="2", USDT="1000"))
    portfolio.balances(balances(20, BTC="2", USDT="1000"))
    assert equity(portfolio) == (1_200, ())
    portfolio.fill(fill("buy", 1, 100, 10))
    assert len(equity(portfolio)[1]) == 2


@pytest.mark.parametrize("off", [-4, 4])
def test_a_venues_clock_that_is_seconds_off_makes_no_difference(portfolio, off):
    """The fill came before the second snapshot and is in it, whatever its time says; the next is not in the third."""
    portfolio.balances(balances(0, BTC="2", USDT="1000"))
    portfolio.fill(fill("buy", 1, 100, 19 + off))
    portfolio.balances(balances(20, BTC="3", USDT="900"))
    assert equity(portfolio) == (900 + 300, ())
    portfolio.balances(balances(40, BTC="3", USDT="900"))
    portfolio.fill(fill("buy", 1, 100, 42 + off))
    assert equity(portfolio) == (800 + 400, ())


@pytest.mark.parametrize("off", [-4, 4])
def test_a_venues_clock_that_is_seconds_off_counts_no_fill_twice_at_the_start(portfolio, off):
    portfolio.fill(fill("buy", 1, 100, -0.5 + off))
    portfolio.balances(balances(0, BTC="3", USDT="900"))
    portfolio.balances(balances(20, BTC="3", USDT="900"))
    assert equity(portfolio) == (900 + 300, ())


@pytest.mark.parametrize("seen", [0, 1, 2])
def test_fills_during_a_snapshot_may_be_in_it_or_not(portfolio, seen):
    fills = [fill("buy", 1, 100, 10.2), fill("buy", 1, 90, 10.7)]
    said = [("2", "1000"), ("3", "900"), ("4", "810")][seen]
    portfolio.balances(balances(0, BTC="2", USDT="1000"))
    portfolio.balances(balances(10, BTC=said[0], USDT=said[1]))
    for f in fills:
        portfolio.fill(f)
    assert equity(portfolio) == (810 + 400, ())


def test_a_fill_after_a_snapshot_cannot_explain_it(portfolio):
    portfolio.balances(balances(0, BTC="2", USDT="1000"))
    portfolio.balances(balances(10, BTC="3", USDT="900"))
    portfolio.fill(fill("buy", 1, 100, 16.5))
    assert len(equity(portfolio)[1]) == 2


@pytest.mark.parametrize(("said", "value"), [(("3", "900"), 1_300), (("2", "1000"), 1_200)])
def test_a_fill_during_the_first_snapshot_is_placed_by_the_next(portfolio, said, value):
    """The first balances said 2 and 1000; whether the fill of that second was in them, they do not tell."""
    portfolio.fill(fill("buy", 1, 100, 0.5))
    portfolio.balances(balances(0, BTC="2", USDT="1000"))
    assert equity(portfolio) == (1_200, ())
    portfolio.balances(balances(10, BTC=said[0], USDT=said[1]))
    assert equity(portfolio) == (1_200, ())
    [position] = portfolio.snapshot().positions
    assert position.amount == Decimal(said[0])


def test_an_older_snapshot_than_the_last_one_is_passed_over(portfolio):
    portfolio.balances(balances(0, USDT="1000"))
    assert portfolio.balances(balances(20, USDT="1000"))
    assert not portfolio.balances(balances(10, USDT="5"))
    assert not portfolio.balances(balances(30, USDT="NaN"))
    assert equity(portfolio) == (1_000, ())


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


# The day and the peak


def test_the_day_begins_with_its_first_equity_and_utc_midnight_begins_another(clock):
    portfolio = Portfolio(clock)
    mark(portfolio, clock, 100)
    assert portfolio.snapshot().day_start is None
    portfolio.balances(balances(0, BTC="5", USDT="500"))
    snapshot = portfolio.snapshot()
    assert snapshot.day_start == DayStart(datetime.date(2026, 9, 21), Decimal(1000), "USDT", Decimal(1000))
    assert (snapshot.daily_pnl, snapshot.daily_loss_ratio, snapshot.drawdown_ratio) == (0, 0, 0)
    mark(portfolio, clock, 94)
    snapshot = portfolio.snapshot()
    assert (snapshot.daily_pnl, snapshot.daily_loss_ratio) == (-30, Decimal("0.03"))
    to_midnight = 86_400 - (START_NS // SECOND) % 86_400
    clock.pass_s(to_midnight - 0.001)
    mark(portfolio, clock, 94)
    assert portfolio.snapshot().daily_pnl == -30
    clock.pass_s(0.001)
    snapshot = portfolio.snapshot()
    assert snapshot.day_start == DayStart(datetime.date(2026, 9, 22), Decimal(970), "USDT", Decimal(970))
    assert (snapshot.daily_pnl, snapshot.drawdown_ratio) == (0, Decimal("0.03"))


def test_a_winning_day_has_a_negative_loss(portfolio, clock):
    portfolio.balances(balances(0, BTC="5", USDT="500"))
    portfolio.snapshot()
    mark(portfolio, clock, 110)
    assert portfolio.snapshot().daily_loss_ratio == Decimal("-0.05")


def test_a_stale_equity_moves_neither_day_nor_peak(portfolio, clock):
    portfolio.balances(balances(0, BTC="5", USDT="500"))
    first = portfolio.snapshot()
    clock.pass_s(86_400)
    stale = portfolio.snapshot()
    assert stale.equity.value == 1_000
    assert (stale.day_start, stale.daily_pnl, stale.peak) == (first.day_start, None, first.peak)
    portfolio.mark(Mark("BTC/USDT", Decimal(10_000), clock.now_ns() - 61 * SECOND, "mid"))
    jumped = portfolio.snapshot()
    assert jumped.equity.value == 50_500
    assert (jumped.peak, jumped.daily_pnl) == (first.peak, None)
    mark(portfolio, clock, 120)
    fresh = portfolio.snapshot()
    assert fresh.peak == Peak(Decimal(1100), "USDT", clock.now_ns())
    assert (fresh.day_start.equity, fresh.daily_pnl) == (1_000, 100), "from what was known last before midnight"


def test_what_is_lost_over_midnight_between_two_readings_belongs_to_the_new_day(portfolio, clock):
    portfolio.balances(balances(0, BTC="5", USDT="500"))
    clock.pass_s(86_400 - (START_NS // SECOND) % 86_400 - 100 - 1)
    mark(portfolio, clock, 100)
    assert portfolio.snapshot().daily_pnl == 0
    clock.pass_s(90)
    mark(portfolio, clock, 60)
    snapshot = portfolio.snapshot()
    assert snapshot.day_start == DayStart(datetime.date(2026, 9, 22), Decimal(1000), "USDT", Decimal(1000))
    assert (snapshot.daily_pnl, snapshot.daily_loss_ratio) == (-200, Decimal("0.2"))


def test_a_clock_that_steps_back_over_midnight_keeps_the_new_day(clock):
    portfolio = Portfolio(clock)
    clock.pass_s(86_400 - (START_NS // SECOND) % 86_400)
    mark(portfolio, clock, 100)
    portfolio.balances(balances(0, BTC="1"))
    first = portfolio.snapshot().day_start
    mark(portfolio, clock, 90)
    clock.step_s(-1)
    snapshot = portfolio.snapshot()
    assert (snapshot.day_start, snapshot.daily_pnl) == (first, -10)


def test_without_an_equity_above_zero_there_is_no_ratio(portfolio):
    portfolio.balances(balances(0, USDT="0"))
    snapshot = portfolio.snapshot()
    assert (snapshot.daily_pnl, snapshot.daily_loss_ratio, snapshot.drawdown_ratio) == (0, None, None)


# Contracts


def test_a_contract_counts_with_its_result_since_the_first_balances(clock):
    portfolio = Portfolio(clock)
    swap = "BTC/USDT:USDT"
    portfolio.fill(fill("buy", 2, 100, -10, market=swap))
    portfolio.fill(fill("sell", 1, 130, -5, market=swap))
    portfolio.balances(balances(0, USDT="1000"))
    assert equity(portfolio) == (None, ("BTC/USDT:USDT: no price",))
    clock.pass_s(0.5)
    mark(portfolio, clock, 120, swap)
    assert equity(portfolio) == (1_020, ())
    portfolio.fill(fill("sell", 1, 150, 5, fees=[("1", "USDT")], market=swap))
    assert equity(portfolio) == (1_049, ())
    portfolio.balances(balances(10, USDT="1049"))
    assert equity(portfolio) == (1_049, ())


def test_a_contract_that_settles_in_its_base_is_said_not_to_count(clock):
    portfolio = Portfolio(clock)
    mark(portfolio, clock, 100, "BTC/USD:BTC")
    mark(portfolio, clock, 100, "BTC/USD")
    portfolio.fill(fill("buy", 1, 100, 1, market="BTC/USD:BTC", fees=[("0.001", "BTC")]))
    portfolio.balances(balances(0, BTC="10"))
    assert equity(portfolio) == (
        Decimal("999.9"),
        ("BTC/USD:BTC: settles in BTC, which equity does not count",),
    )


def test_a_contracts_result_outlives_the_fills_that_are_folded_away(clock):
    portfolio = Portfolio(clock)
    swap = "BTC/USDT:USDT"
    mark(portfolio, clock, 120, swap)
    day = 86_400
    portfolio.fill(fill("buy", 3, 100, -31 * day, market=swap))
    portfolio.fill(fill("sell", 1, 105, -30.5 * day, market=swap))
    portfolio.balances(balances(-30 * day, USDT="1000"))
    assert equity(portfolio) == (1_040, ())
    for n in range(200):
        portfolio.fill(fill("sell" if n % 2 else "buy", 1, 100 + n % 2, (n / 8 - 29) * day, trade=str(n), market=swap))
        portfolio.snapshot()
    assert equity(portfolio) == (1_140, ())


def test_before_any_market_was_seen_what_is_held_is_not_worth_zero(clock):
    portfolio = Portfolio(clock, "USDT")
    portfolio.balances(balances(0, BTC="1"))
    assert equity(portfolio) == (None, (NO_MARKET_SEEN,))
    mark(portfolio, clock, 100)
    assert equity(portfolio) == (100, ())


def test_a_contracts_price_far_from_the_last_is_doubted_too(clock):
    clock.pass_s(50)
    portfolio = Portfolio(clock)
    mark(portfolio, clock, 100, "BTC/USDT:USDT")
    portfolio.balances(balances(0, USDT="1000"))
    portfolio.fill(fill("buy", 2, 100, 20, market="BTC/USDT:USDT"))
    assert equity(portfolio) == (1_000, ())
    portfolio.mark(Mark("BTC/USDT:USDT", Decimal(80), clock.now_ns(), "mid"))
    assert equity(portfolio) == (1_000, ("BTC/USDT:USDT: a price far from the last one waits for a second",))


def test_of_two_moments_that_explain_the_balances_the_nearer_one_is_taken(clock):
    """Either the first purchase was not in the first balances yet, or the later sale was already."""
    clock.pass_s(100)
    portfolio = Portfolio(clock)
    mark(portfolio, clock, 100)
    portfolio.fill(fill("buy", 1, 100, -1))
    portfolio.balances(balances(0, BTC="5", USDT="500"))
    portfolio.fill(fill("sell", 1, 100, 3))
    portfolio.snapshot()
    portfolio.balances(balances(60, BTC="5", USDT="500"))
    assert equity(portfolio) == (1_000, ())
    [counted] = portfolio.watermarks().counted
    assert counted.cut_ns == START_NS - SECOND - 1
