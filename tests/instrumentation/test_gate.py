"""A halted bot: new orders are refused as bots expect it, nothing of them reaches the venue, all else passes."""

import asyncio
import contextlib
import threading

import pytest

import tradewatch

SYMBOL = "BTC/USDT"
ORDER_PATHS = ("/api/v3/order", "/api/v3/orderList", "/api/v3/order/cancelReplace", "/api/v3/sor/order")


def order_like(place, since=0):
    """Requests that could place an order, whatever the venue made of them."""
    return [e for e in place.log()[since:] if e.method in ("POST", "PUT") and "order" in e.path.lower()]


@pytest.fixture
def trading(api, venue, make_bot, watch_over, application):
    """A venue, a client with markets loaded, and the watch over its bot."""

    def make(*rules, **settings):
        place = venue(*rules)
        client = api.client(place, **settings)
        api.do(client.load_markets())
        return place, client, watch_over(make_bot(client), clock=place.clock, **application.settings)

    return make


ORDERS = {
    "create_order": lambda c: c.create_order(SYMBOL, "limit", "buy", 1, 50),
    "createOrder": lambda c: c.createOrder(SYMBOL, "market", "sell", 1),
    "keywords": lambda c: c.create_order(symbol=SYMBOL, type="limit", side="buy", amount=1, price=50),
    "create_limit_buy_order": lambda c: c.create_limit_buy_order(SYMBOL, 1, 50),
    "createMarketSellOrder": lambda c: c.createMarketSellOrder(SYMBOL, 1),
    "create_market_buy_order_with_cost": lambda c: c.create_market_buy_order_with_cost(SYMBOL, 50),
    "create_post_only_order": lambda c: c.create_post_only_order(SYMBOL, "limit", "buy", 1, 50),
    "create_orders": lambda c: c.create_orders(
        [{"symbol": SYMBOL, "type": "limit", "side": "buy", "amount": 1, "price": 50}] * 2
    ),
    "edit_order": lambda c: c.edit_order("1", SYMBOL, "limit", "buy", 1, 51),
    "editOrder": lambda c: c.editOrder("1", SYMBOL, "limit", "buy", 1, 51),
    "private_post_order": lambda c: c.private_post_order(
        {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "1"}
    ),
    "privatePostOrderOco": lambda c: c.privatePostOrderOco({"symbol": "BTCUSDT", "side": "SELL", "quantity": "1"}),
    "privatePostOrderCancelReplace": lambda c: c.privatePostOrderCancelReplace(
        {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "1", "cancelReplaceMode": "ALLOW_FAILURE"}
    ),
    "privatePostSorOrder": lambda c: c.privatePostSorOrder(
        {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "1"}
    ),
    "fetch2": lambda c: c.fetch2(
        "order", "private", "POST", {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "1"}
    ),
    "request": lambda c: c.request(
        "order", "private", "POST", {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "1"}
    ),
}


@pytest.mark.parametrize("how", ORDERS)
def test_no_order_passes_a_halt_by_any_method(api, trading, how):
    place, client, watch = trading()
    watch.halt("news", by="me")
    before = len(place.log())
    with pytest.raises(api.ccxt.InvalidOrder, match="halted since 2023-03-03 00:00:00 UTC by me: news") as caught:
        api.do(ORDERS[how](client))
    assert type(caught.value).__bases__ == (api.ccxt.InvalidOrder,)
    assert len(place.log()) == before
    assert watch.status().breaker.confirmed is True
    assert watch.status().breaker.in_flight == 0
    assert watch.status().breaker.unknown == ()


def test_a_method_captured_before_does_not_pass_a_halt_either(api, venue, make_bot, watch_over, application):
    place = venue()
    client = api.client(place)
    bot = make_bot(client)
    bot.snake, bot.camel, bot.market = client.create_order, client.createOrder, client.create_market_order
    watch = watch_over(bot, clock=place.clock, **application.settings)
    api.do(client.load_markets())
    watch.halt("news")
    for send in (
        lambda: bot.snake(SYMBOL, "market", "buy", 1),
        lambda: bot.camel(SYMBOL, "market", "buy", 1),
        lambda: bot.market(SYMBOL, "buy", 1),
    ):
        with pytest.raises(api.ccxt.InvalidOrder):
            api.do(send())
    assert order_like(place) == []


def test_sync_raises_at_the_call_and_async_at_the_await(venue, blocking, awaiting, make_bot, watch_over, application):
    place = venue()
    bot = make_bot(blocking.client(place))
    bot.other = awaiting.client(place)
    watch = watch_over(bot, clock=place.clock, **application.settings)
    watch.halt("news")
    with pytest.raises(blocking.ccxt.InvalidOrder):
        bot.exchange.create_order(SYMBOL, "market", "buy", 1)
    coroutine = bot.other.create_order(SYMBOL, "market", "buy", 1)
    with pytest.raises(awaiting.ccxt.InvalidOrder):
        awaiting.do(coroutine)


def test_cancels_and_reads_pass_a_halt(api, trading):
    place, client, watch = trading()
    resting = [api.do(client.create_order(SYMBOL, "limit", "buy", 1, 50))["id"] for _ in range(3)]
    watch.halt("news")
    since = len(place.log())
    api.do(client.fetch_ticker(SYMBOL))
    api.do(client.fetch_balance())
    api.do(client.fetch_open_orders(SYMBOL))
    api.do(client.fetch_my_trades(SYMBOL))
    api.do(client.fetch_order(resting[0], SYMBOL))
    api.do(client.cancel_order(resting[0], SYMBOL))
    api.do(client.cancelOrder(resting[1], SYMBOL))
    api.do(client.cancel_all_orders(SYMBOL))
    entries = place.log()[since:]
    assert [e.operation for e in entries] == [
        "ticker_24hr",
        "account",
        "open_orders",
        "my_trades",
        "order_query",
        "order_cancel",
        "order_cancel",
        "open_orders_cancel",
    ]
    assert {e.status for e in entries} == {200}


def test_a_refused_order_is_told_as_one(api, trading, application):
    _, client, watch = trading()
    watch.halt("news")
    with pytest.raises(api.ccxt.InvalidOrder) as caught:
        api.do(client.create_order(SYMBOL, "limit", "buy", 1, 50))
    assert str(caught.value) == (
        "tradewatch refused create_order limit buy 1 BTC/USDT at 50 on binance: halted since 2023-03-03 00:00:00 UTC "
        "by operator: news. Cancels still pass. "
        "When you have looked: tradewatch resume NAME --reason ..., or Watch.resume(by=..., reason=...)"
    )
    assert watch.status().breaker.refused == 1
    tradewatch.shutdown()
    assert watch.status().orders == {"refused": 1}
    assert watch.status().errors == {"refused": 1}
    [made] = application.calls()
    assert made["attempts"] == []
    assert made["attributes"] == {
        "trading.exchange": "binance",
        "trading.operation": "create_order",
        "trading.symbol": SYMBOL,
        "trading.attempts": 0,
        "trading.order.side": "buy",
        "trading.order.type": "limit",
        "trading.order.amount": "1",
        "trading.order.price": "50",
        "trading.order.status": "refused",
        "error.type": "refused",
    }


def test_orders_pass_again_after_a_resumption(api, trading):
    place, client, watch = trading()
    watch.halt("news")
    with pytest.raises(api.ccxt.InvalidOrder):
        api.do(client.create_order(SYMBOL, "market", "buy", 1))
    watch.resume("false alarm")
    order = api.do(client.create_order(SYMBOL, "market", "buy", 1))
    assert [str(e.order_id) for e in place.orders()] == [order["id"]]


def test_fifty_orders_in_the_clients_throttle_do_not_go_out(awaiting, venue, make_bot, watch_over, application):
    place = venue()
    client = awaiting.client(place, enableRateLimit=True, rateLimit=100)
    awaiting.do(client.load_markets())
    watch = watch_over(make_bot(client), clock=place.clock, **application.settings)

    async def trade():
        orders = [asyncio.ensure_future(client.create_order(SYMBOL, "limit", "buy", 1, 50)) for _ in range(50)]
        while len(place.orders()) < 3:  # noqa: ASYNC110  the exchange's log is no event
            await asyncio.sleep(0.005)
        await asyncio.to_thread(watch.halt, "news")
        return await asyncio.gather(*orders, return_exceptions=True)

    results = awaiting.do(trade())
    refused = [r for r in results if isinstance(r, awaiting.ccxt.InvalidOrder)]
    passed = [r["id"] for r in results if isinstance(r, dict)]
    assert len(refused) + len(passed) == 50
    assert sorted(passed) == sorted(str(e.order_id) for e in place.orders())
    assert len(passed) < 10
    assert watch.status().breaker.confirmed or watch.status().breaker.in_flight == 0
    assert watch.status().breaker.unknown == ()


def test_nothing_like_an_order_is_sent_after_the_confirmed_halt(blocking, venue, make_bot, watch_over, until, lenient):
    from tradewatch.paper.faults import Latency

    place = venue(({"operation": "order_place"}, {"kind": "latency", "latency": Latency("uniform", 1, 30)}))
    clients = [blocking.client(place) for _ in range(4)]
    markets = clients[0].load_markets()
    for client in clients[1:]:
        client.set_markets(markets)
    bot = make_bot()
    bot.clients = clients
    watch = watch_over(bot)
    ending = threading.Event()

    def trade(client):
        while not ending.is_set():
            with contextlib.suppress(blocking.ccxt.InvalidOrder):
                client.create_order(SYMBOL, "limit", "buy", 1, 50)

    threads = [threading.Thread(target=trade, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    until(lambda: len(place.orders()) > 20)
    watch.halt("news")
    until(lambda: watch.status().breaker.confirmed)
    at_confirmation = len(place.orders())
    answered = sum(e.answered_ns is not None for e in place.orders())
    refused = watch.status().breaker.refused
    until(lambda: watch.status().breaker.refused > refused + 50)
    ending.set()
    for thread in threads:
        thread.join()
    assert len(place.orders()) == at_confirmation == answered
    assert len(order_like(place)) == at_confirmation


def test_a_halt_waits_for_the_order_that_is_under_way(api, trading, until):
    from tradewatch.paper.faults import Latency

    place, client, watch = trading(
        ({"operation": "order_place"}, {"kind": "latency", "latency": Latency("fixed", 400)})
    )
    results = []
    sending = threading.Thread(target=lambda: results.append(api.do(client.create_order(SYMBOL, "market", "buy", 1))))
    sending.start()
    until(place.orders)
    watch.halt("news")
    status = watch.status().breaker
    assert (status.state, status.confirmed, status.in_flight) == ("HALTED", False, 1)
    sending.join()
    until(lambda: watch.status().breaker.confirmed)
    assert results[0]["status"] == "closed"
    assert watch.status().breaker.unknown == ()


def test_an_edit_is_decided_before_its_first_request(api, trading):
    """A spot edit of Binance is cancel and create in one; the resting order must not be taken away by a halt."""
    place, client, watch = trading()
    resting = api.do(client.create_order(SYMBOL, "limit", "buy", 1, 50))
    watch.halt("news")
    since = len(place.log())
    with pytest.raises(api.ccxt.InvalidOrder):
        api.do(client.edit_order(resting["id"], SYMBOL, "limit", "buy", 1, 51))
    assert place.log()[since:] == []
    assert [o["id"] for o in api.do(client.fetch_open_orders(SYMBOL))] == [resting["id"]]


def test_an_edit_that_began_before_the_halt_is_carried_through(blocking, venue, make_bot, watch_over, application):
    """Cancel and create, as most venues' clients do it: once the cancel is out, the new order must follow."""

    class CancelsAndCreates(blocking.ccxt.binance):
        between = staticmethod(lambda: None)

        def edit_order(self, id, symbol, type, side, amount=None, price=None, params={}):  # noqa: B006
            self.cancel_order(id, symbol)
            self.between()
            return self.create_order(symbol, type, side, amount, price, params)

    place = venue()
    client = blocking.client(place, CancelsAndCreates)
    watch = watch_over(make_bot(client), clock=place.clock, **application.settings)
    resting = client.create_order(SYMBOL, "limit", "buy", 1, 50)
    client.between = lambda: watch.halt("news")
    edited = client.edit_order(resting["id"], SYMBOL, "limit", "buy", 1, 51)
    assert edited["price"] == 51
    assert [o["id"] for o in client.fetch_open_orders(SYMBOL)] == [edited["id"]]
    assert watch.status().breaker.state == "HALTED"


def test_a_rule_that_fires_refuses_the_next_order(api, venue, make_bot, watch_over, until, application, tmp_path):
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "groups:\n"
        "  - name: mine\n"
        "    rules:\n"
        "      - alert: LostMoney\n"
        "        expr: trading_pnl_realized < -5\n"
        "        annotations:\n"
        "          action: halt\n"
        "          summary: lost {{ $value }}\n"
    )
    place = venue(rows=[(100, 100, 100, 100), (100, 100, 90, 90), *[(90, 90, 90, 90)] * 10])
    client = api.client(place)
    watch = watch_over(make_bot(client), clock=place.clock, rules=[rules], **application.settings)
    api.do(client.fetch_balance())
    api.do(client.fetch_ticker(SYMBOL))
    api.do(client.create_order(SYMBOL, "market", "buy", 1))
    assert watch.status().breaker.state == "ACTIVE"
    place.clock.pass_seconds(180)
    api.do(client.create_order(SYMBOL, "market", "sell", 1))
    place.clock.pass_seconds(1)

    def halted():
        # Time goes on: a rule is evaluated at most once in 10 ms of the clock, which here nobody else moves.
        place.clock.pass_seconds(0.02)
        return watch.status().breaker.confirmed and watch.status().breaker.state == "HALTED"

    until(halted)
    with pytest.raises(api.ccxt.InvalidOrder, match="by LostMoney: lost -"):
        api.do(client.create_order(SYMBOL, "market", "sell", 1))

    def firing():
        place.clock.pass_seconds(0.02)
        return [r.state for r in watch.status().rules if r.rule.name == "LostMoney"] == ["firing"]

    until(firing)
    assert len(place.orders()) == 2
