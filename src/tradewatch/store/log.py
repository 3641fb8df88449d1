"""The log itself: rows are appended and read, from any thread of the process that opened it."""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import msgspec

from tradewatch.model import Clock, Event
from tradewatch.runtime import fork
from tradewatch.runtime.failures import failures
from tradewatch.runtime.scrub import scrubber
from tradewatch.store import folder as files
from tradewatch.store import schema
from tradewatch.store.body import encode
from tradewatch.store.unavailable import StoreUnavailable, from_sqlite_error

DAMAGED = "store.damaged"
_NAME = "events.db"
# Few: making more of them at once would keep the other threads of the process waiting.
_PAGE_ROWS = 20
# How long a reader beside the writer waits, where the file is locked for a moment.
_PEEK_S = 0.1
_LAST = f"SELECT {schema.COLUMNS} FROM events WHERE kind = ? ORDER BY seq DESC LIMIT 1"  # noqa: S608
# Not by the index, which may be the part that is damaged.
_EVERY = f"SELECT {schema.COLUMNS} FROM events NOT INDEXED ORDER BY seq"  # noqa: S608


class Damaged(msgspec.Struct, frozen=True):
    """Body of `store.damaged`, the first row of the log that replaced a damaged one."""

    reason: str
    moved_to: str


class Store:
    """One append-only log in one folder, held by one process.

    A durable row is on the disk when `append` returns: `synchronous = EXTRA` syncs the write-ahead log at the commit,
    and the log is then copied into the main file, whose every page and row is checked at the next start (a damaged
    write-ahead log just ends at the damage, and what followed would be missing without a word). Any other row is
    `synchronous = NORMAL`: one write, no sync; it survives the end of the process however that comes, and reaches the
    disk with the next durable row or after some 1,000 pages. A power cut may take the latest of these, never one from
    the middle.
    """

    def __init__(
        self, folder: Path, clock: Clock, lock: files.FolderLock, connection: sqlite3.Connection, last_seq: int
    ) -> None:
        """Use `Store.open`."""
        self.folder = folder
        self.path = folder / _NAME
        self._clock = clock
        self._folder_lock = lock
        self._connection = connection
        self._last_seq: int | None = last_seq
        self._synchronous: str | None = None
        self._sync_failed = False
        self._file = _identity(self.path)
        # Reentrant, with a flag: a signal handler that appends while its own thread is appending is told so at once
        # instead of waiting for itself for ever.
        self._lock = threading.RLock()
        self._in_use = False
        self._closed = False
        self._pid = os.getpid()
        os.register_at_fork(after_in_child=_Abandon(self))

    @classmethod
    def open(cls, folder: Path, clock: Clock) -> Store:
        """Open the log in `folder`, beginning one where there is none.

        The folder is created with mode 0700 and every file in it with 0600, whatever the umask. A damaged file is moved
        aside, kept, warned of, and a new log begins with a `store.damaged` row.

        Raises:
            StoreInUse: another process, or another store of this one, has the folder.
            StoreUnavailable: it cannot be read or written; the error says why and what to do.
        """
        folder = Path(os.path.abspath(folder))
        path = folder / _NAME
        # Before anything is there, nothing can be lost; a folder that cannot even be looked into may hold a state.
        holds_state = _may_be_there(path)
        try:
            files.make_folder(folder)
            lock = files.FolderLock(folder)
        except OSError as error:
            raise files.unavailable(folder, error, holds_state=holds_state) from error
        connection: sqlite3.Connection | None = None
        try:
            connection, damage = _open_log(path, clock)
            last_seq = connection.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0]
            store = cls(folder, clock, lock, connection, last_seq)
        except BaseException as error:
            if connection is not None:
                connection.close()
            lock.release()
            if isinstance(error, OSError):
                raise files.unavailable(folder, error, holds_state=holds_state) from error
            if isinstance(error, sqlite3.Error):
                raise from_sqlite_error(path, error, holds_state=holds_state) from error
            raise
        if damage is not None:
            failures.warn(
                f"store {path}",
                f"the log {path} was damaged ({damage.reason}): it is kept as {damage.moved_to}, a new one is begun",
            )
        return store

    def append(self, kind: str, body: msgspec.Struct, durable: bool = False) -> Event:
        """Write one row, from any thread; known secrets in its texts are masked.

        Args:
            kind: what the row is, which fixes the shape of its body.
            body: what is written, as JSON.
            durable: return only when the row would survive a power cut (a sync of the disk: milliseconds).

        Raises:
            StoreUnavailable: the row was not written.
        """
        return self.append_all(((kind, body),), durable)[0]

    def append_all(self, rows: Sequence[tuple[str, msgspec.Struct]], durable: bool = False) -> list[Event]:
        """Write some rows together: all of them, or none where it raises; else as `append`.

        Raises:
            StoreUnavailable: no row was written.
        """
        texts = [(kind, encode(body, scrubber)) for kind, body in rows]
        with self._alone() as connection:
            if _identity(self.path) != self._file:
                raise StoreUnavailable(
                    self.path, "the file was removed or replaced while the bot ran", "Restart the bot."
                )
            if self._last_seq is None:
                self._last_seq = connection.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0]
            wanted = "EXTRA" if durable else "NORMAL"
            if self._synchronous != wanted:
                self._synchronous = None
                connection.execute(f"PRAGMA synchronous = {wanted}")
                self._synchronous = wanted
            if self._sync_failed:
                # Linux reports a failed sync once and then counts the pages as clean: rows before it may be missing
                # from the write-ahead log on disk, and a row after them would be lost with them. Copied into the main
                # file and synced there, they are safe again, and the write-ahead log begins anew.
                if connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                    raise StoreUnavailable(self.path, "a sync of the disk failed", "Look at the disk.")
                self._sync_failed = False
            now_ns, seq = self._clock.now_ns(), self._last_seq
            events = [Event(seq + n, now_ns, kind, text) for n, (kind, text) in enumerate(texts, start=1)]
            # After a failed commit only the file knows which rows it has.
            self._last_seq = None
            try:
                insert = schema.INSERT + schema.AND_ROW * (len(events) - 1)
                connection.execute(insert, [value for event in events for value in schema.row(event)])
            except sqlite3.OperationalError as error:
                self._sync_failed = error.sqlite_errorcode == sqlite3.SQLITE_IOERR_FSYNC
                raise
            self._last_seq = events[-1].seq
            if durable:
                with suppress(sqlite3.Error):  # the row is safe already; the next checkpoint copies it
                    connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            return events

    def last(self, kind: str) -> Event | None:
        """The latest row of a kind, None where there is none.

        Raises:
            StoreUnavailable: it cannot be read.
        """
        with self._alone() as connection:
            columns = connection.execute(_LAST, (kind,)).fetchone()
            return None if columns is None else schema.event(columns)

    def read(self, kinds: Collection[str], after_seq: int = 0) -> Iterator[Event]:
        """The rows of some kinds in the order of writing, those after `after_seq`; rows written meanwhile come too.

        Raises:
            StoreUnavailable: while iterating, a row cannot be read.
        """
        marks = ", ".join("?" * len(kinds))
        query = (
            f"SELECT {schema.COLUMNS} FROM events WHERE kind IN ({marks}) AND seq > ?"  # noqa: S608
            f" ORDER BY seq LIMIT {_PAGE_ROWS}"
        )
        while True:
            # A page at a time, so that a long history neither fills the memory nor keeps the writers waiting.
            with self._alone() as connection:
                page = [schema.event(columns) for columns in connection.execute(query, (*kinds, after_seq))]
            yield from page
            if len(page) < _PAGE_ROWS:
                return
            after_seq = page[-1].seq

    def close(self) -> None:
        """Close the files and let go of the folder; again is nothing. In a forked child: the child's side only."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
            try:
                self._connection.close()
            except sqlite3.Error as error:
                failures.note("closing the store", error)
            finally:
                self._folder_lock.release()

    @contextmanager
    def _alone(self) -> Iterator[sqlite3.Connection]:
        """The connection, for this thread alone; SQLite's errors leave as ours."""
        if os.getpid() != self._pid:
            raise StoreUnavailable(
                self.folder,
                f"it was opened by process {self._pid}, of which this one is a fork",
                "Instrument the bot in the process that trades.",
            )
        # SQLite has locks of its own, which a child that was forked meanwhile would find held for ever.
        with fork.held, self._lock:
            if self._closed:
                raise StoreUnavailable(self.folder, "it is closed", "Instrument the bot again.")
            if self._in_use:
                raise StoreUnavailable(
                    self.path, "a signal handler interrupted a write on the same thread", "It is tried again."
                )
            self._in_use = True
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise from_sqlite_error(self.path, error) from error
            except (schema.DamageError, UnicodeDecodeError) as error:
                remedy = "Restart the bot: at the start the file is moved aside, kept, and a new one begun."
                raise StoreUnavailable(self.path, f"the file is damaged ({error})", remedy) from error
            finally:
                self._in_use = False


def peek(folder: Path, kind: str) -> Event | None:
    """The latest row of a kind in a log that another process has open; None where there is none.

    Raises:
        StoreUnavailable: it cannot be read.
    """
    with _beside(folder) as connection:
        columns = connection.execute(_LAST, (kind,)).fetchone()
        return None if columns is None else schema.event(columns)


def rows_of(folder: Path, kind: str) -> Iterator[Event]:
    """All rows of a kind, oldest first, in a log that another process may have open.

    Every row and page is looked at, so that nothing is missing in silence: what stands before a damage comes first.

    Raises:
        StoreUnavailable: while iterating, the rest cannot be read.
    """
    with _beside(folder) as connection:
        for expected, columns in enumerate(connection.execute(_EVERY), start=1):
            found = schema.event(columns)
            if found.seq != expected:
                raise schema.DamageError(f"row {expected} is missing")
            if found.kind == kind:
                yield found
        if (said := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise schema.DamageError(str(said).strip().replace("\n", " "))


@contextmanager
def _beside(folder: Path) -> Iterator[sqlite3.Connection]:
    path = Path(os.path.abspath(folder)) / _NAME
    # SQLite reads beside a writer by files that it makes there. A log that was closed on a disk that is read-only by
    # now has none, and it wants to be told that nobody writes.
    is_fixed = not os.access(path.parent, os.W_OK) and not os.path.lexists(f"{path}-wal")
    how = "mode=ro&immutable=1" if is_fixed else "mode=ro"
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?{how}", timeout=_PEEK_S, uri=True)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise from_sqlite_error(path, error) from error
    except (schema.DamageError, UnicodeDecodeError) as error:
        raise StoreUnavailable(path, f"the file is damaged ({error})", "Look at the process that has it.") from error


class _Abandon:
    """What a forked child does with the store of its parent: lets go of the folder, and never touches the connection.

    Were the child to keep the lock's descriptor, a bot that died would seem alive for as long as a worker of it lives.
    """

    def __init__(self, store: Store) -> None:
        self._store = weakref.ref(store)
        self._kept: sqlite3.Connection | None = None

    def __call__(self) -> None:
        store = self._store()
        if store is not None and not store._closed:
            # This object lives as long as the process, so the child never closes what belongs to the parent.
            self._kept = store._connection
            store._folder_lock.release()


def _open_log(path: Path, clock: Clock) -> tuple[sqlite3.Connection, Damaged | None]:
    damage: Damaged | None = None
    if path.exists():
        connection = schema.connect(path)
        try:
            schema.check(connection, path)
            return connection, None
        except schema.DamageError as error:
            # Moved before it is closed: closing would write into it.
            damage = Damaged(str(error), str(files.move_aside(path, clock.now_ns())))
        except BaseException:
            connection.close()
            raise
        connection.close()
    elif path.with_name(f"{path.name}-wal").exists():
        damage = Damaged("the main file is missing", str(files.move_aside(path, clock.now_ns())))
    elif asides := files.moved_aside(path):
        # The start that moved it was killed before it could say so.
        damage = Damaged("it was damaged at an earlier start", str(asides[-1]))
    first = [] if damage is None else [Event(1, clock.now_ns(), DAMAGED, encode(damage, scrubber))]
    schema.create(path, first)
    connection = schema.connect(path)
    try:
        schema.check(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection, damage


def _may_be_there(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return bool(files.moved_aside(path))
    except OSError:
        return True
    return True


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino)
