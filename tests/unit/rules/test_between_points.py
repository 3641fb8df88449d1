"""What a poke sees between two points of the grid: alerts begin there and fire, and never end."""

from __future__ import annotations

import pytest

from tradewatch.model import Evidence

START_NS = 1_700_000_000 * 10**9
MS = 10**6
S = 10**9
HALT = "groups: [{name: g, rules: [{alert: A, expr: m > 5, annotations: {action: halt}}]}]"


def test_a_poke_evaluates_acting_rules_whose_values_changed_and_stores_nothing(new_bench):
    text = """groups:
  - name: g
    rules:
      - {alert: A, expr: m > 5, annotations: {action: halt}}
      - {alert: B, expr: 'count_over_time(m[10s]) > 1', annotations: {action: halt}}
      - {alert: N, expr: m > 5}
"""
    bench = new_bench(text)
    bench.readings["m"] = 1.0
    bench.tick()
    bench.poke(0.2)
    bench.readings["m"] = 9.0
    bench.poke(0.2)
    assert bench.states() == {"A": "firing", "B": "inactive", "N": "inactive"}
    ((name, _, evidence),) = bench.fired
    assert (name, evidence[1]) == ("A", Evidence("m", 9.0, START_NS + 400 * MS))


def test_changes_since_the_last_point_add_up_over_pokes(new_bench):
    text = "groups: [{name: g, rules: [{alert: A, expr: m + n > 5, annotations: {action: halt}}]}]"
    bench = new_bench(text)
    bench.readings["m"] = bench.readings["n"] = 1.0
    bench.tick()
    bench.readings["m"] = 3.0
    bench.poke(0.1)
    bench.readings["n"] = 3.0
    bench.poke(0.1)
    assert bench.names() == ["A"]


def test_pokes_are_coalesced_to_one_in_ten_real_milliseconds_and_none_is_lost(new_bench):
    for speed in (1.0, 100.0):
        bench = new_bench(HALT, speed)
        bench.readings["m"] = 1.0
        bench.tick()
        bench.poke(0.001 * speed)
        bench.readings["m"] = 9.0
        for _ in range(9):
            if speed == 1.0:
                assert bench.poke(0.001) <= 0.010
        if speed == 1.0:
            assert bench.names() == []
            bench.tick(0.0011)
        else:
            assert bench.poke(0.5) == pytest.approx(0.4, abs=0.01)
            assert bench.names() == []
            bench.tick(0.51)
        assert bench.names() == ["A"]


def test_a_poke_without_a_change_evaluates_nothing(new_bench):
    bench = new_bench(HALT.replace("m > 5", "m != 5"))
    bench.readings["m"] = float("nan")
    bench.tick()
    before = bench.engine.status()
    bench.poke(0.1)
    assert bench.engine.status()[0] is before[0]


def test_what_ends_between_two_points_of_the_grid_ends_at_the_next_one(new_bench):
    bench = new_bench(HALT)
    bench.readings["m"] = 9.0
    bench.tick()
    bench.readings["m"] = 1.0
    bench.poke(0.1)
    assert bench.states() == {"A": "firing"}
    bench.tick(0.9)
    assert bench.states() == {"A": "inactive"}


def test_a_dip_between_two_points_does_not_restart_the_time_of_a_pending_alert(new_bench):
    bench = new_bench(HALT.replace("expr: m > 5", "expr: m > 5, for: 2s"))
    for value in (9.0, 1.0, 9.0):
        bench.readings["m"] = value
        bench.tick() if value == 9.0 and bench.states() == {"A": "warming"} else bench.poke(0.3)
    bench.tick(0.4)
    bench.tick(1)
    assert bench.names() == ["A"]


def test_a_point_of_the_grid_before_what_a_poke_saw_leaves_it_firing(new_bench):
    bench = new_bench(HALT)
    bench.readings["m"] = 1.0
    bench.tick()
    bench.readings["m"] = 9.0
    bench.poke(1.0003)
    bench.tick()
    assert bench.states() == {"A": "firing"}
    assert bench.engine.status()[0].alerts[0].active_since_ns == START_NS + S
    bench.tick(1)
    assert bench.names() == ["A"]


def test_an_alert_that_begins_between_two_points_leaves_the_others_alone(new_bench):
    bench = new_bench(HALT)
    bench.readings["m", (("a", "x"),)] = 9.0
    bench.readings["m", (("a", "y"),)] = 1.0
    bench.tick()
    bench.readings["m", (("a", "x"),)] = 1.0
    bench.readings["m", (("a", "y"),)] = 9.0
    bench.poke(0.1)
    (status,) = bench.engine.status()
    assert [dict(alert.labels)["a"] for alert in status.alerts] == ["x", "y"]


def test_what_fails_between_two_points_has_not_failed(new_bench):
    bench = new_bench("groups: [{name: g, rules: [{alert: A, expr: 'm * on (a) n > 5', annotations: {action: halt}}]}]")
    bench.readings["m", (("a", "x"),)] = 1.0
    bench.readings["n", (("a", "x"),)] = 1.0
    bench.tick()
    bench.readings["n", (("a", "x"), ("b", "y"))] = 1.0
    bench.poke(0.1)
    assert bench.states() == {"A": "inactive"}
    bench.tick(0.9)
    assert bench.states() == {"A": "failed"}


def test_what_was_stored_is_no_change_any_more(new_bench):
    bench = new_bench(HALT.replace("m > 5", "m + n > 5"))
    bench.readings["m"] = bench.readings["n"] = 1.0
    bench.tick()
    bench.readings["m"] = 3.0
    bench.poke(0.1)
    bench.readings["m"] = 1.0
    bench.tick(0.9)
    bench.readings["n"] = 3.0
    bench.poke(0.1)
    assert bench.names() == []
