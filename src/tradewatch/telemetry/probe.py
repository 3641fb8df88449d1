"""The hot path: what runs on the bot's own thread around a client's call.

No lock, no I/O. A call costs two clock readings, one cell and one record; orders also pass the gate. Measured by
`make bench`; docs/performance.md has the figures.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from time import monotonic_ns
from typing import Any

from opentelemetry.context import get_current

from tradewatch.model import Attempt, Balances, Call, Clock, Fill, Mark, OrderReport, OrderRequest
from tradewatch.telemetry.cell import Cell, Cells
from tradewatch.telemetry.journal import Journal

# Every sixteenth call measures what the probe itself took; the sum is scaled up.
_SAMPLE = 16


class LiveCall:
    """A call that is running. Attempts are added by the transport, from whichever task or thread makes them."""

    __slots__ = (
        "attempts",
        "balances",
        "cell",
        "ended",
        "entered",
        "fills",
        "gate_tokens",
        "marks",
        "outcomes",
        "parent",
        "probe",
        "reports",
        "requests",
        "sent",
        "start",
        "symbol",
        "throttle_ns",
        "token",
    )

    def __init__(self, probe: Probe, cell: Cell, symbol: str | None) -> None:
        self.entered = monotonic_ns()
        self.probe = probe
        self.cell = cell
        self.symbol = symbol
        self.attempts: list[Attempt] = []
        self.throttle_ns = 0
        self.ended = False
        self.sent = False
        self.requests: tuple[OrderRequest, ...] = ()
        self.gate_tokens: tuple[Any, ...] = ()
        self.outcomes: tuple[OrderReport, ...] = ()
        self.reports: tuple[OrderReport, ...] = ()
        self.fills: tuple[Fill, ...] = ()
        self.marks: tuple[Mark, ...] = ()
        self.balances: Balances | None = None
        self.parent = get_current()
        self.token: Token[LiveCall | None] | None = None
        self.start = monotonic_ns()


CURRENT: ContextVar[LiveCall | None] = ContextVar("tradewatch_call", default=None)


class Probe:
    """One a client: knows its venue and account, and where its calls are counted and written down."""

    __slots__ = ("_calls", "_cells", "_journal", "_ok", "account", "clock", "overhead_ns", "venue")

    def __init__(self, venue: str, account: str, cells: Cells, journal: Journal, clock: Clock) -> None:
        self.venue = venue
        self.account = account
        self.clock = clock
        self.overhead_ns = 0
        self._cells = cells
        self._journal = journal
        self._ok: dict[str, Cell] = {}
        self._calls = 0

    def start(self, operation: str, symbol: str | None) -> LiveCall:
        """Begin a call and make it the current one."""
        cell = self._ok.get(operation)
        if cell is None:
            cell = self._ok[operation] = self._cells.cell(self.venue, operation, None)
        live = LiveCall(self, cell, symbol)
        live.token = CURRENT.set(live)
        return live

    def end(self, live: LiveCall, error: str | None, message: str | None, cancelled: bool, end_ns: int) -> None:
        """Count a call that came to its end at `end_ns` (monotonic) and write it down."""
        live.ended = True
        token, live.token = live.token, None
        if token is not None:
            try:
                CURRENT.reset(token)
            except ValueError:
                # A coroutine closed by the garbage collector ends in another context; there the call is not current.
                pass
        cell = live.cell
        if error is not None:
            cell = self._cells.cell(cell.exchange, cell.operation, error)
        cell.count(end_ns - live.start)
        self._journal.append(
            Call(
                cell,
                live.start,
                end_ns,
                live.throttle_ns,
                tuple(live.attempts),
                error,
                message,
                live.parent,
                live.symbol,
                cancelled,
                live.requests,
                live.outcomes,
                live.reports,
                live.fills,
                live.marks,
                live.balances,
            )
        )
        self._calls += 1
        if not self._calls % _SAMPLE:
            self.overhead_ns += _SAMPLE * (live.start - live.entered + monotonic_ns() - end_ns)
