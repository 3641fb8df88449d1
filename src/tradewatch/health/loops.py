"""Lag of the event loops that the bot's clients run on: how long a callback waits that is handed in from outside.

The loops are the bot's; nothing is left in them but one callback at a time, so a loop that stands still takes no more
than that one, and its lag grows with every look until the callback has run.
"""

from __future__ import annotations

import weakref
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from time import monotonic_ns

from tradewatch.runtime.failures import failures
from tradewatch.semconv import Reading
from tradewatch.semconv import attributes as a
from tradewatch.semconv import metrics as m
from tradewatch.semconv.attributes import OTHER

# With ten seconds between two of them, none is missed by a reader that comes every 15 s.
_KEPT = 2


class _Loop:
    """One loop: the waits that were answered last, and the one that is not."""

    __slots__ = ("__weakref__", "asked_ns", "name", "of", "waits_ns")

    def __init__(self, loop: AbstractEventLoop, name: str) -> None:
        self.of = weakref.ref(loop)
        self.name = name
        self.asked_ns: int | None = None
        self.waits_ns: deque[int] = deque(maxlen=_KEPT)

    def ask(self, loop: AbstractEventLoop) -> None:
        """Hand in a callback, unless the last one still waits."""
        if self.asked_ns is None:
            self.asked_ns = asked_ns = monotonic_ns()
            with suppress(RuntimeError):  # it was closed in between
                loop.call_soon_threadsafe(self._answer, asked_ns)

    def _answer(self, asked_ns: int) -> None:
        """On the loop's own thread; one that was given up says nothing."""
        if self.asked_ns == asked_ns:
            self.waits_ns.append(monotonic_ns() - asked_ns)
            self.asked_ns = None

    def give_up(self) -> None:
        """It does not run: nothing waits for it, and nothing is known of it."""
        self.asked_ns = None
        self.waits_ns.clear()

    def lag_s(self) -> float | None:
        """The longest wait of late; None where nothing is known yet."""
        asked_ns = self.asked_ns
        waits = [*self.waits_ns, *([monotonic_ns() - asked_ns] if asked_ns is not None else [])]
        return max(waits) / 1e9 if waits else None


class Loops:
    """The loops of one bot, in the order that they were found.

    Args:
        found: path and loop of each client that has one.
        admit: what a loop is called in metrics, given its name.
    """

    def __init__(
        self, found: Callable[[], Iterable[tuple[str, AbstractEventLoop]]], admit: Callable[[str], str]
    ) -> None:
        self._found = found
        self._admit = admit
        self._loops: tuple[_Loop, ...] = ()

    def ask(self) -> None:
        """Look for new loops, forget those that are closed or gone, and have each that runs answer. Service thread."""
        with failures.kept("loops"):  # the bot's loop may be of any kind
            self._ask()

    def _ask(self) -> None:
        there = [each for each in self._loops if (loop := each.of()) is not None and not loop.is_closed()]
        known = {id(each.of()) for each in there}
        for path, loop in self._found():
            if id(loop) not in known and not loop.is_closed():
                known.add(id(loop))
                there.append(_Loop(loop, _free(path, {each.name for each in there})))
        self._loops = tuple(there)
        for each, loop in self._there():
            if loop.is_running():
                each.ask(loop)

    def lags(self) -> dict[str, float]:
        """Seconds by name, of those that run. Any thread, but one at a time."""
        found = {}
        with failures.kept("loops"):
            for each, loop in self._there():
                if not loop.is_running():
                    each.give_up()
                elif (lag_s := each.lag_s()) is not None:
                    found[each.name] = lag_s
        return found

    def readings(self) -> Iterator[Reading]:
        """The same as a metric; what there is no room for is one series, the slowest of them."""
        shown: dict[str, float] = {}
        for name, lag_s in self.lags().items():
            told = self._admit(name)
            shown[told] = max(lag_s, shown.get(told, 0.0))
        for name, lag_s in shown.items():
            yield Reading(m.LOOP_LAG, lag_s, ((a.LOOP.name, name),))

    def _there(self) -> Iterator[tuple[_Loop, AbstractEventLoop]]:
        for each in self._loops:
            loop = each.of()
            if loop is not None:
                yield each, loop


def _free(name: str, taken: set[str]) -> str:
    """The name, with a number behind it where another loop has it."""
    name = name or OTHER
    return next(each for n in range(1, len(taken) + 2) if (each := name if n == 1 else f"{name} {n}") not in taken)
