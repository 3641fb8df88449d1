"""A portfolio snapshot as metric readings. What is unknown has none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal

from tradewatch.portfolio.arithmetic import ZERO, add
from tradewatch.portfolio.readings import PortfolioSnapshot, Total
from tradewatch.semconv import Metric, Reading
from tradewatch.semconv import attributes as a
from tradewatch.semconv import metrics as m


def readings(now: PortfolioSnapshot) -> Iterator[Reading]:
    """Equity, profit and loss, positions, fills and fees; accounts of one currency are added up."""
    equity = now.equity
    yield Reading(m.STALE, 1.0 if equity.value is None or equity.stale else 0.0)
    if equity.value is not None and equity.currency is not None:
        yield _money(m.EQUITY, equity.value, equity.currency)
    if now.day_start is not None and now.daily_pnl is not None:
        yield _money(m.DAY_START, now.day_start.measure, now.day_start.currency)
        yield _money(m.PNL_DAILY, now.daily_pnl, now.day_start.currency)
    if now.drawdown_ratio is not None:
        yield Reading(m.DRAWDOWN, float(now.drawdown_ratio))
    yield from _summed(m.PNL_REALIZED, now.realized)
    yield from _summed(m.PNL_UNREALIZED, now.unrealized)
    yield from _summed(m.FEES, now.fees)
    held: dict[str, Decimal] = {}
    for position in now.positions:
        held[position.symbol] = add(held.get(position.symbol, ZERO), position.amount)
    for symbol, amount in held.items():
        yield Reading(m.POSITIONS, float(amount), ((a.SYMBOL.name, symbol),))
    fills: dict[tuple[str, str], int] = {}
    for count in now.counts:
        fills[count.side, count.symbol] = fills.get((count.side, count.symbol), 0) + count.fills
    for (side, symbol), n in fills.items():
        yield Reading(m.FILLS, n, ((a.ORDER_SIDE.name, side), (a.SYMBOL.name, symbol)))


def _money(metric: Metric, amount: Decimal, currency: str) -> Reading:
    return Reading(metric, float(amount), ((a.CURRENCY.name, currency),))


def _summed(metric: Metric, totals: Iterable[Total]) -> Iterator[Reading]:
    sums: dict[str, Decimal | None] = {}
    for total in totals:
        before = sums.get(total.currency, ZERO)
        sums[total.currency] = None if before is None or total.amount is None else add(before, total.amount)
    for currency, amount in sums.items():
        if amount is not None:
            yield _money(metric, amount, currency)
