"""The store: scrapes in, staleness, sources, retention, and what it costs to forget."""

import math
import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewatch.promql import SeriesStore, check, evaluate, parse
from tradewatch.promql.storage import STALE, STALE_BITS, is_stale

T = 1_700_000_000_000


def labels(name, **rest):
    return tuple(sorted({"__name__": name, **rest}.items()))


UP = labels("up", job="bot")
DOWN = labels("up", job="feed")


def value(store, text, at_ms, overlay=None):
    expr = parse(text)
    check(expr, text)
    return evaluate(expr, store, at_ms, overlay)


def test_a_sample_is_seen_until_it_is_five_minutes_old():
    store = SeriesStore(600)
    store.append(T, [(UP, 1.0)])
    assert value(store, "up", T - 1) == []
    assert value(store, "up", T) == [(UP, 1.0)]
    assert value(store, "up", T + 299_999) == [(UP, 1.0)]
    assert value(store, "up", T + 300_000) == []


def test_another_lookback_can_be_set():
    store = SeriesStore(600, lookback_s=10)
    store.append(T, [(UP, 1.0)])
    assert value(store, "up", T + 9_999) == [(UP, 1.0)]
    assert value(store, "up", T + 10_000) == []


def test_a_series_missing_from_a_scrape_ends_there_and_can_come_back():
    store = SeriesStore(600)
    store.append(T, [(UP, 1.0), (DOWN, 0.0)])
    store.append(T + 1000, [(DOWN, 0.0)])
    assert value(store, "up", T + 999) == [(UP, 1.0), (DOWN, 0.0)]
    assert value(store, "up", T + 1000) == [(DOWN, 0.0)]
    assert value(store, "count_over_time(up[1m])", T + 1000) == [((("job", "bot"),), 1.0), ((("job", "feed"),), 2.0)]
    store.append(T + 2000, [(UP, 3.0), (DOWN, 0.0)])
    assert value(store, "up", T + 2000) == [(UP, 3.0), (DOWN, 0.0)]
    assert value(store, "sum_over_time(up[1m])", T + 2000) == [((("job", "bot"),), 4.0), ((("job", "feed"),), 0.0)]


def test_an_empty_scrape_ends_everything_once():
    store = SeriesStore(600)
    store.append(T, [(UP, 1.0)])
    for second in range(1, 4):
        store.append(T + second * 1000, [])
        assert value(store, "up", T + second * 1000) == []
        assert not store.has_name("up")
    assert [len(block.columns) for block in store.blocks("up")] == [2]


def test_a_source_does_not_end_the_series_of_another():
    store = SeriesStore(600)
    store.append(T, [(UP, 1.0)], source="a")
    store.append(T, [(DOWN, 2.0)], source="b")
    store.append(T + 1000, [(DOWN, 2.0)], source="b")
    assert value(store, "up", T + 1000) == [(UP, 1.0), (DOWN, 2.0)]
    store.append(T + 2000, [], source="a")
    assert value(store, "up", T + 2000) == [(DOWN, 2.0)]


def test_a_series_belongs_to_the_source_that_showed_it_first():
    store = SeriesStore(600)
    store.append(T, [(UP, 1.0)], source="a")
    store.append(T, [(UP, 2.0)], source="b")
    assert value(store, "up", T) == [(UP, 1.0)]


def test_has_name_is_about_the_last_scrape():
    store = SeriesStore(600)
    assert not store.has_name("up")
    store.append(T, [(UP, math.nan)])
    assert store.has_name("up")
    store.append(T + 1000, [(labels("down"), 1.0)])
    assert not store.has_name("up")
    assert store.has_name("down")


def test_a_scrape_must_be_later_than_the_one_before_and_a_refused_one_leaves_nothing():
    store = SeriesStore(600)
    store.append(T, [(UP, 1.0)])
    for at_ms in (T, T - 1):
        with pytest.raises(ValueError, match="is not after the last one"):
            store.append(at_ms, [(UP, 2.0)])
    assert value(store, "up", T) == [(UP, 1.0)]


@pytest.mark.parametrize(
    "bad",
    [
        (),
        (("job", "a"),),
        (("job", "a"), ("__name__", "up")),
        (("__name__", "up"), ("job", "")),
        (("__name__", "up"),) * 2,
    ],
)
def test_labels_must_be_well_formed(bad):
    store = SeriesStore(600)
    with pytest.raises(ValueError, match="labels are not"):
        store.append(T, [(UP, 1.0), (bad, 1.0)])
    assert not store.has_name("up")
    store.append(T, [(UP, 1.0)])


def test_the_staleness_marker_is_told_from_other_nans():
    assert struct.pack(">d", STALE) == struct.pack(">Q", STALE_BITS)
    assert is_stale(STALE)
    assert not is_stale(math.nan)
    store = SeriesStore(600)
    store.append(T, [(UP, math.nan), (DOWN, STALE)])
    assert [element for element, _ in value(store, "up", T)] == [UP]
    assert value(store, "count_over_time(up[1m])", T) == [((("job", "bot"),), 1.0)]


def test_memory_is_bounded_by_time_under_churn():
    store = SeriesStore(300)
    for second in range(2000):
        store.append(
            T + second * 1000, [(UP, 1.0), (labels("order", id=str(second)), 1.0), (labels(f"m{second}"), 1.0)]
        )
    (orders,) = store.blocks("order")
    assert len(orders.rows) < 400
    assert len(orders.columns) < 400
    assert sum(bool(store.blocks(f"m{second}")) for second in range(2000)) < 400
    assert value(store, "count(count_over_time(order[5m]))", T + 1_999_000) == [((), 300.0)]


def test_a_reused_row_does_not_show_the_samples_of_the_series_before():
    store = SeriesStore(60, lookback_s=60)
    for second in range(1000):
        name = "a" if second < 200 else "b"
        alive = [(labels("x", id=name), float(second))] if second < 100 or second > 700 else []
        store.append(T + second * 1000, [*alive, (UP, 1.0)])
        got = value(store, "count_over_time(x[1m])", T + second * 1000)
        if second > 700:
            assert got == [((("id", "b"),), float(min(60, second - 700)))]


def test_a_reused_row_is_matched_again():
    store = SeriesStore(60, lookback_s=60)
    seen, unseen = labels("x", id="seen"), labels("x", id="unseen")
    query = parse("x{id='seen'}")
    for second in range(1000):
        alive = [(seen, 1.0)] if second < 100 else [(unseen, 2.0)] if second > 700 else []
        store.append(T + second * 1000, [*alive, (labels("x", id="other"), 1.0)])
        if second == 50:
            assert evaluate(query, store, T + 50_000) == [(seen, 1.0)]
    assert evaluate(query, store, T + 999_000) == []
    (block,) = store.blocks("x")
    assert block.rows == [unseen, labels("x", id="other")]


@pytest.mark.parametrize("every", [5, 64, 90])
def test_what_is_forgotten_does_not_change_a_rate(every):
    chance = random.Random(every)
    store = SeriesStore(60, lookback_s=60)
    scrapes = []
    totals = dict.fromkeys("abcdef", 0.0)
    for second in range(600):
        for id_ in totals:
            totals[id_] = 0.0 if chance.random() < 0.05 else totals[id_] + chance.random()
        scrape = [(labels("x_total", id=id_), total) for id_, total in totals.items() if chance.random() < 0.99]
        at_ms = T + second * 1000
        scrapes.append((at_ms, scrape))
        store.append(at_ms, scrape)
        if second % every == 0:
            fresh = SeriesStore(60, lookback_s=60)
            for one in scrapes[-63:]:
                fresh.append(*one)
            assert value(store, "rate(x_total[1m])", at_ms) == value(fresh, "rate(x_total[1m])", at_ms)


def test_overlay_replaces_the_newest_sample_and_may_bring_new_series():
    store = SeriesStore(600)
    store.append(T, [(UP, 1.0)])
    new = labels("up", job="a")
    assert value(store, "up", T + 1000, {UP: 5.0, new: 7.0}) == [(new, 7.0), (UP, 5.0)]
    assert value(store, "up{job=~'b.*'}", T + 1000, {UP: 5.0, new: 7.0}) == [(UP, 5.0)]
    assert value(store, "up", T + 1000, {UP: STALE}) == []
    assert value(store, "sum(up)", T + 900_000, {UP: 5.0}) == [((), 5.0)]
    assert value(store, "absent(up)", T + 900_000, {UP: 5.0}) == []
    assert value(store, "up", T + 1000) == [(UP, 1.0)]


def test_ranges_and_offsets_do_not_see_the_overlay():
    store = SeriesStore(600)
    for second in range(10):
        store.append(T + second * 1000, [(UP, float(second))])
    at_ms, overlay = T + 9500, {UP: 100.0}
    assert value(store, "max_over_time(up[1m])", at_ms, overlay) == [((("job", "bot"),), 9.0)]
    assert value(store, "up offset 1s", at_ms, overlay) == [(UP, 8.0)]
    assert value(store, "rate(up[5s])", at_ms, overlay) == value(store, "rate(up[5s])", at_ms)


@given(
    st.lists(
        st.dictionaries(st.sampled_from("abcdef"), st.floats(allow_nan=False), max_size=6), min_size=1, max_size=40
    ),
    st.integers(0, 20),
)
def test_the_store_tells_what_was_put_in(scrapes, back):
    store = SeriesStore(60, lookback_s=20)
    for second, scrape in enumerate(scrapes):
        store.append(T + second * 1000, [(labels("x", id=id_), value_) for id_, value_ in scrape.items()])
    at = max(0, len(scrapes) - 1 - back)
    want = sorted((labels("x", id=id_), value_) for id_, value_ in scrapes[at].items())
    assert value(store, "x", T + at * 1000) == want
    counted = {id_: sum(id_ in scrape for scrape in scrapes[max(0, at - 4) : at + 1]) for id_ in "abcdef"}
    assert value(store, "count_over_time(x[5s])", T + at * 1000) == [
        ((("id", id_),), float(n)) for id_, n in counted.items() if n
    ]


def test_a_metric_that_another_source_shows_from_now_on_keeps_its_samples():
    store = SeriesStore(600)
    a, b = (("__name__", "a"),), (("__name__", "b"),)
    store.append(1_000, [(a, 1.0), (b, 1.0)], "slow")
    store.move("a", "fast")
    assert (store.has_name("a"), store.has_name("b")) == (False, True)
    store.append(2_000, [(a, 2.0)], "fast")
    store.append(3_000, [(b, 2.0)], "slow")
    store.append(4_000, [(a, 3.0)], "fast")
    (block,) = store.blocks("a")
    assert (block.source, block.times) == ("fast", [1_000, 2_000, 4_000])
    assert [column[0] for column in block.columns] == [1.0, 2.0, 3.0]
    assert store.has_name("a")
    store.move("a", "slow")
    store.append(5_000, [(a, 4.0), (b, 3.0)], "slow")
    store.append(6_000, [], "fast")
    assert [column[0] for column in block.columns] == [1.0, 2.0, 3.0, 4.0]
    assert store.has_name("a")
