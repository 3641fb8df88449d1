"""A process beside the one that has the state: what halts that one halts this one too.

A bot may trade from several processes under one name, of which one has the folder. The others read its log, beside it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from tradewatch.breaker.breaker import Breaker
from tradewatch.breaker.record import HALTED, RESUMED, Halted
from tradewatch.model import Halt
from tradewatch.runtime.failures import failures
from tradewatch.runtime.service import pause
from tradewatch.store import StoreUnavailable, decode, peek

_EVERY_S = 0.5


class Follower:
    """Keeps a breaker HALTED while the log in a folder says so.

    A halt of this process's own is not written there, and a resumption there does not undo it.

    Args:
        folder: the state folder that another process has.
        breaker: the one to halt.
    """

    def __init__(self, folder: Path, breaker: Breaker) -> None:
        self._folder = folder
        self._breaker = breaker
        self._followed: Halt | None = None
        self.look()

    def look(self) -> None:
        """Read the log once, and do as it says."""
        try:
            halted, resumed = peek(self._folder, HALTED), peek(self._folder, RESUMED)
        except StoreUnavailable as error:
            failures.warn("following", f"halts of the other process are not seen for now: {error}")
            return
        in_force = halted is not None and (resumed is None or resumed.seq < halted.seq)
        mine = self._breaker.status()
        if in_force and mine.state == "ACTIVE":
            assert halted is not None
            halt = decode(halted, Halted).halt
            self._followed = self._breaker.halt(halt.by, halt.reason, halt.evidence)
        elif not in_force and self._followed is not None:
            if mine.state == "HALTED" and mine.since_ns == self._followed.since_ns and not mine.further:
                self._breaker.resume("the process that has the state", "it was resumed there")
            self._followed = None

    async def run(self, ending: asyncio.Event) -> None:
        """The service thread's job."""
        while not ending.is_set():
            self.look()
            await pause(ending, _EVERY_S)
