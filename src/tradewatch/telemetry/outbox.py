"""An outbox: spans, logs or points wait in it, bounded in count and bytes, until a thread of its own has sent them.

Putting something in never blocks. What cannot be sent is counted by kind and reason; orders and errors are sent first
and dropped last. The thread is a daemon that waits for its collector as long as it must; nobody waits
for the thread but `close`, and that as long as it is told.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, Literal, Protocol, TypeVar

import msgspec
from opentelemetry import context

from tradewatch.runtime import fork
from tradewatch.runtime.failures import failures

T = TypeVar("T")
Kind = Literal["order or error", "other"]
Reason = Literal["full", "refused", "rejected", "unreachable", "impossible"]
URGENT: Kind = "order or error"
OTHER: Kind = "other"

_FIRST_PAUSE_S = 1.0
_LAST_PAUSE_S = 30.0
_LAST_MOMENTS_S = 0.1
# Three times as long as an export takes at most, unless another time-out is set.
_STANDS_STILL_S = 30.0
_SMALLEST_BATCH = 64
# What asks other instrumentations to make no spans of our requests: one name is public, the SDK's own is not.
_SUPPRESS = ("suppress_instrumentation", getattr(context, "_SUPPRESS_INSTRUMENTATION_KEY", None))


class Sent(msgspec.Struct, frozen=True):
    """What became of a batch.

    `again_s` is None where it is over with; else the collector could not take it now, and is to be asked again no
    sooner than in so many seconds. `refused` says that the whole batch was turned down for good. `rejected` is how many
    of its members an otherwise content collector did not take, `impossible` how many could not be written at all.
    """

    again_s: float | None = None
    refused: bool = False
    rejected: int = 0
    impossible: int = 0
    why: str = ""


class Dropped(msgspec.Struct, frozen=True):
    """How many of a signal (spans, logs, points of metrics) were lost.

    `kind` is that of what was lost, "unknown" where nobody says.
    """

    signal: str
    kind: str
    reason: str
    count: int


class Size(msgspec.Struct, frozen=True):
    """How much waits at most, how much goes in one batch, and how long the first waits for others."""

    most: int
    most_bytes: int
    batch: int
    batch_bytes: int
    delay_s: float


class Source(Protocol):
    """Has what there is at a moment, where nobody puts it in by itself."""

    def read(self) -> None:
        """Put it into the outbox."""


class Outbox(Generic[T]):
    """Takes from any thread, sends from its own.

    Args:
        signal: what is sent, "spans", "logs" or "metrics".
        send: sends a batch on the outbox's thread; it may take long.
        abort: has a `send` that waits return soon; called on another thread, once.
        size: the bounds.

    Attributes:
        source: puts in what there is, on the outbox's thread: each time it looks, and a last time at the end.
        failures: batches that did not go through.
    """

    def __init__(self, signal: str, send: Callable[[Sequence[T]], Sent], abort: Callable[[], None], size: Size) -> None:
        self.signal = signal
        self.source: Source | None = None
        self._send = send
        self._abort = abort
        self._size = size
        self._most, self._most_bytes = size.most, size.most_bytes
        self._urgent: deque[tuple[T, int]] = deque()
        self._other: deque[tuple[T, int]] = deque()
        # Increments of list and dict items are exact under the GIL; an attribute's are not.
        self._bytes = [0]
        self._dropped: dict[tuple[str, str], int] = {}
        self._failed = self._said_full = 0
        self.failures = 0
        self._ending = False
        self._closed = False
        self._begin()
        renewed = weakref.WeakMethod(self._forked)
        fork.in_child(lambda: (found := renewed()) and found())

    def _begin(self) -> None:
        self._wake, self._end, self._over = threading.Event(), threading.Event(), threading.Event()
        # Held by the thread and by `close` alone, never by who puts something in.
        self._counting = threading.Lock()
        self._sending = (0, 0)
        self._since = 0.0
        self._thread = threading.Thread(target=self._run, name=f"tradewatch-{self.signal}", daemon=True)
        self._thread.start()

    def _forked(self) -> None:
        """In a forked child: what waits is the parent's to send, and the thread is not here."""
        if self._closed or self._ending:
            return
        self._urgent.clear()
        self._other.clear()
        self._dropped.clear()
        self._bytes[0] = 0
        self._begin()

    @property
    def thread_id(self) -> int | None:
        """The identity of the thread that sends."""
        return self._thread.ident

    @property
    def crowded(self) -> bool:
        """Whether more than half of the room is taken: who can wait should."""
        waiting = len(self._urgent) + len(self._other)
        return waiting > self._most // 2 or self._bytes[0] > self._most_bytes // 2

    @property
    def reachable(self) -> bool:
        """Whether the last batch arrived, or none was sent yet."""
        return self._failed == 0

    def look(self) -> None:
        """Say so where what is sent stands still; to be called now and then, on another thread."""
        stands_s = time.monotonic() - self._since
        if self._sending != (0, 0) and stands_s > _STANDS_STILL_S and not self._closed:
            failures.warn(
                f"export {self.signal}",
                f"no {self.signal} reach the collector: no answer, and no error, for {stands_s:.0f} s; status() counts",
            )
            self._say_full()

    def dropped(self) -> list[Dropped]:
        """What was lost since the start."""
        return [Dropped(self.signal, kind, reason, n) for (kind, reason), n in list(self._dropped.items())]

    def put(self, item: T, size: int, urgent: bool) -> None:
        """Queue one, of about `size` bytes; where there is no room, the oldest that is not urgent makes it."""
        if self._ending and (self._closed or threading.current_thread() is not self._thread):
            self._lose(URGENT if urgent else OTHER, "unreachable", 1)
            return
        if size > self._most_bytes:
            self._lose(URGENT if urgent else OTHER, "impossible", 1)
            return
        waiting = len(self._urgent) + len(self._other)
        full = waiting >= self._most or self._bytes[0] + size > self._most_bytes
        if full and not self._make_room(size, urgent):
            self._lose(URGENT if urgent else OTHER, "full", 1)
            return
        self._bytes[0] += size
        (self._urgent if urgent else self._other).append((item, size))
        if waiting >= self._size.batch and not self._wake.is_set():
            self._wake.set()

    def finish(self) -> None:
        """Send what is there and end; to be followed by `close`."""
        self._ending = True
        self._end.set()
        self._wake.set()

    def close(self, within_s: float) -> bool:
        """Wait for the end, at most `within_s`; what was not sent by then is counted as dropped.

        Returns:
            Whether everything was sent.
        """
        if self._closed:
            return True
        self.finish()
        done = self._thread is threading.current_thread() or self._over.wait(max(0.0, within_s))
        with self._counting:
            self._closed = True
            self._over.set()
            urgent, other = self._sending
            self._lose(URGENT, "unreachable", urgent + len(self._urgent))
            self._lose(OTHER, "unreachable", other + len(self._other))
            left = urgent + other + len(self._urgent) + len(self._other)
            self._urgent.clear()
            self._other.clear()
        with failures.kept(f"export {self.signal}"):
            self._abort()
        if left:
            failures.warn(
                f"{self.signal} left", f"{left} {self.signal} could not be sent before the end; they are lost"
            )
        return done and not left

    def flush(self, within_s: float) -> bool:
        """Wait until what is there now is sent, at most `within_s`."""
        ends = time.monotonic() + within_s
        while self._urgent or self._other or self._sending != (0, 0):
            self._wake.set()
            if time.monotonic() >= ends or self._over.is_set():
                return False
            time.sleep(0.005)
        return True

    def _make_room(self, size: int, urgent: bool) -> bool:
        while len(self._urgent) + len(self._other) >= self._most or self._bytes[0] + size > self._most_bytes:
            if not urgent:
                return False
            try:
                _, gone = self._other.popleft()
            except IndexError:
                return False
            self._bytes[0] -= gone
            self._lose(OTHER, "full", 1)
        return True

    def _lose(self, kind: str, reason: Reason, n: int) -> None:
        if n:
            key = (kind, reason)
            if key not in self._dropped:
                self._dropped.setdefault(key, 0)
            self._dropped[key] += n

    def _run(self) -> None:
        for name in filter(None, _SUPPRESS):
            context.attach(context.set_value(name, True))
        while not self._closed:
            self._wake.wait(self._size.delay_s)
            self._wake.clear()
            ending = self._ending
            with failures.kept(f"export {self.signal}"):
                if self.source is not None:
                    self.source.read()
            with failures.kept(f"export {self.signal}"):
                self._drain()
            if ending:
                break
        self._over.set()

    def _drain(self) -> None:
        while True:
            with self._counting:
                batch = None if self._closed else self._take()
                if batch is None:
                    return
                urgent, other = batch
                self._sending = (len(urgent), len(other))
                self._since = time.monotonic()
            found = Sent(refused=True, why="a failure of tradewatch's own")
            try:
                found = self._send([item for item, _ in (*urgent, *other)])
            finally:
                if found.why and not self._closed:
                    failures.warn(
                        f"export {self.signal}",
                        f"not all {self.signal} reach the collector: {found.why}; status() counts",
                    )
                with self._counting:
                    if not self._closed:
                        self._account(found, urgent, other)
                        self._sending = (0, 0)
            self._say_full()
            if found.again_s is not None:
                self._pause(found.again_s)

    def _say_full(self) -> None:
        full = sum(n for (_, reason), n in list(self._dropped.items()) if reason == "full")
        if full > self._said_full and not self._closed:
            self._said_full = full
            failures.warn(
                f"{self.signal} full",
                f"{full} {self.signal} were dropped since the start: more came than the collector took",
            )

    def _take(self) -> tuple[list[tuple[T, int]], list[tuple[T, int]]] | None:
        """The next batch, orders and errors first; smaller ones after failures, lest one be too large to arrive."""
        most = max(min(_SMALLEST_BATCH, self._size.batch), self._size.batch >> min(self._failed, 6))
        room, taken = self._size.batch_bytes, (list[tuple[T, int]](), list[tuple[T, int]]())
        for ring, kept in zip((self._urgent, self._other), taken, strict=True):
            while ring and most > 0 and room > 0:
                try:
                    entry = ring.popleft()
                except IndexError:  # it was made room of in between
                    break
                kept.append(entry)
                most -= 1
                room -= entry[1]
        return taken if taken[0] or taken[1] else None

    def _account(self, found: Sent, urgent: list[tuple[T, int]], other: list[tuple[T, int]]) -> None:
        # Added up before: what is put in during a call inside the statement would be lost.
        gone = sum(size for _, size in urgent) + sum(size for _, size in other)
        self._bytes[0] -= gone
        if found.again_s is not None:
            self._failed += 1
            self.failures += 1
            self._put_back(urgent, other)
        elif found.refused:
            self.failures += 1
            self._lose(URGENT, "refused", len(urgent))
            self._lose(OTHER, "refused", len(other))
        else:
            self._failed = 0
            self._lose("unknown", "rejected", found.rejected)
            self._lose("unknown", "impossible", found.impossible)

    def _put_back(self, urgent: Iterable[tuple[T, int]], other: Iterable[tuple[T, int]]) -> None:
        """To the front, in their order. Where there is no room left, what is not urgent makes it."""
        for ring, entries, kind in ((self._urgent, urgent, URGENT), (self._other, other, OTHER)):
            for entry in reversed([*entries]):
                if self._make_room(entry[1], kind is URGENT):
                    self._bytes[0] += entry[1]
                    ring.appendleft(entry)
                else:
                    self._lose(kind, "full", 1)

    def _pause(self, at_least_s: float) -> None:
        """Wait before the next attempt, longer each time; when it is time to end, what time there is is used."""
        self._end.wait(max(at_least_s, min(_FIRST_PAUSE_S * 2 ** (self._failed - 1), _LAST_PAUSE_S)))
        if self._ending:
            self._over.wait(_LAST_MOMENTS_S)
