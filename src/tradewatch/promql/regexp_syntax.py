"""RE2's syntax, as Go's `regexp/syntax` reads it: text to a tree of literals, classes, repetitions and assertions."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from tradewatch.promql.char_class import ANY, NAMED, NOT_NEWLINE, PERL, CharClass, category_class

MAX_REPEAT = 1000
MAX_NESTING = 100


class RegexpError(ValueError):
    """The pattern is not an RE2 pattern; the message is Go's."""


class RegexpUnsupported(ValueError):  # noqa: N818 - valid in RE2, unlike a RegexpError
    """The pattern is an RE2 pattern that is not supported here."""


class Concat(msgspec.Struct, frozen=True):
    """One after another; empty, it matches the empty string."""

    parts: tuple[Node, ...]


class Alternate(msgspec.Struct, frozen=True):
    """Any one of them."""

    branches: tuple[Node, ...]


class Repeat(msgspec.Struct, frozen=True):
    """`least` to `most` times, without end if that is None."""

    node: Node
    least: int
    most: int | None


class Assertion(msgspec.Struct, frozen=True):
    """A condition on the place between two characters."""

    kind: Literal["text start", "text end", "line start", "line end", "word edge", "no word edge"]


Node: TypeAlias = CharClass | Concat | Alternate | Repeat | Assertion


class _Flags(msgspec.Struct):
    fold: bool = False
    lines: bool = False
    # Prometheus reads every pattern with (?s): a dot matches a newline.
    dot_newline: bool = True


class _Reader(msgspec.Struct):
    text: str
    at: int = 0
    depth: int = 0

    def peek(self, n: int = 1) -> str:
        return self.text[self.at : self.at + n]

    def take(self, expected: str) -> bool:
        if self.text.startswith(expected, self.at):
            self.at += len(expected)
            return True
        return False


def parse_regexp(pattern: str) -> Node:
    """Read a pattern.

    Raises:
        RegexpError: Go would refuse it too.
        RegexpUnsupported: Go would accept it.
    """
    reader = _Reader(pattern)
    node = _alternation(reader, _Flags())
    if reader.at < len(pattern):
        raise RegexpError(f"unexpected ): `{pattern}`")
    if _repeats(node) > MAX_REPEAT:
        raise RegexpError("invalid repeat count")
    return node


def _repeats(node: Node) -> int:
    """How often the innermost of nested counted repetitions would be copied."""
    match node:
        case Concat(parts) | Alternate(parts):
            return max((_repeats(part) for part in parts), default=1)
        case Repeat(inner, least, most):
            # `*`, `+` and `?` are not counted, so they do not multiply.
            count = least if most is None else most
            return max(count, 1) * _repeats(inner)
        case _:
            return 1


def _alternation(reader: _Reader, flags: _Flags) -> Node:
    reader.depth += 1
    if reader.depth > MAX_NESTING:
        raise RegexpUnsupported(f"groups nested deeper than {MAX_NESTING}")
    branches = [_concatenation(reader, flags)]
    while reader.take("|"):
        branches.append(_concatenation(reader, flags))
    reader.depth -= 1
    return branches[0] if len(branches) == 1 else Alternate(tuple(branches))


def _concatenation(reader: _Reader, flags: _Flags) -> Node:
    parts: list[Node] = []
    while (char := reader.peek()) and char not in "|)":
        start = reader.at
        if (bounds := _repetition(reader)) is not None:
            if not parts:
                raise RegexpError(f"missing argument to repetition operator: `{reader.text[start : reader.at]}`")
            parts[-1] = Repeat(parts[-1], *bounds)
            if _repetition(reader) is not None:
                raise RegexpError(f"invalid nested repetition operator: `{reader.text[start : reader.at]}`")
        elif reader.take("\\Q"):
            end = reader.text.find("\\E", reader.at)
            quoted = reader.text[reader.at : end if end >= 0 else len(reader.text)]
            reader.at = end + 2 if end >= 0 else len(reader.text)
            parts.extend(_literal(char, flags) for char in quoted)
        elif (atom := _atom(reader, flags)) is not None:
            parts.append(atom)
    return parts[0] if len(parts) == 1 else Concat(tuple(parts))


def _repetition(reader: _Reader) -> tuple[int, int | None] | None:
    """The bounds of a repetition operator at this place, if there is one; a lazy one matches the same strings."""
    match reader.peek():
        case "*":
            bounds: tuple[int, int | None] = (0, None)
            reader.at += 1
        case "+":
            bounds = (1, None)
            reader.at += 1
        case "?":
            bounds = (0, 1)
            reader.at += 1
        case "{":
            counted = _counted(reader)
            if counted is None:
                return None
            bounds = counted
        case _:
            return None
    reader.take("?")
    return bounds


def _counted(reader: _Reader) -> tuple[int, int | None] | None:
    """`{n}`, `{n,}` or `{n,m}`; anything else after a brace is literal text."""
    end = reader.text.find("}", reader.at)
    least, comma, most = reader.text[reader.at + 1 : max(end, reader.at)].partition(",")
    if end < 0 or not _is_count(least) or (most and not _is_count(most)):
        return None
    low = int(least[:5])
    high = low if not comma else int(most[:5]) if most else None
    if low > MAX_REPEAT or (high is not None and (high > MAX_REPEAT or high < low)):
        raise RegexpError(f"invalid repeat count: `{reader.text[reader.at : end + 1]}`")
    reader.at = end + 1
    return low, high


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and (text == "0" or text[0] != "0")


def _atom(reader: _Reader, flags: _Flags) -> Node | None:
    """One thing that can be repeated; None after flags, which are nothing to repeat."""
    char = reader.peek()
    if char == "(":
        return _group(reader, flags)
    if char == "[":
        return _bracketed(reader, flags)
    if char == "\\":
        return _escape(reader, flags)
    reader.at += 1
    match char:
        case ".":
            return ANY if flags.dot_newline else NOT_NEWLINE
        case "^":
            return Assertion("line start" if flags.lines else "text start")
        case "$":
            return Assertion("line end" if flags.lines else "text end")
        case _:
            return _literal(char, flags)


def _literal(char: str, flags: _Flags) -> CharClass:
    return CharClass(((ord(char), ord(char)),), fold=flags.fold)


def _group(reader: _Reader, flags: _Flags) -> Node | None:
    start = reader.at
    reader.at += 1
    inner = _Flags(flags.fold, flags.lines, flags.dot_newline)
    if reader.take("?"):
        if reader.take("P<") or reader.take("<"):
            _group_name(reader, start)
        elif not _group_flags(reader, inner, start):
            flags.fold, flags.lines, flags.dot_newline = inner.fold, inner.lines, inner.dot_newline
            return None
    node = _alternation(reader, inner)
    if not reader.take(")"):
        raise RegexpError(f"missing closing ): `{reader.text}`")
    # A group is one thing to repeat, also when it holds a repetition.
    return node


def _group_name(reader: _Reader, start: int) -> None:
    end = reader.text.find(">", reader.at)
    name = reader.text[reader.at : end] if end >= 0 else ""
    if not (name.isascii() and name.replace("_", "a").isalnum()):
        shown = reader.text[start : end + 1] if end >= 0 else reader.text[start:]
        raise RegexpError(f"invalid named capture: `{shown}`")
    reader.at = end + 1


def _group_flags(reader: _Reader, flags: _Flags, start: int) -> bool:
    """Read flags into `flags`; True if a group follows (`(?i:`), False if that was all (`(?i)`)."""
    value, seen = True, False
    while char := reader.peek():
        reader.at += 1
        match char:
            case "i":
                flags.fold = value
            case "m":
                flags.lines = value
            case "s":
                flags.dot_newline = value
            case "U":
                pass
            case "-" if value:
                value, seen = False, False
                continue
            case ":" | ")" if value or seen:
                return char == ":"
            case _:
                break
        seen = True
    if reader.at >= len(reader.text) and reader.text[-1] not in ":)":
        raise RegexpError(f"missing closing ): `{reader.text}`")
    raise RegexpError(f"invalid or unsupported Perl syntax: `{reader.text[start : reader.at]}`")


def _escape(reader: _Reader, flags: _Flags) -> Node:
    following = reader.peek(2)
    match following:
        case "\\A":
            reader.at += 2
            return Assertion("text start")
        case "\\z":
            reader.at += 2
            return Assertion("text end")
        case "\\b":
            reader.at += 2
            return Assertion("word edge")
        case "\\B":
            reader.at += 2
            return Assertion("no word edge")
    if (known := _class_escape(reader)) is not None:
        return known.folded(flags.fold)
    return _literal(_escaped_char(reader), flags)


def _class_escape(reader: _Reader) -> CharClass | None:
    """Digits, words, white space and their opposites, and Unicode classes."""
    following = reader.peek(2)
    if following in PERL:
        reader.at += 2
        return PERL[following]
    if following not in {"\\p", "\\P"}:
        return None
    start = reader.at
    reader.at += 2
    if reader.take("{"):
        end = reader.text.find("}", reader.at)
        if end < 0:
            raise RegexpError(f"invalid character class range: `{reader.text[start:]}`")
        name = reader.text[reader.at : end]
        reader.at = end + 1
    else:
        name = reader.peek()
        reader.at += 1
    negated = following == "\\P"
    if name.startswith("^"):
        name, negated = name[1:], not negated
    known = category_class(name, negated=negated)
    if known is None:
        if not name.replace("_", "a").isalpha():
            raise RegexpError(f"invalid character class range: `{reader.text[start : reader.at]}`")
        raise RegexpUnsupported(f"the character class {reader.text[start : reader.at]}")
    return known


_SIMPLE = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_OCTAL = "01234567"
_HEX = "0123456789abcdefABCDEF"


def _escaped_char(reader: _Reader) -> str:
    start = reader.at
    reader.at += 1
    char = reader.peek()
    if not char:
        raise RegexpError("trailing backslash at end of expression: ``")
    reader.at += 1
    if char in _SIMPLE:
        return _SIMPLE[char]
    # A digit is octal; one alone that is not 0 would be a backreference, which RE2 does not have.
    if char in _OCTAL and (char == "0" or (reader.peek() and reader.peek() in _OCTAL)):
        digits = char
        while len(digits) < 3 and reader.peek() and reader.peek() in _OCTAL:
            digits += reader.peek()
            reader.at += 1
        return chr(int(digits, 8))
    if char == "x" and (code := _hex_code(reader)) is not None:
        return chr(code)
    if ord(char) < 0x80 and not char.isalnum():
        return char
    raise RegexpError(f"invalid escape sequence: `{reader.text[start : reader.at]}`")


def _hex_code(reader: _Reader) -> int | None:
    if reader.take("{"):
        end = reader.text.find("}", reader.at)
        digits = reader.text[reader.at : max(end, reader.at)]
        if end < 0 or not digits or any(c not in _HEX for c in digits) or int(digits, 16) > 0x10FFFF:
            return None
        reader.at = end + 1
        return int(digits, 16)
    digits = reader.peek(2)
    if len(digits) < 2 or any(c not in _HEX for c in digits):
        return None
    reader.at += 2
    return int(digits, 16)


def _bracketed(reader: _Reader, flags: _Flags) -> CharClass:
    start = reader.at
    reader.at += 1
    negated = reader.take("^")
    ranges: list[tuple[int, int]] = []
    classes: list[CharClass] = []
    first = True
    while not reader.peek().startswith("]") or first:
        first = False
        if not reader.peek():
            raise RegexpError(f"missing closing ]: `{reader.text[start:]}`")
        if reader.peek(2) == "[:" and (end := reader.text.find(":]", reader.at + 2)) >= 0:
            name = reader.text[reader.at : end + 2]
            if name not in NAMED:
                raise RegexpError(f"invalid character class range: `{name}`")
            classes.append(NAMED[name])
            reader.at = end + 2
        elif (known := _class_escape(reader)) is not None:
            classes.append(known)
        else:
            ranges.append(_range(reader, start))
    reader.at += 1
    return CharClass(tuple(ranges), tuple(classes), negated=negated, fold=flags.fold)


def _range(reader: _Reader, bracket: int) -> tuple[int, int]:
    start = reader.at
    low = high = ord(_class_char(reader, bracket))
    if reader.peek() == "-" and reader.peek(2) != "-]" and len(reader.peek(2)) == 2:
        reader.at += 1
        high = ord(_class_char(reader, bracket))
        if high < low:
            raise RegexpError(f"invalid character class range: `{reader.text[start : reader.at]}`")
    return low, high


def _class_char(reader: _Reader, bracket: int) -> str:
    if not reader.peek():
        raise RegexpError(f"missing closing ]: `{reader.text[bracket:]}`")
    if reader.peek() == "\\":
        return _escaped_char(reader)
    reader.at += 1
    return reader.text[reader.at - 1]
