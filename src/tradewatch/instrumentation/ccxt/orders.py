"""What an order call asked for, and what the answers say of orders and fills."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from tradewatch.instrumentation.ccxt.numbers import exact, mapping, time_ns
from tradewatch.model import Fill, Money, OrderKey, OrderReport, OrderRequest, OrderStatus
from tradewatch.runtime.scrub import label

_STATUS: dict[str, OrderStatus] = {
    "open": "open",
    "closed": "filled",
    "canceled": "cancelled",
    "cancelled": "cancelled",
    "canceling": "open",
    "expired": "expired",
    "expired_in_match": "expired",
    "rejected": "rejected",
}
# The unified methods that send orders.
SENDS_ORDERS = frozenset(
    {
        "create_order",
        "create_orders",
        "create_twap_order",
        "create_convert_trade",
        "edit_order",
        "edit_orders",
        "close_position",
        "close_all_positions",
        "create_order_ws",
        "create_orders_ws",
        "edit_order_ws",
        "edit_orders_ws",
    }
)
_ID = re.compile(r"(?i)(o|ord|order|tx|uu)?[_-]?ids?")
# How venues call the client id of an order that is placed, in their own parameters.
_CLIENT_IDS = ("newClientOrderId", "clOrdId", "orderLinkId", "cl_ord_id", "client_order_id", "clientOid")
_ARGUMENTS = {
    "create_order": ("symbol", "type", "side", "amount", "price", "params"),
    "edit_order": ("id", "symbol", "type", "side", "amount", "price", "params"),
    "create_twap_order": ("symbol", "side", "amount", "duration", "params"),
    "create_convert_trade": ("id", "fromCode", "toCode", "amount", "params"),
    "close_position": ("symbol", "side", "params"),
    "close_all_positions": ("params",),
}


def requests(
    venue: str, account: str, operation: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[OrderRequest, ...]:
    """The orders that a call of `operation` is about to send, from its arguments."""
    name = operation.removesuffix("_ws")
    if name in ("create_orders", "edit_orders"):
        orders = args[0] if args else kwargs.get("orders", ())
        return (
            tuple(_request(venue, account, operation, mapping(o)) for o in orders)
            if type(orders) in (list, tuple)
            else ()
        )
    given = dict(zip(_ARGUMENTS.get(name, ()), args, strict=False))
    given.update(kwargs)
    if name.startswith("close_"):
        given["params"] = {**mapping(given.get("params")), "reduceOnly": True}
    return (_request(venue, account, operation, given),)


def arguments(operation: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `given` that an order method has as arguments."""
    names = _ARGUMENTS.get(operation.removesuffix("_ws"), ("orders", "params"))
    return {name: given[name] for name in names if name in given}


def endpoint_request(venue: str, account: str, operation: str, params: Any) -> OrderRequest:
    """An order sent below the unified methods: what its parameters tell under the usual names."""
    given = mapping(params)
    return _request(
        venue,
        account,
        operation,
        {
            "symbol": given.get("symbol") or given.get("pair") or given.get("instId"),
            "side": given.get("side"),
            "type": given.get("type") or given.get("ordertype"),
            "amount": given.get("quantity") or given.get("volume") or given.get("qty"),
            "price": given.get("price"),
            "params": {"clientOrderId": sent_client_id(given)},
        },
    )


def sent_client_id(params: Any) -> str | None:
    """The client id in the parameters of a venue's own endpoint, as the venue will show it again."""
    given = mapping(params)
    return next((found for name in _CLIENT_IDS if (found := label(given.get(name))) is not None), None)


def _request(venue: str, account: str, operation: str, given: Mapping[str, Any]) -> OrderRequest:
    params = mapping(given.get("params"))
    client_id = params.get("clientOrderId") or params.get("newClientOrderId") or given.get("clientOrderId")
    key = OrderKey(venue, account, label(given.get("symbol")) or "", label(given.get("id")), label(client_id))
    side, kind = label(given.get("side")), label(given.get("type"))
    return OrderRequest(
        key,
        operation,
        side.lower() if side else None,
        kind.lower() if kind else None,
        exact(given.get("amount")),
        exact(given.get("price")),
        reduce_only=params.get("reduceOnly") is True,
    )


def report(venue: str, account: str, order: Any, seen_ns: int) -> OrderReport | None:
    """What a unified order structure says; None where it names no order."""
    order = mapping(order)
    order_id = label(order.get("id"))
    if order_id is None:
        return None
    raw = order.get("info")
    state = order.get("status")
    changed = order.get("lastUpdateTimestamp") or order.get("lastTradeTimestamp") or order.get("timestamp")
    return OrderReport(
        OrderKey(venue, account, label(order.get("symbol")) or "", order_id, label(order.get("clientOrderId"))),
        label(order.get("side")),
        label(order.get("type")),
        _STATUS.get(state, "pending") if type(state) is str else "pending",
        exact(order.get("amount"), raw),
        exact(order.get("price"), raw),
        exact(order.get("filled"), raw),
        exact(order.get("average"), raw),
        exact(order.get("cost"), raw),
        time_ns(changed),
        seen_ns,
    )


def told_without_id(order: Any, operation: str, *, raw: bool) -> OrderStatus:
    """What became of an order that was sent and whose answer names no id.

    Unknown, unless the venue said something of the order's state (Hyperliquid gives a waiting trigger order no id), or
    the answer is one of positions: ccxt makes an order of half an answer and of a gateway's page too, and raises
    nothing. A venue's own answer (`raw`) has ids under its own names; unknown where it has none.
    """
    if raw:
        return "pending" if _names_an_id(order) else "unknown"
    order = mapping(order)
    state = order.get("status")
    if state == "rejected":
        return "rejected"
    said = order.get("info") and type(state) is str and state in _STATUS
    return "pending" if said or operation.startswith("close_") else "unknown"


def _names_an_id(answer: Any, depth: int = 5) -> bool:
    """Whether a venue's own answer to an order has an id in it somewhere: orderId, ordId, txid, oid, ..."""
    parts = list(answer.values()) if type(answer) is dict else answer if type(answer) is list else []
    if type(answer) is dict and any(value and _ID.fullmatch(str(name)) for name, value in answer.items()):
        return True
    return depth > 0 and any(_names_an_id(part, depth - 1) for part in parts[:100])


def fills_of_order(account: str, order: Any, seen_ns: int) -> Iterator[Fill]:
    """The trades that an order structure carries."""
    order = mapping(order)
    trades = order.get("trades")
    if type(trades) is list:
        at_ns = time_ns(order.get("lastTradeTimestamp")) or time_ns(order.get("timestamp")) or seen_ns
        for trade in trades:
            made = fill(account, trade, order, at_ns, "order")
            if made is not None:
                yield made


def fill(account: str, trade: Any, order: Mapping[str, Any], at_ns: int, source: Any) -> Fill | None:
    """A unified trade structure as a fill; what it leaves out is taken from `order`. None where it is not one."""
    trade = mapping(trade)
    raw = trade.get("info")
    trade_id = label(trade.get("id"))
    order_id = label(trade.get("order")) or label(order.get("id"))
    symbol = label(trade.get("symbol")) or label(order.get("symbol"))
    side = trade.get("side") or order.get("side")
    amount, price = exact(trade.get("amount"), raw), exact(trade.get("price"), raw)
    if (
        trade_id is None
        or order_id is None
        or symbol is None
        or side not in ("buy", "sell")
        or not amount
        or price is None
    ):
        return None
    when = time_ns(trade.get("timestamp")) or at_ns
    return Fill(account, symbol, order_id, trade_id, side, amount, price, tuple(_fees(trade, raw)), when, source)


def _fees(trade: Mapping[str, Any], raw: Any) -> Iterator[Money]:
    several = trade.get("fees")
    fees: Iterable[Any] = several if type(several) is list and several else (trade.get("fee"),)
    for fee in fees:
        cost, currency = exact(mapping(fee).get("cost"), raw), label(mapping(fee).get("currency"))
        if cost and currency:
            yield Money(cost, currency)


def known_amounts(made: OrderReport) -> tuple[OrderStatus, Decimal | None]:
    """What distinguishes one report of an order from the next."""
    return made.status, made.filled
