"""What an account held before its first fill."""

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from fills import SECOND, START_NS, fill, histories, new, position
from tradewatch.model import Balances, Fill, Mark, Money
from tradewatch.portfolio import Portfolio, Total


def held(clock, portfolio, *totals, at=0, took=1):
    money = tuple(Money(Decimal(amount), currency) for amount, currency in totals)
    ns = START_NS + int(at * SECOND)
    return portfolio.balances(Balances("main", money, ns, ns + int(took * SECOND)))


def test_an_opening_is_costed_at_the_first_mark_and_said_to_be(clock):
    portfolio = Portfolio(clock, "USDT")
    held(clock, portfolio, ("2", "BTC"), ("1000", "USDT"))
    portfolio.fill(fill("sell", 1, 120, at=5))
    snapshot = portfolio.snapshot()
    p = position(snapshot)
    assert (p.amount, p.cost_from, p.cost, p.average, p.realized, p.unrealized) == (1, None, None, None, None, None)
    assert snapshot.realized == (Total("main", "USDT", None),)
    assert snapshot.incomplete == ("main BTC/USDT: what it held before its first fill has no known cost",)
    portfolio.mark(Mark("BTC/USDT", Decimal(100), START_NS, "mid"))
    portfolio.mark(Mark("BTC/USDT", Decimal(104), START_NS + 1, "mid"))
    snapshot = portfolio.snapshot()
    p = position(snapshot)
    assert (p.amount, p.cost_from, p.average, p.realized, p.unrealized) == (1, "mark", 100, 20, 4)
    assert snapshot.incomplete == ()


def test_a_position_opened_after_the_opening_was_sold_is_costed_by_fills(clock):
    portfolio = Portfolio(clock, "USDT")
    held(clock, portfolio, ("1", "BTC"))
    portfolio.fill(fill("sell", 1, 120, at=5))
    portfolio.fill(fill("buy", 1, 110, at=6, trade="2"))
    p = position(portfolio.snapshot())
    assert (p.cost_from, p.average, p.realized) == ("fills", 110, None)


@settings(max_examples=200, deadline=None)
@given(histories(longest=8), st.integers(0, 6), st.randoms(use_true_random=False))
def test_the_opening_is_the_balance_less_the_fills_before_it_in_any_order(clock_class, fills, at, random):
    def run(inputs):
        clock = clock_class()
        portfolio = new(clock)
        for given_ in inputs:
            if isinstance(given_, Fill):
                portfolio.fill(given_)
            else:
                held(clock, portfolio, ("5", "BTC"), ("7", "BNB"), ("1000", "USDT"), at=at)
        return portfolio.snapshot()

    inputs = [*sorted(fills, key=lambda f: (f.venue_ns, int(f.trade_id))), None]
    expected = run(inputs)
    random.shuffle(inputs)
    assert run(inputs) == expected
    for symbol in ("BTC/USDT", "BNB/USDT"):
        base = symbol.split("/")[0]
        if all(m.currency != base or f.market == symbol for f in fills for m in f.fees):
            later = [f for f in fills if f.venue_ns > START_NS + at * SECOND and f.market == symbol]
            change = sum(
                (f.amount if f.side == "buy" else -f.amount) - sum(m.amount for m in f.fees if m.currency == base)
                for f in later
            )
            assert position(expected, symbol).amount == Decimal(5 if base == "BTC" else 7) + change


def test_one_market_alone_opens_with_what_was_held(clock):
    portfolio = Portfolio(clock, "EUR")
    for symbol, price in (("BTC/USDT", "50000"), ("BTC/EUR", "45000")):
        portfolio.mark(Mark(symbol, Decimal(price), START_NS, "mid"))
        if symbol == "BTC/USDT":
            held(clock, portfolio, ("2", "BTC"))
            assert [p.symbol for p in portfolio.snapshot().positions] == ["BTC/USDT"]
    assert [(p.symbol, p.amount, p.cost) for p in portfolio.snapshot().positions if p.amount] == [
        ("BTC/EUR", 2, 90_000)
    ]


def test_balances_first_seen_after_fills_were_folded_open_at_the_end(clock):
    portfolio = new(clock)
    for n in range(100):
        portfolio.fill(fill("buy", 1, 40_000, at=n * 86_400 / 4 - 25 * 86_400, trade=str(n)))
    held(clock, portfolio, ("150", "BTC"))
    p = position(portfolio.snapshot())
    assert (p.amount, p.realized, p.cost) == (150, 0, 100 * 40_000 + 50 * 50_000)


def test_a_correction_before_the_balances_leaves_the_amount_as_the_venue_said(clock):
    portfolio = new(clock)
    held(clock, portfolio, ("10", "BTC"), at=-25 * 86_400)
    for n in range(100):
        portfolio.fill(fill("buy", 1, 50_000, at=n * 86_400 / 4 - 25 * 86_400 + 5, trade=str(n)))
    portfolio.fill(fill("buy", 4, 40_000, at=-30 * 86_400, trade="late"))
    snapshot = portfolio.snapshot()
    p = position(snapshot)
    # Four of the ten had been bought at 40,000, not held at the first mark of 50,000.
    assert (p.amount, p.realized + p.unrealized) == (110, 40_000)
    assert snapshot.corrections_total == 1
