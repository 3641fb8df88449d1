"""The refusal of a request in Kraken's words.

Source: https://docs.kraken.com/api/docs/guides/spot-errors; where that gives no text for a case (a client order id
that is open already), ours follows its form.
"""

from __future__ import annotations

from collections.abc import Mapping

from tradewatch.paper.errors import Reason, Refusal
from tradewatch.paper.faults import Fault

REFUSALS: Mapping[Reason, str] = {
    "unknown_symbol": "EQuery:Unknown asset pair",
    "unknown_currency": "EQuery:Unknown asset",
    "market_closed": "EService:Market in cancel_only mode",
    "duplicate_client_id": "EGeneral:Invalid arguments:cl_ord_id already in use",
    "too_many_orders": "EOrder:Orders limit exceeded",
    "insufficient_balance": "EOrder:Insufficient funds",
    "order_not_open": "EOrder:Unknown order",
    "order_not_found": "EOrder:Unknown order",
    "would_take": "EOrder:Post only order",
    "price": "EOrder:Tick size check failed",
    "quantity": "EGeneral:Invalid arguments:volume",
    "notional": "EOrder:Cost minimum not met",
}


class KrakenError(Exception):
    """A request that Kraken refuses: its text, such as `EAPI:Invalid nonce`."""


def invalid(argument: str) -> KrakenError:
    """A parameter that is missing or cannot be read."""
    return KrakenError(f"EGeneral:Invalid arguments:{argument}")


def in_words(refused: KrakenError | Refusal) -> str:
    """A refusal in Kraken's words."""
    return REFUSALS[refused.reason] if isinstance(refused, Refusal) else str(refused)


def fault_text(fault: Fault, operation: str) -> str:
    """What Kraken says to an injected rate limit, ban, nonce error, maintenance or server error."""
    if fault.kind == "nonce":
        return "EAPI:Invalid nonce"
    if fault.kind == "maintenance":
        return "EService:Market in cancel_only mode"
    if fault.kind == "rate_limit":
        return "EOrder:Rate limit exceeded" if operation in ("add_order", "batch_add") else "EAPI:Rate limit exceeded"
    if fault.kind == "ban":
        return "EGeneral:Temporary lockout"
    return fault.code if isinstance(fault.code, str) else "EService:Unavailable"
