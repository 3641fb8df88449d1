"""What the market shows of its past: prints of the tape and candles of any interval, up to an instant."""

from __future__ import annotations

import msgspec

from tradewatch.paper.candles import MINUTE_NS
from tradewatch.paper.market import Market
from tradewatch.paper.units import ONE


class Print(msgspec.Struct, frozen=True):
    """One trade of the recorded market; `sell` says that the taker sold. Own trades are not on the tape.

    The taker sold where the price is below the print before; at the same price buyers and sellers take turns.
    """

    trade_id: int
    price: int
    quantity: int
    at_ns: int
    sell: bool


class Bar(msgspec.Struct, frozen=True):
    """A candle: prices in 10^-8 quote per base, volume in 10^-8 base, quote volume in 10^-8 quote."""

    start_ns: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    quote_volume: int
    prints: int


def tape(
    market: Market, until_ns: int, limit: int, start_ns: int | None = None, from_id: int | None = None
) -> list[Print]:
    """The prints until an instant: the last `limit` ones, or the first ones from `start_ns` or `from_id` on.

    A minute with volume has four prints, at the vertices of its path, a quarter of the volume each.
    """
    if until_ns < market.candles.start_ns:
        return []
    end = market.vertices_until(until_ns)
    if start_ns is None and from_id is None:
        last: list[Print] = []
        for index in range(end - 1, -1, -1):
            if len(last) == limit:
                break
            if market.candles.volume[index // 4]:
                last.append(_print(market, index))
        return last[::-1]
    first = max((from_id or 1) - 1, 0)
    if start_ns is not None and start_ns > market.candles.start_ns:
        first = max(first, market.vertices_until(start_ns - 1))
    found: list[Print] = []
    for index in range(first, end):
        if len(found) == limit:
            break
        if market.candles.volume[index // 4]:
            found.append(_print(market, index))
    return found


def bars(market: Market, first_ns: int, last_ns: int, now_ns: int, *, minutes: int, limit: int) -> list[Bar]:
    """Candles of `minutes` whose start lies in [first, last], oldest first, at most `limit`.

    `first_ns` is a multiple of the interval since the epoch. The candle that `now_ns` lies in shows what has been.
    """
    found: list[Bar] = []
    length_ns = minutes * MINUTE_NS
    start_ns = first_ns
    if start_ns < market.candles.start_ns:
        start_ns = market.candles.start_ns // length_ns * length_ns
    while start_ns <= min(last_ns, now_ns, market.end_ns - 1) and len(found) < limit:
        found.append(bar(market, start_ns, start_ns + length_ns, now_ns))
        start_ns += length_ns
    return found


def bar(market: Market, start_ns: int, end_ns: int, now_ns: int) -> Bar:
    """One candle over the recorded minutes in [start, end), as far as `now_ns`; at least one minute lies in it."""
    candles = market.candles
    first = max((start_ns - candles.start_ns) // MINUTE_NS, 0)
    finished = min((now_ns + 1_000_000 - candles.start_ns) // MINUTE_NS, len(candles))
    last = min((end_ns - candles.start_ns) // MINUTE_NS, finished)
    volume, quote_volume, prints = 0, 0, 0
    highs, lows = list(candles.high[first:last]), list(candles.low[first:last])
    opened = candles.open[first]
    close = candles.close[last - 1] if last > first else opened
    for index in range(first, last):
        size = candles.volume[index]
        volume += size
        quote_volume += size * (candles.high[index] + candles.low[index] + candles.close[index]) // (3 * ONE)
        prints += 4 if size else 0
    unfinished = candles.start_ns + last * MINUTE_NS
    if last == finished < len(candles) and unfinished < end_ns and unfinished <= now_ns:
        passed = [_print(market, index) for index in range(last * 4, market.vertices_until(now_ns))]
        close = market.quote(now_ns).mid
        highs.append(max(close, *(print_.price for print_ in passed)))
        lows.append(min(close, *(print_.price for print_ in passed)))
        volume += sum(print_.quantity for print_ in passed)
        quote_volume += sum(print_.price * print_.quantity // ONE for print_ in passed)
        prints += len(passed) if candles.volume[last] else 0
    return Bar(start_ns, opened, max(highs), min(lows), close, volume, quote_volume, prints)


def _print(market: Market, index: int) -> Print:
    at_ns, price = market.vertex(index)
    volume = market.candles.volume[index // 4]
    quarter = volume // 4
    quantity = volume - 3 * quarter if index % 4 == 3 else quarter
    before = market.vertex(index - 1)[1] if index else price
    sell = price < before or (price == before and index % 2 == 1)
    return Print(index + 1, price, quantity, at_ns, sell)
