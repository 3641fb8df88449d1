"""A bot that inherits its watching."""

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pytest

import tradewatch


def settings(place, tmp_path, **more):
    return {"clock": place.clock, "port": 0, "state_dir": tmp_path / "state", **more}


def test_a_bot_is_watched_once_it_is_built(venue, blocking, tmp_path):
    place = venue()

    class Grid(tradewatch.Watched):
        tradewatch_settings = settings(place, tmp_path, name="grid-1")

        def __init__(self, client):
            self.client = client

    class Finer(Grid):
        def __init__(self, client):
            super().__init__(None)
            self.finer = client

    with Finer(blocking.client(place)) as bot:
        assert bot.watch.name == "grid-1"
        assert [client.path for client in bot.watch.status().clients] == ["bot.finer"]
        watch = bot.watch
    assert watch.status().safety_alive is False
    with pytest.raises(KeyError, match="Finer is not watched"):
        _ = bot.watch


def test_dataclasses_and_abstract_classes(venue, blocking, tmp_path):
    place = venue()

    class Strategy(ABC):
        @abstractmethod
        def act(self): ...

    @dataclass(eq=False)
    class Grid(tradewatch.Watched, Strategy):
        client: Any
        tradewatch_settings = settings(place, tmp_path)

        def act(self):
            return self.client.fetch_time()

    bot = Grid(blocking.client(place))
    bot.act()
    assert [o.operation for o in bot.watch.status().operations] == ["fetch_time"]


def test_the_end_of_an_asynchronous_block_ends_the_watching(venue, blocking, tmp_path):
    place = venue()

    class Grid(tradewatch.Watched):
        tradewatch_settings = settings(place, tmp_path)

    async def run():
        async with Grid() as bot:
            return bot.watch

    assert asyncio.run(run()).status().safety_alive is False


def test_a_wrong_setting_is_an_error_of_the_constructor():
    class Grid(tradewatch.Watched):
        tradewatch_settings = MappingProxyType({"port": -1})

    with pytest.raises(ValueError, match="port -1"):
        Grid()


def test_a_watch_is_over_at_the_end_of_its_block(venue, blocking, make_bot, watch_over):
    place = venue()
    bot = make_bot(blocking.client(place))
    with watch_over(bot, clock=place.clock) as watch:
        assert watch.status().safety_alive
        watch.halt("news")
        with pytest.raises(tradewatch.OrderRefused):
            bot.exchange.create_order("BTC/USDT", "market", "buy", 1)

    async def again():
        async with watch_over(bot, clock=place.clock) as second:
            assert second.status().breaker.state == "HALTED"
        return second

    second = asyncio.run(again())
    assert not watch.status().safety_alive
    assert not second.status().safety_alive
    assert bot.exchange.create_order("BTC/USDT", "market", "buy", 1)["status"] == "closed"
