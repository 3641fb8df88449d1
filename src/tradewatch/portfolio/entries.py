"""The lines of one book, in the order of their keys, at some 70 bytes each instead of 900.

They stand in blocks of some 32. The last few blocks are lists, since that is where fills come in and where most
questions end; each other one is a text in MessagePack, read again where something in it is asked for or changes.
Decimals are written digit by digit, so that a line is equal to what it was.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from decimal import Decimal
from typing import Literal

import msgspec

from tradewatch.portfolio.market import Market

# What fills are ordered by: venue time, kind of order, trade id as a number, order id, trade id.
Key = tuple[int, int, int, str, str]
Kind = Literal["trade", "provisional", "fee", "opening"]
Changes = tuple[tuple[str, Decimal], ...]
BY_NUMBER, CORRECTION, BY_TEXT = 0, 2, 1
BLOCK = 32
# Blocks at the end that are lists.
_IN_FULL = 4
_LONGEST_NUMBER = 40


def key_of(venue_ns: int, order_id: str, trade_id: str) -> Key:
    """What fills are ordered by: venue time, then trade id as a number, else order id and trade id as text.

    Numbers come before text: comparing by pairs, numbers as numbers and all else as text, could run in a circle.
    """
    if trade_id.isascii() and trade_id.isdigit() and len(trade_id) <= _LONGEST_NUMBER:
        return (venue_ns, BY_NUMBER, int(trade_id), order_id, trade_id)
    return (venue_ns, BY_TEXT, 0, order_id, trade_id)


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One line of a book.

    `base` and `cash` are what it adds to the holding (`average_cost.booked`); `cash` is None where unknown.
    `changes` is what it adds to the account's currencies; `venue_ns` is when, also where `key` stands elsewhere.
    """

    key: Key
    venue_ns: int
    base: Decimal
    cash: Decimal | None
    changes: Changes
    kind: Kind


# The key's five parts, of which the number is left out where the trade id says it; venue time where it is not the
# key's; base, cash; changes where they are not base and cash; kind.
_Line = tuple[int, int, int, str, str, int | None, Decimal, Decimal | None, Changes | None, Kind]
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[_Line]).decode


class Entries:
    """Blocks of entries: `blocks` of them, `len` entries in all. A block has at least one entry, and 63 at most."""

    def __init__(self, market: Market) -> None:
        self._base, self._quote = market.base, market.quote
        self._blocks: list[list[Entry] | bytes] = []
        self._firsts: list[Key] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return len(self._blocks)

    def first(self, block: int) -> Key:
        """The key that a block begins with."""
        return self._firsts[block]

    def read(self, block: int) -> list[Entry]:
        """The entries of a block, not to be written to."""
        found = self._blocks[block]
        return found if isinstance(found, list) else [self._read(line) for line in _decode(found)]

    def before(self, venue_ns: int) -> int:
        """The last block with an entry that stands before this time; -1 where none does."""
        return bisect_left(self._firsts, (venue_ns,)) - 1

    def append(self, entry: Entry) -> bool:
        """Put an entry after all others; whether it begins a block."""
        self._count += 1
        last = self._blocks[-1] if self._blocks else None
        if isinstance(last, list) and len(last) < BLOCK:
            last.append(entry)
            return False
        self._blocks.append([entry])
        self._firsts.append(entry.key)
        self._write_one()
        return True

    def insert(self, entry: Entry) -> int:
        """Put an entry where its key belongs; the block that it came into. There must be another one."""
        at = max(0, bisect_right(self._firsts, entry.key) - 1)
        entries = self.read(at)
        entries.insert(bisect_right(entries, entry.key, key=_key), entry)
        self._count += 1
        self._firsts[at] = entries[0].key
        if len(entries) < 2 * BLOCK:
            self._keep(at, entries)
            return at
        half = entries[BLOCK:]
        self._blocks.insert(at + 1, half)
        self._firsts.insert(at + 1, half[0].key)
        self._keep(at, entries[:BLOCK])
        self._keep(at + 1, half)
        self._write_one()
        return at

    def remove(self, key: Key) -> tuple[Entry, int]:
        """Take out the entry with this key; the block that it was in.

        Raises:
            KeyError: there is none.
        """
        at = bisect_right(self._firsts, key) - 1
        entries = self.read(at) if at >= 0 else []
        within = bisect_left(entries, key, key=_key)
        if within == len(entries) or entries[within].key != key:
            raise KeyError(key)
        found = entries.pop(within)
        self._count -= 1
        if entries:
            self._firsts[at] = entries[0].key
            self._keep(at, entries)
        else:
            del self._blocks[at], self._firsts[at]
        return found, at

    def drop_first(self) -> list[Entry]:
        """Take out the first block."""
        found = self.read(0)
        del self._blocks[0], self._firsts[0]
        self._count -= len(found)
        return found

    def _write_one(self) -> None:
        """There is a block more: one is no longer among the last."""
        block = len(self._blocks) - 1 - _IN_FULL
        if block >= 0 and isinstance(self._blocks[block], list):
            self._keep(block, self.read(block))

    def _keep(self, block: int, entries: list[Entry]) -> None:
        in_full = block >= len(self._blocks) - _IN_FULL
        self._blocks[block] = entries if in_full else _encode([self._line(entry) for entry in entries])

    def _line(self, entry: Entry) -> _Line:
        ns, rank, number, order_id, trade_id = entry.key
        changes: Changes | None = entry.changes
        if len(entry.changes) == 2:
            (first, base), (second, cash) = entry.changes
            # The same objects: equal numbers may be written with other digits.
            if base is entry.base and cash is entry.cash and first == self._base and second == self._quote:
                changes = None
        return (
            ns,
            rank,
            0 if rank == BY_NUMBER else number,
            order_id,
            trade_id,
            None if entry.venue_ns == ns else entry.venue_ns,
            entry.base,
            entry.cash,
            changes,
            entry.kind,
        )

    def _read(self, line: _Line) -> Entry:
        ns, rank, number, order_id, trade_id, venue_ns, base, cash, changes, kind = line
        if changes is None:
            assert cash is not None
            changes = ((self._base, base), (self._quote, cash))
        if rank == BY_NUMBER:
            number = int(trade_id)
        key = (ns, rank, number, order_id, trade_id)
        return Entry(key, ns if venue_ns is None else venue_ns, base, cash, changes, kind)


def _key(entry: Entry) -> Key:
    return entry.key
