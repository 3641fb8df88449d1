"""Equity over time: against the start of the UTC day, and against its peak."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from decimal import Decimal

import msgspec

from tradewatch.model import Equity
from tradewatch.portfolio.arithmetic import add, divide, shown, subtract
from tradewatch.portfolio.readings import DayStart, Peak

_DAY_NS = 86_400 * 1_000_000_000
_EPOCH_ORDINAL = datetime.date(1970, 1, 1).toordinal()


def utc_day(at_ns: int) -> datetime.date:
    """The UTC day of an epoch time."""
    return datetime.date.fromordinal(_EPOCH_ORDINAL + at_ns // _DAY_NS)


def day_start_after(start: DayStart | None, equity: Equity, last: Equity | None = None) -> DayStart | None:
    """The day's start, now that this equity is known.

    `last` is the last equity before this one of which no price was missing or old. Where that was yesterday's, it sets
    the start: what is lost over midnight between two readings belongs to a day. Else the first such equity of the day
    does: where the venue's balances differ from the books, the books still say what was won and lost, and a day without
    a start would have no limit. A clock that steps back over midnight by less than a day does not bring yesterday back.
    """
    if equity.value is None or equity.currency is None or not equity.is_priced:
        return start
    today = utc_day(equity.at_ns)
    if start is not None and start.currency == equity.currency and 0 <= (start.day - today).days <= 1:
        return start
    was_yesterday = last is not None and (today - utc_day(last.at_ns)).days == 1
    if last is not None and last.value is not None and last.currency == equity.currency and was_yesterday:
        return DayStart(today, last.value, equity.currency)
    return DayStart(today, equity.value, equity.currency)


def is_flow(differences: Iterable[Decimal]) -> bool:
    """Whether what balances differ by is money moved in or out: all of it more, or all of it less.

    A trade that was not seen gives one currency and takes another.
    """
    signs = {difference > 0 for difference in differences if difference}
    return len(signs) == 1


def start_with(start: DayStart | None, flow: Decimal) -> DayStart | None:
    """The day's start as if this flow (in its currency, below zero where money left) had been there already."""
    return None if start is None else msgspec.structs.replace(start, equity=shown(add(start.equity, flow)))


def equity_with(equity: Equity | None, flow: Decimal) -> Equity | None:
    """An equity as if this flow had been there already."""
    if equity is None or equity.value is None:
        return equity
    return msgspec.structs.replace(equity, value=shown(add(equity.value, flow)))


def peak_with(peak: Peak | None, flow: Decimal) -> Peak | None:
    """The peak as if this flow had been there already."""
    return None if peak is None else msgspec.structs.replace(peak, equity=shown(add(peak.equity, flow)))


def peak_after(peak: Peak | None, equity: Equity) -> Peak | None:
    """The peak, now that this equity is known; one with a price missing or old does not move it."""
    if equity.value is None or equity.currency is None or not equity.is_priced:
        return peak
    if peak is not None and peak.currency == equity.currency and peak.equity >= equity.value:
        return peak
    return Peak(equity.value, equity.currency, equity.at_ns)


def daily_pnl(start: DayStart | None, equity: Equity) -> Decimal | None:
    """Equity less that at the start of its UTC day, in its currency; None where either is unknown."""
    if start is None or equity.value is None or start.currency != equity.currency:
        return None
    if start.day < utc_day(equity.at_ns):
        return None
    return shown(subtract(equity.value, start.equity))


def daily_loss_ratio(start: DayStart | None, equity: Equity) -> Decimal | None:
    """-daily P&L / equity at the day's start; None where unknown or the start is not above 0."""
    pnl = daily_pnl(start, equity)
    if pnl is None or start is None or start.equity <= 0:
        return None
    return shown(divide(pnl.copy_negate(), start.equity))


def drawdown_ratio(peak: Peak | None, equity: Equity) -> Decimal | None:
    """1 - equity / peak; None where either is unknown or the peak is not above 0."""
    if peak is None or equity.value is None or peak.currency != equity.currency or peak.equity <= 0:
        return None
    return shown(divide(subtract(peak.equity, equity.value), peak.equity))
