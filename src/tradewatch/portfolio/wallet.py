"""What one account holds of each currency: its first balances, everything booked since, and the check by later ones.

The amount of a currency is what the first snapshot said, with the effect of every fill after it. Put as 'opening plus
all fills', where the opening is the snapshot less the fills that it had seen, a fill that is heard of late moves either
the amount or the opening, and the order of hearing does not matter.

Two openings can be compared: that of an earlier run, and that of this one. Where they differ, something moved that the
books of neither know, and a fill that is heard of late and explains it makes them the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from decimal import Decimal

from tradewatch.model import Balances, Money
from tradewatch.portfolio import cuts
from tradewatch.portfolio.arithmetic import ZERO, add, is_bookable, multiply, subtract
from tradewatch.portfolio.ledger import Ledger, Movement
from tradewatch.runtime.safety import Stretch

# How far a venue's clock may be from this one, and a fill still be told from balances by amounts alone. The delay of a
# request and the drift of a clock that is set now and then are within it; the wider it is, the more fills there are
# that could explain a difference by chance.
SKEW_NS = 5_000_000_000
# Balances that hold less than this of everything the account held may be a venue's slip, or another wallet of it.
_NOTHING = Decimal("0.05")


class Wallet:
    """One account's currencies.

    `anchor` is this run's first balances snapshot, `cut_ns` the venue time up to which (included) fills are held to be
    in it. `opening` is what was held before all fills; `differences` what the latest snapshot says more (or, below
    zero, less) than the books did at that time, by currency, where no fill in flight explains it. `before` is what the
    account held when an earlier run began to count it, or this one did. `waits` where the first balances of this run
    hold nothing of what was held, until second ones come. `reopened` counts changes of the opening.
    """

    def __init__(self, account: str, ledger: Ledger) -> None:
        self.account = account
        self.anchor: Balances | None = None
        self.cut_ns = 0
        self.opening: dict[str, Decimal] = {}
        self.differences: Mapping[str, Decimal] = {}
        self.before: Mapping[str, Decimal] = {}
        self.waits = False
        self.reopened = 0
        self._ledger = ledger
        self._moved: dict[str, Decimal] = {}
        self._anchored: Mapping[str, Decimal] = {}
        # The opening and the cut of an earlier run.
        self._restored: dict[str, Decimal] | None = None
        self._restored_cut_ns = 0
        self._unexplained: Mapping[str, Decimal] | None = None
        self._latest: Balances | None = None
        self._is_checked = True
        # How many fills near the first balances were booked, and what no cut explained when there were so many.
        self._near_anchor = 0
        self._tried: tuple[Mapping[str, Decimal], int] | None = None

    def move(self, movement: Movement) -> bool:
        """Take in what a booking did; whether the opening changed."""
        at_ns = movement.venue_ns
        has_opening = self.anchor is not None or self._restored is not None
        in_opening = has_opening and at_ns <= self.cut_ns
        in_restored = self._restored is not None and at_ns <= self._restored_cut_ns
        for currency, change in movement.changes:
            self._moved[currency] = add(self._moved.get(currency, ZERO), change)
            if in_opening:
                self.opening[currency] = subtract(self.opening.get(currency, ZERO), change)
            if in_restored and self._restored is not None:
                self._restored[currency] = subtract(self._restored.get(currency, ZERO), change)
        if in_opening or in_restored:
            self._unexplained = None
            self.reopened += 1
        if self.anchor is not None and self.anchor.start_ns - SKEW_NS <= at_ns <= self.anchor.end_ns + SKEW_NS:
            self._near_anchor += 1
        if self._latest is not None and at_ns <= self._latest.end_ns + SKEW_NS:
            self._is_checked = False
        return in_opening or in_restored

    def restore(self, opening: Iterable[Money], cut_ns: int) -> None:
        """Go on from what an earlier run counted from; the fills that it knew then have been moved already."""
        self.opening = {money.currency: money.amount for money in opening}
        self.cut_ns = self._restored_cut_ns = cut_ns
        self._restored = dict(self.opening)
        held = {currency: self.amount(currency) for currency in self.currencies()}
        for _, movement in self._ledger.since(self.account, cut_ns + 1):
            for currency, change in movement.changes:
                held[currency] = subtract(held[currency], change)
        self.before = held

    def observe(self, balances: Balances) -> bool:
        """Take in a snapshot; whether it changed anything. The first is the anchor, each later one a check."""
        if not all(is_bookable(money.amount) for money in balances.totals):
            return False
        if self.anchor is None:
            self.waits = not self.waits and self._is_empty(balances)
            if not self.waits:
                self._begin(balances)
            return True
        if self._latest is not None and balances.start_ns < self._latest.start_ns:
            return False
        self._latest = balances
        self._is_checked = False
        return True

    def currencies(self) -> set[str]:
        """Every currency that was in the first balances or in a fill."""
        return self.opening.keys() | self._moved.keys()

    def amount(self, currency: str) -> Decimal:
        """What the account holds now, by the books; meaningless before the first balances."""
        return add(self.opening.get(currency, ZERO), self._moved.get(currency, ZERO))

    def unexplained(self) -> Mapping[str, Decimal]:
        """What the first balances say more (or, below zero, less) than the books of an earlier run and all fills."""
        if self._unexplained is None:
            self._unexplained = {} if self.anchor is None or self._restored is None else self._beyond(self._restored)
        return self._unexplained

    def check(self) -> bool:
        """Compare the latest snapshot with the books if that is due; whether the opening changed.

        A fill inside the time that a snapshot took, or so near to it that the venue's clock may be the reason, may be
        in it or not, and the venue answers as of one moment: any number of the first of them may be in. The same holds
        for the first snapshot: if nothing explains the later one but another cut in the first, the cut moves there.
        """
        if self._is_checked or self._latest is None or self.anchor is None:
            return False
        self._is_checked = True
        stretch = Stretch()
        residuals = self._residuals(self._latest, stretch)
        differences: dict[str, Decimal] = {}
        for of, beyond in residuals.items():
            if not beyond.is_explained_by(ZERO):
                differences[of] = beyond.last
            stretch.step()
        self.differences = differences
        if not self.differences or self._tried == (self.differences, self._near_anchor):
            return False
        for cut_ns, shift in cuts.others(self._near(self.anchor), self.cut_ns, self.anchor.start_ns, stretch):
            # What differs first: it refuses most cuts.
            if all(
                residuals[of].is_explained_by(shift.get(of, ZERO))
                for of in (*self.differences, *shift)
                if of in residuals
            ):
                self._cut_at(cut_ns)
                self.differences = {}
                return True
        self._tried = (self.differences, self._near_anchor)
        return False

    def _is_empty(self, balances: Balances) -> bool:
        """Whether balances hold nothing of anything that was held in an earlier run."""
        said = _by_currency(balances)
        held = {} if self._restored is None else {of: self.amount(of) for of in self.currencies()}
        held = {of: amount for of, amount in held.items() if amount > 0}
        return bool(held) and all(said.get(of, ZERO) < multiply(_NOTHING, amount) for of, amount in held.items())

    def _begin(self, balances: Balances) -> None:
        """Count from these balances: from the moment that says what an earlier run's books do, where there is one."""
        self.anchor, self._anchored = balances, _by_currency(balances)
        self._cut_at(balances.start_ns)
        if self._restored is None:
            self.before = self._anchored
            return
        unexplained = self.unexplained()
        if not unexplained:
            return
        for cut_ns, shift in cuts.others(self._near(balances), self.cut_ns, balances.start_ns, Stretch()):
            if not self._beyond(self._restored, shift, unexplained.keys() | shift.keys()):
                self._cut_at(cut_ns)
                return

    def _beyond(
        self, books: Mapping[str, Decimal], shift: Mapping[str, Decimal] | None = None, of: Set[str] | None = None
    ) -> Mapping[str, Decimal]:
        """What the opening, `shift` more than it is, says beyond that of other books."""
        found: dict[str, Decimal] = {}
        for currency in ((self.opening.keys() | books.keys()) if of is None else of) - self._settled_by_contracts():
            opening = add(self.opening.get(currency, ZERO), (shift or {}).get(currency, ZERO))
            beyond = subtract(opening, books.get(currency, ZERO))
            if not cuts.is_none(beyond, self._anchored.get(currency, ZERO)):
                found[currency] = beyond
        return found

    def _cut_at(self, cut_ns: int) -> None:
        self.cut_ns = cut_ns
        opening = {of: self._anchored.get(of, ZERO) for of in self._anchored.keys() | self.opening.keys()}
        for currency, moved in self._moved.items():
            opening[currency] = subtract(opening.get(currency, ZERO), moved)
        for _, movement in self._ledger.since(self.account, cut_ns + 1):
            for currency, change in movement.changes:
                opening[currency] = add(opening.get(currency, ZERO), change)
        self.opening = opening
        self._unexplained = None
        self.reopened += 1

    def _near(self, balances: Balances) -> Iterator[Movement]:
        return self._ledger.between(self.account, balances.start_ns - SKEW_NS, balances.end_ns + SKEW_NS)

    def _residuals(self, balances: Balances, stretch: Stretch) -> dict[str, cuts.Residuals]:
        """What `balances` says beyond the books, by currency."""
        said = _by_currency(balances)
        late: dict[str, list[tuple[int, Decimal]]] = {}
        for _, movement in sorted(
            self._ledger.since(self.account, balances.start_ns - SKEW_NS), key=lambda found: found[0]
        ):
            for currency, change in movement.changes:
                late.setdefault(currency, []).append((movement.venue_ns, change))
            stretch.step()
        residuals: dict[str, cuts.Residuals] = {}
        for currency in (said.keys() | self.currencies()) - self._settled_by_contracts():
            changes = late.get(currency, [])
            residuals[currency] = cuts.residuals(
                said.get(currency, ZERO), self.amount(currency), changes, balances.end_ns + SKEW_NS
            )
            stretch.step()
        return residuals

    def _settled_by_contracts(self) -> set[str | None]:
        return {book.market.settle for (of, _), book in self._ledger.books.items() if of == self.account}


def _by_currency(balances: Balances) -> dict[str, Decimal]:
    amounts: dict[str, Decimal] = {}
    for money in balances.totals:
        amounts[money.currency] = add(amounts.get(money.currency, ZERO), money.amount)
    return amounts
