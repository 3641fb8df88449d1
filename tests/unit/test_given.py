"""What the caller of `instrument` may get wrong, and what is said then."""

import re
from pathlib import Path

import pytest

from tradewatch import given
from tradewatch.rules import LIMITS, default_groups, loads, read_limits
from tradewatch.runtime.clock import ScaledClock, SystemClock

NAMES = [limit.name for limit in LIMITS]


def groups(*exprs):
    rules = "".join(f"\n  - {{alert: A{n}, expr: {expr!r}}}" for n, expr in enumerate(exprs))
    return loads("groups:\n- name: mine\n  rules:" + rules)


def refused(check, *args):
    with pytest.raises(ValueError, match=r"accepted: |none of the rules") as caught:
        check(*args)
    return str(caught.value)


@pytest.mark.parametrize("port", ["9464", 9464.0, True, -1, 65_536])
def test_what_is_no_port_is_said_with_what_is(port):
    assert refused(given.check_port, port) == f"port {port!r}; accepted: 0 (any that is free) to 65535, or None"


def test_ports_and_clocks_that_are_some_pass():
    for port in (None, 0, 9464, 65_535):
        given.check_port(port)
    for clock in (None, SystemClock(), ScaledClock(0, 60, 0)):
        given.check_clock(clock)


@pytest.mark.parametrize("clock", [5, "now"])
def test_what_is_no_clock_is_said(clock):
    assert "accepted: an object with now_ns, mono_ns, real_seconds" in refused(given.check_clock, clock)


def test_one_path_is_no_list_of_rules():
    assert refused(given.rule_groups, Path("mine.yaml")).endswith("accepted: a list of files, such as ['mine.yaml']")
    assert [one.name for one in given.rule_groups(None)] == [one.name for one in default_groups()]


@pytest.mark.parametrize("limits", [[1], "daily_loss=0.02", 0.02])
def test_limits_are_numbers_by_name(limits):
    assert "accepted: numbers by name, such as {'daily_loss': 0.02}" in refused(given.limits_in_force, limits, ())


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


def test_a_limit_that_no_rule_reads_is_refused_since_somebody_counts_on_it():
    mine = groups('a > on() tradewatch_limit{limit="drawdown"}')
    assert given.limits_in_force({"drawdown": 0.5}, mine)["drawdown"] == 0.5
    assert re.fullmatch(
        r"limit daily_loss: none of the rules reads it, so it would limit nothing; those that they read: drawdown\. "
        r"A rule reads it as tradewatch_limit\{limit='daily_loss'\}",
        refused(given.limits_in_force, {"drawdown": 0.5, "daily_loss": 0.02}, mine),
    )
