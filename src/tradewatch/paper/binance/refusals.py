"""Spot's refusals: code and words for each reason of the exchange.

Source: https://github.com/binance/binance-spot-api-docs/blob/master/errors.md
"""

from __future__ import annotations

from collections.abc import Mapping

from tradewatch.paper.errors import Reason

REFUSALS: Mapping[Reason, tuple[int, str]] = {
    "unknown_symbol": (-1121, "Invalid symbol."),
    "unknown_currency": (-1100, "Illegal characters found in parameter 'coin'."),
    "market_closed": (-1013, "Market is closed."),
    "duplicate_client_id": (-2010, "Duplicate order sent."),
    "too_many_orders": (-1013, "Filter failure: MAX_NUM_ORDERS"),
    "insufficient_balance": (-2010, "Account has insufficient balance for requested action."),
    "order_not_open": (-2011, "Unknown order sent."),
    "order_not_found": (-2013, "Order does not exist."),
    "would_take": (-2010, "Order would immediately match and take."),
    "price": (-1013, "Filter failure: PRICE_FILTER"),
    "quantity": (-1013, "Filter failure: LOT_SIZE"),
    "notional": (-1013, "Filter failure: NOTIONAL"),
}
