"""Binance's protocol over one exchange: HTTP requests, the websocket API, streams, and what they share and count.

Source of the wire format: https://github.com/binance/binance-spot-api-docs and, of the perpetual,
https://developers.binance.com/docs/derivatives/usds-margined-futures/general-info
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from urllib.parse import parse_qs, parse_qsl

import msgspec

from tradewatch.paper.accounts import Account
from tradewatch.paper.binance.faults import faulted
from tradewatch.paper.binance.listen_keys import ListenKeys
from tradewatch.paper.binance.parameters import Params
from tradewatch.paper.binance.product import Core, Done, Product, Route
from tradewatch.paper.binance.signing import authenticate, known
from tradewatch.paper.binance.streams import StreamSession
from tradewatch.paper.binance.ws_api import ApiSession
from tradewatch.paper.errors import Refusal, VenueError
from tradewatch.paper.faults import Fault
from tradewatch.paper.journal import Booked
from tradewatch.paper.market import Quote
from tradewatch.paper.requests import Answer, Limits, Request, Window

_AS_TAKER, _AS_MAKER = 1, 5  # what an order's first fill takes from the order counts


class Outcome(msgspec.Struct, frozen=True):
    """What became of a request, before it is put into the form of HTTP or of the websocket API.

    `order_counts` are those after an order that was accepted; `retry_after_s` is of a limit that was met.
    """

    status: int
    body: object
    operation: str
    weight: int
    used: int
    code: int | None = None
    account: str | None = None
    order_id: int | None = None
    client_order_id: str | None = None
    quotes: Mapping[str, Quote] = {}
    order_counts: tuple[int, ...] = ()
    retry_after_s: int | None = None

    @property
    def accepted(self) -> bool:
        """Whether the exchange did what was asked."""
        return self.code is None


class BinanceWire:
    """The protocol over one exchange; counts weight and orders.

    Args:
        product: spot or the perpetual.
        exchange: what is served.
        limits: of requests, in real time; the product's unless given.
        wall_ns: the real clock that signatures and limits are judged by.
    """

    def __init__(
        self,
        product: Product,
        exchange: Core,
        limits: Limits | None = None,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.product = product
        self.exchange = exchange
        self.limits = limits or product.limits
        self.listen_keys = ListenKeys()
        self._wall_ns = wall_ns
        self._weight = Window(60)
        windows = product.order_windows
        self._orders = {name: [Window(one.length_s) for one in windows] for name in exchange.names}
        self._lines_seen = 0
        self._filled: set[int] = set()

    def operation(self, request: Request) -> str:
        """What a request asks for, by our name; `unknown` for a path that is not served."""
        route = self.product.routes.get((request.method, request.path))
        return route.operation if route is not None else "unknown"

    def faulted(self, fault: Fault, operation: str) -> Answer:
        """An injected fault in Binance's words, with the headers that every answer carries."""
        return faulted(fault, operation, _weight_headers(self._weight.at(self._wall_ns())))

    def session(self, path: str, query: str) -> StreamSession | ApiSession | None:
        """The websocket API, or streams: raw (`/ws`, `/ws/<stream>`) or combined (`/stream?streams=`)."""
        if path == self.product.ws_api_path:
            return ApiSession(self, self._wall_ns)
        parts = [part for part in path.split("/") if part]
        if self.product.is_contract and parts[:1] and parts[0] in ("public", "market", "private"):
            parts = parts[1:]
        if not parts or parts[0] not in ("ws", "stream"):
            return None
        asked = parse_qs(query)
        listed = asked.get("streams", [""])[0].split("/") + asked.get("listenKey", [])
        # ccxt numbers its connections: /ws/0 is a raw stream's connection without a stream.
        streams = [name for name in (*parts[1:], *listed) if name and not name.isdigit()]
        return StreamSession(self, streams, combined=parts[0] == "stream", wall_ns=self._wall_ns)

    def order_name(self, order_id: int) -> int:
        """The number itself."""
        return order_id

    def beat(self, wall_ns: int) -> None:
        """Nothing is due by time alone."""

    def client_order_id(self, request: Request) -> str | None:
        """The client's id in an order request, for the log, whether or not the request got anywhere."""
        return client_order_id(request.method, _params(request))

    def answer(self, request: Request) -> Answer:
        """Do what a request asks and say so in Binance's words; refusals are answers too."""
        wall_ns = self._wall_ns()
        venue_ns = wall_ns + request.skew_ns
        params = _params(request)
        key = request.headers.get("x-mbx-apikey")
        route = self.product.routes.get((request.method, request.path))

        def identify() -> Account:
            if route is not None and route.key_only:
                return known(self.exchange.accounts, key)
            return authenticate(self.exchange.accounts, request, params, venue_ns)

        outcome = self.perform(
            route, request.method, params, identify=identify, key=key, wall_ns=wall_ns, venue_ns=venue_ns
        )
        headers = _weight_headers(outcome.used)
        for window, count in zip(self.product.order_windows, outcome.order_counts, strict=False):
            headers[window.header] = str(count)
        if outcome.retry_after_s is not None:
            headers["Retry-After"] = str(outcome.retry_after_s)
        return Answer(
            status=outcome.status,
            body=msgspec.json.encode(outcome.body),
            headers=headers,
            operation=outcome.operation,
            weight=outcome.weight,
            code=outcome.code,
            account=outcome.account,
            order_id=outcome.order_id,
            client_order_id=outcome.client_order_id,
            accepted=outcome.accepted,
            quotes=outcome.quotes,
        )

    def perform(
        self,
        route: Route | None,
        method: str,
        params: Params,
        *,
        identify: Callable[[], Account],
        wall_ns: int,
        venue_ns: int,
        key: str | None = None,
    ) -> Outcome:
        """Count a request and do what it asks.

        `identify` says whose a private one is; `key` is what came with a public one. Limits are counted by `wall_ns`;
        `venue_ns` is what the venue takes for the time.
        """
        operation = route.operation if route is not None else "unknown"
        weight = _weight(route, params)
        used = self._weight.add(wall_ns, weight)
        account: Account | None = None
        retry_after_s: int | None = None
        quotes: Mapping[str, Quote] = {}
        counts: tuple[int, ...] = ()
        try:
            if used > self.limits.weight_1m:
                retry_after_s = self._weight.left_s(wall_ns)
                raise VenueError(
                    -1003,
                    f"Too much request weight used; current limit is {self.limits.weight_1m} request weight per 1 "
                    "MINUTE. Please use WebSocket Streams for live updates to avoid polling the API.",
                    429,
                )
            self.exchange.advance()
            self._count_fills(wall_ns)
            if route is None:
                raise VenueError(-1020, "This operation is not supported.", 404)
            if operation == "time":
                done = Done({"serverTime": venue_ns // 1_000_000})
            elif operation == "exchange_info":
                limits = self.rate_limits(None, wall_ns)
                done = Done(self.product.exchange_info(self.exchange, params, limits, venue_ns // 1_000_000))
            elif route.public is not None:
                account = self.exchange.accounts.get(key or "")
                body, quotes = route.public(self.exchange, params)
                done = Done(body)
            else:
                account = identify()
                if route.counts:
                    self._check_orders(account, wall_ns)
                if operation == "order_counts":
                    done = Done(self.rate_limits(account.name, wall_ns)[1:])
                elif route.private is None:
                    done = Done(self.listen_keys.do(operation, account.name, params, wall_ns))
                else:
                    done = route.private(self.exchange, account.name, params)
                if route.counts:
                    counts = tuple(window.add(wall_ns, 1) for window in self._orders[account.name])
        except (VenueError, Refusal) as refused:
            error = self.in_words(refused)
            if error.code == -1015 and account is not None:
                retry_after_s = self._left_s(account, wall_ns)
            return Outcome(
                status=error.status,
                body={"code": error.code, "msg": error.message} | ({"data": error.data} if error.data else {}),
                operation=operation,
                weight=weight,
                used=used,
                code=error.code,
                account=account.name if account else None,
                client_order_id=client_order_id(method, params),
                retry_after_s=retry_after_s,
            )
        return Outcome(
            status=200,
            body=done.body,
            operation=operation,
            weight=weight,
            used=used,
            account=account.name if account else None,
            order_id=done.order_id,
            client_order_id=done.client_order_id,
            quotes=quotes,
            order_counts=counts,
        )

    def rate_limits(self, account: str | None, wall_ns: int) -> list[dict[str, object]]:
        """The limits as exchangeInfo lists them; for an account, or with None for nobody, what is used of them."""
        weight = ("REQUEST_WEIGHT", "MINUTE", 1, self.limits.weight_1m, self._weight.at(wall_ns))
        rows: list[tuple[str, str, int, int, int | None]] = [weight]
        for number, window in enumerate(self.product.order_windows):
            used = self._orders[account][number].at(wall_ns) if account is not None else None
            rows.append(("ORDERS", window.interval, window.number, window.most(self.limits), used))
        return [
            {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit}
            | ({"count": count} if account is not None else {})
            for kind, interval, number, limit, count in rows
        ]

    def in_words(self, refused: VenueError | Refusal) -> VenueError:
        """A refusal in Binance's words."""
        return VenueError(*self.product.refusals[refused.reason]) if isinstance(refused, Refusal) else refused

    def _count_fills(self, wall_ns: int) -> None:
        """Take each order's first fill from the counts, one as taker and five as maker (faqs/order_count_decrement)."""
        if self.product.lines is None:
            return
        lines = self.product.lines(self.exchange)
        for line in lines[self._lines_seen :]:
            if isinstance(line, Booked) and line.trade.order_id not in self._filled:
                self._filled.add(line.trade.order_id)
                for window in self._orders[line.account]:
                    taken = _AS_TAKER if line.trade.role == "taker" else _AS_MAKER
                    window.add(wall_ns, -min(taken, window.at(wall_ns)))
        self._lines_seen = len(lines)

    def _check_orders(self, account: Account, wall_ns: int) -> None:
        for window, counted in zip(self.product.order_windows, self._orders[account.name], strict=True):
            most = window.most(self.limits)
            if counted.at(wall_ns) >= most:
                interval = f"{window.number} {window.interval}"
                raise VenueError(-1015, f"Too many new orders; current limit is {most} orders per {interval}.", 429)

    def _left_s(self, account: Account, wall_ns: int) -> int:
        pairs = zip(self.product.order_windows, self._orders[account.name], strict=True)
        full = [counted.left_s(wall_ns) for window, counted in pairs if counted.at(wall_ns) >= window.most(self.limits)]
        return full[0]


def client_order_id(method: str, params: Params) -> str | None:
    """The client's id in the parameters of an order request."""
    names = ("newClientOrderId", "clientAlgoId") if method == "POST" else ("origClientOrderId", "clientAlgoId")
    return next((params[name] for name in names if params.get(name)), None)


def _weight_headers(used: int) -> dict[str, str]:
    return {"x-mbx-used-weight": str(used), "x-mbx-used-weight-1m": str(used)}


def _weight(route: Route | None, params: Params) -> int:
    if route is None:
        return 1
    return route.weight if isinstance(route.weight, int) else route.weight(params)


def _params(request: Request) -> dict[str, str]:
    """Parameters of body and query; the query's value is used where both have one."""
    pairs = parse_qsl(request.body, keep_blank_values=True) if request.body else []
    return dict(pairs + parse_qsl(request.query, keep_blank_values=True))
