"""Functions of instant vectors and numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime

from tradewatch.promql.aggregate import Vector
from tradewatch.promql.arithmetic import divide, maximum, minimum
from tradewatch.promql.ast import Expr, MatrixSelector, VectorSelector
from tradewatch.promql.labels import NAME, Labels


def _whole(rounding: Callable[[float], int]) -> Callable[[float], float]:
    """A rounding of finite numbers, which keeps the sign of zero as Go's do."""
    return lambda value: math.copysign(float(rounding(value)), value) if math.isfinite(value) else value


_floor = _whole(math.floor)


def _sign(value: float) -> float:
    return 1.0 if value > 0 else -1.0 if value < 0 else value


def round_to(value: float, nearest: float) -> float:
    """To the nearest multiple, halves up."""
    inverse = divide(1.0, nearest)
    return divide(_floor(value * inverse + 0.5), inverse)


def clamp(vector: Vector, low: float, high: float) -> Vector:
    """Values within two limits; nothing at all if the limits are the wrong way round."""
    if high < low:
        return []
    return [(labels, maximum(low, minimum(high, value))) for labels, value in vector]


def only_value(vector: Vector) -> float:
    """The value of a vector of one element, otherwise NaN."""
    return vector[0][1] if len(vector) == 1 else math.nan


# Value by value, the name dropped; all of them are exact, so they do not depend on the platform.
VALUE_FUNCTIONS: dict[str, Callable[[float], float]] = {
    "abs": abs,
    "ceil": _whole(math.ceil),
    "floor": _floor,
    "sgn": _sign,
    "sqrt": lambda value: math.sqrt(value) if value >= 0 else math.nan,
}

# Of a time in seconds since the epoch, in UTC.
CALENDAR_FUNCTIONS: dict[str, Callable[[datetime], int]] = {
    "day_of_month": lambda at: at.day,
    "day_of_week": lambda at: at.isoweekday() % 7,
    "day_of_year": lambda at: at.timetuple().tm_yday,
    "hour": lambda at: at.hour,
    "minute": lambda at: at.minute,
    "month": lambda at: at.month,
    "year": lambda at: at.year,
}

_LAST_YEAR_S = 253_402_300_799


def calendar(name: str, seconds: float) -> float:
    """A part of the date and time; NaN where Go's depends on the platform: of NaN, before year 1, after 9999."""
    if not -62_135_596_800 <= seconds <= _LAST_YEAR_S:
        return math.nan
    return float(CALENDAR_FUNCTIONS[name](datetime.fromtimestamp(int(seconds), UTC)))


def labels_of_absent(expr: Expr) -> Labels:
    """The labels that `absent` gives to what is missing: those that its selector fixes, each by one `=` alone."""
    if isinstance(expr, MatrixSelector):
        expr = expr.selector
    if not isinstance(expr, VectorSelector):
        return ()
    fixed: dict[str, str] = {}
    seen: set[str] = set()
    for matcher in expr.matchers:
        if matcher.name == NAME:
            continue
        if matcher.op == "=" and matcher.name not in seen:
            fixed[matcher.name] = matcher.value
            seen.add(matcher.name)
        else:
            fixed.pop(matcher.name, None)
    return tuple(sorted((name, value) for name, value in fixed.items() if value))
