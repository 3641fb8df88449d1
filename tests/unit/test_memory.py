"""What of the portfolio survives a restart, with a real store on disk."""

import asyncio
import datetime
from decimal import Decimal

import msgspec
import pytest

from tradewatch.memory import Memory
from tradewatch.model import Balances, Fill, Mark, Money
from tradewatch.portfolio import DayStart, Peak, Portfolio
from tradewatch.store import Store, decode

USDT = "USDT"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state"


def fill(clock, n, side="buy", price="100"):
    at_ns = clock.now_ns() + n
    return Fill("main", "BTC/USDT", str(n), str(n), side, Decimal("0.1"), Decimal(price), (), at_ns, "order")


def write(memory):
    """The service thread's job, ended at once."""

    async def run():
        ending = asyncio.Event()
        ending.set()
        await memory.run(ending)

    asyncio.run(run())


def test_fills_and_the_first_price_of_what_was_held_come_back(folder, hand_clock):
    store = Store.open(folder, hand_clock)
    memory, before = Memory(store), Portfolio(hand_clock)
    now = hand_clock.now_ns()
    before.balances(Balances("main", (Money(Decimal(1), "BTC"), Money(Decimal(1000), USDT)), now, now))
    for price in ("90", "95"):
        mark = Mark("BTC/USDT", Decimal(price), now, "mid")
        before.mark(mark)
        memory.mark(mark)
    for each in (fill(hand_clock, 1), fill(hand_clock, 2, "sell", "110")):
        assert before.fill(each)
        memory.fill(each)
    write(memory)
    store.close()
    store = Store.open(folder, hand_clock)
    after = Portfolio(hand_clock)
    Memory(store).recall(after)
    hand_clock.pass_seconds(1)
    later = hand_clock.now_ns()
    after.balances(Balances("main", (Money(Decimal(1), "BTC"), Money(Decimal(1001), USDT)), later, later))
    store.close()
    assert after.snapshot().equity.value is None, "the price of an earlier run must value nothing now"
    after.mark(Mark("BTC/USDT", Decimal("95"), hand_clock.now_ns(), "mid"))
    [was], [is_now] = before.snapshot().positions, after.snapshot().positions
    assert (is_now.amount, is_now.average, is_now.realized) == (was.amount, was.average, was.realized)
    assert is_now.cost_from == was.cost_from


def test_the_days_start_and_the_peak_come_back(folder, hand_clock):
    store = Store.open(folder, hand_clock)
    memory, portfolio = Memory(store), Portfolio(hand_clock, USDT)
    day = DayStart(datetime.date(2023, 3, 3), Decimal("24000.5"), USDT)
    peak = Peak(Decimal("25000.25"), USDT, hand_clock.now_ns())
    snapshot = portfolio.snapshot()
    memory.watermarks(msgspec.structs.replace(snapshot, day_start=day, peak=peak))
    write(memory)
    store.close()
    store = Store.open(folder, hand_clock)
    after = Portfolio(hand_clock, USDT)
    Memory(store).recall(after)
    store.close()
    assert (after.snapshot().day_start, after.snapshot().peak) == (day, peak)


def test_a_peak_that_moves_with_every_price_is_written_now_and_then(folder, hand_clock):
    store = Store.open(folder, hand_clock)
    memory, snapshot = Memory(store), Portfolio(hand_clock, USDT).snapshot()
    for n in range(50):
        memory.watermarks(msgspec.structs.replace(snapshot, peak=Peak(Decimal(n + 1), USDT, n)))
    write(memory)
    written = [decode(event, Peak).equity for event in store.read(("portfolio.peak",))]
    assert written == [1, 50], "the first one, and at the end the last"
    store.close()


def test_without_a_store_nothing_is_kept_and_nothing_fails(hand_clock):
    memory = Memory(None)
    memory.fill(fill(hand_clock, 1))
    memory.recall(Portfolio(hand_clock))
    write(memory)
    assert not memory._waiting
