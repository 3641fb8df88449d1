"""The one YAML reader: text to plain values, with the place in the file where each of them stands.

A document is composed into nodes and never constructed, so that no tag can make an object. Plain scalars are read by
YAML 1.2's core schema (null, true, false, numbers; all else is text), so `on`, `1:30` and `2026-11-21` stay text. Keys
are always text. Refused, beyond what YAML refuses itself: duplicate keys, a second document, tags other than YAML's
own seven, text that is not UTF-8, more than 64 KiB, nesting beyond 64 levels, more than 100,000 values with aliases
followed, and aliases that loop.
"""

from __future__ import annotations

import os
import re
import select
import stat
import time
from bisect import bisect_right
from pathlib import Path
from typing import Any, NamedTuple

import yaml

# Some 300 rules; a file with all settings has 4,000 bytes. The slowest one of 64 KiB takes a second, one of 1 MiB ten.
MAX_BYTES = 1 << 16
MAX_DEPTH = 64
MAX_VALUES = 100_000
# What decrypts settings on their way into a pipe asks a server first.
PIPE_S = 5.0

# Where a value stands in its document: the keys and indexes that lead to it.
At = tuple[str | int, ...]

_CORE = "tag:yaml.org,2002:"
_TAGS = {_CORE + name: name for name in ("null", "bool", "int", "float", "str", "seq", "map")}
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)*")
_INT = re.compile(r"[-+]?[0-9]{1,300}\Z|0o[0-7]{1,300}\Z|0x[0-9a-fA-F]{1,300}\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_SPECIAL = re.compile(r"([-+]?)\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z")
_EXPECTED = re.compile(r"expected (.+?), but (?:found|got) (.+)\Z", re.DOTALL)
# PyYAML names tokens; these are the ones that a slip of indentation meets.
_WORDS = {
    "<block end>": "lines that are indented like the first one of their block",
    "'<block mapping start>'": "a key that is indented otherwise",
    "'<block sequence start>'": "a list that is indented otherwise",
    "'<scalar>'": "text that belongs to no key",
    "'<stream end>'": "the end of the file",
    "'<document start>'": "the end of the file",
    "alphabetic or numeric character": "a name behind '&' and '*', quotes around text that begins with one of them",
    "the node content": "a value",
    "'-'": "a list item",
    "'?'": "a '?'",
}
_HEX_DIGITS = {"x": 2, "u": 4, "U": 8}
_SPACE_ESCAPES = frozenset("tnvfr \tNLP_")


class Place(NamedTuple):
    """A line and a column in a file, both counted from 1, the column in characters."""

    line: int
    column: int


class YamlError(ValueError):
    """What is wrong in a file, where, and what is accepted there. Lines and columns count from 1."""

    def __init__(self, file: str, place: Place, found: str, accepted: str) -> None:
        self.file = file
        self.line, self.column = place
        self.found = found
        self.accepted = accepted
        super().__init__(f"{file}:{place.line}:{place.column}: {found}; accepted: {accepted}")


class Document:
    """Plain values (None, bool, int, float, str, list, dict with text keys) and where they stand.

    `value` is the whole document, None for an empty one. The methods take the path to a value: `("groups", 0, "name")`.
    """

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.value: Any = None
        self._text = text
        self._starts = [0, *(m.end() for m in _BREAK.finditer(text))]
        self._nodes: dict[At, yaml.Node] = {}
        self._keys: dict[At, yaml.Node] = {}

    def place(self, at: At) -> Place:
        """Where the value begins; the start of the file where there is no such value."""
        node = self._nodes.get(at)
        return Place(1, 1) if node is None else _place(node.start_mark)

    def key_place(self, at: At) -> Place:
        """Where the key of a value in a mapping begins; for an item of a list, where the item begins."""
        node = self._keys.get(at)
        return self.place(at) if node is None else _place(node.start_mark)

    def text(self, at: At) -> str | None:
        """A scalar as text before it was read as a number or a boolean; None for a list, a mapping and a null."""
        node = self._nodes.get(at)
        if not isinstance(node, yaml.ScalarNode) or (not node.tag and not node.style and _is_null(node.value)):
            return None
        return str(node.value)

    def place_in(self, at: At, offset: int) -> Place:
        """Where the character `offset` of a scalar's text stands in the file, whatever style the scalar is written in.

        Exact for every character that is not white space; white space that YAML folded away is placed at the end of
        what stands before it.
        """
        node = self._nodes.get(at)
        if not isinstance(node, yaml.ScalarNode):
            return self.place(at)
        value: str = node.value
        offset = max(0, min(offset, len(value)))
        spans = self._written(node)
        rank = sum(not c.isspace() for c in value[:offset])
        if offset < len(value) and not value[offset].isspace() and rank < len(spans):
            return self._at(spans[rank][0])
        if not 0 < rank <= len(spans):
            return self.place(at)
        end = spans[rank - 1][1]
        gap = value[len(value[:offset].rstrip()) : offset]
        return self._at(end + len(gap) if self._text[end : end + len(gap)] == gap else end)

    def error(self, at: At, found: str, accepted: str, *, offset: int | None = None, key: bool = False) -> YamlError:
        """An error at a value, at its key, or at one character of its text."""
        place = self.key_place(at) if key else self.place(at) if offset is None else self.place_in(at, offset)
        return YamlError(self.file, place, found, accepted)

    def _at(self, index: int) -> Place:
        line = bisect_right(self._starts, index)
        return Place(line, index - self._starts[line - 1] + 1)

    def _written(self, node: yaml.ScalarNode) -> list[tuple[int, int]]:
        """Where each character of the value that is not white space is written: start and end in the text."""
        text, end = self._text, node.end_mark.index
        match = _PROPERTIES.match(text, node.start_mark.index, end)
        i = match.end() if match else node.start_mark.index
        if node.style in ("|", ">"):
            header = _BREAK.search(text, i, end)
            i = header.end() if header else end
        elif node.style in ("'", '"'):
            i, end = i + 1, end - 1
        spans = []
        while i < end:
            width, shows = 1, not text[i].isspace()
            if node.style == "'" and text[i] == "'":
                width = 2
            elif node.style == '"' and text[i] == "\\":
                code = text[i + 1]
                digits = _HEX_DIGITS.get(code, 0)
                width = 2 + digits
                shows = code not in _SPACE_ESCAPES and not _BREAK.match(code)
                if digits:
                    shows = not chr(int(text[i + 2 : i + width], 16)).isspace()
            if shows:
                spans.append((i, i + width))
            i += width
        return spans

    def _take(self, node: yaml.Node) -> None:
        self.value = _Reading(self).value((), node)


class _Reading:
    """One walk from nodes to plain values."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._open: set[int] = set()
        self._count = 0

    def value(self, at: At, node: yaml.Node) -> Any:
        self._document._nodes[at] = node
        self._count += 1
        if self._count > MAX_VALUES:
            raise self._error(node, "too many values", f"at most {MAX_VALUES:,} in a file, aliases followed")
        if node.tag and node.tag not in _TAGS:
            tag = node.tag.replace(_CORE, "!!", 1)
            raise self._error(node, f"tag {tag!r}", "values without a tag")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if id(node) in self._open:
            raise self._error(node, "an anchor that holds an alias to itself", "aliases to values that are complete")
        self._open.add(id(node))
        value: Any
        if isinstance(node, yaml.SequenceNode):
            value = [self.value((*at, i), item) for i, item in enumerate(node.value)]
        else:
            value = self._mapping(at, node)
        self._open.discard(id(node))
        return value

    def _mapping(self, at: At, node: yaml.Node) -> dict[str, Any]:
        value: dict[str, Any] = {}
        merged: list[yaml.Node] = []
        for key, item in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self._error(key, "a list or a mapping as a key", "text as a key")
            name: str = key.value
            if name == "<<" and key.style is None:
                merged += item.value if isinstance(item, yaml.SequenceNode) else [item]
                continue
            if name in value:
                first = self._document.key_place((*at, name))
                found = f"key {name!r} a second time, after line {first.line}"
                raise self._error(key, found, "each key once in a mapping")
            self._document._keys[(*at, name)] = key
            value[name] = self.value((*at, name), item)
        for source in merged:
            # '<<' takes what the mapping has not got itself; of several sources the first one wins.
            if not isinstance(source, yaml.MappingNode):
                raise self._error(source, "no mapping after '<<'", "an alias to a mapping")
            if id(source) in self._open:
                raise self._error(source, "an anchor that holds an alias to itself", "aliases to complete values")
            self._open.add(id(source))
            for name, taken in self._mapping(at, yaml.MappingNode("", _without(source, value))).items():
                value[name] = taken
            self._open.discard(id(source))
        return value

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text: str = node.value
        kind = _TAGS.get(node.tag, "")
        if kind == "str" or (not kind and node.style is not None):
            return text
        value = core(text)
        if kind and kind != {bool: "bool", int: "int", float: "float", str: "str"}.get(type(value), "null"):
            raise self._error(node, f"{text!r} with the tag '!!{kind}'", "values without a tag")
        return value

    def _error(self, node: yaml.Node, found: str, accepted: str) -> YamlError:
        return YamlError(self._document.file, _place(node.start_mark), found, accepted)


def _without(source: yaml.MappingNode, taken: dict[str, Any]) -> list[tuple[yaml.Node, yaml.Node]]:
    return [(key, item) for key, item in source.value if not isinstance(key.value, str) or key.value not in taken]


class _Loader(yaml.SafeLoader):
    """Composes nodes; leaves untagged ones without a tag, and stops at a depth that no settings file needs."""

    depth = 0

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        return ""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.depth >= MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(
                problem=f"expected at most {MAX_DEPTH} levels, but found more levels of nesting", problem_mark=mark
            )
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def core(text: str) -> bool | int | float | str | None:
    """A plain scalar by YAML 1.2's core schema: null, boolean, number, else the text itself."""
    if _is_null(text):
        return None
    if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return text[0] in "tT"
    if _INT.match(text):
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if _FLOAT.match(text):
        return float(text)
    if special := _SPECIAL.match(text):
        return float("nan") if special[3] else float(special[1] + "inf")
    return text


def read(source: bytes | str, file: str = "<text>") -> Document:
    """Read one YAML document. `file` is the name that errors give.

    Raises:
        YamlError: the text is no YAML, or it is one of the things that this reader refuses (see the module).
    """
    data = source.encode("utf-8", "surrogatepass") if isinstance(source, str) else source
    if len(data) > MAX_BYTES:
        raise YamlError(file, Place(1, 1), f"{len(data):,} bytes", f"files of at most {MAX_BYTES:,} bytes")
    text = _decode(data, file)
    try:
        node = _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        raise _marked(error, text, file) from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        found = f"the character {chr(int(error.character))!r}"
        raise YamlError(file, _end_of(before), found, "printable characters") from None
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        # PyYAML lets a few of Python's own errors out, such as for an escape beyond the last character.
        raise YamlError(file, Place(1, 1), f"no YAML ({error})", "one YAML document") from None
    document = Document(file, text)
    if node is not None:
        document._take(node)
    return document


def read_file(path: str | Path) -> Document:
    """Read the YAML document in a file, or from a pipe; of one that is too large no more than it may have is read.

    Raises:
        YamlError: as `read`, and where it cannot be read, or is a pipe that says nothing, or has no end in time.
    """
    try:
        # Opened so that neither this nor a read waits for whoever writes into a pipe, perhaps never.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            data = _bytes(descriptor, str(path))
        finally:
            os.close(descriptor)
    except OSError as error:
        found = f"a file that cannot be read ({error.strerror})"
        raise YamlError(str(path), Place(1, 1), found, "a readable file") from None
    if len(data) > MAX_BYTES:
        raise YamlError(
            str(path), Place(1, 1), f"more than {MAX_BYTES:,} bytes", f"files of at most {MAX_BYTES:,} bytes"
        )
    # Between the tokens of JSON a tab is as good as a space, and within them it cannot stand.
    return read(data.replace(b"\t", b" ") if Path(path).suffix == ".json" else data, str(path))


def _bytes(descriptor: int, file: str) -> bytes:
    """All of a file, up to one byte more than it may have. A pipe has an end once nobody writes into it any more."""
    ready = select.poll()
    ready.register(descriptor, select.POLLIN)
    until = time.monotonic() + PIPE_S
    data = b""
    accepted = f"a file, or a pipe that somebody writes and closes within {PIPE_S:g} s"
    while len(data) <= MAX_BYTES:
        if not ready.poll(max(0.0, until - time.monotonic()) * 1000):
            raise YamlError(file, Place(1, 1), f"a pipe or a terminal that came to no end in {PIPE_S:g} s", accepted)
        more = os.read(descriptor, MAX_BYTES + 1 - len(data))
        if not more:
            break
        data += more
    # Of one that was read before, as at SIGHUP, nothing is left: that must not pass for a file without settings.
    if not data and stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        raise YamlError(file, Place(1, 1), "a pipe that nothing came out of", accepted)
    return data


def _decode(data: bytes, file: str) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise YamlError(file, Place(1, 1), "UTF-16", "UTF-8")
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8").removeprefix("\ufeff")
        found = f"the byte 0x{data[error.start]:02x}, which is not UTF-8"
        raise YamlError(file, _end_of(before), found, "UTF-8") from None


def _marked(error: yaml.MarkedYAMLError, text: str, file: str) -> YamlError:
    mark = error.problem_mark or error.context_mark
    place = Place(1, 1) if mark is None else _place(mark)
    if mark is not None and text[mark.index : mark.index + 1] == "\t":
        return YamlError(file, place, "a tab", "spaces")
    problem = error.problem or "no YAML"
    if problem == "found unexpected end of stream" and error.context_mark is not None:
        return YamlError(file, _place(error.context_mark), "a quote that nothing ends", "the same quote at the end")
    if problem == "but found another document":
        return YamlError(file, place, "a second document", "one document in a file")
    if expected := _EXPECTED.match(problem):
        return YamlError(file, place, *(_WORDS.get(word, word) for word in (expected[2], expected[1])))
    if problem == "mapping values are not allowed here":
        return YamlError(file, place, "a second ':' in one line", "one 'key: value' a line, text with ': ' in quotes")
    return YamlError(file, place, problem.removeprefix("found "), "YAML: 'key: value', lists with '- ', text in quotes")


def _end_of(before: str) -> Place:
    lines = _BREAK.split(before)
    return Place(len(lines), len(lines[-1]) + 1)


def _place(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1)


def _is_null(text: str) -> bool:
    return text in ("", "~", "null", "Null", "NULL")
