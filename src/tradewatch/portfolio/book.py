"""The fills of one account in one market, in the venue's order, and the holding that they lead to.

Fills of the last seven days stay, with the holding before them, so that a late one can be put where it belongs and
everything after it booked again. Every 32 fills the holding is noted: booking again begins at the last note before the
late fill, and only when somebody reads, so a page of old fills costs one pass. What is older is folded into the first
note; of those fills the identity alone is remembered.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from decimal import Decimal
from typing import Literal

import msgspec

from tradewatch.portfolio.arithmetic import ZERO, subtract
from tradewatch.portfolio.average_cost import Holding, booked, corrected_opening, opened, spent
from tradewatch.portfolio.market import Market

KEPT_NS = 7 * 86_400 * 1_000_000_000
# Some 40 MB for a market at its busiest. A fill later than these many others is a correction too.
KEPT_FILLS = 50_000
REMEMBERED_IDENTITIES = 100_000
_NOTED_EVERY = 32

Key = tuple[int, int, int, str, str]
_TEXT, _CORRECTION = 1, 2
_LONGEST_NUMBER = 40


def key_of(venue_ns: int, order_id: str, trade_id: str) -> Key:
    """What fills are ordered by: venue time, then trade id as a number, else order id and trade id as text.

    Numbers come before text: comparing by pairs, numbers as numbers and all else as text, could run in a circle.
    """
    if trade_id.isascii() and trade_id.isdigit() and len(trade_id) <= _LONGEST_NUMBER:
        return (venue_ns, 0, int(trade_id), order_id, trade_id)
    return (venue_ns, _TEXT, 0, order_id, trade_id)


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One line of a book.

    `base` and `cash` are what it adds to the holding (`average_cost.booked`); `cash` is None where unknown.
    `changes` is what it adds to the account's currencies; `venue_ns` is when, also where `key` stands elsewhere.
    """

    key: Key
    venue_ns: int
    base: Decimal
    cash: Decimal | None
    changes: tuple[tuple[str, Decimal], ...]
    kind: Literal["trade", "provisional", "fee", "opening"]


def _after(holding: Holding, entry: Entry) -> Holding:
    if entry.kind == "fee":
        return spent(holding, entry.base, entry.cash)
    if entry.kind == "opening":
        return corrected_opening(holding, entry.base, entry.cash)
    return booked(holding, entry.base, entry.cash or ZERO)


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
        self._entries: list[Entry] = []
        self._keys: list[Key] = []
        self._notes: list[Holding] = [opened(ZERO, None)]
        self._holding: Holding | None = self._notes[0]
        self._folded_to: Key | None = None
        self._known: set[tuple[str, str]] = set()
        self._remembered: dict[int, int] = {}
        self._forgotten_to_ns: int | None = None
        self._asked_ns: int | None = None
        self._answered: tuple[int, int, Holding] | None = None
        self._frozen: tuple[int, Holding] | None = None

    def has(self, order_id: str, trade_id: str) -> bool:
        """Whether this fill is in the book already."""
        identity = (order_id, trade_id)
        return identity in self._known or hash(identity) in self._remembered

    def may_have_had(self, venue_ns: int) -> bool:
        """Whether a fill of this time may be in the book though its identity is no longer remembered."""
        return self._forgotten_to_ns is not None and venue_ns <= self._forgotten_to_ns

    def add(self, entry: Entry) -> Key:
        """Put an entry where it belongs, and say where it stands.

        That is its own key, but for a correction, which goes to the end: an entry more than seven days late, or later
        than the `KEPT_FILLS` that are kept.
        """
        self.version += 1
        last = self.last_key
        key = entry.key
        if entry.kind == "trade":
            self._known.add(key[3:])
        self.is_used = self.is_used or entry.kind != "fee"
        if last is None or key > last:
            self._append(entry)
            return key
        if key[0] < last[0] - KEPT_NS or self.is_folded(key):
            self.corrections += 1
            at_end = (last[0], _CORRECTION, self.corrections, key[3], key[4])
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
        at = bisect_left(self._keys, key)
        if at == len(self._keys) or self._keys[at] != key:
            raise KeyError(key)
        self.version += 1
        entry = self._entries.pop(at)
        del self._keys[at]
        self._unbook(at)
        self.last_key = self._keys[-1] if self._keys else self._folded_to
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
            key = (self.last_key[0], _CORRECTION, self.corrections, "", "")
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
            holding = self._notes[-1]
            done = (len(self._notes) - 1) * _NOTED_EVERY
            for at in range(done, len(self._entries)):
                if at == len(self._notes) * _NOTED_EVERY:
                    self._notes.append(holding)
                holding = _after(holding, self._entries[at])
            self._holding = holding
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
        self.holding()
        count = bisect_left(self._keys, (venue_ns + 1,))
        note = min(count // _NOTED_EVERY, len(self._notes) - 1)
        holding = self._notes[note]
        for entry in self._entries[note * _NOTED_EVERY : count]:
            holding = _after(holding, entry)
        return holding

    def since(self, venue_ns: int) -> Iterator[Entry]:
        """The entries of this venue time and later, newest first."""
        for at in range(len(self._entries) - 1, -1, -1):
            if self._keys[at][0] < venue_ns:
                return
            if self._entries[at].venue_ns >= venue_ns:
                yield self._entries[at]

    def between(self, first_ns: int, last_ns: int) -> list[Entry]:
        """The entries that stand at these venue times, both included."""
        return self._entries[bisect_left(self._keys, (first_ns,)) : bisect_left(self._keys, (last_ns + 1,))]

    def _append(self, entry: Entry) -> None:
        count = len(self._entries)
        if self._holding is not None:
            if count == len(self._notes) * _NOTED_EVERY:
                self._notes.append(self._holding)
            self._holding = _after(self._holding, entry)
        self._entries.append(entry)
        self._keys.append(entry.key)
        self.last_key = entry.key
        if count % _NOTED_EVERY == 0:
            self._fold()

    def _insert(self, entry: Entry) -> None:
        at = bisect_left(self._keys, entry.key)
        self._entries.insert(at, entry)
        self._keys.insert(at, entry.key)
        self._unbook(at)

    def _unbook(self, at: int) -> None:
        """Forget what was noted after the first `at` entries."""
        del self._notes[at // _NOTED_EVERY + 1 :]
        self._holding = None

    def _fold(self) -> None:
        count = len(self._entries)
        over = count - KEPT_FILLS
        old = bisect_left(self._keys, (self._keys[-1][0] - KEPT_NS,))
        # An opening that waits for its price must be booked again from the start: only memory overrules that.
        waits = bool(self.opening) and self.opening_price is None
        blocks = max(0 if waits else old, over) // _NOTED_EVERY
        if not blocks:
            return
        self.holding()
        folded = min(blocks, len(self._notes) - 1) * _NOTED_EVERY
        if not folded:
            return
        asked_ns = self._asked_ns
        is_frozen = self._frozen is not None and self._frozen[0] == asked_ns
        if asked_ns is not None and not is_frozen and asked_ns < self._keys[folded][0]:
            self._frozen = (asked_ns, self._holding_at(asked_ns))
        for entry in self._entries[:folded]:
            self._remember(entry)
        self._folded_to = self._keys[folded - 1]
        del self._entries[:folded], self._keys[:folded], self._notes[: folded // _NOTED_EVERY]

    def _remember(self, entry: Entry) -> None:
        if entry.kind != "trade":
            return
        identity = entry.key[3:]
        self._known.discard(identity)
        self._remembered[hash(identity)] = entry.venue_ns
        if len(self._remembered) > REMEMBERED_IDENTITIES:
            forgotten_ns = self._remembered.pop(next(iter(self._remembered)))
            self._forgotten_to_ns = max(forgotten_ns, self._forgotten_to_ns or forgotten_ns)
