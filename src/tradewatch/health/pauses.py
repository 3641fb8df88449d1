"""Pauses of the garbage collector, by the interpreter's own callbacks.

They run on whichever of the bot's threads has a collection begin, twice a collection: two readings of a clock and one
cell. No lock is needed, since there is one collection at a time.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import suppress
from time import monotonic_ns
from typing import Any

from tradewatch.runtime.failures import failures
from tradewatch.semconv import Reading
from tradewatch.semconv import attributes as a
from tradewatch.semconv import metrics as m
from tradewatch.telemetry.cell import Cell, Cells

_GENERATIONS = 3


class GcPauses:
    """Counts every collection from `start` to `stop`.

    Args:
        cells: where durations are counted.
    """

    def __init__(self, cells: Cells) -> None:
        named = [cells.other(m.GC_DURATION, ((a.GC_GENERATION.name, str(n)),)) for n in range(_GENERATIONS)]
        self._bugs: list[Exception] = []
        self._callback = _counting(named, self._bugs)

    def start(self) -> None:
        """Begin."""
        gc.callbacks.append(self._callback)

    def stop(self) -> None:
        """Be told of none any more."""
        with suppress(ValueError):  # who clears the list clears ours too
            gc.callbacks.remove(self._callback)

    def look(self) -> Iterator[Reading]:
        """What the interpreter itself has counted since it began."""
        if self._bugs:
            failures.note("garbage collector", self._bugs.pop())
        for n, found in enumerate(gc.get_stats()):
            of = ((a.GC_GENERATION.name, str(n)),)
            yield Reading(m.GC_COLLECTIONS, found["collections"], of)
            yield Reading(m.GC_COLLECTED, found["collected"], of)
            yield Reading(m.GC_UNCOLLECTABLE, found["uncollectable"], of)


def _counting(cells: list[Cell], bugs: list[Exception]) -> Callable[[str, dict[str, Any]], None]:
    """What is called at both ends of a collection.

    A failure waits in `bugs` for the service thread: what raises here is printed to the bot's standard error, and
    whoever takes a lock may hold it already, since a collection begins wherever there is an allocation.
    """
    began_ns = 0

    def callback(phase: str, info: dict[str, Any]) -> None:
        nonlocal began_ns
        try:
            if phase == "start":
                began_ns = monotonic_ns()
            elif began_ns:
                took_ns, began_ns = monotonic_ns() - began_ns, 0
                cells[info["generation"]].count(took_ns)
        except Exception as bug:
            bugs[:] = [bug]

    return callback
