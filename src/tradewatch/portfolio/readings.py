"""What a portfolio says of itself: frozen values that any thread may read."""

from __future__ import annotations

import datetime
from decimal import Decimal

import msgspec

from tradewatch.model import Equity, Money
from tradewatch.portfolio.average_cost import CostFrom
from tradewatch.portfolio.ledger import Correction, Unvalued


class PositionReading(msgspec.Struct, frozen=True):
    """A holding and what it brought, all rounded to 18 places but `amount` and `quantity`; None where unknown.

    `amount` is signed base. `cost` (quote) and `quantity` (base) are those of the last increase and never negative;
    `average` and `price` (the last mark) are quote per base. `realized` and `unrealized` are quote, net of fees.
    `cost_from` is 'mark' where what was held before the first fill is costed at the first mark, None while there is
    none. `price_is_stale` where the mark behind `unrealized` is too old.
    """

    account: str
    symbol: str
    quote: str
    amount: Decimal
    cost: Decimal | None
    quantity: Decimal
    average: Decimal | None
    realized: Decimal | None
    unrealized: Decimal | None
    cost_from: CostFrom | None
    price: Decimal | None
    price_is_stale: bool


class Total(msgspec.Struct, frozen=True):
    """A sum over one account in one currency; None where a part of it is not known."""

    account: str
    currency: str
    amount: Decimal | None


class FillCount(msgspec.Struct, frozen=True):
    """How many fills one account had in one market on one side; provisional ones do not count."""

    account: str
    symbol: str
    side: str
    fills: int


class DayStart(msgspec.Struct, frozen=True):
    """What a UTC day began with: the last equity of the day before, else the day's first with no price missing or old.

    Money that came or went while nobody watched is in both figures: `equity` is shifted by its amount, so that equity
    less this is the day's result; `measure` is scaled by what it did to equity, so that 1 - equity / this is the day's
    loss as a share.
    """

    day: datetime.date
    equity: Decimal
    currency: str
    measure: Decimal


class Peak(msgspec.Struct, frozen=True):
    """The highest equity with no price missing or old, scaled by what flows did to equity: drawdown begins there."""

    equity: Decimal
    currency: str
    at_ns: int


class Counted(msgspec.Struct, frozen=True):
    """What one account is counted from: what it held before all fills, and what equity counts of it.

    Fills up to the venue time `cut_ns` are taken to be in the balances that `opening` was made of. `rates` has every
    currency that counts, with what one of it was worth in the reporting currency, or None.
    """

    account: str
    cut_ns: int
    opening: tuple[Money, ...]
    rates: tuple[tuple[str, Decimal | None], ...]


class Watermarks(msgspec.Struct, frozen=True):
    """What loss is measured against, and the accounts that it was measured on: to be restored after a restart.

    `currency` is that of equity; `last` the last equity with no price missing or old.
    """

    day_start: DayStart | None
    peak: Peak | None
    counted: tuple[Counted, ...]
    currency: str | None
    last: Equity | None


class PortfolioSnapshot(msgspec.Struct, frozen=True):
    """Everything that rules, metrics and people read of a portfolio, at one moment.

    Money is in the currency named beside it, rounded to 18 places, half-even. `daily_pnl` is in the reporting
    currency; `daily_loss_ratio` is the day's loss over what it began with (below zero when winning),
    `drawdown_ratio` the loss from the peak over the peak: 0.03 is 3 %. None means unknown. `unvalued` are
    balances that equity does not count; `unvalued_fees` are in no realised result. `corrections` are the latest,
    `corrections_total` all of them; `refused_fills` and `refused_marks` were no numbers to book.
    `flows` is money that came or went before the start, while nobody watched: neither profit nor loss.
    `incomplete` says in words why the figures may not be the whole truth; empty means that they are.
    """

    at_ns: int
    currency: str | None
    positions: tuple[PositionReading, ...]
    realized: tuple[Total, ...]
    unrealized: tuple[Total, ...]
    fees: tuple[Total, ...]
    equity: Equity
    unvalued: tuple[Total, ...]
    flows: tuple[Total, ...]
    day_start: DayStart | None
    peak: Peak | None
    daily_pnl: Decimal | None
    daily_loss_ratio: Decimal | None
    drawdown_ratio: Decimal | None
    unvalued_fees: tuple[Unvalued, ...]
    corrections: tuple[Correction, ...]
    corrections_total: int
    refused_fills: int
    refused_marks: int
    incomplete: tuple[str, ...]
    fills: int
    counts: tuple[FillCount, ...]
