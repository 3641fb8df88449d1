"""The evaluator's own promises, beside what is recorded from Prometheus."""

import math
import random

import pytest

from tradewatch.promql import EvaluationError, SeriesStore, check, evaluate, parse
from tradewatch.promql.arithmetic import kahan_sum, mean, power

T = 1_700_000_000_000


def labels(name, **rest):
    return tuple(sorted({"__name__": name, **rest}.items()))


@pytest.fixture
def store():
    store = SeriesStore(600)
    for second in range(0, 301, 5):
        samples = [(labels("orders_total", symbol=symbol), float(second * (i + 1))) for i, symbol in enumerate("ABC")]
        limit = (labels("limit", limit="orders"), 100.0)
        store.append(T + second * 1000, [*samples, limit])
    return store


def value(store, text):
    expr = parse(text)
    check(expr, text)
    return evaluate(expr, store, T + 300_000)


def test_scalars_strings_and_vectors(store):
    assert value(store, "2 * 3") == 6.0
    assert value(store, "('text')") == "text"
    assert value(store, "sum(rate(orders_total[1m]))") == [((), 6.0)]
    assert value(store, "orders_total > on() group_left() 5 * limit") == [
        (labels("orders_total", symbol="B"), 600.0),
        (labels("orders_total", symbol="C"), 900.0),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "limit * on() orders_total",
            "found duplicate series for the match group {} on the right hand-side of the operation: "
            '[{__name__="orders_total", symbol="A"}, {__name__="orders_total", symbol="B"}];'
            "many-to-many matching not allowed: matching labels must be unique on one side",
        ),
        (
            "orders_total * on() limit",
            "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
        ),
        (
            "orders_total * on() group_left(symbol) limit",
            "multiple matches for labels: grouping labels must ensure unique matches",
        ),
    ],
)
def test_matching_that_means_nothing_is_an_error_in_prometheus_s_words(store, text, message):
    with pytest.raises(EvaluationError) as error:
        value(store, text)
    assert str(error.value) == message


def test_a_sample_at_the_threshold_is_not_near_enough():
    # 5 s apart, 5.5 s from both ends: extended by half of the distance, not to the ends.
    store = SeriesStore(600)
    for second, count in ((0, 100.0), (5, 110.0), (10, 120.0)):
        store.append(T + second * 1000, [(labels("x_total"), count)])
    for range_ms, at_ms, expected in (
        (21_000, T + 15_500, 30.0),
        (20_999, T + 15_499, 35.998),
        (20_999, T + 15_500, 35.998),
    ):
        value = evaluate(parse(f"increase(x_total[{range_ms}ms])"), store, at_ms)
        assert value == [((), pytest.approx(expected, rel=1e-12))]


@pytest.mark.parametrize("seed", range(5))
def test_powers_with_a_fraction_are_close(seed):
    chance = random.Random(seed)
    for _ in range(1000):
        base, exponent = chance.uniform(0.01, 50), chance.uniform(-20, 20)
        assert power(base, exponent) == pytest.approx(base**exponent, rel=1e-13)


def test_sums_are_compensated():
    assert sum(kahan_sum([1.0, 1e100, 1.0, -1e100])) == 2.0
    assert sum(kahan_sum([0.1] * 10)) == 1.0
    assert mean([1e308, 1.5e308, 1.6e308]) == pytest.approx(1.3666666666666667e308)
    assert math.isinf(sum(kahan_sum([1e308, 1e308])))
