"""The refusal of a request, in the venue's own codes.

Source of codes and messages: https://github.com/binance/binance-spot-api-docs/blob/master/errors.md
"""

from __future__ import annotations


class VenueError(Exception):
    """A request that the exchange refuses.

    Args:
        code: Binance's number, such as -2010.
        message: Binance's words.
        status: HTTP status, 400 unless said.
    """

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


def mandatory(parameter: str) -> VenueError:
    """A parameter that is missing, empty or malformed."""
    return VenueError(-1102, f"Mandatory parameter '{parameter}' was not sent, was empty/null, or malformed.")
