"""What a ticker says of a price, also where the one before said the same."""

from decimal import Decimal

import pytest

from tradewatch.instrumentation.ccxt import observe
from tradewatch.instrumentation.ccxt.observe import read_marks
from tradewatch.model import Mark

MARKET = "BTC/USDT"


@pytest.fixture(autouse=True)
def unread(monkeypatch):
    monkeypatch.setattr(observe, "_middles", {})


def read(bid, ask, last=None, at_ns=1):
    return read_marks(((MARKET, bid, ask, last),), at_ns, False).marks


def test_the_same_book_again_is_the_same_price_at_another_time():
    assert read(99.5, 100.5, at_ns=1) == (Mark(MARKET, Decimal(100), 1, "mid", False),)
    assert read(99.5, 100.5, at_ns=2) == (Mark(MARKET, Decimal(100), 2, "mid", False),)
    assert read(99.5, 100.25, at_ns=3) == (Mark(MARKET, Decimal("99.875"), 3, "mid", False),)
    assert read(99.5, 100.5, at_ns=4) == (Mark(MARKET, Decimal(100), 4, "mid", False),)


def test_a_book_that_was_none_is_none_again_and_the_last_trade_counts():
    for bid, ask in ((1.0, 110.0), (None, 100.0), (float("nan"), 100.0), (101.0, 100.0), (0.0, 0.0)):
        for at_ns in (1, 2):
            assert read(bid, ask, 100.0, at_ns) == (Mark(MARKET, Decimal(100), at_ns, "last", False),)
    assert read(None, None) == ()


def test_books_that_are_remembered_are_bounded(monkeypatch):
    monkeypatch.setattr(observe, "_MOST_MIDDLES", 3)
    for n in range(9):
        read_marks(((f"A{n}/USDT", 1.0, 1.1, None),), 1, False)
    read_marks(tuple((f"B{n}/USDT", 1.0, 1.1, None) for n in range(9)), 1, True)
    assert list(observe._middles) == ["A6/USDT", "A7/USDT", "A8/USDT"]
