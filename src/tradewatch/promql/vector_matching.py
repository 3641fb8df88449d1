"""Operators between two instant vectors: which elements meet, and what their result is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from tradewatch.promql.aggregate import Vector
from tradewatch.promql.arithmetic import ARITHMETIC, COMPARISON
from tradewatch.promql.ast import VectorMatching
from tradewatch.promql.errors import EvaluationError
from tradewatch.promql.labels import NAME, Labels, drop, drop_metadata, keep, show, value_of

Element: TypeAlias = tuple[Labels, float]


def signature(matching: VectorMatching) -> Callable[[Labels], Labels]:
    """What two elements must have in common to meet."""
    if matching.on:
        names = frozenset(matching.labels)
        return lambda labels: keep(labels, names)
    ignored = frozenset((*matching.labels, NAME))
    return lambda labels: drop(labels, ignored)


def combine_sets(op: str, left: Vector, right: Vector, matching: VectorMatching) -> Vector:
    """`and`, `or` and `unless`: elements of the left side (and for `or` the right), unchanged."""
    sign = signature(matching)
    if op == "or":
        present = {sign(labels) for labels, _ in left}
        return left + [element for element in right if sign(element[0]) not in present]
    present = {sign(labels) for labels, _ in right}
    return [element for element in left if (sign(element[0]) in present) == (op == "and")]


def match_vectors(op: str, left: Vector, right: Vector, matching: VectorMatching, *, return_bool: bool) -> Vector:
    """Arithmetic and comparison between elements that meet, one to one or many to one.

    Raises:
        EvaluationError: on the side that must be unique, two elements have the same signature, or two results would
            have the same labels.
    """
    if not left or not right:
        return []
    swapped = matching.card == "one-to-many"
    many, ones = (right, left) if swapped else (left, right)
    sign = signature(matching)
    one_by_signature = _unique(ones, sign, "left" if swapped else "right")
    compute = _computation(op, return_bool=return_bool)
    name_of = _result_labels(op, matching, return_bool=return_bool)
    met: set[tuple[Labels, Labels]] = set()
    result = []
    for element in many:
        shared = sign(element[0])
        one = one_by_signature.get(shared)
        if one is None:
            continue
        labels = name_of(element[0], one[0])
        key = (shared, labels if matching.card != "one-to-one" else ())
        if key in met:
            if matching.card == "one-to-one":
                raise EvaluationError(
                    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
                )
            raise EvaluationError("multiple matches for labels: grouping labels must ensure unique matches")
        met.add(key)
        value = compute(one[1], element[1]) if swapped else compute(element[1], one[1])
        if value is not None:
            result.append((labels, value))
    return result


def _unique(elements: Vector, sign: Callable[[Labels], Labels], side: str) -> dict[Labels, Element]:
    by_signature: dict[Labels, Element] = {}
    for element in elements:
        shared = sign(element[0])
        if shared in by_signature:
            first, second = sorted((show(element[0]), show(by_signature[shared][0])))
            raise EvaluationError(
                f"found duplicate series for the match group {show(shared)} on the {side} hand-side of the operation: "
                f"[{first}, {second}];many-to-many matching not allowed: matching labels must be unique on one side"
            )
        by_signature[shared] = element
    return by_signature


def _computation(op: str, *, return_bool: bool) -> Callable[[float, float], float | None]:
    """The value of two operands in the order they are written; None if a comparison drops them."""
    if op in ARITHMETIC:
        return ARITHMETIC[op]
    compare = COMPARISON[op]
    if return_bool:
        return lambda left, right: float(compare(left, right))
    return lambda left, right: left if compare(left, right) else None


def _result_labels(op: str, matching: VectorMatching, *, return_bool: bool) -> Callable[[Labels, Labels], Labels]:
    drops_name = op in ARITHMETIC or return_bool
    names = frozenset(matching.labels)
    pick = keep if matching.on else drop

    def name_of(many: Labels, one: Labels) -> Labels:
        labels = drop_metadata(many) if drops_name else many
        if matching.card == "one-to-one":
            return pick(labels, names)
        if not matching.include:
            return labels
        included = [(name, value) for name in matching.include if (value := value_of(one, name))]
        return tuple(sorted({*drop(labels, matching.include), *included}))

    return name_of


def with_scalar(op: str, vector: Vector, scalar: float, *, scalar_left: bool, return_bool: bool) -> Vector:
    """A vector and a number; a comparison without `bool` keeps the vector's elements, name and all."""
    if op in ARITHMETIC:
        compute = ARITHMETIC[op]
        if scalar_left:
            return [(drop_metadata(labels), compute(scalar, value)) for labels, value in vector]
        return [(drop_metadata(labels), compute(value, scalar)) for labels, value in vector]
    compare = COMPARISON[op]
    kept = [
        (labels, value, compare(scalar, value) if scalar_left else compare(value, scalar)) for labels, value in vector
    ]
    if return_bool:
        return [(drop_metadata(labels), float(holds)) for labels, _, holds in kept]
    return [(labels, value) for labels, value, holds in kept if holds]
