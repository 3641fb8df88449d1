"""docs/system.md names what there is."""

import re

from pages import blocks_of, text_of
from tradewatch import rules
from tradewatch.semconv import METRICS

PAGE = "docs/system.md"
OF_SYSTEM = ("process.", "system.", "cpython.", "trading.loop.", "tradewatch.process.", "tradewatch.log_file.")


def test_every_metric_is_named_and_no_other():
    named = {
        name
        for name in re.findall(r"`((?:process|system|cpython|trading|tradewatch)_\w+)`", text_of(PAGE))
        if "{" not in name
    }
    labels = {a.label for m in METRICS for a in m.attributes}
    ours = {m.prometheus for m in METRICS if m.name.startswith(OF_SYSTEM)}
    assert named - labels == ours


def test_its_rules_read_metrics_that_there_are():
    [example] = [block.text for block in blocks_of(PAGE, "yaml") if block.text.startswith("groups")]
    [group] = rules.loads(example)
    needed = {str(name) for rule in group.rules for name in rule.needs}
    assert len(needed) >= 4
    assert needed <= {m.prometheus for m in METRICS}
