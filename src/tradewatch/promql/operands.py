"""The parts of an expression that hold no expressions: numbers, durations, label lists and matchers."""

from __future__ import annotations

import math
from typing import Final

import msgspec

from tradewatch.promql.ast import NumberLiteral
from tradewatch.promql.errors import ParseError
from tradewatch.promql.labels import NAME, quote
from tradewatch.promql.lexer import DURATION_WORDS, KEYWORDS, Lexer, Token
from tradewatch.promql.literals import NS_PER_S, duration_ns, number_value, unquote
from tradewatch.promql.matchers import Matcher, MatchOp
from tradewatch.promql.regexp import compile_regexp
from tradewatch.promql.regexp_syntax import RegexpError, RegexpUnsupported
from tradewatch.promql.span import Span

_SIGNS: Final = {"+": 1, "-": -1}
_LABEL_WORDS: Final = KEYWORDS - {"without"} | {"IDENTIFIER", "METRIC"}
_MATCH_OPS: Final[dict[str, MatchOp]] = {"=": "=", "!=": "!=", "=~": "=~", "!~": "!~"}
_MAX_DURATION_S: Final = 2**63 / 1e9


class Operands:
    """Reads one text from left to right: the tokens, and the operands that are made of tokens alone."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._lexer = Lexer(text)
        self.token = self._lexer.next()
        self.last_end = 0

    def advance(self) -> Token:
        """The token that was next; `last_end` is where it ends."""
        token = self.token
        self.last_end = token.end
        self.token = self._lexer.next()
        return token

    def take(self, kind: str) -> bool:
        """Go past the next token if it is of this kind."""
        if self.token.kind == kind:
            self.advance()
            return True
        return False

    def error(self, message: str, span: Span) -> ParseError:
        """An error with a place in this text."""
        return ParseError(message, span, self.text)

    def unexpected(self, context: str = "", expected: str = "") -> ParseError:
        """An error about the next token."""
        message = f"unexpected {self.token}" + (f" in {context}" if context else "")
        return self.error(message + (f", expected {expected}" if expected else ""), self.token.span)

    def number(self, token: Token) -> NumberLiteral:
        """The value of a number or a duration, the latter in seconds."""
        try:
            if token.kind == "DURATION":
                # Whole seconds and the rest apart, since that is how Go's Duration.Seconds() rounds.
                seconds, rest = divmod(duration_ns(token.text), NS_PER_S)
                return NumberLiteral(seconds + rest / 1e9, token.span, duration=True)
            return NumberLiteral(number_value(token.text), token.span)
        except ValueError as problem:
            raise self.error(str(problem), token.span) from None

    def grouping(self) -> tuple[str, ...]:
        """Label names in parentheses."""
        if not self.take("("):
            raise self.unexpected("grouping opts", '"("')
        names: list[str] = []
        while not self.take(")"):
            if names and not self.take(","):
                raise self.unexpected("grouping opts", '"," or ")"')
            if names and self.take(")"):
                break
            names.append(self._label_name())
        return tuple(names)

    def _label_name(self) -> str:
        token = self.token
        if token.kind not in _LABEL_WORDS and token.kind != "STRING":
            raise self.unexpected("grouping opts", "label")
        self.advance()
        name = unquote(token.text) if token.kind == "STRING" else token.text
        if not _is_label_name(name):
            raise self.error(f"invalid label name for grouping: {quote(name)}", token.span)
        return name

    def matchers(self) -> tuple[Matcher, ...]:
        """What is in braces."""
        self.advance()
        matchers: list[Matcher] = []
        while not self.take("}"):
            if matchers and not self.take(","):
                raise self.unexpected("label matching", '"," or "}"')
            if matchers and self.take("}"):
                break
            matchers.append(self._matcher())
        return tuple(matchers)

    def _matcher(self) -> Matcher:
        label = self.token
        if label.kind not in {"IDENTIFIER", "STRING"}:
            raise self.unexpected("label matching", 'identifier or "}"')
        self.advance()
        op = _MATCH_OPS.get(self.token.kind)
        if op is None:
            if label.kind == "IDENTIFIER":
                raise self.unexpected("label matching", "label matching operator")
            return Matcher(NAME, "=", unquote(label.text), label.span)
        self.advance()
        value = self.token
        if value.kind != "STRING":
            raise self.unexpected("label matching", "string")
        self.advance()
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
                raise self.error(f"error parsing regexp: {problem}", span) from None
        return Matcher(name, op, pattern, span, regexp)

    def positive_duration(self, context: str, expected: str) -> int:
        """A range or a step, in nanoseconds."""
        literal = self.duration(context, expected)
        if literal.value <= 0:
            raise self.error("duration must be greater than 0", literal.span)
        return to_ns(literal.value)

    def duration(self, context: str, expected: str) -> NumberLiteral:
        """A number or duration with any signs; arithmetic on durations is experimental."""
        signs: list[Token] = []
        while self.token.kind in _SIGNS:
            signs.append(self.advance())
        token = self.token
        if token.kind in DURATION_WORDS or token.kind == "(":
            raise self.error("experimental duration expression is not enabled", token.span)
        if token.kind not in {"NUMBER", "DURATION"}:
            raise self.unexpected(context, expected)
        self.advance()
        literal = self.number(token)
        if signs:
            sign = math.prod(_SIGNS[one.kind] for one in signs)
            literal = msgspec.structs.replace(literal, value=literal.value * sign, span=Span(signs[0].start, token.end))
        if abs(literal.value) > _MAX_DURATION_S:
            raise self.error("duration out of range", signs[0].span if signs else token.span)
        # After `offset`, one sign and a literal end the modifier; elsewhere an operator continues the duration.
        if (context != "offset" or len(signs) > 1) and self.token.kind in {"+", "-", "*", "/", "%", "^"}:
            raise self.error("experimental duration expression is not enabled", literal.span)
        return literal

    def timestamp(self, selector: Span) -> int:
        """The time after `@`, in milliseconds; `selector` is where an impossible one is reported."""
        sign = self.advance() if self.token.kind in _SIGNS else None
        token = self.token
        if token.kind not in {"NUMBER", "DURATION"}:
            raise self.unexpected("@", "timestamp")
        self.advance()
        seconds = self.number(token).value * (_SIGNS[sign.kind] if sign else 1)
        if not abs(seconds) < 2**63:
            raise self.error(f"timestamp out of bounds for @ modifier: {seconds:f}", selector)
        return _round(seconds * 1000)


def _is_label_name(name: str) -> bool:
    return name != "" and not any("\ud800" <= char <= "\udfff" for char in name)


def _round(value: float) -> int:
    """To the nearest whole number, halves away from zero."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value)) if abs(value) < 2**52 else int(value)


def to_ns(seconds: float) -> int:
    """Seconds to whole nanoseconds, at most about 292 years."""
    return min(_round(seconds * 1e9), 2**63 - 1)
