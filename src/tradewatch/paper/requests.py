"""A request, its answer, and a wire protocol between them: what all venues share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

import msgspec

from tradewatch.paper.faults import Fault
from tradewatch.paper.market import Quote
from tradewatch.paper.session import Session

Tier = Literal["starter", "intermediate", "pro"]
WEBSOCKET = "WS"  # the method of websocket requests in the log and in scenarios


class Request(msgspec.Struct, frozen=True):
    """One HTTP request as it arrived; `query` and `body` undecoded, since signatures cover the raw text.

    `headers` by name in lower case. `skew_ns` is how far the venue's clock is off while it deals with this request.
    """

    method: str
    path: str
    query: str = ""
    body: str = ""
    headers: Mapping[str, str] = {}
    skew_ns: int = 0

    def __repr__(self) -> str:
        return f"Request({self.method} {self.path})"


class Answer(msgspec.Struct, frozen=True):
    """What is sent back, and what the request log says about it.

    `code` is Binance's error code, `error` another venue's words for one; `accepted` says that the exchange did what
    was asked. `quotes`, by symbol, are those whose mid the body tells.
    """

    status: int
    body: bytes
    headers: Mapping[str, str]
    operation: str
    weight: int = 0
    code: int | None = None
    error: str | None = None
    account: str | None = None
    order_id: int | str | None = None
    client_order_id: str | None = None
    accepted: bool = False
    quotes: Mapping[str, Quote] = {}
    content_type: str = "application/json"


class Wire(Protocol):
    """A venue's protocol over one exchange: requests go in, answers come out; no input, no output."""

    def operation(self, request: Request) -> str:
        """What a request asks for, by our name; `unknown` for a path that is not served."""
        ...

    def client_order_id(self, request: Request) -> str | None:
        """The client's id in an order request, for the log, whether or not the request got anywhere."""
        ...

    def answer(self, request: Request) -> Answer:
        """Do what a request asks and say so in the venue's words; refusals are answers too."""
        ...

    def faulted(self, fault: Fault, operation: str) -> Answer:
        """An injected rate limit, ban, nonce error, maintenance or server error in the venue's words."""
        ...

    def session(self, path: str, query: str) -> Session | None:
        """The protocol's side of a new websocket; None where the path has none."""
        ...

    def order_name(self, order_id: int) -> int | str:
        """An order's id as clients know it."""
        ...

    def beat(self, wall_ns: int) -> None:
        """Do what is due by time alone; called many times a second."""
        ...


_GATEWAY_PAGE = "<html><body><h1>{status} {reason}</h1></body></html>\n"
_REASONS = {500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout"}


def gateway_page(status: int, operation: str, headers: Mapping[str, str] = {}) -> Answer:
    """The plain page of a gateway before the venue."""
    page = _GATEWAY_PAGE.format(status=status, reason=_REASONS.get(status, "Error"))
    return Answer(status, page.encode(), headers, operation, content_type="text/html")


class Limits(msgspec.Struct, frozen=True):
    """Request limits in real time.

    Binance counts weight a minute for everybody, and orders in ten seconds and a day for each account; Kraken counts
    by the account's `tier`.
    """

    weight_1m: int = 6_000
    orders_10s: int = 100
    orders_1d: int = 200_000
    orders_1m: int = 1_200
    tier: Tier = "intermediate"


class Window:
    """A count that starts again with every `length_s` of the wall clock, as the venue counts."""

    def __init__(self, length_s: int) -> None:
        self._length_ns = length_s * 10**9
        self._started = -1
        self.used = 0

    def at(self, wall_ns: int) -> int:
        """What the window that `wall_ns` lies in has counted so far."""
        started = wall_ns // self._length_ns
        if started != self._started:
            self._started, self.used = started, 0
        return self.used

    def add(self, wall_ns: int, amount: int) -> int:
        """Count `amount`; returns the sum."""
        self.used = self.at(wall_ns) + amount
        return self.used

    def left_s(self, wall_ns: int) -> int:
        """Whole seconds until the window ends, at least 1."""
        return max(1, -(-(self._length_ns - wall_ns % self._length_ns) // 10**9))
