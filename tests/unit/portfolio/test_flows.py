"""What is taken out of losses over restarts and kills, with a real store on disk: flows, and nothing but flows."""

import datetime
from decimal import Decimal

import pytest

from tradewatch.model import Balances, Money
from tradewatch.portfolio import BALANCES_NOT_SEEN, BALANCES_WAIT, Total, shown

DAY_S = 86_400
A_MONTH_S = 30 * DAY_S


def figures(snapshot):
    """Equity, the day's result in money and as a loss, and drawdown."""
    return (snapshot.equity.value, snapshot.daily_pnl, snapshot.daily_loss_ratio, snapshot.drawdown_ratio)


def flows(snapshot):
    return {total.currency: total.amount for total in snapshot.flows}


QUIET = (1000, 0, 0, 0)


@pytest.mark.parametrize("ticker_first", [True, False])
@pytest.mark.parametrize(
    ("said", "price", "expected", "flow"),
    [
        ({"BTC": 1, "USDT": 900}, 90, (990, -10, Decimal("0.01"), Decimal("0.01")), {}),
        ({"BTC": 1, "USDT": 400}, 100, (500, 0, 0, 0), {"USDT": -500}),
        ({"BTC": 3, "USDT": 900}, 100, (1200, 0, 0, 0), {"BTC": 2}),
        ({"BTC": 5, "USDT": 500}, 100, (1000, 0, 0, 0), {}),
    ],
    ids=["price", "withdrawal", "deposit", "trade"],
)
def test_balances_and_prices_may_come_in_either_order(run, ticker_first, said, price, expected, flow):
    run = run.stop()
    if ticker_first:
        run.mark(price)
        snapshot = run.say(**said)
    else:
        run.say(**said)
        snapshot = run.mark(price)
    assert (figures(snapshot), flows(snapshot)) == (expected, flow)


def test_a_coin_that_counted_before_and_has_no_price_yet_keeps_equity_unknown(run):
    run.mark(10, market="ETH/USDT")
    run.say(BTC=1, USDT=900)
    run.fill("buy", 50, 10, market="ETH/USDT")
    run = run.stop()
    run.say(BTC=1, USDT=400, ETH=50)
    assert run.mark(100).equity.stale == ("ETH: no price in USDT",)
    assert figures(run.mark(10, market="ETH/USDT")) == QUIET


@pytest.mark.parametrize(
    ("said", "equity", "taken_for_a_flow"),
    [
        ({"BTC": "1.00001", "USDT": 400}, "500.001", True),
        ({"BTC": "0.99999", "USDT": 5900}, "5999.999", True),
        ({"BTC": 2, "USDT": 300}, "500", True),
        ({"BTC": "1.49", "USDT": 800}, "949", True),
        ({"BTC": "1.50", "USDT": 800}, "950", False),
        ({"BTC": 3, "USDT": 800}, "1100", False),
    ],
)
def test_it_is_a_trade_where_what_came_and_what_went_are_worth_half_of_each_other(run, said, equity, taken_for_a_flow):
    run = run.stop()
    run.mark(100)
    snapshot = run.say(**said)
    moved = {"BTC": Decimal(said["BTC"]) - 1, "USDT": said["USDT"] - 900}
    assert snapshot.equity.value == Decimal(equity)
    assert snapshot.daily_pnl == (0 if taken_for_a_flow else Decimal(equity) - 1000)
    assert flows(snapshot) == (moved if taken_for_a_flow else {})
    assert bool(snapshot.incomplete) != taken_for_a_flow


def test_a_withdrawal_leaves_every_ratio_and_the_days_result_as_they_were(run):
    before = run.mark(98, 96, 94, 92, 90)
    assert figures(before) == (990, -10, Decimal("0.01"), Decimal("0.01"))
    run = run.stop()
    run.mark(90)
    after = run.say(BTC=1, USDT=405)
    assert figures(after) == (495, -10, Decimal("0.01"), Decimal("0.01"))
    assert (after.day_start.equity, after.day_start.measure, after.peak.equity) == (505, 500, 500)


def test_what_comes_to_an_empty_account_is_what_ratios_begin_with(empty_run):
    run = empty_run()
    run.mark(100)
    run.say(BTC=0, USDT=0)
    run = run.stop()
    run.mark(100)
    assert figures(run.say(BTC=5, USDT=500)) == QUIET
    assert figures(run.mark(96)) == (980, -20, Decimal("0.02"), Decimal("0.02"))
    run = run.stop()
    run.mark(96)
    run.say(BTC=0, USDT=0)
    assert figures(run.say(BTC=0, USDT=0)) == (0, -20, None, None), "of nothing there is no share"


def test_trades_that_are_told_late_undo_the_flow_that_they_were_taken_for(run):
    """A bid at 100 filled and a stop at 70 sold again while the bot was down: at first it looks like a withdrawal."""
    run = run.stop()
    run.mark(100)
    assert (figures(run.say(BTC=1, USDT=840)), flows(run.look())) == ((940, 0, 0, 0), {"USDT": -60})
    run.mark(101)
    run.fill("buy", 2, 100, ago=400)
    told = run.fill("sell", 2, 70, ago=300, trade="2")
    assert figures(told)[:2] == (941, -59)
    assert (told.day_start.equity, told.day_start.measure) == (1000, 1000)
    assert (told.flows, told.incomplete) == ((), ())


def test_a_peak_of_before_the_flow_comes_back_and_one_reached_since_is_left(run):
    run = run.stop()
    run.mark(100)
    run.say(BTC=1, USDT=840)
    run.fill("buy", 2, 100, ago=400)
    assert run.fill("sell", 2, 70, ago=300, trade="2").peak.equity == 1000
    run = run.stop()
    run.mark(100)
    run.say(BTC=1, USDT=780)
    assert run.mark(*range(104, 164, 4)).peak.equity == 940, "a new one, since 1000 became 1000 * 880 / 940"
    run.fill("buy", 2, 100, ago=400, trade="3")
    told = run.fill("sell", 2, 70, ago=300, trade="4")
    assert (told.peak.equity, told.flows, told.daily_pnl) == (940, (), -60)


def test_late_trades_undo_one_of_two_flows_alone(run):
    run.say(account="second", USDT=1000)
    run = run.stop()
    run.mark(100)
    now = run.clock.now_ns()
    run.portfolio.balances(Balances("main", (Money(Decimal(840), "USDT"), Money(Decimal(1), "BTC")), now, now))
    both = run.say(account="second", USDT=5000)
    assert (both.daily_pnl, both.daily_loss_ratio, both.peak.equity) == (0, 0, 5940)
    run.fill("buy", 2, 100, ago=400)
    told = run.fill("sell", 2, 70, ago=300, trade="2")
    lost = Decimal("0.03")
    assert figures(told) == (5940, -60, lost, lost), "60 of the 2000 of before"


def test_a_days_start_of_after_the_flow_stays_when_trades_are_told(run, clock):
    run = run.stop()
    run.mark(100)
    run.say(BTC=1, USDT=840)
    clock.pass_s(2 * DAY_S)
    assert run.mark(100, 100).day_start.equity == 940
    run.fill("buy", 2, 100, ago=2 * DAY_S + 400)
    told = run.fill("sell", 2, 70, ago=2 * DAY_S + 300, trade="2")
    assert (told.day_start.equity, told.day_start.measure, told.flows) == (940, 940, ())


@pytest.mark.parametrize("ends", ["stop", "kill"])
@pytest.mark.parametrize("sold_at", [100, 1100])
def test_an_old_page_of_trades_is_no_flow_whenever_it_is_read(run, ends, sold_at):
    """A round trip of a month ago: it is in every balance of these runs."""

    def page(at):
        run.fill("buy", 1, 600, ago=A_MONTH_S, trade=f"{at}1")
        return run.fill("sell", 1, sold_at, ago=A_MONTH_S - DAY_S, trade=f"{at}2")

    assert figures(page(1)) == QUIET
    run = getattr(run, ends)(5)
    page(2)
    run.mark(100)
    assert figures(run.say(BTC=1, USDT=900)) == QUIET
    assert figures(page(3)) == QUIET
    run = getattr(run, ends)(5)
    run.mark(100)
    assert figures(run.say(BTC=1, USDT=900)) == QUIET


def test_a_coin_bought_just_before_a_kill_is_no_flow(run, clock):
    clock.pass_s(5)
    run.fill("buy", 50, 10, market="ETH/USDT")
    assert figures(run.mark(10, market="ETH/USDT")) == QUIET
    run = run.kill(5)
    run.mark(100)
    run.mark(10, market="ETH/USDT")
    assert figures(run.say(BTC=1, USDT=400, ETH=50)) == QUIET


def test_a_coin_bought_without_a_price_just_before_a_kill_is_no_flow(run, clock):
    clock.pass_s(5)
    run.fill("buy", 50, 10, market="ETH/USDT")
    run = run.kill(5)
    run.mark(100)
    run.say(BTC=1, USDT=400, ETH=50)
    assert figures(run.mark(10, market="ETH/USDT")) == QUIET


def test_another_key_and_a_kill_right_after_it(run, clock):
    """The account's name changes with its key; the books of the old one have fills that nobody waits for."""
    clock.pass_s(10)
    run.fill("buy", 1, 100)
    run = run.stop()
    run.mark(100)
    assert figures(run.say(account="new", BTC=2, USDT=800)) == QUIET
    clock.pass_s(10)
    run.fill("sell", 1, 92, account="new", trade="2")
    lost = (992, -8, Decimal("0.008"), Decimal("0.008"))
    assert figures(run.look()) == lost
    run = run.kill(3)
    run.mark(100)
    assert figures(run.say(account="new", BTC=1, USDT=892)) == lost


def test_an_account_is_in_use_from_the_first_report_of_this_run(run):
    run = run.stop()
    run.mark(100)
    run.say(BTC=1, USDT=900)
    assert run.report("buy", 1, 100, account="second").equity.stale == (f"second: {BALANCES_NOT_SEEN}",)


def test_flows_of_two_accounts(run):
    run.say(account="second", USDT=1000)
    run = run.stop()
    run.mark(100)
    run.say(BTC=1, USDT=400)
    snapshot = run.say(account="second", USDT=1200)
    assert figures(snapshot) == (1700, 0, 0, 0)
    assert snapshot.flows == (Total("main", "USDT", Decimal(-500)), Total("second", "USDT", Decimal(200)))


def test_an_account_that_comes_back_later_with_a_flow(run, clock):
    run.say(account="second", BTC=2, USDT=1000)
    clock.pass_s(10)
    run.fill("sell", 1, 90, account="second")
    assert run.look().daily_pnl == -10
    run = run.stop()
    run.mark(100)
    assert run.say(BTC=1, USDT=900).daily_pnl == -10
    snapshot = run.say(account="second", BTC=1, USDT=590)
    assert (snapshot.equity.value, snapshot.daily_pnl, flows(snapshot)) == (1690, -10, {"USDT": -500})
    assert shown(snapshot.daily_loss_ratio - snapshot.drawdown_ratio) == 0


def test_what_moved_of_a_coin_that_did_not_count_is_taken_out_once_it_counts(run, clock):
    run = run.stop()
    run.mark(100)
    run.say(BTC=1, USDT=900, ETH=50)
    run = run.stop()
    run.mark(100)
    run.say(BTC=1, USDT=900, ETH=10)
    snapshot = run.mark(10, market="ETH/USDT")
    assert (figures(snapshot), flows(snapshot)) == ((1100, 0, 0, 0), {"ETH": -40})


def test_first_balances_that_hold_nothing_of_what_was_held_wait_for_second_ones(run):
    run = run.stop()
    run.mark(100)
    assert run.say(BTC="0.049", USDT=44).equity.stale == (BALANCES_WAIT,)
    assert figures(run.say(BTC=1, USDT=900)) == QUIET
    run = run.stop()
    run.mark(100)
    assert run.say(BTC="0.049", USDT=46).equity.stale == (), "5 % of one of them is something"
    run = run.stop()
    run.mark(100)
    run.say()
    assert flows(run.say()) == {"BTC": Decimal("-0.049"), "USDT": -46}, "said twice, it is so"


def to_midnight_s(clock):
    return DAY_S - (clock.now_ns() // 10**9) % DAY_S


@pytest.mark.parametrize("ends", ["stop", "kill"])
def test_what_is_lost_over_midnight_while_the_bot_is_down_belongs_to_the_new_day(run, clock, ends):
    clock.pass_s(to_midnight_s(clock) - 3)
    run.mark(100)
    run = getattr(run, ends)(5)
    run.mark(90, 90)
    snapshot = run.say(BTC=1, USDT=400)
    assert (snapshot.equity.value, snapshot.daily_pnl, flows(snapshot)) == (490, -10, {"USDT": -500})
    assert snapshot.day_start.day == datetime.date(2026, 9, 22)
    assert snapshot.daily_loss_ratio == snapshot.drawdown_ratio == Decimal("0.01")


def test_an_equity_older_than_yesterday_or_in_another_currency_begins_no_day(run, clock):
    run = run.stop(to_midnight_s(clock) + DAY_S)
    run.mark(90)
    assert figures(run.say(BTC=1, USDT=900))[:3] == (990, 0, 0)
    run = run.stop(DAY_S, currency="EUR")
    run.mark("0.5", market="USDT/EUR")
    run.mark(40, market="BTC/EUR")
    assert figures(run.say(BTC=1, USDT=900)) == (490, 0, 0, 0)


def test_the_reporting_currency_of_the_run_before_is_kept_where_none_is_set(empty_run, clock):
    run = empty_run(None)
    run.mark(100, market="BTC/EUR")
    run.mark("0.1", market="ETH/BTC")
    run.say(BTC=1, ETH=10, EUR=0)
    clock.pass_s(10)
    run.fill("buy", 1, "0.1", market="ETH/BTC")
    run = run.stop()
    run.mark(50, market="BTC/EUR")
    run.mark("0.1", market="ETH/BTC")
    snapshot = run.say(BTC="0.9", ETH=11, EUR=0)
    assert (snapshot.currency, snapshot.equity.value, snapshot.daily_pnl) == ("EUR", 100, -100)


def test_the_first_price_after_a_short_stop_waits_if_it_is_far_from_the_last(run):
    run = run.stop(5)
    run.say(BTC=1, USDT=900)
    assert run.mark(60).equity.stale == ("BTC: no price in USDT",)
    assert figures(run.mark(100)) == QUIET


def test_an_order_that_filled_without_a_price_is_kept(run, clock):
    clock.pass_s(10)
    run.report("buy", 1, None)
    run = run.kill(5)
    run.mark(100)
    assert "neither trades nor a price" in run.say(BTC=1, USDT=900).incomplete[0]


def test_orders_of_before_the_first_balances_told_by_reports_alone_are_no_flow_after_a_kill(run, clock):
    clock.pass_s(20)
    run.report("buy", 4, 100, ago=3600)
    assert figures(run.report("sell", 4, 50, order="8", ago=3500)) == QUIET
    run = run.kill(5)
    run.mark(100)
    assert figures(run.say(BTC=1, USDT=900)) == QUIET


def test_a_report_of_an_account_whose_key_has_changed_keeps_nobody_waiting(run, clock):
    clock.pass_s(10)
    run.report("buy", 1, 100)
    run = run.kill(5)
    run.mark(100)
    assert figures(run.say(account="new", BTC=2, USDT=800)) == QUIET


def test_a_coin_that_counts_after_another_flow_was_judged_is_judged_with_it(run):
    run = run.stop()
    run.mark(100)
    run.say(BTC=1, USDT=900, ETH=50)
    run = run.stop()
    run.mark(100)
    assert figures(run.say(BTC=1, USDT=400, ETH=10)) == (500, 0, 0, 0)
    assert figures(run.mark(10, market="ETH/USDT")) == (600, 0, 0, 0)


def test_rates_of_a_run_in_another_currency_doubt_no_price(run):
    run = run.stop(5, currency="EUR")
    run.mark("0.5", market="USDT/EUR")
    run.mark(40, market="BTC/EUR")
    assert figures(run.say(BTC=1, USDT=900)) == (490, 0, 0, 0)


def test_a_last_trade_by_a_venues_clock_that_is_ahead_is_counted_once_by_the_next_run(run, clock):
    clock.pass_s(60)
    run.fill("buy", 1, 100, ago=-4)
    run = run.kill(1)
    run.mark(99)
    snapshot = run.say(BTC=2, USDT=800)
    assert ([position.amount for position in snapshot.positions], snapshot.equity.value) == ([2], 998)
    assert (snapshot.daily_pnl, snapshot.incomplete) == (-2, ())
