"""The fills of one account in one market, in the venue's order, and the holding that they lead to.

Fills of the last seven days stay, with the holding before them, so that a late one can be put where it belongs and
everything after it booked again. With each block of them the holding before it is noted: booking again begins at the
last note before the late fill, and only when somebody reads, so a page of old fills costs one pass. What is older is
folded into the first note; of those fills the identity alone is remembered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import takewhile

import msgspec

from tradewatch.portfolio.arithmetic import ZERO, subtract
from tradewatch.portfolio.average_cost import Holding, booked, corrected_opening, opened, spent
from tradewatch.portfolio.entries import BLOCK, CORRECTION, Entries, Entry, Key
from tradewatch.portfolio.identities import Identities
from tradewatch.portfolio.market import Market
from tradewatch.runtime.safety import Stretch

KEPT_NS = 7 * 86_400 * 1_000_000_000
# Some 5 MB for a market at its busiest. A fill later than these many others is a correction too.
KEPT_FILLS = 50_000
# Of fills that were folded away: 2 MB.
REMEMBERED_IDENTITIES = 100_000


def _after(holding: Holding, entry: Entry) -> Holding:
    if entry.kind == "fee":
        return spent(holding, entry.base, entry.cash)
    if entry.kind == "opening":
        return corrected_opening(holding, entry.base, entry.cash)
    return booked(holding, entry.base, entry.cash or ZERO)


def _after_all(holding: Holding, entries: Iterable[Entry], stretch: Stretch) -> Holding:
    for entry in entries:
        holding = _after(holding, entry)
        stretch.step()
    return holding


class Book:
    """One account's entries in one market. `version` grows with every change of what it would answer."""

    def __init__(self, account: str, market: Market) -> None:
        self.account = account
        self.market = market
        self.version = 0
        self.opening = ZERO
        self.opening_price: Decimal | None = None
        self.corrections = 0
        self.is_used = False
        self.last_key: Key | None = None
        self._entries = Entries(market)
        # The holding before each of the first blocks; those before the others are not known at the moment.
        self._notes: list[Holding] = [opened(ZERO, None)]
        self._holding: Holding | None = self._notes[0]
        self._folded_to: Key | None = None
        self._known = Identities(REMEMBERED_IDENTITIES)
        self._asked_ns: int | None = None
        self._answered: tuple[int, int, Holding] | None = None
        self._frozen: tuple[int, Holding] | None = None

    def has(self, order_id: str, trade_id: str) -> bool:
        """Whether this fill is in the book already."""
        return (order_id, trade_id) in self._known

    def may_have_had(self, venue_ns: int) -> bool:
        """Whether a fill of this time may be in the book though its identity is no longer remembered."""
        forgotten_to_ns = self._known.forgotten_to_ns
        return forgotten_to_ns is not None and venue_ns <= forgotten_to_ns

    def add(self, entry: Entry) -> Key:
        """Put an entry where it belongs, and say where it stands.

        That is its own key, but for a correction, which goes to the end: an entry more than seven days late, or later
        than the `KEPT_FILLS` that are kept.
        """
        self.version += 1
        last = self.last_key
        key = entry.key
        if entry.kind == "trade":
            self._known.add(entry.key[3:])
        self.is_used = self.is_used or entry.kind != "fee"
        if last is None or key > last:
            self._append(entry)
            return key
        if key[0] < last[0] - KEPT_NS or self.is_folded(key):
            self.corrections += 1
            at_end = (last[0], CORRECTION, self.corrections, key[3], key[4])
            self._append(msgspec.structs.replace(entry, key=at_end))
            return at_end
        self._insert(entry)
        return key

    def is_folded(self, key: Key) -> bool:
        """Whether an entry with this key has been folded away, so that it can no longer be taken out."""
        return self._folded_to is not None and key <= self._folded_to

    def remove(self, key: Key) -> Entry:
        """Take the entry with this key out again.

        Raises:
            KeyError: there is none, or it has been folded away.
        """
        entry, block = self._entries.remove(key)
        self.version += 1
        self._unbook(block)
        if key == self.last_key:
            last = self._entries.blocks - 1
            self.last_key = self._entries.read(last)[-1].key if last >= 0 else self._folded_to
        return entry

    def open_with(self, amount: Decimal, price: Decimal | None) -> bool:
        """Say what was held before the first fill and what it cost (None: not known yet); False if nothing changed."""
        if amount == self.opening and (price == self.opening_price or not amount):
            return False
        self.version += 1
        if self._folded_to is None:
            self._notes = [opened(amount, price)]
            self._holding = None
        elif amount != self.opening and self.last_key is not None:
            self.corrections += 1
            key = (self.last_key[0], CORRECTION, self.corrections, "", "")
            self._append(Entry(key, key[0], subtract(amount, self.opening), price, (), "opening"))
        self.opening, self.opening_price = amount, price
        return True

    @property
    def can_reopen(self) -> bool:
        """Whether an opening can still be taken back exactly: nothing has been folded into it."""
        return self._folded_to is None

    def holding(self) -> Holding:
        """The holding after all entries."""
        if self._holding is None:
            stretch, last = Stretch(), self._entries.blocks - 1
            holding = self._noted(max(0, last), stretch)
            self._holding = holding if last < 0 else _after_all(holding, self._entries.read(last), stretch)
        return self._holding

    def holding_at(self, venue_ns: int) -> Holding:
        """The holding after the entries up to and including this venue time.

        The time that was asked for last is answered also after its entries have been folded away.
        """
        self._asked_ns = venue_ns
        if self._answered is not None and self._answered[:2] == (venue_ns, self.version):
            return self._answered[2]
        if self._frozen is not None and self._frozen[0] == venue_ns:
            return self._frozen[1]
        holding = self._holding_at(venue_ns)
        self._answered = (venue_ns, self.version, holding)
        return holding

    def _holding_at(self, venue_ns: int) -> Holding:
        block = self._entries.before(venue_ns + 1)
        if block < 0:
            return self._notes[0]
        stretch = Stretch()
        until = takewhile(lambda entry: entry.key[0] <= venue_ns, self._entries.read(block))
        return _after_all(self._noted(block, stretch), until, stretch)

    def since(self, venue_ns: int) -> Iterator[Entry]:
        """The entries of this venue time and later, newest first."""
        for block in range(self._entries.blocks - 1, -1, -1):
            for entry in reversed(self._entries.read(block)):
                if entry.key[0] < venue_ns:
                    return
                if entry.venue_ns >= venue_ns:
                    yield entry

    def between(self, first_ns: int, last_ns: int) -> Iterator[Entry]:
        """The entries that stand at these venue times, both included."""
        for block in range(max(0, self._entries.before(first_ns)), self._entries.before(last_ns + 1) + 1):
            for entry in self._entries.read(block):
                if first_ns <= entry.key[0] <= last_ns:
                    yield entry

    def _noted(self, block: int, stretch: Stretch) -> Holding:
        """The holding before this block."""
        while len(self._notes) <= block:
            entries = self._entries.read(len(self._notes) - 1)
            self._notes.append(_after_all(self._notes[-1], entries, stretch))
        return self._notes[block]

    def _append(self, entry: Entry) -> None:
        before, self.last_key = self._holding, entry.key
        begins = self._entries.append(entry)
        if before is not None:
            if begins and len(self._notes) < self._entries.blocks:
                self._notes.append(before)
            self._holding = _after(before, entry)
        if begins:
            self._fold()

    def _insert(self, entry: Entry) -> None:
        self._unbook(self._entries.insert(entry))
        self._fold()

    def _unbook(self, block: int) -> None:
        """Forget what was noted after the beginning of this block."""
        del self._notes[block + 1 :]
        self._holding = None

    def _fold(self) -> None:
        entries, stretch = self._entries, Stretch()
        # An opening that waits for its price must be booked again from the start: only memory overrules that.
        waits = bool(self.opening) and self.opening_price is None
        while entries.blocks > 1:
            next_ns = entries.first(1)[0]
            is_old = self.last_key is not None and next_ns < self.last_key[0] - KEPT_NS
            if len(entries) < KEPT_FILLS + 2 * BLOCK and (waits or not is_old):
                return
            self._noted(1, stretch)
            asked_ns = self._asked_ns
            is_frozen = self._frozen is not None and self._frozen[0] == asked_ns
            if asked_ns is not None and not is_frozen and asked_ns < next_ns:
                self._frozen = (asked_ns, self._holding_at(asked_ns))
            folded = entries.drop_first()
            del self._notes[0]
            self._folded_to = folded[-1].key
            trades = [entry for entry in folded if entry.kind == "trade"]
            if trades:
                self._known.retire((e.key[3:] for e in trades), max(e.venue_ns for e in trades))
            stretch.step()
