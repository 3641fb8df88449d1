"""Regular expressions: the same matches as Go's, and no value that takes long."""

import gzip
import json
import re
import string
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewatch.promql.regexp import compile_regexp
from tradewatch.promql.regexp_syntax import RegexpError, RegexpUnsupported

RECORDED = json.loads(gzip.decompress((Path(__file__).parent / "data" / "matches.json.gz").read_bytes()))


@pytest.mark.parametrize(("pattern", "row"), RECORDED["patterns"])
def test_matches_are_those_of_prometheus(pattern, row):
    if row[0] is None:
        with pytest.raises(RegexpError):
            compile_regexp(pattern)
        return
    regexp = compile_regexp(pattern)
    got = {value: regexp.fullmatch(value) for value in RECORDED["values"]}
    assert got == dict(zip(RECORDED["values"], row, strict=True))


@pytest.mark.parametrize(
    "pattern", ["(a+)+b", "(a|a)*b", "(a|aa)+$b", "a*a*a*a*a*a*a*a*b", "(.*)(.*)(.*)(.*)(.*)x", "(a?){30}a{30}b"]
)
def test_a_pattern_that_would_backtrack_takes_milliseconds(pattern):
    regexp = compile_regexp(pattern)
    begun = time.perf_counter()
    assert not regexp.fullmatch("a" * 200)
    assert time.perf_counter() - begun < 5.0


@pytest.mark.parametrize(
    "pattern",
    [
        "a{1000}b{1000}c{100}",
        "(((((((((a{2}){2}){2}){2}){2}){2}){2}){2}){2}){100}",
        "(" * 101 + ")" * 101,
        r"\p{Greek}",
    ],
)
def test_what_is_too_large_or_unknown_is_refused(pattern):
    with pytest.raises((RegexpUnsupported, RegexpError)):
        compile_regexp(pattern)


def test_many_repeated_nothings_are_compiled_at_once():
    begun = time.perf_counter()
    compile_regexp("(){1000}" * 5000)
    assert time.perf_counter() - begun < 5.0


simple = st.recursive(
    st.sampled_from(["a", "b", "c", ".", "[ab]", "[^a]", "(?:)", r"\d"]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: f"(?:{pair[0]}|{pair[1]})"),
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,2}"])).map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
    ),
    max_leaves=6,
)


@given(simple, st.text("abc1", max_size=6))
def test_simple_patterns_match_as_in_python(pattern, value):
    assert compile_regexp(pattern).fullmatch(value) == (re.fullmatch(pattern, value, re.DOTALL) is not None)


@given(st.text(st.sampled_from(string.printable + "ü😀"), max_size=40))
def test_any_text_is_a_pattern_or_refused(text):
    with suppress(RegexpError, RegexpUnsupported):
        compile_regexp(text).fullmatch("abc")
