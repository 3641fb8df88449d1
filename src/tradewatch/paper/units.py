"""Amounts and prices as whole numbers of 10^-8, the finest step that Binance spot knows.

Whole numbers make every sum and product of the exchange exact, whatever decimal context the process runs under.
"""

from __future__ import annotations

import re

PLACES = 8
ONE = 100_000_000
_PLACES_OF_RATIO = 18

_DECIMAL = re.compile(r"([0-9]{1,20})(?:\.([0-9]{1,20}))?")


class TooPreciseError(ValueError):
    """The text is a number with more than eight decimal places."""


def parse(text: str) -> int:
    """A plain decimal such as `0.015` in units of 10^-8.

    Raises:
        ValueError: not digits with at most one point (no sign, no exponent, at most 20 digits on each side).
        TooPreciseError: more than eight places that are not zero.
    """
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a plain decimal such as 0.015")
    whole, fraction = match[1], (match[2] or "").rstrip("0")
    if len(fraction) > PLACES:
        raise TooPreciseError(f"{text!r} has more than {PLACES} decimal places")
    return int(whole) * ONE + int(fraction.ljust(PLACES, "0"))


def show(units: int) -> str:
    """`units` of 10^-8 with all eight places, as Binance writes amounts: `0.01500000`."""
    sign = "-" if units < 0 else ""
    whole, fraction = divmod(abs(units), ONE)
    return f"{sign}{whole}.{fraction:08d}"


def decimal(numerator: int, denominator: int = ONE) -> str:
    """Units, or any ratio, as a plain decimal, half-even at 18 places, without trailing zeros: `-0.5`, `12`."""
    scaled, rest = divmod(abs(numerator) * 10**_PLACES_OF_RATIO, denominator)
    if 2 * rest > denominator or (2 * rest == denominator and scaled % 2):
        scaled += 1
    whole, fraction = divmod(scaled, 10**_PLACES_OF_RATIO)
    sign = "-" if numerator < 0 and scaled else ""
    return f"{sign}{whole}.{fraction:0{_PLACES_OF_RATIO}d}".rstrip("0").rstrip(".")
