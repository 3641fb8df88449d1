"""What of the portfolio survives a restart: fills, first prices (they cost what was held), the day's start, the peak.

The safety thread queues; the service thread writes, since a disk may be slow.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator

import msgspec

from tradewatch.model import Event, Fill, Mark
from tradewatch.portfolio import DayStart, Peak, Portfolio, PortfolioSnapshot
from tradewatch.runtime.failures import failures
from tradewatch.runtime.safety import breathe
from tradewatch.runtime.service import pause
from tradewatch.store import Store, StoreUnavailable, decode

FILL = "portfolio.fill"
FIRST_MARK = "portfolio.first_mark"
DAY_START = "portfolio.day_start"
PEAK = "portfolio.peak"
_EVERY_S = 0.1
# A rising market moves the peak with every price; a restart may lose this much of it.
_PEAK_EVERY_S = 30.0


class Memory:
    """Reads once, at the start; then writes what is queued.

    Args:
        store: where; None keeps nothing.
    """

    def __init__(self, store: Store | None) -> None:
        self._store = store
        self._waiting: deque[tuple[str, msgspec.Struct]] = deque()
        self._marked: set[str] = set()
        self._day_start: DayStart | None = None
        self._peak: Peak | None = None
        self._newest_peak: Peak | None = None
        self._peak_at = 0.0

    def recall(self, portfolio: Portfolio) -> None:
        """Put back what an earlier run wrote."""
        if self._store is None:
            return
        for event in self._read():
            with failures.kept("recall"):
                if event.kind == FILL:
                    portfolio.fill(decode(event, Fill))
                elif event.kind == FIRST_MARK:
                    mark = decode(event, Mark)
                    self._marked.add(mark.market)
                    portfolio.restore(first_marks=(mark,))
                elif event.kind == DAY_START:
                    self._day_start = decode(event, DayStart)
                else:
                    self._peak = decode(event, Peak)
            breathe()
        portfolio.restore(self._day_start, self._peak)

    def fill(self, fill: Fill) -> None:
        """Keep a fill."""
        self._queue(FILL, fill)

    def mark(self, mark: Mark) -> None:
        """Keep the first price of a market."""
        if mark.market not in self._marked:
            self._marked.add(mark.market)
            self._queue(FIRST_MARK, mark)

    def watermarks(self, snapshot: PortfolioSnapshot) -> None:
        """Keep the day's start, and the peak now and then."""
        if snapshot.day_start is not None and snapshot.day_start != self._day_start:
            self._day_start = snapshot.day_start
            self._queue(DAY_START, snapshot.day_start)
        self._newest_peak = snapshot.peak
        if time.monotonic() >= self._peak_at:
            self._keep_peak()

    def _keep_peak(self) -> None:
        if self._newest_peak is not None and self._newest_peak != self._peak:
            self._peak = self._newest_peak
            self._peak_at = time.monotonic() + _PEAK_EVERY_S
            self._queue(PEAK, self._peak)

    async def run(self, ending: asyncio.Event) -> None:
        """The service thread's job."""
        while not ending.is_set():
            await self._write()
            await pause(ending, _EVERY_S)
        self._keep_peak()
        await self._write()

    async def _write(self) -> None:
        while self._waiting and self._store is not None:
            try:
                self._store.append(*self._waiting[0])
            except StoreUnavailable as error:
                failures.warn("store", f"fills are not kept on disk for now: {error}")
                return
            self._waiting.popleft()
            await asyncio.sleep(0)

    def _queue(self, kind: str, body: msgspec.Struct) -> None:
        if self._store is not None:
            self._waiting.append((kind, body))

    def _read(self) -> Iterator[Event]:
        assert self._store is not None
        try:
            yield from self._store.read((FIRST_MARK, FILL, DAY_START, PEAK))
        except StoreUnavailable as error:
            failures.warn("store", f"what earlier runs kept could not be read: {error}")
