"""The last price of each market, and the rates made of them."""

from decimal import Decimal

import pytest

from tradewatch.model import Mark
from tradewatch.portfolio.prices import Prices

SECOND = 1_000_000_000


def priced(clock, **marks):
    prices = Prices(clock)
    for market, price in marks.items():
        assert prices.mark(Mark(market.replace("_", "/"), Decimal(price), clock.now_ns(), "mid"))
    return prices


def test_a_currency_is_worth_one_of_itself_without_any_mark(clock):
    assert Prices(clock).rate("USDT", "USDT").value == 1


def test_a_rate_is_the_market_or_its_inverse_or_two_legs(clock):
    prices = priced(clock, BTC_USDT="50000", EUR_USDT="1.25", ETH_BTC="0.04")
    assert prices.rate("BTC", "USDT").value == 50_000
    assert prices.rate("USDT", "EUR").value == Decimal("0.8")
    assert prices.rate("ETH", "USDT").value == 2_000
    assert prices.rate("BTC", "EUR").value == 40_000
    assert prices.rate("ETH", "EUR") is None
    assert prices.rate("XRP", "USDT") is None


def test_a_price_is_stale_after_a_minute_and_a_cross_rate_with_its_older_leg(clock):
    prices = priced(clock, ETH_BTC="0.04")
    clock.pass_s(30)
    prices.mark(Mark("BTC/USDT", Decimal(50_000), clock.now_ns(), "mid"))
    clock.pass_s(30)
    rate = prices.rate("ETH", "USDT")
    assert (rate.age_ns, rate.is_stale) == (60 * SECOND, False)
    clock.pass_s(0.001)
    assert prices.rate("ETH", "USDT").is_stale
    assert not prices.rate("BTC", "USDT").is_stale


def test_a_fresh_detour_is_better_than_a_stale_market(clock):
    prices = priced(clock, ETH_USDT="1900")
    clock.pass_s(61)
    assert prices.rate("ETH", "USDT").value == 1_900
    for market, price in (("ETH/BTC", "0.04"), ("BTC/USDT", "50000")):
        prices.mark(Mark(market, Decimal(price), clock.now_ns(), "mid"))
    rate = prices.rate("ETH", "USDT")
    assert (rate.value, rate.is_stale) == (2_000, False)


def test_a_step_of_the_wall_clock_makes_no_price_stale_or_fresh(clock):
    prices = priced(clock, BTC_USDT="50000")
    clock.step_s(3600)
    assert not prices.last("BTC/USDT").is_stale
    clock.step_s(-7200)
    clock.pass_s(61)
    assert prices.last("BTC/USDT").is_stale


def test_a_mark_that_arrives_old_is_as_old_as_it_is(clock):
    prices = Prices(clock)
    prices.mark(Mark("BTC/USDT", Decimal(1), clock.now_ns() - 61 * SECOND, "mid"))
    assert prices.last("BTC/USDT").is_stale


@pytest.mark.parametrize("price", ["0", "-0", "-1", "NaN", "sNaN", "Infinity", "-Infinity", "1e40", "1e-31"])
def test_what_is_no_price_is_refused_and_counted(clock, price):
    prices = priced(clock, BTC_USDT="50000")
    assert not prices.mark(Mark("BTC/USDT", Decimal(price), clock.now_ns(), "mid"))
    assert prices.refused == 1
    assert prices.last("BTC/USDT").value == 50_000


def test_marks_count_as_they_come_also_when_the_wall_clock_was_set_back(clock):
    prices = priced(clock, BTC_USDT="50000")
    assert prices.mark(Mark("BTC/USDT", Decimal(49_000), clock.now_ns() - 3600 * 10**9, "mid"))
    assert prices.last("BTC/USDT").value == 49_000


def seen(prices, price, at_ns):
    """What is known after a price was seen: its value, and whether it is doubted."""
    prices.mark(Mark("BTC/USDT", Decimal(price), at_ns, "mid"))
    last = prices.last("BTC/USDT")
    return int(last.value), last.is_doubted


def test_one_price_far_from_the_last_waits_for_a_second(clock):
    prices, now = priced(clock, BTC_USDT="50000"), clock.now_ns()
    assert seen(prices, 47_500, now) == (47_500, False), "5 % is near"
    assert seen(prices, "45124.9", now + 1) == (47_500, True), "more than that is far"
    assert seen(prices, 45_125, now + 2) == (45_125, False)
    assert seen(prices, 5_000, now + 3) == (45_125, True)
    assert seen(prices, 47_300, now + 4) == (47_300, False), "a false tick leaves no trace"
    assert seen(prices, 5_000, now + 5) == (47_300, True)
    assert seen(prices, 90_000, now + 6) == (47_300, True), "nor do two that have nothing to do with each other"
    assert seen(prices, 91_000, now + 7) == (91_000, False)


def test_a_fall_or_a_rise_in_steps_that_are_far_from_each_other_counts_one_step_late(clock):
    prices, now = priced(clock, BTC_USDT="100"), clock.now_ns()
    known = [seen(prices, price, now + at) for at, price in enumerate((94, 88, 82, 50, "81.9"))]
    assert known == [(100, True), (94, True), (88, True), (82, True), (81, False)]
    known = [seen(prices, price, now + 10 + at) for at, price in enumerate((90, 99, 98))]
    assert known == [(81, True), (90, True), (98, False)]
    assert seen(prices, 120, now + 20) == (98, True)
    assert seen(prices, 104, now + 21) == (104, True), "the nearer counts, also where it came second"
    assert seen(prices, "120.1", now + 22) == (120, False), "the other one waited on"


def test_the_same_answer_again_is_no_second_price(clock):
    prices, now = priced(clock, BTC_USDT="50000"), clock.now_ns()
    for _ in range(3):
        assert seen(prices, 40_000, now) == (50_000, True)
    assert seen(prices, 40_000, now + 1) == (40_000, False)


def test_a_price_of_ten_minutes_ago_says_nothing_of_the_next(clock):
    prices = priced(clock, BTC_USDT="50000")
    clock.pass_s(599.9)
    assert seen(prices, 30_000, clock.now_ns()) == (50_000, True)
    clock.pass_s(0.1)
    assert seen(prices, 10_000, clock.now_ns()) == (10_000, False)


def test_a_first_price_is_measured_against_that_of_the_run_before_which_values_nothing(clock):
    prices = Prices(clock)
    prices.doubt_by("BTC/USDT", Decimal(50_000), clock.now_ns() - 599 * SECOND)
    first = [Mark("BTC/USDT", Decimal(price), clock.now_ns() + at, "mid") for at, price in enumerate((5, 49_000))]
    prices.mark(first[0])
    assert (prices.rate("BTC", "USDT"), prices.first("BTC/USDT")) == (None, None)
    prices.mark(first[1])
    assert (prices.last("BTC/USDT").value, prices.first("BTC/USDT")) == (49_000, 49_000)
    other = Prices(clock)
    other.doubt_by("BTC/USDT", Decimal(50_000), clock.now_ns() - 600 * SECOND)
    other.mark(first[0])
    assert other.last("BTC/USDT").value == 5, "ten minutes are too long"


def test_a_doubted_price_is_doubted_in_every_rate_made_of_it(clock):
    prices = priced(clock, BTC_USDT="50000", ETH_BTC="0.1")
    prices.mark(Mark("BTC/USDT", Decimal(10), clock.now_ns(), "mid"))
    assert prices.rate("BTC", "USDT").is_doubted
    assert prices.rate("USDT", "BTC").is_doubted
    assert prices.rate("ETH", "USDT").is_doubted
    assert not prices.rate("ETH", "BTC").is_doubted


def test_a_mark_changes_something_if_the_price_moved_or_had_been_stale(clock):
    prices = priced(clock, BTC_USDT="50000")
    mark = lambda price: prices.mark(Mark("BTC/USDT", Decimal(price), clock.now_ns(), "mid"))  # noqa: E731
    assert not mark(50_000)
    assert mark(50_001)
    clock.pass_s(61)
    assert mark(50_001)
    assert not mark(50_001)


def test_a_contracts_price_values_no_currency(clock):
    prices = Prices(clock)
    assert prices.mark(Mark("BTC/USDT:USDT", Decimal(50_000), clock.now_ns(), "mid"))
    assert prices.rate("BTC", "USDT") is None
    assert prices.last("BTC/USDT:USDT").value == 50_000
