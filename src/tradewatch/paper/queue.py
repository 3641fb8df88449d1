"""Where resting orders stand and when their turn comes: pure functions over orders, prints and quotes.

Only in a market of limited depth; where depth is ample, an order is filled whole once the price has passed through it.

- An order that joins a level of the market stands behind all that is there (`Quote.size`); one at a better price than
  the market's best, or at a level that it has emptied itself, has nobody ahead.
- A print whose taker sold trades with the bids, best price first and who has stood there longest first within it:
  with own orders at the market's bid or above. What stood ahead trades first. Once the market's best price is worse
  than an order's, nobody is ahead of it. One print fills no more than its volume, all own orders together.
- An order is filled whole once the opposite best price reaches it: the price has gone through it. What is left of an
  order that took the book up to its limit waits until the opposite best price is a tick beyond what it met.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeVar

import msgspec

from tradewatch.paper.market import Market, Quote
from tradewatch.paper.orders import Side
from tradewatch.paper.tape import Print, tape


class Resting(Protocol):
    """An order in the book, of spot or of the perpetual."""

    @property
    def turn(self) -> int:
        """Who has stood at a price for longer has a smaller one."""

    @property
    def symbol(self) -> str:
        """The market's id."""

    @property
    def side(self) -> Side:
        """Which side of the book it is on."""

    @property
    def price(self) -> int:
        """Its limit, in units of 10^-8 quote per base."""

    @property
    def left(self) -> int:
        """What is not filled, in units of 10^-8 base."""

    @property
    def ahead(self) -> int:
        """As of `Place`."""


_Resting_co = TypeVar("_Resting_co", bound=Resting, covariant=True)


class Owner(Protocol[_Resting_co]):
    """An account, of spot or of the perpetual."""

    @property
    def open(self) -> Mapping[int, _Resting_co]:
        """Its orders in the book, by their ids."""


class Place(msgspec.Struct, frozen=True):
    """Where an order stands.

    Attributes:
        ahead: what must trade at its price before it, in units of 10^-8 base.
        through: the opposite best price at which it is filled whole, in units of 10^-8 quote per base.
    """

    ahead: int
    through: int


def place(side: Side, price: int, quote: Quote, tick: int, *, took: bool) -> Place:
    """The place of an order that rests from now on; `took` says that it has taken the book up to its limit first."""
    if took:
        return Place(0, quote.ask - tick if side == "BUY" else quote.bid + tick)
    joins = price <= quote.bid if side == "BUY" else price >= quote.ask
    return Place(quote.size if joins else 0, price)


def next_print(market: Market, after_ns: int, until_ns: int) -> Print | None:
    """The first print in (after, until] while the market's depth is limited."""
    while not market.is_ample and after_ns < until_ns:
        found = tape(market, until_ns, 1, start_ns=after_ns + 1)
        if not found:
            return None
        if market.depth(found[0].at_ns) is not None:
            return found[0]
        after_ns = found[0].at_ns
    return None


def turns(
    owners: Mapping[str, Owner[_Resting_co]], market: Market, printed: Print
) -> list[tuple[str, _Resting_co, int, int]]:
    """The orders that a print of a market comes to, in their turn.

    Returns:
        Of each its owner's name, the order, what stands ahead of it then, and what of it is filled.
    """
    instrument, quote = market.instrument, market.quote(printed.at_ns)
    side: Side = "BUY" if printed.sell else "SELL"
    best, sign = (quote.bid, -1) if printed.sell else (quote.ask, 1)
    reached = [
        (name, one)
        for name, owner in owners.items()
        for one in owner.open.values()
        if one.symbol == instrument.id and one.side == side and one.price * sign <= best * sign
    ]
    volume = printed.quantity // instrument.step * instrument.step
    found = []
    for name, one in sorted(reached, key=lambda each: (each[1].price * sign, each[1].turn)):
        ahead = min(one.ahead, quote.size) if one.price == best else 0
        traded = min(ahead, volume)
        filled = min(one.left, volume - traded)
        volume -= filled
        found.append((name, one, ahead - traded, filled))
    return found
