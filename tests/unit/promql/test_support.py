"""What is refused at load, and what an expression says about itself."""

import pytest

from tradewatch.promql import ParseError, Unsupported, check, longest_range_s, metric_names, parse


@pytest.mark.parametrize(
    ("text", "name", "column"),
    [
        ("1 + histogram_quantile(0.9, foo)", "histogram_quantile", 5),
        ("foo > stddev(bar)", "stddev", 7),
        ("topk(3, foo)", "topk", 1),
        ("count_values('a', foo)", "count_values", 1),
        ("rate(foo[5m:1m])", "subquery", 6),
        ("foo + bar @ 5", "@", 7),
        ("foo @ end()", "@", 1),
        ("foo atan2 bar", "atan2", 1),
        ("foo </ 2", "</", 1),
        ("timestamp(foo)", "timestamp", 1),
        ("foo[5m]", "range vector", 1),
        ("foo and {job='bot'}", "selector without a name", 9),
        ("{__name__=~'foo.*'}", "selector without a name", 1),
        (r"foo{a=~'\\p{Greek}'}", "regular expression", 1),
        ("foo{a=~'a{1000}b{1000}c{9}'}", "regular expression", 1),
        ("sum(\n foo @ 1)", "@", 2),
    ],
)
def test_what_the_evaluator_does_not_have_is_refused_by_name_and_place(text, name, column):
    with pytest.raises(Unsupported) as refusal:
        check(parse(text), text)
    assert (refusal.value.name, refusal.value.column) == (name, column)
    assert isinstance(refusal.value, ParseError)


@pytest.mark.parametrize(
    "text",
    [
        "1",
        "'a'",
        "foo",
        "{'foo', a='b'}",
        "sum by (a) (rate(foo[5m] offset 1m)) > bool on(a) group_left() bar",
        "absent(foo)",
        "hour() > 8",
    ],
)
def test_what_it_has_passes(text):
    check(parse(text), text)


def test_metric_names_are_those_of_all_selectors():
    expr = parse("sum(rate(a[5m])) / c or absent({'d', x='y'}) > 1")
    assert metric_names(expr) == {"a", "c", "d"}
    assert metric_names(parse("1 + 1")) == frozenset()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1", 300),
        ("foo", 300),
        ("foo offset 1h", 3900),
        ("foo offset -1h", 300),
        ("rate(foo[1m])", 300),
        ("rate(foo[1h])", 3600),
        ("rate(foo[1h] offset 30m) + foo", 5400),
        ("absent(foo) or max_over_time(bar[1d])", 86_400),
    ],
)
def test_the_longest_range_includes_offset_and_lookback(text, seconds):
    assert longest_range_s(parse(text)) == seconds
