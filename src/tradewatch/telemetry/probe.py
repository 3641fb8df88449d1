"""The hot path: what runs on the bot's own thread around a client's call.

No lock, no I/O. A call costs two clock readings, one cell and one record; orders also pass the gate. Measured by
`make bench`; docs/performance.md has the figures.
"""

from __future__ import annotations

from contextlib import suppress
from contextvars import ContextVar, Token
from time import monotonic_ns, thread_time_ns

from opentelemetry.context import get_current

from tradewatch.model import Attempt, Balances, Call, Clock, Fill, Gate, Mark, OrderReport, OrderRequest
from tradewatch.telemetry.cell import Cell, Cells
from tradewatch.telemetry.journal import Journal

# One call in sixteen measures the CPU that the probe itself took; the sum is scaled up.
_SAMPLE = 16


class LiveCall:
    """A call that is running. Attempts are added by the transport, from whichever task or thread makes them.

    `cpu_ns` is what its beginning took, None where this call is not among those measured.
    """

    # Defaults stand on the class: most calls set few of them.
    throttle_ns = 0
    cpu_ns: int | None = None
    ended = False
    error: str | None = None
    message: str | None = None
    cancelled = False
    sent = False
    requests: tuple[OrderRequest, ...] = ()
    gate_tokens: tuple[tuple[Gate, int], ...] = ()
    unread = False
    outcomes: tuple[OrderReport, ...] = ()
    reports: tuple[OrderReport, ...] = ()
    fills: tuple[Fill, ...] = ()
    marks: tuple[Mark, ...] = ()
    balances: Balances | None = None
    token: Token[LiveCall | None] | None

    def __init__(self, probe: Probe, cell: Cell, symbol: str | None) -> None:
        self.probe = probe
        self.cell = cell
        self.symbol = symbol
        self.attempts: list[Attempt] = []
        self.parent = get_current()
        self.token = CURRENT.set(self)
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
        self._calls += 1
        began_ns = 0 if self._calls % _SAMPLE else thread_time_ns()
        cell = self._ok.get(operation)
        if cell is None:
            cell = self._cells.cell(self.venue, operation, None)
            if cell.operation == operation:  # what there was no room for is not remembered
                self._ok[operation] = cell
        live = LiveCall(self, cell, symbol)
        if began_ns:
            live.cpu_ns = thread_time_ns() - began_ns
        return live

    def end(self, live: LiveCall, end_ns: int, began_ns: int) -> None:
        """Count a call that came to its end at `end_ns` (monotonic) and write it down.

        `began_ns` is the thread's CPU time when its end began to be dealt with, for the calls that are measured.
        """
        live.ended = True
        token, live.token = live.token, None
        if token is not None:
            # ValueError: a coroutine closed by the garbage collector ends in another context, where nothing is current.
            with suppress(ValueError):
                CURRENT.reset(token)
        cell = live.cell
        if live.error is not None:
            cell = self._cells.cell(cell.exchange, cell.operation, live.error)
        cell.count(end_ns - live.start)
        self._journal.append(
            Call(
                cell,
                live.start,
                end_ns,
                live.throttle_ns,
                tuple(live.attempts),
                live.error,
                live.message,
                live.parent,
                live.symbol,
                live.cancelled,
                live.requests,
                live.outcomes,
                live.reports,
                live.fills,
                live.marks,
                live.balances,
            )
        )
        if live.cpu_ns is not None:
            self.overhead_ns += _SAMPLE * (live.cpu_ns + thread_time_ns() - began_ns)
