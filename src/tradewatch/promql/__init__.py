"""Prometheus's query language: a parser for all of it, an evaluator for what alerting rules of a bot need.

Samples go into a `SeriesStore`, a scrape at a time; `parse` reads an expression, `check` refuses at load what the
evaluator does not have, `evaluate` gives its value at a moment with the semantics of Prometheus 3, bit by bit.
"""

from tradewatch.promql.aggregate import Vector
from tradewatch.promql.ast import Expr
from tradewatch.promql.errors import EvaluationError, ParseError, Unsupported
from tradewatch.promql.evaluate import evaluate
from tradewatch.promql.labels import Labels
from tradewatch.promql.parser import parse
from tradewatch.promql.span import Span
from tradewatch.promql.storage import SeriesStore
from tradewatch.promql.support import check, longest_range_s, metric_names

__all__ = [
    "EvaluationError",
    "Expr",
    "Labels",
    "ParseError",
    "SeriesStore",
    "Span",
    "Unsupported",
    "Vector",
    "check",
    "evaluate",
    "longest_range_s",
    "metric_names",
    "parse",
]
