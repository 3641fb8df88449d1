"""What an account holds and what it is worth."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec


class Position(msgspec.Struct, frozen=True):
    """A holding by average cost.

    `cost` (quote) and `quantity` (base) are those of the last increase: a reduction touches `amount` alone, so how a
    sell is split cannot change the result. `amount` is signed base; `realized` is quote, net of fees. `cost_from` says
    where the cost is from: fills, or the first mark seen for what the account already held; None while it is not known.
    """

    account: str
    symbol: str
    amount: Decimal
    cost: Decimal
    quantity: Decimal
    realized: Decimal
    cost_from: Literal["fills", "mark"] | None

    @property
    def average(self) -> Decimal | None:
        """Quote per base; None where nothing is held or the cost is not known."""
        if not self.quantity or not self.amount or self.cost_from is None:
            return None
        return self.cost / self.quantity


class Equity(msgspec.Struct, frozen=True):
    """The worth of an account in one currency; None where it cannot be known.

    `stale` names what is missing or too old; an empty tuple means that everything is current. `is_priced` is True
    where every price is known and current, also where the venue's balances differ from the books.
    """

    value: Decimal | None
    currency: str | None
    stale: tuple[str, ...]
    at_ns: int
    is_priced: bool = True
