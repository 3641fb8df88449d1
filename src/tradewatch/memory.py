"""What of the portfolio survives a restart: fills, first prices (they cost what was held), what loss is measured from.

The safety thread queues; the service thread writes, since a disk may be slow.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque

import msgspec

from tradewatch.model import Event, Fill, Mark, OrderReport
from tradewatch.portfolio import Portfolio, PortfolioSnapshot, Watermarks
from tradewatch.runtime.failures import failures
from tradewatch.runtime.safety import Stretch
from tradewatch.runtime.service import Bell, pause
from tradewatch.store import Store, StoreUnavailable, decode

FILL = "portfolio.fill"
FIRST_MARK = "portfolio.first_mark"
REPORT = "portfolio.report"
WATERMARKS = "portfolio.watermarks"
_RECALL = failures.kept("recall")
_EVERY_S = 0.1
_IDLE_S = 60.0
# A rising market moves the peak with every price; a kill may lose this much of it.
_PEAK_EVERY_S = 30.0
# Rates and the last equity are of use for this long after a kill.
_RATES_EVERY_S = 600.0
# Rows that wait for a disk that takes none: ten days of a bot with 2,000 fills a day, some 12 MB.
_MOST_WAITING = 20_000


class Memory:
    """Reads once, at the start; then writes what is queued.

    Args:
        store: where; None keeps nothing.
    """

    def __init__(self, store: Store | None) -> None:
        self._store = store
        self._waiting: deque[tuple[str, msgspec.Struct]] = deque()
        self._bell = Bell()
        self._over = threading.Event()
        self._is_stalled = False
        self._marked: set[str] = set()
        self._portfolio: Portfolio | None = None
        self._watermarks: Watermarks | None = None
        self._written_s = -_RATES_EVERY_S
        self._remeasured = 0
        self._reopened = 0

    def recall(self, portfolio: Portfolio) -> None:
        """Put back what an earlier run wrote."""
        if self._store is None:
            return
        with _RECALL:
            self._read(portfolio, Stretch())

    def _read(self, portfolio: Portfolio, stretch: Stretch) -> None:
        assert self._store is not None
        try:
            last = self._store.last(WATERMARKS)
            for event in self._store.read((FIRST_MARK, FILL, REPORT)):
                # What was heard of before they were written is in them, and what was heard of later is not.
                if last is not None and event.seq > last.seq:
                    self._restore(portfolio, last)
                    last = None
                with _RECALL:
                    if event.kind == FILL:
                        portfolio.fill(decode(event, Fill), recalled=True)
                    elif event.kind == REPORT:
                        portfolio.report(decode(event, OrderReport), recalled=True)
                    else:
                        mark = decode(event, Mark)
                        self._marked.add(mark.market)
                        portfolio.restore(first_marks=(mark,))
                stretch.step()
            if last is not None:
                self._restore(portfolio, last)
        except StoreUnavailable as error:
            failures.warn("store", f"what earlier runs kept could not be read: {error}")

    def _restore(self, portfolio: Portfolio, event: Event) -> None:
        with _RECALL:
            self._watermarks = decode(event, Watermarks)
            portfolio.restore(self._watermarks)

    def fill(self, fill: Fill) -> None:
        """Keep a fill."""
        self._queue(FILL, fill)

    def mark(self, mark: Mark) -> None:
        """Keep the first price of a market."""
        if mark.market not in self._marked:
            self._marked.add(mark.market)
            self._queue(FIRST_MARK, mark)

    def report(self, report: OrderReport) -> None:
        """Keep what the venue said of an order whose trades are not known."""
        self._queue(REPORT, report)

    def watermarks(self, portfolio: Portfolio, snapshot: PortfolioSnapshot) -> None:
        """Keep what losses are measured from: at once where it became another, all else now and then."""
        self._portfolio = portfolio
        if self._is_stalled:  # later ones say more, and fills need the room
            return
        waited_s = time.monotonic() - self._written_s
        known = self._watermarks
        moved = portfolio.reopened != self._reopened or known is None or snapshot.peak != known.peak
        if portfolio.remeasured != self._remeasured or waited_s >= (_PEAK_EVERY_S if moved else _RATES_EVERY_S):
            self._keep_watermarks(portfolio)

    def _keep_watermarks(self, portfolio: Portfolio) -> None:
        watermarks = portfolio.watermarks()
        if watermarks is not None and watermarks != self._watermarks:
            self._written_s = time.monotonic()
            self._remeasured, self._reopened = portfolio.remeasured, portfolio.reopened
            self._watermarks = watermarks
            self._queue(WATERMARKS, watermarks)

    async def run(self, ending: asyncio.Event) -> None:
        """The service thread's job."""
        while not ending.is_set():
            found = bool(self._waiting)
            await self._write()
            # Rung for the first of several: the others wait for each other.
            await (pause(ending, _EVERY_S) if found else self._bell.pause(ending, _IDLE_S))
        # The safety thread has ended: nobody else has the books now.
        with failures.kept("store"):
            if self._portfolio is not None:
                self._keep_watermarks(self._portfolio)
        await self._write()
        self._over.set()

    def finish(self, within_s: float) -> None:
        """At the end: wait for `run`. Where the service thread stands still, what waits is written here."""
        if not self._over.wait(within_s):
            while self._write_one():
                pass

    async def _write(self) -> None:
        while self._write_one():  # noqa: ASYNC110  other jobs come in between
            await asyncio.sleep(0)

    def _write_one(self) -> bool:
        """The row that has waited longest; False where there is none, or the disk takes none now."""
        if self._store is None:
            return False
        try:
            row = self._waiting.popleft()
        except IndexError:
            return False
        try:
            self._store.append(*row)
        except StoreUnavailable as error:
            self._waiting.appendleft(row)
            self._is_stalled = True
            failures.warn("store", f"fills are not kept on disk for now: {error}")
            return False
        self._is_stalled = False
        return True

    def _queue(self, kind: str, body: msgspec.Struct) -> None:
        if self._store is None:
            return
        if len(self._waiting) >= _MOST_WAITING:
            failures.note(
                "store", _LostError(f"{kind}: {_MOST_WAITING:,} rows wait for the disk; the next run lacks it")
            )
            return
        self._waiting.append((kind, body))
        self._bell.ring()


class _LostError(Exception):
    """A row for which there is no room."""
