"""Other rules and limits while an engine runs: what stays the same goes on as if nothing had happened."""

from __future__ import annotations

from tradewatch import rules
from tradewatch.model import Acted

TWO = """
groups:
- name: stop
  rules:
  - {alert: Loss, expr: 'loss > on () group_left () tradewatch_limit{limit="daily_loss"}', annotations: {action: halt}}
- name: tell
  rules:
  - {alert: Slow, expr: slow > 1, for: 30s, labels: {severity: warning}}
"""
LIMITS = {"daily_loss": 0.03}


def configure(bench, text, limits=None):
    bench.engine.configure(rules.loads(text, "other.yaml"), limits or LIMITS)


def test_a_limit_holds_at_once(new_bench):
    bench = new_bench(TWO, limits=LIMITS)
    bench.readings["loss"] = 0.02
    bench.tick()
    assert bench.names() == []
    configure(bench, TWO, {"daily_loss": 0.01})
    bench.poke(0.2)
    assert bench.names() == ["Loss"]
    assert {e.value for e in bench.fired[0][2]} == {0.02, 0.01}


def test_a_rule_that_stays_keeps_its_alerts_and_is_not_told_again(new_bench):
    bench = new_bench(TWO, limits=LIMITS)
    bench.readings["loss"], bench.readings["slow"] = 0.05, 2
    for _ in range(3):
        bench.tick(10)
    assert bench.states() == {"Loss": "firing", "Slow": "pending"}
    before = {status.rule.name: status.alerts for status in bench.engine.status()}
    # Another place in another file, and a rule more.
    configure(bench, "# moved\n" + TWO + "  - {alert: More, expr: slow > 0}\n")
    assert {s.rule.name: s.alerts for s in bench.engine.status() if s.alerts} == before
    assert {s.rule.line for s in bench.engine.status() if s.rule.name == "Loss"} == {6}
    assert bench.states() == {"Loss": "firing", "Slow": "pending", "More": "warming"}
    bench.tick(10)
    assert bench.states() == {"Loss": "firing", "Slow": "firing", "More": "firing"}
    assert bench.names() == ["Loss", "Slow", "More"]
    assert bench.engine.acted == {Acted("Loss", rules.loads(TWO)[0].rules[0].rule.expr, (("alertname", "Loss"),))}


def test_a_rule_that_is_gone_is_gone_and_acts_anew_when_it_comes_back(new_bench):
    bench = new_bench(TWO, limits=LIMITS)
    bench.readings["loss"], bench.readings["slow"] = 0.05, 0
    bench.tick()
    configure(bench, "groups: [{name: tell, rules: [{alert: Slow, expr: slow > 1}]}]")
    assert (list(bench.states()), bench.engine.acted) == (["Slow"], frozenset())
    bench.tick(1)
    configure(bench, TWO)
    bench.tick(10)
    assert bench.names() == ["Loss", "Loss"]


def test_an_acting_rule_with_other_texts_is_not_told_again_one_with_another_expression_is(new_bench):
    bench = new_bench(TWO, limits=LIMITS)
    bench.readings["loss"] = 0.05
    bench.tick()
    configure(bench, TWO.replace("{action: halt}", "{action: halt, summary: lost}"))
    bench.tick(1)
    assert (bench.names(), bench.states()["Loss"]) == (["Loss"], "firing")
    configure(bench, TWO.replace("loss >", "loss * 1 >"))
    bench.tick(1)
    assert bench.names() == ["Loss", "Loss"]


RATE = "groups: [{name: g, %s rules: [{alert: Many, expr: 'increase(orders[1m]) > 5'%s}]}]"
HALTS = ", annotations: {action: halt}"


def test_what_was_stored_stays_when_a_metric_is_read_more_often_and_less_often(new_bench):
    bench = new_bench(RATE % ("", ""))
    for n in range(4):
        bench.readings["orders"] = n
        bench.tick(10)
    assert bench.states() == {"Many": "inactive"}
    # On a grid of one second from here on: 10 more within 20 s, and the increase is known from the samples before.
    configure(bench, RATE % ("", HALTS))
    for n in range(20):
        bench.readings["orders"] = 3 + n / 2
        bench.tick(1)
    assert bench.names() == ["Many"]
    configure(bench, RATE % ("interval: 5s,", HALTS))
    for _ in range(2):
        bench.tick(5)
    # It is known still, by the samples of the other grids: nothing began from its beginning.
    assert (bench.names(), bench.states()) == (["Many"], {"Many": "firing"})


def test_a_grid_never_goes_back(new_bench):
    """A coarser one begins with its next point, which is after all that was stored on the finer one."""
    bench = new_bench(RATE % ("interval: 1s,", ""))
    bench.tick(17)
    bench.readings["orders"] = 1
    bench.tick(1)
    configure(bench, RATE % ("interval: 10s,", ""))
    bench.tick(0.5)
    assert bench.states() == {"Many": "inactive"}
    evaluated = bench.engine.status()[0].evaluated_ns
    bench.tick(30)
    assert bench.engine.status()[0].evaluated_ns > evaluated
    assert bench.engine.status()[0].error is None


def test_a_longer_range_is_kept_from_then_on(new_bench):
    bench = new_bench("groups: [{name: g, interval: 10s, rules: [{alert: A, expr: orders > 5}]}]")
    bench.readings["orders"] = 0
    bench.tick()
    configure(bench, "groups: [{name: g, interval: 10s, rules: [{alert: A, expr: 'increase(orders[30m]) > 5'}]}]")
    for n in range(200):
        bench.readings["orders"] = n / 10
        bench.tick(10)
    assert bench.engine.status()[0].value > 15


def test_a_new_rule_that_acts_is_evaluated_between_points_too(new_bench):
    bench = new_bench("groups: [{name: tell, rules: [{alert: Slow, expr: slow > 1}]}]", limits=LIMITS)
    bench.readings["loss"], bench.readings["slow"] = 0.0, 0
    bench.tick()
    configure(bench, TWO)
    bench.readings["loss"] = 0.05
    bench.poke(0.2)
    assert bench.names() == ["Loss"]
