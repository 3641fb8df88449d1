"""The day's result and drawdown."""

import datetime
from decimal import Decimal

from fills import SECOND, START_NS, balances, mark
from tradewatch.model import Mark
from tradewatch.portfolio import DayStart, Peak, Portfolio


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
