"""What the answers of reading calls tell: prices by each way to ask for them, fills and orders by each list."""

import pytest

import tradewatch

SYMBOL = "BTC/USDT"
LOST = ({"operation": "order_place", "nth": (1,)}, {"kind": "timeout", "at": "answer", "hold_s": 5.0})


@pytest.mark.parametrize(
    "ask",
    [
        lambda c: c.fetch_ticker(SYMBOL),
        lambda c: c.fetch_tickers([SYMBOL]),
        lambda c: c.fetch_bids_asks([SYMBOL]),
        lambda c: c.fetch_order_book(SYMBOL),
    ],
    ids=["fetch_ticker", "fetch_tickers", "fetch_bids_asks", "fetch_order_book"],
)
def test_a_price_is_taken_from_each_way_to_ask_for_it(api, venue, make_bot, watch_over, ask):
    place = venue(rows=[(100,) * 4, (98,) * 4, (98,) * 4], balances={"BTC": "2", "USDT": "50"})
    client = api.client(place)
    watch = watch_over(make_bot(client), clock=place.clock)
    api.do(client.fetch_balance())
    # Lists of many markets say nothing of which one the bot trades.
    api.do(client.fetch_ticker(SYMBOL))
    place.clock.pass_seconds(60)
    api.do(ask(client))
    tradewatch.shutdown()
    assert watch.status().portfolio.equity.value == 246


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ({"bid": 90, "ask": 110, "last": 95}, 190),  # 22 % apart: nobody's price, so the last trade's
        ({"bid": 100, "ask": 110, "last": 95}, 210),
        ({"bid": 110, "ask": 100, "last": 95}, 190),
        ({"bid": None, "ask": 110, "last": 95}, 190),
    ],
)
def test_the_middle_of_a_book_is_a_price_only_where_it_is_narrow(blocking, venue, make_bot, watch_over, answer, value):
    class Mine(blocking.ccxt.binance):
        """A venue whose book a test sets; the paper exchange's is always narrow."""

        def fetch_ticker(self, symbol, params={}):  # noqa: B006
            return {"symbol": symbol, **answer}

    place = venue(balances={"BTC": "2"})
    client = blocking.client(place, Mine)
    watch = watch_over(make_bot(client), clock=place.clock, currency="USDT")
    client.fetch_balance()
    client.fetch_ticker(SYMBOL)
    tradewatch.shutdown()
    assert watch.status().portfolio.equity.value == value


def test_a_book_without_a_symbol_is_of_the_market_that_was_asked_for(blocking, venue, make_bot, watch_over):
    class Mine(blocking.ccxt.binance):
        """Some venues' books name no market."""

        def fetch_order_book(self, symbol, limit=None, params={}):  # noqa: B006
            return {**super().fetch_order_book(symbol, limit, params), "symbol": None}

    place = venue(balances={"BTC": "2", "USDT": "50"})
    client = blocking.client(place, Mine)
    watch = watch_over(make_bot(client), clock=place.clock)
    client.fetch_balance()
    client.fetch_order_book(SYMBOL)
    tradewatch.shutdown()
    assert watch.status().portfolio.equity.value == 250


@pytest.mark.parametrize("ask", ["fetch_my_trades", "fetch_order_trades"])
def test_trades_of_a_lost_order_are_booked_once_from_either_list(api, venue, make_bot, watch_over, ask):
    place = venue(LOST)
    client = api.client(place, timeout=300)
    api.do(client.load_markets())
    watch = watch_over(make_bot(client), clock=place.clock)
    with pytest.raises(api.ccxt.RequestTimeout):
        api.do(client.create_order(SYMBOL, "market", "buy", 1))
    [order] = place.orders()
    for _ in range(2):
        if ask == "fetch_my_trades":
            api.do(client.fetch_my_trades(SYMBOL))
        else:
            api.do(client.fetch_order_trades(str(order.order_id), SYMBOL))
    tradewatch.shutdown()
    assert watch.status().portfolio.fills == 1


@pytest.mark.parametrize("ask", ["fetch_orders", "fetch_closed_orders"])
def test_a_lost_order_that_was_filled_is_known_from_either_list(api, venue, make_bot, watch_over, ask):
    place = venue(LOST)
    client = api.client(place, timeout=300)
    api.do(client.load_markets())
    watch = watch_over(make_bot(client), clock=place.clock)
    with pytest.raises(api.ccxt.RequestTimeout):
        api.do(client.create_order(SYMBOL, "market", "buy", 1))
    api.do(getattr(client, ask)(SYMBOL))
    tradewatch.shutdown()
    assert watch.status().breaker.unknown == ()


def test_each_order_of_a_batch_has_its_own_outcome(blocking, venue, make_bot, watch_over, application):
    class Mine(blocking.ccxt.binance):
        """A venue that takes batches and rejects one order of it without an id; the paper exchange takes none."""

        def create_orders(self, orders, params={}):  # noqa: B006
            taken = {"id": "1", "symbol": SYMBOL, "status": "open", "side": "buy", "type": "limit", "info": {}}
            return [taken, {"id": None, "status": "rejected"}, {"id": None, "status": None}]

    place = venue()
    client = blocking.client(place, Mine)
    watch = watch_over(make_bot(client), clock=place.clock, **application.settings)
    one = {"symbol": SYMBOL, "type": "limit", "side": "buy", "amount": 1, "price": 50}
    client.create_orders([one, {**one, "side": "sell"}, {**one, "type": "market"}])
    tradewatch.shutdown()
    assert watch.status().orders == {"open": 1, "rejected": 1, "unknown": 1}
    told = {
        (k["trading.order.side"], k["trading.order.type"], k["trading.order.status"])
        for k in map(dict, application.points()["trading.order.duration"])
    }
    assert told == {("buy", "limit", "open"), ("sell", "limit", "rejected"), ("buy", "market", "unknown")}
