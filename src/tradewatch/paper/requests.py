"""A request and its answer as values, and the reading of parameters: what all wire protocols share."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tradewatch.paper.market import Quote


class Request(msgspec.Struct, frozen=True):
    """One HTTP request as it arrived; `query` and `body` undecoded, since signatures cover the raw text."""

    method: str
    path: str
    query: str = ""
    body: str = ""
    api_key: str | None = None

    def __repr__(self) -> str:
        return f"Request({self.method} {self.path})"


class Answer(msgspec.Struct, frozen=True):
    """What is sent back, and what the request log says about it.

    `code` is the venue's error code; `accepted` says that the exchange did what was asked. `quotes`, by
    symbol, are those whose mid the body tells.
    """

    status: int
    body: bytes
    headers: Mapping[str, str]
    operation: str
    weight: int = 0
    code: int | None = None
    account: str | None = None
    order_id: int | None = None
    client_order_id: str | None = None
    accepted: bool = False
    quotes: Mapping[str, Quote] = {}


class Limits(msgspec.Struct, frozen=True):
    """Request limits in real time: weight a minute for everybody, orders in ten seconds and a day for each account."""

    weight_1m: int = 6_000
    orders_10s: int = 100
    orders_1d: int = 200_000


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
