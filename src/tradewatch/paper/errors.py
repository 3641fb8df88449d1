"""The refusal of a request: the exchange's reason, and the words of a venue for it."""

from __future__ import annotations

from typing import Literal

Reason = Literal[
    "unknown_symbol",
    "unknown_currency",
    "market_closed",
    "duplicate_client_id",
    "too_many_orders",
    "insufficient_balance",
    "order_not_open",
    "order_not_found",
    "would_take",
    "price",
    "quantity",
    "notional",
    "insufficient_margin",
    "reduce_only",
    "would_trigger",
    "leverage",
    "open_position",
]


class Refusal(Exception):  # noqa: N818  it is the venue's answer, not a fault of the program
    """What the exchange will not do; each wire protocol has its own words for a reason."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


class VenueError(Exception):
    """A request that Binance refuses.

    Source of codes and messages: https://github.com/binance/binance-spot-api-docs/blob/master/errors.md

    Args:
        code: Binance's number, such as -2010.
        message: Binance's words.
        status: HTTP status, 400 unless said.
        data: more about it, in the body beside code and words.
    """

    def __init__(self, code: int, message: str, status: int = 400, data: object = None) -> None:
        super().__init__(message)
        self.data = data
        self.code = code
        self.message = message
        self.status = status


def mandatory(parameter: str) -> VenueError:
    """A parameter that is missing, empty or malformed."""
    return VenueError(-1102, f"Mandatory parameter '{parameter}' was not sent, was empty/null, or malformed.")
