"""What the evaluator has and what an expression reads: asked once, when a rule is loaded.

Refused are subqueries, `@`, `atan2`, the histogram operators, selectors without a fixed metric name, a range as the
result, and all functions and aggregations that are not in the tables of the evaluator: those of histograms, quantiles,
regression, label rewriting, sorting, `topk` and the like. What is evaluated differs from Prometheus in two things:
powers with a fraction in the exponent may differ in the last bits, and so may a range that is not whole milliseconds.
"""

from __future__ import annotations

from tradewatch.promql.aggregate import AGGREGATIONS
from tradewatch.promql.arithmetic import ARITHMETIC, COMPARISON
from tradewatch.promql.ast import (
    Aggregate,
    Binary,
    Call,
    Expr,
    MatrixSelector,
    Subquery,
    VectorSelector,
    walk,
)
from tradewatch.promql.errors import Unsupported
from tradewatch.promql.labels import quote
from tradewatch.promql.matchers import selected_name
from tradewatch.promql.range_functions import EXTRAPOLATED, RANGE_FUNCTIONS
from tradewatch.promql.regexp import compile_regexp
from tradewatch.promql.regexp_syntax import RegexpUnsupported
from tradewatch.promql.storage import LOOKBACK_S
from tradewatch.promql.typing_rules import SET_OPERATORS, type_of
from tradewatch.promql.vector_functions import CALENDAR_FUNCTIONS, VALUE_FUNCTIONS

FUNCTIONS = (
    frozenset(RANGE_FUNCTIONS)
    | frozenset(EXTRAPOLATED)
    | frozenset(VALUE_FUNCTIONS)
    | frozenset(CALENDAR_FUNCTIONS)
    | frozenset({"absent", "absent_over_time", "time", "vector", "scalar", "round", "clamp", "clamp_min", "clamp_max"})
)
OPERATORS = frozenset(ARITHMETIC) | frozenset(COMPARISON) | SET_OPERATORS


def check(expr: Expr, text: str = "") -> None:
    """Refuse what the evaluator does not have.

    Args:
        expr: an expression as `parse` gives it.
        text: what it was read from, for line and column of the refusal.

    Raises:
        Unsupported: the first such part, by its name and place.
    """
    if type_of(expr) == "range vector":
        raise Unsupported("range vector", "a range vector is not a value by itself", expr.span, text)
    for node, _ in walk(expr):
        refusal = _refusal(node)
        if refusal is not None:
            name, message = refusal
            raise Unsupported(name, message, node.span, text)


def _refusal(node: Expr) -> tuple[str, str] | None:
    match node:
        case Subquery():
            return "subquery", "subqueries are not supported"
        case Call() if node.name not in FUNCTIONS:
            return node.name, f"function {node.name}() is not supported"
        case Aggregate() if node.op not in AGGREGATIONS:
            return node.op, f"aggregation {node.op} is not supported"
        case Binary() if node.op not in OPERATORS:
            return node.op, f"operator {node.op} is not supported"
        case VectorSelector():
            return _refused_selector(node)
        case _:
            return None


def _refused_selector(selector: VectorSelector) -> tuple[str, str] | None:
    if selector.at_ms is not None or selector.at_bound:
        return "@", "the @ modifier is not supported"
    if not selected_name(selector.matchers):
        return "selector without a name", 'a selector needs a metric name, outside the braces or as {__name__="..."}'
    for matcher in selector.matchers:
        if matcher.op in {"=~", "!~"} and matcher.regexp is None:
            try:
                compile_regexp(matcher.value)
            except RegexpUnsupported as problem:
                return "regular expression", f"regular expression {quote(matcher.value)} is not supported: {problem}"
    return None


def metric_names(expr: Expr) -> frozenset[str]:
    """The metric names that an expression selects, those inside `absent()` too."""
    names = {selected_name(node.matchers) for node, _ in walk(expr) if isinstance(node, VectorSelector)}
    return frozenset(names - {""})


def longest_range_s(expr: Expr) -> float:
    """How many seconds of samples the expression needs: its longest range or lookback, with the offset added."""
    longest = LOOKBACK_S
    for node, _ in walk(expr):
        if isinstance(node, MatrixSelector):
            longest = max(longest, (node.range_ns + node.selector.offset_ns) / 1e9)
        elif isinstance(node, VectorSelector):
            longest = max(longest, LOOKBACK_S + node.offset_ns / 1e9)
    return longest
