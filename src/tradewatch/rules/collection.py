"""Readings as rules see them: with job and instance, stored on a grid of time, and what has changed since."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from tradewatch.model import Readings, Sample
from tradewatch.promql import Labels, SeriesStore
from tradewatch.rules.limits import METRIC as LIMIT_METRIC
from tradewatch.rules.limits import limit_samples
from tradewatch.rules.schedule import LOOKBACK_S, Plan

_MOST_KNOWN = 10_000
_BATCH = 128
_SAMPLE_NS = 700


class Collection:
    """The series that rules read.

    `store` has the samples of the grid, `seen` the metrics that ever had a series, and `overlay` the values that
    changed after they were stored.
    """

    def __init__(
        self, readings: Readings, identity: Mapping[str, str], limits: Mapping[str, float], plan: Plan
    ) -> None:
        self.store = SeriesStore(plan.retention_s, LOOKBACK_S)
        self.seen: set[str] = set()
        self.overlay: dict[Labels, float] = {}
        self._readings = readings
        self._identity = dict(identity)
        self._limits = limit_samples(limits)
        # Labels as they are read, to labels with the identity and the metric's name: the same tuples every time.
        self._known: dict[Labels, tuple[Labels, str]] = {}
        self._current: dict[Labels, float] = {}
        self._grid = plan.grid

    def follow(self, plan: Plan, limits: Mapping[str, float]) -> None:
        """Collect what other rules read, with other limits; what is stored of a metric stays with it."""
        self._limits = limit_samples(limits)
        self._grid = plan.grid
        self.store.keep(plan.retention_s)
        for name, grid in plan.grid.items():
            self.store.move(name, str(grid))

    def collect(self, grids: set[int], at_ms: int, breathe: Callable[[int], None]) -> None:
        """Store the current value of what is collected on these grids.

        `breathe` is called every so often with the nanoseconds that the part after it is expected to take.
        """
        names = frozenset(name for name, grid in self._grid.items() if grid in grids)
        scrapes: dict[int, list[Sample]] = {grid: [] for grid in grids}
        if len(self._known) > max(_MOST_KNOWN, 4 * len(self._current)):
            self._known.clear()
            self._current.clear()
        # Read in one go: what is behind the readings may change while others have the interpreter.
        samples = list(self._samples(names))
        for start in range(0, len(samples), _BATCH):
            breathe(_BATCH * _SAMPLE_NS)
            for labels, value in samples[start : start + _BATCH]:
                known, name = self._known.get(labels) or self._learn(labels)
                self._current[known] = value
                self.overlay.pop(known, None)
                scrapes[self._grid[name]].append((known, value))
        for grid, scrape in scrapes.items():
            breathe(len(scrape) * _SAMPLE_NS)
            self.store.append(at_ms, scrape, str(grid))

    def changes(self, names: frozenset[str]) -> frozenset[str]:
        """Which of these metrics have another value than when they were last read; `overlay` has the values."""
        changed = set()
        for labels, value in self._samples(names):
            known, name = self._known.get(labels) or self._learn(labels)
            before = self._current.get(known)
            if before != value and (before is None or before == before or value == value):  # noqa: PLR0124 - NaN
                self.overlay[known] = self._current[known] = value
                changed.add(name)
        return frozenset(changed)

    def current(self, names: frozenset[str], step: Callable[[], None]) -> dict[Labels, float]:
        """The values of now of any metrics, as `overlay` has them; `step` is called after each."""
        found = {}
        for labels, value in list(self._samples(names)):
            found[(self._known.get(labels) or self._learn(labels))[0]] = value
            step()
        return found

    @property
    def kept(self) -> frozenset[str]:
        """The metrics of which samples are stored."""
        return frozenset(self._grid)

    def _samples(self, names: frozenset[str]) -> Iterator[Sample]:
        yield from self._readings.samples(names)
        if LIMIT_METRIC in names:
            yield from self._limits

    def _learn(self, labels: Labels) -> tuple[Labels, str]:
        pairs = {**self._identity, **{name: value for name, value in labels if value}}
        name = pairs["__name__"]
        self.seen.add(name)
        entry = self._known[labels] = tuple(sorted(pairs.items())), name
        return entry
