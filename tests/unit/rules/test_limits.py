from __future__ import annotations

import math
import re

import pytest

from tradewatch import rules
from tradewatch.rules.limits import LIMITS, limit_samples, limit_values

NAMES = "daily_loss, drawdown, error_rate, rejected_orders, slow_calls, rate_limit, overhead"


def test_the_defaults_are_given_unless_overridden():
    assert limit_values() == {
        "daily_loss": 0.03, "drawdown": 0.1, "error_rate": 0.05, "rejected_orders": 5.0, "slow_calls": 0.01,
        "rate_limit": 0.8, "overhead": 0.05,
    }  # fmt: skip
    assert limit_values({"drawdown": 1, "rejected_orders": 20})["drawdown"] == 1.0


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("daly_loss", 0.1, f"unknown limit 'daly_loss' (nearest: daily_loss); accepted: {NAMES}"),
        ("zzz", 0.1, f"unknown limit 'zzz'; accepted: {NAMES}"),
        (
            "daily_loss",
            3,
            "limit daily_loss: 3; accepted: a ratio above 0, at most 1 (for 3 per cent write 0.03)",
        ),
        ("daily_loss", 0, "limit daily_loss: 0; accepted: a ratio above 0, at most 1"),
        ("daily_loss", -0.1, "limit daily_loss: -0.1; accepted: a ratio above 0, at most 1"),
        ("drawdown", math.nan, "limit drawdown: nan; accepted: a ratio above 0, at most 1"),
        ("drawdown", math.inf, "limit drawdown: inf; accepted: a ratio above 0, at most 1"),
        ("drawdown", "3%", "limit drawdown: '3%'; accepted: a ratio above 0, at most 1"),
        ("drawdown", True, "limit drawdown: True; accepted: a ratio above 0, at most 1"),
        ("rejected_orders", -1, "limit rejected_orders: -1; accepted: a number of orders above 0"),
        ("rejected_orders", 10**400, f"limit rejected_orders: {10**400}; accepted: a number of orders above 0"),
    ],
)
def test_an_impossible_limit_is_refused(name, value, message):
    with pytest.raises(ValueError, match=re.escape(message) + r"\Z"):
        limit_values({name: value})


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
