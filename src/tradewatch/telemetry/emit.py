"""From call records to spans of the OpenTelemetry SDK and exemplars of its metrics, on the service thread."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from tradewatch.model import Call
from tradewatch.runtime import fork
from tradewatch.runtime.clock import epoch_offset_ns
from tradewatch.runtime.failures import failures
from tradewatch.runtime.service import Bell, pause
from tradewatch.telemetry.fold import Fold

if TYPE_CHECKING:
    from tradewatch.telemetry.spans import Spans

_KEPT = failures.kept("telemetry")
_MOST_WAITING = 50_000
_STRETCH_S = 0.0003
_EVERY_S = 0.1
# As often as it is looked for processors that were added; where nobody wants spans, there is nothing to look for.
_LOOK_S = 1.0
_IDLE_S = 60.0
_CROWDED_S = 0.002


class Emitter:
    """Takes records from the safety thread and hands them to the providers, in stretches of 0.3 ms.

    Args:
        spans: None where nobody wants any.
        fold: sees each call once its span is made, with a context that holds the span.
        crowded: whether spans come faster than they are sent.
    """

    def __init__(self, spans: Spans | None, fold: Fold, crowded: Callable[[], bool]) -> None:
        self._spans = spans
        self._fold = fold
        self._crowded = crowded
        self._waiting: deque[Call] = deque()
        self._bell = Bell()
        self.dropped = 0

    def take(self, call: Call) -> None:
        """Queue a record that anybody wants; where the service thread is stuck and the queue full, it is counted."""
        if self._spans is None and not self._fold.wants_calls_without_spans:
            return
        if len(self._waiting) >= _MOST_WAITING:
            self.dropped += 1
        else:
            self._waiting.append(call)
            self._bell.ring()

    def give_up(self) -> None:
        """At the end: what the service thread has not come to is counted."""
        self.dropped += len(self._waiting)
        self._waiting.clear()

    async def run(self, ending: asyncio.Event) -> None:
        """The service thread's job."""
        idle_s = _IDLE_S if self._spans is None else _LOOK_S
        while not ending.is_set():
            found = bool(self._waiting)
            await self._drain()
            # Rung for the first of several: the others wait for each other.
            await (pause(ending, _EVERY_S) if found else self._bell.pause(ending, idle_s))
        await self._drain()

    async def _drain(self) -> None:
        if self._spans is not None:
            self._spans.look()
        while self._waiting:
            # A fork waits for one stretch at most.
            with fork.held:
                self._emit_some()
            if self._waiting:
                await asyncio.sleep(_CROWDED_S if self._crowded() else 0)

    def _emit_some(self) -> None:
        # Spans carry wall time; the offset is taken anew each time, since the wall clock is set now and then.
        offset_ns = epoch_offset_ns()
        pause_at = time.monotonic() + _STRETCH_S
        while self._waiting:
            call = self._waiting.popleft()
            with _KEPT:
                span = None
                # The span first: its identity is then known to the exemplars.
                if self._spans is not None and call.span is not None:
                    span = self._spans.emit(call, offset_ns)
                self._fold.saw(call, call.parent, offset_ns, span)
            if time.monotonic() >= pause_at:
                break
        if self._spans is not None:
            with _KEPT:
                self._spans.hand_over()
