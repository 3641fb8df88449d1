"""docs/rules.md lists what there is."""

from __future__ import annotations

import re

import pytest

from pages import text_of
from tradewatch import rules
from tradewatch.promql.support import AGGREGATIONS, FUNCTIONS
from tradewatch.rules.limits import LIMITS

DOC = text_of("docs/rules.md")
DEFAULTS = [rule.rule for group in rules.default_groups() for rule in group.rules]


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_every_limit_is_listed_with_its_default(limit):
    (default, meaning) = re.findall(rf"^\| {limit.name} \| ([\d.]+) \| (.*) \|$", DOC, re.MULTILINE)[0]
    assert (float(default), meaning) == (limit.default, limit.meaning)


@pytest.mark.parametrize("rule", DEFAULTS, ids=lambda rule: rule.name)
def test_every_default_rule_is_listed_with_its_severity_and_action(rule):
    (wait, severity, action) = re.findall(rf"^\| {rule.name} \| .* \| (.*) \| (.*) \| (.*) \|$", DOC, re.MULTILINE)[0]
    assert (wait.replace("–", "0"), severity, action) == (
        f"{rule.for_s / 60:.0f}m" if rule.for_s else "0",
        dict(rule.labels)["severity"],
        rule.action,
    )


def test_every_function_and_aggregation_is_listed():
    section = DOC[DOC.index("| over a range |") : DOC.index("Not supported yet: `histogram_quantile`")]
    assert set(re.findall(r"`(\w+)`", section)) == FUNCTIONS | set(AGGREGATIONS)


@pytest.mark.parametrize("rule", DEFAULTS, ids=lambda rule: rule.name)
def test_every_default_rule_tells_a_person_what_to_do(rule):
    annotations = dict(rule.annotations)
    assert set(annotations) <= {"action", "summary", "description"}
    assert len(re.sub(r"{{.*?}}", "MarketMaker", annotations["summary"])) < 100
    assert 100 < len(annotations["description"]) < 600
    assert dict(rule.labels)["severity"] in {"info", "warning", "critical", "emergency"}
