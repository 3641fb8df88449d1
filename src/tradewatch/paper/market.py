"""The price of one market at every instant, and what stands there: candles become a path, the path becomes quotes.

Within its minute a candle runs from the open (0 s) to the nearer of low and high (20 s; the low when both are equally
near), to the other one (40 s), to the close (59.999 s); in the last millisecond the price moves on to the next open.
Between these vertices it is interpolated linearly and rounded down to a tick. The path is continuous, so the instant
at which it first reaches a level is well defined and is computed, not sampled.

All prices of a path are whole ticks; all times are epoch nanoseconds of simulated time.
"""

from __future__ import annotations

import msgspec

from tradewatch.paper.candles import MINUTE_NS, Candles, gapped
from tradewatch.paper.instrument import Instrument
from tradewatch.paper.units import ONE, show

MILLIONTHS = 1_000_000  # a factor of 1
VERTEX_NS = (0, 20_000_000_000, 40_000_000_000, 59_999_000_000)
LEVELS = 1_000  # a side of the book that orders can take


class Quote(msgspec.Struct, frozen=True):
    """Best prices at one instant, units of 10^-8 quote per base; `mid` is exactly (bid + ask) / 2.

    `size` is what stands at each of them and at every tick beyond, in units of 10^-8 base.
    """

    bid: int
    ask: int
    mid: int
    at_ns: int
    size: int


class Market:
    """An instrument, its path, spread and depth. Nothing here changes after construction but by `gap` and `thin`.

    Args:
        symbol: `BASE/QUOTE`.
        candles: the record that prices follow.
        spread_bp: distance of bid and ask in basis points of the mid; each side is rounded up to a tick.
        instrument: filters other than those that follow from the candles' decimals.
        depth: what stands at each level of the book, in units of 10^-8 base, cut to whole steps. None: more than any
            order can take, so that orders are filled whole and nobody queues.

    Raises:
        ValueError: a symbol without a slash, a negative spread or one of 200 % and more, a depth below a step.
    """

    def __init__(
        self,
        symbol: str,
        candles: Candles,
        spread_bp: float = 2.0,
        instrument: Instrument | None = None,
        depth: int | None = None,
    ) -> None:
        base, slash, quote = symbol.partition("/")
        if not (slash and base.isalnum() and quote.isalnum() and symbol.isupper()):
            raise ValueError(f"market {symbol!r}; accepted is BASE/QUOTE in capitals, such as BTC/USDT")
        if not 0 <= spread_bp < 20_000:
            raise ValueError(f"spread {spread_bp!r} bp; accepted is 0 or more, below 20000")
        self.instrument = instrument or _instrument(base, quote, candles)
        self.candles = candles
        self._half_spread = round(spread_bp * 1_000)  # thousandths of a basis point, both sides
        self._ticks = _vertices(candles, self.instrument.tick)
        self._depth = None if depth is None else self._in_steps(depth)
        self._thinned: list[tuple[int, int | None, int]] = []

    @property
    def end_ns(self) -> int:
        """The first instant after the record: from then on the market is closed and quotes stay at the last close."""
        return self.candles.end_ns

    def gap(self, from_ns: int, until_ns: int | None, factor: int) -> None:
        """Multiply the prices of the whole minutes from one instant until another (None: for good) by millionths.

        The step lies in the last millisecond before the first of these minutes.
        """
        self.candles = gapped(self.candles, from_ns, until_ns, factor, self.instrument.tick)
        self._ticks = _vertices(self.candles, self.instrument.tick)

    def thin(self, from_ns: int, until_ns: int | None, depth: int) -> None:
        """Leave so much (units of 10^-8 base, cut to whole steps) at each level from one instant until another.

        Raises:
            ValueError: below a step.
        """
        self._thinned.append((from_ns, until_ns, self._in_steps(depth)))

    @property
    def is_ample(self) -> bool:
        """Whether there is always more in the book than any order can take."""
        return self._depth is None and not self._thinned

    def depth(self, at_ns: int) -> int | None:
        """What stands at each level at an instant, in units of 10^-8 base; None: more than any order can take."""
        for from_ns, until_ns, depth in reversed(self._thinned):
            if from_ns <= at_ns and (until_ns is None or at_ns < until_ns):
                return depth
        return self._depth

    def quote(self, at_ns: int, factor: int = MILLIONTHS) -> Quote:
        """Bid, ask and mid at an instant; of a false tick with the mid multiplied by millionths."""
        mid = max(self._mid(at_ns) * factor // MILLIONTHS, 1)
        half, tick = self._half(mid), self.instrument.tick
        size = self.depth(at_ns) or self.instrument.max_quantity
        return Quote(max(mid - half, 1) * tick, (mid + half) * tick, mid * tick, at_ns, size)

    def reach(self, after_ns: int, until_ns: int) -> tuple[int, int]:
        """Lowest and highest mid, in ticks, over the instants in (after, until]."""
        first, last = self._segment(after_ns), self._segment(until_ns)
        prices = [self._mid(after_ns), *self._ticks[first + 1 : last + 1], self._mid(until_ns)]
        return min(prices), max(prices)

    def buy_level(self, price: int) -> int:
        """The highest mid, in ticks, at which the ask is at or below a limit price (in units, a whole tick)."""
        limit = price // self.instrument.tick
        level = limit - self._half(limit)
        while level + 1 + self._half(level + 1) <= limit:
            level += 1
        return level

    def sell_level(self, price: int) -> int:
        """The lowest mid, in ticks, at which the bid is at or above a limit price (in units, a whole tick)."""
        limit = price // self.instrument.tick
        level = limit + self._half(limit)
        while level - self._half(level) < limit:
            level += 1
        return level

    def falls_to(self, level: int, after_ns: int, until_ns: int) -> int | None:
        """The first instant in (after, until] at which the mid is at or below `level` ticks; None if there is none."""
        return self._crossing(level, -1, after_ns, until_ns)

    def rises_to(self, level: int, after_ns: int, until_ns: int) -> int | None:
        """The first instant in (after, until] at which the mid is at or above `level` ticks; None if there is none."""
        return self._crossing(level, 1, after_ns, until_ns)

    def vertex(self, index: int) -> tuple[int, int]:
        """Time and price (units) of a vertex; there are four a minute, from 0."""
        return self._vertex_ns(index), self._ticks[index] * self.instrument.tick

    def vertices_until(self, at_ns: int) -> int:
        """How many vertices lie at or before an instant."""
        return self._segment(at_ns) + 1

    def _crossing(self, level: int, direction: int, after_ns: int, until_ns: int) -> int | None:
        ticks = self._ticks
        segment = self._segment(after_ns)
        while True:
            start_ns = self._vertex_ns(segment)
            first_ns = max(start_ns, after_ns + 1)
            if first_ns > until_ns:
                return None
            if (self._mid(first_ns) - level) * direction >= 0:
                return first_ns
            if segment + 1 >= len(ticks):
                return None
            p0, p1 = ticks[segment], ticks[segment + 1]
            if (p1 - level) * direction >= 0:
                length_ns = self._vertex_ns(segment + 1) - start_ns
                # mid = p0 + floor((p1 - p0) * dt / length): the smallest dt that gets there.
                if direction > 0:
                    dt = -(-(level - p0) * length_ns // (p1 - p0))
                else:
                    dt = (p0 - level - 1) * length_ns // (p0 - p1) + 1
                at_ns = start_ns + dt
                return at_ns if at_ns <= until_ns else None
            segment += 1

    def _mid(self, at_ns: int) -> int:
        segment = self._segment(at_ns)
        ticks = self._ticks
        if segment + 1 >= len(ticks):
            return ticks[-1]
        start_ns = self._vertex_ns(segment)
        p0 = ticks[segment]
        return p0 + (ticks[segment + 1] - p0) * (at_ns - start_ns) // (self._vertex_ns(segment + 1) - start_ns)

    def _in_steps(self, depth: int) -> int:
        step = self.instrument.step
        if depth < step:
            raise ValueError(f"{self.instrument.symbol}: depth {show(depth)}; accepted is {show(step)} and more")
        return depth // step * step

    def _half(self, mid: int) -> int:
        return -(-mid * self._half_spread // 20_000_000)

    def _segment(self, at_ns: int) -> int:
        minute, offset = divmod(at_ns - self.candles.start_ns, MINUTE_NS)
        if minute < 0:
            raise ValueError(f"{self.instrument.symbol}: {at_ns} is before the first candle")
        index = 4 * minute + (offset >= VERTEX_NS[1]) + (offset >= VERTEX_NS[2]) + (offset >= VERTEX_NS[3])
        return min(index, len(self._ticks) - 1)

    def _vertex_ns(self, index: int) -> int:
        return self.candles.start_ns + index // 4 * MINUTE_NS + VERTEX_NS[index % 4]


def _instrument(base: str, quote: str, candles: Candles) -> Instrument:
    places = max(candles.price_places, 2)
    return Instrument(base, quote, tick=ONE // 10**places, step=10 ** max(places, 3))


def _vertices(candles: Candles, tick: int) -> list[int]:
    ticks: list[int] = []
    rows = zip(candles.open, candles.high, candles.low, candles.close, strict=True)
    for opened, high, low, close in rows:
        turns = (low, high) if opened - low <= high - opened else (high, low)
        ticks += (max(price // tick, 1) for price in (opened, *turns, close))
    return ticks
