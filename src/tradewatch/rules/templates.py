"""The part of Go's templates that alerting rules use in labels and annotations, with the same output.

`{{ $value }}`, `{{ $labels.name }}`, `{{ $externalLabels.name }}` (also `.Value`, `.Labels.name`,
`.ExternalLabels.name`), text in quotes, pipes and parentheses; the functions or, printf, humanize, humanize1024,
humanizeDuration and humanizePercentage; comments, and `{{-` and `-}}`, which trim white space. Everything else is
refused when the rule is read, so that a rule that loads here means the same in Prometheus. Formats are those of
Prometheus's `template/template.go` and of Go's `fmt`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from tradewatch.rules.gofmt import Verb, format_verb, format_verbs, shown

ACCEPTED = (
    "$value, $labels.name, $externalLabels.name, text in quotes, and the functions or, printf, humanize, humanize1024, "
    "humanizeDuration, humanizePercentage"
)
_KEYWORDS = frozenset(
    ["if", "else", "end", "range", "with", "define", "template", "block", "break", "continue", "nil", "true", "false"]
)
_ROOTS = {"labels": "labels", "Labels": "labels", "externalLabels": "external", "ExternalLabels": "external"}
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)|(?P<text>"(?:[^"\\\n]|\\.)*"|`[^`]*`)|(?P<operand>[$.][\w.]*)|(?P<word>[^\W\d]\w*)"""
    r"""|(?P<number>[-+]?\d[\w.]*)|(?P<mark>[|()])""",
    re.DOTALL,
)
# Pipes and parentheses nest, and so does what reads them.
_MOST_CALLS = 32
_AFTER_WORD = re.compile(r"[ \t\r\n|)]|}}|\Z")
_GO_FLOAT = re.compile(r"[-+]?(?:(?:\d(?:_?\d)*\.?\d*|\.\d+)(?:e[-+]?\d+)?|inf|infinity|nan)", re.ASCII | re.IGNORECASE)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
# Prometheus puts these definitions before each template; positions in its messages count them.
_BEFORE = (
    "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}"
)


class TemplateError(ValueError):
    """A template that is wrong or uses what is not supported; `offset` is the character in its text."""

    def __init__(self, found: str, accepted: str, offset: int) -> None:
        self.found = found
        self.accepted = accepted
        self.offset = offset
        super().__init__(f"{found}; accepted: {accepted}")


class _Value(NamedTuple):
    """`$value`."""


class _Label(NamedTuple):
    """`$labels.name` or `$externalLabels.name`."""

    root: str
    name: str


class _Call(NamedTuple):
    """A function with its arguments; `verbs` for printf, `shown` and `offset` for messages."""

    function: str
    args: tuple[_Node, ...]
    verbs: tuple[str | Verb, ...]
    shown: str
    offset: int


_Node = str | _Value | _Label | _Call


class _Facts(NamedTuple):
    value: float
    labels: Mapping[str, str]
    external: Mapping[str, str]


class _Failed(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, message: str, call: _Call) -> None:
        self.message = message
        self.call = call
        super().__init__(message)


class Template:
    """A template that was read once and can be expanded often."""

    def __init__(self, text: str, parts: tuple[_Node, ...]) -> None:
        self.text = text
        self._parts = parts
        self._constant = "".join(p for p in parts if isinstance(p, str)) if _is_constant(parts) else None

    def expand(self, value: float, labels: Mapping[str, str], external: Mapping[str, str], alert: str) -> str:
        """The text for one alert; where expanding fails, the text of the failure as Prometheus words it.

        `labels` are those of the expression's result, before the rule's own are added; `alert` is the rule's name.
        """
        if self._constant is not None:
            return self._constant
        facts = _Facts(value, labels, external)
        try:
            return "".join([shown(_evaluate(part, facts)) for part in self._parts])
        except _Failed as failed:
            name = f"__alert_{alert}"
            call = failed.call
            return (
                f"<error expanding template: error executing template {name}: "
                f"template: {name}:{_position(self.text, call.offset)}: "
                f'executing "{name}" at <{call.shown}>: error calling {call.function}: {failed.message}>'
            )


def parse(text: str) -> Template:
    """Read a template.

    Raises:
        TemplateError: it is wrong, or uses what is not supported.
    """
    parts: list[_Node] = []
    at, trims = 0, False
    while True:
        start = text.find("{{", at)
        literal = text[at:] if start < 0 else text[at:start]
        if trims:
            literal = literal.lstrip(" \t\r\n")
        if start < 0:
            parts.append(literal)
            return Template(text, tuple(p for p in parts if p != ""))
        inner = start + 2
        if text[inner : inner + 1] == "-" and text[inner + 1 : inner + 2] in (" ", "\t", "\r", "\n"):
            literal = literal.rstrip(" \t\r\n")
            inner += 2
        parts.append(literal)
        comment = re.compile(r"/\*.*?\*/([ \t\r\n]+-)?}}", re.DOTALL).match(text, inner)
        if comment:
            at, trims = comment.end(), bool(comment[1])
            continue
        action = _Action(text, start, inner)
        parts.append(action.pipeline())
        at, trims = action.close()


class _Action:
    """Reads what stands between `{{` and `}}`."""

    def __init__(self, text: str, start: int, inner: int) -> None:
        self._text = text
        self._start = start
        self._at = inner
        self._calls = 0

    def _next(self) -> tuple[str, str, int]:
        """Kind, text and offset of the next token; the end is of kind 'end'."""
        while True:
            at = self._at
            if re.compile(r"[ \t\r\n]+-}}|}}").match(self._text, at):
                return "end", "}}", at
            match = _TOKEN.match(self._text, at)
            if match is None:
                if at >= len(self._text):
                    raise TemplateError("'{{' without '}}'", "'{{' and '}}' in pairs", self._start)
                raise TemplateError(f"{self._text[at]!r} in a template", ACCEPTED, at)
            if match.lastgroup != "space":
                return str(match.lastgroup), match[0], at
            self._at = match.end()

    def _take(self) -> tuple[str, str, int]:
        kind, word, at = self._next()
        self._at = at + len(word)
        if kind in ("operand", "word", "text") and not _AFTER_WORD.match(self._text, self._at):
            found = f"{self._text[self._at : self._at + 1]!r} right after {word!r}"
            raise TemplateError(found, "a space between the two", self._at)
        return kind, word, at

    def close(self) -> tuple[int, bool]:
        """Where the action ends, and whether it trims what follows."""
        match = re.compile(r"([ \t\r\n]+-)?}}").match(self._text, self._at)
        if match is None:
            _, word, at = self._next()
            raise TemplateError(f"{word!r} in a template", "'}}' after the value", at)
        return match.end(), bool(match[1])

    def pipeline(self) -> _Node:
        node = self._command(None)
        while self._next()[1] == "|" and self._next()[0] == "mark":
            self._take()
            node = self._command(node)
        return node

    def _command(self, piped: _Node | None) -> _Node:
        kind, word, at = self._next()
        self._calls += 1
        if self._calls > _MOST_CALLS:
            raise TemplateError("a template that goes on", f"at most {_MOST_CALLS} values and functions", at)
        if kind != "word":
            if piped is not None:
                raise TemplateError(f"{word!r} after '|'", "a function after '|'", at)
            return self._operand()
        self._take()
        if word in _KEYWORDS:
            raise TemplateError(f"{word!r} in a template, which is not supported yet", ACCEPTED, at)
        if word not in ("printf", "or") and word not in _FUNCTIONS:
            raise TemplateError(f"the function {word!r}, which is unknown or not supported yet", ACCEPTED, at)
        args = []
        while self._next()[0] in ("operand", "text", "number", "word") or self._next()[1] == "(":
            args.append(self._operand())
        words = self._text[at : self._at].split()
        if piped is not None:
            args.append(piped)
        return _call(word, args, " ".join(words), at)

    def _operand(self) -> _Node:
        kind, word, at = self._take()
        if kind == "text":
            return _unquoted(word, at)
        if kind == "operand":
            return _operand(word, at)
        if word == "(" and kind == "mark":
            node = self.pipeline()
            kind, word, at = self._take()
            if word != ")":
                raise TemplateError(f"{word!r} in a template", "')' after the value", at)
            return node
        if kind == "end":
            raise TemplateError("no value in a template", ACCEPTED, at)
        raise TemplateError(f"{word!r} in a template", ACCEPTED, at)


def _operand(word: str, at: int) -> _Node:
    if word in ("$value", ".Value"):
        return _Value()
    root, _, name = word[1:].partition(".")
    if root in _ROOTS and (word[0] == "$") == root[0].islower() and name and "." not in name:
        return _Label(_ROOTS[root], name)
    raise TemplateError(f"{word!r} in a template", ACCEPTED, at)


def _unquoted(word: str, at: int) -> str:
    if word[0] == "`":
        return word[1:-1]
    bad = re.search(r'\\[^ntr"\\abfv]', re.sub(r"\\\\", "  ", word))
    if bad:
        raise TemplateError(f"the escape {bad[0]!r}", 'the escapes \\n \\t \\r \\" \\\\', at + bad.start())
    return re.sub(r"\\(.)", lambda m: _ESCAPES[m[1]], word[1:-1])


def _call(function: str, args: list[_Node], text: str, at: int) -> _Call:
    if function == "or":
        if not args:
            raise TemplateError("or without a value", "or with one value or more", at)
        return _Call(function, tuple(args), (), text, at)
    if function != "printf":
        if len(args) != 1:
            raise TemplateError(f"{function} with {len(args)} values", f"{function} with one value", at)
        return _Call(function, tuple(args), (), text, at)
    if not args or not isinstance(args[0], str):
        raise TemplateError("printf without a format in quotes", 'printf "%.2f" and its values', at)
    try:
        verbs = format_verbs(args[0])
    except ValueError as error:
        accepted = "%f %g %e %d %s %v with width and precision, and %%"
        raise TemplateError(f"{error} in the format {args[0]!r}", accepted, at) from None
    wanted = sum(isinstance(v, Verb) for v in verbs)
    if wanted != len(args) - 1:
        found = f"{len(args) - 1} values for the format {args[0]!r}"
        raise TemplateError(found, f"{wanted}, one for each verb", at)
    return _Call(function, tuple(args[1:]), verbs, text, at)


def _is_constant(parts: tuple[_Node, ...]) -> bool:
    return all(isinstance(p, str) for p in parts)


def _evaluate(node: _Node, facts: _Facts) -> float | str:
    if isinstance(node, str):
        return node
    if isinstance(node, _Value):
        return facts.value
    if isinstance(node, _Label):
        # Go's missingkey=zero: a label that is not there is empty.
        return (facts.labels if node.root == "labels" else facts.external).get(node.name, "")
    if node.function == "or":
        # Go's: the first that is not empty, else the last; those after it are not looked at.
        found: float | str = ""
        for arg in node.args:
            found = _evaluate(arg, facts)
            if found:
                break
        return found
    args = [_evaluate(arg, facts) for arg in node.args]
    if node.function == "printf":
        values = iter(args)
        return "".join([v if isinstance(v, str) else format_verb(v, next(values)) for v in node.verbs])
    return _FUNCTIONS[node.function](_number(args[0], node))


def _number(value: float | str, call: _Call) -> float:
    if isinstance(value, float):
        return value
    # Python's float() also takes white space and digits of other scripts, which Go's ParseFloat does not.
    if _GO_FLOAT.fullmatch(value):
        number = float(value)
        if not (math.isinf(number) and "i" not in value.lower()):
            return number
        raise _Failed(f'strconv.ParseFloat: parsing "{value}": value out of range', call)
    quoted = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    raise _Failed(f'strconv.ParseFloat: parsing "{quoted}": invalid syntax', call)


def _g4(value: float) -> str:
    return format_verb(Verb("", None, 4, "g"), value)


def humanize(value: float) -> str:
    """Four digits and an SI prefix: 731020 is 731k, 0.00125 is 1.25m."""
    if value == 0 or not math.isfinite(value):
        return _g4(value)
    return _scaled(value, 1000, ("k", "M", "G", "T", "P", "E", "Z", "Y"))


def humanize1024(value: float) -> str:
    """Four digits and a binary prefix: 2048 is 2ki."""
    if abs(value) <= 1 or not math.isfinite(value):
        return _g4(value)
    return _scaled(value, 1024, ("ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"))


def humanize_duration(value: float) -> str:
    """Seconds as days, hours, minutes and seconds: 3750 is 1h 2m 30s."""
    if not math.isfinite(value):
        return _g4(value)
    if abs(value) < 1:
        return _g4(value) + "s" if value == 0 else _scaled(value, 1000, ()) + "s"
    sign, value = ("-", -value) if value < 0 else ("", value)
    if value >= 2.0**63:
        # What Go's conversion to 64 bits makes of a number that does not fit into them.
        return f"{sign}-106751991167300d -15h -30m -8s"
    days, rest = divmod(int(value), 86400)
    hours, rest = divmod(rest, 3600)
    minutes, seconds = divmod(rest, 60)
    if days:
        return f"{sign}{days}d {hours}h {minutes}m {seconds}s"
    if hours:
        return f"{sign}{hours}h {minutes}m {seconds}s"
    if minutes:
        return f"{sign}{minutes}m {seconds}s"
    return f"{sign}{_g4(value)}s"


def humanize_percentage(value: float) -> str:
    """A ratio in per cent with four digits: 0.0312 is 3.12%."""
    return _g4(value * 100) + "%"


def _scaled(value: float, step: float, prefixes: tuple[str, ...]) -> str:
    prefix = ""
    if abs(value) >= 1:
        for larger in prefixes:
            if abs(value) < step:
                break
            prefix, value = larger, value / step
    else:
        for smaller in ("m", "u", "n", "p", "f", "a", "z", "y"):
            if abs(value) >= 1:
                break
            prefix, value = smaller, value * step
    return _g4(value) + prefix


_FUNCTIONS: dict[str, Callable[[float], str]] = {
    "humanize": humanize,
    "humanize1024": humanize1024,
    "humanizeDuration": humanize_duration,
    "humanizePercentage": humanize_percentage,
}


def _position(text: str, offset: int) -> str:
    """Line and column as Go counts them: in bytes, from 0, with Prometheus's definitions on the first line."""
    before = _BEFORE + text[:offset]
    line = before.rsplit("\n", 1)[-1]
    return f"{before.count(chr(10)) + 1}:{len(line.encode())}"
