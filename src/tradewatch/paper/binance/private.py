"""Binance spot: orders, trades and the account. Times in the answers are simulated, in milliseconds."""

from __future__ import annotations

import re
from typing import TypeVar, get_args

import msgspec

from tradewatch.paper.binance.parameters import Params, amount, limit_of, millis, required, whole
from tradewatch.paper.binance.product import Done
from tradewatch.paper.binance.refusals import REFUSALS
from tradewatch.paper.binance.user_data import cancel_id, expiry_reason
from tradewatch.paper.errors import Refusal, VenueError, mandatory
from tradewatch.paper.exchange import Exchange
from tradewatch.paper.orders import NewOrder, Order, OrderType, SelfTrade, Side, TimeInForce, Trade
from tradewatch.paper.units import show

_CLIENT_ID = re.compile(r"[a-zA-Z0-9\-_.:/]{1,36}")
_Listed = TypeVar("_Listed", Order, Trade)
_DAY_NS = 86_400 * 10**9


def place(exchange: Exchange, account: str, params: Params) -> Done:
    """POST /api/v3/order."""
    request = new_order(params)
    kind = params.get("newOrderRespType") or ("ACK" if request.type == "LIMIT_MAKER" else "FULL")
    if kind not in ("ACK", "RESULT", "FULL"):
        raise VenueError(-1136, "Invalid newOrderRespType")
    order, trades = exchange.submit(account, request)
    body: dict[str, object] = {
        "symbol": order.symbol,
        "orderId": order.order_id,
        "orderListId": -1,
        "clientOrderId": order.client_id,
        "transactTime": order.created_ns // 1_000_000,
    }
    if kind != "ACK":
        body |= _state(order) | {"workingTime": order.created_ns // 1_000_000}
    if kind == "FULL":
        body["fills"] = [
            {
                "price": show(trade.price),
                "qty": show(trade.quantity),
                "commission": show(trade.fee),
                "commissionAsset": trade.fee_currency,
                "tradeId": trade.trade_id,
            }
            for trade in trades
        ]
    return Done(body, order.order_id, order.client_id)


def test(exchange: Exchange, account: str, params: Params) -> Done:
    """POST /api/v3/order/test: judged, not placed."""
    exchange.check(account, new_order(params))
    return Done({})


def replace(exchange: Exchange, account: str, params: Params) -> Done:
    """POST /api/v3/order/cancelReplace: cancel first, then place; what fails is said for each.

    Raises:
        VenueError: -2022 the cancel failed (and nothing was placed, or that failed too), -2021 one of the two did.
    """
    mode = required(params, "cancelReplaceMode")
    if mode not in ("STOP_ON_FAILURE", "ALLOW_FAILURE"):
        raise VenueError(-1100, "Illegal characters found in parameter 'cancelReplaceMode'.")
    order_id, client_id = whole(params, "cancelOrderId"), params.get("cancelOrigClientOrderId") or None
    if order_id is None and client_id is None:
        raise VenueError(-1102, "Param 'cancelOrigClientOrderId' or 'cancelOrderId' must be sent, but both were empty.")
    unwanted = ("cancelReplaceMode", "cancelOrderId", "cancelOrigClientOrderId", "cancelNewClientOrderId")
    rest = {name: value for name, value in params.items() if name not in unwanted}
    own_id = check_client_id(params, "cancelNewClientOrderId")
    new_order(rest)
    said: dict[str, object] = {"cancelResult": "SUCCESS", "newOrderResult": "NOT_ATTEMPTED", "newOrderResponse": None}
    try:
        cancelled = exchange.cancel(account, required(params, "symbol"), order_id, client_id, cancel_id=own_id)
        said["cancelResponse"] = _cancelled(cancelled, {"newClientOrderId": own_id or ""})
    except Refusal as refused:
        said |= {"cancelResult": "FAILURE", "cancelResponse": _said(refused)}
    placed: Done | None = None
    if said["cancelResult"] == "SUCCESS" or mode == "ALLOW_FAILURE":
        try:
            placed = place(exchange, account, rest)
            said |= {"newOrderResult": "SUCCESS", "newOrderResponse": placed.body}
        except Refusal as refused:
            said |= {"newOrderResult": "FAILURE", "newOrderResponse": _said(refused)}
    if said["cancelResult"] == "FAILURE" and placed is None:
        raise VenueError(-2022, "Order cancel-replace failed.", 400, said)
    if said["cancelResult"] == "FAILURE" or placed is None:
        raise VenueError(-2021, "Order cancel-replace partially failed.", 409, said)
    return Done(said, placed.order_id, placed.client_order_id)


def _said(refused: Refusal) -> dict[str, object]:
    code, message = REFUSALS[refused.reason]
    return {"code": code, "msg": message}


def new_order(params: Params) -> NewOrder:
    """The order that parameters describe.

    Raises:
        VenueError: -1102 missing, -1106 not wanted, -1100 or -1111 not a number, -1115, -1116, -1117 unknown enum.
    """
    symbol = required(params, "symbol")
    side, kind = required(params, "side"), required(params, "type")
    if side not in get_args(Side):
        raise VenueError(-1117, "Invalid side.")
    if kind not in get_args(OrderType):
        raise VenueError(-1116, "Invalid orderType.")
    client_id = check_client_id(params, "newClientOrderId")
    unwanted = {"MARKET": ("timeInForce", "price"), "LIMIT": ("quoteOrderQty",)}
    for name in unwanted.get(kind, ("timeInForce", "quoteOrderQty")):
        if name in params:
            raise VenueError(-1106, f"Parameter '{name}' sent when not required.")
    for name in ("stopPrice", "trailingDelta", "icebergQty"):
        if name in params:
            raise VenueError(-1106, f"Parameter '{name}' sent when not required.")
    self_trade = params.get("selfTradePreventionMode") or "NONE"
    if self_trade not in get_args(SelfTrade):
        raise VenueError(-1013, "This symbol does not allow the specified self-trade prevention mode.")
    quantity, quote_quantity = amount(params, "quantity"), amount(params, "quoteOrderQty")
    if kind == "MARKET":
        if quantity is None and quote_quantity is None:
            raise VenueError(-1102, "Param 'quantity' or 'quoteOrderQty' must be sent, but both were empty/null!")
        if quantity is not None and quote_quantity is not None:
            raise VenueError(-1106, "Parameter 'quoteOrderQty' sent when not required.")
        return msgspec.convert(
            {"symbol": symbol, "side": side, "type": kind, "quantity": quantity, "quote_quantity": quote_quantity,
             "client_id": client_id, "self_trade": self_trade},
            NewOrder,
        )  # fmt: skip
    in_force = required(params, "timeInForce") if kind == "LIMIT" else "GTC"
    if in_force not in get_args(TimeInForce):
        raise VenueError(-1115, "Invalid timeInForce.")
    if quantity is None:
        raise mandatory("quantity")
    price = amount(params, "price")
    if price is None:
        raise mandatory("price")
    return msgspec.convert(
        {"symbol": symbol, "side": side, "type": kind, "time_in_force": in_force, "quantity": quantity,
         "price": price, "client_id": client_id, "self_trade": self_trade},
        NewOrder,
    )  # fmt: skip


def check_client_id(params: Params, name: str) -> str | None:
    """The client's id for an order; None when it was not sent.

    Raises:
        VenueError: -1100, other characters than are allowed.
    """
    client_id = params.get(name) or None
    if client_id is not None and not _CLIENT_ID.fullmatch(client_id):
        raise VenueError(
            -1100,
            f"Illegal characters found in parameter '{name}'; legal range is '^[a-zA-Z0-9-_.:/]{{1,36}}$'.",
        )
    return client_id


def query(exchange: Exchange, account: str, params: Params) -> Done:
    """GET /api/v3/order."""
    order = exchange.order(account, required(params, "symbol"), *_which(params))
    return Done(_listed(order), order.order_id, order.client_id)


def cancel(exchange: Exchange, account: str, params: Params) -> Done:
    """DELETE /api/v3/order: `clientOrderId` of the answer is the cancel's own id."""
    own_id = check_client_id(params, "newClientOrderId")
    order = exchange.cancel(account, required(params, "symbol"), *_which(params), cancel_id=own_id)
    return Done(_cancelled(order, params), order.order_id, order.client_id)


def cancel_all(exchange: Exchange, account: str, params: Params) -> Done:
    """DELETE /api/v3/openOrders."""
    return Done([_cancelled(order, params) for order in exchange.cancel_all(account, required(params, "symbol"))])


def open_orders(exchange: Exchange, account: str, params: Params) -> Done:
    """GET /api/v3/openOrders, of one symbol or of all."""
    symbol = params.get("symbol")
    if symbol is not None:
        exchange.market(symbol)
    return Done([_listed(order) for order in exchange.open_orders(account, symbol)])


def all_orders(exchange: Exchange, account: str, params: Params) -> Done:
    """GET /api/v3/allOrders, by `orderId` from that one on, or the most recent."""
    symbol = required(params, "symbol")
    exchange.market(symbol)
    start_ns, end_ns = _between(params)
    first = whole(params, "orderId")
    found = [
        order
        for order in exchange.orders(account, symbol)
        if order.order_id >= (first or 0) and start_ns <= order.created_ns < end_ns
    ]
    return Done([_listed(order) for order in _page(found, params, from_start=first is not None or start_ns > 0)])


def my_trades(exchange: Exchange, account: str, params: Params) -> Done:
    """GET /api/v3/myTrades, by `orderId`, by time, by `fromId` from that one on, or the most recent."""
    symbol = required(params, "symbol")
    exchange.market(symbol)
    start_ns, end_ns = _between(params)
    first, order_id = whole(params, "fromId"), whole(params, "orderId")
    found = [
        trade
        for trade in exchange.trades(account, symbol)
        if trade.trade_id >= (first or 0) and order_id in (None, trade.order_id) and start_ns <= trade.at_ns < end_ns
    ]
    return Done([_trade(trade) for trade in _page(found, params, from_start=first is not None or start_ns > 0)])


def account(exchange: Exchange, account: str, params: Params) -> Done:
    """GET /api/v3/account."""
    holdings = exchange.holdings(account)
    omit = params.get("omitZeroBalances") == "true"
    fees = exchange.fees
    return Done(
        {
            "makerCommission": fees.maker // 10_000,
            "takerCommission": fees.taker // 10_000,
            "buyerCommission": 0,
            "sellerCommission": 0,
            "commissionRates": {
                "maker": show(fees.maker),
                "taker": show(fees.taker),
                "buyer": show(0),
                "seller": show(0),
            },
            "canTrade": True,
            "canWithdraw": False,
            "canDeposit": False,
            "brokered": False,
            "requireSelfTradePrevention": False,
            "preventSor": False,
            "updateTime": exchange.updated_ns(account) // 1_000_000,
            "accountType": "SPOT",
            "balances": [
                {"asset": currency, "free": show(held.free), "locked": show(held.locked)}
                for currency, held in holdings.items()
                if held.free or held.locked or not omit
            ],
            "permissions": ["SPOT"],
            "uid": 1 + exchange.names.index(account),
        }
    )


def _which(params: Params) -> tuple[int | None, str | None]:
    order_id, client_id = whole(params, "orderId"), params.get("origClientOrderId") or None
    if order_id is None and client_id is None:
        raise VenueError(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
    return order_id, client_id


def _between(params: Params) -> tuple[int, int]:
    """Start and end (exclusive, the venue's end includes its millisecond) in nanoseconds."""
    start_ns, end_ns = millis(params, "startTime"), millis(params, "endTime")
    if start_ns is not None and end_ns is not None and end_ns - start_ns > _DAY_NS:
        raise VenueError(-1127, "More than 24 hours between startTime and endTime.")
    return start_ns or 0, 1 << 63 if end_ns is None else end_ns + 1_000_000


def _page(found: list[_Listed], params: Params, *, from_start: bool) -> list[_Listed]:
    limit = limit_of(params, 500, 1000)
    return found[:limit] if from_start else found[-limit:]


def _state(order: Order) -> dict[str, object]:
    return {
        "price": show(order.price),
        "origQty": show(order.quantity),
        "executedQty": show(order.executed),
        "origQuoteOrderQty": show(order.quote_quantity),
        "cummulativeQuoteQty": show(order.quote_executed),
        "status": order.status,
        "timeInForce": order.time_in_force,
        "type": order.type,
        "side": order.side,
        "selfTradePreventionMode": order.self_trade,
        **({"preventedQuantity": show(order.quantity - order.executed)} if order.status == "EXPIRED_IN_MATCH" else {}),
        **({"expiryReason": expiry_reason(order)} if order.status == "EXPIRED" else {}),
    }


def _listed(order: Order) -> dict[str, object]:
    return {
        "symbol": order.symbol,
        "orderId": order.order_id,
        "orderListId": -1,
        "clientOrderId": order.client_id,
        **_state(order),
        "stopPrice": show(0),
        "icebergQty": show(0),
        "time": order.created_ns // 1_000_000,
        "updateTime": order.updated_ns // 1_000_000,
        "isWorking": True,
        "workingTime": order.created_ns // 1_000_000,
    }


def _cancelled(order: Order, params: Params) -> dict[str, object]:
    return {
        "symbol": order.symbol,
        "origClientOrderId": order.client_id,
        "orderId": order.order_id,
        "orderListId": -1,
        "clientOrderId": params.get("newClientOrderId") or cancel_id(order.order_id),
        "transactTime": order.updated_ns // 1_000_000,
        **_state(order),
    }


def _trade(trade: Trade) -> dict[str, object]:
    return {
        "symbol": trade.symbol,
        "id": trade.trade_id,
        "orderId": trade.order_id,
        "orderListId": -1,
        "price": show(trade.price),
        "qty": show(trade.quantity),
        "quoteQty": show(trade.quote_amount),
        "commission": show(trade.fee),
        "commissionAsset": trade.fee_currency,
        "time": trade.at_ns // 1_000_000,
        "isBuyer": trade.side == "BUY",
        "isMaker": trade.role == "maker",
        "isBestMatch": True,
    }
