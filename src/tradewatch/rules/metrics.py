"""Rules and limits as metric readings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from tradewatch.model import RuleState
from tradewatch.rules.schedule import RuleStatus
from tradewatch.semconv import Reading
from tradewatch.semconv import attributes as a
from tradewatch.semconv import metrics as m

# Of rules that share a name, one a severity, the state that matters most is shown.
_STATES: tuple[RuleState, ...] = ("inactive", "warming", "no_data", "failed", "pending", "firing")


def readings(rules: Sequence[RuleStatus], limits: Mapping[str, float]) -> tuple[Reading, ...]:
    """Alerts firing by rule, each rule's state, and the limits."""
    firing: dict[str, int] = {}
    states: dict[str, RuleState] = {}
    for rule in rules:
        name, state = rule.rule.name, rule.state
        n = sum([alert.state == "firing" for alert in rule.alerts]) if rule.alerts else 0
        firing[name] = firing.get(name, 0) + n
        states[name] = max(states[name], state, key=_STATES.index) if name in states else state
    return _told(tuple(limits.items()), tuple(firing.items()), tuple(states.items()))


@lru_cache(maxsize=4)
def _told(
    limits: tuple[tuple[str, float], ...],
    firing: tuple[tuple[str, int], ...],
    states: tuple[tuple[str, RuleState], ...],
) -> tuple[Reading, ...]:
    """They are the same objects every time, since they are published every second and seldom change."""
    return (
        *(Reading(m.TW_LIMIT, value, ((a.LIMIT.name, name),)) for name, value in limits),
        *(Reading(m.ALERTS, n, ((a.ALERT.name, name),)) for name, n in firing),
        *(
            Reading(m.RULE_STATES, 1.0 if each == state else 0.0, ((a.ALERT.name, name), (a.RULE_STATE.name, each)))
            for name, state in states
            for each in _STATES
        ),
    )
