"""Each call of a client is one logical span with its attempts under it; spans, metrics and the venue's log agree."""

import asyncio
import threading

import pytest

import tradewatch

SYMBOL = "BTC/USDT"
HOST = "127.0.0.1"


def attempt(method, path, status=200, **more):
    attributes = {"http.request.method": method, "server.address": HOST, "url.path": path}
    if status is not None:
        attributes["http.response.status_code"] = status
    error = more.pop("error", None)
    if error is not None:
        attributes["error.type"] = error
    if "resend" in more:
        attributes["http.request.resend_count"] = more["resend"]
    return {"name": method, "attributes": attributes, "error": error}


def call(operation, *attempts, error=None, **attributes):
    return {
        "name": f"{operation} binance",
        "attributes": {
            "trading.exchange": "binance",
            "trading.operation": operation,
            "trading.attempts": len(attempts),
            **{f"trading.{name.replace('__', '.')}": value for name, value in attributes.items()},
        },
        "error": error,
        "attempts": list(attempts),
    }


INFO = attempt("GET", "/api/v3/exchangeInfo")
TICKER = attempt("GET", "/api/v3/ticker/24hr")


def bought(order, *attempts, **more):
    return call(
        "create_order",
        *(attempts or (attempt("POST", "/api/v3/order"),)),
        symbol=SYMBOL,
        order__side=order["side"],
        order__type=order["type"],
        order__amount=f"{order['amount']:g}",
        order__status={"closed": "filled"}.get(order["status"], order["status"]),
        order__id=order["id"],
        order__client_id=order["clientOrderId"],
        order__filled=f"{order['filled']:.8f}",
        **({"order__average": f"{order['average']:.1f}"} if order["average"] else {}),
        **more,
    )


def counted(points, name):
    """Of a histogram: count by operation and status or error."""
    found = {}
    for attributes, point in points.get(name, {}).items():
        given = dict(attributes)
        key = (given["trading.operation"], given.get("http.response.status_code"), given.get("error.type"))
        found[key] = found.get(key, 0) + point.count
    return found


def test_each_call_is_one_span_with_its_attempts_under_it(api, venue, application, make_bot, watch_over):
    place = venue()
    client = api.client(place)
    watch_over(make_bot(client), clock=place.clock, **application.settings)
    api.do(client.fetch_ticker(SYMBOL))
    api.do(client.fetch_balance())
    market = api.do(client.create_order(SYMBOL, "market", "buy", 0.5))
    limit = api.do(client.create_order(SYMBOL, "limit", "sell", 0.25, 120))
    api.do(client.cancel_order(limit["id"], SYMBOL))
    tradewatch.shutdown()
    assert application.calls() == [
        call("fetch_ticker", INFO, TICKER, symbol=SYMBOL),
        call("fetch_balance", attempt("GET", "/api/v3/account")),
        bought(market),
        bought(limit, order__price="120"),
        call("cancel_order", attempt("DELETE", "/api/v3/order"), symbol=SYMBOL),
    ]
    assert application.requests() == place.requests()
    assert {str(e.order_id) for e in place.orders()} == {market["id"], limit["id"]}
    points = application.points()
    assert counted(points, "trading.exchange.call.duration") == {
        ("fetch_ticker", None, None): 1,
        ("fetch_balance", None, None): 1,
        ("create_order", None, None): 2,
        ("cancel_order", None, None): 1,
    }
    assert counted(points, "trading.exchange.request.duration") == {
        ("fetch_ticker", 200, None): 2,
        ("fetch_balance", 200, None): 1,
        ("create_order", 200, None): 2,
        ("cancel_order", 200, None): 1,
    }
    assert {dict(k)["trading.order.status"]: p.count for k, p in points["trading.order.duration"].items()} == {
        "filled": 1,
        "open": 1,
    }


def test_a_request_that_is_sent_again_is_a_second_attempt_of_the_same_call(
    api, venue, application, make_bot, watch_over
):
    place = venue(({"operation": "ticker_24hr", "nth": (1, 2)}, {"kind": "server_error", "status": 503}))
    client = api.client(place, options={"maxRetriesOnFailure": 3, "fetchMarkets": {"types": ["spot"]}})
    client.options["fetchMargins"] = False
    api.do(client.load_markets())
    watch_over(make_bot(client), clock=place.clock, **application.settings)
    assert api.do(client.fetch_ticker(SYMBOL))["symbol"] == SYMBOL
    tradewatch.shutdown()
    path = "/api/v3/ticker/24hr"
    assert application.calls() == [
        call(
            "fetch_ticker",
            attempt("GET", path, 503, error="unavailable"),
            attempt("GET", path, 503, error="unavailable", resend=1),
            attempt("GET", path, 200, resend=2),
            symbol=SYMBOL,
        )
    ]
    assert application.requests() == place.requests()[1:]
    assert counted(application.points(), "trading.exchange.request.duration") == {
        ("fetch_ticker", 503, "unavailable"): 2,
        ("fetch_ticker", 200, None): 1,
    }


@pytest.mark.parametrize(
    ("spelling", "arguments", "operation", "methods"),
    [
        ("private_get_openorders", ({"symbol": "BTCUSDT"},), "private_get_openorders", ["GET"]),
        ("privateGetOpenOrders", ({"symbol": "BTCUSDT"},), "private_get_openorders", ["GET"]),
        ("publicGetTime", (), "public_get_time", ["GET"]),
        ("fetchTicker", (SYMBOL,), "fetch_ticker", ["GET"]),
        ("createOrder", (SYMBOL, "limit", "buy", 1, 50), "create_order", ["POST"]),
        ("create_limit_order", (SYMBOL, "buy", 1, 50), "create_order", ["POST"]),
        ("createMarketBuyOrder", (SYMBOL, 1), "create_order", ["POST"]),
        ("create_market_sell_order", (SYMBOL, 1), "create_order", ["POST"]),
        ("create_market_buy_order_with_cost", (SYMBOL, 50), "create_order", ["POST"]),
        ("fetch_free_balance", (), "fetch_balance", ["GET"]),
        (
            "private_post_order",
            ({"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "1"},),
            "private_post_order",
            ["POST"],
        ),
    ],
)
def test_a_method_is_one_call_by_any_of_its_names(
    api, venue, application, make_bot, watch_over, spelling, arguments, operation, methods
):
    place = venue()
    client = api.client(place)
    api.do(client.load_markets())
    before = len(place.log())
    watch_over(make_bot(client), clock=place.clock, **application.settings)
    api.do(getattr(client, spelling)(*arguments))
    tradewatch.shutdown()
    [made] = application.calls()
    assert made["attributes"]["trading.operation"] == operation
    assert [a["name"] for a in made["attempts"]] == methods
    assert len(place.log()) - before == 1


def test_a_subclass_that_calls_super_is_one_call(api, venue, application, make_bot, watch_over):
    class Careful(api.ccxt.binance):
        checks = 0

        def create_order(self, symbol, type, side, amount, price=None, params={}):  # noqa: B006
            Careful.checks += 1
            return super().create_order(symbol, type, side, amount, price, params)

    place = venue()
    client = api.client(place, Careful)
    watch_over(make_bot(client), clock=place.clock, **application.settings)
    api.do(client.create_order(SYMBOL, "market", "buy", 1))
    api.do(client.createOrder(SYMBOL, "market", "buy", 1))
    tradewatch.shutdown()
    assert Careful.checks == 2
    assert [c["attributes"]["trading.operation"] for c in application.calls()] == ["create_order", "create_order"]
    assert len(place.orders()) == 2


def test_a_method_captured_before_is_seen_at_its_endpoint(api, venue, application, make_bot, watch_over):
    place = venue()
    client = api.client(place)
    api.do(client.load_markets())
    bot = make_bot(client)
    bot.send = client.create_order
    watch_over(bot, clock=place.clock, **application.settings)
    order = api.do(bot.send(SYMBOL, "limit", "buy", 1, 50))
    tradewatch.shutdown()
    [made] = application.calls()
    assert made["attributes"] == {
        "trading.exchange": "binance",
        "trading.operation": "private_post_order",
        "trading.symbol": "BTCUSDT",
        "trading.attempts": 1,
        "trading.order.side": "buy",
        "trading.order.type": "limit",
        "trading.order.amount": "1",
        "trading.order.price": "50",
        "trading.order.client_id": order["clientOrderId"],
        **{
            k: v
            for k, v in made["attributes"].items()
            if k in ("trading.order.id", "trading.order.status", "trading.order.filled", "trading.order.average")
        },
    }
    assert place.orders()[0].client_order_id == order["clientOrderId"]


async def test_fifty_calls_side_by_side_are_fifty_spans(venue, application, make_bot, watch_over):
    import ccxt.async_support

    place = venue(({"operation": "ticker_24hr", "every": 5}, {"kind": "server_error", "status": 503}))
    client = _on_this_loop(ccxt.async_support.binance, place)
    await client.load_markets()
    watch = watch_over(make_bot(client), clock=place.clock, **application.settings)
    results = await asyncio.gather(*(client.fetch_ticker(SYMBOL) for _ in range(50)), return_exceptions=True)
    assert sum(isinstance(r, Exception) for r in results) == 10
    [operation] = watch.status().operations
    assert (operation.calls, operation.errors) == (50, 10)
    await client.close()
    await asyncio.to_thread(tradewatch.shutdown)
    calls = application.calls()
    assert (len(calls), sum(c["error"] is not None for c in calls)) == (50, 10)
    assert {len(c["attempts"]) for c in calls} == {1}
    assert sorted(application.requests()) == sorted(place.requests()[1:])


def test_calls_on_eight_threads_are_counted_exactly(blocking, venue, application, make_bot, watch_over):
    place = venue()
    clients = [blocking.client(place) for _ in range(8)]
    clients[0].load_markets()
    for client in clients[1:]:
        client.set_markets(clients[0].markets)
    bot = make_bot()
    bot.clients = clients
    watch = watch_over(bot, clock=place.clock, **application.settings)

    def trade(client):
        for n in range(50):
            if n % 10:
                client.fetch_ticker(SYMBOL)
            else:
                client.create_order(SYMBOL, "market", "buy", 0.1)

    threads = [threading.Thread(target=trade, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tradewatch.shutdown()
    assert {o.operation: o.calls for o in watch.status().operations} == {"fetch_ticker": 360, "create_order": 40}
    calls = application.calls()
    assert sorted(application.requests()) == sorted(place.requests()[1:])
    ids = [c["attributes"]["trading.order.id"] for c in calls if c["name"] == "create_order binance"]
    assert sorted(ids) == sorted(str(e.order_id) for e in place.orders())
    assert watch.status().portfolio.fills == 40
    assert watch.status().orders == {"filled": 40}


def test_the_applications_span_is_the_parent_of_ours(api, venue, application, make_bot, watch_over):
    place = venue()
    client = api.client(place)
    watch_over(make_bot(client), clock=place.clock, **application.settings)
    tracer = application.tracers.get_tracer("app")
    with tracer.start_as_current_span("decide") as decide:
        api.do(client.fetch_ticker(SYMBOL))
    api.do(client.fetch_ticker(SYMBOL))
    tradewatch.shutdown()
    ours = [s for s in application.spans() if s.name == "fetch_ticker binance"]
    inside, outside = sorted(ours, key=lambda s: s.start_time)
    assert (inside.parent.span_id, inside.context.trace_id) == (decide.context.span_id, decide.context.trace_id)
    assert outside.parent is None
    assert outside.context.trace_id != inside.context.trace_id


def test_times_of_spans_lie_within_the_call(api, venue, application, make_bot, watch_over):
    place = venue()
    client = api.client(place)
    watch_over(make_bot(client), clock=place.clock, **application.settings)
    with application.tracers.get_tracer("app").start_as_current_span("outer"):
        api.do(client.fetch_ticker(SYMBOL))
    tradewatch.shutdown()
    by_name = {s.name: s for s in application.spans()}
    outer, inner = by_name["outer"], by_name["fetch_ticker binance"]
    slack = 2_000_000  # the wall clock is read once a drain, so it may differ from the application's by its slewing
    assert outer.start_time - slack <= inner.start_time <= inner.end_time <= outer.end_time + slack
    attempts = [s for s in application.spans() if s.name == "GET"]
    assert len(attempts) == 2
    previous = inner.start_time
    for one in sorted(attempts, key=lambda s: s.start_time):
        assert previous <= one.start_time < one.end_time <= inner.end_time
        previous = one.end_time


def test_the_clients_own_wait_is_told_apart_from_latency(api, venue, application, make_bot, watch_over):
    place = venue()
    client = api.client(place, enableRateLimit=True, rateLimit=20)
    api.do(client.load_markets())
    watch = watch_over(make_bot(client), clock=place.clock, **application.settings)
    for _ in range(3):
        api.do(client.fetch_balance())
    tradewatch.shutdown()
    waits = [c["attributes"]["trading.throttle.duration"] for c in application.calls()]
    points = application.points()
    [(attributes, throttle)] = points["trading.exchange.throttle.duration"].items()
    assert attributes == (("trading.exchange", "binance"), ("trading.operation", "fetch_balance"))
    assert (throttle.count, throttle.sum) == (3, pytest.approx(sum(waits)))
    [total] = points["trading.exchange.call.duration"].values()
    sent = sum(p.sum for p in points["trading.exchange.request.duration"].values())
    assert max(waits) >= 0.05
    assert (watch.status().attempts, watch.status().throttle_s) == (3, pytest.approx(sum(waits)))
    assert total.sum >= throttle.sum + sent


def _on_this_loop(cls, place):
    import re

    client = cls(
        {
            "apiKey": "paper-key",
            "secret": "paper-secret",
            "enableRateLimit": False,
            "timeout_on_exit": 0,
            "options": {"fetchMarkets": {"types": ["spot"]}, "fetchMargins": False},
        }
    )
    client.has["fetchCurrencies"] = False

    def moved(value):
        if isinstance(value, dict):
            return {k: moved(v) for k, v in value.items()}
        return re.sub(r"^https?://[^/]+", place.url, value)

    client.urls["api"] = moved(client.urls["api"])
    return client
