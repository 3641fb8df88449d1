"""The table of events in SQLite: how a file of it is begun, opened, and looked through for damage."""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Iterable
from pathlib import Path

from tradewatch.model import Event
from tradewatch.store import folder as files
from tradewatch.store.unavailable import StoreUnavailable, is_damage

VERSION = 1
# SQLite's page checks miss a changed byte inside a text; `crc` does not. Rows are never deleted, so `seq` has no gaps.
_CREATE = (
    "CREATE TABLE events (seq INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL,"
    " crc INTEGER NOT NULL)",
    "CREATE INDEX events_by_kind ON events (kind, seq)",
    f"PRAGMA user_version = {VERSION}",
)
# The statements that take a file of one version to the next, by the version that it has.
_MIGRATIONS: dict[int, tuple[str, ...]] = {}
INSERT = "INSERT INTO events (seq, at_ns, kind, body, crc) VALUES (?, ?, ?, ?, ?)"
# For each row after the first: they are written together or not at all.
AND_ROW = ", (?, ?, ?, ?, ?)"
# The body as bytes: a text that is no UTF-8 any more must be found by its checksum, not by the decoder.
COLUMNS = "seq, at_ns, CAST(kind AS BLOB), CAST(body AS BLOB), crc"
# How long to wait for another program (somebody's sqlite3 shell) that holds the file locked.
_BUSY_S = 1.0


class DamageError(Exception):
    """The file's content is not what was written."""


def row(event: Event) -> tuple[int, int, str, str, int]:
    """What INSERT takes."""
    kind = event.kind.encode()
    return (event.seq, event.at_ns, event.kind, event.body.decode(), _crc(event.seq, event.at_ns, kind, event.body))


def event(columns: tuple[int, int, bytes, bytes, int]) -> Event:
    """What a SELECT of COLUMNS gives.

    Raises:
        DamageError: the row is not as it was written.
    """
    seq, at_ns, kind, body, crc = columns
    if _crc(seq, at_ns, kind, body) != crc:
        raise DamageError(f"row {seq} is not as it was written")
    return Event(seq, at_ns, kind.decode(), body)


def _crc(seq: int, at_ns: int, kind: bytes, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(f"{seq} {at_ns} ".encode() + kind))


def create(path: Path, first: Iterable[Event] = ()) -> None:
    """Begin a file, its first rows in it, and only then give it its name.

    So a file under the name always has the table: an empty one has been cut off, not just begun.

    Raises:
        OSError, sqlite3.Error: it cannot be written.
    """
    new = path.with_name(f"{path.name}.new")
    for end in ("", *files.COMPANIONS):
        new.with_name(new.name + end).unlink(missing_ok=True)
    files.make_file(new)
    connection = sqlite3.connect(new, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = EXTRA")
        connection.execute("PRAGMA fullfsync = ON")
        connection.execute("BEGIN")
        for statement in _CREATE:
            connection.execute(statement)
        connection.executemany(INSERT, [row(each) for each in first])
        connection.execute("COMMIT")
    finally:
        connection.close()
    os.replace(new, path)
    files.sync_folder(path.parent)


def connect(path: Path) -> sqlite3.Connection:
    """Open a file that is there, for use from any thread, one at a time.

    Raises:
        OSError, sqlite3.Error: it cannot be reached.
    """
    files.narrow(path)
    connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA fullfsync = ON")  # macOS: fsync alone does not reach the platter
    return connection


def check(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the file to today's version and look at every page and every row (0.6 s for 100,000 fills).

    Raises:
        DamageError: the content is wrong.
        StoreUnavailable: a newer tradewatch wrote it.
        sqlite3.Error: it cannot be reached.
    """
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise StoreUnavailable(
                path,
                f"a newer tradewatch wrote it (format {version}, this one reads {VERSION})",
                "Upgrade tradewatch, or set another state folder.",
            )
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'events'").fetchone():
            raise DamageError("it is cut off or is not a log of tradewatch: there is no table of events")
        if version < 1:
            raise DamageError(f"its format number is {version}")
        for old in range(version, VERSION):
            connection.execute("BEGIN")
            for statement in _MIGRATIONS[old]:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {old + 1}")
            connection.execute("COMMIT")
        # WAL: a reader never stops the bot's writer, and a commit is one append. A file system without shared memory
        # keeps the rollback journal, which is slower and as safe.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA cache_size = -256")  # KiB: rows are read once, and 2 MiB would fill up
        found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise DamageError(str(found).strip().replace("\n", " "))
        rows = connection.execute(f"SELECT {COLUMNS} FROM events ORDER BY seq")  # noqa: S608
        for expected, columns in enumerate(rows, start=1):
            if event(columns).seq != expected:
                raise DamageError(f"row {expected} is missing")
    except UnicodeDecodeError as error:  # SQLite quotes the garbage in its message, and Python cannot decode that
        raise DamageError("its schema is garbage") from error
    except sqlite3.Error as error:
        if is_damage(error):
            raise DamageError(str(error)) from error
        raise
