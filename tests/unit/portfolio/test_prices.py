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
    assert prices.mark(Mark("BTC/USDT", Decimal(25_000), clock.now_ns() - 3600 * 10**9, "mid"))
    assert prices.last("BTC/USDT").value == 25_000


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
