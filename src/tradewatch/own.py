"""What tradewatch tells of itself: what it costs, what was lost, and what failed."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tradewatch.runtime.failures import failures
from tradewatch.semconv import Reading
from tradewatch.semconv import attributes as a
from tradewatch.semconv import metrics as m
from tradewatch.telemetry.cell import Cells
from tradewatch.telemetry.journal import Journal
from tradewatch.telemetry.outputs import Outputs

_EVERY_NS = 5_000_000_000


class Overhead:
    """The share of one CPU that was spent in the last seconds; `cpu` is None until it was measured."""

    def __init__(self) -> None:
        self.cpu: float | None = None
        self._base = (time.monotonic_ns(), 0)

    def measure(self, spent_ns: int) -> bool:
        """Given all CPU time since the start; whether it was time to look."""
        now_ns = time.monotonic_ns()
        since_ns, before_ns = self._base
        if now_ns - since_ns < _EVERY_NS:
            return False
        self.cpu = (spent_ns - before_ns) / (now_ns - since_ns)
        self._base = (now_ns, spent_ns)
        return True


def readings(overhead: Overhead, journal: Journal, cells: Cells, outputs: Outputs) -> Iterator[Reading]:
    """All of it, for the metrics and for rules."""
    if overhead.cpu is not None:
        yield Reading(m.OVERHEAD_CPU, overhead.cpu)
    yield Reading(m.JOURNAL_DROPPED, journal.dropped, ((a.RING.name, "reads"),))
    yield Reading(m.JOURNAL_DROPPED, cells.unkept, ((a.RING.name, "durations"),))
    yield Reading(m.EXPORT_DROPPED, outputs.emitter.dropped, _why_dropped("calls", "unknown", "full"))
    for lost in outputs.providers.dropped():
        yield Reading(m.EXPORT_DROPPED, lost.count, _why_dropped(lost.signal, lost.kind, lost.reason))
    for signal, n in outputs.providers.failed().items():
        yield Reading(m.EXPORT_FAILURES, n, ((a.SIGNAL.name, signal),))
    for place, n in list(failures.counts.items()):
        yield Reading(m.FAILURES, n, ((a.PLACE.name, place),))


def _why_dropped(signal: str, kind: str, reason: str) -> tuple[tuple[str, str], ...]:
    return (a.DROPPED_KIND.name, kind), (a.REASON.name, reason), (a.SIGNAL.name, signal)
