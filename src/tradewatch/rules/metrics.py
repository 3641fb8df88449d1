"""Rules and limits as metric readings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from tradewatch.model import RuleState
from tradewatch.rules.schedule import RuleStatus
from tradewatch.semconv import Reading
from tradewatch.semconv import attributes as a
from tradewatch.semconv import metrics as m

# Of rules that share a name, one a severity, the state that matters most is shown.
_STATES: tuple[RuleState, ...] = ("inactive", "warming", "no_data", "failed", "pending", "firing")


def readings(rules: Sequence[RuleStatus], limits: Mapping[str, float]) -> Iterator[Reading]:
    """Alerts firing by rule, each rule's state, and the limits."""
    for name, value in limits.items():
        yield _limit(name, value)
    firing: dict[str, int] = {}
    states: dict[str, RuleState] = {}
    for rule in rules:
        name = rule.rule.name
        firing[name] = firing.get(name, 0) + sum(alert.state == "firing" for alert in rule.alerts)
        states[name] = max(states.get(name, rule.state), rule.state, key=_STATES.index)
    for name, n in firing.items():
        yield Reading(m.ALERTS, n, ((a.ALERT.name, name),))
    for name, state in states.items():
        yield from _states(name, state)


@lru_cache(maxsize=1024)
def _limit(name: str, value: float) -> Reading:
    return Reading(m.TW_LIMIT, value, ((a.LIMIT.name, name),))


@lru_cache(maxsize=4096)
def _states(name: str, current: RuleState) -> tuple[Reading, ...]:
    """One series a state: they are the same objects every time, since they are published often and seldom change."""
    return tuple(
        Reading(m.RULE_STATES, 1.0 if state == current else 0.0, ((a.ALERT.name, name), (a.RULE_STATE.name, state)))
        for state in _STATES
    )
