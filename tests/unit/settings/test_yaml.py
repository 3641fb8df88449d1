from __future__ import annotations

import contextlib
import math
import os
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewatch.settings import yaml
from tradewatch.settings.yaml import YamlError, read, read_file

BOMB = """a: &a [x,x,x,x,x,x,x,x,x,x]
b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]
c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]
d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]
e: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]
"""


def test_plain_scalars_are_read_by_the_core_schema():
    document = read("{a: 1, b: 2.5, c: .inf, d: on, e: 1:30, f: 2026-11-21, g: ~, h: true, i: 0x1f, j: 0o17, k: 1_000}")
    assert document.value == {
        "a": 1, "b": 2.5, "c": math.inf, "d": "on", "e": "1:30", "f": "2026-11-21", "g": None, "h": True, "i": 31,
        "j": 15, "k": "1_000",
    }  # fmt: skip
    assert math.isnan(read("x: .nan").value["x"])


def test_quoted_and_tagged_scalars_are_what_they_say():
    assert read("{a: '1', b: \"~\", c: !!str 1, d: !!int 2}").value == {"a": "1", "b": "~", "c": "1", "d": 2}


def test_keys_are_always_text():
    assert read("{1: a, on: b, ~: c, 2.50: d}").value == {"1": "a", "on": "b", "~": "c", "2.50": "d"}


def test_an_empty_document_is_none():
    assert read("").value is None
    assert read("# only a comment\n").value is None


def test_values_and_keys_know_their_place():
    document = read("a: 1\nb:\n  - x\n  - c: y\n", "f.yaml")
    assert document.place(("a",)) == (1, 4)
    assert document.key_place(("a",)) == (1, 1)
    assert document.place(("b", 1, "c")) == (4, 8)
    assert document.key_place(("b", 1, "c")) == (4, 5)
    assert document.key_place(("b", 0)) == (3, 5)
    assert str(document.error(("b", 1, "c"), "'y'", "a number")) == "f.yaml:4:8: 'y'; accepted: a number"
    assert str(document.error(("b", 1, "c"), "'y'", "a number", key=True)).startswith("f.yaml:4:5: ")


def test_a_scalar_keeps_its_text():
    document = read("a: 1.50\nb: ~\nc: ''\nd: [x]\n")
    assert [document.text((key,)) for key in "abcd"] == ["1.50", None, "", None]


@pytest.mark.parametrize(
    ("text", "character", "place"),
    [
        ("e: sum(x) / y", "/", (1, 11)),
        ("e: 'it''s / y'", "/", (1, 11)),
        ('e: "a\\n\\u0041 \\"b / y"', "/", (1, 19)),
        ("e: |\n  sum(x)\n    / y\n", "/", (3, 5)),
        ("e: |2-\n    sum(x)\n\n  / y\n", "/", (4, 3)),
        ("e: >-\n  sum(x)\n\n  / y\n", "/", (4, 3)),
        ("e: > # a / comment\n  sum(x)\n  / y\n", "/", (3, 3)),
        ("e: sum(x)\n  / y\n", "/", (2, 3)),
        ("e: &anchor !!str |\n  / y\n", "/", (2, 3)),
        ('e: "sum(x) \\\n   / y"\n', "/", (2, 4)),
        ("é: ü / y", "/", (1, 6)),
        ("\ufeffe: a / y", "/", (1, 6)),
        ("e: a\r\n  / y\r\n", "/", (2, 3)),
    ],
)
def test_a_character_of_a_scalar_is_found_in_the_file_in_every_style(text, character, place):
    document = read(text.encode())
    (key,) = document.value
    assert document.place_in((key,), document.value[key].index(character)) == place


@given(st.lists(st.sampled_from(["sum(x)", " ", "\n", "'", '"', "\\", "a:b", "#", "é", "- ", "  "]), min_size=1))
def test_every_visible_character_of_a_literal_or_quoted_scalar_is_found(parts):
    text = "x" + "".join(parts)
    double = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    literal = "".join(f"  {line}\n" for line in text.split("\n"))
    for source in (f'e: "{double}"', f"e: |\n{literal}"):
        document = read(source)
        value = document.value["e"]
        assert value.rstrip("\n") == text.rstrip("\n")
        lines = source.split("\n")
        for offset, character in enumerate(value):
            if not character.isspace():
                line, column = document.place_in(("e",), offset)
                at = lines[line - 1][column - 1 :]
                assert at.startswith((character, "\\" + character))


def test_white_space_and_the_end_are_placed_after_what_stands_before():
    document = read("e: 'sum(x)  '\n")
    assert document.place_in(("e",), 6) == (1, 11)
    assert document.place_in(("e",), 8) == (1, 13)
    assert document.place_in(("e",), 99) == (1, 13)
    folded = read("e: >\n  a\n  b\n")
    assert folded.place_in(("e",), 1) == (2, 4)


def test_aliases_and_merge_keys_are_followed():
    document = read("a: &x {p: 1, q: 2}\nb: *x\nc: {<<: *x, q: 3}\nd: {<<: [{p: 5}, *x]}\n")
    assert document.value["b"] == {"p": 1, "q": 2}
    assert document.value["c"] == {"q": 3, "p": 1}
    assert document.value["d"] == {"p": 5, "q": 2}
    assert document.place(("b", "p")) == (1, 11)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "2:1: key 'a' a second time, after line 1; accepted: each key once in a mapping"),
        ("a:\n\t- b", "2:1: a tab; accepted: spaces"),
        ("a:\n  b: 1\n\tc: 2", "3:1: a tab; accepted: spaces"),
        ("a: [1, 2\nb: 3", "2:2: ':'; accepted: ',' or ']'"),
        ("a: b: c", "1:5: a second ':' in one line; accepted: one 'key: value' a line, text with ': ' in quotes"),
        ("a: 1\n---\nb: 2", "2:1: a second document; accepted: one document in a file"),
        (
            "a: &x [*x]",
            "1:4: an anchor that holds an alias to itself; accepted: aliases to values that are complete",
        ),
        ("a: &x {<<: *x}", "1:4: an anchor that holds an alias to itself; accepted: aliases to complete values"),
        ("a: {<<: 5}", "1:9: no mapping after '<<'; accepted: an alias to a mapping"),
        ("a: *nope", "1:4: undefined alias 'nope'; accepted: YAML: 'key: value', lists with '- ', text in quotes"),
        (BOMB, "1:26: too many values; accepted: at most 100,000 in a file, aliases followed"),
        ("a: !!python/object:os.system x", "1:4: tag '!!python/object:os.system'; accepted: values without a tag"),
        ("a: !mine x", "1:4: tag '!mine'; accepted: values without a tag"),
        ("a: !!binary eA==", "1:4: tag '!!binary'; accepted: values without a tag"),
        ("a: !!int x", "1:4: 'x' with the tag '!!int'; accepted: values without a tag"),
        (b"\xff\xfea\x00", "1:1: UTF-16; accepted: UTF-8"),
        (b"a: 1\nb: \xe9x", "2:4: the byte 0xe9, which is not UTF-8; accepted: UTF-8"),
        ("a: \x01", "1:4: the character '\\x01'; accepted: printable characters"),
        ("\ud800: x", "1:1: the byte 0xed, which is not UTF-8; accepted: UTF-8"),
        ("[" * 100, "1:65: more levels of nesting; accepted: at most 64 levels"),
        ("? [a]\n: b", "1:3: a list or a mapping as a key; accepted: text as a key"),
        (
            "a:\n  b: 1\n c: 2",
            "3:2: a key that is indented otherwise; accepted: lines that are indented like the first one of their "
            "block",
        ),
        ("x" * (1 << 16) + "y", "1:1: 65,537 bytes; accepted: files of at most 65,536 bytes"),
        ('a: "\\UFFFFFFFF"', "1:1: no YAML (Python int too large to convert to C int); accepted: one YAML document"),
    ],
)
def test_what_is_refused_names_place_finding_and_what_is_accepted(text, message):
    with pytest.raises(YamlError) as caught:
        read(text, "f.yaml")
    assert str(caught.value) == "f.yaml:" + message


@given(st.text(alphabet="a:-[]{}&*!|>'\"\\#%@`,?<~ \n\t0x1.\x85\ufeff", max_size=60) | st.binary(max_size=40))
def test_nothing_but_one_error_comes_out_of_any_text(text):
    with contextlib.suppress(YamlError):
        read(text)


def test_a_file_is_read_up_to_the_limit_only(tmp_path):
    path = tmp_path / "big.yaml"
    path.write_bytes(b"x" * ((1 << 16) + 1))
    with pytest.raises(YamlError, match="more than 65,536 bytes; accepted: files of at most 65,536 bytes"):
        read_file(path)


@pytest.fixture
def pipe(tmp_path):
    path = tmp_path / "pipe.yaml"
    os.mkfifo(path)
    return path


def test_a_pipe_is_read_to_its_end(pipe):
    """As of `<(...)`, where what writes takes its time."""

    def write():
        with pipe.open("w") as stream:
            for line in ("a: 1\n", "b: 2\n"):
                stream.write(line)
                stream.flush()
                time.sleep(0.05)

    writing = threading.Thread(target=write)
    writing.start()
    assert read_file(pipe).value == {"a": 1, "b": 2}
    writing.join()


def test_a_pipe_that_nobody_writes_into_or_closes_is_told_and_not_waited_for(pipe, monkeypatch):
    monkeypatch.setattr(yaml, "PIPE_S", 0.2)
    said = "a pipe or a terminal that came to no end in 0.2 s; accepted: a file, or a pipe that somebody writes"
    with pytest.raises(YamlError, match=said):
        read_file(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with pipe.open("w") as stream:
        stream.write("a: 1\n")
        stream.flush()
        os.close(reading)
        with pytest.raises(YamlError, match=said):
            read_file(pipe)


def test_a_pipe_that_was_read_before_is_no_empty_file():
    """A limit of the first reading must not become the default by a second one."""
    reading, writing = os.pipe()
    os.write(writing, b"limits: {daily_loss: 0.01}\n")
    os.close(writing)
    path = f"/proc/self/fd/{reading}"
    assert read_file(path).value == {"limits": {"daily_loss": 0.01}}
    with pytest.raises(YamlError, match="a pipe that nothing came out of; accepted: a file, or a pipe that somebody"):
        read_file(path)
    os.close(reading)


def test_a_file_that_cannot_be_read_is_the_same_error(tmp_path):
    with pytest.raises(YamlError, match=r"none.yaml:1:1: a file that cannot be read \(No such file or directory\)"):
        read_file(tmp_path / "none.yaml")
