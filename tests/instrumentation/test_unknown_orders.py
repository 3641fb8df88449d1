"""An order whose answer was lost is listed, and leaves the list when the venue shows it and it can be no other."""

import contextlib
import threading

import pytest

import every_class
import tradewatch

SYMBOL = "BTC/USDT"
LOST = ({"operation": "order_place", "nth": (1,)}, {"kind": "timeout", "at": "answer", "hold_s": 5.0})
ARRIVED_NOT = ({"operation": "order_place", "nth": (1,)}, {"kind": "timeout", "at": "arrival", "hold_s": 5.0})


@pytest.fixture
def losing(api, venue, make_bot, watch_over):
    """A venue that swallows the answer to the first order, a client with markets loaded, and the watch."""

    def make(*rules):
        place = venue(*(rules or (LOST,)))
        client = api.client(place, timeout=300)
        api.do(client.load_markets())
        return place, client, watch_over(make_bot(client), clock=place.clock)

    return make


def lose(api, client, *args):
    with pytest.raises(api.ccxt.RequestTimeout):
        api.do(client.create_order(SYMBOL, "limit", "buy", 1, 50, *args))


READS = {
    "fetch_order": lambda c, entry: c.fetch_order(str(entry.order_id), SYMBOL),
    "fetch_order by client id": lambda c, entry: c.fetch_order(None, SYMBOL, {"clientOrderId": "mine"}),
    "fetch_open_orders": lambda c, entry: c.fetch_open_orders(SYMBOL),
    "fetch_orders": lambda c, entry: c.fetch_orders(SYMBOL),
}


@pytest.mark.parametrize("how", READS)
def test_an_order_that_the_venue_shows_is_no_longer_unknown(api, losing, until, how):
    place, client, watch = losing()
    lose(api, client, {"clientOrderId": "mine"})
    [listed] = watch.status().breaker.unknown
    assert listed.request.key.client_id == "mine"
    api.do(READS[how](client, place.orders()[0]))
    until(lambda: watch.status().breaker.unknown == ())


def test_a_client_id_that_ccxt_made_is_enough(api, losing, until):
    _place, client, watch = losing()
    lose(api, client)
    [listed] = watch.status().breaker.unknown
    [order] = api.do(client.fetch_open_orders(SYMBOL))
    assert listed.request.key.client_id == order["clientOrderId"]
    until(lambda: watch.status().breaker.unknown == ())


def test_an_order_by_an_endpoint_of_the_venue_is_known_by_its_client_id(api, losing, until):
    _place, client, watch = losing()
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "quantity": "1", "price": "50", "timeInForce": "GTC"}
    with pytest.raises(api.ccxt.RequestTimeout):
        api.do(client.private_post_order({**order, "newClientOrderId": "mine"}))
    assert len(watch.status().breaker.unknown) == 1
    api.do(client.fetch_open_orders(SYMBOL))
    until(lambda: watch.status().breaker.unknown == ())


def settled_reads(api, client, watch):
    """Reads that the safety thread has booked: a later call of another kind shows in its counts."""
    api.do(client.fetch_open_orders(SYMBOL))
    api.do(client.create_order(SYMBOL, "limit", "buy", 2, 49))


def test_an_order_that_never_arrived_stays_listed_also_when_the_venue_has_none(api, losing, until):
    _place, client, watch = losing(ARRIVED_NOT)
    lose(api, client, {"clientOrderId": "mine"})
    with pytest.raises(api.ccxt.OrderNotFound):
        api.do(client.fetch_order(None, SYMBOL, {"clientOrderId": "mine"}))
    settled_reads(api, client, watch)
    until(lambda: watch.status().orders.get("open") == 1)
    assert [each.request.key.client_id for each in watch.status().breaker.unknown] == ["mine"]


def test_a_repetition_under_the_same_client_id_that_is_placed_leaves_the_first_in_doubt(api, losing, until):
    _place, client, watch = losing(ARRIVED_NOT)
    lose(api, client, {"clientOrderId": "mine"})
    api.do(client.create_order(SYMBOL, "limit", "buy", 1, 50, {"clientOrderId": "mine"}))
    settled_reads(api, client, watch)
    until(lambda: watch.status().orders.get("open") == 2)
    [listed] = watch.status().breaker.unknown
    assert (listed.request.key.client_id, listed.ambiguous) == ("mine", True)


def test_an_order_seen_before_its_call_failed_is_known_when_it_is_seen_again(
    blocking, venue, make_bot, watch_over, until
):
    place = venue(LOST)
    client = blocking.client(place, timeout=1500)
    client.load_markets()
    watch = watch_over(make_bot(client), clock=place.clock)
    sending = threading.Thread(target=lambda: lose(blocking, client, {"clientOrderId": "mine"}))
    sending.start()
    until(place.orders)
    # The same client reads while its order waits for an answer.
    until(lambda: client.fetch_open_orders(SYMBOL))
    sending.join()
    assert len(watch.status().breaker.unknown) == 1
    client.fetch_open_orders(SYMBOL)
    until(lambda: watch.status().breaker.unknown == ())


def test_what_was_settled_while_halted_is_not_listed_after_a_restart(api, losing, until, make_bot, watch_over):
    place, client, watch = losing()
    lose(api, client)
    watch.halt("news")
    until(lambda: watch.status().breaker.confirmed)
    assert len(watch.status().breaker.unknown) == 1
    bot = make_bot(client)
    tradewatch.shutdown()
    watch = watch_over(bot, clock=place.clock)
    assert len(watch.status().breaker.unknown) == 1
    api.do(client.fetch_open_orders(SYMBOL))
    until(lambda: watch.status().breaker.unknown == ())
    tradewatch.shutdown()
    watch = watch_over(bot, clock=place.clock)
    assert (watch.status().breaker.state, watch.status().breaker.unknown) == ("HALTED", ())
    with contextlib.suppress(api.ccxt.InvalidOrder):
        api.do(client.create_order(SYMBOL, "limit", "buy", 1, 50))
    assert len(place.orders()) == 1


@pytest.mark.parametrize("method", ["create_order", "private_post_order"])
def test_an_order_whose_answer_names_nothing_is_unknown(blocking, venue, make_bot, watch_over, method):
    place = venue()
    client = blocking.client(place)
    client.load_markets()
    client.session.mount("http://", every_class.Recorder())  # answers with {}
    watch = watch_over(make_bot(client), clock=place.clock)
    args = (SYMBOL, "limit", "buy", 1, 50) if method == "create_order" else ({"symbol": "BTCUSDT", "side": "BUY"},)
    getattr(client, method)(*args)
    assert len(watch.status().breaker.unknown) == 1
    tradewatch.shutdown()
    assert watch.status().orders == {"unknown": 1}
