"""Orders, fills, fees, realised P&L and equity, from real clients' answers, equal the exchange's books to 18 places."""

import random
from decimal import Decimal
from pathlib import Path

import pytest

import tradewatch
from tradewatch.model import OrderReport
from tradewatch.portfolio import BALANCES_NOT_SEEN
from tradewatch.store import Store, decode

SYMBOL = "BTC/USDT"
PLACES = Decimal("1e-18")


def rows(seed):
    """A market that wanders: 60 minutes of prices with two decimals."""
    rng, price, found = random.Random(seed), 23_000.0, []
    for _ in range(60):
        opens, closes = price, price * (1 + rng.uniform(-0.004, 0.004))
        high, low = max(opens, closes) * 1.001, min(opens, closes) * 0.999
        found.append([f"{p:.2f}" for p in (opens, high, low, closes)])
        price = float(found[-1][3])
    return found


def trade(api, client, clock, seed, steps=60):
    """A seeded bot: market and limit orders, cancels, prices, its own trades now and then."""
    rng = random.Random(seed)
    for step in range(steps):
        clock.pass_seconds(rng.uniform(5, 55))
        ticker = api.do(client.fetch_ticker(SYMBOL))
        side = rng.choice(["buy", "sell"])
        amount = rng.randint(6, 30) / 10_000
        what = rng.random()
        if what < 0.45:
            api.do(client.create_order(SYMBOL, "market", side, amount))
        elif what < 0.85:
            away = rng.uniform(-0.002, 0.002)
            api.do(client.create_order(SYMBOL, "limit", side, amount, round(ticker["last"] * (1 + away), 2)))
        else:
            resting = api.do(client.fetch_open_orders(SYMBOL))
            if resting:
                api.do(client.cancel_order(rng.choice(resting)["id"], SYMBOL))
        if step % 7 == 0:
            api.do(client.fetch_my_trades(SYMBOL))
        if step % 11 == 0:
            api.do(client.fetch_balance())
    api.do(client.fetch_my_trades(SYMBOL, None, 1000))
    api.do(client.fetch_balance())
    api.do(client.fetch_ticker(SYMBOL))


def decimals(mapping):
    return {key: Decimal(value) for key, value in mapping.items() if Decimal(value)}


def decimal(text):
    return None if text is None else Decimal(text)


def agree(snapshot, books):
    """Every figure that both sides have, side by side."""
    account = books["accounts"]["main"]
    [position] = snapshot.positions
    theirs = account["positions"][SYMBOL]
    return {
        "trades": (snapshot.fills, len(account["trades"])),
        "by side": (
            {c.side: c.fills for c in snapshot.counts},
            {s: n for s in ("buy", "sell") if (n := sum(t["side"].lower() == s for t in account["trades"]))},
        ),
        "fees": ({f.currency: f.amount.normalize() for f in snapshot.fees}, decimals(account["fees"])),
        "amount": (position.amount, Decimal(theirs["amount"])),
        "average": (position.average, decimal(theirs["average_cost"])),
        "realised": (position.realized, decimal(theirs["realised"])),
        "equity": (snapshot.equity.value, decimal(account["equity_at_last_quote"]["value"])),
        "currency": (snapshot.currency, books["currency"]),
        "incomplete": (snapshot.incomplete, ()),
        "stale": (snapshot.equity.stale, ()),
    }


@pytest.mark.parametrize(("fees", "depth"), [("asset received", None), ("BNB", None), ("asset received", 50_000)])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_ledger_equals_the_books(api, venue, make_bot, watch_over, application, seed, fees, depth, until):
    """With a depth (units of 10^-8 BTC) most orders take several levels, or wait for their turn and fill in parts."""
    from tradewatch.paper.fees import Fees, ThirdCurrency

    charged = Fees(third=ThirdCurrency("BNB", price=300 * 10**8)) if fees == "BNB" else None
    balances = {"BTC": "0.5", "USDT": "20000", **({"BNB": "1"} if fees == "BNB" else {})}
    place = venue(rows=rows(seed), balances=balances, fees=charged, depth=depth)
    client = api.client(place)
    watch = watch_over(make_bot(client), clock=place.clock, currency="USDT", **application.settings)
    api.do(client.fetch_balance())
    trade(api, client, place.clock, seed)
    books = place.read("/paper/books")
    trades = len(books["accounts"]["main"]["trades"])
    orders = {trade["order_id"] for trade in books["accounts"]["main"]["trades"]}
    assert len(orders) > 20
    assert (trades > len(orders) + 20) == (depth is not None)
    until(lambda: watch.status().portfolio.fills == trades)
    tradewatch.shutdown()
    snapshot = watch.status().portfolio
    sides = agree(snapshot, books)
    if fees == "BNB":
        # The venue trades no BNB, so nobody knows its price: the books have no equity, ours leaves BNB out and says so.
        assert sides.pop("equity")[1] is None
        assert [u.currency for u in snapshot.unvalued] == [u.currency for u in snapshot.unvalued_fees] == ["BNB"]
        assert len(sides.pop("incomplete")[0]) == 1
    assert {what: ours for what, (ours, _) in sides.items()} == {what: theirs for what, (_, theirs) in sides.items()}
    counted = watch.status().orders
    placed = books["accounts"]["main"]["orders"]
    assert sum(counted.values()) == len(placed) == len(place.orders())


def test_a_restart_goes_on_with_the_same_ledger(api, venue, make_bot, watch_over, application, until):
    place = venue(rows=rows(3), balances={"BTC": "0.5", "USDT": "20000"})
    client = api.client(place)
    bot = make_bot(client)
    for seed in (1, 2):
        watch = watch_over(bot, clock=place.clock, currency="USDT", account="main", **application.settings)
        api.do(client.fetch_balance())
        trade(api, client, place.clock, seed, steps=20)
        tradewatch.shutdown()
    books = place.read("/paper/books")
    sides = agree(watch.status().portfolio, books)
    assert {what: ours for what, (ours, _) in sides.items()} == {what: theirs for what, (_, theirs) in sides.items()}


def test_a_result_that_the_bot_changes_is_booked_as_it_came(api, venue, make_bot, watch_over, application):
    place = venue()
    client = api.client(place)
    watch = watch_over(make_bot(client), clock=place.clock, **application.settings)
    order = api.do(client.create_order(SYMBOL, "market", "buy", 1))
    order["trades"].clear()
    order.clear()
    tradewatch.shutdown()
    assert watch.status().portfolio.fills == 1
    assert watch.status().orders == {"filled": 1}


@pytest.mark.parametrize("ticker_first", [True, False])
def test_a_withdrawal_while_the_bot_is_stopped_is_no_loss(
    api, venue, make_bot, watch_over, application, until, ticker_first
):
    """A tenth of the account goes between two runs: without the flow it would be a loss beyond every limit."""
    figures = []
    for usdt in ("18000", "15500"):
        place = venue(rows=rows(3), balances={"BTC": "0.5", "USDT": usdt})
        client = api.client(place)
        watch = watch_over(make_bot(client), clock=place.clock, currency="USDT", account="main", **application.settings)
        if ticker_first:
            api.do(client.fetch_ticker(SYMBOL))
        api.do(client.fetch_balance())
        until(lambda watch=watch: BALANCES_NOT_SEEN not in watch.status().portfolio.equity.stale)
        api.do(client.fetch_ticker(SYMBOL))
        tradewatch.shutdown()
        figures.append(watch.status())
    before, after = (each.portfolio for each in figures)
    assert before.equity.value - after.equity.value == 2500
    assert before.peak.equity - after.peak.equity == before.day_start.equity - after.day_start.equity == 2500
    assert (after.daily_pnl, after.drawdown_ratio) == (0, 0)
    assert [(of.account, of.currency, of.amount) for of in after.flows] == [("main-binance", "USDT", -2500)]
    assert figures[1].breaker.state == "ACTIVE"


def test_one_false_price_halts_nothing_and_a_second_one_does(
    api, venue, make_bot, watch_over, application, hand_clock, until
):
    crash = [(100,) * 4] * 2 + [(60,) * 4] + [(100,) * 4] + [(60,) * 4] * 5
    place = venue(rows=crash, clock=hand_clock, balances={"BTC": "100", "USDT": "1000"})
    client = api.client(place)
    watch = watch_over(make_bot(client), clock=hand_clock, currency="USDT", **application.settings)
    api.do(client.fetch_balance())
    active, doubted, halted = ("ACTIVE", False), ("ACTIVE", True), ("HALTED", False)

    def state():
        said = watch.status()
        return said.breaker.state, bool(said.portfolio.equity.stale)

    for expected in (active, active, active, doubted, active, doubted, halted):
        api.do(client.fetch_ticker(SYMBOL))
        until(lambda expected=expected: state() == expected)
        hand_clock.pass_seconds(58)


def test_of_what_orders_say_they_filled_only_what_no_trade_explains_is_kept(api, venue, make_bot, watch_over):
    """An order of before the watch is read by its number: its report is all there is of it."""
    place = venue(balances={"BTC": "1", "USDT": "100000"})
    client = api.client(place)
    before = api.do(client.create_order(SYMBOL, "market", "buy", 1))
    watch = watch_over(make_bot(client), clock=place.clock, currency="USDT")
    during = api.do(client.create_order(SYMBOL, "market", "buy", 1))
    for order in (during, before, during, before):
        api.do(client.fetch_order(order["id"], SYMBOL))
    tradewatch.shutdown()
    store = Store.open(Path(watch.status().state_folder), place.clock)
    kept = [decode(event, OrderReport).key.order_id for event in store.read(("portfolio.report",))]
    store.close()
    assert kept == [before["id"]]


def test_a_key_that_is_set_late_names_the_account_from_its_first_use_on(api, venue, make_bot, watch_over, until):
    place = venue()
    client = api.client(place)
    key, secret, client.apiKey, client.secret = client.apiKey, client.secret, None, None
    watch = watch_over(make_bot(client), clock=place.clock, currency="USDT")
    api.do(client.fetch_ticker(SYMBOL))
    client.apiKey, client.secret = key, secret
    api.do(client.create_order(SYMBOL, "market", "buy", 1))
    place.clock.pass_seconds(10)
    api.do(client.fetch_balance())
    until(lambda: watch.status().portfolio.equity.value is not None)
    [position] = watch.status().portfolio.positions
    assert position.account != "public"
    assert position.amount == Decimal("100.999"), "what was bought, less the fee"
