"""Contracts in equity."""

from decimal import Decimal

from fills import balances, equity, fill, mark
from tradewatch.model import Mark
from tradewatch.portfolio import Portfolio


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


def test_what_is_not_read_of_contracts_is_said(clock):
    portfolio = Portfolio(clock)
    portfolio.fill(fill("buy", 2, 100, 0, market="BTC/USDT"))
    assert portfolio.snapshot().incomplete == ()
    for symbol in ("BTC/USDT:USDT", "ETH/USDT:USDT"):
        portfolio.fill(fill("buy", 2, 100, 1, market=symbol))
    assert portfolio.snapshot().incomplete == (
        "main: nobody reads what contracts pay for funding, nor what comes and goes of USDT: equity and the day's loss "
        "leave it out",
    )


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


def test_a_contracts_price_far_from_the_last_is_doubted_too(clock):
    clock.pass_s(50)
    portfolio = Portfolio(clock)
    mark(portfolio, clock, 100, "BTC/USDT:USDT")
    portfolio.balances(balances(0, USDT="1000"))
    portfolio.fill(fill("buy", 2, 100, 20, market="BTC/USDT:USDT"))
    assert equity(portfolio) == (1_000, ())
    portfolio.mark(Mark("BTC/USDT:USDT", Decimal(80), clock.now_ns(), "mid"))
    assert equity(portfolio) == (1_000, ("BTC/USDT:USDT: a price far from the last one waits for a second",))
