"""Arithmetic that no thread's decimal context touches."""

import decimal
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from tradewatch.portfolio import arithmetic

LARGEST = Decimal("9" * 30 + "." + "9" * 60)
LARGEST_COST = Decimal("9" * 60 + "." + "9" * 40)


def test_products_and_sums_of_the_largest_numbers_are_exact():
    squared = arithmetic.multiply(LARGEST, LARGEST)
    assert Fraction(squared) == Fraction(LARGEST) ** 2
    assert Fraction(arithmetic.multiply(LARGEST_COST, LARGEST)) == Fraction(LARGEST_COST) * Fraction(LARGEST)
    worth = Decimal("9" * 90 + "." + "9" * 40)
    assert Fraction(arithmetic.add(worth, squared)) == Fraction(worth) + Fraction(squared)


def test_rounding_is_half_even_at_forty_and_eighteen_places():
    assert arithmetic.shown(Decimal("0.5000000000000000005")) == Decimal("0.500000000000000000")
    assert arithmetic.shown(Decimal("0.5000000000000000015")) == Decimal("0.500000000000000002")
    assert arithmetic.kept(Decimal("1E-41") * 5) == 0
    assert arithmetic.kept(Decimal("1E-41") * 15) == Decimal("2E-40")


@given(st.decimals())
def test_what_is_bookable_is_finite_below_1e30_and_has_at_most_60_places(value):
    expected = value.is_finite() and value.adjusted() < 30 and value.as_tuple().exponent >= -60
    assert arithmetic.is_bookable(value) == expected


def test_text_has_no_exponent_and_no_empty_places():
    with decimal.localcontext(decimal.Context(prec=2, capitals=0, traps=[decimal.Inexact])):
        found = [arithmetic.plain(Decimal(text)) for text in ("1.500", "1E-7", "1E+3", "100", "0.000", "-12.3450")]
    assert found == ["1.5", "0.0000001", "1000", "100", "0", "-12.345"]
