"""The value of an expression at one moment."""

from __future__ import annotations

from collections.abc import Mapping

from tradewatch.promql.aggregate import Vector, aggregate
from tradewatch.promql.arithmetic import ARITHMETIC, COMPARISON
from tradewatch.promql.ast import (
    Aggregate,
    Binary,
    Call,
    Expr,
    MatrixSelector,
    NumberLiteral,
    Paren,
    StringLiteral,
    Unary,
    VectorSelector,
)
from tradewatch.promql.errors import EvaluationError
from tradewatch.promql.labels import Labels, drop_metadata, value_of
from tradewatch.promql.matchers import matches_all, selected_name
from tradewatch.promql.range_functions import EXTRAPOLATED, KEEPS_NAME, RANGE_FUNCTIONS
from tradewatch.promql.selectors import read_increases, read_instant, read_windows
from tradewatch.promql.storage import SeriesStore
from tradewatch.promql.typing_rules import SET_OPERATORS
from tradewatch.promql.vector_functions import (
    CALENDAR_FUNCTIONS,
    VALUE_FUNCTIONS,
    calendar,
    clamp,
    labels_of_absent,
    only_value,
    round_to,
)
from tradewatch.promql.vector_matching import combine_sets, match_vectors, with_scalar


def evaluate(
    expr: Expr, store: SeriesStore, at_ms: int, overlay: Mapping[Labels, float] | None = None
) -> float | str | Vector:
    """The value of a checked expression at a time, as an instant query of Prometheus would give it.

    A selector's vector is sorted by labels; an aggregation keeps the order in which its groups appear.

    Args:
        expr: an expression that `check` let pass.
        store: where the samples are.
        at_ms: milliseconds since the epoch.
        overlay: current values, which instant selectors without an offset see in place of the newest stored sample of
            those series (or as new series). Ranges do not see them: a sample off the grid would change what is
            extrapolated.

    Raises:
        EvaluationError: the samples make it meaningless, as in many-to-many matching.
    """
    evaluation = _Evaluation(store, at_ms, overlay or {})
    expr = _bare(expr)
    if isinstance(expr, StringLiteral):
        return expr.value
    return evaluation.value(expr)


def _bare(expr: Expr) -> Expr:
    while isinstance(expr, Paren):
        expr = expr.expr
    return expr


class _Evaluation:
    def __init__(self, store: SeriesStore, at_ms: int, overlay: Mapping[Labels, float]) -> None:
        self._store = store
        self._at_ms = at_ms
        self._overlay = overlay
        self._overlay_by_name: dict[str, list[Labels]] | None = None

    def value(self, expr: Expr) -> float | Vector:
        match expr:
            case NumberLiteral():
                return expr.value
            case VectorSelector():
                return self._instant(expr)
            case Call():
                return self._call(expr)
            case Binary():
                return self._binary(expr)
            case Aggregate():
                return aggregate(expr.op, self._vector(expr.expr), expr.grouping, without=expr.without)
            case Paren():
                return self.value(expr.expr)
            case Unary():
                return self._unary(expr)
        raise EvaluationError(f"{type(expr).__name__} cannot be evaluated")

    def _vector(self, expr: Expr) -> Vector:
        value = self.value(expr)
        if isinstance(value, float):
            raise EvaluationError("a number where an instant vector is expected")
        return value

    def _number(self, expr: Expr) -> float:
        value = self.value(expr)
        if not isinstance(value, float):
            raise EvaluationError("an instant vector where a number is expected")
        return value

    # Operators

    def _unary(self, expr: Unary) -> float | Vector:
        value = self.value(expr.expr)
        if expr.op == "+":
            return value
        if isinstance(value, float):
            return -value
        return _distinct([(drop_metadata(labels), -element) for labels, element in value])

    def _binary(self, expr: Binary) -> float | Vector:
        left, right = self.value(expr.left), self.value(expr.right)
        op = expr.op
        if isinstance(left, float):
            if isinstance(right, float):
                return ARITHMETIC[op](left, right) if op in ARITHMETIC else float(COMPARISON[op](left, right))
            return _distinct(with_scalar(op, right, left, scalar_left=True, return_bool=expr.return_bool))
        if isinstance(right, float):
            return _distinct(with_scalar(op, left, right, scalar_left=False, return_bool=expr.return_bool))
        if expr.matching is None:
            raise EvaluationError("two vectors without a matching")
        if op in SET_OPERATORS:
            return _distinct(combine_sets(op, left, right, expr.matching))
        return _distinct(match_vectors(op, left, right, expr.matching, return_bool=expr.return_bool))

    # Selectors

    def _instant(self, selector: VectorSelector) -> Vector:
        name = selected_name(selector.matchers)
        overlaid = self._overlaid(selector, name) if self._overlay and not selector.offset_ns else {}
        return read_instant(self._store, selector, self._at_ms, overlaid)

    def _overlaid(self, selector: VectorSelector, name: str) -> dict[Labels, float]:
        if self._overlay_by_name is None:
            self._overlay_by_name = {}
            for labels in self._overlay:
                self._overlay_by_name.setdefault(value_of(labels, "__name__"), []).append(labels)
        candidates = self._overlay_by_name.get(name, ())
        return {labels: self._overlay[labels] for labels in candidates if matches_all(selector.matchers, labels)}

    # Functions

    def _call(self, expr: Call) -> float | Vector:
        name, args = expr.name, expr.args
        if name in RANGE_FUNCTIONS or name in EXTRAPOLATED or name == "absent_over_time":
            return self._range_call(name, _bare(args[0]))
        if name in VALUE_FUNCTIONS:
            function = VALUE_FUNCTIONS[name]
            return _distinct([(drop_metadata(labels), function(value)) for labels, value in self._vector(args[0])])
        if name in CALENDAR_FUNCTIONS:
            if not args:
                return [((), calendar(name, self._at_ms / 1000))]
            return _distinct([(drop_metadata(labels), calendar(name, at)) for labels, at in self._vector(args[0])])
        match name:
            case "absent":
                return [] if self._vector(args[0]) else [(labels_of_absent(_bare(args[0])), 1.0)]
            case "time":
                return self._at_ms / 1000
            case "vector":
                return [((), self._number(args[0]))]
            case "scalar":
                return only_value(self._vector(args[0]))
            case "round":
                nearest = self._number(args[1]) if len(args) > 1 else 1.0
                rounded = [(drop_metadata(labels), round_to(value, nearest)) for labels, value in self._vector(args[0])]
                return _distinct(rounded)
            case "clamp" | "clamp_min" | "clamp_max":
                low = float("-inf") if name == "clamp_max" else self._number(args[1])
                high = float("inf") if name == "clamp_min" else self._number(args[-1])
                clamped = clamp(self._vector(args[0]), low, high)
                return _distinct([(drop_metadata(labels), value) for labels, value in clamped])
        raise EvaluationError(f"function {name} cannot be evaluated")

    def _range_call(self, name: str, arg: Expr) -> Vector:
        if not isinstance(arg, MatrixSelector):
            raise EvaluationError(f"{type(arg).__name__} cannot be evaluated")
        if name in EXTRAPOLATED:
            counter, per_second = EXTRAPOLATED[name]
            vector, differ = read_increases(self._store, arg, self._at_ms, counter=counter, per_second=per_second)
            return vector if differ else _distinct(vector)
        windows = read_windows(self._store, arg, self._at_ms)
        if name == "absent_over_time":
            return [] if windows else [(labels_of_absent(arg), 1.0)]
        function = RANGE_FUNCTIONS[name]
        if name in KEEPS_NAME:
            return [(labels, function(window)) for labels, window in windows]
        return _distinct([(drop_metadata(labels), function(window)) for labels, window in windows])


def _distinct(vector: Vector) -> Vector:
    """The vector, if no two of its elements have the same labels."""
    if len(vector) > 1 and len({labels for labels, _ in vector}) != len(vector):
        raise EvaluationError("vector cannot contain metrics with the same labelset")
    return vector
