"""The limits that rules compare with, as samples of `tradewatch_limit{limit="..."}`.

A limit is data, not text in a rule: it can be changed without touching a rule file, it is seen on a dashboard beside
what it limits, and the same rule file is right for bots with different limits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec

from tradewatch.model import Sample
from tradewatch.promql.ast import VectorSelector, walk
from tradewatch.promql.matchers import Matcher, matches_all
from tradewatch.settings.tree import fields

if TYPE_CHECKING:
    from tradewatch.rules.files import Group

METRIC = "tradewatch_limit"


class Limit(msgspec.Struct, frozen=True):
    """A limit: its default, its unit (a ratio is 0 to 1) and what it limits."""

    name: str
    default: float
    unit: str
    meaning: str


LIMITS: tuple[Limit, ...] = tuple(
    Limit(key.removeprefix("limits."), field.default, field.extra["unit"], field.meaning)
    for key, field in fields().items()
    if key.startswith("limits.")
)


def limit_values() -> dict[str, float]:
    """Every limit by name, as it is unless somebody sets it."""
    return {limit.name: limit.default for limit in LIMITS}


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
