"""The same samples at the same times give the same alerts as in Prometheus.

The files in `data/` are promtool's own unit tests: `promtool test rules tests/unit/rules/data/*.test.yaml` passes with
Prometheus 3.15, and here the same files are run against tradewatch. Promtool is asked again where `make servers` has
built it.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from servers import SERVERS
from tradewatch import promql
from tradewatch.rules import load_files
from tradewatch.rules.alerting import step
from tradewatch.rules.durations import seconds
from tradewatch.settings.yaml import read_file

DATA = Path(__file__).parent / "data"
FILES = sorted(DATA.glob("*.test.yaml"))
STALE = object()
PROMTOOL = next((one.binary for one in SERVERS if one.name == "promtool" and one.binary.exists()), None)


def values(text):
    """promtool's notation: `1 2 _ stale`, `0+5x3` for 0 5 10 15, `7x2` for 7 7 7, `_x2`."""
    for word in text.split():
        if word == "stale":
            yield STALE
        elif word.startswith("_"):
            yield from [None] * (int(word[2:]) if word[1:2] == "x" else 1)
        elif match := re.fullmatch(r"(-?[\d.]+)(?:([+-][\d.]+))?x(\d+)", word):
            for i in range(int(match[3]) + 1):
                yield float(match[1]) + i * float(match[2] or 0)
        else:
            yield float(word)


def labels_of(series):
    name, _, rest = series.partition("{")
    pairs = re.findall(r'(\w+)="([^"]*)"', rest)
    return tuple(sorted([("__name__", name), *pairs]))


def firing_at_each_step(groups, case, interval_s, steps):
    """The firing alerts of each rule at each step: `[step][alertname]` is a sorted list of (labels, annotations)."""
    interval_ms = int(seconds(case["interval"]) * 1000)
    series = [(labels_of(s["series"]), list(values(str(s["values"])))) for s in case["input_series"]]
    store = promql.SeriesStore(86_400)
    alerts = {id(rule): {} for group in groups for rule in group.rules}
    given, result = 0, []
    for n in range(steps):
        at_ms = int(n * interval_s * 1000)
        while given * interval_ms <= at_ms:
            # One source a series: a value that is missing in a test is not a series that has ended.
            for i, (labels, points) in enumerate(series):
                if given < len(points) and points[given] is not None:
                    samples = [] if points[given] is STALE else [(labels, points[given])]
                    store.append(given * interval_ms, samples, str(i))
            given += 1
        firing: dict[str, list] = {}
        for group in groups:
            for rule in group.rules:
                vector = promql.evaluate(rule.expr, store, at_ms)
                vector = [((), vector)] if isinstance(vector, float) else vector
                outcome = step(rule, alerts[id(rule)], vector, at_ms * 1_000_000, limit=group.limit)
                assert outcome.error is None
                alerts[id(rule)] = outcome.alerts
                firing.setdefault(rule.rule.name, []).extend(
                    ({k: v for k, v in a.labels if k != "alertname"}, dict(a.annotations))
                    for a in outcome.alerts.values()
                    if a.state == "firing"
                )
        result.append({name: sorted(found, key=str) for name, found in firing.items()})
    return result


def rule_groups(document):
    return load_files([DATA / path for path in document["rule_files"]])


def expected(check):
    wanted = [(a.get("exp_labels", {}), a.get("exp_annotations", {})) for a in check["exp_alerts"] or []]
    as_text = [({k: str(v) for k, v in given.items()}, texts) for given, texts in wanted]
    return sorted(as_text, key=lambda pair: str((dict(sorted(pair[0].items())), dict(sorted(pair[1].items())))))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_alerts_are_those_that_promtool_expects(path):
    document = read_file(path).value
    groups = rule_groups(document)
    interval_s = seconds(document["evaluation_interval"])
    checked = fired = 0
    for case in document["tests"]:
        last_s = max(seconds(str(check["eval_time"])) for check in case["alert_rule_test"])
        steps = firing_at_each_step(groups, case, interval_s, int(last_s / interval_s) + 1)
        for check in case["alert_rule_test"]:
            found = steps[int(seconds(str(check["eval_time"])) / interval_s)][check["alertname"]]
            wanted = expected(check)
            assert found == wanted, f"{check['alertname']} at {check['eval_time']}"
            checked += 1
            fired += len(wanted)
    assert checked > 20
    assert fired > 10


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool: `make servers` builds it")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_promtool_agrees(path):
    done = subprocess.run([PROMTOOL, "test", "rules", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
