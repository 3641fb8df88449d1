"""The tree of an expression: frozen nodes, each with the span of the text it was read from.

The shapes follow Prometheus's own tree (`promql/parser/ast.go`), so that the two can be compared node by node.
Durations are whole nanoseconds, as there; times are milliseconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

import msgspec

from tradewatch.promql.matchers import Matcher
from tradewatch.promql.span import Span

ValueType: TypeAlias = Literal["scalar", "string", "instant vector", "range vector"]
Cardinality: TypeAlias = Literal["one-to-one", "many-to-one", "one-to-many", "many-to-many"]


class NumberLiteral(msgspec.Struct, frozen=True):
    """A number; `duration` if it was written as one (`5m` is 300)."""

    value: float
    span: Span
    duration: bool = False


class StringLiteral(msgspec.Struct, frozen=True):
    """A string; bytes in it that are not UTF-8 (written as escapes) are surrogate escapes."""

    value: str
    span: Span


class VectorSelector(msgspec.Struct, frozen=True):
    """An instant vector selector.

    `name` is the metric name outside the braces, or empty. `matchers` holds everything that must match, the name
    outside the braces included, in Prometheus's order (the name last).
    """

    name: str
    matchers: tuple[Matcher, ...]
    span: Span
    offset_ns: int = 0
    at_ms: int | None = None
    at_bound: Literal["", "start", "end"] = ""


class MatrixSelector(msgspec.Struct, frozen=True):
    """A range vector selector; offset and `@` are those of its `selector`."""

    selector: VectorSelector
    range_ns: int
    span: Span


class Subquery(msgspec.Struct, frozen=True):
    """An instant vector expression evaluated over a range; a `step_ns` of 0 means the default step."""

    expr: Expr
    range_ns: int
    step_ns: int
    span: Span
    offset_ns: int = 0
    at_ms: int | None = None
    at_bound: Literal["", "start", "end"] = ""


class Paren(msgspec.Struct, frozen=True):
    """An expression in parentheses."""

    expr: Expr
    span: Span


class Unary(msgspec.Struct, frozen=True):
    """A sign before an expression that is not a number literal."""

    op: Literal["+", "-"]
    expr: Expr
    span: Span


class VectorMatching(msgspec.Struct, frozen=True):
    """How elements of two vectors find each other: `on` or ignoring `labels`, `include` copied by group_left/right."""

    card: Cardinality = "one-to-one"
    labels: tuple[str, ...] = ()
    on: bool = False
    include: tuple[str, ...] = ()


class Binary(msgspec.Struct, frozen=True):
    """Two operands; `matching` is None unless both are instant vectors."""

    op: str
    left: Expr
    right: Expr
    matching: VectorMatching | None
    return_bool: bool
    span: Span


class Aggregate(msgspec.Struct, frozen=True):
    """An aggregation over an instant vector, `by` the labels of `grouping`, or `without` them."""

    op: str
    expr: Expr
    param: Expr | None
    grouping: tuple[str, ...]
    without: bool
    span: Span


class Call(msgspec.Struct, frozen=True):
    """A function call."""

    name: str
    args: tuple[Expr, ...]
    span: Span


Expr: TypeAlias = (
    NumberLiteral
    | StringLiteral
    | VectorSelector
    | MatrixSelector
    | Subquery
    | Paren
    | Unary
    | Binary
    | Aggregate
    | Call
)


def children(node: Expr) -> tuple[Expr, ...]:
    """The direct operands of a node, in the order Prometheus visits them."""
    match node:
        case Paren() | Unary() | Subquery():
            return (node.expr,)
        case MatrixSelector():
            return (node.selector,)
        case Binary():
            return (node.left, node.right)
        case Aggregate():
            return (node.expr,) if node.param is None else (node.expr, node.param)
        case Call():
            return node.args
        case _:
            return ()


def walk(node: Expr) -> Iterator[tuple[Expr, int]]:
    """Every node with its depth, parents first; without recursion, since it is what measures the depth."""
    stack = [(node, 1)]
    while stack:
        at, depth = stack.pop()
        yield at, depth
        stack.extend((child, depth + 1) for child in reversed(children(at)))
