"""Binance's USD-M perpetual: its routes and weights, the methods of its websocket API, its refusals.

Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/general-info and the pages beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from tradewatch.paper.binance import public, usdm_orders, usdm_public, usdm_user_data
from tradewatch.paper.binance import usdm_account as account
from tradewatch.paper.binance.product import OrderWindow, Product, Route, by_symbol
from tradewatch.paper.binance.wire import BinanceWire
from tradewatch.paper.errors import Reason
from tradewatch.paper.perpetual import Perpetual
from tradewatch.paper.requests import Limits

REFUSALS: Mapping[Reason, tuple[int, str]] = {
    "unknown_symbol": (-1121, "Invalid symbol."),
    "unknown_currency": (-1100, "Illegal characters found in parameter 'asset'."),
    "market_closed": (-4140, "Invalid symbol status for opening position."),
    "duplicate_client_id": (-4116, "ClientOrderId is duplicated."),
    "too_many_orders": (-2025, "Reach max open order limit."),
    "insufficient_balance": (-2018, "Balance is insufficient."),
    "insufficient_margin": (-2019, "Margin is insufficient."),
    "order_not_open": (-2011, "Unknown order sent."),
    "order_not_found": (-2013, "Order does not exist."),
    "would_take": (-5022, "Due to the order could not be executed as maker, the Post Only order will be rejected."),
    "would_trigger": (-2021, "Order would immediately trigger."),
    "reduce_only": (-2022, "ReduceOnly Order is rejected."),
    "leverage": (-4028, "Leverage is not valid."),
    "open_position": (-4048, "Margin type cannot be changed if there exists position."),
    "price": (-4014, "Price not increased by tick size."),
    "quantity": (-1111, "Precision is over the maximum defined for this asset."),
    "notional": (-4164, "Order's notional must be no smaller than 5 (unless you choose reduce only)."),
}
ROUTES: Mapping[tuple[str, str], Route] = {
    ("GET", "/fapi/v1/ping"): Route("ping", 1, public=public.ping),
    ("GET", "/fapi/v1/time"): Route("time", 1),
    ("GET", "/fapi/v1/exchangeInfo"): Route("exchange_info", 1),
    ("GET", "/fapi/v1/depth"): Route("depth", 10, public=usdm_public.depth),
    ("GET", "/fapi/v1/trades"): Route("trades", 5, public=public.trades),
    ("GET", "/fapi/v1/aggTrades"): Route("agg_trades", 20, public=public.agg_trades),
    ("GET", "/fapi/v1/klines"): Route("klines", 5, public=public.klines),
    ("GET", "/fapi/v1/premiumIndex"): Route("premium_index", by_symbol(1, 10), public=usdm_public.premium_index),
    ("GET", "/fapi/v1/fundingRate"): Route("funding_rate", 1, public=usdm_public.funding_rate),
    ("GET", "/fapi/v1/fundingInfo"): Route("funding_info", 1, public=usdm_public.funding_info),
    ("GET", "/fapi/v1/ticker/24hr"): Route("ticker_24hr", by_symbol(1, 40), public=usdm_public.ticker_24hr),
    ("GET", "/fapi/v1/ticker/price"): Route("ticker_price", by_symbol(1, 2), public=usdm_public.ticker_price),
    ("GET", "/fapi/v2/ticker/price"): Route("ticker_price", by_symbol(1, 2), public=usdm_public.ticker_price),
    ("GET", "/fapi/v1/ticker/bookTicker"): Route("book_ticker", by_symbol(2, 5), public=usdm_public.book_ticker),
    ("POST", "/fapi/v1/order"): Route("order_place", 0, private=usdm_orders.place, counts=True),
    ("GET", "/fapi/v1/order"): Route("order_query", 1, private=usdm_orders.query),
    ("DELETE", "/fapi/v1/order"): Route("order_cancel", 1, private=usdm_orders.cancel),
    ("GET", "/fapi/v1/openOrder"): Route("open_order", 1, private=usdm_orders.query_open),
    ("GET", "/fapi/v1/openOrders"): Route("open_orders", by_symbol(1, 40), private=usdm_orders.open_orders),
    ("DELETE", "/fapi/v1/allOpenOrders"): Route("open_orders_cancel", 1, private=usdm_orders.cancel_all),
    ("GET", "/fapi/v1/allOrders"): Route("all_orders", 5, private=usdm_orders.all_orders),
    ("GET", "/fapi/v1/userTrades"): Route("my_trades", 5, private=usdm_orders.user_trades),
    ("POST", "/fapi/v1/algoOrder"): Route("algo_place", 0, private=usdm_orders.place_algo, counts=True),
    ("GET", "/fapi/v1/algoOrder"): Route("algo_query", 1, private=usdm_orders.query_algo),
    ("DELETE", "/fapi/v1/algoOrder"): Route("algo_cancel", 1, private=usdm_orders.cancel_algo),
    ("DELETE", "/fapi/v1/algoOpenOrders"): Route("open_algos_cancel", 1, private=usdm_orders.cancel_all_algo),
    ("GET", "/fapi/v1/openAlgoOrders"): Route("open_algos", by_symbol(1, 40), private=usdm_orders.open_algo),
    ("GET", "/fapi/v1/allAlgoOrders"): Route("all_algos", 5, private=usdm_orders.all_algo),
    ("GET", "/fapi/v3/account"): Route("account", 5, private=account.account),
    ("GET", "/fapi/v2/account"): Route("account", 5, private=account.account),
    ("GET", "/fapi/v3/balance"): Route("balance", 5, private=account.balance),
    ("GET", "/fapi/v2/balance"): Route("balance", 5, private=account.balance),
    ("GET", "/fapi/v3/positionRisk"): Route("position_risk", 5, private=account.position_risk),
    ("GET", "/fapi/v2/positionRisk"): Route("position_risk", 5, private=account.position_risk),
    ("POST", "/fapi/v1/leverage"): Route("leverage_set", 1, private=account.set_leverage),
    ("POST", "/fapi/v1/marginType"): Route("margin_type_set", 1, private=account.set_margin_type),
    ("GET", "/fapi/v1/positionSide/dual"): Route("position_mode", 30, private=account.position_mode),
    ("POST", "/fapi/v1/positionSide/dual"): Route("position_mode_set", 1, private=account.set_position_mode),
    ("GET", "/fapi/v1/leverageBracket"): Route("leverage_bracket", 1, private=account.leverage_bracket),
    ("GET", "/fapi/v1/symbolConfig"): Route("symbol_config", 5, private=account.symbol_config),
    ("GET", "/fapi/v1/commissionRate"): Route("commission_rate", 20, private=account.commission_rate),
    ("GET", "/fapi/v1/income"): Route("income", 30, private=account.income),
    ("POST", "/fapi/v1/listenKey"): Route("listen_key_start", 1, key_only=True),
    ("PUT", "/fapi/v1/listenKey"): Route("listen_key_keep", 1, key_only=True),
    ("DELETE", "/fapi/v1/listenKey"): Route("listen_key_close", 1, key_only=True),
}
WS_METHODS: Mapping[str, tuple[str, str]] = {
    "ping": ("GET", "/fapi/v1/ping"),
    "time": ("GET", "/fapi/v1/time"),
    "depth": ("GET", "/fapi/v1/depth"),
    "ticker.price": ("GET", "/fapi/v2/ticker/price"),
    "ticker.book": ("GET", "/fapi/v1/ticker/bookTicker"),
    "order.place": ("POST", "/fapi/v1/order"),
    "order.status": ("GET", "/fapi/v1/order"),
    "order.cancel": ("DELETE", "/fapi/v1/order"),
    "algoOrder.place": ("POST", "/fapi/v1/algoOrder"),
    "algoOrder.cancel": ("DELETE", "/fapi/v1/algoOrder"),
    "account.status": ("GET", "/fapi/v2/account"),
    "v2/account.status": ("GET", "/fapi/v3/account"),
    "account.balance": ("GET", "/fapi/v2/balance"),
    "v2/account.balance": ("GET", "/fapi/v3/balance"),
    "account.position": ("GET", "/fapi/v2/positionRisk"),
    "v2/account.position": ("GET", "/fapi/v3/positionRisk"),
}
PRODUCT = Product(
    routes=ROUTES,
    ws_methods=WS_METHODS,
    ws_api_path="/ws-fapi/v1",
    refusals=REFUSALS,
    limits=Limits(weight_1m=2_400, orders_10s=300),
    order_windows=(
        OrderWindow(10, "SECOND", 10, "x-mbx-order-count-10s", lambda limits: limits.orders_10s),
        OrderWindow(60, "MINUTE", 1, "x-mbx-order-count-1m", lambda limits: limits.orders_1m),
    ),
    exchange_info=usdm_public.exchange_info,
    user_events=usdm_user_data.events,
    is_contract=True,
)


def binance_usdm(
    exchange: Perpetual, limits: Limits | None = None, wall_ns: Callable[[], int] = time.time_ns
) -> BinanceWire:
    """The perpetual's protocol over an exchange."""
    return BinanceWire(PRODUCT, exchange, limits, wall_ns)
