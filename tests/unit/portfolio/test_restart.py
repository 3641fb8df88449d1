"""Money that moves while nobody watches is neither profit nor loss; what was traded meanwhile is."""

import datetime
from decimal import Decimal

import msgspec
import pytest

from tradewatch.model import Balances, Fill, Mark, Money
from tradewatch.portfolio import DayStart, Peak, Portfolio, Total, Watermarks, shown


def mark(portfolio, clock, price, market="BTC/USDT"):
    portfolio.mark(Mark(market, Decimal(price), clock.now_ns(), "mid"))


def say(portfolio, clock, account="main", **totals):
    now, money = clock.now_ns(), tuple(Money(Decimal(amount), of) for of, amount in totals.items())
    assert portfolio.balances(Balances(account, money, now, now))


def fill(clock, side, amount, price, *, ago=0.0, trade="1", market="BTC/USDT", account="main"):
    at_ns = clock.now_ns() - int(ago * 1e9)
    return Fill(account, market, "o", trade, side, Decimal(amount), Decimal(price), (), at_ns, "trades")


@pytest.fixture
def restart(clock):
    """The next run of a bot: with the fills and watermarks of the one before, as JSON holds them."""

    def restarted(portfolio, fills=()):
        kept = msgspec.json.decode(msgspec.json.encode(portfolio.watermarks()), type=Watermarks)
        clock.pass_s(600)
        again = Portfolio(clock, "USDT")
        for each in fills:
            again.fill(each, recalled=True)
        again.restore(kept)
        return again

    return restarted


@pytest.fixture
def portfolio(clock):
    """One BTC at 100 and 900 USDT."""
    result = Portfolio(clock, "USDT")
    mark(result, clock, 100)
    say(result, clock, BTC=1, USDT=900)
    result.snapshot()
    return result


def figures(snapshot):
    return (
        snapshot.equity.value,
        snapshot.day_start.equity,
        snapshot.peak.equity,
        snapshot.daily_pnl,
        snapshot.drawdown_ratio,
    )


def test_a_restart_where_nothing_moved_changes_nothing(portfolio, clock, restart):
    again = restart(portfolio)
    mark(again, clock, 98)
    say(again, clock, BTC=1, USDT=900)
    snapshot = again.snapshot()
    assert figures(snapshot) == (998, 1000, 1000, -2, Decimal("0.002"))
    assert (snapshot.flows, snapshot.incomplete, snapshot.equity.stale) == ((), (), ())


@pytest.mark.parametrize(
    ("said", "equity", "start", "flow"),
    [
        ({"BTC": 1, "USDT": 400}, 500, 500, ("USDT", -500)),
        ({"BTC": 1, "USDT": 1900}, 2000, 2000, ("USDT", 1000)),
        ({"BTC": 3, "USDT": 900}, 1200, 1200, ("BTC", 2)),
        ({"USDT": 900}, 900, 900, ("BTC", -1)),
    ],
)
def test_a_deposit_or_withdrawal_is_no_profit_and_no_loss(portfolio, clock, restart, said, equity, start, flow):
    again = restart(portfolio)
    say(again, clock, **said)
    mark(again, clock, 100)
    snapshot = again.snapshot()
    assert figures(snapshot) == (equity, start, start, 0, 0)
    assert snapshot.flows == (Total("main", *flow),)
    mark(again, clock, 96)
    held = Decimal(str(said.get("BTC", 0)))
    assert again.snapshot().daily_pnl == -4 * held, "what is held now wins and loses"


def test_it_is_taken_out_once_also_over_a_second_restart(portfolio, clock, restart):
    again = restart(portfolio)
    mark(again, clock, 100)
    say(again, clock, BTC=1, USDT=400)
    assert figures(again.snapshot())[:4] == (500, 500, 500, 0)
    assert figures(again.snapshot())[:4] == (500, 500, 500, 0)
    third = restart(again)
    mark(third, clock, 98)
    say(third, clock, BTC=1, USDT=400)
    snapshot = third.snapshot()
    assert (figures(snapshot)[:4], snapshot.flows) == ((498, 500, 500, -2), ())


def test_an_order_that_filled_meanwhile_counts_as_profit_or_loss(portfolio, clock, restart):
    """A bid at 100 filled in a crash to 80, while the bot was down: 40 lost, 20 of them with what the order bought."""
    again = restart(portfolio)
    missed = fill(clock, "buy", 1, 100, ago=300)
    mark(again, clock, 80)
    say(again, clock, BTC=2, USDT=800)
    snapshot = again.snapshot()
    assert figures(snapshot)[:4] == (960, 1000, 1000, -40)
    assert snapshot.flows == ()
    assert "main 1 BTC, main -100 USDT" in snapshot.incomplete[0]
    again.fill(missed)
    snapshot = again.snapshot()
    assert figures(snapshot)[:4] == (960, 1000, 1000, -40)
    assert snapshot.incomplete == ()
    assert snapshot.equity.stale == ()


def test_fills_of_the_run_before_are_no_flow(portfolio, clock, restart):
    clock.pass_s(60)
    bought = fill(clock, "buy", 1, 100)
    portfolio.fill(bought)
    portfolio.snapshot()
    again = restart(portfolio, [bought])
    mark(again, clock, 100)
    say(again, clock, BTC=2, USDT=800)
    assert (figures(again.snapshot())[:4], again.snapshot().flows) == ((1000, 1000, 1000, 0), ())


def test_an_account_with_another_key_goes_on_where_the_old_one_ended(portfolio, clock, restart):
    """Its name is made of the key: to the books it is another account, with the same money."""
    again = restart(portfolio, [])
    mark(again, clock, 98)
    say(again, clock, account="other", BTC=1, USDT=900)
    snapshot = again.snapshot()
    assert figures(snapshot)[:4] == (998, 1000, 1000, -2)
    assert snapshot.equity.stale == ()


def test_a_second_account_that_is_seen_later_is_no_profit_and_its_absence_no_loss(portfolio, clock, restart):
    say(portfolio, clock, account="second", USDT=5000)
    assert figures(portfolio.snapshot())[:4] == (6000, 6000, 6000, 0)
    again = restart(portfolio)
    mark(again, clock, 99)
    say(again, clock, BTC=1, USDT=900)
    loss = Decimal("0.000166666666666667")
    snapshot = again.snapshot()
    assert (snapshot.day_start.equity, snapshot.daily_pnl, snapshot.daily_loss_ratio) == (1000, -1, loss)
    assert snapshot.drawdown_ratio == loss
    say(again, clock, account="second", USDT=5000)
    snapshot = again.snapshot()
    assert (snapshot.day_start.equity, snapshot.daily_pnl) == (6000, -1)
    assert shown(snapshot.daily_loss_ratio - loss) == shown(snapshot.drawdown_ratio - loss) == 0


def test_what_only_the_absent_account_deals_in_is_worth_what_it_was(portfolio, clock, restart):
    mark(portfolio, clock, 10, "ETH/USDT")
    say(portfolio, clock, account="second", ETH=50)
    assert figures(portfolio.snapshot())[:4] == (1500, 1500, 1500, 0)
    again = restart(portfolio)
    mark(again, clock, 100)
    say(again, clock, BTC=1, USDT=900)
    assert figures(again.snapshot())[:4] == (1000, 1000, 1000, 0)


def test_a_currency_that_begins_to_count_is_no_profit(portfolio, clock):
    """The account held ether all along; only now the bot deals in it."""
    say(fresh := Portfolio(clock, "USDT"), clock, BTC=1, USDT=900, ETH=50)
    mark(fresh, clock, 100)
    assert figures(fresh.snapshot())[:4] == (1000, 1000, 1000, 0)
    mark(fresh, clock, 10, "ETH/USDT")
    assert figures(fresh.snapshot())[:4] == (1500, 1500, 1500, 0)
    clock.pass_s(10)
    fresh.fill(fill(clock, "sell", 10, 9, market="ETH/USDT"))
    assert figures(fresh.snapshot())[:4] == (1490, 1500, 1500, -10)


def test_day_and_peak_in_another_currency_lapse(clock):
    portfolio = Portfolio(clock, "USDT")
    day, peak = DayStart(datetime.date(2026, 9, 21), Decimal(5), "BTC", Decimal(5)), Peak(Decimal(5), "BTC", 1)
    portfolio.restore(Watermarks(day, peak, (), "BTC", None))
    mark(portfolio, clock, 100)
    assert portfolio.snapshot().daily_pnl is None
    say(portfolio, clock, USDT=500)
    snapshot = portfolio.snapshot()
    assert (snapshot.day_start.equity, snapshot.peak.equity) == (500, 500)


def test_nothing_is_kept_before_anything_was_measured(clock):
    portfolio = Portfolio(clock)
    assert portfolio.watermarks() is None
    say(portfolio, clock, USDT=500)
    portfolio.snapshot()
    assert portfolio.watermarks() is None
