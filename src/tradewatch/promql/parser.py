"""Tokens to a tree: the whole PromQL grammar of Prometheus 3, without what it calls experimental.

Precedence climbing. Postfix modifiers (`[5m]`, `offset`, `@`) bind to what stands directly before them; a sign binds
like a multiplication, so `-a ^ b` is `-(a ^ b)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import msgspec

from tradewatch.promql.ast import (
    Aggregate,
    Binary,
    Call,
    Cardinality,
    Expr,
    MatrixSelector,
    NumberLiteral,
    Paren,
    StringLiteral,
    Subquery,
    Unary,
    VectorMatching,
    VectorSelector,
    walk,
)
from tradewatch.promql.errors import ParseError
from tradewatch.promql.labels import NAME, quote
from tradewatch.promql.lexer import AGGREGATORS, DURATION_WORDS, FILLS, KEYWORDS, Token
from tradewatch.promql.literals import unquote
from tradewatch.promql.matchers import Matcher
from tradewatch.promql.operands import Operands, to_ns
from tradewatch.promql.signatures import SIGNATURES
from tradewatch.promql.span import Span
from tradewatch.promql.typing_rules import TypeChecker

MAX_TEXT: Final = 64 * 1024
MAX_NESTING: Final = 100

_PRECEDENCE: Final = {
    "or": 1,
    **dict.fromkeys(("and", "unless"), 2),
    **dict.fromkeys(("==", "!=", ">", "<", ">=", "<=", "</", ">/"), 3),
    **dict.fromkeys("+-", 4),
    **dict.fromkeys(("*", "/", "%", "atan2"), 5),
    "^": 6,
}
_SIGN: Final = 5
_METRIC_WORDS: Final = KEYWORDS - {"bool", "group_left", "group_right", "ignoring", "on", "atan2"} | {
    "IDENTIFIER",
    "METRIC",
}
_CALLABLE: Final = DURATION_WORDS | {"IDENTIFIER", "start", "end"}
_EXPERIMENTAL_AGGREGATORS: Final = frozenset({"limitk", "limit_ratio"})
_WITH_PARAMETER: Final = frozenset({"topk", "bottomk", "count_values", "quantile"})


def parse(text: str) -> Expr:
    """Read an expression, and check its types as Prometheus does.

    Raises:
        ParseError: Prometheus would refuse it too, or it is longer than 64 KiB or nested deeper than 100 levels.
    """
    if len(text) > MAX_TEXT or len(text.encode(errors="surrogatepass")) > MAX_TEXT:
        raise ParseError(f"expression longer than {MAX_TEXT} bytes", Span(0, 0), text[:1])
    expr = _Parser(text).expression()
    for node, depth in walk(expr):
        if depth > MAX_NESTING:
            raise ParseError(f"expression nested deeper than {MAX_NESTING} levels", node.span, text)
    return TypeChecker(text).check(expr)


class _Parser(Operands):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    # Tokens

    # Expressions

    def expression(self) -> Expr:
        if self.token.kind == "EOF":
            raise self.error("no expression found in input", Span(0, 0))
        expr = self._expr(0)
        if self.token.kind != "EOF":
            raise self.unexpected()
        return expr

    def _expr(self, least: int) -> Expr:
        self._depth += 1
        if self._depth > MAX_NESTING:
            raise self.error(f"expression nested deeper than {MAX_NESTING} levels", self.token.span)
        left = self._postfix(self._primary())
        links = 0
        while (precedence := _PRECEDENCE.get(self.token.kind, -1)) >= max(least, 0):
            # Each operator of a chain is one level deeper than the one before.
            links += 1
            if links >= MAX_NESTING:
                raise self.error(f"expression nested deeper than {MAX_NESTING} levels", self.token.span)
            op = self.advance().kind
            return_bool, matching = self._binary_modifiers()
            if self.token.kind in FILLS:
                raise self.error("binop fill modifiers are experimental and not enabled", left.span)
            # Only `^` groups from the right.
            right = self._expr(precedence if op == "^" else precedence + 1)
            left = Binary(op, left, right, matching, return_bool, Span(left.span.start, right.span.end))
        self._depth -= 1
        return left

    def _primary(self) -> Expr:
        token = self.token
        match token.kind:
            case "NUMBER" | "DURATION":
                self.advance()
                return self.number(token)
            case "STRING":
                self.advance()
                return StringLiteral(unquote(token.text), token.span)
            case "(":
                self.advance()
                inner = self._expr(0)
                if self.token.kind != ")":
                    raise self.unexpected()
                return Paren(inner, Span(token.start, self.advance().end))
            case "+" | "-":
                self.advance()
                return self._signed(token)
            case "{":
                return self._selector(None)
        if token.kind not in _METRIC_WORDS:
            raise self.unexpected()
        self.advance()
        if token.kind in AGGREGATORS and self.token.kind in {"(", "by", "without"}:
            return self._aggregate(token)
        if token.kind in _CALLABLE and self.token.kind == "(":
            return self._call(token)
        return self._selector(token)

    def _signed(self, sign: Token) -> Expr:
        inner = self._expr(_SIGN + 1)
        span = Span(sign.start, inner.span.end)
        if isinstance(inner, NumberLiteral):
            return msgspec.structs.replace(inner, value=-inner.value if sign.kind == "-" else inner.value, span=span)
        return Unary("-" if sign.kind == "-" else "+", inner, span)

    # Binary expressions

    def _binary_modifiers(self) -> tuple[bool, VectorMatching]:
        return_bool = self.take("bool")
        card: Cardinality = "one-to-one"
        labels: tuple[str, ...] = ()
        include: tuple[str, ...] = ()
        on = self.token.kind == "on"
        if on or self.token.kind == "ignoring":
            self.advance()
            labels = self.grouping()
            if self.token.kind in {"group_left", "group_right"}:
                card = "many-to-one" if self.advance().kind == "group_left" else "one-to-many"
                include = self.grouping() if self.token.kind == "(" else ()
        return return_bool, VectorMatching(card, labels, on, include)

    # Aggregations and calls

    def _aggregate(self, op: Token) -> Expr:
        modified = self.token.kind != "("
        grouping, without = self._aggregate_modifier()
        if self.token.kind != "(":
            raise self.unexpected("aggregation")
        args = self._arguments()
        end = self.last_end
        if not modified:
            grouping, without = self._aggregate_modifier()
            end = self.last_end if grouping or self.text[end : self.last_end].strip() else end
        span = Span(op.start, end)
        if not args:
            raise self.error("no arguments for aggregate expression provided", span)
        if op.kind in _EXPERIMENTAL_AGGREGATORS:
            raise self.error(
                f"{op.kind}() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
                span,
            )
        expected = 2 if op.kind in _WITH_PARAMETER else 1
        if len(args) != expected:
            raise self.error(
                f"wrong number of arguments for aggregate expression provided, expected {expected}, got {len(args)}",
                span,
            )
        return Aggregate(op.kind, args[-1], args[0] if expected == 2 else None, grouping, without, span)

    def _aggregate_modifier(self) -> tuple[tuple[str, ...], bool]:
        if self.token.kind not in {"by", "without"}:
            return (), False
        without = self.advance().kind == "without"
        return self.grouping(), without

    def _call(self, name: Token) -> Expr:
        args = self._arguments()
        signature = SIGNATURES.get(name.text)
        if signature is None:
            raise self.error(f"unknown function with name {quote(name.text)}", name.span)
        if signature.experimental:
            raise self.error(f"function {quote(name.text)} is not enabled", name.span)
        return Call(name.text, args, Span(name.start, self.last_end))

    def _arguments(self) -> tuple[Expr, ...]:
        self.advance()
        args: list[Expr] = []
        if self.take(")"):
            return ()
        while True:
            args.append(self._expr(0))
            if self.take(")"):
                return tuple(args)
            comma = self.token
            if not self.take(","):
                raise self.unexpected()
            if self.token.kind in {")", ","}:
                raise self.error("trailing commas not allowed in function call args", comma.span)

    # Selectors

    def _selector(self, name: Token | None) -> Expr:
        start = self.token.start if name is None else name.start
        matchers = self.matchers() if self.token.kind == "{" else ()
        if name is not None:
            matchers += (Matcher(NAME, "=", name.text, name.span),)
        return VectorSelector("" if name is None else name.text, matchers, Span(start, self.last_end))

    # Postfix modifiers

    def _postfix(self, expr: Expr) -> Expr:
        while True:
            match self.token.kind:
                case "[":
                    expr = self._range(expr)
                case "offset":
                    expr = self._offset(expr)
                case "@":
                    expr = self._at(expr)
                case "anchored" | "smoothed" as modifier:
                    raise self.error(f"{modifier} modifier is experimental and not enabled", expr.span)
                case _:
                    return expr

    def _range(self, expr: Expr) -> Expr:
        bracket = self.advance()
        range_ns = self.positive_duration("subquery or range selector", "number, duration, step(), or range()")
        if self.take(":"):
            step_ns = 0
            if self.token.kind != "]":
                step_ns = self.positive_duration("subquery selector", 'number, duration, step(), range(), or "]"')
            if not self.take("]"):
                raise self.unexpected("subquery selector", '"]"')
            return Subquery(expr, range_ns, step_ns, Span(expr.span.start, self.last_end))
        if not self.take("]"):
            raise self.unexpected("subquery or range", '":" or "]"')
        problem = ""
        if not isinstance(expr, VectorSelector):
            problem = "ranges only allowed for vector selectors"
        elif expr.offset_ns:
            problem = "no offset modifiers allowed before range"
        elif expr.at_ms is not None or expr.at_bound:
            problem = "no @ modifiers allowed before range"
        if problem or not isinstance(expr, VectorSelector):
            raise self.error(problem, Span(bracket.start, self.last_end))
        return MatrixSelector(expr, range_ns, Span(expr.span.start, self.last_end))

    def _offset(self, expr: Expr) -> Expr:
        self.advance()
        offset_ns = to_ns(self.duration("offset", "number, duration, step(), or range()").value)

        def put(node: VectorSelector | Subquery, span: Span) -> VectorSelector | Subquery:
            if node.offset_ns:
                raise self.error("offset may not be set multiple times", expr.span)
            return msgspec.structs.replace(node, offset_ns=offset_ns, span=span)

        return self._modified(expr, put, "offset modifier")

    def _at(self, expr: Expr) -> Expr:
        self.advance()
        bound: Literal["", "start", "end"] = ""
        at_ms = None
        if self.token.kind in {"start", "end"}:
            bound = "start" if self.advance().kind == "start" else "end"
            if not (self.take("(") and self.take(")")):
                raise self.unexpected("@", "timestamp")
        else:
            at_ms = self.timestamp(expr.span)

        def put(node: VectorSelector | Subquery, span: Span) -> VectorSelector | Subquery:
            if node.at_ms is not None or node.at_bound:
                raise self.error("@ <timestamp> may not be set multiple times", expr.span)
            return msgspec.structs.replace(node, at_ms=at_ms, at_bound=bound, span=span)

        return self._modified(expr, put, "@ modifier")

    def _modified(self, expr: Expr, put: Callable[[VectorSelector | Subquery, Span], Expr], what: str) -> Expr:
        """The selector with a modifier, which also extends its span."""
        span = Span(expr.span.start, self.last_end)
        if isinstance(expr, MatrixSelector):
            # The span of the selector inside ends where the range begins, whatever follows.
            selector = put(expr.selector, expr.selector.span)
            if isinstance(selector, VectorSelector):
                return msgspec.structs.replace(expr, selector=selector, span=span)
        if isinstance(expr, VectorSelector | Subquery):
            return put(expr, span)
        message = f"{what} must be preceded by an instant vector selector or range vector selector or a subquery"
        raise self.error(message, expr.span)
