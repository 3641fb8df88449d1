"""Equity over time: against the start of the UTC day, and against its peak."""

from __future__ import annotations

import datetime
from decimal import Decimal

from tradewatch.model import Equity
from tradewatch.portfolio.arithmetic import divide, shown, subtract
from tradewatch.portfolio.readings import DayStart, Peak

_DAY_NS = 86_400 * 1_000_000_000
_EPOCH_ORDINAL = datetime.date(1970, 1, 1).toordinal()


def utc_day(at_ns: int) -> datetime.date:
    """The UTC day of an epoch time."""
    return datetime.date.fromordinal(_EPOCH_ORDINAL + at_ns // _DAY_NS)


def day_start_over_midnight(start: DayStart | None, last: Equity | None, equity: Equity) -> DayStart | None:
    """The start of the day of `equity` by `last`, the last equity before it, where that is of the day before.

    What is lost over midnight between two readings belongs to a day. Neither may miss a price. Otherwise `start`.
    """
    if last is None or last.value is None or last.currency is None:
        return start
    today = utc_day(equity.at_ns)
    if _is_of(start, today, equity) or (today - utc_day(last.at_ns)).days != 1:
        return start
    return DayStart(today, last.value, last.currency, last.value)


def day_start_after(start: DayStart | None, equity: Equity) -> DayStart | None:
    """The day's start, now that this equity is known.

    Where none is of the day, this one: where the venue's balances differ from the books, the books still say what was
    won and lost, and a day without a start would have no limit. A clock that steps back over midnight by less than a
    day does not bring yesterday back.
    """
    if equity.value is None or equity.currency is None or not equity.is_priced:
        return start
    today = utc_day(equity.at_ns)
    return start if _is_of(start, today, equity) else DayStart(today, equity.value, equity.currency, equity.value)


def _is_of(start: DayStart | None, today: datetime.date, equity: Equity) -> bool:
    return start is not None and start.currency == equity.currency and 0 <= (start.day - today).days <= 1


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
    """1 - equity / the day's measure; None where either is unknown or the measure is not above 0."""
    if start is None or equity.value is None or daily_pnl(start, equity) is None or start.measure <= 0:
        return None
    return shown(divide(subtract(start.measure, equity.value), start.measure))


def drawdown_ratio(peak: Peak | None, equity: Equity) -> Decimal | None:
    """1 - equity / peak; None where either is unknown or the peak is not above 0."""
    if peak is None or equity.value is None or peak.currency != equity.currency or peak.equity <= 0:
        return None
    return shown(divide(subtract(peak.equity, equity.value), peak.equity))
