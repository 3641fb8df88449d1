"""Label matchers: `=`, `!=`, `=~` and `!~`, the last two anchored at both ends."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, TypeAlias

import msgspec

from tradewatch.promql.labels import NAME, Labels, value_of
from tradewatch.promql.regexp import Regexp
from tradewatch.promql.span import Span

MatchOp: TypeAlias = Literal["=", "!=", "=~", "!~"]


class Matcher(msgspec.Struct, frozen=True):
    """One condition on a label; a missing label has the value "".

    `regexp` is set for `=~` and `!~`, unless the pattern is one that RE2 knows and we do not.
    """

    name: str
    op: MatchOp
    value: str
    span: Span
    regexp: Regexp | None = None

    def matches(self, value: str) -> bool:
        """Whether a label value fulfils the condition."""
        if self.op == "=":
            return value == self.value
        if self.op == "!=":
            return value != self.value
        if self.regexp is None:
            raise ValueError(f"no regular expression for {self.value!r}")
        return _matches(self.regexp, value) == (self.op == "=~")


# Series come and go with the same few values, so a pattern meets each of them once.
@lru_cache(maxsize=8192)
def _matches(regexp: Regexp, value: str) -> bool:
    return regexp.fullmatch(value)


def matches_all(matchers: tuple[Matcher, ...], labels: Labels) -> bool:
    """Whether a label set fulfils every condition."""
    return all(matcher.matches(value_of(labels, matcher.name)) for matcher in matchers)


def selected_name(matchers: tuple[Matcher, ...]) -> str:
    """The one metric name that the matchers allow, or "" if they do not fix it."""
    for matcher in matchers:
        if matcher.name == NAME and matcher.op == "=":
            return matcher.value
    return ""
