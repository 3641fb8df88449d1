"""Binance spot: its routes and weights, the methods of its websocket API, its refusals.

Source: https://github.com/binance/binance-spot-api-docs/blob/master/rest-api.md and web-socket-api.md beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from tradewatch.paper.binance import private, public, user_data, wallet
from tradewatch.paper.binance.parameters import Params
from tradewatch.paper.binance.product import OrderWindow, Product, Route, by_symbol
from tradewatch.paper.binance.refusals import REFUSALS
from tradewatch.paper.binance.wire import BinanceWire
from tradewatch.paper.exchange import Exchange
from tradewatch.paper.requests import Limits


def _depth_weight(params: Params) -> int:
    limit = int(params["limit"]) if params.get("limit", "").isdecimal() else 100
    return next(weight for most, weight in ((100, 5), (500, 25), (1000, 50), (limit, 250)) if limit <= most)


ROUTES: Mapping[tuple[str, str], Route] = {
    ("GET", "/api/v3/ping"): Route("ping", 1, public=public.ping),
    ("GET", "/api/v3/time"): Route("time", 1),
    ("GET", "/api/v3/exchangeInfo"): Route("exchange_info", 20),
    ("GET", "/api/v3/depth"): Route("depth", _depth_weight, public=public.depth),
    ("GET", "/api/v3/trades"): Route("trades", 25, public=public.trades),
    ("GET", "/api/v3/aggTrades"): Route("agg_trades", 4, public=public.agg_trades),
    ("GET", "/api/v3/klines"): Route("klines", 2, public=public.klines),
    ("GET", "/api/v3/avgPrice"): Route("avg_price", 2, public=public.avg_price),
    ("GET", "/api/v3/ticker/24hr"): Route("ticker_24hr", by_symbol(2, 80), public=public.ticker_24hr),
    ("GET", "/api/v3/ticker/price"): Route("ticker_price", by_symbol(2, 4), public=public.ticker_price),
    ("GET", "/api/v3/ticker/bookTicker"): Route("book_ticker", by_symbol(2, 4), public=public.book_ticker),
    ("POST", "/api/v3/order"): Route("order_place", 1, private=private.place, counts=True),
    ("POST", "/api/v3/order/test"): Route("order_test", 1, private=private.test),
    ("POST", "/api/v3/order/cancelReplace"): Route("order_replace", 1, private=private.replace, counts=True),
    ("GET", "/api/v3/order"): Route("order_query", 4, private=private.query),
    ("DELETE", "/api/v3/order"): Route("order_cancel", 1, private=private.cancel),
    ("GET", "/api/v3/openOrders"): Route("open_orders", by_symbol(6, 80), private=private.open_orders),
    ("DELETE", "/api/v3/openOrders"): Route("open_orders_cancel", 1, private=private.cancel_all),
    ("GET", "/api/v3/allOrders"): Route("all_orders", 20, private=private.all_orders),
    ("GET", "/api/v3/myTrades"): Route(
        "my_trades", lambda params: 5 if "orderId" in params else 20, private=private.my_trades
    ),
    ("GET", "/api/v3/account"): Route("account", 20, private=private.account),
    ("GET", "/api/v3/rateLimit/order"): Route("order_counts", 40),
    ("GET", "/sapi/v1/capital/deposit/hisrec"): Route("deposits", 1, private=wallet.deposits),
    ("GET", "/sapi/v1/capital/withdraw/history"): Route("withdrawals", 1, private=wallet.withdrawals),
    ("POST", "/api/v3/userDataStream"): Route("listen_key_start", 2, key_only=True),
    ("PUT", "/api/v3/userDataStream"): Route("listen_key_keep", 2, key_only=True),
    ("DELETE", "/api/v3/userDataStream"): Route("listen_key_close", 2, key_only=True),
}
WS_METHODS: Mapping[str, tuple[str, str]] = {
    "ping": ("GET", "/api/v3/ping"),
    "time": ("GET", "/api/v3/time"),
    "exchangeInfo": ("GET", "/api/v3/exchangeInfo"),
    "depth": ("GET", "/api/v3/depth"),
    "trades.recent": ("GET", "/api/v3/trades"),
    "trades.aggregate": ("GET", "/api/v3/aggTrades"),
    "klines": ("GET", "/api/v3/klines"),
    "avgPrice": ("GET", "/api/v3/avgPrice"),
    "ticker.24hr": ("GET", "/api/v3/ticker/24hr"),
    "ticker.price": ("GET", "/api/v3/ticker/price"),
    "ticker.book": ("GET", "/api/v3/ticker/bookTicker"),
    "order.place": ("POST", "/api/v3/order"),
    "order.test": ("POST", "/api/v3/order/test"),
    "order.cancelReplace": ("POST", "/api/v3/order/cancelReplace"),
    "order.status": ("GET", "/api/v3/order"),
    "order.cancel": ("DELETE", "/api/v3/order"),
    "openOrders.status": ("GET", "/api/v3/openOrders"),
    "openOrders.cancelAll": ("DELETE", "/api/v3/openOrders"),
    "allOrders": ("GET", "/api/v3/allOrders"),
    "myTrades": ("GET", "/api/v3/myTrades"),
    "account.status": ("GET", "/api/v3/account"),
    "account.rateLimits.orders": ("GET", "/api/v3/rateLimit/order"),
}
PRODUCT = Product(
    routes=ROUTES,
    ws_methods=WS_METHODS,
    ws_api_path="/ws-api/v3",
    refusals=REFUSALS,
    limits=Limits(),
    order_windows=(
        OrderWindow(10, "SECOND", 10, "x-mbx-order-count-10s", lambda limits: limits.orders_10s),
        OrderWindow(86_400, "DAY", 1, "x-mbx-order-count-1d", lambda limits: limits.orders_1d),
    ),
    exchange_info=public.exchange_info,
    user_events=user_data.events,
    user_events_on_api=True,
    lines=lambda exchange: exchange.journal.lines,
)


def binance_spot(
    exchange: Exchange, limits: Limits | None = None, wall_ns: Callable[[], int] = time.time_ns
) -> BinanceWire:
    """Spot's protocol over an exchange."""
    return BinanceWire(PRODUCT, exchange, limits, wall_ns)
