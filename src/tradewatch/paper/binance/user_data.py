"""Spot's user stream: orders, fills and balances as they change.

Source: https://github.com/binance/binance-spot-api-docs/blob/master/user-data-stream.md
"""

from __future__ import annotations

from collections.abc import Iterable

from tradewatch.paper.exchange import Exchange
from tradewatch.paper.feed import BalancesChanged, Event, OrderChanged
from tradewatch.paper.orders import Order
from tradewatch.paper.units import show

_EXECUTION = {"new": "NEW", "trade": "TRADE", "canceled": "CANCELED", "expired": "EXPIRED", "amended": "REPLACED"}


def events(exchange: Exchange, event: Event) -> Iterable[dict[str, object]]:
    """The messages that an event leads to."""
    if isinstance(event, OrderChanged):
        yield execution_report(event)
    elif isinstance(event, BalancesChanged):
        at_ms = event.at_ns // 1_000_000
        for entry in event.entries:
            if entry.kind != "trade":
                delta = show(entry.amount - entry.fee)
                yield {"e": "balanceUpdate", "E": at_ms, "a": entry.currency, "d": delta, "T": at_ms}
        yield {
            "e": "outboundAccountPosition",
            "E": at_ms,
            "u": at_ms,
            "B": [
                {"a": currency, "f": show(held.free), "l": show(held.locked)}
                for currency, held in event.holdings.items()
            ],
        }


def execution_report(event: OrderChanged) -> dict[str, object]:
    """executionReport: of a cancel `c` is the cancel's own id and `C` the order's."""
    order, trade, at_ms = event.order, event.trade, event.at_ns // 1_000_000
    is_cancel = event.change == "canceled"
    prevented = order.status == "EXPIRED_IN_MATCH"
    unfilled = show(order.quantity - order.executed)
    return {
        "e": "executionReport",
        "E": at_ms,
        "s": order.symbol,
        "c": (event.cancel_id or cancel_id(order.order_id)) if is_cancel else order.client_id,
        "S": order.side,
        "o": order.type,
        "f": order.time_in_force,
        "q": show(order.quantity),
        "p": show(order.price),
        "P": show(0),
        "F": show(0),
        "g": -1,
        "C": order.client_id if is_cancel else "",
        "x": "TRADE_PREVENTION" if prevented else _EXECUTION[event.change],
        "X": order.status,
        "r": "NONE",
        "i": order.order_id,
        "l": show(trade.quantity if trade else 0),
        "z": show(order.executed),
        "L": show(trade.price if trade else 0),
        "n": show(trade.fee) if trade else "0",
        "N": trade.fee_currency if trade else None,
        "T": at_ms,
        "t": trade.trade_id if trade else -1,
        "I": 0,
        "w": order.is_open,
        "m": trade is not None and trade.role == "maker",
        "M": trade is not None,
        "O": order.created_ns // 1_000_000,
        "Z": show(order.quote_executed),
        "Y": show(trade.quote_amount if trade else 0),
        "Q": show(order.quote_quantity),
        "W": order.created_ns // 1_000_000,
        "V": order.self_trade,
        **({"A": unfilled, "B": unfilled} if prevented else {}),
        **({"eR": expiry_reason(order)} if order.status == "EXPIRED" else {}),
    }


def expiry_reason(order: Order) -> str:
    """Why an order has expired, by enums.md: it did not rest, and there was no more for it."""
    if order.type == "MARKET":
        return "INSUFFICIENT_LIQUIDITY"
    return "UNFILLED_FOK_ORDER_EXPIRED" if order.time_in_force == "FOK" else "UNFILLED_IOC_QUANTITY_EXPIRED"


def cancel_id(order_id: int) -> str:
    """The id of a cancel whose sender named none."""
    return f"cancel-{order_id}"
