"""Kraken over REST: orders, amends and cancels as requests and results.

AddOrder answers with id and description alone: what was filled is told by QueryOrders, TradesHistory or the stream.

Source: https://docs.kraken.com/api-reference/trading/add-order and the pages beside it.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from tradewatch.paper.kraken.errors import invalid
from tradewatch.paper.kraken.names import Names, spelled
from tradewatch.paper.kraken.parameters import Params, names_list, required, text_of
from tradewatch.paper.kraken.trading import CANCEL_BATCH_MOST, Placed, Trading, described, order_name


class Done(msgspec.Struct, frozen=True):
    """A result to send, and which order it is about."""

    result: object
    order_id: str | None = None


def add(trading: Trading, names: Names, account: str, params: Params, wall_ns: int) -> Done:
    """AddOrder; with `validate` nothing is placed and there is no id."""
    placed = trading.add(account, params, wall_ns)
    shown = {"descr": {"order": described(names, placed.request)}}
    return Done(shown if placed.txid is None else shown | {"txid": [placed.txid]}, placed.txid)


def add_batch(trading: Trading, names: Names, account: str, params: Params, wall_ns: int) -> Done:
    """AddOrderBatch: 2 to 15 orders of one pair, each with its own result."""
    placed = trading.add_batch(account, required(params, "pair"), params.get("orders"), params, wall_ns)
    return Done({"orders": [_one_of_batch(names, one) for one in placed]})


def amend(trading: Trading, names: Names, account: str, params: Params, wall_ns: int) -> Done:
    """AmendOrder."""
    order = trading.amend(account, params, wall_ns)
    return Done({"amend_id": amend_name(order.order_id, order.updated_ns)}, order_name(order))


def edit(trading: Trading, names: Names, account: str, params: Params, wall_ns: int) -> Done:
    """EditOrder: the id changes."""
    order, placed = trading.edit(account, params, wall_ns)
    shown: dict[str, object] = {"status": "ok", "descr": {"order": described(names, placed.request)}}
    if placed.txid is not None:
        shown |= {"txid": placed.txid, "originaltxid": order_name(order), "orders_cancelled": 1}
    return Done(shown, placed.txid)


def cancel(trading: Trading, names: Names, account: str, params: Params, wall_ns: int) -> Done:
    """CancelOrder."""
    client_id = text_of(params, "cl_ord_id")
    cancelled = trading.cancel(account, names_list(params, "txid")[:1], [client_id] if client_id else [], wall_ns)
    return Done({"count": len(cancelled)}, order_name(cancelled[0]))


def cancel_batch(trading: Trading, names: Names, account: str, params: Params, wall_ns: int) -> Done:
    """CancelOrderBatch."""
    wanted, client_ids = names_list(params, "orders"), names_list(params, "cl_ord_ids")
    if len(wanted) + len(client_ids) > CANCEL_BATCH_MOST:
        raise invalid("orders")
    return Done({"count": len(trading.cancel(account, wanted, client_ids, wall_ns))})


def cancel_all(trading: Trading, names: Names, account: str, params: Params, wall_ns: int) -> Done:
    """CancelAll."""
    return Done({"count": len(trading.cancel_all(account, wall_ns))})


def cancel_after(trading: Trading, names: Names, account: str, params: Params, wall_ns: int) -> Done:
    """CancelAllOrdersAfter: `triggerTime` is 0 once the switch is off."""
    ends_ns = trading.cancel_after(account, params, wall_ns)
    return Done({"currentTime": second(wall_ns), "triggerTime": "0" if ends_ns is None else second(ends_ns)})


def second(wall_ns: int) -> str:
    """A time as `2023-03-24T17:41:56Z`."""
    return datetime.fromtimestamp(wall_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def amend_name(order_id: int, at_ns: int) -> str:
    """The id of an amend, from what was amended and when."""
    return spelled("T", (at_ns // 1_000_000 % (1 << 41)) << 20 | order_id % (1 << 20))


def _one_of_batch(names: Names, placed: Placed) -> dict[str, object]:
    if placed.error is not None:
        return {"error": placed.error}
    shown: dict[str, object] = {"descr": {"order": described(names, placed.request)}}
    return shown if placed.txid is None else {"txid": placed.txid} | shown
