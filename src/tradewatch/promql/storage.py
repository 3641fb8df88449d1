"""Samples in memory, bounded by time: for each metric name a column of floats a scrape.

All series of a metric that come from one source share their timestamps, and a scrape is one `array('d')`: reading the
newest values is reading one column, a range is a slice of columns. A series that was in the scrape before and is not in
this one gets Prometheus's staleness marker, and so does any that is missing still: no query sees a difference between a
marker and no sample after a marker.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right, insort
from collections.abc import Iterable, Sequence
from math import isnan

from tradewatch.promql.falls import Falls
from tradewatch.promql.labels import Labels, drop_metadata, is_well_formed, value_of
from tradewatch.promql.matchers import Matcher, matches_all

LOOKBACK_S = 300.0

# Prometheus's staleness marker, a NaN that is told from others by its bits (model/value).
STALE_BITS = 0x7FF0000000000002
STALE: float = struct.unpack("<d", struct.pack("<Q", STALE_BITS))[0]
_STALE_BYTES = struct.pack("<Q", STALE_BITS)

# Scrapes between two looks for series that are gone and columns that are too old.
_TIDY_EVERY = 64
_MAX_SELECTIONS = 1000


def is_stale(value: float) -> bool:
    """Whether a value is the staleness marker (and not another NaN)."""
    return isnan(value) and struct.pack("<d", value) == _STALE_BYTES


class Block:
    """The series of one metric name from one source: `columns[i][row]` is the value of a series at `times[i]`.

    A column is as long as there were rows when it was written; a row beyond its end has no sample there.
    """

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.source = source
        self.times: list[int] = []
        self.columns: list[array[float]] = []
        self.rows: list[Labels | None] = []
        # Goes up with every series that appears or disappears.
        self.generation = 0
        self._gone: dict[int, int] = {}
        self._free: list[int] = []
        self._selections: dict[int, Selection] = {}
        self._falls: Falls | None = None

    def add(self, labels: Labels) -> int:
        """A row for a new series."""
        self.generation += 1
        if self._free:
            row = self._free.pop()
            self.rows[row] = labels
        else:
            row = len(self.rows)
            self.rows.append(labels)
        return row

    def write(self, at_ms: int, column: array[float]) -> None:
        """Append one scrape."""
        self.times.append(at_ms)
        self.columns.append(column)

    def mark_present(self, positions: Sequence[int], at_ms: int) -> None:
        """Note which rows are missing from a scrape and since when."""
        for row, position in enumerate(positions):
            if position >= 0:
                self._gone.pop(row, None)
            elif self.rows[row] is not None:
                self._gone.setdefault(row, at_ms)

    def forget_before(self, horizon_ms: int) -> list[Labels]:
        """Drop columns up to the horizon, and the series that have no sample left, which are returned."""
        old = bisect_right(self.times, horizon_ms)
        if self._falls is not None:
            self._falls.forget_before(horizon_ms)
        del self.times[:old], self.columns[:old]
        forgotten = []
        for row in [row for row, since in self._gone.items() if since <= horizon_ms]:
            labels = self.rows[row]
            if labels is not None:
                forgotten.append(labels)
            self.rows[row] = None
            self._free.append(row)
            del self._gone[row]
        self.generation += len(forgotten)
        return forgotten

    def select(self, matchers: tuple[Matcher, ...]) -> Selection:
        """The series that fulfil the matchers."""
        selection = self._selections.get(id(matchers))
        if selection is None:
            if len(self._selections) >= _MAX_SELECTIONS:
                self._selections.clear()
            selection = self._selections[id(matchers)] = Selection(matchers)
        selection.renew(self)
        return selection

    def falls(self) -> Falls:
        """What rates of this block need to know, kept from the first time it is asked for."""
        if self._falls is None:
            self._falls = Falls()
        self._falls.follow(self.times, self.columns)
        return self._falls

    def index_at(self, at_ms: int, lookback_ms: int) -> int:
        """The column an instant selector reads at a time: the newest one within the lookback, or -1."""
        index = bisect_right(self.times, at_ms) - 1
        return index if index >= 0 and self.times[index] > at_ms - lookback_ms else -1


class Selection:
    """What one selector selects from a block; each series is matched once in its life.

    `series` has labels, row and labels without name, type and unit, sorted by labels. `nameless_differ` says that the
    last of these are different from each other.
    """

    def __init__(self, matchers: tuple[Matcher, ...]) -> None:
        # The tuple is the key by its identity, so it has to live as long as this.
        self._matchers = matchers
        self._generation = -1
        self._verdicts: dict[int, tuple[Labels, bool]] = {}
        self.series: list[tuple[Labels, int, Labels]] = []
        self.nameless_differ = True

    def renew(self, block: Block) -> None:
        """Take in the series that have appeared and disappeared since the last time."""
        if self._generation != block.generation:
            verdicts: dict[int, tuple[Labels, bool]] = {}
            for row, labels in enumerate(block.rows):
                if labels is not None:
                    known = self._verdicts.get(row)
                    if known is None or known[0] is not labels:
                        known = labels, matches_all(self._matchers, labels)
                    verdicts[row] = known
            self._verdicts = verdicts
            selected = sorted((labels, row) for row, (labels, matches) in verdicts.items() if matches)
            self.series = [(labels, row, drop_metadata(labels)) for labels, row in selected]
            self.nameless_differ = len({nameless for _, _, nameless in self.series}) == len(self.series)
            self._generation = block.generation


class _Source:
    """What was in the last scrape of one source, and where each of its values goes."""

    def __init__(self) -> None:
        self.last_ms: int | None = None
        self.layout: list[Labels] = []
        # For each block, the position in the scrape of the value for each row; -1 for none.
        self.plan: list[tuple[Block, list[int]]] = []
        # Blocks of which nothing is left: they get one column of markers, and no more.
        self.ending: set[Block] = set()


class SeriesStore:
    """The samples of the last `retention_s` seconds; one thread appends and evaluates.

    Args:
        retention_s: how far back a query may read; at least the lookback.
        lookback_s: how old the newest sample of a series may be for an instant selector to see it.
    """

    def __init__(self, retention_s: float, lookback_s: float = LOOKBACK_S) -> None:
        self.lookback_ms = int(lookback_s * 1000)
        self._retention_ms = max(int(retention_s * 1000), self.lookback_ms)
        self._sources: dict[str, _Source] = {}
        self._blocks: dict[str, list[Block]] = {}
        self._places: dict[Labels, tuple[Block, int]] = {}
        self._appends = 0

    def append(self, at_ms: int, samples: Iterable[tuple[Labels, float]], source: str = "") -> None:
        """One scrape of a source: everything it shows now.

        A series that the source showed in its last scrape and does not show now ends here. It is quickest when the same
        label tuples come in the same order each time. A series belongs to the source that showed it first until it is
        forgotten; from others it is ignored.

        Args:
            at_ms: time of the scrape, in milliseconds since the epoch.
            samples: labels, sorted by name and with `__name__` and no empty value, and the value of each series.
            source: what was scraped, like Prometheus's target; recording rules are one of their own.

        Raises:
            ValueError: the time is not after that of the source's last scrape, or labels are not well-formed; then
                nothing is stored.
        """
        pairs = list(samples)
        layout = [labels for labels, _ in pairs]
        target = self._sources.get(source) or _Source()
        if target.last_ms is not None and at_ms <= target.last_ms:
            raise ValueError(f"scrape at {at_ms} ms is not after the last one at {target.last_ms} ms")
        # Position -1 is the last value: the marker for all that is missing.
        values = array("d", [value for _, value in pairs])
        values.append(STALE)
        # Equal lists of identical tuples compare by identity, at a few nanoseconds each.
        if layout != target.layout:
            self._lay_out(target, source, layout, at_ms)
        self._sources[source] = target
        target.last_ms = at_ms
        for block, positions in target.plan:
            block.write(at_ms, array("d", map(values.__getitem__, positions)))
        if target.ending:
            target.plan = [(block, positions) for block, positions in target.plan if block not in target.ending]
            target.ending.clear()
        self._appends += 1
        if self._appends % _TIDY_EVERY == 0:
            self._tidy(at_ms - self._retention_ms)

    def keep(self, retention_s: float) -> None:
        """Keep samples for as long as this from now on."""
        self._retention_ms = max(int(retention_s * 1000), self.lookback_ms)

    def move(self, name: str, source: str) -> None:
        """Have another source show the series of a metric name from its next scrape on; their samples stay.

        That scrape must be after the last one of the source that showed them.
        """
        target = self._sources.setdefault(source, _Source())
        for block in self._blocks.get(name, ()):
            if block.source != source:
                before = self._sources[block.source]
                before.plan = [(each, positions) for each, positions in before.plan if each is not block]
                block.source = source
                # Both are laid out anew by what they show next.
                before.layout = target.layout = []

    def has_name(self, name: str) -> bool:
        """Whether any series of that metric name was in the last scrape of its source."""
        return any(self._is_live(block) for block in self._blocks.get(name, ()))

    def blocks(self, name: str) -> Sequence[Block]:
        """Where the series of a metric name are."""
        return self._blocks.get(name, ())

    def _is_live(self, block: Block) -> bool:
        if not block.columns or block.times[-1] != self._sources[block.source].last_ms:
            return False
        return any(not is_stale(value) for value in block.columns[-1])

    def _lay_out(self, target: _Source, source: str, layout: list[Labels], at_ms: int) -> None:
        for labels in layout:
            if labels not in self._places and not is_well_formed(labels):
                raise ValueError(f"labels are not sorted, without a name or with an empty value: {labels!r}")
        positions: dict[Block, list[int]] = {}
        for position, labels in enumerate(layout):
            block, row = self._places.get(labels) or self._new_series(source, labels)
            if block.source == source:
                of_block = positions.setdefault(block, [])
                of_block.extend([-1] * (len(block.rows) - len(of_block)))
                of_block[row] = position
        target.ending = {block for block, _ in target.plan if block not in positions}
        positions.update((block, []) for block in target.ending)
        for block, of_block in positions.items():
            of_block.extend([-1] * (len(block.rows) - len(of_block)))
            block.mark_present(of_block, at_ms)
        target.layout = layout
        target.plan = list(positions.items())

    def _new_series(self, source: str, labels: Labels) -> tuple[Block, int]:
        blocks = self._blocks.setdefault(value_of(labels, "__name__"), [])
        block = next((block for block in blocks if block.source == source), None)
        if block is None:
            block = Block(value_of(labels, "__name__"), source)
            insort(blocks, block, key=lambda one: one.source)
        place = self._places[labels] = block, block.add(labels)
        return place

    def _tidy(self, horizon_ms: int) -> None:
        for name, blocks in list(self._blocks.items()):
            for block in blocks:
                for labels in block.forget_before(horizon_ms):
                    del self._places[labels]
            kept = [block for block in blocks if block.times or any(row is not None for row in block.rows)]
            if kept:
                self._blocks[name] = kept
            else:
                del self._blocks[name]
