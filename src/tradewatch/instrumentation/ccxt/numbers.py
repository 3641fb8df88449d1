"""Decimals and times from what ccxt returns."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

_MS = 1_000_000
_LARGEST_POWER = 60
_LARGEST = 10**_LARGEST_POWER


def exact(value: Any, raw: Any = None) -> Decimal | None:
    """The Decimal that the venue wrote.

    ccxt's unified numbers are floats. Where the raw answer holds a text that reads as the same float, that text is the
    number; else the shortest decimal that gives the float back.
    """
    if type(value) not in (int, float, str, Decimal) or value == "":
        return None
    if type(value) is int and abs(value) >= _LARGEST:
        return None
    if type(value) is float and type(raw) is dict:
        for text in raw.values():
            if type(text) is str and text[:1] in "-0123456789." and text:
                try:
                    if float(text) == value:
                        return Decimal(text)
                except (ValueError, InvalidOperation):
                    continue
    try:
        number = Decimal(repr(value) if type(value) is float else value)
    except InvalidOperation:
        return None
    # What no venue writes would take minutes to print.
    return number if number.is_finite() and abs(number.adjusted()) < _LARGEST_POWER else None


def time_ns(milliseconds: Any) -> int | None:
    """Ccxt's timestamps, milliseconds since the epoch, in nanoseconds."""
    return int(milliseconds * _MS) if type(milliseconds) in (int, float) and milliseconds > 0 else None


def mapping(value: Any) -> Mapping[str, Any]:
    """`value` where it is a dict, else an empty one."""
    return value if isinstance(value, dict) else {}
