"""What a ccxt exception means: `error.type`, what it says of a nonce, whether it is a refusal; what became of an order;
and what a refused order raises.

Classes come first from ccxt's `handle_errors`; where ccxt knows no better class for it, the venue's own code decides.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from tradewatch.instrumentation.ccxt.numbers import mapping
from tradewatch.model import Attempt, OrderStatus
from tradewatch.runtime.scrub import scrubber

# First match along the MRO, by class name: ccxt's classes are known by name, so that no import is needed.
_TYPES = {
    "OrderRefused": "refused",
    "ChecksumError": "ChecksumError",
    "CancelPending": "CancelPending",
    "DDoSProtection": "rate_limited",
    "RateLimitExceeded": "rate_limited",
    "InvalidNonce": "nonce",
    "InsufficientFunds": "insufficient_funds",
    "OrderNotFound": "OrderNotFound",
    "OrderNotCached": "OrderNotCached",
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
# What venues say that ccxt has no fitting class for, by the client's id: `error.type`, and whether it is a refusal.
# Sources: the venues' lists of error codes; ccxt has them in `exceptions`, with the words.
_CODES: dict[str, dict[str, tuple[str, bool]]] = {
    "binance": {"-1004": ("unavailable", False), "-1016": ("unavailable", False)},
    "kraken": {
        "EService:Timeout": ("timeout", False),
        "EService:Throttled": ("rate_limited", True),
        "EService: Throttled": ("rate_limited", True),
        "EService:Market in cancel_only mode": ("unavailable", True),
        "EService:Market in post_only mode": ("unavailable", True),
    },
    "bybit": {
        "5004": ("timeout", False),
        "10000": ("timeout", False),
        "10016": ("unavailable", False),
        "170001": ("unavailable", False),
        "170032": ("unavailable", False),
        "170146": ("timeout", False),
        "170234": ("unavailable", False),
    },
    "okx": {"51054": ("timeout", False), "51149": ("timeout", False)},
}
_LONGEST_ANSWER = 20_000
_CLOCK = re.compile(r"(?i)time.?stamp|recv.?window|time window|expired|clock")
_LOW = re.compile(r"(?i)nonce.{0,20}(below|too (low|small))")
_NONCE = re.compile(r"(?i)nonce")


def is_cancellation(error: BaseException) -> bool:
    """Whether the bot itself ended the call: no error, but the call did end."""
    return issubclass(type(error), (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit))


def error_type(error: BaseException) -> str:
    """The `error.type` of an exception: what the venue's code says, else a known kind, else its class's name."""
    said = _said(error)
    if said is not None:
        return said[0]
    found = _by_class(error)
    if found is None and type(error).__name__ == "ExchangeError" and error.__cause__ is not None:
        # ccxt's name for whatever else its transport raises.
        found = _by_class(error.__cause__)
    return found or scrubber.value(type(error).__name__)[:80]


def nonce_error(error: BaseException) -> str | None:
    """`trading.nonce.error.kind` of a nonce or a time that the venue refused: clock_skew, too_low, sequence or unknown.

    None for any other error.
    """
    names = _names(error)
    if "InvalidNonce" not in names or "ChecksumError" in names:
        return None
    text = str(error)[:_LONGEST_ANSWER]
    if _LOW.search(text):
        return "too_low"
    # Some messages about a timestamp speak of the nonce too.
    return "clock_skew" if _CLOCK.search(text) else "sequence" if _NONCE.search(text) else "unknown"


def is_refusal(error: BaseException, status: int | None) -> bool:
    """Whether an attempt's answer says explicitly that the venue did not do what was asked.

    No answer is none, nor is one in the 500s, nor one that ccxt takes for a failure of the operation.
    """
    if status is None or status >= 500:
        return False
    said = _said(error)
    if said is not None:
        return said[1]
    names = _names(error)
    return "ExchangeError" in names or bool(names & _EXPLICIT)


def failed_order_status(error: BaseException, attempts: Sequence[Attempt], by_get: bool) -> OrderStatus:
    """What became of an order whose call raised.

    An attempt that failed without an explicit refusal may have left an order behind, whatever the last one said: ccxt's
    own retries can turn a lost answer into 'Duplicate order'. `by_get` is for venues that take orders by GET too.
    """
    refused_by_us = type(error).__name__ == "OrderRefused"
    sent = [a for a in attempts if by_get or a.method != "GET"]
    earlier = sent if refused_by_us else sent[:-1]
    if any(a.status is None or (a.error is not None and not a.refused) for a in earlier):
        return "unknown"
    if refused_by_us:
        return "refused"
    if not sent:
        return "cancelled" if is_cancellation(error) else "rejected"
    last = sent[-1]
    # What ccxt raises once it has read an answer without an error is about that answer.
    refused = last.refused if last.error is not None else is_refusal(error, last.status)
    return "rejected" if refused else "unknown"


def is_doubtful(attempts: Sequence[Attempt], by_get: bool) -> bool:
    """Whether an order that was answered may be at the venue twice: it was sent before, and that was not refused.

    A venue may tell the second from the first by its client id, but some do so only while the first is open.
    """
    sent = [a for a in attempts if by_get or a.method != "GET"]
    same = [a for a in sent[:-1] if (a.method, a.path) == (sent[-1].method, sent[-1].path)]
    return any(a.error is not None and not a.refused for a in same)


def _by_class(error: BaseException) -> str | None:
    return next((found for kind in type(error).__mro__ if (found := _TYPES.get(kind.__name__)) is not None), None)


def _names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _said(error: BaseException) -> tuple[str, bool] | None:
    """What the venue's code in an exception means, where the table knows it."""
    if "BaseError" not in _names(error):
        return None
    text = str(error)[:_LONGEST_ANSWER]
    known = next((codes for venue, codes in _CODES.items() if text.startswith((venue, "my" + venue))), None)
    if known is None:
        return None
    for code in _codes(text):
        for one, meaning in known.items():
            if code == one or code.startswith(one + ":"):
                return meaning
    return None


def _codes(text: str) -> Iterator[str]:
    """The codes in an exception's text, which is the client's id and the body of the answer."""
    try:
        body = mapping(json.JSONDecoder().raw_decode(text, text.index("{"))[0])
    except (ValueError, RecursionError):
        return
    several = body.get("error")
    yield from (one for one in (several if type(several) is list else ()) if type(one) is str)
    items = body.get("data")
    for part in (body, *(mapping(one) for one in (items if type(items) is list else ()))):
        for name in ("code", "retCode", "ret_code", "sCode"):
            if type(part.get(name)) in (str, int):
                yield str(part[name])


def streamed_order_status(error: BaseException, written: bool) -> OrderStatus:
    """What became of an order whose websocket call raised: an error of the venue's own is its answer."""
    if type(error).__name__ == "OrderRefused":
        return "refused"
    if not written:
        return "cancelled" if is_cancellation(error) else "rejected"
    return "rejected" if is_refusal(error, 200) else "unknown"


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
