"""The USD-M perpetual: ordinary and conditional (algo) orders and fills.

Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/trade/rest-api. Times are simulated, in
milliseconds.
"""

from __future__ import annotations

from typing import TypeVar, get_args

import msgspec

from tradewatch.paper.binance.parameters import Params, amount, limit_of, millis, required, whole
from tradewatch.paper.binance.private import check_client_id
from tradewatch.paper.binance.product import Done
from tradewatch.paper.errors import VenueError, mandatory
from tradewatch.paper.orders import Side
from tradewatch.paper.perpetual import Perpetual
from tradewatch.paper.perpetual.values import (
    Conditional,
    ConditionalType,
    Fill,
    NewConditional,
    NewOrder,
    Order,
    TimeInForce,
)
from tradewatch.paper.units import ONE, show

_Listed = TypeVar("_Listed", Order, Conditional, Fill)


def place(exchange: Perpetual, account: str, params: Params) -> Done:
    """POST /fapi/v1/order. Conditional types are the algo endpoint's: -4120."""
    order = exchange.submit(account, new_order(params))
    return Done(order_body(order), order.order_id, order.client_id)


def new_order(params: Params) -> NewOrder:
    """The order that parameters describe.

    Raises:
        VenueError: -1102 missing, -1106 not wanted, -1100 or -1111 not a number, -1115, -1116, -1117 unknown enum,
            -4061 not one-way, -4120 a conditional type.
    """
    symbol, side, kind = _who(params)
    if kind in get_args(ConditionalType) or kind == "TRAILING_STOP_MARKET":
        raise VenueError(-4120, "Order type not supported for this endpoint. Please use the Algo Order API endpoints.")
    if kind not in ("LIMIT", "MARKET"):
        raise VenueError(-1116, "Invalid orderType.")
    in_force = required(params, "timeInForce") if kind == "LIMIT" else "GTC"
    if in_force not in get_args(TimeInForce):
        raise VenueError(-1115, "Invalid timeInForce.")
    quantity, price = amount(params, "quantity"), amount(params, "price")
    if quantity is None:
        raise mandatory("quantity")
    if kind == "LIMIT" and price is None:
        raise mandatory("price")
    if kind == "MARKET" and price is not None:
        raise VenueError(-1106, "Parameter 'price' sent when not required.")
    return msgspec.convert(
        {"symbol": symbol, "side": side, "type": kind, "quantity": quantity, "price": price or 0,
         "time_in_force": in_force, "reduce_only": _flag(params, "reduceOnly"),
         "client_id": check_client_id(params, "newClientOrderId")},
        NewOrder,
    )  # fmt: skip


def query(exchange: Perpetual, account: str, params: Params) -> Done:
    """GET /fapi/v1/order."""
    order = exchange.order(account, required(params, "symbol"), *_which(params))
    return Done(order_body(order), order.order_id, order.client_id)


def query_open(exchange: Perpetual, account: str, params: Params) -> Done:
    """GET /fapi/v1/openOrder."""
    order = exchange.order(account, required(params, "symbol"), *_which(params))
    if not order.is_open:
        raise VenueError(-2013, "Order does not exist.")
    return Done(order_body(order), order.order_id, order.client_id)


def cancel(exchange: Perpetual, account: str, params: Params) -> Done:
    """DELETE /fapi/v1/order."""
    order = exchange.cancel(account, required(params, "symbol"), *_which(params))
    return Done(order_body(order), order.order_id, order.client_id)


def cancel_all(exchange: Perpetual, account: str, params: Params) -> Done:
    """DELETE /fapi/v1/allOpenOrders: conditional orders stay."""
    exchange.cancel_all(account, required(params, "symbol"))
    return Done({"code": 200, "msg": "The operation of cancel all open order is done."})


def open_orders(exchange: Perpetual, account: str, params: Params) -> Done:
    """GET /fapi/v1/openOrders, of one symbol or of all; without conditional orders."""
    orders = exchange.wallet(account).open.values()
    return Done([order_body(order) for order in orders if _is_of(exchange, params, order.symbol)])


def all_orders(exchange: Perpetual, account: str, params: Params) -> Done:
    """GET /fapi/v1/allOrders, from `orderId` on, or the most recent."""
    symbol = required(params, "symbol")
    exchange.market(symbol)
    first = whole(params, "orderId")
    found = [
        order
        for order in exchange.wallet(account).orders.values()
        if order.symbol == symbol and order.order_id >= (first or 0) and _in_time(params, order.created_ns)
    ]
    return Done([order_body(order) for order in _page(found, params, from_start=first is not None)])


def user_trades(exchange: Perpetual, account: str, params: Params) -> Done:
    """GET /fapi/v1/userTrades, by `orderId`, by time, by `fromId` from that one on, or the most recent."""
    symbol = required(params, "symbol")
    exchange.market(symbol)
    first, order_id = whole(params, "fromId"), whole(params, "orderId")
    found = [
        fill
        for fill in exchange.wallet(account).fills
        if fill.symbol == symbol
        and fill.trade_id >= (first or 0)
        and order_id in (None, fill.order_id)
        and _in_time(params, fill.at_ns)
    ]
    from_start = first is not None or "startTime" in params
    return Done([_fill(exchange, fill) for fill in _page(found, params, from_start=from_start)])


def place_algo(exchange: Perpetual, account: str, params: Params) -> Done:
    """POST /fapi/v1/algoOrder."""
    if required(params, "algoType") != "CONDITIONAL":
        raise VenueError(-1116, "Invalid algoType.")
    symbol, side, kind = _who(params)
    if kind not in get_args(ConditionalType):
        raise VenueError(-1116, "Invalid orderType.")
    is_market, closes = kind.endswith("_MARKET"), _flag(params, "closePosition")
    quantity, price, trigger = amount(params, "quantity"), amount(params, "price"), amount(params, "triggerPrice")
    if trigger is None:
        raise mandatory("triggerPrice")
    if closes and (quantity is not None or _flag(params, "reduceOnly") or not is_market):
        raise VenueError(-4136, "Target strategy invalid for orderType; closePosition must be true alone.")
    if not closes and quantity is None:
        raise mandatory("quantity")
    if not is_market and price is None:
        raise mandatory("price")
    asked = msgspec.convert(
        {"symbol": symbol, "side": side, "type": kind, "trigger": trigger, "quantity": quantity or 0,
         "price": 0 if is_market else price, "time_in_force": params.get("timeInForce") or "GTC",
         "reduce_only": _flag(params, "reduceOnly"), "closes_position": closes,
         "client_id": check_client_id(params, "clientAlgoId")},
        NewConditional,
    )  # fmt: skip
    placed = exchange.submit_conditional(account, asked)
    return Done(algo_body(placed), placed.algo_id, placed.client_id)


def query_algo(exchange: Perpetual, account: str, params: Params) -> Done:
    """GET /fapi/v1/algoOrder."""
    found = exchange.wallet(account).find_conditional(*_which_algo(params))
    if found is None:
        raise VenueError(-2013, "Order does not exist.")
    return Done(algo_body(found), found.algo_id, found.client_id)


def cancel_algo(exchange: Perpetual, account: str, params: Params) -> Done:
    """DELETE /fapi/v1/algoOrder."""
    gone = exchange.cancel_conditional(account, *_which_algo(params))
    body = {"algoId": gone.algo_id, "clientAlgoId": gone.client_id, "code": "200", "msg": "success"}
    return Done(body, gone.algo_id, gone.client_id)


def cancel_all_algo(exchange: Perpetual, account: str, params: Params) -> Done:
    """DELETE /fapi/v1/algoOpenOrders."""
    symbol = required(params, "symbol")
    exchange.market(symbol)
    for one in [one for one in exchange.wallet(account).waiting.values() if one.asked.symbol == symbol]:
        exchange.cancel_conditional(account, one.algo_id, None)
    return Done({"code": 200, "msg": "The operation of cancel all open order is done."})


def open_algo(exchange: Perpetual, account: str, params: Params) -> Done:
    """GET /fapi/v1/openAlgoOrders, of one symbol or of all."""
    waiting = exchange.wallet(account).waiting.values()
    return Done([algo_body(one) for one in waiting if _is_of(exchange, params, one.asked.symbol)])


def all_algo(exchange: Perpetual, account: str, params: Params) -> Done:
    """GET /fapi/v1/allAlgoOrders."""
    symbol = required(params, "symbol")
    exchange.market(symbol)
    found = [one for one in exchange.wallet(account).conditionals.values() if one.asked.symbol == symbol]
    return Done([algo_body(one) for one in _page(found, params, from_start=False)])


def order_body(order: Order) -> dict[str, object]:
    """An order in REST's answers."""
    at_ms = order.updated_ns // 1_000_000
    return {
        "orderId": order.order_id,
        "symbol": order.symbol,
        "status": order.status,
        "clientOrderId": order.client_id,
        "price": show(order.price),
        "avgPrice": show(average_price(order)),
        "origQty": show(order.quantity),
        "executedQty": show(order.executed),
        "cumQty": show(order.executed),
        "cumQuote": show(order.quote_executed),
        "timeInForce": order.time_in_force,
        "type": order.type,
        "reduceOnly": order.reduce_only,
        "closePosition": order.closes,
        "side": order.side,
        "positionSide": "BOTH",
        "stopPrice": show(0),
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "origType": order.from_conditional or order.type,
        "priceMatch": "NONE",
        "selfTradePreventionMode": "NONE",
        "goodTillDate": 0,
        "time": order.created_ns // 1_000_000,
        "updateTime": at_ms,
    }


def average_price(order: Order) -> int:
    """What an order traded at; 0 if it did not."""
    return order.quote_executed * ONE // order.executed if order.executed else 0


def algo_body(one: Conditional) -> dict[str, object]:
    """A conditional order in REST's answers."""
    asked = one.asked
    return {
        "algoId": one.algo_id,
        "clientAlgoId": one.client_id,
        "algoType": "CONDITIONAL",
        "orderType": asked.type,
        "symbol": asked.symbol,
        "side": asked.side,
        "positionSide": "BOTH",
        "timeInForce": asked.time_in_force,
        "quantity": show(asked.quantity),
        "algoStatus": one.status,
        "actualOrderId": "" if one.order_id is None else str(one.order_id),
        "actualPrice": show(0),
        "triggerPrice": show(asked.trigger),
        "price": show(asked.price),
        "icebergQuantity": None,
        "selfTradePreventionMode": "NONE",
        "workingType": "MARK_PRICE",
        "priceMatch": "NONE",
        "closePosition": asked.closes_position,
        "priceProtect": False,
        "reduceOnly": asked.reduce_only,
        "createTime": one.created_ns // 1_000_000,
        "updateTime": one.updated_ns // 1_000_000,
        "triggerTime": one.triggered_ns // 1_000_000,
        "goodTillDate": 0,
    }


def _fill(exchange: Perpetual, fill: Fill) -> dict[str, object]:
    return {
        "symbol": fill.symbol,
        "id": fill.trade_id,
        "orderId": fill.order_id,
        "side": fill.side,
        "price": show(fill.price),
        "qty": show(fill.quantity),
        "realizedPnl": show(fill.realised),
        "quoteQty": show(fill.quote_amount),
        "commission": show(fill.fee),
        "commissionAsset": exchange.currency,
        "time": fill.at_ns // 1_000_000,
        "positionSide": "BOTH",
        "buyer": fill.side == "BUY",
        "maker": fill.role == "maker",
    }


def _who(params: Params) -> tuple[str, str, str]:
    symbol, side, kind = required(params, "symbol"), required(params, "side"), required(params, "type")
    if side not in get_args(Side):
        raise VenueError(-1117, "Invalid side.")
    if params.get("positionSide", "BOTH") != "BOTH":
        raise VenueError(-4061, "Order's position side does not match user's setting.")
    return symbol, side, kind


def _flag(params: Params, name: str) -> bool:
    return params.get(name, "false").lower() == "true"


def _which(params: Params) -> tuple[int | None, str | None]:
    order_id, client_id = whole(params, "orderId"), params.get("origClientOrderId") or None
    if order_id is None and client_id is None:
        raise VenueError(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
    return order_id, client_id


def _which_algo(params: Params) -> tuple[int | None, str | None]:
    algo_id, client_id = whole(params, "algoId"), params.get("clientAlgoId") or None
    if algo_id is None and client_id is None:
        raise VenueError(-1102, "Param 'clientAlgoId' or 'algoId' must be sent, but both were empty/null!")
    return algo_id, client_id


def _is_of(exchange: Perpetual, params: Params, symbol: str) -> bool:
    if "symbol" not in params:
        return True
    return exchange.market(params["symbol"]).instrument.id == symbol


def _in_time(params: Params, at_ns: int) -> bool:
    start_ns, end_ns = millis(params, "startTime"), millis(params, "endTime")
    return (start_ns is None or at_ns >= start_ns) and (end_ns is None or at_ns < end_ns + 1_000_000)


def _page(found: list[_Listed], params: Params, *, from_start: bool) -> list[_Listed]:
    limit = limit_of(params, 500, 1000)
    return found[:limit] if from_start else found[-limit:]
