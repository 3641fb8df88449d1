"""A clock that stands where a test puts it, and runs of a bot one after the other."""

import asyncio
from decimal import Decimal

import pytest

from fills import mark
from tradewatch.memory import Memory
from tradewatch.model import Balances, Fill, Mark, Money, OrderKey, OrderReport
from tradewatch.portfolio import Portfolio
from tradewatch.store import Store

START_NS = 1_790_000_000_000_000_000


class StillClock:
    def __init__(self) -> None:
        self.ns = START_NS
        self.stepped_ns = 0

    def now_ns(self) -> int:
        return self.ns + self.stepped_ns

    def mono_ns(self) -> int:
        return self.ns

    def real_seconds(self, seconds: float) -> float:
        return seconds

    def pass_s(self, seconds: float) -> None:
        self.ns += int(seconds * 1e9)

    def step_s(self, seconds: float) -> None:
        self.stepped_ns += int(seconds * 1e9)


@pytest.fixture(scope="session")
def clock_class():
    return StillClock


@pytest.fixture
def clock():
    return StillClock()


@pytest.fixture
def portfolio(clock):
    """One that has seen one market's price, 100 seconds after the start."""
    clock.pass_s(100)
    result = Portfolio(clock)
    mark(result, clock, 100)
    return result


class Run:
    """A run of a bot as far as its portfolio goes: fed as the safety thread does, with what is kept of it on disk."""

    def __init__(self, clock, folder, currency="USDT"):
        self.clock, self.folder, self.currency = clock, folder, currency
        self.store = Store.open(folder, clock)
        self.memory = Memory(self.store)
        self.portfolio = Portfolio(clock, currency)
        self.memory.recall(self.portfolio)

    def mark(self, *prices, market="BTC/USDT"):
        for price in prices:
            self.clock.pass_s(0.001)
            mark = Mark(market, Decimal(str(price)), self.clock.now_ns(), "mid")
            self.portfolio.mark(mark)
            self.memory.mark(mark)
        return self.look()

    def say(self, account="main", **totals):
        money, now = tuple(Money(Decimal(str(amount)), of) for of, amount in totals.items()), self.clock.now_ns()
        self.portfolio.balances(Balances(account, money, now, now))
        return self.look()

    def fill(self, side, amount, price, *, ago=0, trade="1", market="BTC/USDT", account="main"):
        at_ns, number = self.clock.now_ns() - int(ago * 1e9), Decimal(str(amount))
        fill = Fill(account, market, trade, trade, side, number, Decimal(str(price)), (), at_ns, "trades")
        if self.portfolio.fill(fill):
            self.memory.fill(fill)
        return self.look()

    def report(self, side, filled, average, *, order="7", ago=0, market="BTC/USDT", account="main"):
        key, now = OrderKey("paper", account, market, order, None), self.clock.now_ns()
        price = None if average is None else Decimal(average)
        at_ns = now - int(ago * 1e9)
        report = OrderReport(key, side, "limit", "filled", None, None, Decimal(filled), price, None, at_ns, now)
        if self.portfolio.report(report) and self.portfolio.stands_provisionally(key):
            self.memory.report(report)
        return self.look()

    def look(self):
        snapshot = self.portfolio.snapshot()
        self.memory.watermarks(self.portfolio, snapshot)
        return snapshot

    def stop(self, down_s=600, **settings):
        ending = asyncio.Event()
        ending.set()
        asyncio.run(self.memory.run(ending))
        return self._again(down_s, **settings)

    def kill(self, down_s=600, **settings):
        asyncio.run(self.memory._write())
        return self._again(down_s, **settings)

    def _again(self, down_s, **settings):
        self.store.close()
        self.clock.pass_s(down_s)
        return Run(self.clock, self.folder, **({"currency": self.currency} | settings))


@pytest.fixture(scope="session")
def run_class():
    return Run


@pytest.fixture
def run(clock, tmp_path):
    """One BTC at 100 and 900 USDT."""
    result = Run(clock, tmp_path / "state")
    result.mark(100)
    result.say(BTC=1, USDT=900)
    yield result
    result.store.close()


@pytest.fixture
def empty_run(clock, tmp_path):
    """A bot that has seen nothing; to be called with a currency."""
    return lambda currency="USDT": Run(clock, tmp_path / "state", currency)
