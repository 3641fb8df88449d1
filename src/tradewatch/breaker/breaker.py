"""The breaker: keeps the state in memory, on disk and at the gate, and says what is confirmed."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from itertools import islice

import msgspec

from tradewatch.breaker import record
from tradewatch.breaker.gate import OrderGate
from tradewatch.breaker.machine import HaltAsked, ResumeAsked, Unreadable, begin, decide, further
from tradewatch.breaker.status import Status
from tradewatch.model import Acted, Call, Channel, Clock, Evidence, Halt, HaltState, OrderKey
from tradewatch.runtime.failures import describe, failures
from tradewatch.runtime.scrub import scrubber
from tradewatch.store import Store, StoreUnavailable

_RETRY_NS = 1_000_000_000
# How long a halt waits for orders in flight before it lists them as unknown.
_PATIENCE_NS = 10_000_000_000
_LONGEST_REASON = 2000
_MOST_PLACED = 2_000
# Of what a disk out of reach keeps waiting; a program may ask for a resumption every second.
_MOST_UNWRITTEN = 1000
_MOST_AT_ONCE = 50
_NO_STORE = "this bot runs without a store"
_BEING_WRITTEN = "it is being written"


class ResumeRefused(Exception):  # noqa: N818 - it names what happened, as its reader will
    """The breaker is still HALTED; the text says why and what to do."""


class Breaker:
    """Halts and resumes. Every method may be called from any thread, `halt` also from a signal handler.

    Two locks. `_state_lock` guards the state in memory and is never held while something waits, so closing the gate
    takes microseconds whatever the disk does. `_disk_lock` keeps the rows in the order of the changes.

    Args:
        store: where the state survives. None: nothing is kept, on purpose. A `StoreUnavailable` is what opening it
            raised: where it may hold a state that could not be read, the start is HALTED.
        gate: the gate to close and open.
        clock: the time.
        on_change: told the status after a change of it, on the thread that made the change, with no lock held. It
            should hand on and return. What it raises is counted and goes no further.
    """

    def __init__(
        self,
        store: Store | StoreUnavailable | None,
        gate: OrderGate,
        clock: Clock,
        on_change: Callable[[Status], None] | None = None,
    ) -> None:
        self.gate = gate
        self._store = store if isinstance(store, Store) else None
        self._clock = clock
        self._on_change = on_change
        # Reentrant for signal handlers, which run on a thread that may hold them.
        self._state_lock = threading.RLock()
        self._disk_lock = threading.RLock()
        self._writing = False
        self._unwritten: deque[tuple[str, msgspec.Struct]] = deque()
        self._why_unwritten = _NO_STORE if store is None else _BEING_WRITTEN
        if isinstance(store, StoreUnavailable):
            self._why_unwritten = str(store)
        self._retry_mono_ns = 0
        self._newest: HaltAsked | None = None
        self._waiting: frozenset[int] = frozenset()
        self._give_up_mono_ns = 0
        self._settled = True
        self._trips = 0
        self._told_confirmed = False
        recalled = record.recall(store)
        beginning = begin(recalled.past, clock.now_ns())
        self._halt: Halt = beginning.halt
        self._note = beginning.note
        self._further: tuple[Halt, ...] = recalled.further
        self.alerts_acted: frozenset[Acted] = frozenset(recalled.acted)
        # Client ids under which orders were placed, the latest few: by hash, a quarter of what the ids take.
        self._placed: dict[int, None] = {}
        self._confirmed_ns: int | None = None
        gate.recall(recalled.unknown)
        self._start(new_halt=isinstance(recalled.past, Unreadable))

    def halt(self, by: str, reason: str, evidence: tuple[Evidence, ...] = (), channel: Channel = "program") -> Halt:
        """Close the gate, then write the halt to disk. Returns the halt in force; never raises for the disk's sake.

        While HALTED the first halt stands, and the further one is noted beside it (`Status.further`). Whether the halt
        is on disk and every order accounted for is in `status()`.

        Args:
            by: the rule's name, or who asked.
            reason: why, with the numbers.
            evidence: the values that the decision was made from.
            channel: how it was asked for, for the audit.
        """
        request = HaltAsked(
            scrubber.text(record.one_line(by)), _reason(reason), _numbers(evidence), self._clock.now_ns()
        )
        with self._state_lock:
            self._newest = request
            before = self._halt.state
            changed = self._apply(request)
            halt = self._halt
            # A rule or a program that asks again and again must not fill the log; a person's every word is kept.
            if changed or channel == "control":
                self._audit(record.Action("halt", request.by, channel, request.reason, before, halt.state))
        if changed:
            self._tell()
        self._settle()
        self._write()
        self._confirm()
        return halt

    def resume(self, by: str, reason: str, channel: Channel = "program") -> Halt:
        """Write the resumption to disk, then open the gate. While ACTIVE nothing happens.

        Raises:
            ResumeRefused: still HALTED: the disk did not take it, or a halt was asked for meanwhile.
        """
        asked = ResumeAsked(scrubber.text(record.one_line(by)), _reason(reason), self._clock.now_ns())
        with self._disk_lock:
            with self._state_lock:
                halted, newest = self._halt, self._newest
            if halted.state == "ACTIVE":
                if channel == "control":
                    self._audit(record.Action("resume", asked.by, channel, asked.reason, "ACTIVE", "ACTIVE"))
                    self._write()
                return halted
            resumed = decide(halted, asked)
            try:
                self._write_resumption(resumed)
            except ResumeRefused as refused:
                said = str(refused)
                self._audit(record.Action("resume", asked.by, channel, asked.reason, "HALTED", "HALTED", said))
                raise
            with self._state_lock:
                overtaken = self._newest is not newest
                self._halt, self._further, self._settled, self._note = resumed, (), True, None
                if not overtaken:
                    self.gate.open()
                    # A signal handler on this very thread is not kept out by the lock: had it halted, that was undone.
                    overtaken = self._newest is not newest
                if overtaken and self._newest is not None:
                    # The log needs the halt after the resumption, and what asked for it is not noted beside another.
                    self._halt, self._further = resumed, ()
                    self._apply(self._newest)
            again = f"not resumed: meanwhile {self._halt.by} halted again: {self._halt.reason}" if overtaken else None
            after: HaltState = "HALTED" if overtaken else "ACTIVE"
            self._audit(record.Action("resume", asked.by, channel, asked.reason, "HALTED", after, again))
            self._write()
        self._tell()
        if again is not None:
            raise ResumeRefused(again)
        return resumed

    def keep(self, action: record.Action) -> None:
        """Write an action into the audit that leaves the breaker's state as it is: a change of settings."""
        texts = {name: getattr(action, name) for name in ("reason", "before", "after", "refused")}
        plain = {name: scrubber.text(record.one_line(text)) for name, text in texts.items() if text is not None}
        self._audit(msgspec.structs.replace(action, **plain))
        self._write()

    def status(self) -> Status:
        """The breaker at this moment. Reads memory alone."""
        with self._state_lock:
            halt = self._halt
            why = self._why_not_confirmed()
            return Status(
                state=halt.state,
                by=halt.by,
                reason=halt.reason,
                evidence=halt.evidence,
                since_ns=halt.since_ns,
                confirmed=why is None,
                not_confirmed=why,
                further=self._further,
                unknown=self.gate.unknown(),
                in_flight=len(self.gate.in_flight()),
                refused=self.gate.refused,
                forgotten=self.gate.forgotten,
                trips=self._trips,
                note=self._note,
                confirmed_ns=self._confirmed_ns,
                first_refused_ns=self.gate.first_refused_ns,
            )

    @property
    def is_confirmed(self) -> bool:
        """What `status().confirmed` says, for whoever asks often and for that alone."""
        with self._state_lock:
            return self._why_not_confirmed() is None

    def advance(self) -> None:
        """Try again what the disk did not take, and see whether a halt can be confirmed. Call it every second or so."""
        if self._unwritten and self._clock.mono_ns() >= self._retry_mono_ns:
            self._write()
        self._confirm()

    def hear(self, call: Call) -> None:
        """Learn from a call that ended what has become of unknown orders; `unknown.py` says what counts.

        Calls are to come in their order, from one thread.
        """
        for request, outcome in zip(call.requests, call.outcomes, strict=False):
            if outcome.status not in ("rejected", "refused", "unknown") and request.key.client_id is not None:
                self._remember_placed(request.key)
        # What answers an order tells of that order.
        reports = call.reports if not call.requests else ()
        settled = [r for r in reports if not self._was_placed(r.key) and self.gate.settle(r)]
        if not settled:
            return
        with self._state_lock:
            if self._halt.state == "HALTED" and self._settled:
                self._queue(record.CONFIRMED, record.confirmed(self.gate.unknown()))
        self._write()
        self._tell()

    def acted(self, alerts: frozenset[Acted]) -> None:
        """Keep which alerts were acted on and have not ended since, so that the next run does not act on them again.

        A person who resumes knows of them. On disk they stand after the halt that they caused.
        """
        # On a disk that takes nothing for long, the state that alerts have then is written later.
        if alerts == self.alerts_acted or len(self._unwritten) >= _MOST_UNWRITTEN:
            return
        self.alerts_acted = alerts
        with self._state_lock:
            self._queue(record.ACTED, record.AlertsActed(tuple(sorted(alerts, key=lambda each: each.labels))))
        self._write()

    def _remember_placed(self, key: OrderKey) -> None:
        while len(self._placed) >= _MOST_PLACED:
            del self._placed[next(iter(self._placed))]
        self._placed[hash((key.venue, key.account, key.client_id))] = None
        self.gate.placed(key)

    def _was_placed(self, key: OrderKey) -> bool:
        return hash((key.venue, key.account, key.client_id)) in self._placed

    def close(self) -> None:
        """Mark a clean end in the log. The gate stays as it is; the store is its owner's to close."""
        self._queue(record.ENDED, record.Mark(self._halt.state))
        if not self._write() and self._store is not None:
            failures.warn("breaker end", f"the end of this run is not on disk: {self._why_unwritten}")

    def forked(self) -> None:
        """In a forked child: no other thread is there that could hold a lock. What is halted stays halted."""
        self._state_lock = threading.RLock()
        self._disk_lock = threading.RLock()
        self._writing = False

    def _start(self, *, new_halt: bool) -> None:
        if self._halt.state == "HALTED":
            self._close_gate()
        if new_halt:
            self._queue_halted()
            self._audit(record.Action("halt", self._halt.by, "start", self._halt.reason, None, "HALTED"))
        self._queue(record.STARTED, record.Mark(self._halt.state))
        if not self._write() and self._why_unwritten != _NO_STORE:
            failures.warn("breaker start", f"halts will not survive a restart: {self._why_unwritten}")
        self._confirm()

    def _apply(self, request: HaltAsked) -> bool:
        """The state after a halt was asked for; True if anything changed. Under the state lock."""
        halt = decide(self._halt, request)
        if halt is not self._halt:
            self._halt = halt
            self._trips += 1
            self._close_gate()
            self._queue_halted()
            return True
        noted = further(halt, self._further, request)
        if noted is None:
            return False
        self._further = (*self._further, noted)
        self._queue(record.FURTHER, noted)
        return True

    def _close_gate(self) -> None:
        self._waiting = self.gate.close(self._halt)
        self._give_up_mono_ns = self._clock.mono_ns() + _PATIENCE_NS
        self._settled = False
        self._told_confirmed = False
        self._confirmed_ns = None

    def _queue_halted(self) -> None:
        self._queue(record.HALTED, record.halted(self._halt, self.gate.in_flight(), self.gate.unknown()))
        for each in self._further:
            self._queue(record.FURTHER, each)

    def _queue(self, kind: str, body: msgspec.Struct) -> None:
        if self._store is not None:
            self._unwritten.append((kind, body))

    def _audit(self, action: record.Action) -> None:
        if len(self._unwritten) < _MOST_UNWRITTEN:
            self._queue(record.ACTION, action)

    def _write(self) -> bool:
        """Write what is queued; True if nothing is left and there is a disk to write to."""
        if self._store is None:
            return False
        with self._disk_lock:
            if self._writing:  # a signal handler on the thread that is writing: that loop goes on when this returns
                return False
            self._writing = True
            try:
                while self._unwritten:
                    # Together: while the bot keeps the interpreter busy, each statement waits for it several times.
                    rows = list(islice(self._unwritten, _MOST_AT_ONCE))
                    self._store.append_all(rows, durable=True)
                    for _ in rows:
                        self._unwritten.popleft()
                self._why_unwritten = _BEING_WRITTEN
            except StoreUnavailable as error:
                self._why_unwritten = str(error)
                failures.warn("breaker write", f"the breaker is {self._halt.state} in memory alone: {error}")
            except Exception as error:
                self._why_unwritten = describe(error)
                failures.note("breaker write", error)
            finally:
                self._writing = False
                self._retry_mono_ns = self._clock.mono_ns() + _RETRY_NS
            return not self._unwritten

    def _write_resumption(self, resumed: Halt) -> None:
        if self._store is None:
            if self._why_unwritten != _NO_STORE:
                raise ResumeRefused(f"not resumed, since it could not be written down: {self._why_unwritten}")
            return
        if self._writing or not self._write():
            raise ResumeRefused(f"not resumed: the halt itself is not on disk yet: {self._why_unwritten}")
        try:
            self._store.append(record.RESUMED, resumed, durable=True)
        except StoreUnavailable as error:
            # Whatever a disk in trouble has kept of it, the halt is written after it.
            with self._state_lock:
                self._why_unwritten = str(error)
                self._queue_halted()
                self._settled = False
            self._write()
            raise ResumeRefused(f"not resumed, since it could not be written down: {error}") from error

    def _confirm(self) -> None:
        """See whether every order that had passed is accounted for, and say so once it is on disk as well."""
        if self._settle():
            self._write()
        with self._state_lock:
            news = self._halt.state == "HALTED" and not self._told_confirmed and self._why_not_confirmed() is None
            if news:
                self._told_confirmed, self._confirmed_ns = True, self._clock.now_ns()
        if news:
            self._tell()

    def _settle(self) -> bool:
        """See whether every order that had passed is accounted for; True where that was found now."""
        with self._state_lock:
            if self._settled:
                return False
            self._waiting = self.gate.waiting(self._waiting)
            if self._waiting and self._clock.mono_ns() < self._give_up_mono_ns:
                return False
            self.gate.stop_waiting(self._waiting)
            self._waiting = frozenset()
            self._settled = True
            self._queue(record.CONFIRMED, record.confirmed(self.gate.unknown()))
            return True

    def _why_not_confirmed(self) -> str | None:
        if self._store is None or self._unwritten:
            return f"not on disk: {self._why_unwritten}"
        if not self._settled:
            count = len(self.gate.waiting(self._waiting))
            return f"{count} order{'s' * (count != 1)} that had passed the gate not answered yet"
        return None

    def _tell(self) -> None:
        if self._on_change is not None:
            with failures.kept("breaker listener"):
                self._on_change(self.status())


def _reason(text: object) -> str:
    return scrubber.text(record.one_line(text) or "no reason given")[:_LONGEST_REASON]


def _numbers(evidence: tuple[Evidence, ...]) -> tuple[Evidence, ...]:
    """The numbers as plain ones (a NumPy float for one is not); a halt without its numbers is better than none."""
    try:
        return tuple(Evidence(record.plain_text(each.what), float(each.value), int(each.at_ns)) for each in evidence)
    except Exception as error:
        failures.warn("breaker evidence", f"the numbers of a halt are not kept: {describe(error)}")
        return ()
