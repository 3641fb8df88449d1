"""Average cost of one holding, as a pure function from state to state.

The state is what the holding's cost was when it was last increased, and the exact sum of all cash that its fills moved.
With A the signed amount, K and Q cost and quantity at the last increase (both with the sign of the holding) and C that
sum, the realised result is

    realised = C + K * A / Q

since C is what was received less what was paid, and K * A / Q what was paid for the part still held. This is the usual
'proceeds - cost * disposed / quantity', summed up: a reduction changes A and C alone, and exactly, so how a sell is
split cannot change the result; and at a flat position the result is the cash itself. A short is the same with all signs
turned: K is minus what was received for it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from tradewatch.portfolio.arithmetic import ZERO, add, divide, kept, multiply, subtract

CostFrom = Literal["fills", "mark"]


class Holding(msgspec.Struct, frozen=True, gc=False):
    """One holding between two fills.

    `amount`, `quantity` base and signed; `cost`, `cash` quote and signed (see the module). `cost_from` is where the
    cost of what is held now comes from, None while it is not known. `is_known` is false once cash that nobody knows is
    in `cash`: the realised result is unknown then, for good.
    """

    amount: Decimal = ZERO
    cost: Decimal = ZERO
    quantity: Decimal = ZERO
    cash: Decimal = ZERO
    cost_from: CostFrom | None = "fills"
    is_known: bool = True

    @property
    def cost_held(self) -> Decimal:
        """The cost of what is still held, quote, signed like the holding."""
        if not self.amount:
            return ZERO
        if self.amount == self.quantity:
            return self.cost
        return divide(multiply(self.cost, self.amount), self.quantity)

    @property
    def realized(self) -> Decimal | None:
        """Quote, net of fees, not rounded for show; None where a cost that it rests on is not known."""
        return add(self.cash, self.cost_held) if self.is_known else None


FLAT = Holding()


def opened(amount: Decimal, price: Decimal | None) -> Holding:
    """What was held before the first fill: `amount` base at `price` (quote per base), None where no price is known."""
    if not amount:
        return FLAT
    if price is None:
        return Holding(amount, ZERO, amount, ZERO, None, is_known=False)
    cost = kept(multiply(amount, price))
    return Holding(amount, cost, amount, cost.copy_negate(), "mark")


def booked(holding: Holding, base: Decimal, cash: Decimal) -> Holding:
    """The holding after a trade.

    Args:
        holding: before it.
        base: what it added to the amount: bought less base fee; sold and base fee with a minus.
        cash: what it added to the quote currency: proceeds less quote fee; paid and quote fee with a minus.

    Returns:
        The holding after it. Costs are rounded to 40 places, half-even, where the holding was increased or opened. A
        trade through zero closes, then opens, its cash divided by quantity.
    """
    amount = holding.amount
    after = add(amount, base)
    all_cash = add(holding.cash, cash)
    if not amount:
        if not base:
            return Holding(ZERO, holding.cost, holding.quantity, all_cash, holding.cost_from, holding.is_known)
        return Holding(after, kept(cash.copy_negate()), after, all_cash, "fills", holding.is_known)
    if base and (base > 0) == (amount > 0):
        cost = kept(subtract(holding.cost_held, cash))
        return Holding(after, cost, after, all_cash, holding.cost_from, holding.is_known)
    if not after or (after > 0) == (amount > 0):
        return Holding(after, holding.cost, holding.quantity, all_cash, holding.cost_from, holding.is_known)
    closing = kept(divide(multiply(cash, amount), base.copy_negate()))
    cost = kept(subtract(closing, cash))
    return Holding(after, cost, after, all_cash, "fills", holding.is_known)


def spent(holding: Holding, base: Decimal, cash: Decimal | None) -> Holding:
    """The holding after some of it went for the fee of another trade (or came from a rebate).

    Only what is held is reduced: a fee beyond it was paid from what these books do not hold. Without a value (`cash`
    None) it goes at its average cost, which leaves the realised result as it was.

    Args:
        holding: before it.
        base: minus the fee, in the base currency of this holding.
        cash: what the fee was worth in the quote currency, or None.
    """
    if holding.amount <= 0:
        return holding
    if base.copy_negate() > holding.amount:
        part = holding.amount.copy_negate()
        cash = None if cash is None else kept(divide(multiply(cash, part), base))
        base = part
    if cash is None:
        cash = kept(divide(multiply(holding.cost, base.copy_negate()), holding.quantity))
    return booked(holding, base, cash)


def corrected_opening(holding: Holding, amount: Decimal, price: Decimal | None) -> Holding:
    """The holding after it turned out, too late to begin again, that `amount` more had been there from the start."""
    if price is not None:
        after = booked(holding, amount, multiply(amount, price).copy_negate())
    else:
        after = msgspec.structs.replace(booked(holding, amount, ZERO), is_known=False, cost_from=None)
    if price is not None and (not holding.amount or (after.amount > 0) != (holding.amount > 0)):
        return msgspec.structs.replace(after, cost_from="mark")
    return after
