"""Every class of ccxt's errors and every venue's code has its `error.type`; an order is unknown unless it was refused.

Bodies are those of the venues' documents; they come over a socket and through ccxt's own `handle_errors`.
"""

import contextlib
import json

import pytest

import tradewatch
from tradewatch.instrumentation.ccxt.errors import error_type, is_refusal, nonce_error
from tradewatch.model import Attempt, resent

SYMBOL = "BTC/USDT"
# error.type, and whether an answer that ccxt makes it of is a refusal.
CLASSES = {
    "BaseError": ("BaseError", False),
    "ExchangeError": ("ExchangeError", True),
    "AuthenticationError": ("auth", True),
    "PermissionDenied": ("auth", True),
    "AccountNotEnabled": ("auth", True),
    "AccountSuspended": ("auth", True),
    "ArgumentsRequired": ("ArgumentsRequired", True),
    "BadRequest": ("BadRequest", True),
    "BadSymbol": ("BadSymbol", True),
    "OperationRejected": ("OperationRejected", True),
    "NoChange": ("NoChange", True),
    "MarginModeAlreadySet": ("MarginModeAlreadySet", True),
    "MarketClosed": ("MarketClosed", True),
    "ManualInteractionNeeded": ("ManualInteractionNeeded", True),
    "RestrictedLocation": ("RestrictedLocation", True),
    "InsufficientFunds": ("insufficient_funds", True),
    "InvalidAddress": ("InvalidAddress", True),
    "AddressPending": ("AddressPending", True),
    "InvalidOrder": ("rejected", True),
    "OrderNotFound": ("OrderNotFound", True),
    "OrderNotCached": ("OrderNotCached", True),
    "OrderImmediatelyFillable": ("rejected", True),
    "OrderNotFillable": ("rejected", True),
    "DuplicateOrderId": ("rejected", True),
    "ContractUnavailable": ("rejected", True),
    "NotSupported": ("NotSupported", True),
    "InvalidProxySettings": ("InvalidProxySettings", True),
    "ExchangeClosedByUser": ("ExchangeClosedByUser", True),
    "OperationFailed": ("unavailable", False),
    "NetworkError": ("unavailable", False),
    "DDoSProtection": ("rate_limited", True),
    "RateLimitExceeded": ("rate_limited", True),
    "ExchangeNotAvailable": ("unavailable", False),
    "OnMaintenance": ("unavailable", False),
    "InvalidNonce": ("nonce", True),
    "ChecksumError": ("ChecksumError", True),
    "RequestTimeout": ("timeout", False),
    "BadResponse": ("unavailable", False),
    "NullResponse": ("unavailable", False),
    "CancelPending": ("CancelPending", False),
    "UnsubscribeError": ("UnsubscribeError", False),
}


def every(kind):
    yield kind
    for below in kind.__subclasses__():
        # tradewatch's own refusal is one of them once it was raised.
        if below.__module__.startswith("ccxt"):
            yield from every(below)


def test_every_class_of_ccxt_has_an_answer():
    import ccxt

    seen = {
        kind.__name__: (error_type(kind("exchange said no")), is_refusal(kind("exchange said no"), 400))
        for kind in every(ccxt.BaseError)
    }
    assert seen == CLASSES
    assert not any(is_refusal(kind("no"), status) for kind in every(ccxt.BaseError) for status in (None, 500, 503))
    assert [k.__name__ for k in every(ccxt.BaseError) if nonce_error(k("no")) is not None] == ["InvalidNonce"]


def binance(code, message):
    return json.dumps({"code": code, "msg": message})


def kraken(*errors):
    return json.dumps({"error": errors})


def bybit(code, message):
    return json.dumps({"retCode": code, "retMsg": message, "result": {}, "retExtInfo": {}, "time": 1672211918471})


def okx(code, message, **item):
    return json.dumps({"code": code, "data": [item] if item else [], "msg": message})


FUNDS = "insufficient_funds"
POOR = "Account has insufficient balance for requested action."
CLOCK = "Timestamp for this request is outside of the recvWindow."
# What is answered to an order: status, body, error.type, what became of the order, kind of nonce error.
ANSWERS = {
    "binance": [
        (400, binance(-1000, "An unknown error occurred."), "unavailable", "unknown", None),
        (400, binance(-1001, "Internal error; unable to process your request."), "unavailable", "unknown", None),
        (400, binance(-1004, "Server is busy, please wait and try again"), "unavailable", "unknown", None),
        (400, binance(-1006, "An unexpected response was received."), "unavailable", "unknown", None),
        (400, binance(-1007, "Timeout waiting for response. Status unknown."), "timeout", "unknown", None),
        (504, "<html>Gateway Time-out</html>", "timeout", "unknown", None),
        (403, "<html>Forbidden</html>", "unavailable", "unknown", None),
        (400, binance(-1021, CLOCK), "nonce", "rejected", "clock_skew"),
        (429, binance(-1003, "Too much request weight used."), "rate_limited", "rejected", None),
        (418, binance(-1003, "Way too much request weight used; IP banned."), "rate_limited", "rejected", None),
        (429, binance(-1015, "Too many new orders."), "rate_limited", "rejected", None),
        (400, binance(-2010, POOR), FUNDS, "rejected", None),
        (400, binance(-1013, "Filter failure: LOT_SIZE"), "rejected", "rejected", None),
        (401, binance(-2014, "API-key format invalid."), "auth", "rejected", None),
    ],
    "kraken": [
        (200, kraken("EService:Timeout"), "timeout", "unknown", None),
        (200, kraken("EService:Unavailable"), "unavailable", "unknown", None),
        (200, kraken("EService:Busy"), "unavailable", "unknown", None),
        (200, kraken("EGeneral:Internal error"), "unavailable", "unknown", None),
        (520, "<html>Web server error</html>", "unavailable", "unknown", None),
        (200, kraken("EService:Market in cancel_only mode"), "unavailable", "rejected", None),
        (200, kraken("EService:Throttled: 1700000000"), "rate_limited", "rejected", None),
        (200, kraken("EAPI:Rate limit exceeded"), "rate_limited", "rejected", None),
        (200, kraken("EOrder:Rate limit exceeded"), "rate_limited", "rejected", None),
        (200, kraken("EAPI:Invalid nonce"), "nonce", "rejected", "sequence"),
        (200, kraken("EOrder:Insufficient funds"), FUNDS, "rejected", None),
        (200, kraken("EGeneral:Invalid arguments:volume"), "rejected", "rejected", None),
        (200, kraken("EAPI:Invalid key"), "auth", "rejected", None),
        (200, kraken("EOrder:Something new"), "ExchangeError", "rejected", None),
    ],
    "bybit": [
        (200, bybit(10000, "Server Timeout"), "timeout", "unknown", None),
        (200, bybit(10016, "System error. Please try again later."), "unavailable", "unknown", None),
        (200, bybit(170007, "Timeout waiting for response from backend server."), "timeout", "unknown", None),
        (200, bybit(170146, "Order creation timeout"), "timeout", "unknown", None),
        (200, bybit(10002, "check your server timestamp or recv_window"), "nonce", "rejected", "clock_skew"),
        (200, bybit(10006, "Too many visits!"), "rate_limited", "rejected", None),
        (200, bybit(170131, "Insufficient balance."), FUNDS, "rejected", None),
        (200, bybit(10003, "API key is invalid."), "auth", "rejected", None),
    ],
    "okx": [
        (200, okx("50004", "API endpoint request timeout"), "timeout", "unknown", None),
        (200, okx("50026", "System error. Try again later"), "unavailable", "unknown", None),
        (200, okx("1", "", ordId="", sCode="51149", sMsg="Order timed out."), "timeout", "unknown", None),
        (200, okx("1", "", ordId="", sCode="51054", sMsg="Request timed out."), "timeout", "unknown", None),
        (401, okx("50102", "Timestamp request expired"), "nonce", "rejected", "clock_skew"),
        (429, okx("50011", "Rate limit reached."), "rate_limited", "rejected", None),
        (200, okx("1", "", ordId="", sCode="51008", sMsg="Insufficient balance."), FUNDS, "rejected", None),
        (401, okx("50111", "Invalid OK-ACCESS-KEY"), "auth", "rejected", None),
    ],
}  # fmt: skip
ORDERS = {
    "binance": ("private_post_order", {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "1"}),
    "kraken": ("private_post_addorder", {"pair": "XBTUSD", "type": "buy", "ordertype": "market", "volume": "1"}),
    "bybit": ("private_post_v5_order_create", {"symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "1"}),
    "okx": ("private_post_trade_order", {"instId": "BTC-USDT", "side": "buy", "ordType": "market", "sz": "1"}),
}
PLACED = {
    "binance": '{"symbol":"BTCUSDT","orderId":28,"clientOrderId":"6gCrw2kRUAF9CvJDGP16IP"}',
    "kraken": '{"error":[],"result":{"descr":{"order":"buy 1 XBTUSD"},"txid":["OUF4EM-FRGI2-MQMWZD"]}}',
    "bybit": '{"retCode":0,"retMsg":"OK","result":{"orderId":"13210037","orderLinkId":"x"},"time":1672211918471}',
    "okx": '{"code":"0","msg":"","data":[{"clOrdId":"","ordId":"312269865356374016","sCode":"0","sMsg":""}]}',
}


@pytest.fixture
def trading(api, canned, application, make_bot, watch_over):
    """A client of a venue that says what it is told to, and the watch."""

    def make(venue, **settings):
        client = api.client(
            canned, getattr(api.ccxt, venue), password="paper-pass", secret="cGFwZXItc2VjcmV0", timeout=2000, **settings
        )
        return client, watch_over(make_bot(client), **application.settings)

    return make


def order(api, client, venue):
    name, params = ORDERS[venue]
    with contextlib.suppress(api.ccxt.BaseError):
        api.do(getattr(client, name)(params))


@pytest.mark.parametrize("venue", ANSWERS)
def test_a_venues_code_has_its_error_type_and_says_what_became_of_the_order(api, canned, trading, application, venue):
    client, watch = trading(venue)
    rows = ANSWERS[venue]
    for status, body, *_ in rows:
        canned.say(body, status, Content_Type="application/json" if body[0] == "{" else "text/html")
        order(api, client, venue)
    canned.say(PLACED[venue])
    order(api, client, venue)
    tradewatch.shutdown()
    calls = application.calls()
    [last] = calls[-1]["attempts"]
    assert "error.type" not in calls[-1]["attributes"] | last["attributes"]
    assert calls[-1]["attributes"]["trading.order.status"] == "pending"
    seen = []
    for (status, body, *_), call in zip(rows, calls, strict=False):
        [attempt] = call["attempts"]
        told, below = call["attributes"], attempt["attributes"]
        assert (below["http.response.status_code"], below["error.type"]) == (status, told["error.type"])
        kind = below.get("trading.nonce.error.kind")
        seen.append((status, body, told["error.type"], told["trading.order.status"], kind))
    assert seen == rows
    unknown = sum(row[3] == "unknown" for row in rows)
    assert len(watch.status().breaker.unknown) == unknown
    assert watch.status().orders == {"unknown": unknown, "rejected": len(rows) - unknown, "pending": 1}


NO_ORDERS = {
    "binance": ["<html>Welcome</html>", "", "{}", '{"symbol":"BTCUSDT"}', '{"symbol":"BTCUSDT","orderId":2', "[]"],
    "kraken": ["<html>Hi</html>", "", "{}", '{"error":[]}', '{"error":[],"result":{"des', '{"error":[],"result":{}}'],
}  # fmt: skip


@pytest.mark.parametrize("venue", NO_ORDERS)
@pytest.mark.parametrize("below", [False, True])
def test_an_answer_that_names_no_order_leaves_it_unknown(api, canned, trading, application, venue, below):
    client, watch = trading(venue)
    bodies = NO_ORDERS[venue]
    client.set_markets([a_market(client)])
    for body in bodies:
        canned.say(body, Content_Type="application/json" if body[:1] in "{[" else "text/html")
        with contextlib.suppress(Exception):  # what ccxt makes of it is not our business
            if below:
                order(api, client, venue)
            else:
                api.do(client.create_order(SYMBOL, "limit", "buy", 1, 50))
    assert len(watch.status().breaker.unknown) == len(canned.asked) == len(bodies)
    tradewatch.shutdown()
    assert watch.status().orders == {"unknown": len(bodies)}
    assert {call["attributes"]["trading.order.status"] for call in application.calls()} == {"unknown"}


def a_market(client):
    pair = {"id": "BTCUSDT", "symbol": SYMBOL, "base": "BTC", "quote": "USDT", "baseId": "BTC", "quoteId": "USDT"}
    kind = {"type": "spot", "spot": True, "margin": False, "swap": False, "future": False, "option": False}
    limits = {"precision": {"amount": 0.001, "price": 0.01}, "active": True, "contract": False, "altname": "BTCUSDT"}
    return client.safe_market_structure({**pair, **kind, **limits, "info": {"orderTypes": ["LIMIT", "MARKET"]}})


def test_an_order_that_was_only_checked_is_not_unknown(api, canned, trading):
    client, watch = trading("binance")
    client.set_markets([a_market(client)])
    canned.say("{}")
    api.do(client.create_order(SYMBOL, "limit", "buy", 1, 50, {"test": True}))
    canned.say("<html>Bad gateway</html>", 502, Content_Type="text/html")
    with pytest.raises(api.ccxt.ExchangeNotAvailable):
        api.do(client.create_order(SYMBOL, "limit", "buy", 1, 50, {"test": True}))
    assert [path for _, path, _ in canned.asked] == ["/api/v3/order/test"] * 2
    assert watch.status().breaker.unknown == ()


def test_kraken_is_asked_to_check_only(api, canned, trading):
    client, watch = trading("kraken")
    canned.say('{"error":[],"result":{"descr":{"order":"buy 1 XBTUSD @ market"}}}')
    api.do(client.private_post_addorder({**ORDERS["kraken"][1], "validate": True}))
    assert "validate=true" in canned.asked[0][2].lower()
    assert watch.status().breaker.unknown == ()


def test_of_a_batch_only_what_was_not_answered_is_unknown(api, canned, trading, until):
    client, watch = trading("bybit", options={"enableUnifiedMargin": True, "enableUnifiedAccount": True})
    client.set_markets([a_market(client)])
    items = [{"orderId": "1", "orderLinkId": "a"}, {"orderId": "", "orderLinkId": ""}]
    states = [{"code": 0, "msg": "OK"}, {"code": 170131, "msg": "Insufficient balance."}]
    canned.say(json.dumps({"retCode": 0, "result": {"list": items}, "retExtInfo": {"list": states}, "time": 1}))
    wanted = [{"symbol": SYMBOL, "type": "limit", "side": "buy", "amount": n, "price": 50} for n in (1, 2, 3)]
    with contextlib.suppress(Exception):
        api.do(client.create_orders(wanted))
    listed = [str(one.request.amount) for one in watch.status().breaker.unknown]
    # The second has an empty id and a code of its own, which ccxt makes a rejection of.
    assert listed == ["3"]
    until(lambda: watch.status().orders == {"pending": 1, "rejected": 1, "unknown": 1})


def test_an_attempt_is_counted_as_sent_again_and_a_refusal_after_it_settles_nothing(
    api, canned, trading, application, until
):
    client, watch = trading("kraken", options={"maxRetriesOnFailure": 2})
    canned.say("<html>Bad gateway</html>", 502, Content_Type="text/html")
    canned.say(kraken("EAPI:Invalid nonce"))
    canned.say(kraken("EOrder:Insufficient funds"))
    order(api, client, "kraken")
    assert len(watch.status().breaker.unknown) == 1
    venue = ("trading.exchange", "kraken")
    points = until(lambda: "trading.exchange.retries" in (found := application.points()) and found)
    assert {k: p.value for k, p in points["trading.exchange.retries"].items()} == {
        (venue, ("trading.operation", "private_post_addorder")): 2
    }
    assert {k: p.value for k, p in points["trading.nonce.generated"].items()} == {(venue,): 3}
    assert {k: p.value for k, p in points["trading.nonce.errors"].items()} == {
        (venue, ("trading.nonce.error.kind", "sequence")): 1
    }
    tradewatch.shutdown()
    [call] = application.calls()
    assert call["attributes"]["trading.order.status"] == "unknown"
    assert call["attributes"]["error.type"] == "insufficient_funds"
    attempts = [a["attributes"] for a in call["attempts"]]
    assert [a.get("http.request.resend_count") for a in attempts] == [None, 1, 2]
    assert [a["error.type"] for a in attempts] == ["unavailable", "nonce", "insufficient_funds"]
    nonces = [int(a["trading.nonce.value"]) for a in attempts]
    assert nonces == sorted(set(nonces))
    status = watch.status()
    assert (status.attempts, status.retries) == (3, 2)


def test_refusals_alone_settle_an_order_though_it_was_sent_again(api, canned, trading):
    client, watch = trading("kraken", options={"maxRetriesOnFailure": 1})
    canned.say(kraken("EAPI:Invalid nonce"))
    canned.say(kraken("EOrder:Insufficient funds"))
    order(api, client, "kraken")
    assert watch.status().breaker.unknown == ()
    tradewatch.shutdown()
    assert watch.status().orders == {"rejected": 1}


def test_pages_of_a_list_are_not_sent_again():
    def attempt(path, error=None):
        return Attempt(0, 1, "GET", "host", path, 200, error)

    pages = [
        attempt("/trades"),
        attempt("/trades"),
        attempt("/trades", "timeout"),
        attempt("/trades"),
        attempt("/trades"),
    ]
    assert list(resent(pages)) == [0, 0, 0, 1, 0]
    assert list(resent([attempt("/a", "timeout"), attempt("/b"), attempt("/a", "timeout"), attempt("/a")])) == [
        0,
        0,
        1,
        2,
    ]
