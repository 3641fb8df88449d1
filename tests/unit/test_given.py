"""What the caller of `instrument` may get wrong, and what is said then."""

import math
import re
from pathlib import Path

import pytest

from tradewatch import given
from tradewatch.rules import LIMITS, RuleFileError, default_groups, loads, read_limits
from tradewatch.runtime.clock import ScaledClock, SystemClock
from tradewatch.settings.problems import SettingsError
from tradewatch.settings.sources import read

NAMES = [limit.name for limit in LIMITS]
LIMIT_NAMES = "daily_loss, drawdown, error_rate, rejected_orders, slow_calls, rate_limit, overhead"


def groups(*exprs):
    rules = "".join(f"\n  - {{alert: A{n}, expr: {expr!r}}}" for n, expr in enumerate(exprs))
    return loads("groups:\n- name: mine\n  rules:" + rules)


def chosen(**arguments):
    return given.in_force(read(environ={}, arguments=arguments))


def refused(**arguments):
    with pytest.raises(SettingsError) as caught:
        chosen(**arguments)
    return str(caught.value)


@pytest.fixture
def rules(tmp_path):
    """A file with rules over expressions."""

    def write(*exprs, name="mine.yaml"):
        lines = "".join(f"\n  - {{alert: A{n}, expr: {expr!r}}}" for n, expr in enumerate(exprs))
        (tmp_path / name).write_text("groups:\n- name: mine\n  rules:" + lines)
        return tmp_path / name

    return write


@pytest.mark.parametrize("port", ["9464", 9464.0, True, -1, 65_536])
def test_what_is_no_port_is_said_with_what_is(port):
    hint = " (write 9464 without quotes)" if port == "9464" else ""
    assert refused(port=port) == f"argument port {port!r}; accepted: 0 (any that is free) to 65535, or None{hint}"


def test_ports_and_clocks_that_are_some_pass():
    for port in (None, 0, 9464, 65_535):
        assert chosen(port=port).settings.port == port
    for clock in (None, SystemClock(), ScaledClock(0, 60, 0)):
        given.check_clock(clock)


@pytest.mark.parametrize("clock", [5, "now"])
def test_what_is_no_clock_is_said(clock):
    with pytest.raises(ValueError, match="accepted: an object with now_ns, mono_ns, real_seconds"):
        given.check_clock(clock)


def test_one_path_is_no_list_of_rules():
    assert refused(rules=Path("mine.yaml")).endswith("accepted: a list of files, such as ['mine.yaml']")
    assert [one.name for one in chosen().groups] == [one.name for one in default_groups()]


@pytest.mark.parametrize("limits", [[1], "daily_loss=0.02", 0.02])
def test_limits_are_numbers_by_name(limits):
    assert refused(limits=limits).endswith("; accepted: numbers by name, such as {'daily_loss': 0.02}")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("daly_loss", 0.1, f"daly_loss 0.1: no such setting (nearest: daily_loss); accepted: {LIMIT_NAMES}"),
        ("zzz", 0.1, f"zzz 0.1: no such setting; accepted: {LIMIT_NAMES}"),
        ("daily_loss", 3, "daily_loss 3; accepted: a ratio above 0, at most 1 (for 3 per cent write 0.03)"),
        ("daily_loss", 0, "daily_loss 0; accepted: a ratio above 0, at most 1"),
        ("daily_loss", -0.1, "daily_loss -0.1; accepted: a ratio above 0, at most 1"),
        ("drawdown", math.nan, "drawdown nan; accepted: a ratio above 0, at most 1"),
        ("drawdown", math.inf, "drawdown inf; accepted: a ratio above 0, at most 1"),
        ("drawdown", "3%", "drawdown '3%'; accepted: a ratio above 0, at most 1 (write 0.03)"),
        ("drawdown", True, "drawdown True; accepted: a ratio above 0, at most 1"),
        ("drawdown", None, "drawdown null; accepted: a ratio above 0, at most 1"),
        ("rejected_orders", -1, "rejected_orders -1; accepted: a number of orders above 0"),
        ("rejected_orders", math.inf, "rejected_orders inf; accepted: a number of orders above 0"),
        ("rejected_orders", 10**400, "rejected_orders a number of many digits; accepted: a number of orders above 0"),
    ],
)
def test_an_impossible_limit_is_refused(name, value, message):
    assert refused(limits={name: value}) == f"argument limits.{message}"


def test_limits_that_are_given_replace_the_defaults_one_by_one():
    limits = chosen(limits={"drawdown": 1, "rejected_orders": 20}).limits
    assert limits == {
        "daily_loss": 0.03, "drawdown": 1.0, "error_rate": 0.05, "rejected_orders": 20.0, "slow_calls": 0.01,
        "rate_limit": 0.8, "overhead": 0.05,
    }  # fmt: skip


def test_everything_that_is_wrong_is_told_at_once():
    assert [line.split()[1] for line in refused(port=-1, limits={"a": 1}, nam="x").splitlines()] == [
        "port", "limits.a", "nam",
    ]  # fmt: skip


def test_the_default_rules_read_every_limit():
    assert read_limits(NAMES, default_groups()) == set(NAMES)


@pytest.mark.parametrize(
    ("expr", "read"),
    [
        ("a > 5", set()),
        ('a > on() tradewatch_limit{limit="drawdown"}', {"drawdown"}),
        ('a > on() group_left() max(tradewatch_limit{job="x", limit=~"d.*"})', {"daily_loss", "drawdown"}),
        ('{__name__="tradewatch_limit", limit!~"d.*|overhead"}', {*NAMES} - {"daily_loss", "drawdown", "overhead"}),
        ("max_over_time(tradewatch_limit[5m]) > 1", {*NAMES}),
        ('absent(tradewatch_limit{limit="mine"})', set()),
    ],
)  # fmt: skip
def test_a_limit_is_read_where_a_selector_can_meet_it(expr, read):
    assert read_limits(NAMES, groups("up == 0", expr)) == read


def test_a_limit_that_no_rule_reads_is_refused_since_somebody_counts_on_it(rules):
    mine = rules('a > on() tradewatch_limit{limit="drawdown"}')
    assert chosen(limits={"drawdown": 0.5}, rules=[mine]).limits["drawdown"] == 0.5
    assert re.fullmatch(
        r"argument limits\.daily_loss 0\.02: limit daily_loss: none of the rules reads it, so it would limit nothing; "
        r"a rule reads it as tradewatch_limit\{limit='daily_loss'\}; accepted: drawdown",
        refused(limits={"drawdown": 0.5, "daily_loss": 0.02}, rules=[mine]),
    )


def test_a_limit_of_a_profile_may_be_left_unread(rules):
    mine = rules('a > on() tradewatch_limit{limit="drawdown"}')
    assert chosen(profile="production", rules=[mine]).limits["daily_loss"] == 0.015


def test_a_rule_file_that_does_not_load_is_told_with_who_named_it(rules):
    with pytest.raises(RuleFileError) as caught:
        chosen(rules=[rules("a >")])
    assert caught.value.__notes__ == ["the setting rules names that file: argument"]


def test_without_what_is_wrong_each_setting_falls_back_to_the_next_weaker_source(tmp_path, rules):
    rules('vector(1) > on() tradewatch_limit{limit=~"d.*"}', name="good.yaml")
    file = tmp_path / "tradewatch.yaml"
    file.write_text("port: 9000\nrules: [good.yaml]\nlimits: {drawdown: 0.2, overhead: 0.5, daily_loss: 2}\n")
    environ = {
        "TRADEWATCH_PORT": "http",
        "TRADEWATCH_RULES": str(rules("a >", name="bad.yaml")),
        "TRADEWATCH_LIMITS": "drawdown=0,daily_loss=0.02",
        "TRADEWATCH_NAM": "x",
    }
    found, said = given.as_far_as_right(read(config=file, environ=environ))
    assert (found.settings.port, found.limits["drawdown"], found.limits["daily_loss"]) == (9000, 0.2, 0.02)
    assert (found.limits["overhead"], found.settings.rules) == (0.05, (str(tmp_path / "good.yaml"),))
    told = "\n".join(sorted(said))
    assert f"{file}:3:52: limits.daily_loss 2 IS NOT IN FORCE, that of TRADEWATCH_LIMITS is: accepted: a ratio" in told
    assert f"TRADEWATCH_LIMITS: limits.drawdown 0.0 IS NOT IN FORCE, that of {file}:3 is: accepted: a ratio" in told
    assert f"TRADEWATCH_PORT: port 'http' IS NOT IN FORCE, that of {file}:1 is: accepted: 0 (any" in told
    assert "TRADEWATCH_NAM: TRADEWATCH_NAM 'x' IS NOT IN FORCE: no such variable (nearest: TRADEWATCH_NAME)" in told
    assert f"TRADEWATCH_RULES: rules IS NOT IN FORCE, those of {file}:2 are: {tmp_path}/bad.yaml:4:" in told
    assert f"{file}:3: limits.overhead 0.5 IS NOT IN FORCE, the default is: limit overhead: none of the rules" in told
    assert len(said) == 6


def test_a_file_that_cannot_be_read_leaves_the_rest_in_force(tmp_path):
    found, said = given.as_far_as_right(read(config=tmp_path / "none.yaml", environ={"TRADEWATCH_PORT": "9000"}))
    assert found.settings.port == 9000
    assert said == (
        f"{tmp_path}/none.yaml:1:1: THIS FILE IS NOT IN FORCE: a file that cannot be read (No such file or directory); "
        "accepted: a readable file",
    )
