"""Rules, what they read, and the states that they are in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Protocol

import msgspec

Action = Literal["notify", "halt"]
AlertState = Literal["pending", "firing"]
RuleState = Literal["inactive", "pending", "firing", "warming", "no_data", "failed"]
# (labels sorted by name, '__name__' among them; value)
Sample = tuple[tuple[tuple[str, str], ...], float]


class Rule(msgspec.Struct, frozen=True):
    """An alerting rule as the file has it. `for_s` in seconds, `line` where it stands in `file`."""

    name: str
    expr: str
    for_s: float
    labels: tuple[tuple[str, str], ...]
    annotations: tuple[tuple[str, str], ...]
    action: Action
    group: str
    file: str
    line: int


class Evidence(msgspec.Struct, frozen=True):
    """A number that a decision was made from: the expression or series it is of, and its value then."""

    what: str
    value: float
    at_ns: int


class Alert(msgspec.Struct, frozen=True):
    """One element of a rule's result that is pending or firing."""

    rule: str
    labels: tuple[tuple[str, str], ...]
    annotations: tuple[tuple[str, str], ...]
    state: AlertState
    value: float
    active_since_ns: int


class Acted(msgspec.Struct, frozen=True):
    """An alert that its rule's action was taken for, and whose condition has not been false since.

    `labels` are sorted by name, without those that all series of a process have alike; a rule with another expression
    is another rule.
    """

    rule: str
    expr: str
    labels: tuple[tuple[str, str], ...]


class Readings(Protocol):
    """The current values that rules read."""

    def samples(self, names: frozenset[str]) -> Iterable[Sample]:
        """The current samples of the metrics named (Prometheus spelling)."""
        ...
