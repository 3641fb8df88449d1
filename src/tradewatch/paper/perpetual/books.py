"""Books of the perpetual, from its journal alone and exact: the figures to hold other accounting against.

The rule, per account and contract, with a signed amount: a fill that reduces realises (price - average) of what it
closes, with the sign of the position; one that increases changes the average; one through zero closes, then opens.
Fees, funding and clearance are kept apart from realised profit. Wallet = opening + transfers + realised - fees +
funding + clearance; equity = wallet + amount * (mark - average). Shares nothing with the bookkeeping of the exchange.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import msgspec

from tradewatch.paper.perpetual.values import Fill, Income
from tradewatch.paper.units import ONE


class Line(msgspec.Struct, frozen=True):
    """What happened to an account's money: a fill, or an income that is none (funding, clearance, transfer)."""

    account: str
    what: Fill | Income


class ContractBook(msgspec.Struct):
    """One contract of one account: base, quote per base, quote."""

    amount: Fraction = Fraction(0)
    average: Fraction = Fraction(0)
    realised: Fraction = Fraction(0)
    fees: Fraction = Fraction(0)
    funding: Fraction = Fraction(0)
    clearance: Fraction = Fraction(0)


class PerpetualBooks:
    """The books of all accounts, worked in when they are read.

    Args:
        opening: wallet of each account at the start, units of 10^-8.
        lines: the journal; read, never written.
    """

    def __init__(self, opening: Mapping[str, int], lines: list[Line]) -> None:
        self._opening = opening
        self._lines = lines
        self._booked = 0
        self._contracts: dict[str, dict[str, ContractBook]] = {name: {} for name in opening}
        self._transfers = dict.fromkeys(opening, Fraction(0))

    def read(self) -> Mapping[str, Mapping[str, ContractBook]]:
        """By account and contract, up to the last line of the journal."""
        for line in self._lines[self._booked :]:
            self._book(line)
        self._booked = len(self._lines)
        return self._contracts

    def wallet(self, account: str) -> Fraction:
        """What the wallet must hold."""
        books = self.read()[account].values()
        moved = sum((one.realised - one.fees + one.funding + one.clearance for one in books), Fraction(0))
        return Fraction(self._opening[account], ONE) + self._transfers[account] + moved

    def equity(self, account: str, marks: Mapping[str, int]) -> Fraction:
        """The wallet with the positions at their marks (units of 10^-8)."""
        books = self.read()[account]
        open_ = (one.amount * (Fraction(marks[symbol], ONE) - one.average) for symbol, one in books.items())
        return self.wallet(account) + sum(open_, Fraction(0))

    def _book(self, line: Line) -> None:
        what = line.what
        if isinstance(what, Income) and what.kind == "TRANSFER":
            self._transfers[line.account] += Fraction(what.amount, ONE)
            return
        book = self._contracts[line.account].setdefault(what.symbol, ContractBook())
        if isinstance(what, Income):
            amount = Fraction(what.amount, ONE)
            if what.kind == "FUNDING_FEE":
                book.funding += amount
            else:
                book.clearance += amount
            return
        price, signed = Fraction(what.price, ONE), Fraction(what.quantity, ONE) * (1 if what.side == "BUY" else -1)
        book.fees += Fraction(what.fee, ONE)
        if book.amount * signed < 0:
            closed = -signed if abs(signed) <= abs(book.amount) else book.amount
            book.realised += closed * (price - book.average)
            book.amount -= closed
            signed += closed
            if not book.amount:
                book.average = Fraction(0)
        if signed:
            total = book.amount + signed
            book.average = (book.amount * book.average + signed * price) / total
            book.amount = total
