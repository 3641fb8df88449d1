"""Decimal arithmetic that does not depend on the thread's context, which belongs to the bot.

`Decimal`'s operators read the calling thread's context: a bot that sets `getcontext().prec = 5` would round our books.
So sums and products go through `EXACT`, negation and magnitude through `copy_negate` and `copy_abs`, and operators are
used for comparisons alone, which no context touches.

Precision. `is_bookable` admits numbers below 1e30 with at most 60 decimal places (90 digits; a token amount has 33, a
float written out about 55). A product of two has at most 60 + 120 = 180 digits. A cost, rounded to 40 places, has at
most 60 + 40 = 100, and cost times amount 190. What a fee is worth, by two prices and rounded to 40 places, is below
1e90, so a sum of cash has at most 90 + 120 = 210. 256 digits hold each of them and 10^40 summands of it: sums and
products are exact. A quotient is rounded: 160 digits leave 60 guard digits below the 40 places that are kept of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, InvalidOperation, Overflow

_TRAPS = [InvalidOperation, DivisionByZero, Overflow]
EXACT = Context(
    prec=256, rounding=ROUND_HALF_EVEN, Emin=-99999, Emax=99999, capitals=1, clamp=0, flags=[], traps=_TRAPS
)
_QUOTIENT = Context(
    prec=160, rounding=ROUND_HALF_EVEN, Emin=-99999, Emax=99999, capitals=1, clamp=0, flags=[], traps=_TRAPS
)

ZERO = Decimal(0)
ONE = Decimal(1)
_PLACES_KEPT = Decimal((0, (1,), -40))
_PLACES_SHOWN = Decimal((0, (1,), -18))
_LARGEST_POWER = 30
_SMALLEST_EXPONENT = -60

add = EXACT.add
subtract = EXACT.subtract
multiply = EXACT.multiply


def divide(dividend: Decimal, divisor: Decimal) -> Decimal:
    """The quotient to 160 digits.

    Raises:
        decimal.DivisionByZero: `divisor` is zero.
    """
    return _QUOTIENT.divide(dividend, divisor)


def kept(value: Decimal) -> Decimal:
    """`value` to 40 decimal places, half-even: what a cost is rounded to at an increase."""
    return EXACT.quantize(value, _PLACES_KEPT)


def shown(value: Decimal) -> Decimal:
    """`value` to 18 decimal places, half-even: what leaves the books."""
    return EXACT.quantize(value, _PLACES_SHOWN)


def total(values: Iterable[Decimal]) -> Decimal:
    """The exact sum."""
    result = ZERO
    for value in values:
        result = add(result, value)
    return result


def is_bookable(value: Decimal) -> bool:
    """Whether `value` is finite and small and short enough to be booked exactly: below 1e30, at most 60 places."""
    if not value.is_finite():
        return False
    text = str(value)
    # Most are: the exponent of the others costs twice as much as all else here.
    if len(text) <= _LARGEST_POWER and "E" not in text and "e" not in text:
        return True
    exponent = value.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= _SMALLEST_EXPONENT and value.adjusted() < _LARGEST_POWER


def plain(value: Decimal) -> str:
    """`value` as text without an exponent and without trailing zeros."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
