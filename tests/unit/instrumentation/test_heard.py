"""What answers tell of a venue: headers in any spelling, limits, and intervals that hold the offset of its clock."""

import json
import time
from time import monotonic_ns

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewatch.instrumentation.ccxt import heard as module
from tradewatch.instrumentation.ccxt.heard import Heard, Limit
from tradewatch.instrumentation.ccxt.venue_clock import KEPT_NS, bounded, date_ns, narrowed, time_told

S = 10**9
T = 1_700_000_000 * S


def hear(heard, headers, url="https://api.binance.com/api/v3/order?signature=s", body="", status=200, venue="binance"):
    url = url.partition("?")[0]
    return heard.answer(venue, "GET", url, status, headers, body=body, asked_mono_ns=monotonic_ns())


@pytest.mark.parametrize("spelt", ["x-mbx-used-weight-1m", "X-MBX-USED-WEIGHT-1M", "X-Mbx-Used-Weight-1m"])
def test_headers_are_read_in_any_spelling(spelt):
    heard = Heard()
    hear(heard, {"Content-Type": "text/html", spelt: "17", "x-mbx-used-weight": "17"})
    [(name, limit)] = heard.limits(monotonic_ns()).items()
    assert (name, limit.used, limit.limit, limit.window_s) == ("api_weight_1m", 17.0, None, 60)


def test_what_a_limit_said_is_no_longer_told_after_its_window():
    heard = Heard()
    hear(heard, {"x-mbx-order-count-10s": "1", "x-mbx-order-count-1d": "2", "x-mbx-used-weight-1m": "nothing"})
    now = monotonic_ns()
    assert {name: one.used for name, one in heard.limits(now).items()} == {
        "api_orders_10s": 1,
        "api_orders_1d": 2,
        "api_weight_1m": None,
    }
    assert set(heard.limits(now + 61 * S)) == {"api_orders_1d"}
    assert heard.limits(now + 86_401 * S) == {}


def test_of_answers_that_wait_the_last_of_a_kind_counts_and_the_last_of_all():
    heard = Heard()
    order, other = "https://api.binance.com/api/v3/order", "https://api.binance.com/api/v3/account"
    hear(heard, {"x-mbx-used-weight-1m": "1", "x-mbx-order-count-10s": "1"}, order)
    hear(heard, {"x-mbx-used-weight-1m": "2"}, other)
    hear(heard, {"x-mbx-used-weight-1m": "3"}, order)
    hear(heard, {"x-mbx-used-weight-1m": "4"}, other)
    hear(heard, {"x-mbx-used-weight-1m": "5"}, order)
    assert {name: one.used for name, one in heard.limits(monotonic_ns()).items()} == {
        "api_weight_1m": 5,
        "api_orders_10s": 1,
    }
    hear(heard, {"x-mbx-used-weight-1m": "6"}, other)
    hear(heard, {"x-mbx-used-weight-1m": "7"}, order, status=429)  # read at once, before the other
    assert heard.limits(monotonic_ns())["api_weight_1m"].used == 7


def test_answers_that_nobody_reads_are_few_and_have_no_query(monkeypatch):
    heard = Heard()
    for n in range(200):
        hear(heard, {"x-mbx-used-weight-1m": str(n)}, f"https://h/api/v3/{n}?signature=s")
    assert len(heard._waiting) == module._MOST_WAITING
    assert not any("signature" in str(kind) + answer.url for kind, answer in heard._waiting.items())
    assert heard.limits(monotonic_ns())["api_weight_1m"].used == 199
    assert heard._waiting == {}


def test_an_answer_that_cannot_be_read_takes_no_other_with_it(lenient):
    heard = Heard()
    hear(heard, {"x-mbx-used-weight-1m": "1", 7: "no name"}, "https://h/api/v3/a")
    hear(heard, {"x-mbx-order-count-1d": "2"}, "https://h/api/v3/b")
    assert heard.limits(monotonic_ns())["api_orders_1d"].used == 2
    assert heard._waiting == {}


def test_limits_are_those_that_exchange_info_stated():
    heard = Heard()
    limits = [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2400},
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300},
        {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 61000},
    ]
    body = json.dumps({"timezone": "UTC", "rateLimits": limits, "symbols": ["x"] * 10_000})
    url = "https://fapi.binance.com/fapi/v1/exchangeInfo"
    hear(heard, {"x-mbx-used-weight-1m": "40"}, url, body)
    [limit] = heard.limits(monotonic_ns()).values()
    assert (limit.used, limit.limit, limit.remaining) == (40, 2400, 2360)
    for broken in ('{"rateLimits":', '{"rateLimits":[{"rateLimitType":"ORDERS"}]}', '{"rateLimits":7}', "[]", ""):
        hear(heard, {}, url, broken)


def test_how_many_limits_and_names_are_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "_headers", {})
    heard = Heard()
    for n in range(700):
        hear(
            heard, {"X-Bapi-Limit": "10", "X-Bapi-Limit-Status": "12", f"X-{n}": ""}, f"https://h/v5/{n}", venue="bybit"
        )
    assert len(heard.limits(monotonic_ns())) == 50
    assert len(module._headers) == 500
    assert Limit(12.0, 10.0, 1, 0).remaining == 0


@pytest.mark.parametrize(
    ("venue", "path", "body", "told"),
    [
        ("binance", "/api/v3/time", '{"serverTime":1700000000123}', (T + 123_000_000, 10**6)),
        ("binanceusdm", "/fapi/v1/time", '{"serverTime": 1700000000123}', (T + 123_000_000, 10**6)),
        ("kraken", "/0/public/Time", '{"error":[],"result":{"unixtime":1700000000}}', (T, S)),
        (
            "bybit",
            "/v5/order/create",
            '{"retCode":0,"result":{"time":1},"time":1700000000123}',
            (T + 123_000_000, 10**6),
        ),
        ("okx", "/api/v5/public/time", '{"code":"0","data":[{"ts":"1700000000123"}]}', (T + 123_000_000, 10**6)),
        (
            "okx",
            "/api/v5/trade/order",
            '{"data":[],"inTime":"1","outTime":"1700000000123456"}',
            (T + 123_456_000, 1000),
        ),
        ("binance", "/api/v3/order", '{"transactTime":1700000000123}', None),
        ("elsewhere", "/time", '{"serverTime":1700000000123}', None),
        ("kraken", "/0/public/Time", "<html>", None),
    ],
)
def test_times_are_read_where_a_venue_documents_them(venue, path, body, told):
    assert time_told(venue, path, body) == told


@pytest.mark.parametrize(
    ("text", "at_s"),
    [
        ("Tue, 14 Nov 2023 22:13:20 GMT", 1_700_000_000),
        ("Tue, 14 Nov 2023 22:13:21 GMT", 1_700_000_001),
        ("Wed, 15 Nov 2023 00:00:00 GMT", 1_700_006_400),
        ("Tuesday", None),
        ("", None),
    ],
)
def test_an_http_date_is_read_whatever_came_before(text, at_s):
    assert date_ns(text) == (None if at_s is None else at_s * S)


ANSWERS = st.lists(
    st.tuples(
        st.integers(0, 500 * S),  # when it was asked
        st.integers(1, 3 * S),  # the round trip
        st.floats(0, 1),  # when in it the clock was read
        st.sampled_from([1, 1000, 10**6, S]),
    ),
    min_size=1,
    max_size=30,
)


@given(ANSWERS, st.integers(-(10**12), 10**12))
def test_the_true_offset_is_never_outside_and_more_answers_never_say_less(answers, offset_ns):
    known = None
    for asked, trip, at, resolution in sorted(answers):
        read = T + asked + int(trip * at) + offset_ns
        told = read - read % resolution
        new = bounded((told, resolution), T + asked, T + asked + trip, asked + trip)
        assert new.high_ns - new.low_ns == trip + resolution
        before, known = known, narrowed(known, new)
        assert known.low_ns <= offset_ns <= known.high_ns
        assert abs(known.offset_s - offset_ns / S) <= known.uncertainty_s + 1e-9
        assert known.uncertainty_s <= min(new.uncertainty_s, before.uncertainty_s if before else new.uncertainty_s)


def test_a_clock_that_was_set_begins_anew_and_so_does_time():
    first = bounded((T, S), T, T + 1000, 0)
    far = bounded((T + 60 * S, S), T, T + 1000, 5)
    assert narrowed(first, far) == far
    later = bounded((T, S), T - S // 2, T + 1000, KEPT_NS + 1)
    assert narrowed(first, later) == later


def test_a_date_comes_down_to_a_fraction_of_its_second_and_is_forgotten():
    heard = Heard()
    hear(heard, {"Date": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())})
    clock = heard.clock(monotonic_ns())
    assert abs(clock.offset_s) <= clock.uncertainty_s
    assert heard.clock(monotonic_ns() + KEPT_NS + S) is None
