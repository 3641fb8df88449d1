"""What of the portfolio survives a restart, with a real store on disk."""

import asyncio
from decimal import Decimal

import pytest

from tradewatch.memory import Memory
from tradewatch.model import Balances, Fill, Mark, Money, OrderKey, OrderReport
from tradewatch.portfolio import Portfolio, Watermarks
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


def held(clock, **totals):
    now = clock.now_ns()
    return Balances("main", tuple(Money(Decimal(amount), of) for of, amount in totals.items()), now, now)


def seen(portfolio, clock, price, **totals):
    """A portfolio that has seen a price and, where given, balances."""
    portfolio.mark(Mark("BTC/USDT", Decimal(price), clock.now_ns(), "mid"))
    if totals:
        portfolio.balances(held(clock, **totals))
    return portfolio.snapshot()


def restarted(folder, clock):
    store = Store.open(folder, clock)
    portfolio = Portfolio(clock, USDT)
    Memory(store).recall(portfolio)
    store.close()
    return portfolio


def test_the_days_start_and_the_peak_come_back(folder, hand_clock):
    store = Store.open(folder, hand_clock)
    memory, portfolio = Memory(store), Portfolio(hand_clock, USDT)
    memory.watermarks(portfolio, seen(portfolio, hand_clock, 100, BTC=1, USDT=1000))
    memory.watermarks(portfolio, seen(portfolio, hand_clock, 104))
    memory.watermarks(portfolio, seen(portfolio, hand_clock, 102))
    write(memory)
    store.close()
    after = seen(restarted(folder, hand_clock), hand_clock, 101, BTC=1, USDT=1000)
    assert (after.day_start.equity, after.peak.equity) == (1100, 1104)
    assert (after.equity.value, after.daily_pnl, after.flows, after.incomplete) == (1101, 1, (), ())


def test_what_a_killed_bot_had_reported_without_trades_comes_back(folder, hand_clock):
    """As venues do that answer an order with amounts alone: the fill stands until its trades are seen."""
    store = Store.open(folder, hand_clock)
    memory, before = Memory(store), Portfolio(hand_clock, USDT)
    seen(before, hand_clock, 100, BTC=0, USDT=1000)
    hand_clock.pass_seconds(10)
    key = OrderKey("paper", "main", "BTC/USDT", "7", None)
    one, now = Decimal(1), hand_clock.now_ns()
    report = OrderReport(key, "buy", "limit", "filled", one, Decimal(98), one, Decimal(98), None, now, now)
    assert before.report(report)
    assert before.stands_provisionally(key)
    memory.report(report)
    write(memory)
    store.close()
    after = restarted(folder, hand_clock)
    hand_clock.pass_seconds(10)
    snapshot = seen(after, hand_clock, 100, BTC=1, USDT=902)
    [position] = snapshot.positions
    assert (position.amount, position.average, snapshot.equity.value) == (1, 98, 1002)
    assert "booked as reported" in snapshot.incomplete[0]
    after.fill(Fill("main", "BTC/USDT", "7", "1", "buy", one, Decimal(98), (), now, "trades"))
    assert after.snapshot().incomplete == ()
    assert not after.stands_provisionally(key)


@pytest.fixture
def passed(monkeypatch):
    """The seconds that memory counts, for tests to move."""
    now = [1000.0]
    monkeypatch.setattr("tradewatch.memory.time.monotonic", lambda: now[0])

    def pass_s(seconds):
        now[0] += seconds

    return pass_s


def rows(store):
    return [decode(event, Watermarks) for event in store.read(("portfolio.watermarks",))]


def test_a_peak_that_moves_with_every_price_is_written_now_and_then(folder, hand_clock, passed):
    store = Store.open(folder, hand_clock)
    memory, portfolio = Memory(store), Portfolio(hand_clock, USDT)
    for n in range(80):
        memory.watermarks(portfolio, seen(portfolio, hand_clock, 100 + n, **({} if n else {"BTC": 1})))
        passed(1)
    write(memory)
    assert [row.peak.equity for row in rows(store)] == [100, 130, 160, 179], "each 30 s, and at the end the last"
    store.close()


def test_rates_alone_are_written_every_ten_minutes_and_at_a_clean_end(folder, hand_clock, passed):
    store = Store.open(folder, hand_clock)
    memory, portfolio = Memory(store), Portfolio(hand_clock, USDT)
    memory.watermarks(portfolio, seen(portfolio, hand_clock, 100, BTC=1))
    for n in range(130):
        passed(10)
        hand_clock.pass_seconds(10)
        memory.watermarks(portfolio, seen(portfolio, hand_clock, 100 - n % 3))
    memory.watermarks(portfolio, portfolio.snapshot())
    write(memory)
    written = rows(store)
    assert [(row.last.at_ns - written[0].last.at_ns) // 10**9 for row in written] == [0, 600, 1200, 1300]
    assert [dict(row.counted[0].rates)["BTC"] for row in written] == [100, 98, 98, 100]
    write(memory)
    assert len(rows(store)) == 4, "nothing that is written already is written again"
    store.close()


def test_a_new_day_what_counts_and_a_moved_opening_are_written_at_once_or_soon(folder, hand_clock, passed):
    store = Store.open(folder, hand_clock)
    memory, portfolio = Memory(store), Portfolio(hand_clock, USDT)
    look = lambda **totals: memory.watermarks(portfolio, seen(portfolio, hand_clock, 100, **totals))  # noqa: E731
    look(BTC=1, USDT=1000)
    assert len(memory._waiting) == 1
    hand_clock.pass_seconds(86_400)
    look()
    assert [row.day_start.day.day for _, row in memory._waiting] == [3, 4]
    portfolio.mark(Mark("ETH/USDT", Decimal(10), hand_clock.now_ns(), "mid"))
    portfolio.balances(Balances("other", (Money(Decimal(1), "ETH"),), hand_clock.now_ns(), hand_clock.now_ns()))
    look()
    assert [len(row.counted) for _, row in memory._waiting] == [1, 1, 2]
    portfolio.fill(fill(hand_clock, -10 * 86_400 * 10**9))
    look()
    assert len(memory._waiting) == 3, "the fill itself is kept; it says the same"
    passed(30)
    look()
    assert len(memory._waiting) == 4
    write(memory)
    store.close()


def test_a_row_that_cannot_be_read_keeps_no_fill_from_coming_back(folder, hand_clock, lenient):
    store = Store.open(folder, hand_clock)
    memory = Memory(store)
    memory.fill(fill(hand_clock, 1))
    write(memory)
    store.append("portfolio.watermarks", Money(Decimal(1), USDT))
    memory.fill(fill(hand_clock, 2))
    write(memory)
    store.close()
    assert restarted(folder, hand_clock).snapshot().fills == 2


def test_without_a_store_nothing_is_kept_and_nothing_fails(hand_clock):
    memory = Memory(None)
    memory.fill(fill(hand_clock, 1))
    memory.recall(Portfolio(hand_clock))
    write(memory)
    assert not memory._waiting


def test_what_waits_for_a_disk_that_takes_nothing_is_bounded_and_what_is_lost_is_counted(
    folder, hand_clock, monkeypatch, lenient
):
    monkeypatch.setattr("tradewatch.memory._MOST_WAITING", 3)
    store = Store.open(folder, hand_clock)
    memory, portfolio = Memory(store), Portfolio(hand_clock)
    away = store.path.rename(store.path.with_name("away"))
    memory.fill(fill(hand_clock, 0))
    asyncio.run(memory._write())
    now = hand_clock.now_ns()
    portfolio.balances(Balances("main", (Money(Decimal(1000), USDT),), now, now))
    for n in range(1, 5):
        portfolio.mark(Mark("BTC/USDT", Decimal(100 + n), now, "mid"))
        memory.watermarks(portfolio, portfolio.snapshot())
        memory.fill(fill(hand_clock, n))
    assert lenient == {"store": 2}
    away.rename(store.path)
    asyncio.run(memory._write())
    memory.watermarks(portfolio, portfolio.snapshot())
    asyncio.run(memory._write())
    rows = list(store.read(("portfolio.fill", "portfolio.watermarks")))
    assert [row.kind for row in rows] == ["portfolio.fill"] * 3 + ["portfolio.watermarks"]
    assert [decode(row, Fill).trade_id for row in rows[:3]] == ["0", "1", "2"]
    store.close()
