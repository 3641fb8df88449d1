"""What is written comes back, from any thread and after any end."""

from __future__ import annotations

import os
import signal
import stat
import threading
from decimal import Decimal

import msgspec
import pytest

from tradewatch.model import Event, Evidence, Fill, Halt, Money
from tradewatch.runtime.scrub import scrubber
from tradewatch.store import Store, StoreInUse, StoreUnavailable, decode, state_folder


def test_a_row_comes_back_as_it_was_written(store, clock, note):
    written = store.append("note", note("hello"))
    assert written == Event(1, clock.ns, "note", b'{"text":"hello"}')
    assert list(store.read(["note"])) == [written]


def test_rows_survive_a_restart_and_the_numbering_goes_on(folder, clock, note, texts):
    with_first = Store.open(folder, clock)
    with_first.append("note", note("one"))
    with_first.close()
    store = Store.open(folder, clock)
    assert store.append("note", note("two"), durable=True).seq == 2
    assert texts(store) == ["one", "two"]
    store.close()


def test_the_last_row_of_a_kind_is_found_among_others(store, note):
    store.append("halt", note("first"))
    wanted = store.append("halt", note("second"))
    store.append("fill", note("other"))
    assert store.last("halt") == wanted
    assert store.last("never written") is None


def test_reading_takes_the_kinds_asked_for_after_a_row(store, note):
    rows = [store.append(kind, note(kind)) for kind in ("a", "b", "c", "a", "b", "c")]
    assert list(store.read(["a", "c"], after_seq=1)) == [rows[2], rows[3], rows[5]]


def test_a_long_history_is_read_whole(store, note):
    rows = [store.append("note", note(str(n))) for n in range(1203)]
    assert list(store.read(["note"])) == rows


def test_rows_written_while_a_history_is_read_are_not_held_up(store, note):
    for n in range(3):
        store.append("note", note(str(n)))
    reading = store.read(["note"])
    next(reading)
    assert store.append("note", note("meanwhile")).seq == 4


def test_many_threads_write_without_losing_a_row(store, note, texts):
    def write(name: str) -> None:
        for n in range(100):
            store.append("note", note(f"{name}{n}"), durable=n % 25 == 0)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = texts(store)
    assert sorted(found) == sorted(f"{name}{n}" for name in "abcd" for n in range(100))
    assert [text for text in found if text[0] == "a"] == [f"a{n}" for n in range(100)]


def test_money_keeps_every_digit(store):
    amount = Decimal("0.10000000000000000000000000000000000000001")
    fill = Fill(
        "a", "BTC/USDT", "1", "2", "buy", amount, Decimal("1E+3"), (Money(Decimal("0.10"), "USDT"),), 5, "trades"
    )
    assert decode(store.append("fill", fill), Fill) == fill


def test_a_number_that_json_lacks_comes_back(store):
    halt = Halt("HALTED", "r", "", tuple(Evidence("x", v, 1) for v in (float("nan"), float("inf"), -float("inf"))), 1)
    back = decode(store.append("halt", halt), Halt)
    assert [str(each.value) for each in back.evidence] == ["nan", "inf", "-inf"]


def test_no_secret_reaches_the_disk(folder, store):
    class Body(msgspec.Struct):
        table: dict[str, list[str]]

    pem = '-----BEGIN KEY-----\nMIIB"quoted"\\ä\n-----END KEY-----'
    scrubber.learn(["s3cr3t-value", pem])
    event = store.append("x", Body({"s3cr3t-value": ["key s3cr3t-value.", pem]}), durable=True)
    assert event.body == b'{"table":{"***":["key ***.","***"]}}'
    on_disk = b"".join(path.read_bytes() for path in folder.iterdir())
    assert b"s3cr3t-value" not in on_disk
    assert b"MIIB" not in on_disk


def test_a_numeric_passphrase_does_not_eat_an_amount(store):
    scrubber.learn(["123456"])
    money = Money(Decimal("0.123456"), "123456")
    assert store.append("x", money).body == b'{"amount":"0.123456","currency":"***"}'


@pytest.mark.parametrize("umask", [0, 0o777])
def test_files_are_the_owners_alone_whatever_the_umask(folder, clock, note, umask):
    before = os.umask(umask)
    try:
        store = Store.open(folder, clock)
        store.append("note", note("x"))
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    store.close()
    assert modes == {"events.db": 0o600, "events.db-wal": 0o600, "events.db-shm": 0o600, "lock": 0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700


def test_a_folder_of_the_users_own_keeps_its_mode_and_a_restored_file_is_narrowed(folder, clock, filled):
    filled(1)
    folder.chmod(0o755)
    (folder / "events.db").chmod(0o644)
    Store.open(folder, clock).close()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert stat.S_IMODE((folder / "events.db").stat().st_mode) == 0o600


def test_a_second_store_of_this_process_is_told_so_and_the_first_goes_on(folder, store, clock, note):
    with pytest.raises(StoreInUse, match="this process has it open"):
        Store.open(folder, clock)
    with pytest.raises(StoreInUse):  # the failed attempt did not let go of the lock either
        Store.open(folder, clock)
    store.append("note", note("still mine"))


def test_a_second_process_is_told_the_folder_and_who_has_it(folder, store, output):
    printed = output(
        "try: Store.open(Path(sys.argv[1]), SystemClock())\n"
        "except StoreInUse as error: print(error.pid, error.holds_state, error)",
        folder,
    )
    assert printed == (
        f"{os.getpid()} True the store at {folder} cannot be used: process {os.getpid()} has it open, and one process "
        "at a time may write there. If that is another bot, give this one a name of its own; if it is an old run, "
        f"stop process {os.getpid()} first.\n"
    )


def test_a_killed_process_leaves_the_folder_free(folder, clock, start):
    process = start(
        "s = Store.open(Path(sys.argv[1]), SystemClock()); print('open', flush=True); time.sleep(60)", folder
    )
    assert process.stdout.readline() == "open\n"
    with pytest.raises(StoreInUse):
        Store.open(folder, clock)
    process.kill()
    process.communicate()
    Store.open(folder, clock).close()


_FORK = """
store = Store.open(Path(sys.argv[1]), SystemClock())
store.append("note", Note("parent"))
if os.fork() == 0:
    try: store.append("note", Note("child"))
    except StoreUnavailable as error: print(error.reason, flush=True)
    store.close()
    del store
    os._exit(0)
os.wait()
store.append("note", Note("parent again"), durable=True)
print([event.body.decode() for event in store.read(["note"])])
"""


def test_a_forked_child_is_kept_from_its_parents_store(folder, output):
    reason, rows = output(_FORK, folder).splitlines()
    assert reason.startswith("it was opened by process ")
    assert reason.endswith("of which this one is a fork")
    assert rows == """['{"text":"parent"}', '{"text":"parent again"}']"""


def test_a_child_that_outlives_its_parent_does_not_hold_the_folder(folder, clock, start):
    program = (
        "store = Store.open(Path(sys.argv[1]), SystemClock())\n"
        "child = os.fork()\n"
        "if child == 0: time.sleep(30); os._exit(0)\n"
        "time.sleep(0.2)\nprint(child, flush=True)\nos.kill(os.getpid(), 9)\n"
    )
    process = start(program, folder)
    child = int(process.stdout.readline())
    process.wait(timeout=30)
    try:
        Store.open(folder, clock).close()
    finally:
        os.kill(child, signal.SIGKILL)
        process.stdout.close()


def test_a_closed_store_says_so_and_closes_again_quietly(folder, clock, note):
    store = Store.open(folder, clock)
    store.close()
    store.close()
    with pytest.raises(StoreUnavailable, match="it is closed"):
        store.append("note", note("x"))


def test_a_signal_handler_that_writes_does_not_wait_for_its_own_thread(folder, output):
    program = """
store = Store.open(Path(sys.argv[1]), SystemClock())
said = {"written": 0}
def handler(*_):
    try:
        store.append("note", Note("handler")); said["written"] += 1
    except StoreUnavailable as error: said[error.reason] = True
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
for n in range(4000): store.append("note", Note("main"))
signal.setitimer(signal.ITIMER_REAL, 0)
rows = [event.body for event in store.read(["note"])]
print(rows.count(b'{"text":"main"}'), rows.count(b'{"text":"handler"}') == said.pop("written"), sorted(said))
"""
    printed = output(program, folder)
    assert printed == "4000 True ['a signal handler interrupted a write on the same thread']\n"


def test_two_bots_never_share_a_folder_by_their_names(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    names = ["a/b", "a_b", "a%2Fb", "..", ".", "", "grid bot", "日本", "a\0b"]
    folders = [state_folder(name) for name in names]
    assert len(set(folders)) == len(names)
    assert {folder.parent for folder in folders} == {tmp_path / "tradewatch"}
    assert state_folder("grid bot").name == "grid bot"


def test_state_is_in_the_home_folder_unless_set(monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", "relative/is/ignored")
    monkeypatch.setenv("HOME", "/home/trader")
    assert str(state_folder("grid")) == "/home/trader/.local/state/tradewatch/grid"
