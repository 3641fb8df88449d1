"""A person resumes although the day's loss stands: the rule that halted does not undo that, nor does a restart."""

import pytest

import tradewatch

SYMBOL = "BTC/USDT"
# The crash of a minute, its recovery, and another one.
PRICES = [100, 90, 90, 90, 99.9, 99.9, 80, 80]


@pytest.fixture
def place(venue):
    return venue(rows=[(price,) * 4 for price in PRICES], balances={"BTC": "100", "USDT": "100"})


@pytest.fixture
def look(blocking, place, until):
    """The bot reads balance and price; waits until the rule has been evaluated over them and is in a state."""

    def at(watch, client, state):
        client.fetch_balance()

        def seen():
            place.clock.pass_seconds(0.02)
            # Again and again: a price that is far from the one before needs a second one.
            client.fetch_ticker(SYMBOL)
            [rule] = [r for r in watch.status().rules if r.rule.name == "DailyLoss"]
            return rule.state == state and (rule.evaluated_ns or 0) % 10**9 == 0 and watch.status().portfolio.equity

        until(seen)

    return at


def test_a_resume_holds_over_a_restart_until_the_loss_was_within_the_limit(
    blocking, place, make_bot, watch_over, look, until
):
    client = blocking.client(place)
    bot = make_bot(client)
    watch = watch_over(bot, clock=place.clock)
    look(watch, client, "inactive")
    place.clock.pass_seconds(60)
    look(watch, client, "firing")
    until(lambda: watch.status().breaker.confirmed and watch.status().breaker.state == "HALTED")
    watch.resume("seen, go on", by="anna")
    tradewatch.shutdown()

    watch = watch_over(bot, clock=place.clock)
    look(watch, client, "firing")
    place.clock.pass_seconds(2)
    look(watch, client, "firing")
    assert watch.status().breaker.state == "ACTIVE"
    assert client.create_order(SYMBOL, "market", "sell", 1)["status"] == "closed"

    while client.fetch_ticker(SYMBOL)["last"] < 99:
        place.clock.pass_seconds(20)
    look(watch, client, "inactive")
    tradewatch.shutdown()

    watch = watch_over(bot, clock=place.clock)
    look(watch, client, "inactive")
    while client.fetch_ticker(SYMBOL)["last"] > 90:
        place.clock.pass_seconds(20)
    look(watch, client, "firing")
    until(lambda: watch.status().breaker.state == "HALTED")
    assert watch.status().breaker.by == "DailyLoss"


def test_a_restart_in_between_does_not_undo_a_resume_that_comes_before_the_first_price(
    blocking, place, make_bot, watch_over, look, until, application
):
    client = blocking.client(place)
    bot = make_bot(client)
    watch = watch_over(bot, clock=place.clock, **application.settings)
    look(watch, client, "inactive")
    place.clock.pass_seconds(60)
    look(watch, client, "firing")
    until(lambda: watch.status().breaker.confirmed and watch.status().breaker.state == "HALTED")
    with pytest.raises(blocking.ccxt.InvalidOrder) as caught:
        client.create_order(SYMBOL, "market", "sell", 1)
    assert str(caught.value).endswith(
        "by DailyLoss: Bot lost 9.901% today, beyond the limit daily_loss "
        '(trading_portfolio_equity{trading_currency="USDT"} = 9100, '
        'trading_portfolio_day_start{trading_currency="USDT"} = 10100, '
        'tradewatch_limit{limit="daily_loss"} = 0.03). Cancels still pass. '
        "When you have looked: tradewatch resume NAME --reason ..., or Watch.resume(by=..., reason=...)"
    )
    tradewatch.shutdown()
    watch = watch_over(bot, clock=place.clock)
    assert watch.status().breaker.state == "HALTED"
    watch.resume("seen, go on", by="anna")
    look(watch, client, "firing")
    place.clock.pass_seconds(2)
    look(watch, client, "firing")
    assert watch.status().breaker.state == "ACTIVE"
