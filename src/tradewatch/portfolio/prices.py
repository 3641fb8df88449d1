"""The last price of each market, and rates between currencies made of them."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from tradewatch.model import Clock, Mark
from tradewatch.portfolio.arithmetic import ONE, divide, is_bookable, multiply, subtract
from tradewatch.portfolio.market import market_of

_LARGEST_POWER_OF_INVERSE = 30
# A price that another one leaves by more than this needs a second one to say so: a single false tick would halt.
FAR = Decimal("0.05")
# A price that is older is stale.
MAX_AGE_S = 60
_MAX_AGE_NS = MAX_AGE_S * 1_000_000_000
# A price of this age says nothing any more of what the next one should be.
_DOUBTS_FOR_NS = 600 * 1_000_000_000


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
    """

    def __init__(self, clock: Clock) -> None:
        self.refused = 0
        self.version = 0
        self._clock = clock
        self._last: dict[str, Price] = {}
        # The latest price of a market where it is far from the one before.
        self._doubtful: dict[str, Mark] = {}
        self._first: dict[str, Decimal] = {}
        # Of an earlier run: what the first price is measured against.
        self._restored: dict[str, Price] = {}
        # Currency pairs of spot markets alone: a contract's price is not what its base sells for.
        self._pairs: dict[tuple[str, str], str] = {}
        self._partners: dict[str, set[str]] = {}

    def mark(self, mark: Mark) -> bool:
        """Take a mark in; False where nothing that can be read changed.

        Prices that are not above zero, not finite, or of no BASE/QUOTE market are refused and counted in `refused`.
        Marks count in the order in which they come: a wall clock that is set back must not freeze a price. One that is
        `FAR` from one of the last ten minutes waits for a second one. Where that is near it, the second counts; where
        it is far too, on the same side, as in a crash, the nearer of the two counts.
        """
        market = market_of(mark.market)
        last = self._last.get(mark.market)
        is_known = last is not None and mark.price is last.price
        if market is None or not (is_known or _is_price(mark.price)):
            self.refused += 1
            return False
        mono_ns = self._clock.mono_ns()
        measure = last or self._restored.get(mark.market)
        before = self._doubtful.pop(mark.market, None)
        if measure is not None and self._age_ns(measure, mono_ns) < _DOUBTS_FOR_NS:
            counts, waits = confirmed(mark, before, measure.price)
            if waits is not None:
                self._doubtful[mark.market] = waits
            if counts is None:
                self.version += 1
                return True
            mark = counts
        age_ns = max(self._clock.now_ns() - mark.at_ns, 0)
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
        return self._age_ns(last, mono_ns) > _MAX_AGE_NS >= age_ns

    def restore(self, first: Mark) -> None:
        """The first price that an earlier run saw of a market. It costs what was held then; it values nothing now."""
        if _is_price(first.price):
            self._first.setdefault(first.market, first.price)

    def doubt_by(self, market: str, price: Decimal, at_ns: int) -> None:
        """Measure the market's first price against one that an earlier run knew; that values nothing itself."""
        if _is_price(price):
            age_ns = max(self._clock.now_ns() - at_ns, 0)
            self._restored[market] = Price(price, at_ns, age_ns, self._clock.mono_ns())

    def __contains__(self, market: str) -> bool:
        """Whether there is a price of this market."""
        return market in self._last

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
                best = Rate(value, age_ns, at_ns, age_ns > _MAX_AGE_NS, there.is_doubted or back.is_doubted)
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
        return Rate(value, age_ns, price.at_ns, age_ns > _MAX_AGE_NS, market in self._doubtful)

    @staticmethod
    def _age_ns(price: Price, mono_ns: int) -> int:
        return price.age_ns + mono_ns - price.seen_mono_ns


def confirmed(mark: Mark, before: Mark | None, measure: Decimal) -> tuple[Mark | None, Mark | None]:
    """Which price counts, and which one waits, now that `mark` came; None where none does.

    Args:
        mark: the latest.
        before: the one that waits for a second, as it is far from `measure`.
        measure: the last price that counted.
    """
    if mark.price == measure or not _is_far(mark.price, measure):
        return mark, None
    if before is None or (mark.at_ns, mark.price) == (before.at_ns, before.price):
        return None, mark
    if not _is_far(mark.price, before.price):
        return mark, None
    if (mark.price > measure) != (before.price > measure):
        return None, mark
    nearer, farther = sorted((mark, before), key=lambda each: subtract(each.price, measure).copy_abs())
    return nearer, farther if _is_far(farther.price, nearer.price) else None


def _is_far(price: Decimal, other: Decimal) -> bool:
    return subtract(price, other).copy_abs() > multiply(FAR, other)


def _is_price(price: Decimal) -> bool:
    # The bound below keeps inverses, and so the worth of a fee, within what `arithmetic` can add exactly.
    return is_bookable(price) and price > 0 and price.adjusted() >= -_LARGEST_POWER_OF_INVERSE
