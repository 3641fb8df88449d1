"""What the books are kept from: the events of the exchange that matter to money, in order of simulated time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from tradewatch.paper.accounts import Transfer
from tradewatch.paper.market import Quote
from tradewatch.paper.orders import Trade


class Booked(msgspec.Struct, frozen=True):
    """A trade of an account with the mids (units of 10^-8) at its instant, by venue symbol, that value it."""

    account: str
    trade: Trade
    mids: Mapping[str, int]


class Moved(msgspec.Struct, frozen=True):
    """A deposit or withdrawal, with id and mid of the market that values the currency, if there is one."""

    account: str
    transfer: Transfer
    mid: tuple[str, int] | None


class Mark(msgspec.Struct, frozen=True):
    """A mid in units of 10^-8 and its instant."""

    mid: int
    at_ns: int


class Journal:
    """Opening balances, trades, transfers, and the mids that clients were told.

    Attributes:
        opening: account to currency to units of 10^-8.
        lines: all accounts' trades and transfers, in order of simulated time.
        opening_marks: by venue symbol: the mid of the first market-data answer, else at the first fill.
        last_quoted: by account, then venue symbol: the mid that the account's client was last told.
    """

    def __init__(self, opening: Mapping[str, Mapping[str, int]]) -> None:
        self.opening = opening
        self.lines: list[Booked | Moved] = []
        self.opening_marks: dict[str, Mark] = {}
        self.last_quoted: dict[str, dict[str, Mark]] = {name: {} for name in opening}

    def quoted(self, accounts: Iterable[str], symbol: str, quote: Quote) -> None:
        """A market-data answer with this quote went to the clients of these accounts."""
        mark = Mark(quote.mid, quote.at_ns)
        self.opening_marks.setdefault(symbol, mark)
        for account in accounts:
            self.last_quoted[account][symbol] = mark

    def traded(self, account: str, trade: Trade, mids: Mapping[str, int]) -> None:
        """A fill, with the mids at its instant."""
        for symbol, mid in mids.items():
            self.opening_marks.setdefault(symbol, Mark(mid, trade.at_ns))
        self.lines.append(Booked(account, trade, mids))

    def moved(self, account: str, transfer: Transfer, mid: tuple[str, int] | None) -> None:
        """A deposit or withdrawal, with the mid that values it."""
        if mid is not None:
            self.opening_marks.setdefault(mid[0], Mark(mid[1], transfer.at_ns))
        self.lines.append(Moved(account, transfer, mid))
