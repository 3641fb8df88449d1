"""What reading, checking or evaluating an expression can raise."""

from __future__ import annotations

from tradewatch.promql.span import Span, line_and_column


class ParseError(ValueError):
    """The text is not an expression that Prometheus would accept.

    Attributes:
        message: what is wrong, without the position.
        span: character offsets of the offending part.
        line, column: where it starts, counted from 1.
    """

    def __init__(self, message: str, span: Span, text: str) -> None:
        self.message = message
        self.span = span
        self.line, self.column = line_and_column(text, span.start)
        super().__init__(f"{self.line}:{self.column}: {message}")


class Unsupported(ParseError):  # noqa: N818 - it says what the expression is, as ParseError's callers read it
    """The expression is valid for Prometheus, and uses `name`, which the evaluator does not have."""

    def __init__(self, name: str, message: str, span: Span, text: str) -> None:
        self.name = name
        super().__init__(message, span, text)


class EvaluationError(Exception):
    """The samples make the expression's meaning undefined, as in many-to-many matching."""
