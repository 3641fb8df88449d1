"""A call while it runs, and until it has been read: what the bot's thread writes to."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
from opentelemetry.context import Context
from opentelemetry.trace import Span

from tradewatch.model import Attempt, Balances, Call, Fill, Gate, Mark, OrderReport, OrderRequest, Quote
from tradewatch.runtime.scrub import label, scrubber
from tradewatch.telemetry.cell import Cell

if TYPE_CHECKING:
    from tradewatch.telemetry.probe import Operation, Probe

NOWHERE = Context()


class More:
    """What only some calls have: those that send orders, tell of them, fail, or do not take the short way."""

    # Defaults stand on the class: most calls set few of them.
    message: str | None = None
    cancelled: bool = False
    sent: bool = False
    unread: bool = False
    # Of an order that goes over a websocket: its message and the name that its answer is waited for by; whether it
    # has been handed to the connection.
    ws_message: tuple[Any, str] | None = None
    written: bool = False
    requests: tuple[OrderRequest, ...] = ()
    gate_tokens: tuple[tuple[Gate, int], ...] = ()
    outcomes: tuple[OrderReport, ...] = ()
    reports: tuple[OrderReport, ...] = ()
    fills: tuple[Fill, ...] = ()
    # What to make current again at the end; what the beginning took of the thread's CPU, where it was measured.
    tokens: tuple[Any, Any] | None = None
    cpu_ns: int = 0
    # Whether what it tells of orders and fills stands in the journal.
    is_kept: bool = False


# Shared by all calls that have no more; nobody writes to it.
NO_MORE = More()


class Asked(msgspec.Struct, eq=False):
    """The real span of a call. `offset_ns` leads from its monotonic times to the epoch; `is_over` once it was ended."""

    span: Span
    offset_ns: int
    is_eager: bool
    is_over: bool = False


class Told(msgspec.Struct, frozen=True):
    """What reading an answer gave."""

    marks: tuple[Mark, ...] = ()
    balances: Balances | None = None


NOTHING_TOLD = Told()


class Try(msgspec.Struct, eq=False, gc=False):
    """One HTTP attempt as the bot's thread notes it; what it means is read where it is wanted (`attempt`).

    `live` is its call while it is under way, then None: a call leads to its tries, and they not back. `url` has no
    query. A `fetch` of the bot's own class is `is_around` the one that it calls. `within` is the context that was set
    for it, and what puts the one before back.
    """

    live: LiveCall | None
    method: str
    url: str
    nonce: str | None
    start_ns: int
    end_ns: int = 0
    status: int | None = None
    error: str | None = None
    is_refused: bool = False
    nonce_error: str | None = None
    retry_after_s: float | None = None
    is_around: bool = False
    within: tuple[Any, Any] | None = None

    def attempt(self) -> Attempt:
        """As a frozen value, once it has ended."""
        host, path = _endpoint(self.url)
        return Attempt(
            self.start_ns,
            self.end_ns,
            self.method,
            host,
            path,
            self.status,
            self.error,
            self.is_refused,
            self.nonce,
            self.nonce_error,
            self.retry_after_s,
        )


@lru_cache(maxsize=1_024)
def _endpoint(url: str) -> tuple[str, str]:
    """Host and path of a URL without its query: the same few, over and over."""
    where = urlsplit(url)
    return where.hostname or "", where.path


@lru_cache(maxsize=1_024)
def _label(symbol: str, known: int) -> str | None:
    """The same few symbols, over and over, as long as `known` secrets are known."""
    return label(symbol)


class LiveCall(msgspec.Struct, eq=False, gc=False):
    """A call that is running, and the record of it once it has ended.

    Tries are added by the transport, from whichever task or thread makes them. `end_ns` is 0 until all else is set:
    who reads it and finds a time finds a whole call. `told` is what is left to be read of the answer, away from the
    bot's thread: a quote, or a function and its arguments, copied at the call. `parent` is the context in which the
    call began.

    The garbage collector does not follow it, which saves a third of its cost; so what could lead back to it, `parent`
    and `told`, is let go once the call has been recorded.
    """

    operation: Operation
    symbol: str | None
    parent: Context
    start_ns: int
    end_ns: int = 0
    throttle_ns: int = 0
    tries: tuple[Try, ...] = ()
    error: str | None = None
    told: Quote | tuple[Any, ...] | None = None
    asked: Asked | None = None
    more: More = NO_MORE

    @property
    def probe(self) -> Probe:
        """Of the client whose call it is."""
        return self.operation.probe

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The HTTP attempts that have ended."""
        return tuple([each.attempt() for each in self.tries])

    @property
    def cell(self) -> Cell | None:
        """Where the call is counted; None for what a stream told."""
        operation = self.operation
        return operation.cell if self.error is None else operation.probe.cell(operation.name, self.error)

    def own(self) -> More:
        """What more there is of this call, to be written to by the thread or task that makes the call."""
        if self.more is NO_MORE:
            self.more = More()
        return self.more


def described(live: LiveCall, told: Told) -> Call:
    """A call as a frozen value, as far as it has come."""
    more, operation = live.more, live.operation
    attempts = live.attempts if live.tries else ()
    if more is NO_MORE and live.error is None:
        return Call(
            operation.cell,
            live.start_ns,
            live.end_ns,
            live.throttle_ns,
            attempts,
            None,
            None,
            live.parent,
            None if live.symbol is None else _label(live.symbol, scrubber.known),
            False,
            (),
            (),
            (),
            (),
            told.marks,
            told.balances,
            None if operation.spans is None else live,
        )
    return Call(
        live.cell,
        live.start_ns,
        live.end_ns,
        live.throttle_ns,
        attempts,
        live.error,
        more.message,
        live.parent,
        label(live.symbol),
        more.cancelled,
        more.requests,
        more.outcomes,
        more.reports,
        more.fills,
        told.marks,
        told.balances,
        None if operation.spans is None else live,
    )
