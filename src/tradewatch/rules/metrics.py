"""Rules and limits as metric readings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import get_args

from tradewatch.model import RuleState
from tradewatch.rules.engine import RuleStatus
from tradewatch.semconv import Reading
from tradewatch.semconv import attributes as a
from tradewatch.semconv import metrics as m


def readings(rules: Sequence[RuleStatus], limits: Mapping[str, float]) -> Iterator[Reading]:
    """Alerts firing by rule, each rule's state, and the limits."""
    for name, value in limits.items():
        yield Reading(m.TW_LIMIT, value, ((a.LIMIT.name, name),))
    firing: dict[str, int] = {}
    states: dict[tuple[str, str], float] = {}
    for rule in rules:
        name = rule.rule.name
        firing[name] = firing.get(name, 0) + sum(alert.state == "firing" for alert in rule.alerts)
        for state in get_args(RuleState):
            # Several rules may share a name, one a severity.
            states[name, state] = max(states.get((name, state), 0.0), 1.0 if rule.state == state else 0.0)
    for name, n in firing.items():
        yield Reading(m.ALERTS, n, ((a.ALERT.name, name),))
    for (name, state), value in states.items():
        yield Reading(m.RULE_STATES, value, ((a.ALERT.name, name), (a.RULE_STATE.name, state)))
