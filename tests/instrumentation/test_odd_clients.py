"""Clients whose class overrides methods of ccxt in unusual ways: what a call gives is what it gave, and all is seen."""

import functools
import inspect

import pytest

import tradewatch

SYMBOL = "BTC/USDT"


class Called:
    def __call__(self, *args):
        return args


def decorated(function):
    @functools.wraps(function)
    def inner(*args, **kwargs):
        return function(*args, **kwargs)

    return inner


def odd(base):
    class Odd(base):
        fetch_bids_asks = Called()
        fetch_currencies = functools.partialmethod(base.fetch_time, {})

        def fetch_ticker(self, symbol, *, depth=5):
            return symbol, depth

        def fetch_order_book(self, symbol, /, seen=[]):  # noqa: B006  kept between calls on purpose
            seen.append(symbol)
            return tuple(seen)

        def fetch_trades(self, *symbols, **params):
            return symbols, params

        @decorated
        def fetch_balance(self, params={}):  # noqa: B006
            return params

        @classmethod
        def fetch_time(cls, params={}):  # noqa: B006
            return cls.__name__

        @staticmethod
        def fetch_status(params="none"):
            return params

        @property
        def fetch_ohlcv(self):
            return lambda symbol: [symbol]

        def fetch_my_trades(self, symbol=None):
            yield from (symbol, "b")

        def fetch_closed_orders(this, symbol):  # noqa: N805
            return lambda: (this.id, symbol)

        def fetch_orders():  # what the instance is to be put into is missing
            """Cannot be called."""

        def fetch_deposits(self, a, b=2, *c, d, e=5, **f):
            return a, b, c, d, e, f

    return Odd


ASKED = {
    "by name alone": lambda client: client.fetch_ticker("A", depth=7),
    "by place alone": lambda client: [client.fetch_order_book("A"), client.fetch_order_book("B")],
    "any": lambda client: client.fetch_trades("A", "B", x=1),
    "decorated": lambda client: client.fetch_balance({"x": 1}),
    "of the class": lambda client: client.fetch_time(),
    "of nobody": lambda client: client.fetch_status(),
    "a property": lambda client: client.fetch_ohlcv("A"),
    "an object": lambda client: client.fetch_bids_asks("A"),
    "partial": lambda client: client.fetch_currencies() > 0,
    "a generator": lambda client: list(client.fetch_my_trades("A")),
    "is a generator": lambda client: inspect.isgeneratorfunction(client.fetch_my_trades),
    "another name for self": lambda client: client.fetch_closed_orders("A")(),
    "all kinds": lambda client: client.fetch_deposits(1, 2, 3, d=4, z=6),
    "through the class": lambda client: type(client).fetch_deposits(client, 1, d=4),
    "not enough": lambda client: client.fetch_deposits(1),
    "nothing to put it into": lambda client: client.fetch_orders(),
    "parameters": lambda client: [
        str(inspect.signature(getattr(client, n))) for n in ("fetch_ticker", "fetch_deposits")
    ],
}


def given(client):
    found = {}
    for name, ask in ASKED.items():
        try:
            found[name] = ask(client)
        except TypeError as error:
            found[name] = str(error)
    return found


@pytest.fixture
def make_odd(blocking, venue):
    place = venue()
    return place, lambda: blocking.client(place, odd(blocking.ccxt.binance))


def test_a_watched_client_gives_what_it_gave(make_odd, make_bot, watch_over, until):
    place, make = make_odd
    expected, client = given(make()), make()
    watch = watch_over(make_bot(client), clock=place.clock)
    assert given(client) == expected
    seen = {
        "fetch_ticker",
        "fetch_order_book",
        "fetch_trades",
        "fetch_balance",
        "fetch_closed_orders",
        "fetch_deposits",
    }
    until(lambda: {each.operation for each in watch.status().operations} >= seen)
    assert "fetch_my_trades" not in {each.operation for each in watch.status().operations}


def test_a_method_that_cannot_be_wrapped_costs_no_order_its_gate(
    blocking, venue, make_bot, watch_over, monkeypatch, lenient
):
    """A bug of ours at one method is counted; the client is watched, and refused where it is halted."""
    from tradewatch.instrumentation.ccxt import wrap

    measured = wrap.Patches.measure

    def fails(self, owner, name, point):
        if name == "fetch_ticker":
            raise IndexError("a bug of tradewatch")
        return measured(self, owner, name, point)

    monkeypatch.setattr(wrap.Patches, "measure", fails)
    place = venue()
    client = blocking.client(place, type("Own", (blocking.ccxt.binance,), {}))
    watch = watch_over(make_bot(client), clock=place.clock)
    assert lenient["instrumentation"] >= 1
    assert client.fetch_ticker(SYMBOL)["last"] == 100
    watch.halt("test")
    with pytest.raises(tradewatch.OrderRefused):
        client.create_order(SYMBOL, "market", "buy", 1)
    assert place.orders() == []
