"""The currencies in a market's name."""

from __future__ import annotations

from functools import lru_cache

import msgspec


class Market(msgspec.Struct, frozen=True):
    """A unified symbol taken apart: BASE/QUOTE, or BASE/QUOTE:SETTLE (with -EXPIRY and more) for a contract."""

    symbol: str
    base: str
    quote: str
    settle: str | None

    @property
    def currencies(self) -> tuple[str, ...]:
        """Base, quote, and what a contract settles in where it is another."""
        if self.settle is None or self.settle in (self.base, self.quote):
            return (self.base, self.quote)
        return (self.base, self.quote, self.settle)


@lru_cache(maxsize=10_000)
def market_of(symbol: str) -> Market | None:
    """The market that a unified symbol names; None where it is not of the form BASE/QUOTE or BASE/QUOTE:SETTLE."""
    pair, colon, contract = symbol.partition(":")
    base, slash, quote = pair.partition("/")
    settle = contract.partition("-")[0]
    if not slash or not base or not quote or "/" in quote or (colon and not settle):
        return None
    return Market(symbol, base, quote, settle or None)
