"""What is kept of fills and orders is small and bounded, and says what a replay of everything would."""

import random
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fills import START_NS, amounts, balances, fill, mark, new, prices
from tradewatch.model import OrderKey, OrderReport
from tradewatch.portfolio import book, entries, orders
from tradewatch.portfolio.arithmetic import ZERO
from tradewatch.portfolio.average_cost import FLAT, booked, corrected_opening, opened, spent
from tradewatch.portfolio.book import KEPT_NS, Book
from tradewatch.portfolio.entries import CORRECTION, Entries, Entry, key_of
from tradewatch.portfolio.identities import Identities
from tradewatch.portfolio.market import market_of

BTC_USDT = market_of("BTC/USDT")


class PlainBook:
    """Keeps every entry as it came and books all of them from the start at each question."""

    def __init__(self, account, market):
        self.account, self.market, self.version, self.corrections = account, market, 0, 0
        self.opening, self.opening_price, self.is_used, self.can_reopen = ZERO, None, False, True
        self.entries, self.known = [], set()

    def has(self, *identity):
        return identity in self.known

    def may_have_had(self, _):
        return False

    def is_folded(self, _):
        return False

    def add(self, entry):
        self.version += 1
        if entry.kind == "trade":
            self.known.add(entry.key[3:])
        self.is_used = self.is_used or entry.kind != "fee"
        if self.entries and entry.key[0] < self.entries[-1].key[0] - KEPT_NS:
            self.corrections += 1
            key = (self.entries[-1].key[0], CORRECTION, self.corrections, *entry.key[3:])
            entry = msgspec.structs.replace(entry, key=key)
        self.entries.append(entry)
        self.entries.sort(key=lambda e: e.key)
        return entry.key

    def remove(self, key):
        self.version += 1
        [found] = [e for e in self.entries if e.key == key]
        self.entries.remove(found)
        return found

    def open_with(self, amount, price):
        if amount == self.opening and (price == self.opening_price or not amount):
            return False
        self.version += 1
        self.opening, self.opening_price = amount, price
        return True

    def holding(self):
        return self.holding_at(1 << 63)

    def holding_at(self, venue_ns):
        holding = opened(self.opening, self.opening_price)
        for e in self.entries:
            if e.key[0] <= venue_ns:
                book = {"fee": spent, "opening": corrected_opening}.get(e.kind, booked)
                holding = book(holding, e.base, e.cash)
        return holding

    def since(self, venue_ns):
        return [e for e in reversed(self.entries) if e.key[0] >= venue_ns and e.venue_ns >= venue_ns]

    def between(self, first_ns, last_ns):
        return [e for e in self.entries if first_ns <= e.key[0] <= last_ns]


def told(order, side, filled, average, at):
    key = OrderKey("paper", "main", "BTC/USDT", order, None)
    ns = START_NS + at * 10**9
    return OrderReport(key, side, "limit", "open", None, None, filled, average, None, ns, ns)


fees = st.tuples(amounts.map(lambda a: a / 1000), st.sampled_from(["USDT", "BTC", "BNB"]))
steps = st.one_of(
    st.tuples(
        st.just("fill"),
        st.sampled_from(["buy", "sell"]),
        amounts,
        prices,
        st.integers(0, 40),
        st.sampled_from("abcde"),
        st.one_of(st.integers(0, 30).map(str), st.text("xyz", min_size=1, max_size=2)),
        st.lists(fees, max_size=2),
        st.sampled_from(["BTC/USDT", "BTC/USDT", "BNB/USDT"]),
    ),
    st.tuples(
        st.just("report"),
        st.sampled_from("abcde"),
        st.sampled_from(["buy", "sell"]),
        amounts,
        st.none() | prices,
        st.integers(0, 40),
    ),
    st.tuples(st.just("balances"), st.integers(0, 40), amounts),
    st.tuples(st.just("read")),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(steps, min_size=5, max_size=60), st.sampled_from([1, 2, 5]))
def test_whatever_comes_in_whatever_order_the_books_say_what_a_full_replay_says(clock_class, steps, block):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(entries, "BLOCK", block)
        patched.setattr(entries, "_IN_FULL", 1)
        patched.setattr(orders, "_AT_HAND", 1)
        clock = clock_class()
        clock.pass_s(100)
        compact = new(clock)
        patched.setattr("tradewatch.portfolio.ledger.Book", PlainBook)
        patched.setattr(orders, "_AT_HAND", 1_000)
        plain = new(clock)
        for portfolio in (compact, plain):
            mark(portfolio, clock, 50_000)
        for n, (what, *given_) in enumerate(steps):
            for portfolio, book_class, at_hand in ((compact, Book, 1), (plain, PlainBook, 1_000)):
                patched.setattr("tradewatch.portfolio.ledger.Book", book_class)
                patched.setattr(orders, "_AT_HAND", at_hand)
                if what == "fill":
                    side, amount, price, at, order, trade, paid, market = given_
                    portfolio.fill(fill(side, amount, price, at, trade=trade, order=order, fees=paid, market=market))
                elif what == "report":
                    order, side, filled, average, at = given_
                    portfolio.report(told(order, side, filled, average, at))
                elif what == "balances":
                    at, held = given_
                    portfolio.balances(balances(at, BTC=held, USDT=held * 1000))
            if what == "read" or n == len(steps) - 1:
                assert compact.snapshot() == plain.snapshot()
        assert compact._ledger.books.keys() == plain._ledger.books.keys()
        for where, kept in compact._ledger.books.items():
            full = plain._ledger.books[where]
            assert kept.holding() == full.holding()
            for at in range(-1, 42, 7):
                ns = START_NS + at * 10**9
                assert kept.holding_at(ns) == full.holding_at(ns)
                assert list(kept.since(ns)) == list(full.since(ns))
                assert list(kept.between(ns, ns + 10**10)) == list(full.between(ns, ns + 10**10))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=120), st.integers(1, 20))
def test_what_is_too_late_is_counted_and_stands_at_the_end_and_nothing_else_does(times, kept):
    with pytest.MonkeyPatch.context() as patched:
        for where in (entries, book):
            patched.setattr(where, "BLOCK", 2)
        patched.setattr(entries, "_IN_FULL", 1)
        patched.setattr(book, "KEPT_FILLS", kept)
        found, stand, late = Book("main", BTC_USDT), [], 0
        for n, at in enumerate(times):
            base = Decimal(n % 7 - 3) or Decimal(1)
            entry = Entry(key_of(at, "o", str(n)), at, base, -base * (100 + n % 11), (), "trade")
            later = sum(e.key > entry.key for e in stand)
            key = found.add(entry)
            if key != entry.key:
                late += 1
                assert later >= kept
                assert all(key > e.key for e in stand)
            stand.append(msgspec.structs.replace(entry, key=key))
            assert len(found._entries) < kept + 3 * 2
            assert found.corrections == late
        holding = FLAT
        for e in sorted(stand, key=lambda e: e.key):
            holding = booked(holding, e.base, e.cash)
        assert found.holding() == holding
        assert all(found.has("o", str(n)) for n in range(len(times)))
        assert not found.has("o", str(len(times)))


numbers = st.decimals(allow_nan=False, allow_infinity=False, places=None) | st.sampled_from(
    [Decimal("1E+3"), Decimal("0E-8"), Decimal("-0.00"), Decimal("0.1000"), Decimal("9" * 60 + "." + "1" * 60)]
)
ids = st.text(min_size=1, max_size=12) | st.sampled_from(["0", "007", "9" * 40, "9" * 41, "١٢", "fee of A/B 1"])


@st.composite
def lines(draw):
    at, order, trade = draw(st.integers(0, 2**62)), draw(ids), draw(ids)
    base, cash = draw(numbers), draw(numbers)
    kind = draw(st.sampled_from(["trade", "fee", "provisional", "opening"]))
    changes = draw(
        st.sampled_from(
            [
                (("BTC", base), ("USDT", cash)),
                (("BTC", base + 0), ("USDT", cash)),
                (("USDT", base), ("BTC", cash)),
                (("BTC", base), ("USDT", cash), ("BNB", base)),
                (),
            ]
        )
    )
    key = key_of(at, order, trade) if kind == "trade" else (at, draw(st.integers(0, 2)) or 1, 7, order, trade)
    return Entry(key, draw(st.just(at) | st.integers(0, 2**62)), base, draw(st.just(cash)), changes, kind)


@settings(max_examples=200, deadline=None)
@given(lines())
def test_a_line_that_was_written_small_is_what_it_was_to_the_digit(line):
    found = Entries(BTC_USDT)
    for at in range(6):
        for n in range(32):
            key = (2**62 + at, 1, n, "", "")
            found.append(line if at == n == 0 else msgspec.structs.replace(line, key=key, kind="fee"))
    assert type(found._blocks[0]) is bytes
    assert repr(found.read(0)[0]) == repr(line)
    # Written again, it is no longer.
    size = len(found._blocks[0])
    found._keep(0, found.read(0))
    assert len(found._blocks[0]) == size


def test_of_a_fill_that_is_not_among_the_last_little_is_kept(clock):
    portfolio = new(clock)
    for n in range(2_000):
        portfolio.fill(fill("buy", "0.00100", "25000.01", n, trade=str(3 * 10**9 + n), order=str(28 * 10**9 + n)))
    where = ("main", "BTC/USDT")
    blocks = portfolio._ledger.books[where]._entries._blocks
    assert [type(each) for each in blocks] == [bytes] * (len(blocks) - 4) + [list] * 4
    assert sum(map(len, blocks[:-4])) < 80 * 32 * len(blocks[:-4])
    kept = portfolio._ledger._orders[where]
    assert (len(kept._at_hand), len(kept._written)) == (128, 2_000 - 128)
    assert max(map(len, kept._written.values())) < 64


def test_little_is_kept_also_of_fills_that_come_in_some_disorder(clock):
    portfolio, chance = new(clock), random.Random(1)
    clock.pass_s(10_000)
    for n in range(5_000):
        portfolio.fill(fill("buy", 1, 100, n + chance.randrange(60), trade=str(n), order=f"o{n}"))
    blocks = portfolio._ledger.books[("main", "BTC/USDT")]._entries._blocks
    assert [type(each) for each in blocks] == [bytes] * (len(blocks) - 4) + [list] * 4


def test_a_page_of_fills_from_newest_to_oldest_is_bounded_too(clock, monkeypatch):
    monkeypatch.setattr(book, "KEPT_FILLS", 100)
    portfolio = new(clock)
    for n in range(500):
        assert portfolio.fill(fill("buy", 1, 100, -n, trade=str(10_000 - n), order=f"o{n}"))
        assert len(portfolio._ledger.books[("main", "BTC/USDT")]._entries) < 100 + 3 * 32
    snapshot = portfolio.snapshot()
    assert snapshot.positions[-1].amount == 500
    assert 0 < snapshot.corrections_total <= 400
    assert snapshot.incomplete == (
        f"{snapshot.corrections_total} fills came more than 7 days, or 100 fills of their market, late and were booked"
        " as corrections",
    )


def test_an_order_that_was_put_away_goes_on_where_it_was(clock, monkeypatch):
    monkeypatch.setattr(orders, "_AT_HAND", 1)
    portfolio = new(clock)
    portfolio.report(told("a", "buy", Decimal(2), Decimal(100), 1))
    for n in range(3):
        portfolio.fill(fill("buy", 1, 100, n, trade=f"other {n}", order=f"other {n}"))
    # A second claim replaces the first, and a trade takes its share of it.
    portfolio.report(told("a", "buy", Decimal(3), Decimal(100), 2))
    portfolio.fill(fill("buy", 1, 100, 1, trade="1", order="b"))
    portfolio.fill(fill("buy", 1, 100, 1, trade="2", order="a"))
    [held] = [p for p in portfolio.snapshot().positions if p.symbol == "BTC/USDT"]
    assert (held.amount, held.cost) == (7, 700)
    assert portfolio.stands_provisionally(OrderKey("paper", "main", "BTC/USDT", "a", None))


LATE = 10_000


@pytest.mark.parametrize(
    ("first", "then", "held", "undecidable"),
    [
        # Its trade, told late, is in the provisional entry that still stands.
        (["report 1"], ["trade 1"], 1, 1),
        # It trades again: the report counts what had been booked before, too.
        (["trade 1"], ["report 2", "trade 2"], 2, 1),
        (["trade 1"], ["trade 2", "report 2"], 2, 1),
        (["report 1", "trade 1"], ["trade 2", "report 2"], 2, 1),
        (["trade 1"], ["trade 1"], 1, 0),
        # It had never been told of, so nothing can be in the books already.
        ([], ["trade 1", "report 1"], 1, 0),
        ([], ["report 2", "trade 1"], 2, 0),
    ],
)
def test_an_order_that_was_forgotten_is_not_booked_twice(clock, monkeypatch, first, then, held, undecidable):
    monkeypatch.setattr(orders, "REMEMBERED_ORDERS", 200)
    portfolio = new(clock)
    clock.pass_s(2 * LATE)

    def tell(what, at):
        kind, n = what.split()
        if kind == "report":
            portfolio.report(told("old", "buy", Decimal(n), Decimal(100), at))
        else:
            portfolio.fill(fill("buy", 1, 100, at, trade=f"old {n}", order="old"))

    for what in first:
        tell(what, 0)
    for n in range(500):
        portfolio.fill(fill("buy", 1, 100, n, trade=f"other {n}", order=f"other {n}"))
    for what in then:
        tell(what, 0 if what == "trade 1" else LATE)
    snapshot = portfolio.snapshot()
    assert (snapshot.positions[-1].amount, portfolio._ledger.undecidable) == (500 + held, undecidable)


def test_of_orders_long_gone_it_is_known_that_they_were(monkeypatch):
    monkeypatch.setattr(orders, "REMEMBERED_ORDERS", 200)
    monkeypatch.setattr(orders, "_FORGOTTEN_ORDERS", 320)
    found = orders.Orders()
    for n in range(2_000):
        found.open(str(n))[0].know("buy", Decimal(1), Decimal(100), n)
    assert 200 <= len(found._at_hand) + len(found._written) < 232
    assert 320 <= len(found._forgotten) < 320 + 32
    # Of the others the time alone says it.
    last_ns = found._forgotten.forgotten_to_ns
    assert found.may_have_had(str(last_ns + 1), 2_000)
    assert not found.may_have_had("0", last_ns + 1)
    assert found.may_have_had("0", last_ns)
    assert not found.may_have_had("1999", 0)


@given(st.lists(st.lists(st.integers(0, 10**6), min_size=1, max_size=9, unique=True), max_size=30), st.integers(1, 40))
def test_the_latest_identities_are_known_and_the_others_forgotten(blocks, most):
    known, seen = Identities(most), []
    for n, block in enumerate(blocks):
        fresh = [("o", f"{n} {i}") for i in block]
        for each in fresh:
            assert each not in known
            known.add(each)
        known.retire(fresh, n)
        seen.append(fresh)
    flat = [each for block in seen for each in block]
    remembered = [each for each in flat if each in known]
    assert remembered == flat[len(flat) - len(remembered) :]
    assert len(known) == len(remembered) >= min(most, len(flat))
    assert len(remembered) < most + 9
    forgotten = [n for n, block in enumerate(seen) if block[0] not in known]
    assert known.forgotten_to_ns == (max(forgotten) if forgotten else None)
