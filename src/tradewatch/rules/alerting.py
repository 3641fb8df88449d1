"""The alert state machine: previous alerts, a result and a time give the new alerts. Pure, and Prometheus's own.

From `rules/alerting.go`: an element of the result is an alert, told apart by its labels after the rule's own are added.
It is pending from the first evaluation that has it, fires once it has been there for `for`, and is gone with the first
evaluation that has it no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import NamedTuple

from tradewatch.model import Alert, AlertState, RuleState
from tradewatch.promql import Labels
from tradewatch.rules.files import AlertingRule

DUPLICATE = "vector contains metrics with the same labelset after applying alert labels"


class Step(NamedTuple):
    """The alerts after an evaluation, by their labels, and what was wrong with it, if anything."""

    alerts: dict[Labels, Alert]
    error: str | None


def step(
    rule: AlertingRule,
    previous: Mapping[Labels, Alert],
    result: Iterable[tuple[Labels, float]],
    at_ns: int,
    *,
    external: Mapping[str, str] | None = None,
    limit: int = 0,
    resolves: bool = True,
) -> Step:
    """One evaluation of a rule.

    Two elements with the same labels, once the rule's labels are set, are an error that leaves the alerts as they
    were. More alerts than `limit` (0 for any number) are an error after which there are none. With `resolves=False`
    nothing ends: alerts that the result lacks stay as they are.
    """
    external = external or {}
    name = rule.rule.name
    found: dict[Labels, tuple[float, tuple[tuple[str, str], ...]]] = {}
    for metric, value in result:
        given = dict(metric)
        labels = {k: v for k, v in given.items() if k != "__name__"}
        for label, template in rule.labels:
            labels[label] = template.expand(value, given, external, name)
        labels["alertname"] = name
        # A label with an empty value is no label.
        key = tuple(sorted((k, v) for k, v in labels.items() if v))
        if key in found:
            return Step(dict(previous), DUPLICATE)
        found[key] = (value, tuple((k, t.expand(value, given, external, name)) for k, t in rule.annotations))
    alerts: dict[Labels, Alert] = {}
    if not resolves:
        alerts.update(previous)
    for_ns = round(rule.rule.for_s * 1e9)
    for key, (value, texts) in found.items():
        before = previous.get(key)
        # A point of the grid may lie before what was seen between two points: the alert was there by then.
        since_ns = at_ns if before is None else min(at_ns, before.active_since_ns)
        fires = at_ns - since_ns >= for_ns or (before is not None and before.state == "firing")
        state: AlertState = "firing" if fires else "pending"
        alerts[key] = Alert(name, key, texts, state, value, since_ns)
    if 0 < limit < len(alerts):
        return Step({}, f"exceeded limit of {limit} with {len(alerts)} alerts")
    return Step(alerts, None)


def rule_state(
    alerts: Iterable[Alert], *, failed: bool, empty: bool, needs: Set[str], live: Set[str], seen: Set[str]
) -> RuleState:
    """The state of a whole rule after an evaluation.

    `empty` says that the result had no element, `needs` are the metrics without which it cannot have any, `live` those
    that have a series now, `seen` those that ever had one. What cannot be known is never 'inactive'.
    """
    if failed:
        return "failed"
    states = {alert.state for alert in alerts}
    if states:
        return "firing" if "firing" in states else "pending"
    missing = needs - live if empty else frozenset()
    if missing:
        return "no_data" if missing <= seen else "warming"
    return "inactive"
