"""What a start makes of the runs before it."""

from __future__ import annotations

import contextlib
import subprocess

import msgspec
import pytest

from tradewatch.breaker import Breaker, ResumeRefused, UnknownOrder
from tradewatch.model import Acted
from tradewatch.store import Store, StoreUnavailable


def test_a_clean_end_starts_active_without_a_note(breaker, store, restart):
    breaker.close()
    store.close()
    status = restart().status()
    assert (status.state, status.reason, status.note) == ("ACTIVE", "start after a clean end", None)


def test_an_unclean_end_starts_active_and_says_so(breaker, store, restart):
    store.close()
    status = restart().status()
    assert (status.state, status.reason) == ("ACTIVE", "start after an unclean end")
    assert status.note.startswith("the last run ended without closing")


def test_a_clean_end_before_an_unclean_one_does_not_hide_it(breaker, store, restart):
    breaker.close()
    store.close()
    restart()
    assert restart().status().reason == "start after an unclean end"


@pytest.mark.parametrize("by", ["DailyLoss", "anna"])
@pytest.mark.parametrize("clean", [True, False])
def test_a_halt_survives_restarts_whoever_set_it(breaker, store, restart, reason, evidence, by, clean):
    breaker.halt(by, reason, evidence)
    breaker.halt("OrderRate", "9 orders/s")
    before = breaker.status()
    if clean:
        breaker.close()
    store.close()
    for _ in range(3):
        again = restart()
        status = again.status()
        assert again.gate.closed is True
        assert (status.state, status.by, status.reason, status.evidence, status.since_ns, status.further) == (
            "HALTED",
            by,
            reason,
            evidence,
            before.since_ns,
            before.further,
        )
        assert (status.confirmed, status.trips) == (True, 0)
        assert status.note == "halted before this start; a restart does not resume"


def test_a_resumption_survives_a_restart(breaker, store, restart):
    breaker.halt("DailyLoss", "3.12 %")
    breaker.resume("anna", "go on")
    breaker.close()
    store.close()
    again = restart()
    assert (again.status().state, again.gate.closed) == ("ACTIVE", False)


def test_orders_under_way_at_a_kill_are_listed_after_it(breaker, gate, store, restart, clock, request_of, told):
    gate.leave(gate.enter(request_of(1)), "unknown")
    gate.enter(request_of(2))
    halted_ns = clock.ns
    breaker.halt("DailyLoss", "3.12 %")
    store.close()
    clock.pass_seconds(100)
    again = restart()
    assert again.status().unknown == (UnknownOrder(request_of(1), halted_ns), UnknownOrder(request_of(2), halted_ns))
    again.hear(told("c2"))
    assert [each.request for each in again.status().unknown] == [request_of(1)]
    assert [each.request for each in restart().status().unknown] == [request_of(1)]


def test_an_order_that_is_known_again_stays_so_over_a_restart(breaker, gate, store, restart, request_of, told):
    gate.leave(gate.enter(request_of(1)), "unknown")
    gate.leave(gate.enter(request_of(2)), "unknown")
    breaker.halt("DailyLoss", "3.12 %")
    breaker.hear(told("c1"))
    store.close()
    assert [each.request for each in restart().status().unknown] == [request_of(2)]


def test_alerts_that_were_acted_on_are_known_after_a_restart(breaker, store, restart):
    alert = Acted("DailyLoss", "loss > 3", (("alertname", "DailyLoss"), ("currency", "USDT")))
    breaker.halt("DailyLoss", "3.12 %")
    breaker.acted(frozenset({alert}))
    breaker.resume("anna", "go on")
    store.close()
    again = restart()
    assert again.alerts_acted == frozenset({alert})
    again.acted(frozenset())
    assert restart().alerts_acted == frozenset()


def test_an_alert_that_comes_and_goes_while_the_disk_is_away_fills_no_memory(breaker, store, disk, clock, restart):
    alert = frozenset({Acted("DailyLoss", "loss > 3", ())})
    disk.fail()
    for _ in range(1_500):
        breaker.acted(alert)
        breaker.acted(frozenset())
    assert len(breaker._unwritten) <= 1_001
    disk.heal()
    clock.pass_seconds(1)
    breaker.advance()
    breaker.acted(alert)
    store.close()
    assert restart().alerts_acted == alert


def test_a_halt_is_on_disk_before_the_alert_that_it_is_because_of(breaker, store, disk):
    disk.fail()
    breaker.halt("DailyLoss", "3.12 %")
    breaker.acted(frozenset({Acted("DailyLoss", "loss > 3", ())}))
    disk.heal()
    breaker.acted(frozenset())
    kinds = [event.kind for event in store.read(("breaker.halted", "breaker.acted"))]
    assert kinds == ["breaker.halted", "breaker.acted", "breaker.acted"]


def test_after_a_confirmation_only_the_unknown_orders_are_listed(breaker, gate, store, restart, request_of):
    answered, lost = gate.enter(request_of(1)), gate.enter(request_of(2))
    breaker.halt("DailyLoss", "3.12 %")
    gate.leave(answered, "answered")
    gate.leave(lost, "unknown")
    breaker.advance()
    assert breaker.status().confirmed is True
    store.close()
    assert [each.request for each in restart().status().unknown] == [request_of(2)]


_HALT_AND_DIE = """
gate = OrderGate(clock)
breaker = Breaker(Store.open(Path(sys.argv[1]), clock), gate, clock)
gate.enter(OrderRequest(OrderKey("binance", "main", "BTC/USDT", None, "c1"), "create_order", "buy", "limit",
    Decimal("0.5"), Decimal("23431.55")))
breaker.halt("DailyLoss", sys.argv[2], (Evidence("tradewatch_daily_loss", 0.0312, 1677844800000000000),
    Evidence('tradewatch_limit{limit="daily_loss"}', 0.03, 1)))
os.kill(os.getpid(), 9)
"""


def test_a_kill_right_after_a_halt_starts_halted_with_the_same_reason_and_numbers(
    output, folder, restart, reason, evidence, request_of
):
    code, printed = output(_HALT_AND_DIE, folder, reason)
    assert (code, printed) == (-9, "")
    status = restart().status()
    assert (status.state, status.by, status.reason, status.evidence) == ("HALTED", "DailyLoss", reason, evidence)
    assert [each.request for each in status.unknown] == [request_of(1)]


def test_a_damaged_store_starts_halted_and_stays_so_until_a_person_has_looked(breaker, store, folder, restart):
    breaker.close()
    store.close()
    with (folder / "events.db").open("r+b") as file:
        file.write(b"garbage")
    for _ in range(2):
        again = restart()
        status = again.status()
        assert again.gate.closed is True
        assert (status.state, status.by, status.confirmed) == ("HALTED", "tradewatch", True)
        assert status.reason == (
            f"the state of the last run cannot be read: {folder}/events.db was damaged (file is not a database) and is "
            f"kept as {folder}/events.damaged-20230303T120000Z.db. A new one has begun. "
            "Look at the account's open orders and positions, then resume."
        )
    again.resume("anna", "no open orders, position as expected")
    again.close()
    assert restart().status().state == "ACTIVE"


def test_a_start_killed_before_it_wrote_that_the_store_was_damaged_still_halts(breaker, store, folder, clock, restart):
    store.close()
    (folder / "events.db").write_bytes(b"")
    Store.open(folder, clock).close()
    assert restart().status().state == "HALTED"


def test_a_row_that_is_not_understood_starts_halted(store, gate, clock, folder):
    class Other(msgspec.Struct):
        x: int

    store.append("breaker.halted", Other(1))
    status = Breaker(store, gate, clock).status()
    assert status.state == "HALTED"
    assert f"a row in {folder}/events.db is not understood" in status.reason


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 1 MB."""
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tradewatch-test", str(mount)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting needs root")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def _open_or_error(folder, clock):
    try:
        return Store.open(folder, clock)
    except StoreUnavailable as error:
        return error


def test_a_read_only_disk_without_a_state_halts_in_memory_and_says_not_confirmed(small_disk, clock, gate, request_of):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    breaker = Breaker(_open_or_error(small_disk / "bot", clock), gate, clock)
    assert breaker.status().state == "ACTIVE"
    breaker.halt("DailyLoss", "3.12 %")
    assert gate.admit(request_of()) is not None
    breaker.advance()
    assert breaker.status().not_confirmed == (
        f"not on disk: the store at {small_disk}/bot cannot be used: read-only file system. "
        "Mount the disk writable, or set another state folder."
    )


def test_a_read_only_disk_with_a_state_starts_halted(small_disk, clock, gate):
    Store.open(small_disk / "bot", clock).close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    Breaker(_open_or_error(small_disk / "bot", clock), gate, clock)
    assert gate.closed is True


def test_a_full_disk_halts_in_memory_says_not_confirmed_and_is_tried_again(small_disk, clock, gate, request_of):
    store = Store.open(small_disk / "bot", clock)
    breaker = Breaker(store, gate, clock)
    with (small_disk / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    refused = None
    for n in range(200):  # the first rows still fit where the file already is
        breaker.halt("DailyLoss", f"{n} " + "y" * 1500)
        refused = breaker.status().not_confirmed
        if refused:
            break
        with contextlib.suppress(ResumeRefused):
            breaker.resume("anna", "z")
    assert "the disk is full. Free space on that disk, or raise its quota." in refused
    assert gate.admit(request_of()) is not None
    (small_disk / "ballast").unlink()
    clock.pass_seconds(1)
    breaker.advance()
    assert breaker.status().confirmed is True
    store.close()
