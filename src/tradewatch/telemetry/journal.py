"""The journal: two rings of call records between the bot's threads and the safety thread.

Orders, fills and errors have a ring of their own, so that a burst of reads cannot push them out. `append` and
`popleft` of a deque are atomic on CPython. A full ring of reads drops the new one and counts it. Nothing of the other
ring is ever dropped: where it is full, the thread that appends books what is there itself, if the safety thread is not
at work at that moment; if it is, that one is given a little time, and the record is kept beyond the bound.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from tradewatch.runtime.failures import failures
from tradewatch.runtime.safety import Wake

if TYPE_CHECKING:
    from tradewatch.telemetry.live import LiveCall

_READS = 16_384
_ORDERS = 65_536
# How long an appending thread waits for the safety thread where the ring of orders is full, and how much it books.
_GIVE_WAY_S = 0.005
_INLINE = 64


class Journal:
    """Appended to by any thread, drained by whoever holds `booking`.

    Attributes:
        reads: the ring of plain reads, appended to by the wrappers themselves where it has fewer than `room`.
        room: how many reads there is room for; 0 while the safety thread rests, so that the next one comes by `append`.
        booking: held by the safety thread while it works; nobody waits for it but at a full ring of orders.
        inline: set by the safety thread's owner: books one record on the thread of the bot, under `booking`.
        booked_inline: how many were.
    """

    def __init__(self, reads: int = _READS, orders: int = _ORDERS) -> None:
        self.reads: deque[LiveCall] = deque()
        self._quotes: dict[object, tuple[Any, ...]] = {}
        self.room = self._most_reads = reads
        self._orders: deque[LiveCall] = deque()
        self._most_orders = orders
        self.dropped = 0
        self.booked_inline = 0
        self.booking = threading.Lock()
        self.inline: Callable[[LiveCall], object] | None = None
        self.wake = Wake()
        self.touched = False
        self._is_over = False

    def append(self, live: LiveCall) -> None:
        """Take a record; only one that the ledger or an acting rule waits for wakes the safety thread."""
        more = live.more
        wanted = more.requests or more.fills or more.reports
        if wanted or live.error is not None:
            if wanted:
                # No signal's handler comes between this and the next statement: Python runs them where a call ends.
                more.is_kept = True
            self._orders.append(live)
            if len(self._orders) > self._most_orders:
                self._make_room()
            if wanted:
                self.wake.set()
        elif len(self.reads) >= self._most_reads:
            # No call stands inside the statement, so no other thread does.
            self.dropped += 1
        else:
            self.reads.append(live)
            if not self.room:
                self.room = self._most_reads
                self.wake.set()

    def quote(self, key: object, told: tuple[Any, ...]) -> None:
        """Take what a stream told of a price; only the last one with a key is kept until they are taken."""
        self._quotes[key] = told
        if not self.room:
            self.room = self._most_reads
            self.wake.set()

    def quotes(self) -> Iterator[tuple[Any, ...]]:
        """What `quote` took since: a function and its arguments each."""
        for key in list(self._quotes):
            yield self._quotes.pop(key)

    def touch(self) -> None:
        """Wake the safety thread for a change that no call tells of."""
        self.touched = True
        self.wake.set()

    def rest(self) -> None:
        """The safety thread may sleep until something comes. Only the first read then pays for the wake (6 µs)."""
        self.room = 0
        if self.reads or self._quotes:  # it came before it could know
            self.room = self._most_reads
            self.wake.set()

    def drain(self) -> Iterator[LiveCall]:
        """Every record there is, orders first; what arrives meanwhile is for the next drain."""
        for ring in (self._orders, self.reads):
            for _ in range(len(ring)):
                yield ring.popleft()

    def close(self) -> None:
        """Nobody reads any more; what a call that is on its way writes from now on is `unread`."""
        self._is_over = True

    @property
    def unread(self) -> int:
        """How many records came too late."""
        return len(self._orders) + len(self.reads) if self._is_over else 0

    def forked(self) -> None:
        """In a forked child: nobody reads what is written here, so nothing is kept."""
        # A thread that is not there any more may have held it.
        self.booking = threading.Lock()
        self.reads.clear()
        self._quotes.clear()
        self._orders.clear()
        self.room = self._most_reads = self._most_orders = 0
        self.inline = lambda live: None

    def _make_room(self) -> None:
        self.wake.set()
        if self.inline is None or not self.booking.acquire(timeout=_GIVE_WAY_S):
            return
        try:
            for _ in range(min(_INLINE, len(self._orders))):
                live = self._orders.popleft()
                with failures.kept("booking"):
                    self.inline(live)
                self.booked_inline += 1
        finally:
            self.booking.release()
        self.touched = True
