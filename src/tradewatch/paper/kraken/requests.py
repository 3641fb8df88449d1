"""The trading requests of the websocket: what each does, and its result.

Source: https://docs.kraken.com/api/docs/websocket-v2/add_order and the pages beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from tradewatch.paper.errors import Refusal
from tradewatch.paper.kraken.errors import KrakenError, in_words
from tradewatch.paper.kraken.names import Names
from tradewatch.paper.kraken.orders import amend_name, second
from tradewatch.paper.kraken.parameters import from_websocket, names_list, required
from tradewatch.paper.kraken.trading import CANCEL_BATCH_MOST, Placed, Trading, order_name

Params = Mapping[str, Any]


class Outcome(msgspec.Struct, frozen=True):
    """One answer: what it has beside method and times, and what the log says."""

    body: Mapping[str, object]
    order_id: str | None = None
    error: str | None = None


Act = Callable[[Trading, Names, str, Params, int], Sequence[Outcome]]


def add_order(trading: Trading, names: Names, account: str, params: Params, wall_ns: int) -> Sequence[Outcome]:
    """`add_order`."""
    placed = trading.add(account, from_websocket(params), wall_ns)
    return [Outcome({"result": _placed(placed)}, placed.txid)]


def amend_order(trading: Trading, names: Names, account: str, params: Params, wall_ns: int) -> Sequence[Outcome]:
    """`amend_order`."""
    order = trading.amend(account, params, wall_ns)
    named = {"cl_ord_id": order.client_id} if order.client_named else {}
    result = {"amend_id": amend_name(order.order_id, order.updated_ns), "order_id": order_name(order), **named}
    return [Outcome({"result": result}, order_name(order))]


def edit_order(trading: Trading, names: Names, account: str, params: Params, wall_ns: int) -> Sequence[Outcome]:
    """`edit_order`."""
    order, placed = trading.edit(account, {**from_websocket(params), "txid": params.get("order_id")}, wall_ns)
    return [Outcome({"result": {**_placed(placed), "original_order_id": order_name(order)}}, placed.txid)]


def cancel_order(trading: Trading, names: Names, account: str, params: Params, wall_ns: int) -> Sequence[Outcome]:
    """`cancel_order`: an answer for each order, refused ones too."""
    wanted, client_ids = names_list(params, "order_id"), names_list(params, "cl_ord_id")
    wanted += names_list(params, "order_userref")
    if not wanted and not client_ids:
        raise KrakenError("EGeneral:Invalid arguments")
    outcomes = []
    for names_, clients in [*(([one], []) for one in wanted), *(([], [one]) for one in client_ids)]:
        asked = {"order_id": names_[0]} if names_ else {"cl_ord_id": clients[0]}
        try:
            for order in trading.cancel(account, names_, clients, wall_ns):
                outcomes.append(Outcome({"result": asked | {"order_id": order_name(order)}}, order_name(order)))
        except (KrakenError, Refusal) as refused:
            text = in_words(refused)
            outcomes.append(Outcome({"error": text, "success": False, "result": asked}, error=text))
    return outcomes


def cancel_all(trading: Trading, names: Names, account: str, params: Params, wall_ns: int) -> Sequence[Outcome]:
    """`cancel_all`."""
    return [Outcome({"result": {"count": len(trading.cancel_all(account, wall_ns))}})]


def cancel_after(trading: Trading, names: Names, account: str, params: Params, wall_ns: int) -> Sequence[Outcome]:
    """`cancel_all_orders_after`."""
    ends_ns = trading.cancel_after(account, params, wall_ns)
    triggers = "0" if ends_ns is None else second(ends_ns)
    return [Outcome({"result": {"currentTime": second(wall_ns), "triggerTime": triggers}})]


def batch_add(trading: Trading, names: Names, account: str, params: Params, wall_ns: int) -> Sequence[Outcome]:
    """`batch_add`: refused as a whole where one order is."""
    orders = params.get("orders")
    asked = (
        [from_websocket(one) if isinstance(one, dict) else one for one in orders] if isinstance(orders, list) else None
    )
    placed = trading.add_batch(account, required(params, "symbol"), asked, params, wall_ns)
    refused = next((one.error for one in placed if one.error is not None), None)
    result = [{"error": one.error} if one.error is not None else _placed(one) for one in placed]
    first = next((one.txid for one in placed if one.txid is not None), None)
    return [Outcome({"result": result}, first, refused)]


def batch_cancel(trading: Trading, names: Names, account: str, params: Params, wall_ns: int) -> Sequence[Outcome]:
    """`batch_cancel`."""
    wanted, client_ids = names_list(params, "orders"), names_list(params, "cl_ord_id")
    if not 1 <= len(wanted) + len(client_ids) <= CANCEL_BATCH_MOST:
        raise KrakenError("EGeneral:Invalid arguments")
    return [Outcome({"orders_cancelled": len(trading.cancel(account, wanted, client_ids, wall_ns))})]


def _placed(placed: Placed) -> dict[str, object]:
    shown: dict[str, object] = {}
    if placed.txid is not None:
        shown["order_id"] = placed.txid
    if placed.request.client_id is not None:
        shown["cl_ord_id"] = placed.request.client_id
    if placed.request.user_ref is not None:
        shown["order_userref"] = placed.request.user_ref
    return shown


METHODS: Mapping[str, Act] = {
    "add_order": add_order,
    "amend_order": amend_order,
    "edit_order": edit_order,
    "cancel_order": cancel_order,
    "cancel_all": cancel_all,
    "cancel_all_orders_after": cancel_after,
    "batch_add": batch_add,
    "batch_cancel": batch_cancel,
}
