"""The journal: two rings of call records between the bot's threads and the safety thread.

Orders, fills and errors have a ring of their own, so that a burst of reads cannot push them out. `append` and
`popleft` of a deque are atomic on CPython; a full ring drops the new record and counts it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator

from tradewatch.model import Call

_READS = 16_384
_ORDERS = 65_536


class Journal:
    """Appended to by any thread, drained by one."""

    def __init__(self, reads: int = _READS, orders: int = _ORDERS) -> None:
        self._reads: deque[Call] = deque()
        self._orders: deque[Call] = deque()
        self._most_reads = reads
        self._most_orders = orders
        self.dropped = {"reads": 0, "orders": 0}
        self.wake = threading.Event()
        self.touched = False

    def append(self, call: Call) -> None:
        """Take a record; only one that the ledger or an acting rule waits for wakes the safety thread."""
        wanted = call.requests or call.fills or call.reports
        if wanted or call.error is not None:
            if len(self._orders) >= self._most_orders:
                self.dropped["orders"] += 1
            else:
                self._orders.append(call)
            if wanted:
                self.wake.set()
        elif len(self._reads) >= self._most_reads:
            self.dropped["reads"] += 1
        else:
            self._reads.append(call)

    def touch(self) -> None:
        """Wake the safety thread for a change that no call tells of."""
        self.touched = True
        self.wake.set()

    def drain(self) -> Iterator[Call]:
        """Every record there is, orders first; what arrives meanwhile is for the next drain."""
        for ring in (self._orders, self._reads):
            for _ in range(len(ring)):
                yield ring.popleft()
