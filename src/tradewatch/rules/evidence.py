"""The numbers that made an alert fire: the value of its expression, and of everything that the expression reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tradewatch.model import Alert, Evidence
from tradewatch.promql import EvaluationError, Labels, SeriesStore, evaluate
from tradewatch.promql.ast import Call, Expr, MatrixSelector, Subquery, VectorSelector, children
from tradewatch.promql.labels import quote
from tradewatch.rules.files import AlertingRule

# An alert over many series would be explained by numbers that nobody reads.
MOST_OF_A_SELECTOR = 8
MOST = 32


def collect(
    rule: AlertingRule,
    alert: Alert,
    store: SeriesStore,
    at_ns: int,
    *,
    overlay: Mapping[Labels, float] | None = None,
    hidden: frozenset[str] = frozenset(),
) -> tuple[Evidence, ...]:
    """The expression's value first, then each series that it reads for these labels, ranges by the function over them.

    `hidden` are labels that all series have alike, such as job and instance. At most 8 series of a selector are given,
    and 32 numbers in all.
    """
    found = [Evidence(" ".join(rule.rule.expr.split()), alert.value, at_ns)]
    added = {name for name, _ in rule.labels} | {"alertname"}
    own = {name: value for name, value in alert.labels if name not in added}
    for part in _readings(rule.expr):
        try:
            result = evaluate(part, store, at_ns // 1_000_000, overlay)
        except EvaluationError:
            continue
        if not isinstance(result, list):
            continue
        text = None if isinstance(part, VectorSelector) else _text(rule, part)
        alike = [(labels, value) for labels, value in result if _agree(labels, own)]
        for labels, value in alike[:MOST_OF_A_SELECTOR]:
            found.append(Evidence(_series(text, labels, hidden), value, at_ns))
    unique = {item.what: item for item in found}
    return tuple(unique.values())[:MOST]


def _readings(expr: Expr) -> Iterator[Expr]:
    """Selectors, and for ranges the function that is over them."""
    over_range = isinstance(expr, Call) and any(isinstance(arg, (MatrixSelector, Subquery)) for arg in expr.args)
    if over_range or isinstance(expr, VectorSelector):
        yield expr
    else:
        for child in children(expr):
            yield from _readings(child)


def _agree(labels: Labels, own: Mapping[str, str]) -> bool:
    return all(own.get(name, value) == value for name, value in labels if name != "__name__")


def _text(rule: AlertingRule, part: Expr) -> str:
    return " ".join(rule.rule.expr[part.span.start : part.span.end].split())


def _series(text: str | None, labels: Labels, hidden: frozenset[str]) -> str:
    name = dict(labels).get("__name__", "") if text is None else text
    shown = ", ".join(f"{k}={quote(v)}" for k, v in labels if k != "__name__" and k not in hidden)
    space = " " if text is not None and shown else ""
    return f"{name}{space}{{{shown}}}" if shown else name
