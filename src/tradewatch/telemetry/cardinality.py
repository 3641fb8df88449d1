"""How many values of an attribute metrics show: the first so many, then `_OTHER`.

Which attributes have a bound, and which, is said in `semconv.attributes`. A value claims room where it comes from what
the bot does: a call, an order, a fill. What is only held claims at most half of the room, and prices claim none, so
that neither an account full of dust nor a list of all tickers pushes out the symbols that the bot deals in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tradewatch.semconv import ATTRIBUTES, Reading
from tradewatch.semconv import metrics as m
from tradewatch.semconv.attributes import ATTRIBUTE, OTHER

_REMEMBERED = 10_000


class Room:
    """The values of one attribute. Any thread may ask; in a race each may admit one value too many.

    Args:
        most: values that are admitted.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()
        self._beyond: set[int] = set()

    def admit(self, value: str, *, dealt_in: bool = True) -> str:
        """The value where it is known or there is room, else `_OTHER`."""
        if value in self._known or value == OTHER:
            return value
        if len(self._known) < (self._most if dealt_in else self._most // 2):
            self._known.add(value)
            return value
        if len(self._beyond) < _REMEMBERED:
            self._beyond.add(hash(value))
        return OTHER

    @property
    def overflowed(self) -> int:
        """Distinct values that there was no room for, counted up to 10,000."""
        return len(self._beyond)


class Cardinality:
    """The rooms of one watch."""

    def __init__(self) -> None:
        self._rooms = {a.name: Room(a.most) for a in ATTRIBUTES if a.most is not None}

    def admit(self, attribute: str, value: str, *, dealt_in: bool = True) -> str:
        """The value that metrics show."""
        room = self._rooms.get(attribute)
        return value if room is None else room.admit(value, dealt_in=dealt_in)

    def bounded(self, readings: Iterable[Reading]) -> Iterator[Reading]:
        """The readings with the values that metrics show: counters add up, what cannot be added is left out."""
        sums: dict[Reading, float] = {}
        for reading in readings:
            shown = tuple(
                (name, self.admit(name, value, dealt_in=reading.metric is not m.POSITIONS))
                for name, value in reading.attributes
            )
            if shown == reading.attributes:
                yield reading
            elif reading.metric.instrument == "counter":
                key = Reading(reading.metric, 0, shown)
                sums[key] = sums.get(key, 0) + reading.value
        for key, value in sums.items():
            yield Reading(key.metric, value, key.attributes)

    def readings(self) -> Iterator[Reading]:
        """`tradewatch.attribute.overflow`."""
        for name, room in self._rooms.items():
            yield Reading(m.OVERFLOW, room.overflowed, ((ATTRIBUTE.name, name),))
