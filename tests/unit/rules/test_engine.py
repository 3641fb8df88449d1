"""Rules evaluated on their grids of time: when, over what, and whom they tell."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tradewatch import rules
from tradewatch.model import Evidence

START_NS = 1_700_000_000 * 10**9
S = 10**9
HALT = "groups: [{name: g, rules: [{alert: A, expr: m > 5, annotations: {action: halt}}]}]"
NOTIFY = "groups: [{name: g, rules: [{alert: A, expr: m > 5}]}]"


def test_acting_groups_are_evaluated_every_second_and_others_every_ten(new_bench):
    acting, notifying = new_bench(HALT), new_bench(NOTIFY)
    for bench in (acting, notifying):
        bench.readings["m"] = 1.0
        for _ in range(41):
            bench.tick(0.5)
    assert len(acting.readings.asked) == 21
    assert len(notifying.readings.asked) == 3


def test_a_group_may_name_its_interval(new_bench):
    text = "groups: [{name: g, interval: 3s, rules: [{alert: A, expr: m > 5, annotations: {action: halt}}]}]"
    bench = new_bench(text)
    for _ in range(10):
        bench.tick(1)
    assert len(bench.readings.asked) == 4


def test_evaluations_are_aligned_to_the_grid_and_missed_ones_are_skipped(new_bench):
    bench = new_bench(HALT)
    bench.readings["m"] = 9.0
    assert bench.tick(0.3) == pytest.approx(0.7)
    bench.tick(7.5)
    (status,) = bench.engine.status()
    assert status.evaluated_ns == START_NS + 7 * S
    assert len(bench.readings.asked) == 2
    assert bench.tick() == pytest.approx(0.2)


def test_readings_are_asked_once_a_tick_for_what_is_due(new_bench):
    text = """groups:
  - {name: slow, rules: [{alert: S, expr: m + a > 5}]}
  - {name: fast, rules: [{alert: F, expr: m + b > 5, annotations: {action: halt}}]}
"""
    bench = new_bench(text)
    bench.tick()
    bench.tick(1)
    assert bench.readings.asked == [{"m", "a", "b"}, {"m", "b"}]


def test_on_firing_is_called_once_and_again_after_it_ended(new_bench):
    bench = new_bench(HALT)
    for value in (9.0, 9.0, 8.0, 1.0, 7.0):
        bench.readings["m"] = value
        bench.tick(1)
    assert bench.names() == ["A", "A"]


def test_each_label_set_fires_on_its_own(new_bench):
    bench = new_bench(HALT)
    bench.readings["m", (("a", "x"),)] = 9.0
    bench.tick(1)
    bench.readings["m", (("a", "y"),)] = 9.0
    bench.tick(1)
    assert [labels for _, labels, _ in bench.fired] == [{"alertname": "A", "a": "x"}, {"alertname": "A", "a": "y"}]


def test_a_callee_that_raises_is_called_again(new_bench, failures_are_counted):
    bench = new_bench(HALT)
    bench.readings["m"] = 9.0
    outcomes = [RuntimeError("no"), RuntimeError("no"), None]
    calls = []

    def on_firing(rule, alert, evidence):
        calls.append(rule.name)
        outcome = outcomes.pop(0)
        if outcome:
            raise outcome

    bench.engine._on_firing = on_firing
    for _ in range(5):
        bench.tick(1)
    assert calls == ["A", "A", "A"]
    assert failures_are_counted == {"rules.on_firing": 2}


def test_evidence_names_the_expression_and_every_number_it_reads(new_bench):
    text = """groups:
  - name: g
    rules:
      - alert: A
        expr: |
          -pnl / start > on (job, instance) group_left () tradewatch_limit{limit="daily_loss"}
        labels: {severity: emergency}
        annotations: {action: halt}
"""
    bench = new_bench(text, identity={"job": "bots", "instance": "grid-1"})
    usdt = (("currency", "USDT"),)
    bench.readings["pnl", usdt] = -731.02
    bench.readings["start", usdt] = 23431.9
    bench.readings["pnl", (("currency", "BTC"),)] = -1.0
    bench.tick()
    ((_, labels, evidence),) = bench.fired
    assert labels == {
        "alertname": "A", "currency": "USDT", "instance": "grid-1", "job": "bots", "severity": "emergency",
    }  # fmt: skip
    expression = '-pnl / start > on (job, instance) group_left () tradewatch_limit{limit="daily_loss"}'
    assert evidence == (
        Evidence(expression, 731.02 / 23431.9, START_NS),
        Evidence('pnl{currency="USDT"}', -731.02, START_NS),
        Evidence('start{currency="USDT"}', 23431.9, START_NS),
        Evidence('tradewatch_limit{limit="daily_loss"}', 0.03, START_NS),
    )


def test_evidence_of_a_range_is_the_function_over_it_and_is_bounded(new_bench):
    bench = new_bench("groups: [{name: g, interval: 1s, rules: [{alert: A, expr: 'sum(increase(c_total[1m])) > 5'}]}]")
    for second in range(12):
        for n in range(20):
            bench.readings["c_total", (("n", f"{n:02}"),)] = float(second * 60)
        bench.tick(1)
    ((_, _, evidence),) = bench.fired
    assert evidence[1].what == 'increase(c_total[1m]) {n="00"}'
    assert len(evidence) == 9


def test_a_metric_that_is_missing_is_warming_first_and_no_data_later(new_bench):
    bench = new_bench(HALT)
    assert bench.states() == {"A": "warming"}
    bench.tick()
    assert bench.states() == {"A": "warming"}
    bench.readings["m"] = 1.0
    bench.tick(1)
    assert bench.states() == {"A": "inactive"}
    del bench.readings["m"]
    bench.tick(1)
    assert bench.states() == {"A": "no_data"}


def test_an_evaluation_that_fails_is_failed_and_keeps_what_fires(new_bench):
    text = "groups: [{name: g, rules: [{alert: A, expr: 'm * on (a) n > 5', annotations: {action: halt}}]}]"
    bench = new_bench(text)
    bench.readings["m", (("a", "x"),)] = 3.0
    bench.readings["n", (("a", "x"),)] = 3.0
    bench.tick()
    bench.readings["n", (("a", "x"), ("b", "y"))] = 3.0
    bench.tick(1)
    (status,) = bench.engine.status()
    assert status.state == "failed"
    assert "many-to-many matching" in status.error
    assert [alert.state for alert in status.alerts] == ["firing"]
    del bench.readings.values["n", (("a", "x"), ("b", "y"))]
    bench.tick(1)
    assert bench.states() == {"A": "firing"}
    assert bench.names() == ["A"]


def test_readings_that_raise_fail_the_rules_that_were_due(new_bench, failures_are_counted):
    bench = new_bench(HALT)
    bench.readings["m"] = 9.0
    bench.tick()
    bench.readings.broken = RuntimeError("ledger")
    bench.tick(1)
    (status,) = bench.engine.status()
    assert (status.state, status.error) == ("failed", "readings: RuntimeError: ledger")
    assert [alert.state for alert in status.alerts] == ["firing"]
    assert failures_are_counted == {"rules.readings": 1}
    bench.readings.broken = None
    bench.tick(1)
    assert bench.states() == {"A": "firing"}


def test_all_that_is_due_reads_the_newest_instant_and_acting_groups_come_first(new_bench):
    bench = new_bench("""groups:
  - {name: slow, rules: [{alert: S, expr: m > 5}]}
  - {name: fast, rules: [{alert: F, expr: m > 5, annotations: {action: halt}}]}
""")
    bench.readings["m"] = 9.0
    bench.tick()
    bench.tick(17.5)
    assert bench.names() == ["F", "S"]
    assert [(s.rule.name, s.evaluated_ns) for s in bench.engine.status()] == [
        ("F", START_NS + 17 * S),
        ("S", START_NS + 17 * S),
    ]


def test_a_clock_that_is_set_back_does_not_stop_the_rules(new_bench):
    bench = new_bench(HALT)
    bench.readings["m"] = 1.0
    bench.tick()
    bench.clock.ns -= 3600 * S
    bench.readings["m"] = 9.0
    bench.tick()
    bench.tick(1)
    assert bench.names() == ["A"]
    assert bench.engine.status()[0].evaluated_ns == bench.clock.ns


def test_a_scalar_result_is_one_alert_without_labels(new_bench):
    bench = new_bench("groups: [{name: g, rules: [{alert: A, expr: time() > bool 5, annotations: {action: halt}}]}]")
    bench.tick()
    assert [labels for _, labels, _ in bench.fired] == [{"alertname": "A"}]


def test_labels_with_empty_values_and_out_of_order_are_put_right(new_bench):
    bench = new_bench(HALT, identity={"job": "bots"})
    bench.readings["m", (("z", "1"), ("empty", ""), ("a", "2"))] = 9.0
    bench.tick()
    assert [labels for _, labels, _ in bench.fired] == [{"a": "2", "alertname": "A", "job": "bots", "z": "1"}]


def test_the_interpreter_is_yielded_between_rules_when_a_stretch_grows_long(new_bench, monkeypatch):
    now = [0]

    def perf_counter_ns():
        now[0] += 40_000
        return now[0]

    monkeypatch.setattr("tradewatch.rules.engine.time.perf_counter_ns", perf_counter_ns)
    many = ", ".join(f"{{alert: A{n}, expr: m > {n}}}" for n in range(40))
    yielded = []
    bench = new_bench(f"groups: [{{name: g, interval: 1s, rules: [{many}]}}]", yield_=lambda: yielded.append(now[0]))
    bench.readings["m"] = 0.0
    bench.tick()
    stretches = [b - a for a, b in pairwise(yielded)]
    assert len(yielded) > 10
    assert max(stretches) <= 400_000


def test_without_rules_there_is_nothing_to_do(new_bench):
    bench = new_bench("")
    assert bench.tick() == 10.0
    assert bench.poke() == 10.0
    assert bench.engine.status() == ()


def test_the_default_rules_halt_on_a_daily_loss_in_time_for_the_next_order(new_bench):
    bench = new_bench(rules.default_groups(), identity={"job": "bots", "instance": "grid-1"})
    usdt = (("trading_currency", "USDT"),)
    bench.readings["trading_portfolio_equity", usdt] = 22831.9
    bench.readings["trading_portfolio_day_start", usdt] = 23431.9
    bench.tick()
    bench.readings["trading_portfolio_equity", usdt] = 22700.88
    bench.poke(0.02)
    ((name, labels, evidence),) = bench.fired
    assert (name, labels["severity"]) == ("DailyLoss", "emergency")
    assert [(e.what, round(e.value, 4)) for e in evidence[1:]] == [
        ('trading_portfolio_equity{trading_currency="USDT"}', 22700.88),
        ('trading_portfolio_day_start{trading_currency="USDT"}', 23431.9),
        ('tradewatch_limit{limit="daily_loss"}', 0.03),
    ]
    (status,) = [s for s in bench.engine.status() if s.state == "firing"]
    assert dict(status.alerts[0].annotations)["description"].startswith("Down 3.12% today in USDT, ")
