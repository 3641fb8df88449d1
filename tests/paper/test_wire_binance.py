"""The protocol without sockets: signatures, parameters, limits, all answers whole."""

import hashlib
import hmac
import json
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tradewatch.paper.binance.spot import ROUTES, binance_spot
from tradewatch.paper.requests import Limits, Request

WALL_MS = 1_700_000_000_000


class Wall:
    def __init__(self):
        self.ms = WALL_MS

    def __call__(self):
        return self.ms * 1_000_000


@pytest.fixture
def wall():
    return Wall()


@pytest.fixture
def wire(make, rows, wall):
    exchange, _ = make(rows((100, 100, 100, 100), (100, 110, 99, 105)), spread_bp=20)
    return binance_spot(exchange, Limits(weight_1m=200, orders_10s=3, orders_1d=5), wall)


def signed(method, path, secret="paper-secret", key="paper-key", **params):
    params = {"timestamp": WALL_MS, **params}
    text = urlencode(params)
    text += "&signature=" + hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    return Request(
        method, path, "" if method == "POST" else text, text if method == "POST" else "", {"x-mbx-apikey": key}
    )


def ask(wire, request):
    answer = wire.answer(request)
    return answer.status, json.loads(answer.body)


def get(wire, path, **params):
    return ask(wire, Request("GET", path, urlencode(params)))


def error(wire, request):
    status, body = ask(wire, request)
    return status, body["code"], body["msg"]


MARKET = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "1"}
RESTING = {**MARKET, "type": "LIMIT", "timeInForce": "GTC", "price": "90"}
LIMIT = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "99"}


def test_time_is_the_wall_clock(wire):
    assert get(wire, "/api/v3/time") == (200, {"serverTime": WALL_MS})
    assert get(wire, "/api/v3/ping") == (200, {})


def test_a_market_order_in_full(wire):
    request = signed("POST", "/api/v3/order", newClientOrderId="mine", **MARKET)
    assert ask(wire, request) == (
        200,
        {
            "symbol": "BTCUSDT",
            "orderId": 1,
            "orderListId": -1,
            "clientOrderId": "mine",
            "transactTime": 1677801600000,
            "price": "0.00000000",
            "origQty": "1.00000000",
            "executedQty": "1.00000000",
            "origQuoteOrderQty": "0.00000000",
            "cummulativeQuoteQty": "100.10000000",
            "status": "FILLED",
            "timeInForce": "GTC",
            "type": "MARKET",
            "side": "BUY",
            "selfTradePreventionMode": "NONE",
            "workingTime": 1677801600000,
            "fills": [
                {
                    "price": "100.10000000",
                    "qty": "1.00000000",
                    "commission": "0.00100000",
                    "commissionAsset": "BTC",
                    "tradeId": 1000000000,
                }
            ],
        },
    )
    assert ask(wire, signed("GET", "/api/v3/myTrades", symbol="BTCUSDT")) == (
        200,
        [
            {
                "symbol": "BTCUSDT",
                "id": 1000000000,
                "orderId": 1,
                "orderListId": -1,
                "price": "100.10000000",
                "qty": "1.00000000",
                "quoteQty": "100.10000000",
                "commission": "0.00100000",
                "commissionAsset": "BTC",
                "time": 1677801600000,
                "isBuyer": True,
                "isMaker": False,
                "isBestMatch": True,
            }
        ],
    )


def test_a_cancel_has_an_id_of_its_own(wire):
    ask(wire, signed("POST", "/api/v3/order", newClientOrderId="mine", **LIMIT))
    status, body = ask(
        wire, signed("DELETE", "/api/v3/order", symbol="BTCUSDT", origClientOrderId="mine", newClientOrderId="undo")
    )
    assert (status, body["status"], body["origClientOrderId"], body["clientOrderId"]) == (
        200, "CANCELED", "mine", "undo",
    )  # fmt: skip


def test_the_account(wire):
    ask(wire, signed("POST", "/api/v3/order", **LIMIT))
    status, body = ask(wire, signed("GET", "/api/v3/account"))
    assert status == 200
    assert body["balances"] == [
        {"asset": "BTC", "free": "1.00000000", "locked": "0.00000000"},
        {"asset": "USDT", "free": "49901.00000000", "locked": "99.00000000"},
    ]
    assert (body["makerCommission"], body["commissionRates"]["taker"]) == (10, "0.00100000")


def test_market_data(wire):
    assert get(wire, "/api/v3/ticker/bookTicker", symbol="BTCUSDT")[1] == {
        "symbol": "BTCUSDT",
        "bidPrice": "99.90000000",
        "bidQty": "9000.00000000",
        "askPrice": "100.10000000",
        "askQty": "9000.00000000",
    }
    assert get(wire, "/api/v3/ticker/price", symbols='["BTCUSDT"]')[1] == [
        {"symbol": "BTCUSDT", "price": "100.00000000"}
    ]
    assert get(wire, "/api/v3/depth", symbol="BTCUSDT", limit=2)[1] == {
        "lastUpdateId": 1677801600000000,
        "bids": [["99.90000000", "9000.00000000"], ["99.89000000", "9000.00000000"]],
        "asks": [["100.10000000", "9000.00000000"], ["100.11000000", "9000.00000000"]],
    }
    assert get(wire, "/api/v3/klines", symbol="BTCUSDT", interval="1m")[1] == [
        [1677801600000, "100.00000000", "100.00000000", "100.00000000", "100.00000000", "1.00000000", 1677801659999,
         "100.00000000", 1, "0.50000000", "50.00000000", "0"]
    ]  # fmt: skip
    info = get(wire, "/api/v3/exchangeInfo")[1]
    assert [limit["limit"] for limit in info["rateLimits"]] == [200, 3, 5]
    assert info["symbols"][0]["status"] == "TRADING"


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (Request("GET", "/api/v3/account", ""), (401, -2014, "API-key format invalid.")),
        (signed("GET", "/api/v3/account", key="other"),
         (401, -2015, "Invalid API-key, IP, or permissions for action.")),
        (signed("GET", "/api/v3/account", secret="other"), (400, -1022, "Signature for this request is not valid.")),
        (Request("GET", "/api/v3/account", "timestamp=1", "", {"x-mbx-apikey": "paper-key"}),
         (400, -1102, "Mandatory parameter 'signature' was not sent, was empty/null, or malformed.")),
        (signed("GET", "/api/v3/account", timestamp=""),
         (400, -1102, "Mandatory parameter 'timestamp' was not sent, was empty/null, or malformed.")),
        (signed("GET", "/api/v3/account", timestamp=WALL_MS - 5001),
         (400, -1021, "Timestamp for this request is outside of the recvWindow.")),
        (signed("GET", "/api/v3/account", timestamp=WALL_MS - 1001, recvWindow=1000),
         (400, -1021, "Timestamp for this request is outside of the recvWindow.")),
        (signed("GET", "/api/v3/account", timestamp=WALL_MS + 1000),
         (400, -1021, "Timestamp for this request was 1000ms ahead of the server's time.")),
        (signed("GET", "/api/v3/account", recvWindow=60001),
         (400, -1131, "recvWindow must be less than 60000.")),
        (Request("GET", "/api/v3/depth", ""),
         (400, -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")),
        (Request("GET", "/api/v3/depth", "symbol=ETHUSDT"), (400, -1121, "Invalid symbol.")),
        (Request("GET", "/api/v3/depth", "symbol=BTCUSDT&limit=x"),
         (400, -1100, "Illegal characters found in parameter 'limit'; legal range is '^[0-9]{1,20}$'.")),
        (Request("GET", "/api/v3/klines", "symbol=BTCUSDT&interval=1s"), (400, -1120, "Invalid interval.")),
        (Request("GET", "/api/v3/nothing", ""), (404, -1020, "This operation is not supported.")),
        (signed("POST", "/api/v3/order", **(MARKET | {"side": "buy"})), (400, -1117, "Invalid side.")),
        (signed("POST", "/api/v3/order", **(MARKET | {"type": "STOP_LOSS"})), (400, -1116, "Invalid orderType.")),
        (signed("POST", "/api/v3/order", **(LIMIT | {"timeInForce": "DAY"})), (400, -1115, "Invalid timeInForce.")),
        (signed("POST", "/api/v3/order", **(LIMIT | {"price": ""})),
         (400, -1102, "Mandatory parameter 'price' was not sent, was empty/null, or malformed.")),
        (signed("POST", "/api/v3/order", **(MARKET | {"quantity": ""})),
         (400, -1102, "Param 'quantity' or 'quoteOrderQty' must be sent, but both were empty/null!")),
        (signed("POST", "/api/v3/order", **(MARKET | {"price": "1"})),
         (400, -1106, "Parameter 'price' sent when not required.")),
        (signed("POST", "/api/v3/order", **(MARKET | {"quantity": "1e3"})),
         (400, -1100,
          "Illegal characters found in parameter 'quantity'; legal range is '^([0-9]{1,20})(\\.[0-9]{1,20})?$'.")),
        (signed("POST", "/api/v3/order", **(MARKET | {"quantity": "0.000000001"})),
         (400, -1111, "Parameter 'quantity' has too much precision.")),
        (signed("POST", "/api/v3/order", newClientOrderId="a b", **MARKET),
         (400, -1100, "Illegal characters found in parameter 'newClientOrderId'; "
          "legal range is '^[a-zA-Z0-9-_.:/]{1,36}$'.")),
        (signed("DELETE", "/api/v3/order", symbol="BTCUSDT"),
         (400, -1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")),
        (signed("DELETE", "/api/v3/order", symbol="BTCUSDT", orderId=9), (400, -2011, "Unknown order sent.")),
        (signed("GET", "/api/v3/order", symbol="BTCUSDT", orderId=9), (400, -2013, "Order does not exist.")),
        (signed("GET", "/api/v3/myTrades", symbol="BTCUSDT", startTime=1, endTime=86_400_002),
         (400, -1127, "More than 24 hours between startTime and endTime.")),
    ],
)  # fmt: skip
def test_refusals_in_the_venues_words(wire, request_, expected):
    assert error(wire, request_) == expected
    assert wire.exchange.orders("main") == []


def test_a_signature_covers_query_and_body_together_and_any_order(wire):
    payload = "symbol=BTCUSDT&side=BUY" + f"type=MARKET&quantity=1&timestamp={WALL_MS}"
    signature = hmac.new(b"paper-secret", payload.encode(), hashlib.sha256).hexdigest().upper()
    request = Request(
        "POST", "/api/v3/order", "symbol=BTCUSDT&side=BUY",
        f"signature={signature}&type=MARKET&quantity=1&timestamp={WALL_MS}", {"x-mbx-apikey": "paper-key"},
    )  # fmt: skip
    assert ask(wire, request)[0] == 200


def test_weight_is_counted_by_the_minute_and_refused_over_the_limit(wire, wall):
    answers = [wire.answer(Request("GET", "/api/v3/ticker/24hr", "")) for _ in range(3)]
    assert [(answer.status, answer.headers["x-mbx-used-weight-1m"]) for answer in answers] == [
        (200, "80"), (200, "160"), (429, "240"),
    ]  # fmt: skip
    assert json.loads(answers[2].body)["code"] == -1003
    assert answers[2].headers["Retry-After"] == str(60 - WALL_MS // 1000 % 60)
    wall.ms += 60_000
    assert wire.answer(Request("GET", "/api/v3/ping")).headers["x-mbx-used-weight-1m"] == "1"


def test_unfilled_orders_are_counted_by_ten_seconds_and_refused_over_the_limit(wire, wall):
    answers = [wire.answer(signed("POST", "/api/v3/order", **RESTING)) for _ in range(4)]
    assert [answer.headers.get("x-mbx-order-count-10s") for answer in answers] == ["1", "2", "3", None]
    assert error(wire, signed("POST", "/api/v3/order", **RESTING)) == (
        429, -1015, "Too many new orders; current limit is 3 orders per 10 SECOND.",
    )  # fmt: skip
    wall.ms += 10_000
    placed = wire.answer(signed("POST", "/api/v3/order", **RESTING, recvWindow=20_000))
    assert (placed.headers["x-mbx-order-count-10s"], placed.headers["x-mbx-order-count-1d"]) == ("1", "4")


def test_an_orders_first_fill_takes_one_from_the_counts_as_taker_and_five_as_maker(make, rows, wall):
    """The table of faqs/order_count_decrement.md: orders that trade may be followed by others."""
    exchange, clock = make(rows(*[(100, 100, 100, 100)] * 3), spread_bp=20, depth="0.5")
    wire = binance_spot(exchange, Limits(), wall)

    def place(**order):
        answer = wire.answer(signed("POST", "/api/v3/order", **{**RESTING, **order}))
        return answer.headers["x-mbx-order-count-10s"]

    def counted():
        return [one["count"] for one in ask(wire, signed("GET", "/api/v3/rateLimit/order"))[1]]

    assert [place(), place(price="100.11", quantity="1.2")] == ["1", "2"]
    assert counted() == [1, 1]  # the second was filled in part
    assert (place(timeInForce="FOK", price="100.10"), counted()) == ("2", [2, 2])  # nothing of it was
    assert [place(price="99.9") for _ in range(5)] == ["3", "4", "5", "6", "7"]
    clock.pass_seconds(21)  # a seller brings 1: to the rest of the second, whose first fill was before, and to 99.90
    assert counted() == [2, 2]
    clock.pass_seconds(60)
    assert counted() == [0, 0]


def test_pages_of_orders_and_trades(wire, wall):
    for n in range(3):
        ask(wire, signed("POST", "/api/v3/order", newClientOrderId=f"c{n}", **MARKET))
    ids = [order["orderId"] for order in ask(wire, signed("GET", "/api/v3/allOrders", symbol="BTCUSDT", limit=2))[1]]
    assert ids == [2, 3]
    page = ask(wire, signed("GET", "/api/v3/allOrders", symbol="BTCUSDT", orderId=1, limit=2))[1]
    assert [order["orderId"] for order in page] == [1, 2]
    page = ask(wire, signed("GET", "/api/v3/myTrades", symbol="BTCUSDT", fromId=1_000_000_001, limit=5))[1]
    assert [trade["id"] for trade in page] == [1_000_000_001, 1_000_000_002]
    page = ask(wire, signed("GET", "/api/v3/myTrades", symbol="BTCUSDT", orderId=3))[1]
    assert [trade["orderId"] for trade in page] == [3]
    page = ask(wire, signed("GET", "/api/v3/myTrades", symbol="BTCUSDT", endTime=1677801599999))[1]
    assert page == []


def test_a_closed_market_has_status_break(wire):
    wire.exchange.clock.pass_seconds(180)
    assert get(wire, "/api/v3/exchangeInfo")[1]["symbols"][0]["status"] == "BREAK"
    assert error(wire, signed("POST", "/api/v3/order", **MARKET)) == (400, -1013, "Market is closed.")
    assert get(wire, "/api/v3/ticker/price", symbol="BTCUSDT")[1]["price"] == "105.00000000"
    assert get(wire, "/api/v3/ticker/24hr", symbol="BTCUSDT")[1]["highPrice"] == "110.00000000"


TEXTS = st.one_of(
    st.sampled_from(
        ["BTCUSDT", "1m", "1d", "5000", "GTC", "IOC", "LIMIT", "MARKET", "BUY", "SELL", '["BTCUSDT"]', "true"]
    ),
    st.integers(-5, 3000).map(str),
    st.decimals(0, 200, places=3).map(str),
    st.integers(1677801500, 1677801800).map(lambda second: f"{second}000"),
    st.text(max_size=6),
)
NAMES = st.sampled_from(
    [
        *("symbol", "symbols", "limit", "interval", "startTime", "endTime", "fromId", "orderId", "origClientOrderId"),
        *("newClientOrderId", "side", "type", "timeInForce", "quantity", "price", "quoteOrderQty", "stopPrice"),
        *("newOrderRespType", "recvWindow", "omitZeroBalances"),
    ]
)


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.sampled_from(sorted(ROUTES)), st.dictionaries(NAMES, TEXTS, max_size=8), st.integers(0, 130 * 10**9))
def test_whatever_is_asked_gets_an_answer(make, rows, route, params, later_ns):
    exchange, clock = make(rows((100, 100, 100, 100), (100, 110, 99, 105)), spread_bp=20)
    wire = binance_spot(exchange, Limits(), lambda: WALL_MS * 1_000_000)
    clock.now += later_ns
    defaults = {"symbol": "BTCUSDT", "interval": "1m"} if "symbols" not in params else {}
    method, path = route
    answer = wire.answer(signed(method, path, **(defaults | params)))
    body = json.loads(answer.body)
    assert answer.status == 200 or {"code", "msg"} == set(body)
    assert (answer.status == 200) is answer.accepted
