"""What a ccxt exception means: `error.type`, whether an order's outcome is known; and what a refused order raises."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Any

from tradewatch.model import Attempt, OrderStatus

# First match along the MRO, by class name: ccxt's classes are known by name, so that no import is needed.
_TYPES = {
    "OrderRefused": "refused",
    "ChecksumError": "ChecksumError",
    "DDoSProtection": "rate_limited",
    "RateLimitExceeded": "rate_limited",
    "InvalidNonce": "nonce",
    "InsufficientFunds": "insufficient_funds",
    "OrderNotFound": "OrderNotFound",
    "InvalidOrder": "rejected",
    "AuthenticationError": "auth",
    "RequestTimeout": "timeout",
    "ExchangeNotAvailable": "unavailable",
    "NetworkError": "unavailable",
    "OperationFailed": "unavailable",
    # What escapes ccxt from the transports below it.
    "TimeoutError": "timeout",
    "ConnectionError": "unavailable",
    "ClientError": "unavailable",
}
# An explicit answer of the venue that it did not take the order, although the class says that a retry may help.
_EXPLICIT = frozenset({"DDoSProtection", "RateLimitExceeded", "InvalidNonce"})


def is_cancellation(error: BaseException) -> bool:
    """Whether the bot itself ended the call: no error, but the call did end."""
    return issubclass(type(error), (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit))


def error_type(error: BaseException) -> str:
    """The `error.type` of an exception: a known kind, else its class's name."""
    for kind in type(error).__mro__:
        found = _TYPES.get(kind.__name__)
        if found is not None:
            return found
    return type(error).__name__[:80]


def failed_order_status(error: BaseException, attempts: Sequence[Attempt], by_get: bool) -> OrderStatus:
    """What became of an order whose call raised.

    An attempt that got no answer, or one in the 500s, may have left an order behind, whatever the last one said: ccxt's
    own retries can turn a lost answer into 'Duplicate order'. `by_get` is for venues that take orders by GET too.
    """
    refused_by_us = type(error).__name__ == "OrderRefused"
    sent = [a for a in attempts if by_get or a.method != "GET"]
    earlier = sent if refused_by_us else sent[:-1]
    if any(a.status is None or a.status >= 500 for a in earlier):
        return "unknown"
    if refused_by_us:
        return "refused"
    if not sent:
        return "cancelled" if is_cancellation(error) else "rejected"
    names = {kind.__name__ for kind in type(error).__mro__}
    if "ExchangeError" in names or names & _EXPLICIT:
        return "rejected" if sent[-1].status is not None and sent[-1].status < 500 else "unknown"
    return "unknown"


def streamed_order_status(error: BaseException, written: bool) -> OrderStatus:
    """What became of an order whose websocket call raised: an error of the venue's own is its answer."""
    if type(error).__name__ == "OrderRefused":
        return "refused"
    if not written:
        return "cancelled" if is_cancellation(error) else "rejected"
    names = {kind.__name__ for kind in type(error).__mro__}
    return "rejected" if "ExchangeError" in names or names & _EXPLICIT else "unknown"


_refused: type[Exception] | None = None


def order_refused(message: str) -> Exception:
    """The exception for a refused order."""
    return refused_class()(message)


def refused_class() -> type[Exception]:
    """A direct subclass of `ccxt.InvalidOrder`, which bots already handle; there once ccxt is imported.

    Raises:
        KeyError: ccxt is not imported.
    """
    global _refused  # noqa: PLW0603  the class exists once, and only when ccxt does
    if _refused is None:
        invalid_order: Any = sys.modules["ccxt.base.errors"].InvalidOrder
        _refused = type(
            "OrderRefused",
            (invalid_order,),
            {"__module__": "tradewatch", "__doc__": "tradewatch's breaker is halted: this order was not sent."},
        )
    return _refused
