"""What a rate needs to know of a block beside two columns: where values fell, and which samples are missing.

Kept for the blocks that rates are taken of: a rate over any range then reads its first and its last column and adds
what was lost at the falls between them, in the order and with the rounding of Prometheus.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from math import isnan
from operator import lt


class Falls:
    """Falls of each row, and the last time at which it had no number."""

    def __init__(self) -> None:
        self._seen_ms: int | None = None
        self._falls: dict[int, list[tuple[int, float]]] = {}
        self._blank: dict[int, int] = {}

    def follow(self, times: Sequence[int], columns: Sequence[array[float]]) -> None:
        """Take in the columns that were written since the last call."""
        start = 0 if self._seen_ms is None else bisect_right(times, self._seen_ms)
        for index in range(start, len(times)):
            before = columns[index - 1] if index else columns[index]
            self._compare(before, columns[index], times[index - 1] if index else times[index], times[index])
        if times:
            self._seen_ms = times[-1]

    def _compare(self, before: array[float], after: array[float], before_ms: int, after_ms: int) -> None:
        for row in range(len(before), len(after)):
            self._blank[row] = before_ms
        if isnan(sum(after)):
            self._blank.update((row, after_ms) for row, value in enumerate(after) if isnan(value))
        # Most columns have no fall, and this finds out without a loop in Python.
        if any(map(lt, after, before)):
            for row, (old, new) in enumerate(zip(before, after, strict=False)):
                if new < old:
                    self._falls.setdefault(row, []).append((after_ms, old))

    def has_gap(self, row: int, since_ms: int) -> bool:
        """Whether a sample of the row may be missing, or be NaN, at or after a time."""
        return self._blank.get(row, since_ms - 1) >= since_ms

    def lost(self, row: int, after_ms: int, until_ms: int) -> list[float]:
        """The values from which the row fell after one time until another."""
        return [old for at_ms, old in self._falls.get(row, ()) if after_ms < at_ms <= until_ms]

    def forget_before(self, horizon_ms: int) -> None:
        """Drop what lies before the first column that is kept."""
        kept = {row: [fall for fall in falls if fall[0] > horizon_ms] for row, falls in self._falls.items()}
        self._falls = {row: falls for row, falls in kept.items() if falls}
        self._blank = {row: at_ms for row, at_ms in self._blank.items() if at_ms > horizon_ms}
