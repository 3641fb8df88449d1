"""A disk that does not take a row says so in words that a trader can act on."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tradewatch.store import Store, StoreUnavailable, decode, rows_of, state_folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 300 kB."""
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=300k", "tradewatch-test", str(mount)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting needs root")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def test_a_file_in_place_of_the_folder_is_named(tmp_path, clock):
    (tmp_path / "state").write_text("")
    with pytest.raises(StoreUnavailable) as caught:
        Store.open(tmp_path / "state", clock)
    assert str(caught.value) == (
        f"the store at {tmp_path}/state cannot be used: file exists. "
        "A file stands where a folder must be: move it, or set another state folder."
    )
    assert caught.value.holds_state is False


def test_a_folder_below_a_file_is_named(tmp_path, clock):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="A file stands where a folder must be"):
        Store.open(tmp_path / "file" / "deep" / "bot", clock)


def test_a_folder_in_place_of_the_file_is_named(folder, clock):
    (folder / "events.db").mkdir(parents=True)
    with pytest.raises(StoreUnavailable) as caught:
        Store.open(folder, clock)
    assert caught.value.path == folder / "events.db"
    assert caught.value.holds_state is True


def test_a_place_where_nothing_can_be_made_holds_no_state(clock):
    with pytest.raises(StoreUnavailable) as caught:
        Store.open(Path("/proc/tradewatch/bot"), clock)
    assert caught.value.holds_state is False
    assert "set another state folder" in caught.value.remedy


def test_a_user_without_a_home_is_told_so(monkeypatch):
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)  # no such user in the password file
    with pytest.raises(StoreUnavailable, match=r"this user has no home folder. Set HOME") as caught:
        state_folder("bot")
    assert caught.value.holds_state is False


def test_a_folder_that_others_own_may_hold_a_state_that_we_cannot_see(folder, clock, filled, output):
    filled(1)
    if os.getuid() != 0:
        pytest.skip("becoming another user needs root")
    # The interpreter becomes nobody only after its imports: where it is installed may be root's alone.
    program = (
        "os.setgid(65534); os.setuid(65534)\n"
        "try: Store.open(Path(sys.argv[1]), SystemClock())\n"
        "except StoreUnavailable as error: print(error.holds_state, error.reason, '|', error.remedy)"
    )
    printed = output(program, folder)
    assert printed == (
        "True permission denied | Give the bot's user the right to write there, or set another state folder.\n"
    )


def test_a_read_only_disk_is_said_at_the_start_and_while_running(small_disk, clock, note):
    folder = small_disk / "bot"
    store = Store.open(folder, clock)
    store.append("note", note("x"), durable=True)
    store.close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StoreUnavailable, match=r"read-only file system. Mount the disk writable") as caught:
        Store.open(folder, clock)
    assert caught.value.holds_state is True


def test_a_log_on_a_disk_that_became_read_only_is_read(small_disk, clock, note, output):
    """As the audit reads it, after a disk error for one: closed or left by a kill, nothing of it is missing."""
    folder, left = small_disk / "closed", small_disk / "left"
    store = Store.open(folder, clock)
    store.append("note", note("x"), durable=True)
    store.close()
    output(
        "class Note(msgspec.Struct, frozen=True): text: str\n"
        "store = Store.open(Path(sys.argv[1]), SystemClock())\n"
        "store.append('note', Note('x'), durable=False)\n"
        "os._exit(0)",
        left,
    )
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for each in (folder, left):
        assert [decode(event, note).text for event in rows_of(each, "note")] == ["x"]


def _fill(disk: Path) -> Path:
    """Leave no room on it."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return ballast


def _append_until_refused(store, note) -> tuple[int, StoreUnavailable]:
    for count in range(1000):
        try:
            store.append("note", note("y" * 3000), durable=True)
        except StoreUnavailable as error:
            return count, error
    raise AssertionError("the disk never filled")


def test_a_full_disk_is_said_keeps_what_was_written_and_works_again_when_there_is_room(small_disk, clock, note, texts):
    folder = small_disk / "bot"
    store = Store.open(folder, clock)
    store.append("note", note("before"), durable=True)
    ballast = _fill(small_disk)
    count, error = _append_until_refused(store, note)
    assert (error.reason, error.remedy) == ("the disk is full", "Free space on that disk, or raise its quota.")
    ballast.unlink()
    store.append("note", note("after"), durable=True)
    written = ["before", *["y" * 3000] * count, "after"]
    assert texts(store) == written
    store.close()
    store = Store.open(folder, clock)
    assert texts(store) == written
    store.close()


def test_a_disk_too_full_to_begin_is_said(small_disk, clock):
    _fill(small_disk)
    with pytest.raises(StoreUnavailable) as caught:
        Store.open(small_disk / "bot", clock)
    assert "Free space" in caught.value.remedy
    assert caught.value.holds_state is False


def test_a_file_size_limit_is_said_and_the_rows_before_it_are_kept(folder, clock, output, texts):
    program = """
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
store = Store.open(Path(sys.argv[1]), SystemClock())
written = 0
try:
    while written < 1000:
        store.append("note", Note("z" * 500), durable=True); written += 1
except StoreUnavailable as error: print(written, error)
"""
    printed = output(program, folder)
    written, said = printed.split(" ", 1)
    assert said.startswith(f"the store at {folder / 'events.db'} cannot be used: ")
    store = Store.open(folder, clock)
    assert len(texts(store)) == int(written)
    store.close()


def test_a_shell_that_holds_the_file_locked_is_said(folder, store, note):
    shell = sqlite3.connect(folder / "events.db", isolation_level=None)
    shell.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match=r"another program holds it locked. Close the program"):
        store.append("note", note("x"))
    shell.execute("ROLLBACK")
    shell.close()
    assert store.append("note", note("y")).seq == 1
