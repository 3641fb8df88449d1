from __future__ import annotations

from tradewatch import rules
from tradewatch.rules.limits import LIMITS, limit_samples, limit_values


def test_the_defaults_are_given_unless_overridden():
    assert limit_values() == {
        "daily_loss": 0.03, "drawdown": 0.1, "error_rate": 0.05, "rejected_orders": 5.0, "slow_calls": 0.01,
        "rate_limit": 0.8, "overhead": 0.05,
    }  # fmt: skip


def test_limits_are_samples_of_one_metric():
    assert limit_samples({"b": 2.0, "a": 1.0}) == (
        ((("__name__", "tradewatch_limit"), ("limit", "a")), 1.0),
        ((("__name__", "tradewatch_limit"), ("limit", "b")), 2.0),
    )


def test_every_limit_is_read_by_a_default_rule_and_every_rule_reads_a_limit_that_exists():
    text = "\n".join(rule.rule.expr for group in rules.default_groups() for rule in group.rules)
    for limit in LIMITS:
        assert f'{{limit="{limit.name}"}}' in text
    assert text.count("tradewatch_limit{") == len(LIMITS)
