"""Pauses of the garbage collector, by the interpreter's own callbacks.

A collection begins in the middle of whatever a thread of the bot's does. What is called there is made of C functions
alone: Python code would let another thread in at places where none can come otherwise. CPython 3.11 does not bear that
where two threads format tracebacks (`SystemError: AST constructor recursion depth mismatch`), and what a signal's
handler raises there is lost. So times are only noted, and counted when the service thread looks.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from operator import not_
from time import monotonic_ns
from typing import Any

from tradewatch.semconv import Reading
from tradewatch.semconv import attributes as a
from tradewatch.semconv import metrics as m
from tradewatch.telemetry.cell import Cells

# Collections between two looks; of more than these the durations of the latest are counted.
_MOST = 2_048


class GcPauses:
    """Counts every collection from `start` to `stop`.

    Args:
        cells: where durations are counted.
    """

    def __init__(self, cells: Cells) -> None:
        self._cell = cells.other(m.GC_DURATION, ())
        self._begins, self._ends = deque[int](maxlen=2 * _MOST), deque[int](maxlen=2 * _MOST)
        # gc calls with the name of a phase and what is to be said of it: so does setattr, and a property takes it.
        phases = {"start": property(fset=_noting(self._begins)), "stop": property(fset=_noting(self._ends))}
        self._callback: Callable[[str, dict[str, Any]], None] = partial(setattr, type("Phases", (), phases)())

    def start(self) -> None:
        """Begin."""
        gc.callbacks.append(self._callback)

    def stop(self) -> None:
        """Be told of none any more."""
        with suppress(ValueError):  # who clears the list clears ours too
            gc.callbacks.remove(self._callback)
        self._count()

    def look(self) -> Iterator[Reading]:
        """What the interpreter itself has counted since it began; durations are counted meanwhile."""
        self._count()
        for n, found in enumerate(gc.get_stats()):
            of = ((a.GC_GENERATION.name, str(n)),)
            yield Reading(m.GC_COLLECTIONS, found["collections"], of)
            yield Reading(m.GC_COLLECTED, found["collected"], of)
            yield Reading(m.GC_UNCOLLECTABLE, found["uncollectable"], of)

    def _count(self) -> None:
        begins, ends = self._begins, self._ends
        while ends:
            end_ns = ends.popleft()
            ends.popleft()
            began_ns = None
            while begins and begins[0] <= end_ns:
                began_ns = begins.popleft()
            # One that was under way when we came has no beginning.
            if began_ns is not None:
                self._cell.count(end_ns - began_ns)


def _noting(times: deque[int]) -> Callable[[object, object], Any]:
    """A function that notes the time once for each of its two arguments: that is when `min` asks for their keys."""
    noted = map(not_, map(times.append, iter(monotonic_ns, None)))
    return partial(min, key=partial(next, noted))
