"""The hot path: what runs on the bot's own thread around a client's call.

No lock, no I/O. A call costs two clock readings, one cell and one record; orders also pass the gate. The record is read
on the safety thread (`recorded`). What stands in the wrappers of `instrumentation/patch.py` for an ordinary call, and
in `Probe.start` and `Probe.end` for every other, is the same. Measured by `make bench`; docs/performance.md has the
figures.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, Token
from itertools import pairwise
from time import monotonic_ns, thread_time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context

from tradewatch.model import Call, Clock, OrderRequest, Quote
from tradewatch.runtime.failures import failures
from tradewatch.telemetry.cell import Cell, Cells
from tradewatch.telemetry.current import CallSpan
from tradewatch.telemetry.journal import Journal
from tradewatch.telemetry.live import NOTHING_TOLD, NOWHERE, LiveCall, described
from tradewatch.telemetry.otel import SPAN_KEY, get_context, reset_context, set_context
from tradewatch.telemetry.traffic import Traffic

if TYPE_CHECKING:
    from tradewatch.telemetry.spans import Spans

_KEPT = failures.kept("instrumentation")
# Of so many calls of an operation one measures the CPU that the probe itself takes on the bot's thread.
_SAMPLE = 64


def _clock_cost_ns() -> int:
    return min(b - a for a, b in pairwise(thread_time_ns() for _ in range(20)))


_CLOCK_NS = _clock_cost_ns()


# A call that has ended may still be here: it counts as none, and to leave it costs less than to take it away.
CURRENT: ContextVar[LiveCall | None] = ContextVar("tradewatch_call", default=None)
get_current, set_current, reset_current = CURRENT.get, CURRENT.set, CURRENT.reset


class Operation:
    """One operation of one client: where its calls are counted and written down, looked up once.

    Without a cell it is a stream's: its messages are no calls.

    `sampled` asks the next call to measure itself; `calls` and `cost_ns` are the safety thread's.
    """

    __slots__ = (
        "__weakref__",
        "calls",
        "cell",
        "cost_ns",
        "counts",
        "journal",
        "name",
        "probe",
        "reads",
        "sampled",
        "span_name",
        "spans",
        "sum_ns",
    )

    def __init__(self, probe: Probe, name: str, cell: Cell | None, journal: Journal, spans: Spans | None) -> None:
        self.probe = probe
        self.name = name
        self.cell = cell
        self.counts, self.sum_ns = ([], []) if cell is None else (cell.counts, cell.sum_ns)
        self.journal = journal
        self.reads = journal.reads
        self.spans = spans
        self.span_name = f"{name} {probe.venue}"
        self.sampled = True
        self.calls = 0
        self.cost_ns = 0

    def measured(self, cpu_ns: int) -> None:
        """What is done for a call took so much of the thread's CPU, the readings of that clock included."""
        self.sampled = False
        self.cost_ns = max(0, cpu_ns - 2 * _CLOCK_NS)


class Probe:
    """One a client: knows its venue and account, and where its calls are counted and written down."""

    __slots__ = (
        "_cells",
        "_journal",
        "_spans",
        "_streams",
        "account",
        "account_of",
        "clock",
        "operations",
        "overhead_ns",
        "traffic",
        "venue",
    )

    def __init__(
        self,
        venue: str,
        account: str,
        cells: Cells,
        journal: Journal,
        clock: Clock,
        *,
        spans: Spans | None = None,
        traffic: Traffic | None = None,
    ) -> None:
        self.venue = venue
        self.account = account
        # Asked at each attempt and order, as long as it is not known whose account it is.
        self.account_of: Callable[[Any], str] | None = None
        self.clock = clock
        self.overhead_ns = 0
        self.operations: dict[str, Operation] = {}
        self._cells = cells
        self._journal = journal
        self._spans = spans
        self._streams: dict[str, Operation] = {}
        self.traffic = traffic or Traffic(cells)

    def identify(self, client: Any) -> None:
        """Take the account of a client whose key was not there yet when it was bound."""
        if self.account_of is not None:
            self.account = self.account_of(client)

    def cell(self, operation: str, error: str | None) -> Cell:
        """Where calls of an operation are counted that ended in `error`."""
        return self._cells.cell(self.venue, operation, error)

    def operation(self, name: str) -> Operation:
        """The operation of that name, made at the first question."""
        found = self.operations.get(name)
        if found is None:
            cell = self.cell(name, None)
            found = Operation(self, name, cell, self._journal, self._spans)
            if cell.operation == name:  # what metrics have no room for is not remembered: there may be any number
                found = self.operations.setdefault(name, found)
        return found

    def start(self, name: str, symbol: str | None, requests: tuple[OrderRequest, ...] = ()) -> LiveCall:
        """Begin a call and make it the current one."""
        operation = self.operation(name)
        began_ns = thread_time_ns() if operation.sampled else 0
        spans = operation.spans
        # Without spans of ours nobody looks at the context.
        parent = NOWHERE if spans is None else get_context()
        live = LiveCall(operation, symbol, parent, monotonic_ns())
        more = live.own()
        more.requests = requests
        within = None if spans is None else Context({**parent, SPAN_KEY: CallSpan(live)})
        if spans is not None and spans.eager:
            spans.begin_eagerly(live)
        try:
            more.tokens = (set_current(live), None if within is None else set_context(within))
            if began_ns:
                more.cpu_ns = thread_time_ns() - began_ns
        except BaseException:
            # A signal's handler may raise anywhere: what never began must not stay current.
            live.end_ns = live.start_ns
            raise
        return live

    def quote(self, key: object, *told: Any) -> None:
        """Note what a stream told of a price: a function and its arguments. It replaces what has the same key."""
        self._journal.quote(key, told)

    def heard(self, name: str) -> LiveCall:
        """What a stream tells now of orders, trades or balances: no call, counted nowhere, in nobody's context."""
        operation = self._streams.get(name)
        if operation is None:
            operation = self._streams.setdefault(name, Operation(self, name, None, self._journal, self._spans))
        now_ns = monotonic_ns()
        return LiveCall(operation, None, NOWHERE, now_ns, now_ns)

    def write(self, live: LiveCall) -> None:
        """Write down what was `heard`."""
        self._journal.append(live)

    def leave(self, live: LiveCall) -> None:
        """Make current again what was so before a call, if it was begun by `start`."""
        tokens = live.more.tokens
        if tokens is not None:
            put_back(*tokens)
            live.more.tokens = None

    def end(self, live: LiveCall, end_ns: int, began_ns: int) -> None:
        """Count a call that came to its end at `end_ns` (monotonic) and write it down.

        `began_ns` is the thread's CPU time when its end began to be dealt with, for the calls that are measured.
        """
        if not live.end_ns:  # else it is counted, and a signal's handler raised before it was written down
            cell = live.cell
            assert cell is not None
            cell.count(end_ns - live.start_ns)
            live.end_ns = end_ns
        if live.asked is not None:
            finish(live)
        self._journal.append(live)
        if began_ns and live.more.cpu_ns:
            live.operation.measured(live.more.cpu_ns + thread_time_ns() - began_ns)


def put_back(current: Token[LiveCall | None] | None, context: Any) -> None:
    """Make current what was so before a call began.

    ValueError: a coroutine closed by the garbage collector ends in another context, where nothing of it is current.
    RuntimeError: it was put back, and a signal's handler raised right after.
    """
    try:
        if current is not None:
            reset_current(current)
    except (ValueError, RuntimeError):
        pass
    try:
        if context is not None:
            reset_context(context)
    except (ValueError, RuntimeError):
        pass


def finish(live: LiveCall) -> None:
    """End the span of a call whose span was asked for."""
    spans = live.operation.spans
    if spans is not None:
        with failures.kept("spans"):
            spans.finish(live)


def recorded(live: LiveCall) -> Call:
    """The record of a call that has ended; reads what is left to be read of its answer. For one thread at a time."""
    operation = live.operation
    operation.calls += 1
    operation.probe.overhead_ns += operation.cost_ns
    if operation.calls % _SAMPLE == 0:
        operation.sampled = True
    told, unread = NOTHING_TOLD, live.told
    if unread is not None:
        live.told = None
        with _KEPT:
            if isinstance(unread, Quote):
                told = unread.read(unread)
            else:
                read, *given = unread
                told = read(*given)
    call = described(live, told)
    if operation.spans is None:
        live.parent = NOWHERE
    return call
