"""Matching of anchored RE2 patterns in time proportional to pattern times value.

Python's `re` backtracks, and holds the interpreter while it does: `(a+)+b` on 27 characters stops every thread for
seconds, and three `.*` in a row are enough for tenths of them. Here all ways through the pattern are followed at once
(Thompson's simulation), so no pattern is dangerous and none has to be refused for it.
"""

from __future__ import annotations

import msgspec

from tradewatch.promql.char_class import CharClass
from tradewatch.promql.regexp_syntax import (
    Alternate,
    Assertion,
    Concat,
    Node,
    RegexpUnsupported,
    Repeat,
    parse_regexp,
)

# Steps of the compiled pattern; a match costs at most this many for each character of the value.
MAX_STEPS = 2000


class Regexp(msgspec.Struct, frozen=True, eq=False):
    """A compiled pattern; equal to another of the same text."""

    pattern: str
    _literals: frozenset[str] | None
    _steps: tuple[_Step, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Regexp) and self.pattern == other.pattern

    def __hash__(self) -> int:
        return hash(self.pattern)

    def __repr__(self) -> str:
        return f"Regexp({self.pattern!r})"

    def fullmatch(self, value: str) -> bool:
        """Whether the whole value matches."""
        if self._literals is not None:
            return value in self._literals
        return _run(self._steps, value)


def compile_regexp(pattern: str) -> Regexp:
    """Compile a pattern.

    Raises:
        RegexpError: the pattern is not RE2.
        RegexpUnsupported: it is, but too large, or with classes that are not known here.
    """
    tree = parse_regexp(pattern)
    literals = _literals(tree)
    if literals is not None:
        return Regexp(pattern, literals, ())
    steps: list[_Step] = []
    _emit(tree, steps)
    steps.append(_MATCH)
    return Regexp(pattern, None, tuple(steps))


class _Step(msgspec.Struct):
    """Read a character of `wants`, or check `holds`, then go on to `to`; with neither, only go on, to any of `to`."""

    wants: CharClass | None = None
    holds: str = ""
    to: tuple[int, ...] = ()
    memo: dict[str, bool] = msgspec.field(default_factory=dict)


_MATCH = _Step()


def _literals(node: Node) -> frozenset[str] | None:
    """The strings that a pattern such as `BTC|ETH` stands for, if it is that simple."""
    match node:
        case CharClass():
            char = node.literal()
            return None if char is None else frozenset((char,))
        case Concat(parts):
            chars = [part.literal() if isinstance(part, CharClass) else None for part in parts]
            return None if None in chars else frozenset(("".join(char or "" for char in chars),))
        case Alternate(branches):
            found = [_literals(branch) for branch in branches]
            return None if None in found else frozenset().union(*(one or frozenset() for one in found))
        case _:
            return None


def _emit(node: Node, steps: list[_Step]) -> None:
    if len(steps) > MAX_STEPS:
        raise RegexpUnsupported(f"a pattern of more than {MAX_STEPS} steps")
    here = len(steps)
    match node:
        case CharClass():
            steps.append(_Step(wants=node, to=(here + 1,)))
        case Assertion(kind):
            steps.append(_Step(holds=kind, to=(here + 1,)))
        case Concat(parts):
            for part in parts:
                _emit(part, steps)
        case Alternate(branches):
            fork = _Step()
            steps.append(fork)
            starts, ends = [], []
            for branch in branches:
                starts.append(len(steps))
                _emit(branch, steps)
                ends.append(_Step())
                steps.append(ends[-1])
            fork.to = tuple(starts)
            for end in ends:
                end.to = (len(steps),)
        case Repeat(inner, least, most):
            for _ in range(least):
                _emit(inner, steps)
                if len(steps) == here:  # the empty string, however often
                    break
            if most is None:
                _emit_star(inner, steps)
            else:
                _emit_optional(inner, most - least, steps)


def _emit_star(node: Node, steps: list[_Step]) -> None:
    fork = _Step()
    here = len(steps)
    steps.append(fork)
    _emit(node, steps)
    steps.append(_Step(to=(here,)))
    fork.to = (here + 1, len(steps))


def _emit_optional(node: Node, times: int, steps: list[_Step]) -> None:
    forks = []
    for _ in range(times):
        fork = _Step()
        forks.append((fork, len(steps)))
        steps.append(fork)
        _emit(node, steps)
    for fork, here in forks:
        fork.to = (here + 1, len(steps))


def _run(steps: tuple[_Step, ...], value: str) -> bool:
    waiting = _follow(steps, (0,), value, 0)
    for at, char in enumerate(value):
        arrived = []
        for index in waiting:
            step = steps[index]
            if step.wants is not None:
                known = step.memo.get(char)
                if known is None:
                    known = step.wants.has(char)
                    if len(step.memo) < 256:
                        step.memo[char] = known
                if known:
                    arrived.append(index + 1)
        if not arrived:
            return False
        waiting = _follow(steps, arrived, value, at + 1)
    return len(steps) - 1 in waiting


def _follow(steps: tuple[_Step, ...], starts: list[int] | tuple[int, ...], value: str, at: int) -> set[int]:
    """Every step that can be reached without reading a character."""
    seen: set[int] = set()
    stack = list(starts)
    while stack:
        index = stack.pop()
        if index in seen:
            continue
        seen.add(index)
        step = steps[index]
        if step.wants is None and (not step.holds or _holds(step.holds, value, at)):
            stack.extend(step.to)
    return seen


def _holds(kind: str, value: str, at: int) -> bool:
    match kind:
        case "text start":
            return at == 0
        case "text end":
            return at == len(value)
        case "line start":
            return at == 0 or value[at - 1] == "\n"
        case "line end":
            return at == len(value) or value[at] == "\n"
    edge = _is_word(value[at - 1 : at]) != _is_word(value[at : at + 1])
    return edge == (kind == "word edge")


def _is_word(char: str) -> bool:
    return char != "" and char.isascii() and (char.isalnum() or char == "_")
