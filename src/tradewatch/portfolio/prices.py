"""The last price of each market, and rates between currencies made of them."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from tradewatch.model import Clock, Mark
from tradewatch.portfolio.arithmetic import ONE, divide, is_bookable, multiply, subtract
from tradewatch.portfolio.market import market_of

_LARGEST_POWER_OF_INVERSE = 30
# A fresh price that another one leaves by more than this needs a second one to say so: a single false tick would halt.
FAR = Decimal("0.05")


class Price(msgspec.Struct, frozen=True, gc=False):
    """A market's last price, quote per base: of `at_ns`, `age_ns` old when it was seen at `seen_mono_ns`."""

    price: Decimal
    at_ns: int
    age_ns: int
    seen_mono_ns: int


class Rate(msgspec.Struct, frozen=True, gc=False):
    """How many of one currency are one of another; `age_ns` and `at_ns` are those of the older of its legs.

    `is_doubted` where a price far from it was seen once since.
    """

    value: Decimal
    age_ns: int
    at_ns: int
    is_stale: bool
    is_doubted: bool = False


class Prices:
    """The last mark of every market.

    An age is counted on the monotonic clock from the moment a mark was seen, and begins with how old it was then: a
    step of the wall clock makes no price look fresh or stale.

    Args:
        clock: where ages are read from.
        max_age_s: a price older than this is stale. Seconds.
    """

    def __init__(self, clock: Clock, max_age_s: float = 60.0) -> None:
        self.max_age_s = max_age_s
        self.refused = 0
        self.version = 0
        self._clock = clock
        self._max_age_ns = int(max_age_s * 1_000_000_000)
        self._last: dict[str, Price] = {}
        # The latest price of a market where it is far from the one before.
        self._doubtful: dict[str, Mark] = {}
        self._first: dict[str, Decimal] = {}
        # Currency pairs of spot markets alone: a contract's price is not what its base sells for.
        self._pairs: dict[tuple[str, str], str] = {}
        self._partners: dict[str, set[str]] = {}

    def mark(self, mark: Mark) -> bool:
        """Take a mark in; False where nothing that can be read changed.

        Prices that are not above zero, not finite, or of no BASE/QUOTE market are refused and counted in `refused`.
        Marks count in the order in which they come: a wall clock that is set back must not freeze a price. One that is
        `FAR` from a price that is not stale counts once a second one is near it.
        """
        market = market_of(mark.market)
        if market is None or not _is_price(mark.price):
            self.refused += 1
            return False
        last = self._last.get(mark.market)
        mono_ns = self._clock.mono_ns()
        age_ns = max(self._clock.now_ns() - mark.at_ns, 0)
        if last is not None and self._waits(mark, last, mono_ns):
            self.version += 1
            return True
        self._last[mark.market] = Price(mark.price, mark.at_ns, age_ns, mono_ns)
        if last is None:
            self._first.setdefault(mark.market, mark.price)
            if market.settle is None:
                self._pairs[(market.base, market.quote)] = mark.market
                self._partners.setdefault(market.base, set()).add(market.quote)
                self._partners.setdefault(market.quote, set()).add(market.base)
        if last is None or last.price != mark.price:
            self.version += 1
            return True
        return self._age_ns(last, mono_ns) > self._max_age_ns >= age_ns

    def _waits(self, mark: Mark, last: Price, mono_ns: int) -> bool:
        """Whether a mark waits for a second one."""
        before = self._doubtful.pop(mark.market, None)
        if self._age_ns(last, mono_ns) > self._max_age_ns or not _is_far(mark.price, last.price):
            return False
        if before is not None and not _is_far(mark.price, before.price):
            if (mark.at_ns, mark.price) != (before.at_ns, before.price):
                return False
            mark = before
        self._doubtful[mark.market] = mark
        return True

    def restore(self, first: Mark) -> None:
        """The first price that an earlier run saw of a market. It costs what was held then; it values nothing now."""
        if _is_price(first.price):
            self._first.setdefault(first.market, first.price)

    def last(self, market: str) -> Rate | None:
        """The market's last price, quote per base."""
        price = self._last.get(market)
        return None if price is None else self._rate(market, price.price, price, self._clock.mono_ns())

    def first(self, market: str) -> Decimal | None:
        """The first price ever seen of the market, quote per base."""
        return self._first.get(market)

    def rate(self, currency: str, quote: str) -> Rate | None:
        """What one `currency` is in `quote`; None where no price, and no two prices together, say it.

        The market itself, then its inverse, then through one other currency: the first that is not stale, and where all
        are, the least old.
        """
        if currency == quote:
            return Rate(ONE, 0, self._clock.now_ns(), is_stale=False)
        mono_ns = self._clock.mono_ns()
        best = self._leg(currency, quote, mono_ns)
        if best is not None and not best.is_stale:
            return best
        for middle in sorted(self._partners.get(currency, set()) & self._partners.get(quote, set())):
            there, back = self._leg(currency, middle, mono_ns), self._leg(middle, quote, mono_ns)
            if there is None or back is None:
                continue
            age_ns = max(there.age_ns, back.age_ns)
            if best is None or age_ns < best.age_ns:
                at_ns = min(there.at_ns, back.at_ns)
                value = multiply(there.value, back.value)
                best = Rate(value, age_ns, at_ns, age_ns > self._max_age_ns, there.is_doubted or back.is_doubted)
        return best

    def _leg(self, currency: str, quote: str, mono_ns: int) -> Rate | None:
        straight: Rate | None = None
        if (symbol := self._pairs.get((currency, quote))) is not None:
            price = self._last[symbol]
            straight = self._rate(symbol, price.price, price, mono_ns)
            if not straight.is_stale:
                return straight
        if (symbol := self._pairs.get((quote, currency))) is not None:
            price = self._last[symbol]
            inverse = self._rate(symbol, divide(ONE, price.price), price, mono_ns)
            if straight is None or inverse.age_ns < straight.age_ns:
                return inverse
        return straight

    def _rate(self, market: str, value: Decimal, price: Price, mono_ns: int) -> Rate:
        age_ns = self._age_ns(price, mono_ns)
        return Rate(value, age_ns, price.at_ns, age_ns > self._max_age_ns, market in self._doubtful)

    @staticmethod
    def _age_ns(price: Price, mono_ns: int) -> int:
        return price.age_ns + mono_ns - price.seen_mono_ns


def _is_far(price: Decimal, other: Decimal) -> bool:
    return subtract(price, other).copy_abs() > multiply(FAR, other)


def _is_price(price: Decimal) -> bool:
    # The bound below keeps inverses, and so the worth of a fee, within what `arithmetic` can add exactly.
    return is_bookable(price) and price > 0 and price.adjusted() >= -_LARGEST_POWER_OF_INVERSE
