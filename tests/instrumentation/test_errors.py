"""What goes wrong at the venue or on the way becomes `error.type`; an order's outcome is known or said not to be."""

import asyncio
import contextlib
import socket

import pytest

import tradewatch

SYMBOL = "BTC/USDT"


@pytest.fixture
def failing(api, venue, application, make_bot, watch_over):
    """A client with markets loaded, watched; what it meets is given as for `venue`."""

    def make(*rules, **settings):
        place = venue(*rules)
        client = api.client(place, **settings)
        if settings.keys() <= {"timeout", "options"}:
            api.do(client.load_markets())
        watch = watch_over(make_bot(client), clock=place.clock, **application.settings)
        return place, client, watch

    return make


def fails(api, function, *args):
    """The exception of a call."""
    with pytest.raises(api.ccxt.BaseError) as caught:
        api.do(function(*args))
    return caught.value


@pytest.mark.parametrize(
    ("fault", "raised", "kind", "status"),
    [
        ({"kind": "rate_limit"}, "DDoSProtection", "rate_limited", 429),
        ({"kind": "ban"}, "DDoSProtection", "rate_limited", 418),
        ({"kind": "server_error", "status": 500}, "ExchangeNotAvailable", "unavailable", 500),
        ({"kind": "server_error", "status": 502}, "ExchangeNotAvailable", "unavailable", 502),
        ({"kind": "server_error", "status": 503}, "ExchangeNotAvailable", "unavailable", 503),
        ({"kind": "server_error", "status": 504}, "RequestTimeout", "timeout", 504),
        ({"kind": "server_error", "status": 503, "code": -1001}, "OperationFailed", "unavailable", 503),
        ({"kind": "timeout", "hold_s": 5.0}, "RequestTimeout", "timeout", None),
    ],
)
def test_a_fault_of_the_venue_has_its_error_type(api, failing, application, fault, raised, kind, status):
    place, client, watch = failing(({"operation": "ticker_24hr"}, fault), timeout=300)
    error = fails(api, client.fetch_ticker, SYMBOL)
    assert raised in {k.__name__ for k in type(error).__mro__}
    tradewatch.shutdown()
    [made] = application.calls()
    [sent] = made["attempts"]
    assert made["attributes"]["error.type"] == sent["attributes"]["error.type"] == sent["error"] == kind
    assert sent["attributes"].get("http.response.status_code") == status
    assert place.log()[-1].status == status
    assert made["error"].startswith(f"{type(error).__name__}: ")
    assert watch.status().errors == {kind: 1}
    [(attributes, point)] = application.points()["trading.exchange.call.duration"].items()
    assert dict(attributes) == {
        "trading.exchange": "binance",
        "trading.operation": "fetch_ticker",
        "error.type": kind,
    }
    assert point.count == 1


@pytest.mark.parametrize(
    ("settings", "arguments", "kind", "outcome"),
    [
        ({}, ("market", "sell", 200), "insufficient_funds", "rejected"),
        ({}, ("market", "buy", 99_999), "rejected", "rejected"),
        ({}, ("limit", "buy", 1, 0.01), "BadRequest", "rejected"),
        ({"secret": "another-secret"}, ("market", "buy", 1), "auth", "rejected"),
        ({"apiKey": "another-key"}, ("market", "buy", 1), "auth", "rejected"),
    ],
)
def test_a_refusal_of_the_venue_has_its_error_type(api, failing, application, settings, arguments, kind, outcome):
    place, client, watch = failing(**settings)
    fails(api, client.create_order, SYMBOL, *arguments)
    tradewatch.shutdown()
    made = application.calls()[-1]
    assert made["attributes"]["error.type"] == kind
    assert made["attributes"]["trading.order.status"] == outcome
    assert watch.status().orders == {outcome: 1}
    assert watch.status().breaker.unknown == ()
    assert place.orders()[-1].accepted is False


def test_a_wrong_clock_is_a_nonce_error(api, failing, application):
    place, client, watch = failing()
    client.options["timeDifference"] = 3_600_000
    error = fails(api, client.create_order, SYMBOL, "market", "buy", 1)
    assert isinstance(error, api.ccxt.InvalidNonce)
    tradewatch.shutdown()
    assert watch.status().errors == {"nonce": 1}
    assert watch.status().orders == {"rejected": 1}
    assert place.orders()[-1].code == -1021


def test_an_order_that_is_not_there_is_not_found(api, failing, application):
    _, client, watch = failing()
    assert isinstance(fails(api, client.cancel_order, "4711", SYMBOL), api.ccxt.OrderNotFound)
    assert watch.status().breaker.unknown == ()
    tradewatch.shutdown()
    assert watch.status().errors == {"OrderNotFound": 1}


def test_a_refused_connection_is_unavailable(api, application, make_bot, watch_over, hand_clock):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    client = api.client(url)
    watch = watch_over(make_bot(client), clock=hand_clock, **application.settings)
    error = fails(api, client.fetch_time)
    assert isinstance(error, api.ccxt.NetworkError)
    tradewatch.shutdown()
    [made] = application.calls()
    assert made["attributes"]["error.type"] == "unavailable"
    assert [a["attributes"].get("http.response.status_code") for a in made["attempts"]] == [None]
    assert watch.status().errors == {"unavailable": 1}


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "timeout", "at": "answer", "hold_s": 5.0},
        {"kind": "server_error", "status": 503, "at": "answer"},
        {"kind": "server_error", "status": 500, "at": "answer", "code": -1006},
        {"kind": "server_error", "status": 504, "at": "answer", "code": -1007},
    ],
)
def test_an_order_without_an_answer_is_unknown(api, failing, application, fault):
    place, client, watch = failing(({"operation": "order_place"}, fault), timeout=300)
    fails(api, client.create_order, SYMBOL, "limit", "buy", 1, 50, {"clientOrderId": "mine"})
    [unknown] = watch.status().breaker.unknown
    assert (unknown.request.key.client_id, unknown.request.key.symbol) == ("mine", SYMBOL)
    assert place.orders()[-1].accepted is True
    tradewatch.shutdown()
    assert watch.status().orders == {"unknown": 1}
    assert application.calls()[-1]["attributes"]["trading.order.status"] == "unknown"


def test_a_duplicate_after_a_lost_answer_is_unknown(api, failing, application):
    fault = {"kind": "server_error", "status": 503, "at": "answer"}
    options = {"maxRetriesOnFailure": 1, "fetchMarkets": {"types": ["spot"]}, "fetchMargins": False}
    place, client, watch = failing(({"operation": "order_place", "nth": (1,)}, fault), options=options)
    with contextlib.suppress(api.ccxt.BaseError):
        api.do(client.create_order(SYMBOL, "limit", "buy", 1, 50, {"clientOrderId": "mine"}))
    tradewatch.shutdown()
    assert [e.status for e in place.orders()] == [503, 400]
    assert watch.status().orders == {"unknown": 1}
    assert [a["attributes"]["http.response.status_code"] for a in application.calls()[-1]["attempts"]] == [503, 400]


def test_an_order_that_was_answered_in_the_second_attempt_is_known_but_the_first_may_live(api, failing, application):
    fault = {"kind": "server_error", "status": 503, "at": "arrival"}
    options = {"maxRetriesOnFailure": 1, "fetchMarkets": {"types": ["spot"]}, "fetchMargins": False}
    place, client, watch = failing(({"operation": "order_place", "nth": (1,)}, fault), options=options)
    order = api.do(client.create_order(SYMBOL, "limit", "buy", 1, 50))
    tradewatch.shutdown()
    assert watch.status().orders == {"open": 1}
    [doubted] = watch.status().breaker.unknown
    assert (doubted.request.key.client_id, doubted.ambiguous) == (order["clientOrderId"], True)
    assert str(place.orders()[-1].order_id) == order["id"]


def test_an_order_that_was_sent_again_without_a_client_id_may_be_there_twice(api, kraken, make_bot, watch_over):
    fault = {"kind": "server_error", "status": 503, "at": "answer"}
    place = kraken.venue(({"operation": "add_order", "nth": (1,)}, fault))
    client = kraken.client(api, place, options={"maxRetriesOnFailure": 1})
    api.do(client.load_markets())
    watch = watch_over(make_bot(client), clock=place.exchange.clock)
    order = api.do(client.create_order("BTC/USD", "limit", "buy", 1, 50))
    placed = [str(entry.order_id) for entry in place.log.entries if entry.operation == "add_order"]
    assert (len(set(placed)), placed[-1]) == (2, order["id"])
    assert len(watch.status().breaker.unknown) == 1
    tradewatch.shutdown()
    assert watch.status().orders == {"pending": 1}


@pytest.mark.parametrize("way", ["cancel", "wait_for"])
def test_a_cancelled_call_is_no_error_and_its_span_ends(awaiting, venue, application, make_bot, watch_over, until, way):
    place = venue(({"operation": "order_place"}, {"kind": "timeout", "at": "answer", "hold_s": 5.0}))
    client = awaiting.client(place)
    awaiting.do(client.load_markets())
    watch = watch_over(make_bot(client), clock=place.clock, **application.settings)

    async def give_up():
        task = asyncio.ensure_future(client.create_order(SYMBOL, "limit", "buy", 1, 50))
        if way == "wait_for":
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(task, 0.2)
            return
        while not place.orders():  # noqa: ASYNC110  the exchange's log is no event
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    awaiting.do(give_up())
    tradewatch.shutdown()
    [made] = application.calls()
    attributes = made["attributes"]
    assert made["error"] is None
    assert "error.type" not in attributes
    assert (attributes["trading.cancelled"], attributes["trading.order.status"]) == (True, "unknown")
    assert [(a["name"], a["error"], a["attributes"].get("error.type")) for a in made["attempts"]] == [
        ("POST", None, None)
    ]
    assert watch.status().errors == {}
    assert [(o.operation, o.calls, o.errors) for o in watch.status().operations] == [("create_order", 1, 0)]
    assert len(watch.status().breaker.unknown) == 1


def test_a_call_that_was_cancelled_before_it_was_sent_is_not_unknown(
    awaiting, venue, application, make_bot, watch_over
):
    place = venue()
    client = awaiting.client(place, enableRateLimit=True, rateLimit=500)
    awaiting.do(client.load_markets())
    watch = watch_over(make_bot(client), clock=place.clock, **application.settings)

    async def give_up():
        first = asyncio.ensure_future(client.fetch_balance())
        second = asyncio.ensure_future(client.create_order(SYMBOL, "limit", "buy", 1, 50))
        await asyncio.sleep(0.05)
        second.cancel()
        first.cancel()
        return await asyncio.gather(first, second, return_exceptions=True)

    assert isinstance(awaiting.do(give_up())[1], asyncio.CancelledError)
    tradewatch.shutdown()
    assert place.orders() == []
    assert watch.status().breaker.unknown == ()
    assert watch.status().orders == {"cancelled": 1}
