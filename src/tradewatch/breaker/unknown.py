"""Orders whose fate nobody knows, and what takes one off that list: an order at the venue that can only be it.

An order is known again by its client id alone. Without one nothing is matched: an order of the same market, side and
amount may be another. 'Not found' settles nothing either: an order may still be on its way, and venues answer that from
copies which lag. A trade names no client id. What cannot be told stays listed, for a person to look at the account.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tradewatch.model import OrderKey, OrderReport, OrderRequest

# An order that changed last before this one was sent is an earlier one of the same client id; clocks may differ.
_EARLIER_NS = 60 * 10**9


class UnknownOrder(msgspec.Struct, frozen=True):
    """An order that may or may not be at the venue, `since_ns` (epoch).

    `ambiguous` where another order was placed under its client id: what the venue shows may be that one.
    """

    request: OrderRequest
    since_ns: int
    ambiguous: bool = False


def identified(listed: Mapping[int, UnknownOrder], report: OrderReport) -> int | None:
    """The one of the listed orders that a venue's report can only be about; None where there is none, or a doubt.

    An edit is not settled: where it keeps its client id, the order is shown whether it was edited or not.
    """
    named = [token for token, order in listed.items() if same_client_id(order.request.key, report.key)]
    if len(named) != 1:
        return None
    order = listed[named[0]]
    symbol, at_ns = order.request.key.symbol, report.venue_ns
    # A symbol without a slash is the venue's own spelling, of an order sent below the unified methods.
    elsewhere = "/" in symbol and symbol != report.key.symbol
    earlier = at_ns is None or at_ns < order.since_ns - _EARLIER_NS
    return None if order.ambiguous or elsewhere or earlier or order.request.operation.startswith("edit_") else named[0]


def same_client_id(a: OrderKey, b: OrderKey) -> bool:
    """Whether two orders of one account have the same client id."""
    return a.client_id is not None and (a.client_id, a.venue, a.account) == (b.client_id, b.venue, b.account)
