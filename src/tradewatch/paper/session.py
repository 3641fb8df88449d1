"""A websocket connection as a wire protocol sees it: texts and events go in, messages come out; no input or output."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from tradewatch.paper.faults import Fault
from tradewatch.paper.feed import Event
from tradewatch.paper.market import Quote


class Message(msgspec.Struct, frozen=True):
    """A text to send. `channel` is what faults match: a stream's name, or the operation that it answers.

    `quotes`, by symbol, are those whose mid it tells.
    """

    channel: str
    text: str
    quotes: dict[str, Quote] = {}


class Reply(msgspec.Struct, frozen=True):
    """What a request leads to, and what the request log says about it. `close` ends the connection after it."""

    messages: Sequence[Message]
    account: str | None = None
    order_id: int | str | None = None
    client_order_id: str | None = None
    code: int | None = None
    error: str | None = None
    weight: int = 0
    accepted: bool = False
    close: bool = False


class Session(Protocol):
    """One connection as a wire protocol sees it."""

    account: str | None
    """Whose it is, once that is known."""

    def opened(self) -> Sequence[Message]:
        """What the venue says first."""
        ...

    def operation(self, text: str) -> str:
        """What a request asks for, by our name."""
        ...

    def received(self, text: str) -> Reply:
        """Do what a request asks."""
        ...

    def faulted(self, text: str, fault: Fault) -> Reply:
        """An injected rate limit, ban, nonce error, maintenance or server error as the answer, in the venue's words."""
        ...

    def wants(self, event: Event) -> bool:
        """Whether an event concerns this connection."""
        ...

    def told(self, event: Event) -> Iterable[Message]:
        """The messages that an event leads to."""
        ...

    def beat(self, wall_ns: int) -> Sequence[Message] | None:
        """What is due by time alone, such as heartbeats; called every 0.1 s. None ends the connection."""
        ...
