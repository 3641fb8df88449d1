"""One book under any sequence of entries put in, taken out and read."""

from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tradewatch.portfolio.average_cost import FLAT, booked
from tradewatch.portfolio.book import Book
from tradewatch.portfolio.entries import Entry, key_of
from tradewatch.portfolio.market import market_of


def entry(at, n):
    base = Decimal(n % 7 - 3) or Decimal(1)
    return Entry(key_of(at, "o", str(n)), at, base, -base * (100 + n % 11), (), "trade")


@settings(max_examples=100, deadline=None)
@example(33, ["take last", "read", *["put last"] * 36, "take last"])
@given(st.integers(28, 70), st.lists(st.sampled_from(["read", "take", "take last", "put", "put last"]), max_size=30))
def test_reading_equals_booking_what_is_in_the_book_from_the_start(count, steps):
    book = Book("main", market_of("BTC/USDT"))
    inside = [entry(n * 10, n) for n in range(count)]
    for e in inside:
        book.add(e)
    for n, step in enumerate(steps, start=count):
        if step == "read":
            book.holding()
        elif step.startswith("take") and inside:
            book.remove(inside.pop(-1 if step == "take last" else n * 7 % len(inside)).key)
        elif step.startswith("put"):
            inside.append(entry((n if step == "put last" else n * 13 % count) * 10, n))
            book.add(inside[-1])
            inside.sort(key=lambda e: e.key)
    expected = [FLAT]
    for e in inside:
        expected.append(booked(expected[-1], e.base, e.cash))
    assert book.holding() == expected[-1]
    for at in (0, 15, 315, 320, 325, 10_000):
        assert book.holding_at(at) == expected[sum(e.key[0] <= at for e in inside)]


def test_what_is_not_in_the_book_cannot_be_taken_out():
    book = Book("main", market_of("BTC/USDT"))
    book.add(entry(1, 1))
    with pytest.raises(KeyError):
        book.remove(entry(1, 2).key)


@pytest.mark.parametrize(
    ("symbol", "currencies"),
    [
        ("BTC/USDT", ("BTC", "USDT")),
        ("BTC/USDT:USDT", ("BTC", "USDT")),
        ("BTC/USD:BTC-261225", ("BTC", "USD")),
        ("BTC/USD:USDC", ("BTC", "USD", "USDC")),
    ],
)
def test_a_symbol_names_its_currencies(symbol, currencies):
    assert market_of(symbol).currencies == currencies


@pytest.mark.parametrize("symbol", ["", "BTC", "/USDT", "BTC/", "A/B/C", "BTC/USDT:", "BTC/USDT:-261225"])
def test_what_is_no_unified_symbol_names_no_market(symbol):
    assert market_of(symbol) is None
