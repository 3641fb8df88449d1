"""Quotes of a market that come faster than they are marked: which of them decide."""

from __future__ import annotations

from collections.abc import Sequence

from tradewatch.model import Quote
from tradewatch.portfolio.market import market_of

# Less than `prices.FAR`, by more than what a float is off.
_NEAR = 0.045


class Burst:
    """Quotes of one market that came one after the other, the first of which is marked already."""

    __slots__ = ("_before", "_first", "_is_calm", "_others", "_second")

    def __init__(self, first: Quote) -> None:
        self._first = first
        self._others: list[Quote] = []
        self._before = self._second = _middle(first)
        self._is_calm = market_of(first.market) is not None

    def add(self, quote: Quote) -> None:
        """The next one."""
        middle = _middle(quote)
        if not self._others:
            self._second = middle
            self._is_calm = self._is_calm and quote.at_ns != self._first.at_ns
        self._is_calm = self._is_calm and _are_near(self._before, middle)
        self._before = middle
        self._others.append(quote)

    def decisive(self) -> Sequence[Quote]:
        """Those that are to be marked, so that the same price counts and waits at the end as if all were.

        Where each is near the one before and the last near the second, that are the second and the last: whatever the
        first was, and whatever waited for it, the second then counts and nothing waits. Else all.
        """
        others = self._others
        if len(others) > 2 and self._is_calm and _are_near(self._second, self._before):
            return others[0], others[-1]
        return others


def _middle(quote: Quote) -> float | None:
    """Of a book that is beyond all doubt one, else None."""
    bid, ask = quote.bid, quote.ask
    if type(bid) is type(ask) is float and 1e-9 < bid <= ask < 1e12 and ask - bid < 0.1 * bid:
        return float(bid + ask) / 2
    return None


def _are_near(price: float | None, other: float | None) -> bool:
    """Whether prices are so near each other that, read exactly, neither can be `FAR` from the other."""
    return price is not None and other is not None and abs(price - other) < _NEAR * min(price, other)
