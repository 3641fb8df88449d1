from __future__ import annotations

import pytest

from tradewatch import rules
from tradewatch.model import Rule
from tradewatch.rules import RuleFileError
from tradewatch.rules.durations import seconds

GROUP = "groups:\n- name: g\n  rules:\n"
RULE = GROUP + "  - alert: A\n    expr: up > 1\n"

BROKEN = [
    (
        "a: [",
        ["1:5: the end of the file; accepted: a value"],
    ),
    (
        "[]",
        ["1:1: a list instead of a rule file; accepted: a mapping with groups"],
    ),
    (
        "groups: {}",
        ["1:9: a mapping as 'groups'; accepted: a list, each item with '- '"],
    ),
    (
        "group: []",
        ["1:1: unknown key 'group' in a rule file (nearest: groups); accepted: groups"],
    ),
    (
        "groups:\n- rules: []",
        ["2:3: a group without a name; accepted: name: and text"],
    ),
    (
        "groups:\n- name: g\n- name: g",
        ["3:9: a second group 'g'; accepted: each group name once in a file"],
    ),
    (
        "groups:\n- 5",
        ["2:3: 5 instead of a group; accepted: a mapping with name, interval, limit, labels, rules"],
    ),
    (
        "groups:\n- name: g\n  rulez: []",
        ["3:3: unknown key 'rulez' in a group (nearest: rules); accepted: name, interval, limit, labels, rules"],
    ),
    (
        "groups:\n- name: g\n  interval: 5",
        [
            "3:13: interval '5', which is no duration; accepted: a duration such as 30s, 5m or 1h30m "
            "(units y w d h m s ms, largest first)"
        ],
    ),
    (
        "groups:\n- name: g\n  interval: 1ms",
        ["3:13: interval '1ms'; accepted: 100ms or longer"],
    ),
    (
        "groups:\n- name: g\n  interval: [1m]",
        [
            "3:13: interval as a list; accepted: a duration such as 30s, 5m or 1h30m (units y w d h m s "
            "ms, largest first)"
        ],
    ),
    (
        "groups:\n- name: g\n  limit: -1",
        ["3:10: limit -1; accepted: a whole number, 0 for no limit"],
    ),
    (
        "groups:\n- name: g\n  limit: true",
        ["3:10: limit True; accepted: a whole number, 0 for no limit"],
    ),
    (
        "groups:\n- name: g\n  limit: many",
        ["3:10: limit 'many'; accepted: a whole number, 0 for no limit"],
    ),
    (
        "groups:\n- name: g\n  query_offset: 1m",
        ["3:3: a query offset, which is not supported yet; accepted: name, interval, limit, labels, rules"],
    ),
    (
        "groups:\n- name: g\n  labels: [a]",
        ["3:11: a list as 'labels'; accepted: a mapping of label names to text"],
    ),
    (
        "groups:\n- name: g\n  labels: {a: {b: c}}",
        ["3:15: a mapping as label 'a'; accepted: text"],
    ),
    (
        "groups:\n- name: g\n  labels: {__name__: x}",
        ["3:12: label '__name__'; accepted: any other name"],
    ),
    (
        GROUP + "  - record: a:b\n    expr: up",
        ["4:5: a recording rule, which is not supported yet; accepted: alert, expr, for, labels, annotations"],
    ),
    (
        RULE + "    keep_firing_for: 5m",
        ["6:5: keep_firing_for, which is not supported yet; accepted: alert, expr, for, labels, annotations"],
    ),
    (
        RULE + "    exprs: up",
        ["6:5: unknown key 'exprs' in a rule (nearest: expr); accepted: alert, expr, for, labels, annotations"],
    ),
    (
        RULE + "    severity: page",
        ["6:5: unknown key 'severity' in a rule; accepted: alert, expr, for, labels, annotations"],
    ),
    (
        GROUP + "  - expr: up",
        ["4:5: a rule without a name; accepted: alert: and the name of the alert"],
    ),
    (
        GROUP + "  - alert: A",
        ["4:5: the alert 'A' without an expression; accepted: expr: and a PromQL expression"],
    ),
    (
        GROUP + "  - alert: A\n    expr:",
        ["4:5: the alert 'A' without an expression; accepted: expr: and a PromQL expression"],
    ),
    (
        GROUP + "  - alert: [A]\n    expr: up",
        ["4:12: a list as 'alert'; accepted: text"],
    ),
    (
        GROUP + "  - up > 1",
        ["4:5: 'up > 1' instead of a rule; accepted: a mapping with alert, expr, for, labels, annotations"],
    ),
    (
        GROUP + "  - alert: A\n    expr: sum(up",
        ["5:17: no expression: unclosed left parenthesis; accepted: a PromQL expression"],
    ),
    (
        GROUP + "  - alert: A\n    expr: |\n      sum(up)\n        > on (job) )\n",
        ["7:21: no expression: unexpected right parenthesis ')'; accepted: a PromQL expression"],
    ),
    (
        GROUP + "  - alert: A\n    expr: 'up > '",
        ["5:17: no expression: unexpected end of input; accepted: a PromQL expression"],
    ),
    (
        GROUP + "  - alert: A\n    expr: >-\n      up\n      + foo bar\n",
        ['7:13: no expression: unexpected identifier "bar"; accepted: a PromQL expression'],
    ),
    (
        GROUP + '  - alert: A\n    expr: "up{a=\\"b\\"} >>"',
        ["5:25: no expression: unexpected <op:>>; accepted: a PromQL expression"],
    ),
    (
        GROUP + "  - alert: A\n    expr: histogram_quantile(0.9, x)",
        ["5:11: function histogram_quantile() is not supported; accepted: the PromQL that docs/rules.md lists"],
    ),
    (
        GROUP + "  - alert: A\n    expr: rate(up[2d]) > 1",
        ["5:11: a range longer than 24h; accepted: ranges and offsets of at most 24h together"],
    ),
    (
        GROUP + "  - alert: A\n    expr: up[5m]",
        ["5:11: a range vector is not a value by itself; accepted: the PromQL that docs/rules.md lists"],
    ),
    (
        RULE + "    for: 5",
        [
            "6:10: for '5', which is no duration; accepted: a duration such as 30s, 5m or 1h30m (units "
            "y w d h m s ms, largest first)"
        ],
    ),
    (
        RULE + "    for: 5 m",
        [
            "6:10: for '5 m', which is no duration; accepted: a duration such as 30s, 5m or 1h30m "
            "(units y w d h m s ms, largest first)"
        ],
    ),
    (
        RULE + "    for: 1m1h",
        [
            "6:10: for '1m1h', which is no duration; accepted: a duration such as 30s, 5m or 1h30m "
            "(units y w d h m s ms, largest first)"
        ],
    ),
    (
        RULE + "    for: -5m",
        [
            "6:10: for '-5m', which is no duration; accepted: a duration such as 30s, 5m or 1h30m "
            "(units y w d h m s ms, largest first)"
        ],
    ),
    (
        RULE + "    for: {a: b}",
        ["6:10: for as a mapping; accepted: a duration such as 30s, 5m or 1h30m (units y w d h m s ms, largest first)"],
    ),
    (
        RULE + "    for: 300y",
        [
            "6:10: for '300y', which is too long; accepted: a duration such as 30s, 5m or 1h30m (units "
            "y w d h m s ms, largest first)"
        ],
    ),
    (
        RULE + "    labels: {severity: '{{ $value'}",
        ["6:25: '{{' without '}}'; accepted: '{{' and '}}' in pairs"],
    ),
    (
        RULE + "    annotations:\n      text: |\n        a\n        {{ $valeu }}\n",
        [
            "9:12: '$valeu' in a template; accepted: $value, $labels.name, $externalLabels.name, text "
            "in quotes, and the functions or, printf, humanize, humanize1024, humanizeDuration, "
            "humanizePercentage"
        ],
    ),
    (
        RULE + "    annotations: {action: stop}",
        ["6:27: action 'stop'; accepted: notify, halt"],
    ),
    (
        RULE + "    annotations: {action: liquidate}",
        ["6:27: action 'liquidate', which is not supported yet; accepted: notify, halt"],
    ),
    (
        RULE + "    annotations: text",
        ["6:18: 'text' as 'annotations'; accepted: a mapping of annotation names to text"],
    ),
    (
        RULE + "    labels:\n      a: 1\n      a: 2",
        ["8:7: key 'a' a second time, after line 7; accepted: each key once in a mapping"],
    ),
    (
        RULE + "  \t- alert: B",
        ["6:3: a tab; accepted: spaces"],
    ),
    (
        RULE + "    for: 1m\n    for: 2m",
        ["7:5: key 'for' a second time, after line 6; accepted: each key once in a mapping"],
    ),
    (
        b"groups: \xff",
        ["1:9: the byte 0xff, which is not UTF-8; accepted: UTF-8"],
    ),
    (
        RULE + "    for: 5\n    labls: {}\n    annotations: {action: x}\n",
        [
            "6:10: for '5', which is no duration; accepted: a duration such as 30s, 5m or 1h30m (units "
            "y w d h m s ms, largest first)",
            "7:5: unknown key 'labls' in a rule (nearest: labels); accepted: alert, expr, for, labels, annotations",
            "8:27: action 'x'; accepted: notify, halt",
        ],
    ),
]


@pytest.mark.parametrize(("text", "problems"), BROKEN)
def test_a_broken_file_is_refused_with_position_and_what_is_accepted(text, problems):
    with pytest.raises(RuleFileError) as caught:
        rules.loads(text, "rules.yaml")
    assert [str(p) for p in caught.value.problems] == ["rules.yaml:" + problem for problem in problems]


def test_a_file_is_read_with_everything_that_prometheus_knows_of_it():
    text = """
groups:
  - name: g
    interval: 30s
    limit: 5
    labels: {team: bots, severity: info}
    rules:
      - alert: A
        expr: rate(c_total[5m]) > 1
        for: 1h30m
        labels: {severity: page}
        annotations: {action: halt, text: "{{ $value }}"}
      - {alert: B, expr: 1}
"""
    (group,) = rules.loads(text, "r.yaml")
    assert (group.name, group.file, group.line, group.interval_s, group.limit) == ("g", "r.yaml", 3, 30.0, 5)
    assert group.acts
    assert group.rules[0].rule == Rule(
        name="A",
        expr="rate(c_total[5m]) > 1",
        for_s=5400.0,
        labels=(("severity", "page"), ("team", "bots")),
        annotations=(("action", "halt"), ("text", "{{ $value }}")),
        action="halt",
        group="g",
        file="r.yaml",
        line=8,
    )
    assert group.rules[1].rule.expr == "1"
    assert group.rules[1].rule.action == "notify"
    assert group.rules[1].rule.labels == (("severity", "info"), ("team", "bots"))


def test_an_empty_file_has_no_groups():
    assert rules.loads("") == rules.loads("groups:") == rules.loads("# nothing\n") == ()


def test_the_same_alert_twice_with_the_same_labels_is_accepted_as_in_prometheus():
    (group,) = rules.loads(RULE + "  - alert: A\n    expr: up > 2\n")
    assert [rule.rule.expr for rule in group.rules] == ["up > 1", "up > 2"]


def test_what_absent_reads_is_read_but_not_needed():
    (group,) = rules.loads(GROUP + "  - {alert: A, expr: 'absent(a) or absent_over_time(b[5m]) or sum(c) > 1'}")
    assert group.rules[0].reads == {"a", "b", "c"}
    assert group.rules[0].needs == {"c"}


def test_several_files_load_all_or_none(tmp_path):
    good, bad, worse = tmp_path / "good.yaml", tmp_path / "bad.yaml", tmp_path / "worse.yaml"
    good.write_text(RULE)
    bad.write_text(RULE + "    for: x\n")
    with pytest.raises(RuleFileError) as caught:
        rules.load_files([good, bad, worse])
    assert [str(p) for p in caught.value.problems] == [
        f"{bad}:6:10: for 'x', which is no duration; accepted: a duration such as 30s, 5m or 1h30m "
        "(units y w d h m s ms, largest first)",
        f"{worse}:1:1: a file that cannot be read (No such file or directory); accepted: a readable file",
    ]
    assert [group.name for group in rules.load_files([good, good])] == ["g"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0", 0),
        ("5s", 5),
        ("1h30m", 5400),
        ("1d2h3m4s5ms", 93784.005),
        ("2w", 1209600),
        ("1y", 31536000),
        ("90m", 5400),
    ],
)
def test_durations_are_those_of_prometheus(text, wanted):
    assert seconds(text) == wanted


@pytest.mark.parametrize("text", ["", "5", "1.5h", "h", "1h1h", "5m1h", " 5m", "5m ", "\u0665m", "1H", "9" * 200 + "s"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="which is"):
        seconds(text)
