"""Tokens to a tree: the whole PromQL grammar of Prometheus 3, without what it calls experimental.

Precedence climbing. Postfix modifiers (`[5m]`, `offset`, `@`) bind to what stands directly before them; a sign binds
like a multiplication, so `-a ^ b` is `-(a ^ b)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Literal

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
from tradewatch.promql.lexer import AGGREGATORS, DURATION_WORDS, FILLS, KEYWORDS, Lexer, Token
from tradewatch.promql.literals import NS_PER_S, duration_ns, number_value, unquote
from tradewatch.promql.matchers import Matcher, MatchOp
from tradewatch.promql.regexp import compile_regexp
from tradewatch.promql.regexp_syntax import RegexpError, RegexpUnsupported
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
_SIGNS: Final = {"+": 1, "-": -1}
_LABEL_WORDS: Final = KEYWORDS - {"without"} | {"IDENTIFIER", "METRIC"}
_METRIC_WORDS: Final = KEYWORDS - {"bool", "group_left", "group_right", "ignoring", "on", "atan2"} | {
    "IDENTIFIER",
    "METRIC",
}
_CALLABLE: Final = DURATION_WORDS | {"IDENTIFIER", "start", "end"}
_MATCH_OPS: Final[dict[str, MatchOp]] = {"=": "=", "!=": "!=", "=~": "=~", "!~": "!~"}
_MAX_DURATION_S: Final = 2**63 / 1e9
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


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._lexer = Lexer(text)
        self._token = self._lexer.next()
        self._last_end = 0
        self._depth = 0

    # Tokens

    def _advance(self) -> Token:
        token = self._token
        self._last_end = token.end
        self._token = self._lexer.next()
        return token

    def _take(self, kind: str) -> bool:
        if self._token.kind == kind:
            self._advance()
            return True
        return False

    def _error(self, message: str, span: Span) -> ParseError:
        return ParseError(message, span, self._text)

    def _unexpected(self, context: str = "", expected: str = "") -> ParseError:
        message = f"unexpected {self._token}" + (f" in {context}" if context else "")
        return self._error(message + (f", expected {expected}" if expected else ""), self._token.span)

    # Expressions

    def expression(self) -> Expr:
        if self._token.kind == "EOF":
            raise self._error("no expression found in input", Span(0, 0))
        expr = self._expr(0)
        if self._token.kind != "EOF":
            raise self._unexpected()
        return expr

    def _expr(self, least: int) -> Expr:
        self._depth += 1
        if self._depth > MAX_NESTING:
            raise self._error(f"expression nested deeper than {MAX_NESTING} levels", self._token.span)
        left = self._postfix(self._primary())
        while (precedence := _PRECEDENCE.get(self._token.kind, -1)) >= max(least, 0):
            op = self._advance().kind
            return_bool, matching = self._binary_modifiers()
            if self._token.kind in FILLS:
                raise self._error("binop fill modifiers are experimental and not enabled", left.span)
            # Only `^` groups from the right.
            right = self._expr(precedence if op == "^" else precedence + 1)
            left = Binary(op, left, right, matching, return_bool, Span(left.span.start, right.span.end))
        self._depth -= 1
        return left

    def _primary(self) -> Expr:
        token = self._token
        match token.kind:
            case "NUMBER" | "DURATION":
                self._advance()
                return self._number(token)
            case "STRING":
                self._advance()
                return StringLiteral(unquote(token.text), token.span)
            case "(":
                self._advance()
                inner = self._expr(0)
                if self._token.kind != ")":
                    raise self._unexpected()
                return Paren(inner, Span(token.start, self._advance().end))
            case "+" | "-":
                self._advance()
                return self._signed(token)
            case "{":
                return self._selector(None)
        if token.kind not in _METRIC_WORDS:
            raise self._unexpected()
        self._advance()
        if token.kind in AGGREGATORS and self._token.kind in {"(", "by", "without"}:
            return self._aggregate(token)
        if token.kind in _CALLABLE and self._token.kind == "(":
            return self._call(token)
        return self._selector(token)

    def _signed(self, sign: Token) -> Expr:
        inner = self._expr(_SIGN + 1)
        span = Span(sign.start, inner.span.end)
        if isinstance(inner, NumberLiteral):
            return replace(inner, value=inner.value * _SIGNS[sign.kind] if sign.kind == "-" else inner.value, span=span)
        return Unary("-" if sign.kind == "-" else "+", inner, span)

    def _number(self, token: Token) -> NumberLiteral:
        try:
            if token.kind == "DURATION":
                # Whole seconds and the rest apart, since that is how Go's Duration.Seconds() rounds.
                seconds, rest = divmod(duration_ns(token.text), NS_PER_S)
                return NumberLiteral(seconds + rest / 1e9, token.span, duration=True)
            return NumberLiteral(number_value(token.text), token.span)
        except ValueError as problem:
            raise self._error(str(problem), token.span) from None

    # Binary expressions

    def _binary_modifiers(self) -> tuple[bool, VectorMatching]:
        return_bool = self._take("bool")
        card: Cardinality = "one-to-one"
        labels: tuple[str, ...] = ()
        include: tuple[str, ...] = ()
        on = self._token.kind == "on"
        if on or self._token.kind == "ignoring":
            self._advance()
            labels = self._grouping()
            if self._token.kind in {"group_left", "group_right"}:
                card = "many-to-one" if self._advance().kind == "group_left" else "one-to-many"
                include = self._grouping() if self._token.kind == "(" else ()
        return return_bool, VectorMatching(card, labels, on, include)

    def _grouping(self) -> tuple[str, ...]:
        if not self._take("("):
            raise self._unexpected("grouping opts", '"("')
        names: list[str] = []
        while not self._take(")"):
            if names and not self._take(","):
                raise self._unexpected("grouping opts", '"," or ")"')
            if names and self._take(")"):
                break
            names.append(self._label_name())
        return tuple(names)

    def _label_name(self) -> str:
        token = self._token
        if token.kind not in _LABEL_WORDS and token.kind != "STRING":
            raise self._unexpected("grouping opts", "label")
        self._advance()
        name = unquote(token.text) if token.kind == "STRING" else token.text
        if not _is_label_name(name):
            raise self._error(f"invalid label name for grouping: {quote(name)}", token.span)
        return name

    # Aggregations and calls

    def _aggregate(self, op: Token) -> Expr:
        modified = self._token.kind != "("
        grouping, without = self._aggregate_modifier()
        if self._token.kind != "(":
            raise self._unexpected("aggregation")
        args = self._arguments()
        end = self._last_end
        if not modified:
            grouping, without = self._aggregate_modifier()
            end = self._last_end if grouping or self._text[end : self._last_end].strip() else end
        span = Span(op.start, end)
        if not args:
            raise self._error("no arguments for aggregate expression provided", span)
        if op.kind in _EXPERIMENTAL_AGGREGATORS:
            raise self._error(
                f"{op.kind}() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
                span,
            )
        expected = 2 if op.kind in _WITH_PARAMETER else 1
        if len(args) != expected:
            raise self._error(
                f"wrong number of arguments for aggregate expression provided, expected {expected}, got {len(args)}",
                span,
            )
        return Aggregate(op.kind, args[-1], args[0] if expected == 2 else None, grouping, without, span)

    def _aggregate_modifier(self) -> tuple[tuple[str, ...], bool]:
        if self._token.kind not in {"by", "without"}:
            return (), False
        without = self._advance().kind == "without"
        return self._grouping(), without

    def _call(self, name: Token) -> Expr:
        args = self._arguments()
        signature = SIGNATURES.get(name.text)
        if signature is None:
            raise self._error(f"unknown function with name {quote(name.text)}", name.span)
        if signature.experimental:
            raise self._error(f"function {quote(name.text)} is not enabled", name.span)
        return Call(name.text, args, Span(name.start, self._last_end))

    def _arguments(self) -> tuple[Expr, ...]:
        self._advance()
        args: list[Expr] = []
        if self._take(")"):
            return ()
        while True:
            args.append(self._expr(0))
            if self._take(")"):
                return tuple(args)
            comma = self._token
            if not self._take(","):
                raise self._unexpected()
            if self._token.kind in {")", ","}:
                raise self._error("trailing commas not allowed in function call args", comma.span)

    # Selectors

    def _selector(self, name: Token | None) -> Expr:
        start = self._token.start if name is None else name.start
        matchers = self._matchers() if self._token.kind == "{" else ()
        if name is not None:
            matchers += (Matcher(NAME, "=", name.text, name.span),)
        return VectorSelector("" if name is None else name.text, matchers, Span(start, self._last_end))

    def _matchers(self) -> tuple[Matcher, ...]:
        self._advance()
        matchers: list[Matcher] = []
        while not self._take("}"):
            if matchers and not self._take(","):
                raise self._unexpected("label matching", '"," or "}"')
            if matchers and self._take("}"):
                break
            matchers.append(self._matcher())
        return tuple(matchers)

    def _matcher(self) -> Matcher:
        label = self._token
        if label.kind not in {"IDENTIFIER", "STRING"}:
            raise self._unexpected("label matching", 'identifier or "}"')
        self._advance()
        op = _MATCH_OPS.get(self._token.kind)
        if op is None:
            if label.kind == "IDENTIFIER":
                raise self._unexpected("label matching", "label matching operator")
            return Matcher(NAME, "=", unquote(label.text), label.span)
        self._advance()
        value = self._token
        if value.kind != "STRING":
            raise self._unexpected("label matching", "string")
        self._advance()
        name = unquote(label.text) if label.kind == "STRING" else label.text
        span = Span(label.start, value.end)
        pattern = unquote(value.text)
        regexp = None
        if op in {"=~", "!~"}:
            try:
                regexp = compile_regexp(pattern)
            except RegexpUnsupported:
                pass
            except RegexpError as problem:
                raise self._error(f"error parsing regexp: {problem}", span) from None
        return Matcher(name, op, pattern, span, regexp)

    # Postfix modifiers

    def _postfix(self, expr: Expr) -> Expr:
        while True:
            match self._token.kind:
                case "[":
                    expr = self._range(expr)
                case "offset":
                    expr = self._offset(expr)
                case "@":
                    expr = self._at(expr)
                case "anchored" | "smoothed" as modifier:
                    raise self._error(f"{modifier} modifier is experimental and not enabled", expr.span)
                case _:
                    return expr

    def _range(self, expr: Expr) -> Expr:
        bracket = self._advance()
        range_ns = self._positive_duration("subquery or range selector", "number, duration, step(), or range()")
        if self._take(":"):
            step_ns = 0
            if self._token.kind != "]":
                step_ns = self._positive_duration("subquery selector", 'number, duration, step(), range(), or "]"')
            if not self._take("]"):
                raise self._unexpected("subquery selector", '"]"')
            return Subquery(expr, range_ns, step_ns, Span(expr.span.start, self._last_end))
        if not self._take("]"):
            raise self._unexpected("subquery or range", '":" or "]"')
        problem = ""
        if not isinstance(expr, VectorSelector):
            problem = "ranges only allowed for vector selectors"
        elif expr.offset_ns:
            problem = "no offset modifiers allowed before range"
        elif expr.at_ms is not None or expr.at_bound:
            problem = "no @ modifiers allowed before range"
        if problem or not isinstance(expr, VectorSelector):
            raise self._error(problem, Span(bracket.start, self._last_end))
        return MatrixSelector(expr, range_ns, Span(expr.span.start, self._last_end))

    def _positive_duration(self, context: str, expected: str) -> int:
        literal = self._duration(context, expected)
        if literal.value <= 0:
            raise self._error("duration must be greater than 0", literal.span)
        return _to_ns(literal.value)

    def _duration(self, context: str, expected: str) -> NumberLiteral:
        """A number or duration with any signs; arithmetic on durations is experimental."""
        signs: list[Token] = []
        while self._token.kind in _SIGNS:
            signs.append(self._advance())
        token = self._token
        if token.kind in DURATION_WORDS or token.kind == "(":
            raise self._error("experimental duration expression is not enabled", token.span)
        if token.kind not in {"NUMBER", "DURATION"}:
            raise self._unexpected(context, expected)
        self._advance()
        literal = self._number(token)
        if signs:
            sign = math.prod(_SIGNS[one.kind] for one in signs)
            literal = replace(literal, value=literal.value * sign, span=Span(signs[0].start, token.end))
        if abs(literal.value) > _MAX_DURATION_S:
            raise self._error("duration out of range", signs[0].span if signs else token.span)
        # After `offset`, one sign and a literal end the modifier; elsewhere an operator continues the duration.
        if (context != "offset" or len(signs) > 1) and self._token.kind in {"+", "-", "*", "/", "%", "^"}:
            raise self._error("experimental duration expression is not enabled", literal.span)
        return literal

    def _offset(self, expr: Expr) -> Expr:
        self._advance()
        offset_ns = _to_ns(self._duration("offset", "number, duration, step(), or range()").value)

        def put(node: VectorSelector | Subquery, span: Span) -> VectorSelector | Subquery:
            if node.offset_ns:
                raise self._error("offset may not be set multiple times", expr.span)
            return replace(node, offset_ns=offset_ns, span=span)

        return self._modified(expr, put, "offset modifier")

    def _at(self, expr: Expr) -> Expr:
        self._advance()
        bound: Literal["", "start", "end"] = ""
        at_ms = None
        if self._token.kind in {"start", "end"}:
            bound = "start" if self._advance().kind == "start" else "end"
            if not (self._take("(") and self._take(")")):
                raise self._unexpected("@", "timestamp")
        else:
            at_ms = self._timestamp(expr)

        def put(node: VectorSelector | Subquery, span: Span) -> VectorSelector | Subquery:
            if node.at_ms is not None or node.at_bound:
                raise self._error("@ <timestamp> may not be set multiple times", expr.span)
            return replace(node, at_ms=at_ms, at_bound=bound, span=span)

        return self._modified(expr, put, "@ modifier")

    def _timestamp(self, expr: Expr) -> int:
        sign = self._advance() if self._token.kind in _SIGNS else None
        token = self._token
        if token.kind not in {"NUMBER", "DURATION"}:
            raise self._unexpected("@", "timestamp")
        self._advance()
        seconds = self._number(token).value * (_SIGNS[sign.kind] if sign else 1)
        if not abs(seconds) < 2**63:
            raise self._error(f"timestamp out of bounds for @ modifier: {seconds:f}", expr.span)
        return _round(seconds * 1000)

    def _modified(self, expr: Expr, put: Callable[[VectorSelector | Subquery, Span], Expr], what: str) -> Expr:
        """The selector with a modifier, which also extends its span."""
        span = Span(expr.span.start, self._last_end)
        if isinstance(expr, MatrixSelector):
            # The span of the selector inside ends where the range begins, whatever follows.
            selector = put(expr.selector, expr.selector.span)
            if isinstance(selector, VectorSelector):
                return replace(expr, selector=selector, span=span)
        if isinstance(expr, VectorSelector | Subquery):
            return put(expr, span)
        message = f"{what} must be preceded by an instant vector selector or range vector selector or a subquery"
        raise self._error(message, expr.span)


def _is_label_name(name: str) -> bool:
    return name != "" and not any("\ud800" <= char <= "\udfff" for char in name)


def _round(value: float) -> int:
    """To the nearest whole number, halves away from zero."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value)) if abs(value) < 2**52 else int(value)


def _to_ns(seconds: float) -> int:
    return min(_round(seconds * 1e9), 2**63 - 1)
