"""Binance spot over REST: routes, weights, signatures and limits; the answers themselves are in the two files beside.

Source of the wire format: https://github.com/binance/binance-spot-api-docs/blob/master/rest-api.md
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl

import msgspec

from tradewatch.paper.accounts import Account
from tradewatch.paper.binance import private, public, wallet
from tradewatch.paper.binance.faults import faulted
from tradewatch.paper.binance.parameters import Params
from tradewatch.paper.binance.private import Done
from tradewatch.paper.errors import Reason, Refusal, VenueError, mandatory
from tradewatch.paper.exchange import Exchange
from tradewatch.paper.faults import Fault
from tradewatch.paper.market import Quote
from tradewatch.paper.requests import Answer, Limits, Request, Window

Public = Callable[[Exchange, Params], public.Told]
Private = Callable[[Exchange, str, Params], Done]
Weight = Callable[[Params], int]

DEFAULT_WINDOW_MS = 5_000.0
MAX_WINDOW_MS = 60_000.0
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
_SIGNATURE = re.compile(r"(^|&)signature=[^&]*")


class Route(msgspec.Struct, frozen=True):
    """An endpoint: what it is called, what it weighs, and the function that answers it.

    Without a function it needs no more than the protocol itself knows.
    """

    operation: str
    weight: int | Weight
    public: Public | None = None
    private: Private | None = None


def _depth_weight(params: Params) -> int:
    limit = int(params["limit"]) if params.get("limit", "").isdecimal() else 100
    return next(weight for most, weight in ((100, 5), (500, 25), (1000, 50), (limit, 250)) if limit <= most)


def _by_symbol(one: int, several: int) -> Weight:
    return lambda params: one if "symbol" in params else several


ROUTES: Mapping[tuple[str, str], Route] = {
    ("GET", "/api/v3/ping"): Route("ping", 1, public=public.ping),
    ("GET", "/api/v3/time"): Route("time", 1),
    ("GET", "/api/v3/exchangeInfo"): Route("exchange_info", 20),
    ("GET", "/api/v3/depth"): Route("depth", _depth_weight, public=public.depth),
    ("GET", "/api/v3/trades"): Route("trades", 25, public=public.trades),
    ("GET", "/api/v3/aggTrades"): Route("agg_trades", 4, public=public.agg_trades),
    ("GET", "/api/v3/klines"): Route("klines", 2, public=public.klines),
    ("GET", "/api/v3/ticker/24hr"): Route("ticker_24hr", _by_symbol(2, 80), public=public.ticker_24hr),
    ("GET", "/api/v3/ticker/price"): Route("ticker_price", _by_symbol(2, 4), public=public.ticker_price),
    ("GET", "/api/v3/ticker/bookTicker"): Route("book_ticker", _by_symbol(2, 4), public=public.book_ticker),
    ("POST", "/api/v3/order"): Route("order_place", 1, private=private.place),
    ("GET", "/api/v3/order"): Route("order_query", 4, private=private.query),
    ("DELETE", "/api/v3/order"): Route("order_cancel", 1, private=private.cancel),
    ("GET", "/api/v3/openOrders"): Route("open_orders", _by_symbol(6, 80), private=private.open_orders),
    ("DELETE", "/api/v3/openOrders"): Route("open_orders_cancel", 1, private=private.cancel_all),
    ("GET", "/api/v3/allOrders"): Route("all_orders", 20, private=private.all_orders),
    ("GET", "/api/v3/myTrades"): Route(
        "my_trades", lambda params: 5 if "orderId" in params else 20, private=private.my_trades
    ),
    ("GET", "/api/v3/account"): Route("account", 20, private=private.account),
    ("GET", "/sapi/v1/capital/deposit/hisrec"): Route("deposits", 1, private=wallet.deposits),
    ("GET", "/sapi/v1/capital/withdraw/history"): Route("withdrawals", 1, private=wallet.withdrawals),
}
OPERATIONS = tuple(route.operation for route in ROUTES.values())


class BinanceSpot:
    """The protocol over one exchange; counts weight and orders.

    Args:
        exchange: what is served.
        limits: of requests, in real time.
        wall_ns: the real clock that signatures and limits are judged by.
    """

    def __init__(
        self, exchange: Exchange, limits: Limits | None = None, wall_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self.exchange = exchange
        self.limits = limits or Limits()
        self._wall_ns = wall_ns
        self._weight = Window(60)
        self._orders = {account.name: (Window(10), Window(86_400)) for account in exchange.accounts.values()}

    def operation(self, request: Request) -> str:
        """What a request asks for, by our name; `unknown` for a path that is not served."""
        route = ROUTES.get((request.method, request.path))
        return route.operation if route is not None else "unknown"

    def faulted(self, fault: Fault, operation: str) -> Answer:
        """An injected fault in Binance's words, with the headers that every answer carries."""
        used = str(self._weight.at(self._wall_ns()))
        return faulted(fault, operation, {"x-mbx-used-weight": used, "x-mbx-used-weight-1m": used})

    def session(self, path: str, query: str) -> None:
        """No websockets."""

    def order_name(self, order_id: int) -> int:
        """The number itself."""
        return order_id

    def beat(self, wall_ns: int) -> None:
        """Nothing is due by time alone."""

    def client_order_id(self, request: Request) -> str | None:
        """The client's id in an order request, for the log, whether or not the request got anywhere."""
        params = _params(request)
        return params.get("newClientOrderId") if request.method == "POST" else params.get("origClientOrderId")

    def answer(self, request: Request) -> Answer:
        """Do what a request asks and say so in Binance's words; refusals are answers too."""
        wall_ns = self._wall_ns() + request.skew_ns
        params = _params(request)
        route = ROUTES.get((request.method, request.path))
        operation = self.operation(request)
        weight = _weight(route, params)
        used = self._weight.add(wall_ns, weight)
        headers = {"x-mbx-used-weight": str(used), "x-mbx-used-weight-1m": str(used)}
        account: Account | None = None
        quotes: Mapping[str, Quote] = {}
        try:
            if used > self.limits.weight_1m:
                headers["Retry-After"] = str(self._weight.left_s(wall_ns))
                raise VenueError(
                    -1003,
                    f"Too much request weight used; current limit is {self.limits.weight_1m} request weight per 1 "
                    "MINUTE. Please use WebSocket Streams for live updates to avoid polling the API.",
                    429,
                )
            self.exchange.advance()
            if route is None:
                raise VenueError(-1020, "This operation is not supported.", 404)
            if operation == "time":
                done = Done({"serverTime": wall_ns // 1_000_000})
            elif operation == "exchange_info":
                done = Done(public.exchange_info(self.exchange, params, self.limits, wall_ns))
            elif route.public is not None:
                account = self.exchange.accounts.get(request.headers.get("x-mbx-apikey") or "")
                body, quotes = route.public(self.exchange, params)
                done = Done(body)
            else:
                account = authenticate(self.exchange.accounts, request, params, wall_ns)
                done = self._private(route, params, account, headers, wall_ns)
        except (VenueError, Refusal) as refused:
            error = in_words(refused)
            return Answer(
                status=error.status,
                body=msgspec.json.encode({"code": error.code, "msg": error.message}),
                headers=headers,
                operation=operation,
                weight=weight,
                code=error.code,
                account=account.name if account else None,
                client_order_id=self.client_order_id(request),
            )
        return Answer(
            status=200,
            body=msgspec.json.encode(done.body),
            headers=headers,
            operation=operation,
            weight=weight,
            account=account.name if account else None,
            order_id=done.order_id,
            client_order_id=done.client_order_id,
            accepted=True,
            quotes=quotes,
        )

    def _private(self, route: Route, params: Params, account: Account, headers: dict[str, str], wall_ns: int) -> Done:
        assert route.private is not None
        if route.operation != "order_place":
            return route.private(self.exchange, account.name, params)
        ten_seconds, day = self._orders[account.name]
        for window, most, interval in (
            (ten_seconds, self.limits.orders_10s, "10 SECOND"),
            (day, self.limits.orders_1d, "1 DAY"),
        ):
            if window.at(wall_ns) >= most:
                headers["Retry-After"] = str(window.left_s(wall_ns))
                raise VenueError(-1015, f"Too many new orders; current limit is {most} orders per {interval}.", 429)
        done = route.private(self.exchange, account.name, params)
        headers["x-mbx-order-count-10s"] = str(ten_seconds.add(wall_ns, 1))
        headers["x-mbx-order-count-1d"] = str(day.add(wall_ns, 1))
        return done


def in_words(refused: VenueError | Refusal) -> VenueError:
    """A refusal in Binance's words."""
    return VenueError(*REFUSALS[refused.reason]) if isinstance(refused, Refusal) else refused


def authenticate(accounts: Mapping[str, Account], request: Request, params: Params, wall_ns: int) -> Account:
    """Whose request this is.

    The signature is HMAC-SHA256 in hexadecimal over query and body, without the signature parameter itself.

    Raises:
        VenueError: -2014 no key, -2015 unknown key, -1102 no timestamp or signature, -1131 recvWindow, -1021
            timestamp outside of it (wall clock), -1022 wrong signature.
    """
    key = request.headers.get("x-mbx-apikey")
    if not key:
        raise VenueError(-2014, "API-key format invalid.", 401)
    account = accounts.get(key)
    if account is None:
        raise VenueError(-2015, "Invalid API-key, IP, or permissions for action.", 401)
    if not params.get("signature"):
        raise mandatory("signature")
    payload = _SIGNATURE.sub("", request.query).lstrip("&") + _SIGNATURE.sub("", request.body).lstrip("&")
    expected = hmac.new(account.secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), params["signature"].lower().encode()):
        raise VenueError(-1022, "Signature for this request is not valid.")
    _check_time(params, wall_ns)
    return account


def _check_time(params: Params, wall_ns: int) -> None:
    text = params.get("timestamp", "")
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise mandatory("timestamp")
    sent_ms = int(text) / 1_000 if len(text) >= 16 else float(text)  # microseconds are accepted too
    try:
        window_ms = float(params.get("recvWindow", DEFAULT_WINDOW_MS))
    except ValueError:
        raise mandatory("recvWindow") from None
    if not 0 < window_ms <= MAX_WINDOW_MS:
        raise VenueError(-1131, "recvWindow must be less than 60000.")
    late_ms = wall_ns / 1e6 - sent_ms
    if late_ms <= -1_000:
        raise VenueError(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if late_ms > window_ms:
        raise VenueError(-1021, "Timestamp for this request is outside of the recvWindow.")


def _weight(route: Route | None, params: Params) -> int:
    if route is None:
        return 1
    return route.weight if isinstance(route.weight, int) else route.weight(params)


def _params(request: Request) -> dict[str, str]:
    """Parameters of body and query; the query's value is used where both have one."""
    pairs = parse_qsl(request.body, keep_blank_values=True) if request.body else []
    return dict(pairs + parse_qsl(request.query, keep_blank_values=True))
