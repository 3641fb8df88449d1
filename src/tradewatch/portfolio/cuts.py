"""Which fills were in a snapshot of balances, found by amounts alone."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from decimal import Decimal

import msgspec

from tradewatch.portfolio.arithmetic import ZERO, add, multiply, subtract
from tradewatch.portfolio.ledger import Movement
from tradewatch.runtime.safety import Stretch

# Clients that compute with floats say 0.30000000000000004 for 0.3.
_TOLERANCE = Decimal("1e-9")


class Residuals(msgspec.Struct, frozen=True):
    """What a snapshot says of one currency beyond the books.

    `last` where every fill near the snapshot is taken to be in it, `each` for every number of the first of them that
    may be, in order of size.
    """

    actual: Decimal
    last: Decimal
    each: tuple[Decimal, ...]

    def is_explained_by(self, shift: Decimal) -> bool:
        """Whether nothing remains if the books held `shift` more."""
        at = bisect_left(self.each, shift)
        return any(is_none(subtract(residual, shift), self.actual) for residual in self.each[max(at - 1, 0) : at + 1])


def residuals(actual: Decimal, amount: Decimal, changes: Iterable[tuple[int, Decimal]], to_ns: int) -> Residuals:
    """What a snapshot says of a currency beyond the books.

    Args:
        actual: what it says.
        amount: what the books say now.
        changes: what was booked since some time before the snapshot: venue time and change, in the books' order.
        to_ns: the venue time up to which these may be in the snapshot.
    """
    residual = subtract(actual, amount)
    changes = list(changes)
    for _, change in changes:
        residual = add(residual, change)
    each = [residual]
    for venue_ns, change in changes:
        if venue_ns <= to_ns:
            residual = subtract(residual, change)
            each.append(residual)
    return Residuals(actual, residual, tuple(sorted(each)) if len(each) > 1 else tuple(each))


def others(
    near: Iterable[Movement], cut_ns: int, start_ns: int, stretch: Stretch
) -> Iterator[tuple[int, dict[str, Decimal]]]:
    """Each other venue time that a snapshot may have been true at, with what that would change in the opening.

    Args:
        near: the fills that may be in the snapshot or not.
        cut_ns: the venue time up to which they are taken to be in it, so far.
        start_ns: when the snapshot was asked for: the cuts nearest to it come first.
        stretch: breathed after each.
    """
    movements = sorted(near, key=lambda movement: movement.venue_ns)
    found: list[tuple[int, dict[str, Decimal]]] = []
    after = [movement for movement in movements if movement.venue_ns > cut_ns]
    found += _walk(after, [movement.venue_ns for movement in after], is_taken_in=True, stretch=stretch)
    until = [movement for movement in reversed(movements) if movement.venue_ns <= cut_ns]
    found += _walk(until, [movement.venue_ns - 1 for movement in until], is_taken_in=False, stretch=stretch)
    for cut in sorted(found, key=lambda each: abs(each[0] - start_ns)):
        yield cut
        stretch.step()


def _walk(
    movements: list[Movement], cuts: list[int], *, is_taken_in: bool, stretch: Stretch
) -> Iterator[tuple[int, dict[str, Decimal]]]:
    shift: dict[str, Decimal] = {}
    for at, movement in enumerate(movements):
        for currency, change in movement.changes:
            shift[currency] = (subtract if is_taken_in else add)(shift.get(currency, ZERO), change)
        if at + 1 == len(cuts) or cuts[at + 1] != cuts[at]:
            yield cuts[at], dict(shift)
        stretch.step()


def is_none(beyond: Decimal, actual: Decimal) -> bool:
    """Whether `beyond` is no more than floats make of an amount of `actual`."""
    if not beyond:
        return True
    expected = subtract(actual, beyond)
    return beyond.copy_abs() <= multiply(_TOLERANCE, max(expected.copy_abs(), actual.copy_abs()))
