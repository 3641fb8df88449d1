"""A damaged file is found, kept, and said; it never passes for a good one, nor for a new one."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tradewatch.store import DAMAGED, Damaged, Store, StoreUnavailable, decode, schema


@pytest.fixture
def found(folder, clock):
    """Open the store again: what is said of the damage, and that the damaged file is kept byte for byte."""

    def look() -> Damaged:
        before = (folder / "events.db").read_bytes()
        store = Store.open(folder, clock)
        first = store.last(DAMAGED)
        assert first is not None
        assert first.seq == 1
        assert list(store.read(["note"])) == []
        store.close()
        said = decode(first, Damaged)
        assert said.moved_to == str(folder / "events.damaged-20230303T120000Z.db")
        assert Path(said.moved_to).read_bytes() == before
        return said

    return look


@pytest.mark.parametrize("keep", [0.999, 0.5, 0.05])
def test_a_truncated_file_is_found(folder, filled, found, keep):
    filled(300)
    path = folder / "events.db"
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * keep))
    assert found().reason


def test_a_file_cut_to_nothing_is_damage_and_not_a_new_log(folder, filled, found):
    filled(3)
    (folder / "events.db").write_bytes(b"")
    assert found().reason == "it is cut off or is not a log of tradewatch: there is no table of events"


def test_a_file_cut_at_a_page_is_found(folder, filled, found):
    filled(300)
    with (folder / "events.db").open("r+b") as file:
        file.truncate(4096 * 3)
    assert found().reason


def test_a_garbage_header_is_found(folder, filled, found):
    filled(3)
    with (folder / "events.db").open("r+b") as file:
        file.write(b"garbage" * 20)
    assert found().reason == "file is not a database"


def test_garbage_in_the_middle_is_found(folder, filled, found):
    filled(300)
    path = folder / "events.db"
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xa5" * 6000)
    assert found().reason


def test_one_changed_letter_in_a_body_is_found(folder, filled, found):
    filled(30)
    path = folder / "events.db"
    data = path.read_bytes()
    assert data.count(b"note 17 ") == 1
    path.write_bytes(data.replace(b"note 17 ", b"note 18 "))
    assert found().reason == "row 18 is not as it was written"


def test_bytes_that_are_no_text_are_found(folder, filled, found):
    filled(30)
    path = folder / "events.db"
    path.write_bytes(path.read_bytes().replace(b"note 17 ", b"n\xff\xfee 17 "))
    assert found().reason == "row 18 is not as it was written"


def test_a_row_that_was_taken_out_is_missed(folder, filled, found):
    filled(9)
    connection = sqlite3.connect(folder / "events.db")
    connection.execute("DELETE FROM events WHERE seq = 4")
    connection.commit()
    connection.close()
    assert found().reason == "row 4 is missing"


def test_another_programs_database_is_kept_out_of_the_way(folder, clock, found, filled):
    filled(1)
    (folder / "events.db").unlink()
    connection = sqlite3.connect(folder / "events.db")
    connection.execute("CREATE TABLE prices (x)")
    connection.commit()
    connection.close()
    assert "there is no table of events" in found().reason


def test_a_newer_format_is_left_alone(folder, clock, filled):
    filled(1)
    connection = sqlite3.connect(folder / "events.db")
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(StoreUnavailable, match=r"a newer tradewatch wrote it \(format 2, this one reads 1\)\. Upgrade"):
        Store.open(folder, clock)
    assert sorted(path.name for path in folder.iterdir()) == ["events.db", "lock"]


def test_an_older_format_is_brought_to_todays_once_and_keeps_its_rows(folder, clock, filled, monkeypatch):
    rows = filled(3)
    monkeypatch.setattr(schema, "VERSION", 3)
    monkeypatch.setattr(schema, "_MIGRATIONS", {1: ("CREATE TABLE second (x)",), 2: ("CREATE TABLE third (x)",)})
    for _ in range(2):
        store = Store.open(folder, clock)
        assert list(store.read(["note"])) == rows
        store.close()
    connection = sqlite3.connect(folder / "events.db")
    assert connection.execute("PRAGMA user_version").fetchone() == (3,)
    assert connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall() == [
        ("events",),
        ("second",),
        ("third",),
    ]
    connection.close()


@pytest.mark.parametrize("version", [0, -5])
def test_a_format_number_that_never_was_is_damage(folder, filled, found, version):
    filled(1)
    connection = sqlite3.connect(folder / "events.db")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    assert found().reason == f"its format number is {version}"


def test_a_header_of_a_future_sqlite_is_damage(folder, filled, found):
    filled(1)
    with (folder / "events.db").open("r+b") as file:
        file.seek(47)
        file.write(b"\x05")
    assert found().reason == "unsupported file format"


def test_the_damage_is_warned_of_once(folder, clock, filled, caplog):
    filled(1)
    (folder / "events.db").write_bytes(b"")
    Store.open(folder, clock).close()
    Store.open(folder, clock).close()
    (record,) = caplog.records
    assert "was damaged" in record.message
    assert "is kept as" in record.message


def test_two_damaged_files_of_one_second_are_both_kept(folder, clock, filled):
    for n in range(2):
        filled(1)
        (folder / "events.db").write_bytes(b"x" * n)
    Store.open(folder, clock).close()
    assert len(list(folder.glob("events.damaged-*.db"))) == 2


def test_a_start_killed_after_moving_the_file_is_not_taken_for_a_first_start(folder, clock, filled):
    filled(1)
    (folder / "events.db").rename(folder / "events.damaged-20230303T115900Z.db")
    store = Store.open(folder, clock)
    said = store.last(DAMAGED)
    store.close()
    assert said is not None
    assert decode(said, Damaged).reason == "it was damaged at an earlier start"


def test_a_log_without_its_main_file_is_damage(folder, clock, start):
    start(
        "s = Store.open(Path(sys.argv[1]), SystemClock())\ns.append('note', Note('x'))\nos.kill(os.getpid(), 9)", folder
    ).communicate()
    (folder / "events.db").unlink()
    store = Store.open(folder, clock)
    said = store.last(DAMAGED)
    store.close()
    assert said is not None
    assert decode(said, Damaged).reason == "the main file is missing"
    assert (folder / "events.damaged-20230303T120000Z.db-wal").stat().st_size > 0


def test_a_file_removed_while_the_bot_runs_takes_no_row_in_silence(folder, store, note):
    store.append("note", note("x"))
    for path in folder.glob("events.db*"):
        path.unlink()
    with pytest.raises(StoreUnavailable, match="removed or replaced while the bot ran"):
        store.append("note", note("y"))


def test_damage_that_comes_while_the_bot_runs_is_said_in_our_words(folder, store, note):
    for n in range(100):
        store.append("note", note(f"{n} " + "x" * 100), durable=True)
    connection = sqlite3.connect(folder / "events.db")
    connection.execute("UPDATE events SET body = 'garbage' WHERE seq = 50")
    connection.commit()
    connection.close()
    with pytest.raises(StoreUnavailable, match=r"damaged \(row 50 is not as it was written\)\. Restart the bot"):
        list(store.read(["note"]))


def test_a_schema_that_sqlite_cannot_even_complain_about_is_found(folder, filled, found):
    filled(1)
    path = folder / "events.db"
    path.write_bytes(path.read_bytes().replace(b"CREATE INDEX", b"CREATE \x80NDEX"))
    assert found().reason == "its schema is garbage"


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.data())
def test_whatever_bytes_change_the_rows_are_right_or_the_damage_is_said(tmp_path_factory, clock, note, data):
    folder = tmp_path_factory.mktemp("any")
    store = Store.open(folder, clock)
    written = [store.append("note", note(f"{n} " + "y" * 60)) for n in range(60)]
    store.close()
    path = folder / "events.db"
    content = bytearray(path.read_bytes())
    # The header's hundred bytes as often as all others: they say the most.
    at = data.draw(st.integers(0, 99) | st.integers(0, len(content) - 1))
    content[at : at + 40] = data.draw(st.binary(min_size=1, max_size=40))
    path.write_bytes(content)
    refused = None
    try:
        store = Store.open(folder, clock)
    except StoreUnavailable as error:
        refused = error.reason
    if refused is None:
        assert list(store.read(["note"])) == written or store.last(DAMAGED) is not None
        store.close()
    else:
        assert "a newer tradewatch wrote it" in refused  # the changed byte was the version itself
    shutil.rmtree(folder)
