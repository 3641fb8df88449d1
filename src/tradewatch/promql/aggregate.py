"""Aggregations over an instant vector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from math import isnan
from typing import TypeAlias

from tradewatch.promql.arithmetic import kahan_sum, mean
from tradewatch.promql.labels import NAME, Labels, drop, keep

Vector: TypeAlias = list[tuple[Labels, float]]


def _sum(values: Sequence[float]) -> float:
    total, compensation = kahan_sum(values)
    return total + compensation


def largest(values: Sequence[float]) -> float:
    """The largest; NaN gives way to any other value, so it remains only where there is nothing else."""
    return reduce(_larger, values) if isnan(sum(values)) else max(values)


def smallest(values: Sequence[float]) -> float:
    """The smallest, with NaN as for the largest."""
    return reduce(_smaller, values) if isnan(sum(values)) else min(values)


def _larger(best: float, value: float) -> float:
    return value if best < value or isnan(best) else best


def _smaller(best: float, value: float) -> float:
    return value if best > value or isnan(best) else best


AGGREGATIONS: dict[str, Callable[[Sequence[float]], float]] = {
    "sum": _sum,
    "avg": mean,
    "count": lambda values: float(len(values)),
    "group": lambda values: 1.0,
    "max": largest,
    "min": smallest,
}


def aggregate(op: str, vector: Vector, grouping: tuple[str, ...], *, without: bool) -> Vector:
    """One element for each group, in the order in which the groups first appear."""
    names = frozenset((*grouping, NAME)) if without else frozenset(grouping)
    groups: dict[Labels, list[float]] = {}
    if not names:
        if vector:
            groups[()] = [value for _, value in vector]
    else:
        pick = drop if without else keep
        for labels, value in vector:
            groups.setdefault(pick(labels, names), []).append(value)
    combine = AGGREGATIONS[op]
    return [(labels, combine(values)) for labels, values in groups.items()]
