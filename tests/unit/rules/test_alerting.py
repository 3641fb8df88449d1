from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tradewatch import rules
from tradewatch.model import Alert
from tradewatch.rules.alerting import DUPLICATE, rule_state, step


def rule_of(for_="0", labels="{}", annotations="{}"):
    rule = f"{{alert: A, expr: m, for: {for_}, labels: {labels}, annotations: {annotations}}}"
    return rules.loads(f"groups: [{{name: g, rules: [{rule}]}}]")[0].rules[0]


def element(value=1.0, **labels):
    return tuple(sorted([("__name__", "m"), *labels.items()])), value


def states(alerts):
    return {dict(key).get("a"): alert.state for key, alert in alerts.items()}


def test_without_for_an_alert_fires_at_once():
    alerts, error = step(rule_of(), {}, [element(7.0, a="x")], 5)
    key = (("a", "x"), ("alertname", "A"))
    assert error is None
    assert alerts == {key: Alert("A", key, (), "firing", 7.0, 5)}


def test_an_alert_is_pending_until_it_has_been_there_for_the_time():
    rule, alerts = rule_of("2s"), {}
    seen = []
    for second in range(4):
        alerts, _ = step(rule, alerts, [element(a="x")], second * 10**9)
        seen.append(states(alerts))
    assert seen == [{"x": "pending"}, {"x": "pending"}, {"x": "firing"}, {"x": "firing"}]


def test_an_evaluation_of_an_earlier_instant_leaves_a_firing_alert_firing_and_counts_from_there():
    rule = rule_of("1s")
    pending, _ = step(rule, {}, [element(a="x")], 300)
    earlier, _ = step(rule, pending, [element(a="x")], 200)
    assert [(a.state, a.active_since_ns) for a in earlier.values()] == [("pending", 200)]
    firing, _ = step(rule, pending, [element(a="x")], 300 + 10**9)
    earlier, _ = step(rule, firing, [element(a="x")], 299 + 10**9)
    assert [(a.state, a.active_since_ns) for a in earlier.values()] == [("firing", 300)]


def test_one_evaluation_without_it_ends_an_alert():
    rule = rule_of("1s")
    alerts, _ = step(rule, {}, [element(a="x")], 0)
    alerts, _ = step(rule, alerts, [element(a="x")], 10**9)
    alerts, _ = step(rule, alerts, [], 2 * 10**9)
    assert alerts == {}
    alerts, _ = step(rule, alerts, [element(a="x")], 3 * 10**9)
    assert [alert.active_since_ns for alert in alerts.values()] == [3 * 10**9]


def test_value_and_annotations_are_those_of_the_last_evaluation():
    rule = rule_of(annotations="{text: '{{ $value }}'}")
    alerts, _ = step(rule, {}, [element(1.0)], 0)
    alerts, _ = step(rule, alerts, [element(2.0)], 1)
    assert [(a.value, a.annotations, a.active_since_ns) for a in alerts.values()] == [(2.0, (("text", "2"),), 0)]


def test_the_rules_labels_override_and_empty_ones_vanish():
    rule = rule_of(labels="{a: '', b: '{{ $labels.a }}!', alertname: other}")
    alerts, _ = step(rule, {}, [element(a="x", b="y", c="z")], 0)
    assert list(alerts) == [(("alertname", "A"), ("b", "x!"), ("c", "z"))]


def test_templates_see_the_labels_of_the_result():
    rule = rule_of(
        labels="{a: '1'}", annotations="{text: '{{ $labels.a }} {{ $labels.__name__ }} {{ $externalLabels.e }}'}"
    )
    alerts, _ = step(rule, {}, [element(a="x")], 0, external={"e": "eu"})
    assert [alert.annotations for alert in alerts.values()] == [(("text", "x m eu"),)]


def test_two_elements_with_the_same_labels_are_an_error_that_changes_nothing():
    rule = rule_of(labels="{a: same}")
    before, _ = step(rule, {}, [element(a="x")], 0)
    assert step(rule, before, [element(a="x"), element(a="y")], 1) == (before, DUPLICATE)


def test_more_alerts_than_the_limit_are_an_error_after_which_there_are_none():
    rule = rule_of()
    before, _ = step(rule, {}, [element(a="x")], 0, limit=1)
    assert states(before) == {"x": "firing"}
    assert step(rule, before, [element(a="x"), element(a="y")], 1, limit=1) == ({}, "exceeded limit of 1 with 2 alerts")


def test_off_the_grid_nothing_ends():
    rule = rule_of("1s")
    before, _ = step(rule, {}, [element(a="x")], 0)
    alerts, _ = step(rule, before, [element(a="y")], 1, resolves=False)
    assert states(alerts) == {"x": "pending", "y": "pending"}
    alerts, _ = step(rule, before, [element(a="x")], 10**9, resolves=False)
    assert states(alerts) == {"x": "firing"}


@given(
    for_s=st.integers(0, 4),
    gaps=st.lists(st.integers(1, 3), max_size=30),
    data=st.data(),
)
def test_states_are_those_of_the_history_alone(for_s, gaps, data):
    """An alert is what its unbroken presence says: since when it has been in every result, and for how long."""
    rule = rule_of(f"{for_s}s")
    alerts, at_s, history = {}, 0, []
    for gap in gaps:
        at_s += gap
        present = data.draw(st.frozensets(st.sampled_from("xyz")))
        fails = data.draw(st.integers(0, 5)) == 0
        if not fails:
            history.append((at_s, present))
            alerts, _ = step(rule, alerts, [element(a=a) for a in sorted(present)], at_s * 10**9)
        expected = {}
        for a in "xyz":
            since = None
            for then, there in history:
                since = None if a not in there else then if since is None else since
            if since is not None:
                # The evaluation that counts is the last one that did not fail.
                expected[a] = ("firing" if history[-1][0] - since >= for_s else "pending", since * 10**9)
        assert {dict(k)["a"]: (v.state, v.active_since_ns) for k, v in alerts.items()} == expected


def state_of(alerts=(), *, failed=False, empty=True, needs=(), live=(), seen=()):
    return rule_state(alerts, failed=failed, empty=empty, needs=set(needs), live=set(live), seen=set(seen))


def test_a_rule_is_what_its_most_advanced_alert_is():
    pending = Alert("A", (), (), "pending", 1.0, 0)
    firing = Alert("A", (), (), "firing", 1.0, 0)
    assert state_of([pending], empty=False) == "pending"
    assert state_of([pending, firing], empty=False) == "firing"
    assert state_of([firing], failed=True) == "failed"


def test_missing_data_is_never_inactive():
    assert state_of(needs=["m"], live=["m"], seen=["m"]) == "inactive"
    assert state_of(needs=["m"]) == "warming"
    assert state_of(needs=["m"], seen=["m"]) == "no_data"
    assert state_of(needs=["m", "n"], live=["m"], seen=["m"]) == "warming"
    assert state_of(needs=["m", "n"], seen=["m"]) == "warming"
    assert state_of(needs=["m"], empty=False) == "inactive"
