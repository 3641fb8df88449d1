"""Kraken spot: routes, keys, nonces, signatures and call counters; the answers themselves are in the files beside.

Every answer is HTTP 200 with `{"error": [...], "result": ...}`; a refusal has its text in `error` and no result.

Source: https://docs.kraken.com/api/docs/guides/spot-rest-intro and spot-rest-auth.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl

import msgspec

from tradewatch.paper.accounts import Account, Permission
from tradewatch.paper.errors import Refusal
from tradewatch.paper.exchange import Exchange
from tradewatch.paper.faults import Fault
from tradewatch.paper.kraken import account as account_data
from tradewatch.paper.kraken import market_data, orders
from tradewatch.paper.kraken.errors import KrakenError, fault_text, in_words
from tradewatch.paper.kraken.limits import TIERS, Counter
from tradewatch.paper.kraken.names import Names, names_of, spelled
from tradewatch.paper.kraken.orders import Done
from tradewatch.paper.kraken.parameters import Params, text_of
from tradewatch.paper.kraken.session import KrakenSession
from tradewatch.paper.kraken.tokens import Tokens
from tradewatch.paper.kraken.trading import Trading
from tradewatch.paper.market import Quote
from tradewatch.paper.requests import Answer, Limits, Request, gateway_page

Public = Callable[[Exchange, Names, market_data.Params], market_data.Told]
Reading = Callable[[Exchange, Names, str, Params], object]
Writing = Callable[[Trading, Names, str, Params, int], Done]
SOCKET_PATHS = ("/v2", "/v2/")


class Route(msgspec.Struct, frozen=True):
    """An endpoint: what it is called, what it adds to the call counter, what the key must be allowed."""

    operation: str
    cost: int = 1
    needs: Permission = "query"
    public: Public | None = None
    reads: Reading | None = None
    writes: Writing | None = None


_PUBLIC = "/0/public/"
_PRIVATE = "/0/private/"
ROUTES: Mapping[str, Route] = {
    f"{_PUBLIC}Time": Route("time"),
    f"{_PUBLIC}SystemStatus": Route("system_status"),
    f"{_PUBLIC}Assets": Route("assets", public=market_data.assets),
    f"{_PUBLIC}AssetPairs": Route("asset_pairs", public=market_data.asset_pairs),
    f"{_PUBLIC}Ticker": Route("ticker", public=market_data.ticker),
    f"{_PUBLIC}Depth": Route("depth", public=market_data.depth),
    f"{_PUBLIC}OHLC": Route("ohlc", public=market_data.ohlc),
    f"{_PUBLIC}Trades": Route("trades", public=market_data.trades),
    f"{_PRIVATE}Balance": Route("balance", reads=account_data.balance),
    f"{_PRIVATE}BalanceEx": Route("balance_ex", reads=account_data.balance_ex),
    f"{_PRIVATE}TradeBalance": Route("trade_balance", reads=account_data.trade_balance),
    f"{_PRIVATE}TradeVolume": Route("trade_volume", reads=account_data.trade_volume),
    f"{_PRIVATE}OpenOrders": Route("open_orders", reads=account_data.open_orders),
    f"{_PRIVATE}ClosedOrders": Route("closed_orders", reads=account_data.closed_orders),
    f"{_PRIVATE}QueryOrders": Route("query_orders", reads=account_data.query_orders),
    f"{_PRIVATE}TradesHistory": Route("trades_history", 2, reads=account_data.trades_history),
    f"{_PRIVATE}QueryTrades": Route("query_trades", reads=account_data.query_trades),
    f"{_PRIVATE}Ledgers": Route("ledgers", 2, reads=account_data.ledgers),
    f"{_PRIVATE}QueryLedgers": Route("query_ledgers", 2, reads=account_data.query_ledgers),
    f"{_PRIVATE}DepositStatus": Route("deposit_status", needs="funds", reads=account_data.deposit_status),
    f"{_PRIVATE}WithdrawStatus": Route("withdraw_status", needs="funds", reads=account_data.withdraw_status),
    f"{_PRIVATE}Withdraw": Route("withdraw", needs="funds", reads=account_data.withdraw),
    f"{_PRIVATE}AddOrder": Route("add_order", 0, "trade", writes=orders.add),
    f"{_PRIVATE}AddOrderBatch": Route("batch_add", 0, "trade", writes=orders.add_batch),
    f"{_PRIVATE}AmendOrder": Route("amend_order", 0, "trade", writes=orders.amend),
    f"{_PRIVATE}EditOrder": Route("edit_order", 0, "trade", writes=orders.edit),
    f"{_PRIVATE}CancelOrder": Route("cancel_order", 0, "trade", writes=orders.cancel),
    f"{_PRIVATE}CancelOrderBatch": Route("batch_cancel", 0, "trade", writes=orders.cancel_batch),
    f"{_PRIVATE}CancelAll": Route("cancel_all", 1, "trade", writes=orders.cancel_all),
    f"{_PRIVATE}CancelAllOrdersAfter": Route("cancel_all_orders_after", 1, "trade", writes=orders.cancel_after),
    f"{_PRIVATE}GetWebSocketsToken": Route("websockets_token", needs="trade"),
}
OPERATIONS = (*(route.operation for route in ROUTES.values()), "subscribe", "unsubscribe", "ping")


class KrakenSpot:
    """The protocol over one exchange.

    Args:
        exchange: what is served.
        limits: `tier` of them.
        wall_ns: the real clock that counters, tokens and switches go by.
    """

    def __init__(
        self, exchange: Exchange, limits: Limits | None = None, wall_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self.exchange = exchange
        self.names = names_of(exchange)
        self._rates = TIERS[(limits or Limits()).tier]
        self.trading = Trading(exchange, self.names, self._rates)
        self.tokens = Tokens(exchange)
        self._wall_ns = wall_ns
        self._nonces: dict[str, int] = {}
        self._calls = {account.name: Counter(self._rates.calls_decay) for account in exchange.accounts.values()}
        self._connections = 0

    def operation(self, request: Request) -> str:
        """What a request asks for, by our name; `unknown` for a path that is not served."""
        route = ROUTES.get(request.path)
        return route.operation if route is not None else "unknown"

    def client_order_id(self, request: Request) -> str | None:
        """The client's id in an order request."""
        return text_of(_params(request), "cl_ord_id") or None

    def answer(self, request: Request) -> Answer:
        """Do what a request asks and say so in Kraken's words."""
        wall_ns = self._wall_ns()
        self.exchange.advance()
        self.beat(wall_ns)
        operation = self.operation(request)
        params = _params(request)
        account: Account | None = None
        quotes: Mapping[str, Quote] = {}
        try:
            route = ROUTES.get(request.path)
            if route is None:
                raise KrakenError("EGeneral:Unknown method")
            if request.path.startswith(_PUBLIC):
                account = self.exchange.accounts.get(request.headers.get("api-key", ""))
                body, quotes = self._public(route, params, wall_ns)
                done = Done(body)
            else:
                account = self._authenticated(request, params)
                self._count(account, route, wall_ns)
                done = self._private(route, account, params, wall_ns)
        except (KrakenError, Refusal) as refused:
            return _refused(in_words(refused), operation, account, text_of(params, "cl_ord_id") or None)
        return Answer(
            200,
            msgspec.json.encode({"error": [], "result": done.result}),
            {},
            operation,
            weight=route.cost,
            account=account.name if account else None,
            order_id=done.order_id,
            client_order_id=text_of(params, "cl_ord_id") or None,
            accepted=True,
            quotes=quotes,
        )

    def faulted(self, fault: Fault, operation: str) -> Answer:
        """An injected fault: Kraken says its limits and errors with HTTP 200; what its gateway says has none."""
        if fault.kind == "server_error" and not isinstance(fault.code, str):
            return gateway_page(fault.status, operation)
        return _refused(fault_text(fault, operation), operation, None, None)

    def session(self, path: str, query: str) -> KrakenSession | None:
        """The protocol's side of a websocket of version 2, public and private alike."""
        if path not in SOCKET_PATHS:
            return None
        self._connections += 1
        return KrakenSession(
            self.exchange, self.names, self.trading, self.tokens, connection_id=self._connections, wall_ns=self._wall_ns
        )

    def beat(self, wall_ns: int) -> None:
        """Cancel everything of accounts whose switch has run out."""
        self.trading.beat(wall_ns)

    def order_name(self, order_id: int) -> str:
        """An order's id as clients know it."""
        return spelled("O", order_id)

    def _public(self, route: Route, params: Params, wall_ns: int) -> market_data.Told:
        if route.operation == "time":
            return market_data.server_time(wall_ns), {}
        if route.operation == "system_status":
            return market_data.system_status(wall_ns), {}
        assert route.public is not None
        return route.public(self.exchange, self.names, params)

    def _private(self, route: Route, account: Account, params: Params, wall_ns: int) -> Done:
        if route.needs not in account.permissions:
            raise KrakenError("EGeneral:Permission denied")
        if route.reads is not None:
            return Done(route.reads(self.exchange, self.names, account.name, params))
        if route.writes is not None:
            return route.writes(self.trading, self.names, account.name, params, wall_ns)
        return Done({"token": self.tokens.issue(account, wall_ns), "expires": self.tokens.lifetime_s})

    def _count(self, account: Account, route: Route, wall_ns: int) -> None:
        counter = self._calls[account.name]
        if route.cost and counter.at(wall_ns) + route.cost > self._rates.calls_most:
            raise KrakenError("EAPI:Rate limit exceeded")
        counter.add(wall_ns, route.cost)

    def _authenticated(self, request: Request, params: Params) -> Account:
        """Whose request this is.

        The signature is HMAC-SHA512 over path and SHA-256 of nonce and body, keyed with the decoded secret, in
        base64. A nonce must be above every one before it of the same key.

        Raises:
            KrakenError: EAPI:Invalid key, EAPI:Invalid signature, EAPI:Invalid nonce.
        """
        account = self.exchange.accounts.get(request.headers.get("api-key", ""))
        if account is None:
            raise KrakenError("EAPI:Invalid key")
        nonce = text_of(params, "nonce")
        digest = hashlib.sha256((nonce + request.body).encode()).digest()
        try:
            secret = base64.b64decode(account.secret, validate=True)
        except binascii.Error:
            raise KrakenError("EAPI:Invalid key") from None
        expected = base64.b64encode(hmac.new(secret, request.path.encode() + digest, hashlib.sha512).digest())
        if not hmac.compare_digest(expected, request.headers.get("api-sign", "").encode()):
            raise KrakenError("EAPI:Invalid signature")
        if not (nonce.isascii() and nonce.isdigit() and len(nonce) <= 20):
            raise KrakenError("EAPI:Invalid nonce")
        if int(nonce) <= self._nonces.get(account.key, -1):
            raise KrakenError("EAPI:Invalid nonce")
        self._nonces[account.key] = int(nonce)
        return account


def _refused(text: str, operation: str, account: Account | None, client_id: str | None) -> Answer:
    return Answer(
        200,
        msgspec.json.encode({"error": [text]}),
        {},
        operation,
        error=text,
        account=account.name if account else None,
        client_order_id=client_id,
    )


def _params(request: Request) -> dict[str, object]:
    """Of the body, a form or JSON, and of the query."""
    found: dict[str, object] = dict(parse_qsl(request.query, keep_blank_values=True))
    if request.body.lstrip().startswith("{"):
        try:
            body = msgspec.json.decode(request.body, type=dict[str, object])
        except msgspec.DecodeError:
            return found
        return found | body
    return found | dict(parse_qsl(request.body, keep_blank_values=True))
