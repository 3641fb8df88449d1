"""Whatever happens in whatever order: orders, halts, resumptions, a disk that fails, ends and kills."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from decimal import Decimal
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tradewatch.breaker import Breaker, OrderGate, ResumeRefused
from tradewatch.model import Evidence, OrderKey, OrderRequest
from tradewatch.store import Store

WHO = st.sampled_from(["DailyLoss", "OrderRate", "anna"])


class Clock:
    ns = 1_677_844_800_000_000_000

    def now_ns(self) -> int:
        return self.ns

    def mono_ns(self) -> int:
        return self.ns

    def real_seconds(self, seconds: float) -> float:
        return 0.0


class AnyHistory(RuleBasedStateMachine):
    """The breaker beside a plain account of what it must be."""

    @initialize()
    def begin(self) -> None:
        self.folders = [Path(tempfile.mkdtemp(prefix="tradewatch-breaker-"))]
        self.clock = Clock()
        self.disk_works = True
        self.count = 0
        self.first_halt: tuple[str, str] | None = None
        self.lost_before: set[str] = set()
        self.reopen()

    def reopen(self) -> None:
        self.store = Store.open(self.folders[-1], self.clock)
        self.gate = OrderGate(self.clock)
        self.breaker = Breaker(self.store, self.gate, self.clock)
        self.under_way: dict[int, str] = {}
        self.lost: set[str] = set()

    def database(self) -> Path:
        return self.folders[-1] / "events.db"

    @rule(protective=st.booleans())
    def an_order_begins(self, protective: bool) -> None:
        self.count += 1
        name = f"c{self.count}"
        key = OrderKey("binance", "main", "BTC/USDT", None, name)
        request = OrderRequest(key, "create_order", "buy", "limit", Decimal(1), None, protective=protective)
        token = self.gate.enter(request)
        refusal = self.gate.admit(request)
        if refusal is None:
            assert self.first_halt is None or protective
            self.under_way[token] = name
        else:
            assert (refusal.halt.by, refusal.halt.reason) == self.first_halt
            self.gate.leave(token, "refused")

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), answered=st.booleans())
    def an_order_ends(self, data: st.DataObject, answered: bool) -> None:
        token = data.draw(st.sampled_from(sorted(self.under_way)))
        name = self.under_way.pop(token)
        self.gate.leave(token, "answered" if answered else "unknown")
        if not answered:
            self.lost.add(name)

    @rule(by=WHO)
    def halt(self, by: str) -> None:
        self.count += 1
        if self.first_halt is None:
            self.first_halt = (by, f"reason {self.count}")
            self.under_way_at_halt = set(self.under_way.values()) | self.lost
        self.breaker.halt(by, f"reason {self.count}", (Evidence("n", float(self.count), 1),))

    @rule(by=WHO)
    def resume(self, by: str) -> None:
        try:
            self.breaker.resume(by, "looked")
        except ResumeRefused:
            assert not self.disk_works
            assert self.first_halt is not None
        else:
            assert self.disk_works or self.first_halt is None
            self.first_halt = None

    @rule(seconds=st.sampled_from([0.1, 1, 11]))
    def time_passes(self, seconds: float) -> None:
        self.clock.ns += int(seconds * 1e9)
        self.breaker.advance()

    @precondition(lambda self: self.disk_works)
    @rule()
    def the_disk_fails(self) -> None:
        self.database().rename(self.folders[-1] / "elsewhere")
        self.disk_works = False

    @precondition(lambda self: not self.disk_works)
    @rule()
    def the_disk_works_again(self) -> None:
        (self.folders[-1] / "elsewhere").rename(self.database())
        self.disk_works = True

    @precondition(lambda self: self.disk_works)
    @rule()
    def a_clean_end_and_a_start(self) -> None:
        self.breaker.close()
        self.store.close()
        self.reopen()
        self.check_after_a_start(was_confirmed=True)
        assert self.breaker.status().note in (None, "halted before this start; a restart does not resume")

    @rule()
    def a_kill_and_a_start(self) -> None:
        if not self.disk_works:
            self.the_disk_works_again()
        was_confirmed = self.breaker.status().confirmed
        before = self.breaker.status()
        accounted = {each.request.key.client_id for each in before.unknown}
        # What a killed process leaves is what is in its files now; its own lock and connection go on in the old folder.
        self.folders.append(Path(tempfile.mkdtemp(prefix="tradewatch-breaker-")))
        for path in self.folders[-2].iterdir():
            if path.name != "lock":
                shutil.copy(path, self.folders[-1] / path.name)
        self.store.close()
        self.reopen()
        self.check_after_a_start(was_confirmed)
        if was_confirmed and self.first_halt is not None:
            after = self.breaker.status()
            assert (after.evidence, after.since_ns, after.further) == (before.evidence, before.since_ns, before.further)
            assert accounted <= {each.request.key.client_id for each in after.unknown} | self.settled_late(before)

    def settled_late(self, before: object) -> set[str]:
        """Orders lost after the confirmation was written are known to the process alone."""
        return {each.request.key.client_id for each in before.unknown} - self.under_way_at_halt

    def check_after_a_start(self, was_confirmed: bool) -> None:
        status = self.breaker.status()
        if was_confirmed:
            assert (status.state == "HALTED") == (self.first_halt is not None)
        if status.state == "HALTED":
            # A disk that failed may still have an earlier halt in place of a resumption, never one of its own making.
            if was_confirmed:
                assert (status.by, status.reason) == self.first_halt
            self.first_halt = (status.by, status.reason)
            self.under_way_at_halt = {each.request.key.client_id for each in status.unknown}
            self.lost = set(self.under_way_at_halt)
        else:
            self.first_halt = None

    @invariant()
    def the_gate_is_closed_exactly_while_halted(self) -> None:
        status = self.breaker.status()
        assert self.gate.closed == (status.state == "HALTED") == (self.first_halt is not None)
        if self.first_halt is not None:
            assert (status.by, status.reason) == self.first_halt

    @invariant()
    def what_is_confirmed_is_true(self) -> None:
        status = self.breaker.status()
        listed = {each.request.key.client_id for each in status.unknown}
        assert self.lost <= listed
        assert (status.not_confirmed is None) == status.confirmed == self.breaker.is_confirmed
        if status.confirmed and self.first_halt is not None:
            still = set(self.under_way.values()) & self.under_way_at_halt
            assert still <= listed

    def teardown(self) -> None:
        with contextlib.suppress(AttributeError):
            self.store.close()
            for folder in self.folders:
                shutil.rmtree(folder)


AnyHistory.TestCase.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
test_any_history = AnyHistory.TestCase
