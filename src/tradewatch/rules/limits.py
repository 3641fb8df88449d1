"""The limits that rules compare with, as samples of `tradewatch_limit{limit="..."}`.

A limit is data, not text in a rule: it can be changed without touching a rule file, it is seen on a dashboard beside
what it limits, and the same rule file is right for bots with different limits.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal

import msgspec

from tradewatch.model import Sample
from tradewatch.promql.ast import VectorSelector, walk
from tradewatch.promql.matchers import Matcher, matches_all

if TYPE_CHECKING:
    from tradewatch.rules.files import Group

METRIC = "tradewatch_limit"
_LARGEST = sys.float_info.max

Unit = Literal["ratio", "seconds", "orders"]


class Limit(msgspec.Struct, frozen=True):
    """A limit: its default, its unit (a ratio is 0 to 1) and what it limits."""

    name: str
    default: float
    unit: Unit
    meaning: str


LIMITS: tuple[Limit, ...] = (
    Limit("daily_loss", 0.03, "ratio", "loss since the start of the UTC day, of the equity then"),
    Limit("drawdown", 0.10, "ratio", "how far equity may be below its peak"),
    Limit("error_rate", 0.05, "ratio", "exchange calls that venue, network or key make fail, of all in 5 minutes"),
    Limit("rejected_orders", 5.0, "orders", "orders that a venue rejects in 10 minutes"),
    Limit("slow_calls", 0.01, "ratio", "exchange calls that take more than 5 seconds, of all in 5 minutes"),
    Limit("rate_limit", 0.80, "ratio", "request weight used, of what the venue allows"),
    Limit("overhead", 0.05, "ratio", "CPU that tradewatch itself uses, of one core"),
)
_BY_NAME = {limit.name: limit for limit in LIMITS}


def limit_values(overrides: Mapping[str, object] | None = None) -> dict[str, float]:
    """Every limit by name: the defaults, with those replaced that `overrides` names.

    Raises:
        ValueError: a name that is no limit, or a value that is none: not a finite number above 0, or a ratio above 1.
    """
    values = {limit.name: limit.default for limit in LIMITS}
    for name, value in (overrides or {}).items():
        limit = _BY_NAME.get(name)
        if limit is None:
            from difflib import get_close_matches

            near = get_close_matches(name, _BY_NAME, n=1, cutoff=0.5)
            meant = f" (nearest: {near[0]})" if near else ""
            raise ValueError(f"unknown limit {name!r}{meant}; accepted: {', '.join(_BY_NAME)}")
        accepted = "a ratio above 0, at most 1" if limit.unit == "ratio" else f"a number of {limit.unit} above 0"
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"limit {name}: {value!r}; accepted: {accepted}")
        if not 0 < value <= (1 if limit.unit == "ratio" else _LARGEST):
            hint = f" (for {value:g} per cent write {value / 100:g})" if 1 < value <= 100 else ""
            raise ValueError(f"limit {name}: {value!r}; accepted: {accepted}{hint}")
        values[name] = float(value)
    return values


def limit_samples(values: Mapping[str, float]) -> tuple[Sample, ...]:
    """The limits as samples, without job and instance."""
    return tuple(((("__name__", METRIC), ("limit", name)), value) for name, value in sorted(values.items()))


def read_limits(names: Iterable[str], groups: Iterable[Group]) -> frozenset[str]:
    """Those of the limits that a rule reads."""
    selectors = [
        node
        for group in groups
        for rule in group.rules
        for node, _ in walk(rule.expr)
        if isinstance(node, VectorSelector)
    ]
    return frozenset(
        name
        for name in names
        if any(matches_all(_readable(one.matchers), (("__name__", METRIC), ("limit", name))) for one in selectors)
    )


def _readable(matchers: tuple[Matcher, ...]) -> tuple[Matcher, ...]:
    """What can be told before there are series: job and instance are not known yet."""
    return tuple(one for one in matchers if one.name in ("__name__", "limit"))
