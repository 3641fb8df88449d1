"""The parser against Prometheus's own: the same trees with the same positions, the same refusals."""

import gzip
import json
import struct
from pathlib import Path

import pytest

from tradewatch.promql import ParseError, parse
from tradewatch.promql.ast import (
    Aggregate,
    Binary,
    Call,
    MatrixSelector,
    NumberLiteral,
    Paren,
    StringLiteral,
    Subquery,
    Unary,
    VectorSelector,
)

DATA = Path(__file__).parent / "data"


def bits(value):
    return struct.pack(">d", value).hex() if value == value else "nan"


def shape(node, text):
    """The tree in the form in which Prometheus's is recorded; positions as byte offsets."""

    def at(span):
        return [len(text[: span.start].encode()), len(text[: span.end].encode())]

    match node:
        case NumberLiteral():
            return ["number", bits(node.value), node.duration, at(node.span)]
        case StringLiteral():
            return ["string", node.value.encode(errors="surrogateescape").hex(), at(node.span)]
        case VectorSelector():
            matchers = [
                [m.name, m.op, m.value.encode("utf-8", "surrogateescape").decode(errors="replace")]
                for m in node.matchers
            ]
            return ["selector", node.name, matchers, node.offset_ns, node.at_ms, node.at_bound, at(node.span)]
        case MatrixSelector():
            return ["range", shape(node.selector, text), node.range_ns, at(node.span)]
        case Subquery():
            inner = shape(node.expr, text)
            return [
                "subquery",
                inner,
                node.range_ns,
                node.step_ns,
                node.offset_ns,
                node.at_ms,
                node.at_bound,
                at(node.span),
            ]
        case Paren():
            return ["paren", shape(node.expr, text), at(node.span)]
        case Unary():
            return ["unary", node.op, shape(node.expr, text), at(node.span)]
        case Binary():
            matching = None
            if node.matching is not None:
                m = node.matching
                matching = [m.card, list(m.labels), m.on, list(m.include)]
            left, right = shape(node.left, text), shape(node.right, text)
            return ["binary", node.op, left, right, matching, node.return_bool, at(node.span)]
        case Aggregate():
            param = None if node.param is None else shape(node.param, text)
            inner = shape(node.expr, text)
            return ["aggregate", node.op, inner, param, list(node.grouping), node.without, at(node.span)]
        case Call():
            return ["call", node.name, [shape(arg, text) for arg in node.args], at(node.span)]


def normal(recorded):
    """Every NaN is one."""
    if isinstance(recorded, list):
        if recorded and recorded[0] == "number":
            value = struct.unpack(">d", bytes.fromhex(recorded[1]))[0] if recorded[1] != "nan" else float("nan")
            return ["number", bits(value), *recorded[2:]]
        return [normal(part) for part in recorded]
    return recorded


RECORDED = json.loads(gzip.decompress((DATA / "trees.json.gz").read_bytes()))

# `offset -(5m)` slips past Prometheus's own check for experimental durations; Go's table of scripts is not known here.
DIFFERENT_ON_PURPOSE = {"foo offset -(5m)", r'foo{a=~"\\p{Nope}"}'}


def test_valid_expressions_give_prometheus_s_trees_and_invalid_ones_are_refused():
    wrong = []
    for text, recorded in RECORDED:
        try:
            ours = shape(parse(text), text)
        except ParseError as error:
            ours = str(error)
        theirs = normal(recorded) if isinstance(recorded, list) else recorded["error"]
        if isinstance(recorded, list) != isinstance(ours, list) or (isinstance(recorded, list) and ours != theirs):
            wrong.append((text, ours, theirs))
    assert [case for case in wrong if case[0] not in DIFFERENT_ON_PURPOSE] == []
    assert {case[0] for case in wrong} == DIFFERENT_ON_PURPOSE


def test_errors_are_where_prometheus_sees_them():
    invalid = same = 0
    for text, recorded in RECORDED:
        if isinstance(recorded, dict) and text not in DIFFERENT_ON_PURPOSE:
            invalid += 1
            with pytest.raises(ParseError) as error:
                parse(text)
            same += len(text[: error.value.span.start].encode()) == recorded["span"][0]
    assert invalid > 4000
    # The rest are experimental syntax and errors that an LR parser notices a token later or earlier.
    assert same / invalid > 0.98
