"""Money that came or went while nobody watched: told from trades, and taken out of what losses are measured against.

What the balances say beyond the books is judged by worth, once for each account. Trades that are heard of later
explain some of it: then it is judged again, and what was taken out follows. A flow shifts the day's start by its
amount, so that the day's result in money stays, and scales what ratios are measured against, so that those stay: a loss
of 8 % is one of 8 % also after half of the money has been withdrawn.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from decimal import Decimal

import msgspec

from tradewatch.portfolio.arithmetic import ZERO, add, divide, multiply, shown, subtract, total
from tradewatch.portfolio.readings import DayStart, Peak


class Judged(msgspec.Struct, frozen=True):
    """What the balances of one account said beyond the books, and what that was taken for.

    `flow` and `trade` are amounts by currency: one of them is empty. `rates` are those of the first judgement, in the
    reporting currency; `equity` is that of then, had nothing else come or gone at once. `day` and `peak_ns` tell the
    day's start and the peak that the flow was taken out of from later ones, which have it in.
    """

    flow: Mapping[str, Decimal]
    trade: Mapping[str, Decimal]
    rates: Mapping[str, Decimal]
    equity: Decimal
    day: datetime.date | None
    peak_ns: int | None

    @property
    def amounts(self) -> Mapping[str, Decimal]:
        """All that was judged, by currency."""
        return self.flow or self.trade

    @property
    def worth(self) -> Decimal:
        """What came less what went, in the reporting currency, by `rates`."""
        return worth(self.flow, self.rates)


UNJUDGED = Judged({}, {}, {}, ZERO, None, None)


def judged(
    was: Judged, amounts: Mapping[str, Decimal], rates: Mapping[str, Decimal], start: DayStart | None, peak: Peak | None
) -> Judged:
    """The judgement of these amounts, the first or another one; `start` and `peak` are those of the first."""
    trade = is_trade(amounts, rates)
    is_first = was is UNJUDGED
    return Judged(
        flow={} if trade else amounts,
        trade=amounts if trade else {},
        rates=rates,
        equity=was.equity,
        day=(None if start is None else start.day) if is_first else was.day,
        peak_ns=(None if peak is None else peak.at_ns) if is_first else was.peak_ns,
    )


def worth(amounts: Mapping[str, Decimal], rates: Mapping[str, Decimal]) -> Decimal:
    """The worth of amounts by currency; one without a rate is worth nothing."""
    return total(multiply(amount, rates.get(of, ZERO)) for of, amount in amounts.items())


def is_trade(amounts: Mapping[str, Decimal], rates: Mapping[str, Decimal]) -> bool:
    """Whether amounts by currency look like a trade: the lesser side is worth at least half of the greater.

    A grain of the other sign, a fee or an interest, makes no trade of a deposit; nor does a bid that filled while much
    more was withdrawn.
    """
    came = worth({of: amount for of, amount in amounts.items() if amount > 0}, rates)
    went = worth({of: amount.copy_negate() for of, amount in amounts.items() if amount < 0}, rates)
    return min(came, went) > 0 and add(min(came, went), min(came, went)) >= max(came, went)


def scaled(measure: Decimal, flow_was: Decimal, flow: Decimal, equity: Decimal) -> Decimal:
    """What ratios are measured against, once a flow turns out to be `flow` and not `flow_was`.

    The measure goes with equity after / equity before the flow. Where there was nothing above zero before (or is
    nothing after) there is no such ratio, and it begins anew with `equity`, which is that after.
    """
    before_was, before = subtract(equity, flow_was), subtract(equity, flow)
    if before_was <= 0 or before <= 0:
        return equity
    return shown(divide(multiply(measure, before_was), before))


def day_start_with(start: DayStart | None, flow_was: Decimal, flow: Decimal, equity: Decimal) -> DayStart | None:
    """The day's start, once a flow turns out to be `flow` (in its currency) and not `flow_was`."""
    if start is None:
        return None
    return msgspec.structs.replace(
        start,
        equity=shown(add(start.equity, subtract(flow, flow_was))),
        measure=scaled(start.measure, flow_was, flow, equity),
    )


def peak_with(peak: Peak | None, flow_was: Decimal, flow: Decimal, equity: Decimal) -> Peak | None:
    """The peak, once a flow turns out to be `flow` (in its currency) and not `flow_was`."""
    return None if peak is None else msgspec.structs.replace(peak, equity=scaled(peak.equity, flow_was, flow, equity))
