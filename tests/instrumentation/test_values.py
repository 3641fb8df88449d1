"""Values that no venue would take: what the bot passes is never judged, and never spoils what others are told."""

import contextlib
import decimal
import json

import pytest

import tradewatch

SYMBOL = "BTC/USDT"


class Text(str):
    """A text whose own methods fail."""

    __slots__ = ()

    def __str__(self):
        raise RuntimeError("str")

    __repr__ = __format__ = upper = lower = encode = split = replace = __str__


class Number(float):
    """A number that cannot be shown."""

    def __repr__(self):
        raise RuntimeError("repr")

    __str__ = __format__ = __repr__


ODD = {
    "huge": "x" * 1_000_000,
    "empty": "",
    "none": None,
    "bytes": b"\xff\xfe",
    "half a surrogate pair": "BTC\ud800/USDT",
    "nul": "BTC\x00/USDT",
    "line breaks": 'BTC\n"/\\USDT\r',
    "right to left": "\u202eTDSU/CTB",
    "number": 7,
    "not a number": float("nan"),
    "infinite": float("inf"),
    "decimal": decimal.Decimal("sNaN"),
    "beyond floats": 10**5000,
    "list": [SYMBOL],
    "dict": {"a": 1},
    "object": object(),
    "text": Text("BTC/USDT"),
    "shown number": Number(1.5),
    "true": True,
}


CALLS = [
    lambda c, odd: c.fetch_ticker(odd),
    lambda c, odd: c.create_order(odd, odd, odd, odd, odd),
    lambda c, odd: c.create_order(SYMBOL, odd, "buy", 1, 50),
    lambda c, odd: c.create_order(SYMBOL, "limit", odd, 1, 50),
    lambda c, odd: c.create_order(SYMBOL, "limit", "buy", odd, odd),
    lambda c, odd: c.create_order(SYMBOL, "limit", "buy", 1, 50, odd),
    lambda c, odd: c.create_order(SYMBOL, "limit", "buy", 1, 50, {"clientOrderId": odd}),
    lambda c, odd: c.create_orders(odd),
    lambda c, odd: c.edit_order(odd, odd, odd, odd),
    lambda c, odd: c.private_post_order({"symbol": odd, "side": odd, "quantity": odd}),
    lambda c, odd: c.privatePostOrder(odd),
    lambda c, odd: c.cancel_order(odd, SYMBOL),
]
READS = {0, 11}


def outcomes(client):
    """What every call with every odd value comes to: it passes, or the class of what it raises."""
    client.load_markets()
    found = {}
    for name, value in ODD.items():
        for n, call in enumerate(CALLS):
            try:
                call(client, value)
                found[name, n] = "passed"
            except Exception as error:
                found[name, n] = type(error)
    return found


def test_odd_arguments_get_what_ccxt_gives_and_telemetry_goes_on(
    blocking, venue, make_bot, watch_over, collect, exported, scrape, until
):
    """With tradewatch's own providers, for a real collector and a real scrape; strict: nothing of ours fails."""
    collector = collect()
    exported(collector.url)
    expected = outcomes(blocking.client(venue()))
    place = venue()
    client = blocking.client(place)
    watch = watch_over(make_bot(client), clock=place.clock)
    assert outcomes(client) == expected
    client.fetch_time()
    endpoint = watch.status().telemetry.endpoint
    sane = ("trading_exchange_call_duration_seconds_count", _labels("fetch_time"))
    found = until(lambda: (s := scrape(endpoint)).get(sane) == 1 and s)
    assert all(len(value) <= 200 for _, labels in found for _, value in labels)
    watch.halt("news")
    for name, value in ODD.items():
        for n, call in enumerate(CALLS):
            if n not in READS:
                with pytest.raises(blocking.ccxt.InvalidOrder):
                    call(client, value)
                assert watch.status().breaker.in_flight == 0, (name, n)
    repr(watch.status())
    tradewatch.shutdown()
    names = [s.name for s in collector.spans()]
    assert "fetch_time binance" in names
    assert names.count("create_order binance") == 2 * 6 * len(ODD)
    texts = [a.value.string_value for s in collector.spans() for a in s.attributes]
    assert max(map(len, texts)) <= 200


def _labels(operation):
    return (("trading_exchange", "binance"), ("trading_operation", operation))


def test_symbols_in_metrics_are_bounded(blocking, venue, make_bot, watch_over, application, until):
    """A bot that makes up symbols must not fill the memory of whoever scrapes it; the overflow is visible."""
    place = venue()
    client = blocking.client(place)
    client.load_markets()
    watch = watch_over(make_bot(client), clock=place.clock, **application.settings)
    watch.halt("news")
    for n in range(3_000):
        with contextlib.suppress(blocking.ccxt.InvalidOrder):
            client.create_order(f"COIN{n}/USDT", f"type{n}", f"side{n}", 1, 50)
    until(lambda: sum(watch.status().orders.values()) == 3_000)
    tradewatch.shutdown()
    assert watch.status().orders == {"refused": 3_000}
    points = application.points()
    assert sum(p.count for p in points["trading.order.duration"].values()) == 3_000
    for name in ("trading.orders", "trading.order.duration"):
        assert len(points.get(name, {})) <= 2_001, name


def test_a_venue_that_answers_nonsense_is_booked_as_far_as_it_makes_sense(
    blocking, venue, make_bot, watch_over, application
):
    answers = iter(
        [None, [], {}, "ok", 7, {"id": 5}, {"id": None}, {"id": "1", "trades": [None, 7, {}, {"id": "1"}]},
         {"id": "1", "status": ["open"], "filled": "many", "fee": 3, "trades": "none", "timestamp": "now"},
         {"id": "2", "filled": float("nan"), "amount": float("inf"), "timestamp": 1e300, "info": [1]},
         {"id": "3", "trades": [{"id": "9", "order": "3", "symbol": SYMBOL, "side": "buy", "amount": 1e308,
                                 "price": float("nan"), "fee": {"cost": "x"}}]},
         json.loads("{" + '"a":{' * 900 + "}" * 901)]
    )  # fmt: skip

    class Odd(blocking.ccxt.binance):
        def create_order(self, *args, **kwargs):
            return next(answers)

    place = venue()
    client = blocking.client(place, Odd)
    watch = watch_over(make_bot(client), clock=place.clock, **application.settings)
    count = 0
    with contextlib.suppress(StopIteration):
        while True:
            client.create_order(SYMBOL, "limit", "buy", 1, 50)
            count += 1
    tradewatch.shutdown()
    assert count == 12
    # The last one is the StopIteration that ended the test: to tradewatch an order that failed before it was sent.
    assert sum(watch.status().orders.values()) == 13
    assert watch.status().portfolio.fills == 0


@pytest.mark.parametrize(
    "answer",
    [
        None,
        {},
        {"total": None},
        {"total": {"BTC": None, "USDT": "much", 5: 1, "ETH": float("inf")}},
        {"bid": "x", "ask": None, "last": [], "symbol": 5},
        {"symbol": SYMBOL, "bid": float("nan"), "ask": -1.0, "last": 0},
        {"bids": [[None, None]], "asks": [[]], "symbol": SYMBOL},
        {"bids": "1", "asks": "2"},
        [{"id": "1", "order": "2", "symbol": SYMBOL, "side": "both", "amount": 1, "price": 1}],
        [None, 5, "x", {"id": {}, "order": [], "symbol": {}}],
    ],
)
def test_reads_that_answer_nonsense_pass_unchanged(blocking, venue, make_bot, watch_over, application, answer):
    """Strict: not even a failure that is kept."""

    def say(self, *args, **kwargs):
        return answer

    names = ("fetch_balance", "fetch_ticker", "fetch_tickers", "fetch_order_book", "fetch_order", "fetch_open_orders",
             "fetch_my_trades", "cancel_order", "cancel_all_orders")  # fmt: skip
    place = venue()
    client = blocking.client(place, type("Odd", (blocking.ccxt.binance,), dict.fromkeys(names, say)))
    watch = watch_over(make_bot(client), clock=place.clock, **application.settings)
    for name in names:
        assert getattr(client, name)(SYMBOL) is answer
    tradewatch.shutdown()
    assert {(o.operation, o.calls, o.errors) for o in watch.status().operations} == {(n, 1, 0) for n in names}
    assert watch.status().portfolio.equity.value is None or watch.status().portfolio.equity.value.is_finite()
