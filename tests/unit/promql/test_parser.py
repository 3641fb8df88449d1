"""The parser's own promises: positions in characters, bounds, and nothing raised but ParseError."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewatch.promql import ParseError, Span, parse
from tradewatch.promql.ast import Binary, VectorSelector

WORDS = st.sampled_from(
    [
        "foo",
        "sum",
        "rate",
        "by",
        "without",
        "on",
        "ignoring",
        "group_left",
        "bool",
        "offset",
        "start",
        "(",
        ")",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "=",
        "==",
        "!=",
        "=~",
        "+",
        "-",
        "*",
        "/",
        "%",
        "^",
        "@",
        "and",
        "or",
        "unless",
        "5m",
        "1e3",
        "0x1F",
        "Inf",
        '"a"',
        "'b'",
        "`c`",
        "#",
        "\n",
        "1",
        ".",
        "a:b",
        "ü",
        "\\",
        "atan2",
        "topk",
        "histogram_quantile",
        "<=",
        ">",
        "</",
        "step",
        "range",
        "fill",
    ]
)


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("foo +", (1, 6), "unexpected end of input"),
        ("foo\n  and bar{", (2, 11), "unexpected end of input inside braces"),
        ("sum(\n  rate(foo)\n)", (2, 8), 'expected type range vector in call to function "rate", got instant vector'),
        ('foo{a="ü"} + $', (1, 14), "unexpected character: '$'"),
        ("nope(foo)", (1, 1), 'unknown function with name "nope"'),
        ('foo{a=~"("}', (1, 5), "error parsing regexp: missing closing ): `(`"),
    ],
)
def test_an_error_says_line_and_column_and_what_is_wrong(text, place, message):
    with pytest.raises(ParseError) as error:
        parse(text)
    assert (error.value.line, error.value.column) == place
    assert error.value.message == message
    assert str(error.value) == f"{place[0]}:{place[1]}: {message}"


def test_spans_are_characters_not_bytes():
    expr = parse('foo{a="ü€😀"} + bar')
    assert isinstance(expr, Binary)
    assert expr.left.span == Span(0, 12)
    assert expr.right == VectorSelector("bar", expr.right.matchers, Span(15, 18))


def test_a_hundred_levels_are_read_and_more_are_refused():
    assert parse("(" * 99 + "x" + ")" * 99).span == Span(0, 199)
    assert parse("+".join("x" * 100)).span == Span(0, 199)
    for text in (
        "(" * 100 + "x" + ")" * 100,
        "+".join("x" * 101),
        "-" * 100 + "x",
        "abs(" * 5000 + "x" + ")" * 5000,
        "x^" * 5000 + "x",
        "(" * 30_000,
        "foo offset " + "-" * 30_000,
        "(" + "+".join("x" * 60) + ")+" + "+".join("x" * 60),
    ):
        with pytest.raises(ParseError):
            parse(text)


def test_a_text_longer_than_64_kib_is_refused():
    assert parse("x" * 65_536)
    for text in ("x" * 65_537, '"' + "ü" * 40_000 + '"'):
        with pytest.raises(ParseError, match="longer than 65536 bytes"):
            parse(text)


@pytest.mark.parametrize(
    "piece", ["(", "[", "{", "-", "x+", "x[5m:", "sum by (", "{a=", '"', "#", "\\", "1e", "foo{a=~'(((", "a,", "@"]
)
def test_long_repetitions_end_soon(piece):
    begun = time.perf_counter()
    with pytest.raises(ParseError):
        parse((piece * 65_536)[:65_536])
    assert time.perf_counter() - begun < 5.0


@given(
    st.one_of(
        st.text(max_size=60), st.lists(WORDS, max_size=25).map(" ".join), st.lists(WORDS, max_size=25).map("".join)
    )
)
@settings(max_examples=500)
def test_any_text_is_an_expression_or_a_parse_error_within_it(text):
    try:
        span = parse(text).span
    except ParseError as error:
        span = error.span
    assert 0 <= span.start <= span.end <= len(text)
