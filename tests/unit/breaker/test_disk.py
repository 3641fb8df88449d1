"""The breaker and its disk: which of memory and disk comes first, and what holds when the disk is in trouble."""

from __future__ import annotations

import threading

import pytest

from tradewatch.breaker import Breaker, OrderGate, ResumeRefused
from tradewatch.store import Store, StoreUnavailable


def test_when_the_disk_fails_the_gate_closes_first_and_the_status_says_why_it_is_not_confirmed(
    breaker, gate, disk, clock, restart, store, request_of
):
    disk.fail()
    breaker.halt("DailyLoss", "3.12 %")
    assert gate.admit(request_of()) is not None
    status = breaker.status()
    assert status.confirmed is False
    assert status.not_confirmed == (
        f"not on disk: the store at {disk.path} cannot be used: the file was removed or replaced while the bot ran. "
        "Restart the bot."
    )
    disk.heal()
    breaker.advance()  # not yet: it is tried again every second
    assert breaker.status().confirmed is False
    clock.pass_seconds(1)
    breaker.advance()
    assert breaker.status().confirmed is True
    store.close()
    assert restart().status().reason == "3.12 %"


def test_a_halt_that_is_not_on_disk_cannot_be_resumed_and_a_retry_can(breaker, gate, disk):
    disk.fail()
    breaker.halt("DailyLoss", "3.12 %")
    with pytest.raises(ResumeRefused, match="the halt itself is not on disk yet: the store at"):
        breaker.resume("anna", "go on")
    assert gate.closed is True
    disk.heal()
    breaker.resume("anna", "go on")
    assert gate.closed is False


def test_a_resumption_that_the_disk_does_not_take_leaves_the_bot_halted_also_after_a_restart(
    breaker, gate, disk, clock, store, restart, reason, evidence, request_of
):
    gate.leave(gate.enter(request_of()), "unknown")
    breaker.halt("DailyLoss", reason, evidence)
    breaker.halt("OrderRate", "9 orders/s")
    before = breaker.status()
    disk.fail()
    with pytest.raises(ResumeRefused, match="not resumed, since it could not be written down: the store at"):
        breaker.resume("anna", "go on")
    assert gate.closed is True
    assert breaker.status().state == "HALTED"
    assert breaker.status().confirmed is False
    disk.heal()
    clock.pass_seconds(1)
    breaker.advance()
    assert breaker.status() == before
    store.close()
    again = restart().status()
    assert (again.reason, again.evidence, again.further, again.unknown) == (
        before.reason,
        before.evidence,
        before.further,
        before.unknown,
    )


class WatchedStore(Store):
    """Notes what is written, how, and whether the gate is closed before and after."""

    def watch(self, gate: OrderGate) -> list[tuple[str, bool, bool, bool]]:
        self.gate, self.seen = gate, []
        return self.seen

    def append_all(self, rows, durable=False):
        before = self.gate.closed
        events = super().append_all(rows, durable)
        self.seen.extend((kind, durable, before, self.gate.closed) for kind, _ in rows)
        return events


def test_memory_comes_first_when_halting_and_disk_first_when_resuming_and_every_row_is_durable(folder, clock, gate):
    store = WatchedStore.open(folder, clock)
    seen = store.watch(gate)
    breaker = Breaker(store, gate, clock)
    breaker.halt("DailyLoss", "3.12 %")
    breaker.halt("OrderRate", "9 orders/s")
    breaker.resume("anna", "go on")
    breaker.close()
    store.close()
    assert seen == [
        ("breaker.started", True, False, False),
        ("breaker.halted", True, True, True),
        ("breaker.action", True, True, True),
        ("breaker.confirmed", True, True, True),
        ("breaker.further", True, True, True),
        ("breaker.action", True, True, True),
        ("breaker.resumed", True, True, True),
        ("breaker.action", True, False, False),
        ("breaker.ended", True, False, False),
    ]


class StoreWithMeanwhile(Store):
    """Something happens while a resumption is being written."""

    meanwhile = None

    def append(self, kind, body, durable=False):
        event = super().append(kind, body, durable)
        if kind == "breaker.resumed" and self.meanwhile is not None:
            what, self.meanwhile = self.meanwhile, None
            what()
        return event


@pytest.mark.parametrize("from_another_thread", [False, True], ids=["signal handler", "thread"])
def test_a_halt_that_comes_while_a_resumption_is_written_wins(folder, clock, gate, restart, from_another_thread):
    store = StoreWithMeanwhile.open(folder, clock)
    breaker = Breaker(store, gate, clock)
    breaker.halt("DailyLoss", "3.12 %")
    was_open: list[bool] = []
    threads: list[threading.Thread] = []

    def meanwhile() -> None:
        halting = threading.Thread(target=breaker.halt, args=("OrderRate", "9 orders/s"))
        if from_another_thread:
            threads.append(halting)
            halting.start()
            while not breaker.status().further:
                was_open.append(not gate.closed)
        else:
            breaker.halt("OrderRate", "9 orders/s")

    store.meanwhile = meanwhile
    with pytest.raises(ResumeRefused, match="meanwhile OrderRate halted again: 9 orders/s"):
        breaker.resume("anna", "go on")
    for thread in threads:
        thread.join()
    assert gate.closed is True
    assert True not in was_open
    breaker.advance()
    status = breaker.status()
    assert (status.by, status.trips, status.confirmed) == ("OrderRate", 2, True)
    store.close()
    assert restart().status().by == "OrderRate"


class ForgetfulStore(Store):
    """A disk in trouble: it has kept a resumption, and says that it has not."""

    def append(self, kind, body, durable=False):
        event = super().append(kind, body, durable)
        if kind == "breaker.resumed":
            raise StoreUnavailable(self.path, "disk I/O error", "Look at the disk.")
        return event


def test_a_resumption_that_is_on_disk_against_what_the_disk_said_does_not_resume_the_next_start(
    folder, clock, gate, restart
):
    store = ForgetfulStore.open(folder, clock)
    breaker = Breaker(store, gate, clock)
    breaker.halt("DailyLoss", "3.12 %")
    with pytest.raises(ResumeRefused, match="disk I/O error"):
        breaker.resume("anna", "go on")
    assert gate.closed is True
    store.close()
    assert restart().status().reason == "3.12 %"


class InterruptedStore(Store):
    """A signal handler runs on the thread that has just written a halt, before the breaker knows that it is written."""

    handler = None

    def append_all(self, rows, durable=False):
        events = super().append_all(rows, durable)
        if rows[0][0] == "breaker.halted" and self.handler is not None:
            handler, self.handler = self.handler, None
            handler()
        return events


def test_a_signal_handler_that_halts_while_a_halt_is_written_loses_and_doubles_no_row(folder, clock, gate):
    store = InterruptedStore.open(folder, clock)
    breaker = Breaker(store, gate, clock)
    store.handler = lambda: breaker.halt("SIGTERM", "the bot is being stopped")
    breaker.halt("DailyLoss", "3.12 %")
    kinds = ("breaker.halted", "breaker.further", "breaker.confirmed")
    assert sorted(event.kind for event in store.read(kinds)) == sorted(kinds)
    assert [each.by for each in breaker.status().further] == ["SIGTERM"]
    assert breaker.status().confirmed is True
    store.close()


def test_without_a_store_on_purpose_halting_and_resuming_work_and_nothing_is_confirmed(gate, clock):
    breaker = Breaker(None, gate, clock)
    breaker.halt("DailyLoss", "3.12 %")
    breaker.advance()
    assert breaker.status().not_confirmed == "not on disk: this bot runs without a store"
    breaker.resume("anna", "go on")
    assert gate.closed is False
    breaker.close()


def test_a_place_that_may_hold_a_state_which_cannot_be_read_starts_halted(gate, clock, tmp_path):
    error = StoreUnavailable(tmp_path, "permission denied", "Give the bot's user the right to write there.")
    breaker = Breaker(error, gate, clock)
    status = breaker.status()
    assert gate.closed is True
    assert status.reason == (
        f"the state of the last run cannot be read: {tmp_path}: permission denied. "
        "Give the bot's user the right to write there. Look at the account's open orders and positions, then resume."
    )
    assert status.not_confirmed == f"not on disk: {error}"
    with pytest.raises(ResumeRefused, match="permission denied"):
        breaker.resume("anna", "go on")


def test_a_place_where_nothing_ever_was_starts_active_and_says_that_halts_will_not_survive(
    gate, clock, tmp_path, caplog
):
    error = StoreUnavailable(tmp_path, "file exists", "Move it.", holds_state=False)
    breaker = Breaker(error, gate, clock)
    assert breaker.status().state == "ACTIVE"
    assert breaker.status().confirmed is False
    assert "halts will not survive a restart: the store at" in caplog.text
    breaker.halt("DailyLoss", "3.12 %")
    assert gate.closed is True


def test_a_forked_child_halts_in_memory_and_says_why_not_on_disk(output, folder):
    program = """
gate = OrderGate(clock)
breaker = Breaker(Store.open(Path(sys.argv[1]), clock), gate, clock)
if os.fork() == 0:
    breaker.halt("child", "stop")
    print(gate.closed, breaker.status().not_confirmed, flush=True)
    os._exit(0)
os.wait()
print(gate.closed, breaker.status().state)
"""
    code, printed = output(program, folder)
    child, parent = [line for line in printed.splitlines() if not line.startswith("the breaker is HALTED")]
    assert code == 0
    assert child.startswith("True not on disk: the store at")
    assert "of which this one is a fork" in child
    assert parent == "False ACTIVE"
