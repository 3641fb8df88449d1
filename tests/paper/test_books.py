"""The books against a computation written apart from them, over the JSON that a client reads."""

import contextlib
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewatch import paper
from tradewatch.paper import control
from tradewatch.paper.books import Books, Position, changed
from tradewatch.paper.candles import random_candles
from tradewatch.paper.fees import Fees, ThirdCurrency
from tradewatch.paper.orders import NewOrder
from tradewatch.paper.units import ONE, decimal, parse

START = 1677801600 * 10**9


@pytest.fixture
def shown():
    """The books as GET /paper/books shows them."""

    def read(exchange):
        instruments = {symbol: market.instrument for symbol, market in exchange.markets.items()}
        return control.books(exchange, Books(instruments, exchange.journal))

    return read


def place(exchange, side, quantity, symbol="BTCUSDT", price=None):
    exchange.advance()
    kind = {"type": "MARKET"} if price is None else {"type": "LIMIT", "price": parse(price)}
    return exchange.submit("main", NewOrder(symbol=symbol, side=side, quantity=parse(quantity), **kind))


def shown_of(value):
    return decimal(value.numerator, value.denominator)


def tell(exchange, symbol="BTCUSDT", account=None):
    exchange.advance()
    exchange.quoted(account, symbol, exchange.markets[symbol].quote(exchange.now_ns))


def standing(rows, *prices):
    """One candle a price, standing still, so that minute n quotes price n."""
    return rows(*((price, price, price, price) for price in prices))


def test_a_round_trip_by_hand(make, rows, shown):
    exchange, clock = make(standing(rows, 100, 110), spread_bp=0, balances={"USDT": "1000"})
    place(exchange, "BUY", "2")
    clock.pass_seconds(60)
    place(exchange, "SELL", "1")
    account = shown(exchange)["accounts"]["main"]
    # Bought 2 - 0.002 for 200; sold 1 for 110 - 0.11.
    average = Fraction(200) / Fraction("1.998")
    assert account["positions"] == {
        "BTC/USDT": {
            "amount": "0.998",
            "average_cost": "100.1001001001001001",
            "realised": shown_of(Fraction("109.89") - average),
            "currency": "USDT",
        }
    }
    assert account["fees"] == {"BTC": "0.002", "USDT": "0.11"}
    assert account["equity"]["value"] == "1019.67"  # 800 + 109.89 + 0.998 * 110


def test_the_opening_balance_is_costed_at_the_first_mid_that_was_told(make, rows, shown):
    exchange, clock = make(standing(rows, 100, 110, 130), spread_bp=0, balances={"BTC": "1"})
    assert shown(exchange)["accounts"]["main"]["positions"] == {}
    clock.pass_seconds(60)
    tell(exchange)
    clock.pass_seconds(60)
    tell(exchange)
    place(exchange, "SELL", "1")
    books = shown(exchange)
    assert books["opening_marks"] == {"BTC/USDT": {"mid": "110", "at_ns": START + 60 * 10**9}}
    assert books["accounts"]["main"]["positions"]["BTC/USDT"] == {
        "amount": "0", "average_cost": None, "realised": "19.87", "currency": "USDT",
    }  # fmt: skip


def test_without_any_quote_the_first_fill_gives_the_opening_mark(make, rows, shown):
    exchange, _ = make(standing(rows, 100), spread_bp=20, balances={"BTC": "1"})
    place(exchange, "SELL", "0.5")
    books = shown(exchange)
    assert books["opening_marks"] == {"BTC/USDT": {"mid": "100", "at_ns": START}}
    # 0.5 at 99.90 less 0.1 %, against 0.5 at 100.
    assert books["accounts"]["main"]["positions"]["BTC/USDT"]["realised"] == "-0.09995"


def test_a_fee_in_a_third_currency_is_a_disposal_at_its_mid(make, rows, shown):
    bnb = paper.Market("BNB/USDT", standing(rows, 250, 300), 0)
    exchange, clock = make(
        standing(rows, 100, 100), spread_bp=0, balances={"USDT": "1000", "BNB": "1"}, markets=[bnb],
        fees=Fees(third=ThirdCurrency("BNB")),
    )  # fmt: skip
    tell(exchange, "BNBUSDT")
    clock.pass_seconds(60)
    place(exchange, "BUY", "1")
    account = shown(exchange)["accounts"]["main"]
    # 0.075 USDT of fee are 0.00025 BNB at 300, held since 250.
    assert account["fees"] == {"BNB": "0.00025"}
    assert account["positions"] == {
        "BNB/USDT": {"amount": "0.99975", "average_cost": "250", "realised": "0.0125", "currency": "USDT"},
        "BTC/USDT": {"amount": "1", "average_cost": "100.075", "realised": "0", "currency": "USDT"},
    }


def test_a_third_currency_without_a_market_is_unvalued_and_leaves_equity_unknown(make, rows, shown):
    exchange, _ = make(
        standing(rows, 100), spread_bp=0, balances={"USDT": "1000", "BNB": "1"},
        fees=Fees(third=ThirdCurrency("BNB", price=parse("300"))),
    )  # fmt: skip
    place(exchange, "BUY", "1")
    account = shown(exchange)["accounts"]["main"]
    assert account["unvalued_fees"] == {"BNB": "0.00025"}
    assert account["positions"]["BTC/USDT"]["average_cost"] == "100"
    assert (account["equity"]["value"], account["equity"]["missing"]) == (None, ["BNB"])


def test_equity_at_the_last_quote_lags_behind_the_market(make, rows, shown):
    second = paper.Account("key-2", "secret-2", {"BTC": "2"}, "second")
    exchange, clock = make(
        standing(rows, 100, 110, 120), spread_bp=0, balances={"BTC": "1", "USDT": "5"}, accounts=[second]
    )
    nothing = shown(exchange)["accounts"]["main"]["equity_at_last_quote"]
    assert (nothing["value"], nothing["at_ns"], nothing["missing"]) == (None, None, ["BTC"])
    tell(exchange)
    clock.pass_seconds(60)
    tell(exchange, account="second")
    clock.pass_seconds(60)
    books = shown(exchange)
    values = {
        name: [(account[key]["value"], account[key]["at_ns"]) for key in ("equity", "equity_at_last_quote")]
        for name, account in books["accounts"].items()
    }
    now = START + 120 * 10**9
    assert values == {
        "main": [("125", now), ("105", START)],
        "second": [("240", now), ("220", START + 60 * 10**9)],
    }


def test_a_fill_through_zero_closes_then_opens():
    long = Position(2 * ONE, 100 * ONE)
    short = changed(long, -5 * ONE, 550 * ONE * ONE)
    assert (short.amount, short.average, short.realised) == (-3 * ONE, 110, 20)
    flat = changed(short, 3 * ONE, 300 * ONE * ONE)
    assert (flat.amount, flat.average, flat.realised) == (0, 0, 50)


@given(st.lists(st.tuples(st.integers(-9, 9).filter(bool), st.integers(1, 50)), max_size=30))
def test_positions_agree_with_fractions(changes):
    position, amount, average, realised = Position(), Fraction(0), Fraction(0), Fraction(0)
    for delta, value in changes:
        position = changed(position, delta * ONE, value * ONE * ONE)
        price = Fraction(value, abs(delta))
        for _ in range(abs(delta)):  # one unit after the other
            step = 1 if delta > 0 else -1
            if amount * step >= 0:
                average = (abs(amount) * average + price) / (abs(amount) + 1)
            else:
                realised += (price - average) * (1 if amount > 0 else -1)
            amount += step
        expected = (amount * ONE, average if amount else 0, realised)
        assert (position.amount, position.average, position.realised) == expected


def simple(trades, opening, opening_price):
    """Average cost over a list of trades: amount, cost and realised, in the plainest way."""
    amount, cost, realised = Fraction(opening), Fraction(opening) * opening_price, Fraction(0)
    for trade in trades:
        quantity, price, fee = (Fraction(trade[key]) for key in ("quantity", "price", "fee"))
        if trade["side"] == "BUY":
            assert trade["fee_currency"] == "BTC"
            amount += quantity - fee
            cost += quantity * price
        else:
            assert trade["fee_currency"] == "USDT"
            out = cost * quantity / amount
            amount -= quantity
            cost -= out
            realised += quantity * price - fee - out
    return amount, cost, realised


@pytest.mark.parametrize("depth", [None, "0.07"])
@pytest.mark.parametrize("seed", range(4))
def test_the_books_agree_with_a_simple_computation(make, shown, seed, depth):
    rng = random.Random(seed)
    walk = random_candles("20000", START, 500, seed, volatility_bp=20)
    exchange, clock = make(walk, balances={"BTC": "3", "USDT": "60000"}, depth=depth)
    tell(exchange)
    for _ in range(150):
        clock.pass_seconds(60 * rng.uniform(0.1, 3))
        exchange.advance()
        mid = exchange.markets["BTCUSDT"].quote(exchange.now_ns).mid / ONE
        price = None if rng.random() < 0.4 else f"{mid * rng.uniform(0.998, 1.002):.2f}"
        with contextlib.suppress(paper.Refusal):  # a balance that does not reach
            place(exchange, rng.choice(["BUY", "SELL"]), f"{rng.uniform(0.01, 0.5):.5f}", price=price)
    books = shown(exchange)
    account = books["accounts"]["main"]
    opening_price = Fraction(books["opening_marks"]["BTC/USDT"]["mid"])
    amount, cost, realised = simple(account["trades"], 3, opening_price)
    position = account["positions"]["BTC/USDT"]
    assert len(account["trades"]) > 60
    assert {trade["role"] for trade in account["trades"]} == {"maker", "taker"}
    assert position["amount"] == shown_of(amount)
    assert position["average_cost"] == shown_of(cost / amount)
    assert position["realised"] == shown_of(realised)
    # What was made since the opening: realised and unrealised together are the change of equity.
    mid = Fraction(books["mids"]["BTC/USDT"]["mid"])
    start = 3 * opening_price + 60_000
    assert Fraction(account["equity"]["value"]) - start == pytest.approx(realised + amount * mid - cost, abs=1e-15)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fraction(0), "0"),
        (Fraction(-1, 2), "-0.5"),
        (Fraction(12), "12"),
        (Fraction(1, 3), "0.333333333333333333"),
        (Fraction(1, 2 * 10**18), "0"),
        (Fraction(3, 2 * 10**18), "0.000000000000000002"),
        (Fraction(-1, 10**19), "0"),
    ],
)
def test_decimals_are_rounded_half_even_at_eighteen_places(value, text):
    assert shown_of(value) == text


def test_the_same_seed_gives_the_same_books(make, shown):
    def run(seed):
        walk = random_candles("100", START, 120, seed, volatility_bp=30)
        exchange, clock = make(walk, balances={"BTC": "30", "USDT": "3000"})
        for n in range(40):
            place(exchange, "BUY" if n % 2 else "SELL", "0.5", price=f"{100 + n % 7 - 3}.00")
            clock.pass_seconds(120)
        return shown(exchange)

    assert run(1) == run(1)
    assert run(1) != run(2)
