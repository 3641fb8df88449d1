"""Scenario files: YAML to rules, with errors that name file, line, key and what is accepted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

import yaml

from tradewatch.paper.faults import KINDS, MARKET_KINDS, MESSAGE_KINDS, QUOTE, Fault, Latency, Match, Point, Rule
from tradewatch.paper.market import MILLIONTHS
from tradewatch.paper.requests import WEBSOCKET
from tradewatch.paper.units import ONE
from tradewatch.paper.venues import OPERATIONS

_METHODS = ("GET", "POST", "PUT", "DELETE", WEBSOCKET)
_POINTS = get_args(Point)
_KEYS_OF_KIND: Mapping[str, tuple[str, ...]] = {
    "latency": ("ms", "at"),
    "clock_skew": ("ms",),
    "false_tick": ("factor",),
    "rate_limit": ("retry_after_s",),
    "ban": ("retry_after_s",),
    "nonce": (),
    "maintenance": (),
    "server_error": ("status", "code", "at"),
    "timeout": ("at", "hold_s"),
    "reset": ("at",),
    "half_json": (),
    "drop": (),
    "silence": ("hold_s",),
    "lose": (),
    "repeat": (),
    "late": ("ms",),
    "reorder": (),
    "price_gap": ("factor", "market"),
    "thin_book": ("depth", "market"),
}
_SHAPES: Mapping[str, int] = {"uniform": 2, "normal": 2, "exponential": 1, "pareto": 2}


_AT_ANSWER = ("timeout", "reset", "half_json")
_OF_REQUESTS, _OF_MESSAGES = ("operation", "method"), ("channel",)
_COUNTS = ("nth", "every", "probability")
_MATCH_KEYS = (*_OF_REQUESTS, "path", *_OF_MESSAGES, *_COUNTS, "from", "until")


class ScenarioError(ValueError):
    """A scenario that cannot be used: `FILE:LINE: KEY: what is wrong; what is accepted`."""


class _Located(dict[str, Any]):
    """A mapping that knows its own line and its keys' lines, from 1."""

    line: int
    lines: dict[str, int]


class _Loader(yaml.SafeLoader):
    """YAML's safe subset with lines kept and repeated keys refused."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
        """A `_Located` instead of a dict."""
        located = _Located()
        located.line = node.start_mark.line + 1
        located.lines = {}
        for key_node, value_node in node.value:
            key, line = str(key_node.value), key_node.start_mark.line + 1
            if key in located:
                raise ScenarioError(f"{self.name}:{line}: {key}: is there twice; accepted is once")
            located[key] = self.construct_object(value_node, deep=True)
            located.lines[key] = line
        return located


_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.construct_mapping)
# A time is read here, with its own message, not by YAML's rules.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load_scenario(file: str | Path) -> tuple[Rule, ...]:
    """Read a scenario file.

    Raises:
        ScenarioError: unreadable, not YAML, or a key or value that is not accepted.
    """
    try:
        text = Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{file}: cannot read the scenario: {error}") from error
    return read_scenario(text, str(file))


def read_scenario(text: str, name: str) -> tuple[Rule, ...]:
    """`load_scenario` of a text; `name` stands for the file in messages."""
    loader = _Loader(text)
    loader.name = name
    try:
        top = loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ScenarioError(f"{name}:{line}: not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ScenarioError(f"{name}: not YAML: {error}") from error
    finally:
        loader.dispose()
    file = _File(name)
    if not isinstance(top, _Located):
        raise ScenarioError(f"{name}:1: accepted is a mapping with the key rules")
    file.keys(top, ("rules",), needed=("rules",))
    rules = top["rules"]
    if not isinstance(rules, list):
        raise file.error(top, "rules", "a list of rules, each with match and fault")
    return tuple(file.rule(top, index, rule) for index, rule in enumerate(rules))


class _File:
    """Reads the nodes of one file; every method raises ScenarioError."""

    def __init__(self, name: str) -> None:
        self.name = name

    def error(self, where: _Located, key: str, accepted: str) -> ScenarioError:
        """The message for a value that is not accepted."""
        line = where.lines.get(key, where.line)
        return ScenarioError(
            f"{self.name}:{line}: {key}: {_plain(where.get(key))} is not accepted; accepted is {accepted}"
        )

    def keys(self, where: _Located, known: tuple[str, ...], needed: tuple[str, ...] = ()) -> None:
        """Refuse unknown keys and missing ones."""
        for key in where:
            if key not in known:
                raise ScenarioError(
                    f"{self.name}:{where.lines[key]}: {key}: unknown key; accepted are {', '.join(known)}"
                )
        for key in needed:
            if key not in where:
                raise ScenarioError(f"{self.name}:{where.line}: {key}: is missing")

    def rule(self, top: _Located, index: int, node: object) -> Rule:
        """One entry of the list."""
        if not isinstance(node, _Located):
            raise ScenarioError(
                f"{self.name}:{top.lines['rules']}: rules: entry {index + 1} is not a mapping with match and fault"
            )
        self.keys(node, ("match", "fault"), needed=("match", "fault"))
        for key in ("match", "fault"):
            if not isinstance(node[key], _Located):
                raise self.error(node, key, "a mapping")
        match, asked, fault = node["match"], self.match(node["match"]), self.fault(node["fault"])
        for key in match:
            accepted = _match_keys(fault.kind, match)
            if key not in accepted:
                raise ScenarioError(
                    f"{self.name}:{match.lines[key]}: {key}: is not of the fault {fault.kind}; accepted are "
                    f"{', '.join(accepted)}"
                )
        if fault.kind in MARKET_KINDS and "from" not in match:
            raise ScenarioError(
                f"{self.name}:{match.line}: from: is missing; a {fault.kind.replace('_', ' ')} needs its instant"
            )
        if fault.kind == "false_tick" and match.get("channel", QUOTE) != QUOTE:
            raise self.error(match, "channel", f"{QUOTE} for false ticks on streams, or none for those in answers")
        return Rule(asked, fault)

    def match(self, node: _Located) -> Match:
        """Which requests."""
        self.keys(node, _MATCH_KEYS)
        nth = node.get("nth")
        numbers = nth if isinstance(nth, list) else [] if nth is None else [nth]
        if not all(_is_whole(number, 1) for number in numbers):
            raise self.error(node, "nth", "a whole number from 1, or a list of them")
        return Match(
            operation=self._one_of(node, "operation", OPERATIONS, None),
            method=self._one_of(node, "method", _METHODS, None),
            path=self._value(node, "path", lambda value: isinstance(value, str) and value.startswith("/"), "a path"),
            channel=self._value(node, "channel", lambda value: isinstance(value, str) and bool(value), "a channel"),
            nth=tuple(numbers),
            every=self._value(node, "every", lambda value: _is_whole(value, 1), "a whole number from 1"),
            probability=self._value(
                node, "probability", lambda value: _is_number(value) and 0 <= value <= 1, "a number from 0 to 1"
            ),
            from_ns=self._time(node, "from"),
            until_ns=self._time(node, "until"),
        )

    def fault(self, node: _Located) -> Fault:
        """What happens."""
        self.keys(node, ("kind", *dict.fromkeys(key for keys in _KEYS_OF_KIND.values() for key in keys)), ("kind",))
        kind = self._one_of(node, "kind", KINDS, None)
        self.keys(node, ("kind", *_KEYS_OF_KIND[kind]))
        at = self._one_of(node, "at", _POINTS, "answer" if kind in _AT_ANSWER else "arrival")
        seconds = "a number of seconds above 0"
        return Fault(
            kind=kind,
            at=at,
            status=self._value(node, "status", lambda value: _is_whole(value, 500) and value < 600, "500 to 599", 503),
            code=self._value(node, "code", _is_code, "a code such as -1001 or EService:Busy"),
            retry_after_s=self._value(
                node, "retry_after_s", lambda value: _is_whole(value, 0), "a whole number of seconds", 1
            ),
            hold_s=self._value(node, "hold_s", lambda value: _is_number(value) and value > 0, seconds, 60.0),
            latency=self._latency(node) if kind in ("latency", "late") else None,
            skew_ms=self._value(node, "ms", lambda value: _is_whole(value, -(10**12)), "milliseconds, also below 0", 0)
            if kind == "clock_skew"
            else 0,
            factor=self._factor(node) if "factor" in _KEYS_OF_KIND[kind] else MILLIONTHS,
            depth=self._depth(node) if kind == "thin_book" else 0,
            market=self._value(node, "market", lambda value: isinstance(value, str) and "/" in value, "BASE/QUOTE"),
        )

    def _factor(self, node: _Located) -> int:
        value = node.get("factor")
        if not (_is_number(value) and isinstance(value, int | float) and 1e-6 <= value <= 1e6):
            raise self.error(node, "factor", "a number from 0.000001, such as 0.93 for 7 % below")
        return round(value * MILLIONTHS)

    def _depth(self, node: _Located) -> int:
        value = node.get("depth")
        if _is_number(value) and isinstance(value, int | float) and 1e-8 <= value <= 9_000:
            return round(value * ONE)
        raise self.error(node, "depth", "an amount of base at each level, such as 0.05")

    def _latency(self, node: _Located) -> Latency:
        accepted = (
            "milliseconds from 0, or one of {uniform: [LEAST, MOST]}, {normal: [MEAN, DEVIATION]}, {exponential: MEAN},"
            " {pareto: [LEAST, TAIL]}"
        )
        value: Any = node.get("ms")
        if _is_number(value) and value >= 0:
            return Latency("fixed", float(value))
        if isinstance(value, _Located) and len(value) == 1:
            shape: Any = next(iter(value))
            given = value[shape]
            numbers = given if isinstance(given, list) else [given]
            fits = len(numbers) == _SHAPES.get(shape) and all(_is_number(number) and number >= 0 for number in numbers)
            positive = numbers if shape in ("exponential", "pareto") else [1]
            if fits and all(number > 0 for number in positive) and (shape != "uniform" or numbers[0] <= numbers[1]):
                return Latency(shape, *(float(number) for number in numbers))
        raise self.error(node, "ms", accepted)

    def _time(self, node: _Located, key: str) -> int | None:
        text = node.get(key)
        if text is None and key not in node:
            return None
        try:
            return parse_time(str(text))
        except ValueError:
            raise self.error(node, key, "a simulated time such as 2023-03-03T01:00Z") from None

    def _one_of(self, node: _Located, key: str, accepted: tuple[str, ...], default: Any) -> Any:
        if key not in node:
            return default
        if node[key] not in accepted:
            raise self.error(node, key, ", ".join(accepted))
        return node[key]

    def _value(self, node: _Located, key: str, fits: Callable[[Any], bool], accepted: str, default: Any = None) -> Any:
        if key not in node:
            return default
        if not fits(node[key]):
            raise self.error(node, key, accepted)
        return node[key]


def _match_keys(kind: str, match: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys of a match that a fault of a kind may have."""
    if kind in MARKET_KINDS:
        return ("from", "until")
    of_messages = kind in MESSAGE_KINDS or (kind == "false_tick" and "channel" in match)
    others: tuple[str, ...] = _OF_REQUESTS if of_messages else _OF_MESSAGES
    if kind == "false_tick" and not of_messages:
        others = ()
    return tuple(key for key in _MATCH_KEYS if key not in others)


def parse_time(text: str) -> int:
    """An instant such as `2023-03-03T00:50Z` in epoch nanoseconds.

    Raises:
        ValueError: not ISO 8601 with an offset.
    """
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("no offset")
    return round(at.timestamp() * 1000) * 1_000_000


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_code(value: object) -> bool:
    """Binance's number, or Kraken's text such as EService:Busy."""
    return (_is_whole(value, -9999) and int(str(value)) < 0) or (
        isinstance(value, str) and value[:1] == "E" and ":" in value
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12


def _plain(value: object) -> str:
    return "nothing" if value is None else repr(dict(value) if isinstance(value, _Located) else value)
