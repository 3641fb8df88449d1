"""Orders that say what they have filled before their trades are seen."""

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from fills import SECOND, START_NS, amounts, booked, fill, new, position, prices
from tradewatch.model import Fill, OrderKey, OrderReport


def report(filled, *, average=None, cost=None, at=0, order="o", side="buy", market="BTC/USDT", status="filled"):
    number = lambda text: None if text is None else Decimal(text)  # noqa: E731
    ns = START_NS + int(at * SECOND)
    key = OrderKey("paper", "main", market, order, None)
    return OrderReport(
        key, side, "limit", status, None, None, number(filled), number(average), number(cost), ns, ns + 1
    )


@st.composite
def an_order(draw):
    side = draw(st.sampled_from(["buy", "sell"]))
    trades = [
        fill(side, draw(amounts), draw(prices), at=n, trade=str(n), order="x") for n in range(draw(st.integers(1, 5)))
    ]
    return side, trades


@settings(max_examples=200, deadline=None)
@given(an_order(), st.data())
def test_reports_then_trades_give_what_trades_alone_give(clock_class, order, data):
    side, trades = order
    before = fill("buy", 3, 100, at=-1, trade="0", order="before")
    arriving = list(trades)
    for n in range(1, len(trades) + 1):
        filled, cost = sum(t.amount for t in trades[:n]), sum(t.amount * t.price for t in trades[:n])
        told = data.draw(st.sampled_from([{"cost": cost}, {"average": cost / filled}, {}]))
        arriving.append(report(filled, at=n, order="x", side=side, **told))
    arriving = data.draw(st.permutations(arriving))
    portfolio = new(clock_class())
    for given_ in (before, *arriving):
        (portfolio.fill if isinstance(given_, Fill) else portfolio.report)(given_)
        if data.draw(st.booleans()):
            portfolio.snapshot()
    assert portfolio.snapshot() == booked(clock_class(), before, *trades)


def test_an_order_without_trades_is_booked_as_reported_and_said_to_be(clock):
    snapshot = booked(clock, report("2", cost="210", average="104"))
    p = position(snapshot)
    assert (p.amount, p.cost, snapshot.fills) == (2, 210, 0)
    assert snapshot.incomplete == (
        "main BTC/USDT order o is booked as reported, without fees, until the trades are seen",
    )


def test_what_trades_leave_over_is_priced_by_cost_less_known_cost(clock):
    p = position(booked(clock, fill("buy", 1, 100), report("3", cost="320", average="1")))
    assert (p.amount, p.cost) == (3, 320)
    p = position(booked(clock, fill("buy", 1, 100), report("3", average="110")))
    assert (p.amount, p.cost) == (3, 320)


def test_a_smaller_filled_seen_later_unbooks_nothing(clock):
    portfolio = new(clock)
    assert portfolio.report(report("2", cost="200"))
    before = portfolio.snapshot()
    assert not portfolio.report(report("1", cost="100", at=5, status="open"))
    assert not portfolio.report(report("0", at=6, status="cancelled"))
    assert not portfolio.report(report(None, at=7))
    assert not portfolio.report(report("NaN", at=8))
    assert portfolio.snapshot() == before


def test_a_fill_without_a_price_waits_and_is_said_to(clock):
    portfolio = new(clock)
    assert portfolio.report(report("2"))
    snapshot = portfolio.snapshot()
    assert [p.amount for p in snapshot.positions] == []
    assert snapshot.incomplete == (
        "main BTC/USDT order o is filled, but neither trades nor a price and side are known",
    )
    assert portfolio.report(report("2", average="100"))
    assert position(portfolio.snapshot()).cost == 200


def test_trades_of_an_order_folded_away_are_not_booked_beside_it(clock):
    portfolio = new(clock)
    portfolio.report(report("2", cost="200", at=-20 * 86_400, order="x"))
    for n in range(100):
        portfolio.fill(fill("buy", 1, 100, at=n - (19 * 86_400 if n < 40 else 0), trade=str(n)))
    assert not portfolio.fill(fill("buy", 2, 100, at=-20 * 86_400, trade="t", order="x"))
    snapshot = portfolio.snapshot()
    assert position(snapshot).amount == 102
    assert "1 fills or reports are too old to tell whether they had been booked" in snapshot.incomplete
