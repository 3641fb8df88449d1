"""An alert acts once, and again only once its condition has been false: also over a restart."""

from __future__ import annotations

import pytest

from tradewatch.model import Acted

HALT = "groups: [{name: g, rules: [{alert: A, expr: m > 5, annotations: {action: halt}}]}]"
ACTED = Acted("A", "m > 5", (("alertname", "A"),))


@pytest.fixture
def again(new_bench):
    """A bench whose engine was told what an earlier one had acted on."""
    return lambda *acted, text=HALT, **arguments: new_bench(text, acted=acted, **arguments)


def test_what_was_acted_on_is_told_until_its_condition_is_false(new_bench):
    bench = new_bench(HALT)
    seen = []
    for value in (9.0, 8.0, 1.0, 9.0):
        bench.readings["m"] = value
        bench.tick(1)
        seen.append(set(bench.engine.acted))
    assert seen == [{ACTED}, {ACTED}, set(), {ACTED}]
    assert bench.names() == ["A", "A"]


def test_a_rule_that_only_notifies_acts_on_nothing(new_bench):
    bench = new_bench("groups: [{name: g, rules: [{alert: A, expr: m > 5}]}]")
    bench.readings["m"] = 9.0
    bench.tick()
    assert (bench.names(), bench.engine.acted) == (["A"], frozenset())


def test_a_restart_does_not_act_again_on_what_still_fires(again):
    bench = again(ACTED)
    assert bench.engine.acted == {ACTED}
    bench.readings["m"] = 9.0
    bench.tick()
    bench.readings["m"] = 8.0
    bench.poke(0.1)
    bench.tick(1)
    assert (bench.states(), bench.names(), bench.engine.acted) == ({"A": "firing"}, [], {ACTED})


def test_it_acts_again_once_the_condition_has_been_false(again):
    bench = again(ACTED)
    for value in (9.0, 1.0):
        bench.readings["m"] = value
        bench.tick(1)
    assert bench.engine.acted == frozenset()
    bench.readings["m"] = 9.0
    bench.poke(0.1)
    assert bench.names() == ["A"]


def test_without_data_nobody_knows_that_the_condition_was_false(again):
    bench = again(ACTED)
    bench.tick()
    assert bench.states() == {"A": "warming"}
    bench.readings["m"] = 9.0
    bench.tick(1)
    del bench.readings["m"]
    bench.tick(1)
    assert bench.states() == {"A": "no_data"}
    bench.readings["m"] = 9.0
    bench.tick(1)
    assert bench.states() == {"A": "firing"}
    assert (bench.names(), bench.engine.acted) == ([], {ACTED})


def test_an_evaluation_that_fails_does_not_say_that_the_condition_was_false(again):
    text = HALT.replace("m > 5", "'m * on (a) n > 5'")
    acted = Acted("A", "m * on (a) n > 5", (("a", "x"), ("alertname", "A")))
    bench = again(acted, text=text)
    bench.readings["m", (("a", "x"),)] = bench.readings["n", (("a", "x"),)] = 3.0
    bench.readings["n", (("a", "x"), ("b", "y"))] = 3.0
    bench.tick()
    assert bench.states() == {"A": "failed"}
    del bench.readings.values["n", (("a", "x"), ("b", "y"))]
    bench.tick(1)
    assert (bench.states(), bench.names()) == ({"A": "firing"}, [])


def test_what_ends_between_two_points_of_the_grid_acts_again_only_if_the_grid_saw_it(again):
    bench = again(ACTED)
    bench.readings["m"] = 9.0
    bench.tick()
    for value in (1.0, 9.0):
        bench.readings["m"] = value
        bench.poke(0.1)
    bench.tick(0.8)
    assert bench.names() == []


def test_a_pending_alert_has_not_ended(again):
    bench = again(ACTED, text=HALT.replace("expr: m > 5", "expr: m > 5, for: 2s"))
    bench.readings["m"] = 9.0
    for _ in range(4):
        bench.tick(1)
    assert (bench.states(), bench.names()) == ({"A": "firing"}, [])


def test_labels_that_a_restart_changes_do_not_make_another_alert(again):
    bench = again(ACTED, identity={"job": "bots", "instance": "new"})
    bench.readings["m"] = 9.0
    bench.tick()
    assert (bench.names(), bench.engine.acted) == ([], {ACTED})


@pytest.mark.parametrize(
    "acted",
    [
        Acted("A", "m > 5", (("a", "other"), ("alertname", "A"))),
        Acted("A", "m > 4", (("a", "x"), ("alertname", "A"))),
        Acted("B", "m > 5", (("a", "x"), ("alertname", "A"))),
    ],
)
def test_another_alert_or_rule_acts(again, acted):
    bench = again(acted)
    bench.readings["m", (("a", "x"),)] = 9.0
    bench.tick()
    assert bench.names() == ["A"]
    assert bench.engine.acted == {Acted("A", "m > 5", (("a", "x"), ("alertname", "A")))}
