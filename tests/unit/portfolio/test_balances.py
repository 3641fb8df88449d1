"""Balances after the first: what they say of the books, and of fills around them."""

from decimal import Decimal

import pytest

from fills import SECOND, START_NS, balances, equity, fill, mark
from tradewatch.portfolio import Portfolio


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
