"""The clock that every time-dependent part is handed."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Time as one part of the program sees it: real, scaled for a rehearsal, or set by a test."""

    def now_ns(self) -> int:
        """Nanoseconds since the Unix epoch."""
        ...

    def mono_ns(self) -> int:
        """Nanoseconds on a scale that never steps back; only differences mean anything."""
        ...

    def real_seconds(self, seconds: float) -> float:
        """How many seconds of real waiting are `seconds` of this clock."""
        ...
