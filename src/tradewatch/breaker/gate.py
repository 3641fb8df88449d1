"""The gate that orders pass, and the table of those that have passed and are not answered yet.

An order does three things on the bot's own thread: `enter` puts it into the table, `admit` (or a read of `closed`) asks
whether it may go, `leave` takes it out. A halt sets `closed` and then copies the table. Each of these is one operation
of the interpreter under its lock (a dict of ints, an attribute), so all of them happen in one order: either the order
was in the table before the halt copied it, and the halt waits for it; or the order entered after `closed` was set, and
it is refused. No third case, and no lock on the order's way. (It needs the interpreter's lock: a free-threaded build
does not order the two writes and the two reads.)

Costs, measured: `enter` and `leave` together 0.25 µs, `admit` 50 ns while the gate is open, a read of `closed` 14 ns.
"""

from __future__ import annotations

import itertools
import threading

import msgspec

from tradewatch.breaker.unknown import UnknownOrder, identified, same_client_id
from tradewatch.model import Clock, Halt, OrderKey, OrderReport, OrderRequest, Outcome, Refusal

_MOST_UNKNOWN = 1000


class OrderGate:
    """Satisfies `tradewatch.model.Gate`. No method waits for anything, so a fork or a signal cannot lock it up."""

    def __init__(self, clock: Clock) -> None:
        self.closed = False
        self._clock = clock
        self._halt: Halt | None = None
        self._tokens = itertools.count()
        self._in_flight: dict[int, OrderRequest] = {}
        # Tokens still in flight when a halt stopped waiting for them, and when that was.
        self._overdue: dict[int, int] = {}
        self._unknown: dict[int, UnknownOrder] = {}
        self._refusals = _Tally()
        # Of the last halt; None until it has refused.
        self.first_refused_ns: int | None = None
        self._dropped = _Tally()

    def enter(self, request: OrderRequest) -> int:
        """Put an order into the table, before `admit` or `closed` is asked for it. Hand the token to `leave`."""
        token = next(self._tokens)
        self._in_flight[token] = request
        return token

    def admit(self, request: OrderRequest) -> Refusal | None:
        """None lets the order pass; ask at entry and again before each attempt, since orders wait in the client.

        A request marked `protective` passes a closed gate: whoever set the mark has checked that the order is a stop
        on the exit side, within the position less other protective orders.
        """
        if not self.closed:
            return None
        halt = self._halt
        if request.protective or halt is None:
            return None
        self._refusals.add()
        if self.first_refused_ns is None:
            self.first_refused_ns = self._clock.now_ns()
        return Refusal(request, halt)

    def amend(self, token: int, request: OrderRequest) -> None:
        """More of an order that has entered is known: this is it. Called where it entered, before it leaves."""
        if token in self._in_flight:
            self._in_flight[token] = request

    def leave(self, token: int, outcome: Outcome) -> None:
        """Take an order out of the table, however it went; one that nobody heard of again goes to the unknown ones."""
        if outcome == "unknown":
            request = self._in_flight.get(token)
            if request is not None:  # listed before it leaves: at no moment is it in neither
                self._list(token, UnknownOrder(request, self._clock.now_ns()))
        self._in_flight.pop(token, None)

    def close(self, halt: Halt) -> frozenset[int]:
        """Refuse orders from now on because of `halt`.

        Returns:
            The tokens of the orders that may have passed before.
        """
        self._halt = halt
        self.first_refused_ns = None
        self.closed = True
        return frozenset(self._in_flight.copy())

    def open(self) -> None:
        """Let orders pass. The last halt is kept for a refusal that is just being written."""
        self.closed = False

    def waiting(self, tokens: frozenset[int]) -> frozenset[int]:
        """Those of the tokens whose orders are still in flight."""
        return tokens & self._in_flight.copy().keys()

    def stop_waiting(self, tokens: frozenset[int]) -> None:
        """List these orders as unknown for as long as they stay in flight: an answer that comes late still counts.

        One caller at a time; readers see the list before or after.
        """
        now_ns = self._clock.now_ns()
        flying = self._in_flight.copy()
        overdue = {token: since for token, since in self._overdue.items() if token in flying}
        self._overdue = dict.fromkeys(tokens & flying.keys(), now_ns) | overdue

    def recall(self, orders: tuple[UnknownOrder, ...]) -> None:
        """List orders whose fate an earlier run did not learn."""
        for order in orders:
            self._list(next(self._tokens), order)

    def settle(self, report: OrderReport) -> bool:
        """The venue showed an order: if it can only be one that is listed, take that off the list."""
        listed = self._unknown.copy()
        token = identified(listed, report) if listed else None
        return token is not None and self._unknown.pop(token, None) is not None

    def placed(self, key: OrderKey) -> None:
        """An order was placed under this client id: what the venue shows under it tells nothing of one listed."""
        for token, order in self._unknown.copy().items() if self._unknown else ():
            if same_client_id(order.request.key, key) and token in self._unknown:
                self._unknown[token] = msgspec.structs.replace(order, ambiguous=True)

    def in_flight(self) -> tuple[OrderRequest, ...]:
        """Orders that have entered and not left."""
        return tuple(self._in_flight.copy().values())

    def unknown(self) -> tuple[UnknownOrder, ...]:
        """Orders that may or may not be at the venue: the latest 1,000; see `forgotten` for those before them."""
        # The table first: an order on its way from one to the other is then in both, never in neither.
        flying = self._in_flight.copy()
        overdue = {
            token: UnknownOrder(flying[token], since) for token, since in self._overdue.items() if token in flying
        }
        return tuple((overdue | self._unknown).values())

    @property
    def refused(self) -> int:
        """How often `admit` has refused."""
        return self._refusals.total()

    @property
    def forgotten(self) -> int:
        """How many unknown orders fell off the list because it was full."""
        return self._dropped.total()

    def _list(self, token: int, order: UnknownOrder) -> None:
        self._unknown[token] = order
        while len(self._unknown) > _MOST_UNKNOWN:
            try:
                oldest = next(iter(self._unknown))
            except (RuntimeError, StopIteration):  # another thread changed the list in between
                continue
            if self._unknown.pop(oldest, None) is not None:
                self._dropped.add()


class _Tally:
    """A count that any thread adds to without a lock: each adds to a number of its own."""

    def __init__(self) -> None:
        self._by_thread: dict[int, int] = {}

    def add(self) -> None:
        thread = threading.get_ident()
        self._by_thread[thread] = self._by_thread.get(thread, 0) + 1

    def total(self) -> int:
        return sum(self._by_thread.copy().values())
