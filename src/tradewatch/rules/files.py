"""Rule files in Prometheus's own format (`model/rulefmt/rulefmt.go`), read completely or not at all.

What Prometheus refuses is refused here, with every problem of a file at once. What is valid there and not supported
here yet is refused by name, so that no rule is ever taken to do what it does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tradewatch import promql
from tradewatch.model import Action, Rule
from tradewatch.promql.ast import Call, Expr, VectorSelector, children
from tradewatch.rules import durations, templates
from tradewatch.rules.shipped import Shipped, shipped
from tradewatch.rules.templates import Template

if TYPE_CHECKING:
    from tradewatch.settings.yaml import At, Document, YamlError

LONGEST_RANGE_S = 86_400.0
SHORTEST_INTERVAL_S = 0.1
ACTIONS: tuple[Action, ...] = ("notify", "halt")

_FILE_KEYS = ("groups",)
_GROUP_KEYS = ("name", "interval", "limit", "labels", "rules")
_RULE_KEYS = ("alert", "expr", "for", "labels", "annotations")
_LATER_ACTIONS = ("reduce", "cancel_orders", "liquidate", "emergency")
_NOT_YET = {
    "query_offset": "a query offset",
    "record": "a recording rule",
    "keep_firing_for": "keep_firing_for",
}


class RuleFileError(ValueError):
    """A rule file that was not loaded, with everything that is wrong in it, in the order of the file."""

    def __init__(self, problems: tuple[YamlError, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(p) for p in problems))


class AlertingRule(msgspec.Struct, frozen=True):
    """A rule and what was made of its texts when it was read.

    `reads` are the metrics that the expression reads, `needs` those of them outside `absent()`.
    """

    rule: Rule
    expr: Expr
    reads: frozenset[str]
    needs: frozenset[str]
    labels: tuple[tuple[str, Template], ...]
    annotations: tuple[tuple[str, Template], ...]


class Group(msgspec.Struct, frozen=True):
    """Rules that are evaluated together, in their order.

    `interval_s` is None where the file names none; `limit` is the most alerts a rule may have, 0 for any number.
    """

    name: str
    file: str
    line: int
    interval_s: float | None
    limit: int
    rules: tuple[AlertingRule, ...]

    @property
    def acts(self) -> bool:
        """Whether a rule of the group does more than notify."""
        return any(rule.rule.action != "notify" for rule in self.rules)

    @property
    def reads(self) -> frozenset[str]:
        """The metrics that the group's rules read."""
        return frozenset().union(*(rule.reads for rule in self.rules))


def load(path: str | Path) -> tuple[Group, ...]:
    """Read a rule file.

    Raises:
        RuleFileError: it cannot be read, or anything in it is wrong or not supported yet.
    """
    from tradewatch.settings.yaml import YamlError, read_file

    try:
        document = read_file(path)
    except YamlError as error:
        raise RuleFileError((error,)) from None
    return _groups(document)


def loads(text: str | bytes, file: str = "<text>") -> tuple[Group, ...]:
    """Read a rule file from its text; `file` is the name that errors and rules give.

    Raises:
        RuleFileError: as `load`.
    """
    from tradewatch.settings.yaml import YamlError, read

    try:
        document = read(text, file)
    except YamlError as error:
        raise RuleFileError((error,)) from None
    return _groups(document)


def load_files(paths: Iterable[str | Path]) -> tuple[Group, ...]:
    """Read several rule files, all or none; one that is named twice is read once, as Prometheus does.

    Raises:
        RuleFileError: with the problems of all of them.
    """
    groups: list[Group] = []
    problems: list[YamlError] = []
    for path in dict.fromkeys(paths):
        try:
            groups += load(path)
        except RuleFileError as error:
            problems += error.problems
    if problems:
        raise RuleFileError(tuple(problems))
    return tuple(groups)


def default_groups() -> tuple[Group, ...]:
    """The rules that ship with tradewatch."""
    return _groups(shipped())


def _groups(document: Document | Shipped) -> tuple[Group, ...]:
    reader = _Reader(document)
    groups = tuple(reader.groups())
    if reader.problems:
        # A group's label is read once for each rule, and its problem would be told as often.
        problems = {str(p): p for p in reader.problems}.values()
        raise RuleFileError(tuple(sorted(problems, key=lambda p: (p.line, p.column))))
    return groups


class _Reader:
    """Reads one document, and notes problems instead of raising them, so that all are found."""

    def __init__(self, document: Document | Shipped) -> None:
        self.document = document
        self.problems: list[YamlError] = []

    def problem(self, at: At, found: str, accepted: str, offset: int | None = None, *, key: bool = False) -> None:
        self.problems.append(self.document.error(at, found, accepted, offset=offset, key=key))

    def groups(self) -> Iterator[Group]:
        if self.document.value is None:
            return
        top = self.mapping((), self.document.value, _FILE_KEYS, "a rule file")
        names: set[str] = set()
        for i, value in enumerate(self.list(("groups",), top.get("groups"))):
            at: At = ("groups", i)
            group = self.mapping(at, value, _GROUP_KEYS, "a group")
            name = self.text((*at, "name"), group.get("name"))
            if not name and isinstance(value, dict):
                self.problem(at, "a group without a name", "name: and text")
            elif name in names:
                self.problem((*at, "name"), f"a second group {name!r}", "each group name once in a file")
            names.add(name)
            labels = self.texts((*at, "labels"), group.get("labels"), "label")
            rules = [
                self.rule((*at, "rules", j), rule, name, labels)
                for j, rule in enumerate(self.list((*at, "rules"), group.get("rules")))
            ]
            yield Group(
                name=name,
                file=self.document.file,
                line=self.document.place(at).line,
                interval_s=self.interval((*at, "interval"), group.get("interval")),
                limit=self.limit((*at, "limit"), group.get("limit")),
                rules=tuple(rule for rule in rules if rule is not None),
            )

    def rule(self, at: At, value: Any, group: str, group_labels: dict[str, At]) -> AlertingRule | None:
        found_before = len(self.problems)
        fields = self.mapping(at, value, _RULE_KEYS, "a rule")
        if not isinstance(value, dict):
            return None
        name = self.text((*at, "alert"), fields.get("alert"))
        if not name and "record" not in value and len(self.problems) == found_before:
            self.problem(at, "a rule without a name", "alert: and the name of the alert")
        text = self.text((*at, "expr"), fields.get("expr"))
        if not text and len(self.problems) == found_before:
            self.problem(at, f"the alert {name!r} without an expression", "expr: and a PromQL expression")
        expr = self.expression((*at, "expr"), text) if text else None
        for_s = self.duration((*at, "for"), fields.get("for"))
        labels = group_labels | self.texts((*at, "labels"), fields.get("labels"), "label")
        annotations = self.texts((*at, "annotations"), fields.get("annotations"), "annotation")
        read_labels = self.templates(labels)
        read_annotations = self.templates(annotations)
        action = self.action(annotations.get("action"))
        if expr is None or len(self.problems) > found_before:
            return None
        return AlertingRule(
            rule=Rule(
                name=name,
                expr=text,
                for_s=for_s,
                labels=tuple((name, template.text) for name, template in read_labels),
                annotations=tuple((name, template.text) for name, template in read_annotations),
                action=action,
                group=group,
                file=self.document.file,
                line=self.document.place(at).line,
            ),
            expr=expr,
            reads=promql.metric_names(expr),
            needs=frozenset(_needed(expr)),
            labels=read_labels,
            annotations=read_annotations,
        )

    def expression(self, at: At, text: str) -> Expr | None:
        try:
            expr = promql.parse(text)
        except promql.ParseError as error:
            self.problem(at, f"no expression: {error.message}", "a PromQL expression", error.span.start)
            return None
        try:
            promql.check(expr, text)
        except promql.ParseError as error:
            self.problem(at, error.message, "the PromQL that docs/rules.md lists", error.span.start)
            return None
        longest = promql.longest_range_s(expr)
        if longest > LONGEST_RANGE_S:
            self.problem(at, "a range longer than 24h", "ranges and offsets of at most 24h together")
            return None
        return expr

    def templates(self, texts: dict[str, At]) -> tuple[tuple[str, Template], ...]:
        result = []
        for name, at in sorted(texts.items()):
            try:
                result.append((name, templates.parse(self.document.text(at) or "")))
            except templates.TemplateError as error:
                self.problem(at, error.found, error.accepted, error.offset)
        return tuple(result)

    def action(self, at: At | None) -> Action:
        if at is None:
            return "notify"
        text = self.document.text(at)
        for action in ACTIONS:
            if text == action:
                return action
        later = ", which is not supported yet" if text in _LATER_ACTIONS else ""
        self.problem(at, f"action {text!r}{later}", ", ".join(ACTIONS))
        return "notify"

    def mapping(self, at: At, value: Any, keys: tuple[str, ...], where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.problem(at, f"{_kind(value)} instead of {where}", f"a mapping with {', '.join(keys)}")
            return {}
        for key in value:
            if key in keys:
                continue
            if key in _NOT_YET and (key == "query_offset") == (keys is _GROUP_KEYS) and keys is not _FILE_KEYS:
                self.problem((*at, key), f"{_NOT_YET[key]}, which is not supported yet", ", ".join(keys), key=True)
                continue
            from difflib import get_close_matches

            near = get_close_matches(key, keys, n=1, cutoff=0.5)
            meant = f" (nearest: {near[0]})" if near else ""
            self.problem((*at, key), f"unknown key {key!r} in {where}{meant}", ", ".join(keys), key=True)
        return value

    def list(self, at: At, value: Any) -> list[Any]:
        if value is None or isinstance(value, list):
            return value or []
        self.problem(at, f"{_kind(value)} as {at[-1]!r}", "a list, each item with '- '")
        return []

    def text(self, at: At, value: Any) -> str:
        if isinstance(value, (list, dict)):
            self.problem(at, f"{_kind(value)} as {at[-1]!r}", "text")
            return ""
        return self.document.text(at) or ""

    def texts(self, at: At, value: Any, what: str) -> dict[str, At]:
        """Where the text of each label or annotation stands, by name."""
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.problem(at, f"{_kind(value)} as {at[-1]!r}", f"a mapping of {what} names to text")
            return {}
        result: dict[str, At] = {}
        for name, item in value.items():
            here = (*at, name)
            if not name or (name == "__name__" and what == "label"):
                self.problem(here, f"{what} {name!r}", "any other name", key=True)
            elif isinstance(item, (list, dict)):
                self.problem(here, f"{_kind(item)} as {what} {name!r}", "text")
            else:
                result[name] = here
        return result

    def duration(self, at: At, value: Any) -> float:
        if value is None:
            return 0.0
        try:
            return durations.seconds(self.text(at, value)) if not isinstance(value, (list, dict)) else _no(value)
        except ValueError as error:
            self.problem(at, f"{at[-1]} {error}", durations.ACCEPTED)
            return 0.0

    def interval(self, at: At, value: Any) -> float | None:
        interval = self.duration(at, value)
        if 0 < interval < SHORTEST_INTERVAL_S:
            self.problem(at, f"interval {self.document.text(at)!r}", "100ms or longer")
        return interval or None

    def limit(self, at: At, value: Any) -> int:
        if value is None:
            return 0
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            self.problem(at, f"limit {value!r}", "a whole number, 0 for no limit")
            return 0
        return value


def _needed(expr: Expr) -> Iterator[str]:
    """The metrics that the expression reads outside absent(), which is the function for what is not there."""
    if isinstance(expr, VectorSelector):
        yield from promql.metric_names(expr)
    elif not (isinstance(expr, Call) and expr.name in ("absent", "absent_over_time")):
        for child in children(expr):
            yield from _needed(child)


def _kind(value: Any) -> str:
    return {list: "a list", dict: "a mapping", type(None): "nothing"}.get(type(value), f"{value!r}")


def _no(value: Any) -> float:
    raise ValueError(f"as {_kind(value)}")
