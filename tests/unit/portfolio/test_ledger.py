"""Fills to positions, through the portfolio's snapshot, against an independent reference in exact fractions."""

import decimal
import itertools
from decimal import Decimal
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fills import START_NS, booked, fill, histories, new, position
from tradewatch.model import Money, OrderKey, OrderReport
from tradewatch.portfolio import Correction, FillCount, Total

LAST_PLACE = Fraction(1, 10**18)


def reference(fills, rates):
    """Average cost by the book, one fill at a time, longs and shorts written out: amount and realised by symbol."""
    held = {}
    realized = {}

    def sell(symbol, quantity, proceeds):
        amount, cost = held.get(symbol, (Fraction(0), Fraction(0)))
        if amount > 0:
            closing = min(quantity, amount)
            part = proceeds * closing / quantity
            gone = cost * closing / amount
            realized[symbol] = realized.get(symbol, Fraction(0)) + part - gone
            amount, cost = amount - closing, cost - gone
            quantity, proceeds = quantity - closing, proceeds - part
        if quantity:
            amount, cost = amount - quantity, cost + proceeds
        held[symbol] = (amount, cost)

    def buy(symbol, quantity, paid):
        amount, cost = held.get(symbol, (Fraction(0), Fraction(0)))
        if amount < 0:
            closing = min(quantity, -amount)
            part = paid * closing / quantity
            gone = cost * closing / -amount
            realized[symbol] = realized.get(symbol, Fraction(0)) + gone - part
            amount, cost = amount + closing, cost - gone
            quantity, paid = quantity - closing, paid - part
        if quantity:
            amount, cost = amount + quantity, cost + paid
        held[symbol] = (amount, cost)

    lines = []
    for f in fills:
        base, quote = f.market.split("/")
        f_b = sum((Fraction(m.amount) for m in f.fees if m.currency == base), Fraction(0))
        f_q = sum((Fraction(m.amount) for m in f.fees if m.currency == quote), Fraction(0))
        others = [m for m in f.fees if m.currency not in (base, quote)]
        f_q += sum((Fraction(m.amount) * Fraction(rates[m.currency]) for m in others), Fraction(0))
        q, p = Fraction(f.amount), Fraction(f.price)
        line = (buy, f.market, q - f_b, q * p + f_q) if f.side == "buy" else (sell, f.market, q + f_b, q * p - f_q)
        lines.append(((f.venue_ns, 0, int(f.trade_id), ""), line))
        # Ids of two markets do not compare: a fee from another market follows this one's trades of the same instant.
        for m in others:
            worth = Fraction(m.amount) * Fraction(rates[m.currency])
            line = (None, f"{m.currency}/{quote}", Fraction(m.amount), worth)
            lines.append(((f.venue_ns, 1, f.order_id, f"{f.market} {f.trade_id}"), line))
    for _, (book, symbol, quantity, cash) in sorted(lines, key=lambda found: found[0]):
        if book is not None:
            book(symbol, quantity, cash)
            continue
        spent = min(quantity, held.get(symbol, (Fraction(0),))[0])
        if spent > 0:
            sell(symbol, spent, cash * spent / quantity)
    return {symbol: (amount, realized.get(symbol, Fraction(0))) for symbol, (amount, _) in held.items()}


@settings(max_examples=300, deadline=None)
@given(histories())
def test_the_ledger_equals_average_cost_in_exact_fractions(clock_class, fills):
    snapshot = booked(clock_class(), *fills)
    expected = reference(fills, {"BNB": 600, "BTC": 50000})
    found = {p.symbol: p for p in snapshot.positions}
    assert found.keys() == {f.market for f in fills}
    for symbol, reading in found.items():
        amount, realized = expected[symbol]
        assert Fraction(reading.amount) == amount
        assert abs(Fraction(reading.realized) - realized) <= LAST_PLACE


@settings(max_examples=200, deadline=None)
@given(histories(), st.randoms(use_true_random=False), st.data())
def test_any_order_of_arrival_gives_what_the_venues_order_gives(clock_class, fills, random, data):
    ordered = sorted(fills, key=lambda f: (f.venue_ns, int(f.trade_id)))
    expected = booked(clock_class(), *ordered)
    shuffled = list(fills)
    random.shuffle(shuffled)
    portfolio = new(clock_class())
    for arriving in shuffled:
        assert portfolio.fill(arriving)
        if data.draw(st.booleans()):
            portfolio.snapshot()
    assert portfolio.snapshot() == expected


@settings(max_examples=25, deadline=None)
@given(st.integers(70, 200), st.randoms(use_true_random=False))
def test_late_fills_among_many_give_what_the_venues_order_gives(clock_class, count, random):
    fills = [
        fill(random.choice(["buy", "sell"]), random.randint(1, 99), random.randint(1, 99), at=n // 2, trade=str(n))
        for n in range(count)
    ]
    late = random.sample(fills, 5)
    portfolio = new(clock_class())
    for arriving in [f for f in fills if f not in late] + late:
        portfolio.fill(arriving)
        if random.random() < 0.2:
            portfolio.snapshot()
    assert portfolio.snapshot() == booked(clock_class(), *fills)


@settings(max_examples=100, deadline=None)
@given(histories(), st.lists(st.integers(0, 11), max_size=8))
def test_a_repeated_fill_changes_nothing(clock_class, fills, again):
    portfolio = new(clock_class())
    for f in fills:
        portfolio.fill(f)
    expected = portfolio.snapshot()
    for n in again:
        assert not portfolio.fill(fills[n % len(fills)])
    assert portfolio.snapshot() == expected


def test_a_fill_is_another_where_account_market_order_or_trade_id_is_another(clock):
    first = fill("buy", 1, 100)
    others = [
        msgspec.structs.replace(first, **{field: value})
        for field, value in (("account", "b"), ("market", "ETH/USDT"), ("order_id", "p"), ("trade_id", "2"))
    ]
    portfolio = new(clock)
    assert [portfolio.fill(f) for f in (first, *others, first)] == [True] * 5 + [False]
    assert portfolio.snapshot().fills == 5


@settings(max_examples=200, deadline=None)
@given(histories(fee_currencies=("USDT",)), st.data())
def test_splitting_a_fill_changes_nothing_in_the_realised_result(clock_class, fills, data):
    fills = [msgspec.structs.replace(f, trade_id=f"{f.trade_id}0") for f in fills]
    split = []
    for f in fills:
        whole = int(f.amount.scaleb(8))
        if whole < 2 or data.draw(st.booleans()):
            split.append(f)
            continue
        first = Decimal(data.draw(st.integers(1, whole - 1))).scaleb(-8)
        fee_1 = tuple(Money(m.amount * first / f.amount, m.currency) for m in f.fees)
        fee_2 = tuple(Money(m.amount - p.amount, m.currency) for m, p in zip(f.fees, fee_1, strict=True))
        split.append(msgspec.structs.replace(f, amount=first, fees=fee_1))
        split.append(msgspec.structs.replace(f, amount=f.amount - first, fees=fee_2, trade_id=f"{f.trade_id[:-1]}5"))
    one, other = booked(clock_class(), *fills), booked(clock_class(), *split)
    for a, b in zip(one.positions, other.positions, strict=True):
        assert a.amount == b.amount
        # The fee divides into 28 digits here, so where a split fill goes through zero its parts differ by as little.
        assert abs(a.realized - b.realized) <= Decimal("1e-16")


@settings(max_examples=200, deadline=None)
@given(histories(fee_currencies=("USDT",)).map(lambda fs: [msgspec.structs.replace(f, fees=()) for f in fs]), st.data())
def test_splitting_a_fill_without_fees_gives_the_same_last_digit(clock_class, fills, data):
    split = []
    for f in fills:
        whole = int(f.amount.scaleb(8))
        cuts = sorted(data.draw(st.sets(st.integers(1, whole - 1), max_size=3))) if whole > 1 else []
        bounds = [0, *cuts, whole]
        for n, (low, high) in enumerate(itertools.pairwise(bounds)):
            part = Decimal(high - low).scaleb(-8)
            split.append(msgspec.structs.replace(f, amount=part, trade_id=f"{f.trade_id}0{n}"))
    one = booked(clock_class(), *[msgspec.structs.replace(f, trade_id=f"{f.trade_id}00") for f in fills])
    other = booked(clock_class(), *split)
    assert one.realized == other.realized


@settings(max_examples=200, deadline=None)
@given(histories(fee_currencies=("USDT",)))
def test_a_short_mirrors_a_long(clock_class, fills):
    turned = [
        msgspec.structs.replace(
            f,
            side="sell" if f.side == "buy" else "buy",
            fees=tuple(Money(-m.amount, m.currency) for m in f.fees),
        )
        for f in fills
    ]
    straight, mirrored = booked(clock_class(), *fills), booked(clock_class(), *turned)
    for a, b in zip(straight.positions, mirrored.positions, strict=True):
        assert (a.amount, a.realized, a.unrealized) == (-b.amount, -b.realized, -b.unrealized)
        assert (a.cost, a.quantity, a.average) == (b.cost, b.quantity, b.average)


@settings(max_examples=150, deadline=None)
@given(histories())
def test_the_bots_decimal_context_changes_nothing(clock_class, fills):
    expected = booked(clock_class(), *fills)
    hostile = decimal.Context(
        prec=5, rounding=decimal.ROUND_UP, Emin=-2, Emax=2, capitals=0, traps=[decimal.Inexact, decimal.Rounded]
    )
    hostile.traps[decimal.FloatOperation] = True
    clock = clock_class()
    with decimal.localcontext(hostile):
        found = booked(clock, *fills)
    assert found == expected


def test_a_sell_and_its_fees_by_hand(clock):
    snapshot = booked(
        clock,
        fill("buy", "2", "100", 1, trade="1", fees=[("0.5", "USDT"), ("0.002", "BTC")]),
        fill("sell", "0.5", "130", 2, trade="2", fees=[("0.1", "USDT")]),
    )
    p = position(snapshot)
    assert p.amount == Decimal("1.498")
    assert (p.cost, p.quantity) == (Decimal("200.5"), Decimal("1.998"))
    # 64.9 - 200.5 * 0.5 / 1.998
    assert p.realized == Decimal("14.724824824824824825")
    assert snapshot.realized == (Total("main", "USDT", Decimal("14.724824824824824825")),)
    assert snapshot.fees == (Total("main", "BTC", Decimal("0.002")), Total("main", "USDT", Decimal("0.6")))
    assert snapshot.counts == (FillCount("main", "BTC/USDT", "buy", 1), FillCount("main", "BTC/USDT", "sell", 1))
    assert snapshot.incomplete == ()


def test_a_fill_through_zero_closes_then_opens_with_fees_by_quantity(clock):
    p = position(booked(clock, fill("buy", 1, 100, 1), fill("sell", 4, 110, 2, trade="2", fees=[("2", "USDT")])))
    assert (p.amount, p.realized) == (-3, Decimal("9.5"))
    assert (p.cost, p.quantity, p.average) == (Decimal("328.5"), 3, Decimal("109.5"))


def test_trade_ids_within_one_instant_are_ordered_as_numbers(clock):
    # By text '10' would be before '9', and the sell a short from flat.
    fills = [fill("sell", 1, 150, trade="10"), fill("buy", 1, 100, trade="9"), fill("buy", 1, 200, trade="11")]
    for arrival in (fills, fills[::-1]):
        p = position(booked(clock, *arrival))
        assert (p.realized, p.average) == (50, 200)


def test_trade_ids_that_are_not_numbers_are_ordered_by_order_then_trade(clock):
    fills = [fill("sell", 1, 150, trade="a", order="2"), fill("buy", 1, 100, trade="z", order="1")]
    for arrival in (fills, fills[::-1]):
        p = position(booked(clock, *arrival))
        assert (p.realized, p.amount) == (50, 0)
    assert p.average is None


def test_a_week_late_is_exact_and_more_is_a_correction(clock):
    week = 7 * 86_400
    newest = [fill("buy", 1, 100, at=0, trade="5"), fill("sell", 1, 150, at=1, trade="6")]
    exact = fill("buy", 1, 50, at=1 - week, trade="1")
    assert position(booked(clock, *newest, exact)) == position(booked(clock, exact, *newest))
    late = msgspec.structs.replace(exact, venue_ns=exact.venue_ns - 1)
    snapshot = booked(clock, *newest, late)
    assert snapshot.corrections == (Correction("main", "BTC/USDT", "o", "1", late.venue_ns),)
    assert snapshot.incomplete == (
        "1 fills came more than 7 days, or 50,000 fills of their market, late and were booked as corrections",
    )
    assert (position(snapshot).realized, position(snapshot).average) == (50, 50)
    between = fill("buy", 1, 80, at=-1, trade="4")
    again = position(booked(clock, *newest, late, between))
    # 150 less the average of 80 and 100; then one at 90 left and the correction after it at 50
    assert (again.realized, again.amount, again.average) == (60, 2, 70)


def test_fills_older_than_a_week_are_folded_away_and_still_known(clock):
    fills = [
        fill("buy" if n % 3 else "sell", 1 + n % 7, 100 + n % 13, at=n * 3600 - 30 * 86_400, trade=str(n))
        for n in range(720)
    ]
    portfolio = new(clock)
    for f in fills:
        assert portfolio.fill(f)
    before = portfolio.snapshot()
    expected = reference(fills, {})["BTC/USDT"]
    assert Fraction(position(before).amount) == expected[0]
    assert abs(Fraction(position(before).realized) - expected[1]) <= LAST_PLACE
    assert not any(portfolio.fill(f) for f in fills)
    assert portfolio.snapshot() == before
    [book] = [b for b in portfolio._ledger.books.values() if b.is_used]
    assert len(book._entries) < 7 * 24 + 64


def test_memory_is_bounded_in_a_busy_week(clock, monkeypatch):
    monkeypatch.setattr("tradewatch.portfolio.book.KEPT_FILLS", 100)
    monkeypatch.setattr("tradewatch.portfolio.book.REMEMBERED_IDENTITIES", 50)
    monkeypatch.setattr("tradewatch.portfolio.orders.REMEMBERED_ORDERS", 200)
    fills = [fill("buy", 1, 100, at=n, trade=str(n), order=f"o{n}") for n in range(1000)]
    portfolio = new(clock)
    for f in fills:
        portfolio.fill(f)
    book = portfolio._ledger.books[("main", "BTC/USDT")]
    assert 100 <= len(book._entries) < 100 + 3 * 32
    assert len(book._entries) + 50 <= len(book._known) < len(book._entries) + 50 + 32
    orders = portfolio._ledger._orders[("main", "BTC/USDT")]
    assert 200 <= len(orders._at_hand) + len(orders._written) < 200 + 32
    assert not portfolio.fill(fills[0])
    key = OrderKey("paper", "main", "BTC/USDT", "o0", None)
    one, price = Decimal(1), Decimal(100)
    assert not portfolio.report(
        OrderReport(key, "buy", "limit", "filled", one, price, one, price, price, START_NS, START_NS)
    )
    snapshot = portfolio.snapshot()
    assert position(snapshot).amount == 1000
    assert snapshot.incomplete == ("2 fills or reports are too old to tell whether they had been booked",)


@pytest.mark.parametrize(
    "bad",
    [
        fill("buy", "0", "1"),
        fill("buy", "-1", "1"),
        fill("buy", "NaN", "1"),
        fill("buy", "sNaN", "1"),
        fill("buy", "Infinity", "1"),
        fill("buy", "1", "-1"),
        fill("buy", "1", "NaN"),
        fill("buy", "1e30", "1"),
        fill("buy", "1e-61", "1"),
        fill("buy", "1", "1", fees=[("NaN", "USDT")]),
        fill("buy", "1", "1", market="BTCUSDT"),
        fill("buy", "1", "1", at=2 * 86_400),
        msgspec.structs.replace(fill("buy", "1", "1"), source="provisional"),
        fill("BUY", "1", "1"),
    ],
)
def test_what_is_no_fill_is_refused_and_counted(clock, bad):
    portfolio = new(clock)
    assert not portfolio.fill(bad)
    snapshot = portfolio.snapshot()
    assert (snapshot.refused_fills, snapshot.fills, snapshot.positions) == (1, 0, ())
    assert snapshot.incomplete == ("1 fills or reports could not be booked: no market, number or time to book",)


def test_the_largest_and_finest_numbers_are_booked_exactly(clock):
    large, fine = Decimal("9" * 30 + "." + "9" * 60), Decimal("1e-60")
    snapshot = booked(
        clock,
        fill("buy", large, large, 1),
        fill("sell", fine, fine, 2, trade="2", fees=[(fine, "USDT")]),
        fill("sell", large, large, 3, trade="3"),
        fill("buy", fine, fine, 4, trade="4"),
    )
    assert (position(snapshot).amount, position(snapshot).realized) == (0, 0)
