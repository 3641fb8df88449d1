"""What venues tell of themselves: rate limits, how long they want silence, their clocks."""

import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

import tradewatch
from tradewatch.status import RateLimit, Venue

SYMBOL = "BTC/USDT"
NONE = {
    "trading.exchange.rate_limit.used",
    "trading.exchange.rate_limit.limit",
    "trading.exchange.rate_limit.remaining",
}


@pytest.fixture
def watching(api, canned, application, make_bot, watch_over):
    """A client of a venue that says what it is told to, and the watch."""

    def make(venue, url=canned, **settings):
        client = api.client(
            url, getattr(api.ccxt, venue), **{"password": "paper-pass", "secret": "cGFwZXItc2VjcmV0"} | settings
        )
        return client, watch_over(make_bot(client), **application.settings)

    return make


def values(application, name):
    """The points of a metric: {value of its second attribute, or its only one: value}."""
    return {
        dict(k).get("trading.rate_limit", dict(k)["trading.exchange"]): p.value for k, p in points(application, name)
    }


def points(application, name):
    return application.points().get(f"trading.exchange.{name}", {}).items()


def test_binance_tells_weight_orders_and_their_limits(api, venue, application, watching, until):
    from tradewatch import paper

    place = venue(limits=paper.Limits(6000, 50, 160_000))
    client, watch = watching("binance", place, secret="paper-secret")
    api.do(client.load_markets())
    for _ in range(2):
        api.do(client.create_order(SYMBOL, "limit", "buy", 1, 50))
    used = sum(entry.weight for entry in place.log())
    [told] = watch.status().venues
    assert told.exchange == "binance"
    assert set(told.rate_limits) == {
        RateLimit("api_weight_1m", used, 6000, 6000 - used),
        RateLimit("api_orders_10s", 2, 50, 48),
        RateLimit("api_orders_1d", 2, 160_000, 159_998),
    }
    assert told.silent_until_ns is None
    until(lambda: values(application, "rate_limit.used").get("api_orders_10s") == 2)
    names = {"api_weight_1m", "api_orders_10s", "api_orders_1d"}
    assert values(application, "rate_limit.limit") == {
        "api_weight_1m": 6000,
        "api_orders_10s": 50,
        "api_orders_1d": 160_000,
    }
    assert values(application, "rate_limit.remaining").keys() == values(application, "rate_limit.used").keys() == names


def test_a_limit_that_no_answer_has_told_is_missing(api, canned, application, watching, until):
    client, watch = watching("binance")
    canned.say("{}", X_MBX_USED_WEIGHT_1M="17", X_SAPI_USED_UID_WEIGHT_1M="3")
    api.do(client.public_get_ping())
    [told] = watch.status().venues
    assert set(told.rate_limits) == {
        RateLimit("api_weight_1m", 17, None, None),
        RateLimit("api_uid_weight_1m", 3, None, None),
    }
    until(lambda: values(application, "rate_limit.used") == {"api_weight_1m": 17, "api_uid_weight_1m": 3})
    assert NONE & application.points().keys() == {"trading.exchange.rate_limit.used"}


def test_products_of_one_venue_have_limits_of_their_own(api, canned, watching):
    client, watch = watching("binance")
    canned.say("{}", x_mbx_used_weight_1m="17")
    canned.say("{}", x_mbx_used_weight_1m="5")
    api.do(client.public_get_ping())
    api.do(client.fapipublic_get_ping())
    [told] = watch.status().venues
    assert {(one.name, one.used) for one in told.rate_limits} == {("api_weight_1m", 17), ("fapi_weight_1m", 5)}


def test_bybit_tells_what_is_left_by_endpoint(api, canned, application, watching, until):
    client, watch = watching("bybit")
    body = '{"retCode":0,"retMsg":"OK","result":{"orderId":"1"},"time":1672211918471}'
    canned.say(body, X_Bapi_Limit="20", X_Bapi_Limit_Status="17", X_Bapi_Limit_Reset_Timestamp="1672738134824")
    api.do(client.private_post_v5_order_create({"symbol": "BTCUSDT"}))
    [told] = watch.status().venues
    assert told.rate_limits == (RateLimit("/v5/order/create", 3, 20, 17),)
    until(lambda: values(application, "rate_limit.remaining") == {"/v5/order/create": 17})


@pytest.mark.parametrize(
    ("name", "call", "body"),
    [("kraken", "public_get_systemstatus", '{"error":[],"result":{}}'), ("okx", "public_get_public_time", "{}")],
)
def test_where_answers_tell_no_limits_there_are_none(api, canned, application, watching, name, call, body):
    client, watch = watching(name)
    canned.say(body if name == "kraken" else '{"code":"0","msg":"","data":[]}')
    api.do(getattr(client, call)())
    assert watch.status().venues == (Venue(name, (), None, None, None),)
    assert not NONE & application.points().keys()


@pytest.mark.parametrize("status", [429, 418, 503])
def test_a_venue_that_wants_silence_says_until_when(api, canned, application, watching, until, status):
    client, watch = watching("binance")
    before_ns = time.time_ns()
    canned.say('{"code":-1003,"msg":"Too many requests."}', status, Retry_After="7")
    with pytest.raises(api.ccxt.NetworkError):
        api.do(client.public_get_ping())
    until_ns = watch.status().venues[0].silent_until_ns
    assert before_ns + 7 * 10**9 <= until_ns <= time.time_ns() + 7 * 10**9
    until(lambda: 0 < values(application, "retry_after").get("binance", 0) <= 7)
    tradewatch.shutdown()
    [call] = application.calls()
    assert call["attempts"][0]["attributes"]["trading.retry_after.duration"] == 7.0


def test_silence_may_be_wanted_until_a_date_and_ends(api, canned, watching, until):
    client, watch = watching("binance")
    when = datetime.now(UTC) + timedelta(seconds=90)
    canned.say("<html>busy</html>", 429, Retry_After=format_datetime(when, usegmt=True), Content_Type="text/html")
    with pytest.raises(api.ccxt.NetworkError):
        api.do(client.public_get_ping())
    assert abs(watch.status().venues[0].silent_until_ns / 1e9 - int(when.timestamp())) < 0.001
    client._tradewatch.heard.silent_until_ns = time.time_ns() - 1
    assert watch.status().venues[0].silent_until_ns is None


def test_an_answer_that_is_no_refusal_wants_no_silence(api, canned, watching):
    client, watch = watching("binance")
    canned.say("{}", Retry_After="7")
    canned.say("<html>busy</html>", 429, Retry_After="soon", Content_Type="text/html")
    api.do(client.public_get_ping())
    with pytest.raises(api.ccxt.NetworkError):
        api.do(client.public_get_ping())
    assert watch.status().venues[0].silent_until_ns is None


def told_times(ahead_ns):
    now_ns = time.time_ns() + ahead_ns
    ms, s = now_ns // 10**6, now_ns // 10**9
    return {
        "binance": ("public_get_time", json.dumps({"serverTime": ms}), 1e-3),
        "kraken": ("public_get_time", json.dumps({"error": [], "result": {"unixtime": s, "rfc1123": "x"}}), 1.0),
        "bybit": ("public_get_v5_market_kline", json.dumps({"retCode": 0, "result": {}, "time": ms}), 1e-3),
        "okx": ("public_get_public_time", json.dumps({"code": "0", "msg": "", "data": [{"ts": str(ms)}]}), 1e-3),
    }


@pytest.mark.parametrize("name", ["binance", "kraken", "bybit", "okx"])
@pytest.mark.parametrize("ahead_s", [0.0, 3.7, -42.0])
def test_a_venues_clock_is_told_by_its_own_time(api, canned, application, watching, until, name, ahead_s):
    client, watch = watching(name)
    call, body, resolution_s = told_times(round(ahead_s * 1e9))[name]
    canned.say(body, Date="Sun, 06 Nov 1994 08:49:37 GMT")
    began = time.monotonic()
    api.do(getattr(client, call)())
    # The answer was made before it was asked for.
    early_s = time.monotonic() - began
    [told] = watch.status().venues
    assert resolution_s / 2 <= told.clock_uncertainty_s <= (resolution_s + early_s) / 2
    assert abs(told.clock_offset_s - ahead_s) <= told.clock_uncertainty_s + early_s
    until(lambda: values(application, "clock.offset").get(name) == told.clock_offset_s)
    assert values(application, "clock.uncertainty") == {name: told.clock_uncertainty_s}


def test_the_date_of_answers_tells_a_clock_where_nothing_better_does(api, canned, watching):
    client, watch = watching("kraken")
    headers = {"Date": format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)}
    canned.say('{"error":[],"result":{}}', **headers)
    api.do(client.public_get_systemstatus())
    [told] = watch.status().venues
    assert abs(told.clock_offset_s - 30) <= told.clock_uncertainty_s + 0.5
    assert 0.5 <= told.clock_uncertainty_s < 1.5


@pytest.mark.parametrize("headers", [{}, {"Date": "yesterday"}, {"Date": "Sun, 06 Nov 1994 08:49:37 GMT", "Age": "3"}])
def test_without_a_time_that_can_be_trusted_the_offset_is_missing(api, canned, application, watching, headers):
    client, watch = watching("kraken")
    canned.say('{"error":[],"result":{}}', **headers)
    api.do(client.public_get_systemstatus())
    assert watch.status().venues[0].clock_offset_s is None
    assert "trading.exchange.clock.offset" not in application.points()


def test_a_venue_whose_clock_is_off_is_seen_through_the_paper_exchange(api, venue, watching):
    place = venue(({}, {"kind": "clock_skew", "skew_ms": 30_000}))
    client, watch = watching("binance", place, secret="paper-secret")
    api.do(client.fetch_time())
    [told] = watch.status().venues
    assert abs(told.clock_offset_s - 30) <= told.clock_uncertainty_s
    assert told.clock_uncertainty_s < 5


def test_a_client_that_was_closed_or_is_gone_takes_its_series_with_it(
    awaiting, canned, application, make_bot, watch_over, until
):
    bot = make_bot(awaiting.client(canned))
    watch = watch_over(bot, **application.settings)
    canned.say("{}", x_mbx_used_weight_1m="17", Date=format_datetime(datetime.now(UTC), usegmt=True))
    awaiting.do(bot.exchange.public_get_ping())
    until(lambda: values(application, "rate_limit.used"))
    awaiting.do(bot.exchange.close())
    until(lambda: not values(application, "rate_limit.used"))
    assert not values(application, "clock.offset")
    assert watch.status().venues == ()


def test_a_time_is_no_nonce(api, venue, application, watching):
    place = venue()
    client, watch = watching("binance", place, secret="paper-secret")
    api.do(client.load_markets())
    api.do(client.create_order(SYMBOL, "limit", "buy", 1, 50))
    tradewatch.shutdown()
    assert watch.status().attempts == len(place.log())
    assert not any("trading.nonce.value" in a["attributes"] for c in application.calls() for a in c["attempts"])
