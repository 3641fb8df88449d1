"""Reading of Binance's request parameters."""

from __future__ import annotations

from collections.abc import Mapping

from tradewatch.paper import units
from tradewatch.paper.errors import VenueError, mandatory

Params = Mapping[str, str]

INTERVALS = {
    "1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30,
    "1h": 60, "2h": 120, "4h": 240, "6h": 360, "8h": 480, "12h": 720, "1d": 1440,
}  # fmt: skip


def required(params: Params, name: str) -> str:
    """A parameter that must be there; `VenueError` -1102 otherwise."""
    value = params.get(name)
    if not value:
        raise mandatory(name)
    return value


def whole(params: Params, name: str) -> int | None:
    """A whole number, or None when it was not sent; `VenueError` -1100 for anything else."""
    text = params.get(name)
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise VenueError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
    return int(text)


def millis(params: Params, name: str) -> int | None:
    """A time in milliseconds, as nanoseconds."""
    value = whole(params, name)
    return None if value is None else value * 1_000_000


def limit_of(params: Params, default: int, most: int) -> int:
    """`limit`, at least 1, cut to what the endpoint gives."""
    value = whole(params, "limit")
    return default if value is None else max(1, min(value, most))


def amount(params: Params, name: str) -> int | None:
    """A decimal in units of 10^-8, or None when it was not sent.

    Raises:
        VenueError: -1100 not a plain decimal, -1111 more than eight places.
    """
    text = params.get(name)
    if not text:
        return None
    try:
        return units.parse(text)
    except units.TooPreciseError:
        raise VenueError(-1111, f"Parameter '{name}' has too much precision.") from None
    except ValueError:
        raise VenueError(
            -1100,
            f"Illegal characters found in parameter '{name}'; legal range is '^([0-9]{{1,20}})(\\.[0-9]{{1,20}})?$'.",
        ) from None
