"""Whose a call is: of clients that are made later, of bots side by side, of one bot that is watched twice."""

import pytest

import tradewatch

SYMBOL = "BTC/USDT"


def test_a_client_made_later_belongs_to_the_bot(api, venue, application, make_bot, watch_over):
    place = venue()
    bot = make_bot()
    api.ccxt.binance  # imported, and nothing made
    watch = watch_over(bot, clock=place.clock, **application.settings)
    assert watch.status().clients == ()
    bot.exchange = api.client(place)
    api.do(bot.exchange.fetch_ticker(SYMBOL))
    assert [(c.path, c.exchange) for c in watch.status().clients] == [("made later", "binance")]
    tradewatch.shutdown()
    assert application.requests() == place.requests()
    assert [c["name"] for c in application.calls()] == ["fetch_ticker binance"]


def test_two_bots_and_two_clients_are_kept_apart(api, venue, application, make_bot, watch_over, tmp_path):
    place = venue()
    first, second, other = api.client(place), api.client(place), api.client(place)
    a, b = make_bot(first), make_bot(other)
    a.exchanges = {"spare": second}
    watch_a = watch_over(a, clock=place.clock, **application.settings)
    watch_b = watch_over(b, clock=place.clock, state_dir=tmp_path / "b", name="b", **application.settings)
    assert [c.path for c in watch_a.status().clients] == ["bot.exchange", "bot.exchanges['spare']"]
    for client, times in ((first, 1), (second, 2), (other, 4)):
        for _ in range(times):
            api.do(client.fetch_ticker(SYMBOL))
    assert [o.calls for o in watch_a.status().operations] == [3]
    assert [o.calls for o in watch_b.status().operations] == [4]
    tradewatch.shutdown()
    assert len(application.calls()) == 7
    assert sorted(application.requests()) == sorted(place.requests())


def test_one_bot_is_watched_once(api, venue, make_bot, watch_over):
    bot = make_bot(api.client(venue()))
    watch = watch_over(bot, limits={"daily_loss": 0.02})
    assert watch_over(bot) is watch_over(bot, limits={"daily_loss": 0.02}) is tradewatch.instrument(bot) is watch


def test_a_bot_that_is_watched_already_takes_no_other_settings(blocking, venue, make_bot, watch_over, tmp_path):
    bot = make_bot(blocking.client(venue()))
    watch = watch_over(bot)
    with pytest.raises(ValueError, match=r"watched already, with another state_dir, limits; .*uninstrument") as caught:
        watch_over(bot, limits={"daily_loss": 0.02}, state_dir=tmp_path / "other", currency=None)
    assert "port" not in str(caught.value)
    assert watch.status().limits["daily_loss"] == 0.03
    tradewatch.uninstrument(bot)
    assert watch_over(bot, limits={"daily_loss": 0.02}).status().limits["daily_loss"] == 0.02
