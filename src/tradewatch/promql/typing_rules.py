"""Prometheus's type checks: which operands an operator, an aggregation or a function takes."""

from __future__ import annotations

import msgspec

from tradewatch.promql.ast import (
    Aggregate,
    Binary,
    Call,
    Expr,
    MatrixSelector,
    NumberLiteral,
    Paren,
    StringLiteral,
    Subquery,
    Unary,
    ValueType,
    VectorSelector,
)
from tradewatch.promql.errors import ParseError
from tradewatch.promql.labels import NAME, quote
from tradewatch.promql.signatures import SIGNATURES
from tradewatch.promql.span import Span

COMPARISONS = frozenset({"==", "!=", ">", "<", ">=", "<="})
SET_OPERATORS = frozenset({"and", "or", "unless"})
_PARAMETERS: dict[str, ValueType] = {
    "topk": "scalar",
    "bottomk": "scalar",
    "quantile": "scalar",
    "count_values": "string",
}


def type_of(expr: Expr) -> ValueType:
    """What an expression evaluates to."""
    match expr:
        case NumberLiteral():
            return "scalar"
        case StringLiteral():
            return "string"
        case MatrixSelector() | Subquery():
            return "range vector"
        case Paren() | Unary():
            return type_of(expr.expr)
        case Call():
            return SIGNATURES[expr.name].returns
        case Binary():
            scalars = type_of(expr.left) == "scalar" and type_of(expr.right) == "scalar"
            return "scalar" if scalars else "instant vector"
        case _:
            return "instant vector"


class TypeChecker:
    """Checks one expression, and settles what depends on types: whether and how a binary expression matches vectors."""

    def __init__(self, text: str) -> None:
        self._text = text

    def _error(self, span: Span, message: str) -> ParseError:
        return ParseError(message, span, self._text)

    def check(self, expr: Expr) -> Expr:
        """The expression with its matchings settled.

        Raises:
            ParseError: the first of its errors, in Prometheus's words.
        """
        match expr:
            case Aggregate():
                return self._aggregate(expr)
            case Binary():
                return self._binary(expr)
            case Call():
                return self._call(expr)
            case Paren():
                return msgspec.structs.replace(expr, expr=self.check(expr.expr))
            case Unary():
                inner = self.check(expr.expr)
                if type_of(inner) not in {"scalar", "instant vector"}:
                    raise self._error(
                        expr.span,
                        "unary expression only allowed on expressions of type scalar or instant vector, "
                        f'got "{type_of(inner)}"',
                    )
                return msgspec.structs.replace(expr, expr=inner)
            case Subquery():
                inner = self.check(expr.expr)
                if type_of(inner) != "instant vector":
                    got = {"range vector": "matrix"}.get(type_of(inner), type_of(inner))
                    raise self._error(expr.span, f"subquery is only allowed on instant vector, got {got} instead")
                return msgspec.structs.replace(expr, expr=inner)
            case MatrixSelector():
                self._selector(expr.selector)
            case VectorSelector():
                self._selector(expr)
        return expr

    def _expect(self, expr: Expr, want: ValueType, context: str) -> Expr:
        checked = self.check(expr)
        if type_of(checked) != want:
            raise self._error(expr.span, f"expected type {want} in {context}, got {type_of(checked)}")
        return checked

    def _aggregate(self, expr: Aggregate) -> Expr:
        inner = self._expect(expr.expr, "instant vector", "aggregation expression")
        param = expr.param
        if param is not None:
            param = self._expect(param, _PARAMETERS[expr.op], "aggregation parameter")
        return msgspec.structs.replace(expr, expr=inner, param=param)

    def _binary(self, expr: Binary) -> Expr:
        left, right = self.check(expr.left), self.check(expr.right)
        types = type_of(left), type_of(right)
        matching = expr.matching
        is_set = expr.op in SET_OPERATORS
        if expr.return_bool and expr.op not in COMPARISONS:
            raise self._error(self._operator(expr), "bool modifier can only be used on comparison operators")
        if expr.op in COMPARISONS and not expr.return_bool and types == ("scalar", "scalar"):
            raise self._error(self._operator(expr), "comparisons between scalars must use BOOL modifier")
        if matching and matching.on:
            for label in matching.labels:
                if label in matching.include:
                    message = f"label {quote(label)} must not occur in ON and GROUP clause at once"
                    raise self._error(self._operator(expr), message)
        for side, kind in zip((left, right), types, strict=True):
            if kind not in {"scalar", "instant vector"}:
                raise self._error(side.span, "binary expression must contain only scalar and instant vector types")
        if types != ("instant vector", "instant vector"):
            if matching and matching.labels:
                raise self._error(expr.span, "vector matching only allowed between instant vectors")
            if is_set:
                raise self._error(expr.span, f'set operator "{expr.op}" not allowed in binary scalar expression')
            matching = None
        elif matching and is_set:
            if matching.card != "one-to-one":
                raise self._error(expr.span, f'no grouping allowed for "{expr.op}" operation')
            matching = msgspec.structs.replace(matching, card="many-to-many")
        return msgspec.structs.replace(expr, left=left, right=right, matching=matching)

    def _operator(self, expr: Binary) -> Span:
        """The operator with its modifiers, without the white space around it."""
        start, end = expr.left.span.end, expr.right.span.start
        part = self._text[start:end]
        return Span(start + len(part) - len(part.lstrip(" \t\n\r")), end - len(part) + len(part.rstrip(" \t\n\r")) - 1)

    def _call(self, expr: Call) -> Expr:
        signature = SIGNATURES[expr.name]
        expected, given = len(signature.args), len(expr.args)
        call = f'argument(s) in call to "{expr.name}", got {given}'
        if not signature.variadic:
            if expected != given:
                raise self._error(expr.span, f"expected {expected} {call}")
        elif given < expected - 1:
            raise self._error(expr.span, f"expected at least {expected - 1} {call}")
        elif 0 < signature.variadic < given - (expected - 1):
            raise self._error(expr.span, f"expected at most {expected - 1 + signature.variadic} {call}")
        args = []
        for index, arg in enumerate(expr.args):
            want = signature.args[min(index, expected - 1)]
            args.append(self._expect(arg, want, f"call to function {quote(expr.name)}"))
        return msgspec.structs.replace(expr, args=tuple(args))

    def _selector(self, expr: VectorSelector) -> None:
        if expr.name:
            for matcher in expr.matchers[:-1]:
                if matcher.name == NAME:
                    twice = f"{quote(expr.name)} or {quote(matcher.value)}"
                    raise self._error(expr.span, f"metric name must not be set twice: {twice}")
            return
        # At least one condition must exclude something, so that a typo does not select everything.
        for matcher in expr.matchers:
            unknown = matcher.regexp is None and matcher.op in {"=~", "!~"}
            if unknown or not matcher.matches(""):
                return
        raise self._error(expr.span, "vector selector must contain at least one non-empty matcher")
