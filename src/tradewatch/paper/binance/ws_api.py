"""The websocket API: REST's requests over one connection, with the rate limits in each answer, and user data on it.

Source: https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-api.md
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tradewatch.paper.binance.faults import ws_error
from tradewatch.paper.binance.signing import authenticate_ws
from tradewatch.paper.binance.streams import USER_DATA, encoded, read_object
from tradewatch.paper.errors import VenueError
from tradewatch.paper.faults import Fault
from tradewatch.paper.feed import Event, Printed, Quoted
from tradewatch.paper.session import Message, Reply

if TYPE_CHECKING:
    from tradewatch.paper.binance.wire import BinanceWire

SUBSCRIBE, UNSUBSCRIBE = "userDataStream.subscribe.signature", "userDataStream.unsubscribe"
OPERATIONS = {SUBSCRIBE: "user_data_subscribe", UNSUBSCRIBE: "user_data_unsubscribe"}


class ApiSession:
    """The protocol's side of a connection.

    Args:
        wire: what it belongs to; its counts are REST's too.
        wall_ns: the real clock.
    """

    def __init__(self, wire: BinanceWire, wall_ns: Callable[[], int]) -> None:
        self.account: str | None = None
        self._wire = wire
        self._wall_ns = wall_ns
        self._subscription = -1
        self._is_subscribed = False

    def opened(self) -> Sequence[Message]:
        """Nothing."""
        return ()

    def operation(self, text: str) -> str:
        """What a request asks for, by the name that REST's has."""
        method = str(read_object(text).get("method"))
        asked = self._wire.product.ws_methods.get(method)
        return self._wire.product.routes[asked].operation if asked else OPERATIONS.get(method, "unknown")

    def received(self, text: str) -> Reply:
        """Do what a request asks."""
        request = read_object(text)
        method, given = str(request.get("method")), request.get("params") or {}
        wall_ns = self._wall_ns()
        if not isinstance(given, dict):
            return self._refused(request, self.operation(text), VenueError(-1135, "Invalid JSON Request"), wall_ns)
        params = {name: _text(value) for name, value in given.items() if value is not None}
        if method in OPERATIONS and self._wire.product.user_events_on_api:
            return self._listen(request, method, params, wall_ns)
        asked = self._wire.product.ws_methods.get(method)
        if asked is None:
            refused = VenueError(-1000, f"Unknown method '{method}'.")
            return self._refused(request, "unknown", refused, wall_ns)
        route = self._wire.product.routes[asked]

        def identify() -> Any:
            return authenticate_ws(self._wire.exchange.accounts, params, wall_ns)

        outcome = self._wire.perform(
            route, asked[0], params, identify=identify, key=params.get("apiKey"), wall_ns=wall_ns, venue_ns=wall_ns
        )
        key = "result" if outcome.accepted else "error"
        body: Any = outcome.body
        if not outcome.accepted and outcome.retry_after_s is not None:
            retry_ms = wall_ns // 1_000_000 + outcome.retry_after_s * 1_000
            body = {**body, "data": {"serverTime": wall_ns // 1_000_000, "retryAfter": retry_ms}}
        sent = {"id": request.get("id"), "status": outcome.status, key: body}
        if params.get("returnRateLimits") != "false":
            sent["rateLimits"] = self._limits(outcome.account, wall_ns)
        return Reply(
            [Message(outcome.operation, encoded(sent), dict(outcome.quotes))],
            account=outcome.account,
            order_id=outcome.order_id,
            client_order_id=outcome.client_order_id,
            code=outcome.code,
            weight=outcome.weight,
            accepted=outcome.accepted,
        )

    def faulted(self, text: str, fault: Fault) -> Reply:
        """An injected fault in Binance's words."""
        code, message, status = ws_error(fault)
        refused = VenueError(code, message, status)
        return self._refused(read_object(text), self.operation(text), refused, self._wall_ns())

    def wants(self, event: Event) -> bool:
        """Whether it is of the account that user data was asked for."""
        return self._is_subscribed and not isinstance(event, Printed | Quoted) and event.account == self.account

    def told(self, event: Event) -> Iterable[Message]:
        """The events of the user stream, each with the number of its subscription."""
        for body in self._wire.product.user_events(self._wire.exchange, event):
            sent = {"subscriptionId": self._subscription, "event": body}
            yield Message(USER_DATA, encoded(sent))

    def beat(self, wall_ns: int) -> Sequence[Message]:
        """Nothing is due by time alone."""
        return ()

    def _listen(self, request: dict[str, Any], method: str, params: dict[str, str], wall_ns: int) -> Reply:
        operation = OPERATIONS[method]
        try:
            account = authenticate_ws(self._wire.exchange.accounts, params, wall_ns) if method == SUBSCRIBE else None
        except VenueError as refused:
            return self._refused(request, operation, refused, wall_ns)
        result: dict[str, int] = {}
        if account is not None:
            self.account = account.name
            self._subscription += 1
            result = {"subscriptionId": self._subscription}
        self._is_subscribed = account is not None
        sent = {"id": request.get("id"), "status": 200, "result": result}
        sent["rateLimits"] = self._limits(None, wall_ns)
        return Reply([Message(operation, encoded(sent))], account=self.account, weight=2, accepted=True)

    def _refused(self, request: dict[str, Any], operation: str, refused: VenueError, wall_ns: int) -> Reply:
        error = {"code": refused.code, "msg": refused.message}
        sent = {"id": request.get("id"), "status": refused.status, "error": error}
        sent["rateLimits"] = self._limits(None, wall_ns)
        return Reply([Message(operation, encoded(sent))], account=self.account, code=refused.code)

    def _limits(self, account: str | None, wall_ns: int) -> list[dict[str, object]]:
        """Weight alone where nobody is known."""
        limits = self._wire.rate_limits(account or self._wire.exchange.names[0], wall_ns)
        return limits if account is not None else limits[:1]


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
