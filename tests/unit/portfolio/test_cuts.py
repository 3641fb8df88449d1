"""What flows do to what ratios are measured against, and how amounts tell which fills were in balances."""

from decimal import Decimal

import pytest

from tradewatch.portfolio.cuts import residuals
from tradewatch.portfolio.flows import scaled


def number(text):
    return Decimal(text)


@pytest.mark.parametrize(
    ("measure", "flow_was", "flow", "equity", "expected"),
    [
        ("1000", "0", "-500", "480", "489.795918367346938776"),
        ("1000", "0", "5000", "5980", "6102.040816326530612245"),
        ("489.795918367346938776", "-500", "0", "480", "1000"),
        ("100", "0", "1000", "1000", "1000"),
        ("100", "0", "1100", "1000", "1000"),
        ("1000", "1000", "900", "1000", "1000"),
        ("1000", "0", "-500", "0", "0"),
    ],
)
def test_a_measure_goes_with_equity_after_by_equity_before_or_begins_anew(measure, flow_was, flow, equity, expected):
    found = scaled(number(measure), number(flow_was), number(flow), number(equity))
    assert abs(found - number(expected)) <= Decimal("3e-18")


@pytest.mark.parametrize("noise", ["1e-10", "-1e-10", "0"])
@pytest.mark.parametrize(
    ("shift", "explains"), [("7", False), ("8", True), ("8.5", False), ("9", True), ("10", True), ("11", False)]
)
def test_any_number_of_the_first_fills_may_be_in_a_snapshot_give_or_take_what_floats_make(noise, shift, explains):
    """It says 10 and the books 8: 2 bought at 5, and 1 sold at 6, of which any number of the first may be in it."""
    found = residuals(Decimal(10) + Decimal(noise), Decimal(8), [(5, Decimal(2)), (6, Decimal(-1)), (9, Decimal(7))], 6)
    assert found.last == Decimal(9) + Decimal(noise)
    assert [round(each) for each in found.each] == [8, 9, 10]
    assert found.is_explained_by(Decimal(shift)) == explains
