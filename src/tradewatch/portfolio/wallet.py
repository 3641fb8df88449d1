"""What one account holds of each currency: its first balances, everything booked since, and the check by later ones.

The amount of a currency is what the first snapshot said, with the effect of every fill after it. Put as 'opening plus
all fills', where the opening is the snapshot less the fills that it had seen, a fill that is heard of late moves either
the amount or the opening, and the order of hearing does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from tradewatch.model import Balances, Money
from tradewatch.portfolio.arithmetic import ZERO, add, is_bookable, multiply, subtract, total
from tradewatch.portfolio.ledger import Ledger, Movement

_TOLERANCE = Decimal("1e-9")


# How far a venue's clock may be off, and a fill still be told from balances by amounts alone. Binance refuses requests
# that are 5 s off.
SKEW_NS = 5_000_000_000
_MOST_CUTS = 64


class Wallet:
    """One account's currencies.

    `anchor` is this run's first balances snapshot, `cut_ns` the venue time up to which (included) fills are held to be
    in it. `opening` is what was held before all fills; `differences` what the latest snapshot says more (or, below
    zero, less) than the books did at that time, by currency, where no fill in flight explains it. `before` is what an
    earlier run's books say that the account held, and `moved_meanwhile` what the anchor says more or less than that.
    """

    def __init__(self, account: str, ledger: Ledger) -> None:
        self.account = account
        self.anchor: Balances | None = None
        self.cut_ns = 0
        self.opening: dict[str, Decimal] = {}
        self.differences: Mapping[str, Decimal] = {}
        self.before: Mapping[str, Decimal] | None = None
        self.moved_meanwhile: Mapping[str, Decimal] = {}
        self._ledger = ledger
        self._moved: dict[str, Decimal] = {}
        self._latest: Balances | None = None
        self._is_checked = True

    def move(self, movement: Movement) -> bool:
        """Take in what a booking did; whether the opening changed."""
        before_anchor = self.anchor is not None and movement.venue_ns <= self.cut_ns
        for currency, change in movement.changes:
            self._moved[currency] = add(self._moved.get(currency, ZERO), change)
            if before_anchor:
                self.opening[currency] = subtract(self.opening.get(currency, ZERO), change)
        if self._latest is not None and movement.venue_ns <= self._latest.end_ns + SKEW_NS:
            self._is_checked = False
        return before_anchor

    def restore(self, opening: Iterable[Money], cut_ns: int) -> None:
        """Go on from what an earlier run counted from; its fills have been moved already."""
        self.opening = {money.currency: money.amount for money in opening}
        self.cut_ns = cut_ns
        self.before = {currency: self.amount(currency) for currency in self.currencies()}

    def observe(self, balances: Balances) -> bool:
        """Take in a snapshot; whether it changed anything. The first is the anchor, each later one a check."""
        if not all(is_bookable(money.amount) for money in balances.totals):
            return False
        if self.anchor is None:
            if self.before is not None:
                self.moved_meanwhile = self._compare(balances, {})
            self.anchor = balances
            self._cut_at(balances.start_ns)
            for currency in self.before or ():
                self.opening.setdefault(currency, ZERO)
            return True
        if self._latest is not None and balances.start_ns < self._latest.start_ns:
            return False
        self._latest = balances
        self._is_checked = False
        return True

    @property
    def anchored(self) -> Mapping[str, Decimal]:
        """What this run's first balances said."""
        return _by_currency(self.anchor)

    def currencies(self) -> set[str]:
        """Every currency that was in the first balances or in a fill."""
        return self.opening.keys() | self._moved.keys()

    def amount(self, currency: str) -> Decimal:
        """What the account holds now, by the books; meaningless before the first balances."""
        return add(self.opening.get(currency, ZERO), self._moved.get(currency, ZERO))

    def check(self) -> bool:
        """Compare the latest snapshot with the books if that is due; whether the opening changed.

        A fill inside the time that a snapshot took, or so near to it that the venue's clock may be the reason, may be
        in it or not, and the venue answers as of one moment: any number of the first of them may be in. The same holds
        for the first snapshot: if nothing explains the later one but another cut in the first, the cut moves there.
        """
        if self._is_checked or self._latest is None or self.anchor is None:
            return False
        self._is_checked = True
        self.differences = self._compare(self._latest, {})
        if not self.differences:
            return False
        for cut_ns, shift in self._other_cuts(self.anchor):
            if not self._compare(self._latest, shift):
                self._cut_at(cut_ns)
                self.differences = {}
                return True
        return False

    def _cut_at(self, cut_ns: int) -> None:
        self.cut_ns = cut_ns
        opening = _by_currency(self.anchor)
        for currency in opening.keys() | self._moved.keys():
            seen = self._moved.get(currency, ZERO)
            opening[currency] = subtract(opening.get(currency, ZERO), seen)
        for _, movement in self._ledger.since(self.account, cut_ns + 1):
            for currency, change in movement.changes:
                opening[currency] = add(opening.get(currency, ZERO), change)
        self.opening = opening

    def _other_cuts(self, anchor: Balances) -> list[tuple[int, dict[str, Decimal]]]:
        """Each other venue time that the anchor may have been true at, with what that would change in the opening."""
        first_ns, last_ns = anchor.start_ns - SKEW_NS, anchor.end_ns + SKEW_NS
        times = {m.venue_ns for m in self._ledger.between(self.account, first_ns, last_ns)}
        cuts = sorted(
            (times | {first_ns - 1, anchor.start_ns - 1, anchor.start_ns}) - {self.cut_ns},
            key=lambda cut_ns: abs(cut_ns - anchor.start_ns),
        )[:_MOST_CUTS]
        found: list[tuple[int, dict[str, Decimal]]] = []
        for cut_ns in cuts:
            shift: dict[str, Decimal] = {}
            low, high = min(cut_ns, self.cut_ns), max(cut_ns, self.cut_ns)
            for movement in self._ledger.between(self.account, low + 1, high):
                for currency, change in movement.changes:
                    signed = change.copy_negate() if cut_ns > self.cut_ns else change
                    shift[currency] = add(shift.get(currency, ZERO), signed)
            found.append((cut_ns, shift))
        return found

    def _compare(self, balances: Balances, shift: Mapping[str, Decimal]) -> dict[str, Decimal]:
        """What `balances` says beyond the books, by currency, if the opening were `shift` more than it is."""
        said = _by_currency(balances)
        since = sorted(self._ledger.since(self.account, balances.start_ns - SKEW_NS), key=lambda found: found[0])
        settled_by_contracts = {
            book.market.settle for (of, _), book in self._ledger.books.items() if of == self.account
        }
        differences: dict[str, Decimal] = {}
        for currency in (said.keys() | self.currencies()) - settled_by_contracts:
            now = add(self.amount(currency), shift.get(currency, ZERO))
            changes = [
                (movement.venue_ns, change)
                for _, movement in since
                for of, change in movement.changes
                if of == currency
            ]
            expected = subtract(now, total(change for _, change in changes))
            actual = said.get(currency, ZERO)
            explained = _is_near(expected, actual)
            for venue_ns, change in changes:
                if venue_ns <= balances.end_ns + SKEW_NS:
                    expected = add(expected, change)
                    explained = explained or _is_near(expected, actual)
            if not explained:
                differences[currency] = subtract(actual, expected)
        return differences


def _by_currency(balances: Balances | None) -> dict[str, Decimal]:
    amounts: dict[str, Decimal] = {}
    for money in balances.totals if balances is not None else ():
        amounts[money.currency] = add(amounts.get(money.currency, ZERO), money.amount)
    return amounts


def _is_near(expected: Decimal, actual: Decimal) -> bool:
    difference = subtract(expected, actual).copy_abs()
    return difference <= multiply(_TOLERANCE, max(expected.copy_abs(), actual.copy_abs()))
