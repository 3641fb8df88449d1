"""An instant query: the value of an expression now, over what rules read and what every other metric is at present."""

from __future__ import annotations

import msgspec

from tradewatch.promql import Expr, check, evaluate, metric_names, parse
from tradewatch.promql.ast import MatrixSelector, VectorSelector, walk
from tradewatch.promql.matchers import selected_name
from tradewatch.rules.collection import Collection
from tradewatch.runtime.safety import Stretch


class Element(msgspec.Struct, frozen=True):
    """One series of a result, `labels` without its name where an operator took that away."""

    labels: dict[str, str]
    value: float


class QueryResult(msgspec.Struct, frozen=True):
    """What an expression is at `at_ms` (epoch): a number, a text, or elements, of which there may be none.

    `notes` say what of the expression has no series, or no history.
    """

    at_ms: int
    value: float | str | None
    elements: tuple[Element, ...]
    notes: tuple[str, ...]


def read(text: str) -> Expr:
    """The expression of a text, as `query` takes it.

    Raises:
        ParseError: it is none, or the evaluator does not have a part of it; says where.
    """
    expr = parse(text)
    check(expr, text)
    return expr


def query(expr: Expr, collection: Collection, at_ms: int) -> QueryResult:
    """The value of an expression. On the safety thread alone, whose series these are.

    Raises:
        EvaluationError: the samples make it meaningless, as in many-to-many matching.
    """
    names = metric_names(expr)
    current = collection.current(names, Stretch().step)
    value = evaluate(expr, collection.store, at_ms, current)
    live = {dict(labels)["__name__"] for labels in current} | {n for n in names if collection.store.has_name(n)}
    kept = collection.kept
    notes = [f"{name}: no series" for name in sorted(names - live)]
    notes += [f"{name}: no rule reads it, so only its current value is kept" for name in sorted(_past(expr) - kept)]
    if isinstance(value, float | str):
        return QueryResult(at_ms, value, (), tuple(notes))
    return QueryResult(at_ms, None, tuple(Element(dict(labels), number) for labels, number in value), tuple(notes))


def _past(expr: Expr) -> frozenset[str]:
    """The metrics whose earlier samples an expression wants."""
    nodes = [node for node, _ in walk(expr)]
    ranges = {selected_name(node.selector.matchers) for node in nodes if isinstance(node, MatrixSelector)}
    shifted = {selected_name(node.matchers) for node in nodes if isinstance(node, VectorSelector) and node.offset_ns}
    return frozenset(ranges | shifted)
