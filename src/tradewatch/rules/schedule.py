"""When each group is evaluated, on which grid each metric is collected, and what is known of each rule."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tradewatch.model import Alert, Rule, RuleState
from tradewatch.promql import Labels, longest_range_s
from tradewatch.rules.files import AlertingRule, Group

ACTING_INTERVAL_S = 1.0
INTERVAL_S = 10.0
LOOKBACK_S = 300.0


class RuleStatus(msgspec.Struct, frozen=True):
    """A rule after its last evaluation.

    `value` is that of its first alert, None where it has none; `evaluated_ns` is None before the first evaluation,
    `duration_s` how long the last one took in real seconds, `error` why it failed.
    """

    rule: Rule
    state: RuleState
    alerts: tuple[Alert, ...]
    value: float | None
    evaluated_ns: int | None
    duration_s: float
    error: str | None


class Running:
    """A rule with its alerts, and which of them were told of, by their labels without those that all series have."""

    def __init__(self, rule: AlertingRule, limit: int) -> None:
        self.rule = rule
        self.limit = limit
        self.alerts: dict[Labels, Alert] = {}
        self.told: set[Labels] = set()
        self.status = RuleStatus(rule.rule, "warming", (), None, None, 0.0, None)

    def carry_on(self, before: Running) -> None:
        """Take over the alerts of the same rule, and what was told of them."""
        self.alerts, self.told = before.alerts, before.told
        self.status = msgspec.structs.replace(before.status, rule=self.rule.rule)


class Scheduled:
    """A group with its interval and the last point of its grid that was evaluated."""

    def __init__(self, group: Group) -> None:
        self.interval_ns = round((group.interval_s or (ACTING_INTERVAL_S if group.acts else INTERVAL_S)) * 1e9)
        self.rules = [Running(rule, group.limit) for rule in group.rules]
        self.acts = group.acts
        self.reads = group.reads
        self.last_point: int | None = None

    def is_due(self, now_ns: int) -> bool:
        """Whether a point of the grid has come since the last evaluation."""
        return self.last_point is None or now_ns // self.interval_ns > self.last_point


class Plan:
    """Groups in the order of evaluation, and the grid, by its interval, that each metric is collected on."""

    def __init__(self, groups: Sequence[Group]) -> None:
        # Acting groups first: what can stop a loss does not wait for what can only tell of it.
        self.groups = sorted(map(Scheduled, groups), key=lambda group: not group.acts)
        # A metric is collected on the finest grid that reads it.
        self.grid: dict[str, int] = {}
        for group in self.groups:
            for name in group.reads:
                self.grid[name] = min(self.grid.get(name, group.interval_ns), group.interval_ns)
        self.rules = [rule for group in self.groups for rule in group.rules]
        self.acting = [rule for rule in self.rules if rule.rule.rule.action != "notify"]
        self.acting_reads = frozenset[str]().union(*(rule.rule.reads for rule in self.acting))
        self.retention_s = max((longest_range_s(rule.rule.expr) for rule in self.rules), default=0.0) + LOOKBACK_S

    def follow(self, before: Plan, at_ns: int) -> None:
        """Go on where another plan ended: with its grids, and the alerts of each rule that is the same as before.

        A rule is the same wherever it stands in its file. What has no grid yet begins with the next point of it.
        """
        points = {group.interval_ns: group.last_point for group in before.groups}
        for group in self.groups:
            group.last_point = points.get(group.interval_ns, at_ns // group.interval_ns)
        known: dict[Rule, list[Running]] = {}
        for running in before.rules:
            known.setdefault(_anywhere(running.rule.rule), []).append(running)
        for running in self.rules:
            if same := known.get(_anywhere(running.rule.rule)):
                running.carry_on(same.pop(0))


def _anywhere(rule: Rule) -> Rule:
    return msgspec.structs.replace(rule, file="", line=0)
