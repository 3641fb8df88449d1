"""Fills to holdings: who traded what, once each, in the venue's order, by average cost.

A fill is booked in the book of its account and market. A fee in the base currency reduces what was bought (or adds to
what was sold), one in the quote currency is cash, and one in any other currency is a disposal of that currency at the
rate then: its worth is a quote fee of the trade and the proceeds of the disposal, which the book FEE/QUOTE takes where
it holds some. In a contract's market no base currency changes hands: there a base fee is one of another currency.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from decimal import Decimal

import msgspec

from tradewatch.model import Fill, OrderReport
from tradewatch.portfolio.arithmetic import ZERO, add, is_bookable, kept, multiply, subtract
from tradewatch.portfolio.book import Book
from tradewatch.portfolio.entries import Entry, Key, key_of
from tradewatch.portfolio.market import Market, market_of
from tradewatch.portfolio.orders import Order, Orders

# (currency, quote, venue time) -> quote per currency at that time, or None where it is not known
RateThen = Callable[[str, str, int], Decimal | None]
LISTED_CORRECTIONS = 100


class Movement(msgspec.Struct, frozen=True, gc=False):
    """What a booking did to an account's currencies, as of a venue time."""

    account: str
    venue_ns: int
    changes: tuple[tuple[str, Decimal], ...]


class Correction(msgspec.Struct, frozen=True):
    """A fill that came too late to be put where it belongs, and was booked after all others."""

    account: str
    market: str
    order_id: str
    trade_id: str
    venue_ns: int


class Unvalued(msgspec.Struct, frozen=True):
    """Fees of one currency, in trades of one quote currency, that no rate was known for: in no realised result."""

    account: str
    currency: str
    quote: str
    amount: Decimal
    fills: int


class Ledger:
    """The books of all accounts. Not safe for several threads: one books, and hands frozen values to the others."""

    def __init__(self) -> None:
        self.books: dict[tuple[str, str], Book] = {}
        self.fills = 0
        self.counts: dict[tuple[str, str, str], int] = {}
        self.fees: dict[tuple[str, str], Decimal] = {}
        self.unvalued: dict[tuple[str, str, str], Unvalued] = {}
        self.corrections: deque[Correction] = deque(maxlen=LISTED_CORRECTIONS)
        self.corrected = 0
        self.refused = 0
        self.undecidable = 0
        # What stands provisionally, and what cannot even stand so, as it has no price or no side.
        self.provisional: dict[tuple[str, str, str], None] = {}
        self.unpriced: dict[tuple[str, str, str], None] = {}
        self._orders: dict[tuple[str, str], Orders] = {}

    def book(self, account: str, market: Market) -> Book:
        """The book of this account and market, opened if there is none."""
        where = (account, market.symbol)
        book = self.books.get(where)
        if book is None:
            book = self.books[where] = Book(account, market)
        return book

    def fill(self, fill: Fill, rate_then: RateThen) -> tuple[Movement, ...] | None:
        """Book a fill.

        Args:
            fill: a trade. One already booked, by its identity, changes nothing.
            rate_then: what values fees in other currencies; asked once, when the fill is booked.

        Returns:
            What it did to the account's currencies; None where it changed nothing: a repeated fill, one that cannot be
            booked (not a BASE/QUOTE market, not above zero, too large; counted in `refused`), or one so old that it
            cannot be told whether it had been booked (counted in `undecidable`).
        """
        market = market_of(fill.market)
        if market is None or not _can_be_booked(fill):
            self.refused += 1
            return None
        book = self.book(fill.account, market)
        if book.has(fill.order_id, fill.trade_id):
            return None
        if book.may_have_had(fill.venue_ns):
            self.undecidable += 1
            return None
        where = (fill.account, fill.market)
        orders = self._orders.get(where)
        if orders is not None and orders.stood(fill.order_id):
            self.undecidable += 1
            return None
        order = self._order(where, fill.order_id)
        if _settle(book, order):
            self.undecidable += 1
            return None
        entry, others = self._entry_of(fill, market, rate_then)
        if book.add(entry) != entry.key:
            self.corrected += 1
            self.corrections.append(Correction(fill.account, fill.market, fill.order_id, fill.trade_id, fill.venue_ns))
        for fee in others:
            self._spend(fill, market, fee)
        self._count(fill)
        moved = Movement(fill.account, fill.venue_ns, entry.changes)
        order.know(fill.side, fill.amount, fill.price, fill.venue_ns)
        if order.claimed:
            return (moved, *self._stand_in(book, fill.order_id, order))
        return (moved,)

    def report(self, report: OrderReport) -> tuple[Movement, ...] | None:
        """Book what an order says it has filled beyond its known trades, until those are seen.

        Returns:
            What it did to the account's currencies; None where it changed nothing: nothing filled or `filled` unknown,
            an order without an id, or a smaller or equal `filled` than before.
        """
        key = report.key
        market = market_of(key.symbol)
        if report.filled is None or not report.filled or key.order_id is None or market is None:
            return None
        where = (key.account, key.symbol)
        orders = self._orders.get(where)
        if orders is not None and orders.may_have_had(key.order_id, report.venue_ns or report.seen_ns):
            self.undecidable += 1
            return None
        order = self._order(where, key.order_id)
        book = self.book(key.account, market)
        if _settle(book, order) or not order.claim(report):
            return None
        return self._stand_in(book, key.order_id, order)

    def since(self, account: str, venue_ns: int) -> Iterator[tuple[Key, Movement]]:
        """What was booked for an account at this venue time and later, as far back as books keep it."""
        for (of, _), book in self.books.items():
            if of == account:
                for entry in book.since(venue_ns):
                    if entry.changes:
                        yield entry.key, Movement(account, entry.venue_ns, entry.changes)

    def between(self, account: str, first_ns: int, last_ns: int) -> Iterator[Movement]:
        """What was booked for an account between these venue times, both included, as far back as books keep it."""
        for (of, _), book in self.books.items():
            if of == account:
                for entry in book.between(first_ns, last_ns):
                    yield Movement(account, entry.venue_ns, entry.changes)

    def _order(self, where: tuple[str, str], order_id: str) -> Order:
        orders = self._orders.get(where)
        if orders is None:
            orders = self._orders[where] = Orders()
        order, forgotten = orders.open(order_id)
        for forgotten_id in forgotten:
            self.provisional.pop((*where, forgotten_id), None)
            self.unpriced.pop((*where, forgotten_id), None)
        return order

    def _entry_of(
        self, fill: Fill, market: Market, rate_then: RateThen
    ) -> tuple[Entry, tuple[tuple[str, Decimal, Decimal | None], ...]]:
        """The entry of a fill in its own book, and its fees in other currencies: currency, amount, worth in quote."""
        gross = multiply(fill.amount, fill.price)
        base, cash = (fill.amount, gross.copy_negate()) if fill.side == "buy" else (fill.amount.copy_negate(), gross)
        others: list[tuple[str, Decimal, Decimal | None]] = []
        is_spot = market.settle is None
        for fee in fill.fees:
            if not fee.amount:
                continue
            if fee.currency == market.quote:
                cash = subtract(cash, fee.amount)
            elif fee.currency == market.base and is_spot:
                base = subtract(base, fee.amount)
            else:
                is_base = fee.currency == market.base
                rate = fill.price if is_base else rate_then(fee.currency, market.quote, fill.venue_ns)
                worth = None if rate is None else kept(multiply(fee.amount, rate))
                others.append((fee.currency, fee.amount, worth))
        changes: list[tuple[str, Decimal]] = [(market.base, base), (market.quote, cash)] if is_spot else []
        for currency, amount, worth in others:
            changes.append((currency, amount.copy_negate()))
            if worth is not None:
                cash = subtract(cash, worth)
        key = key_of(fill.venue_ns, fill.order_id, fill.trade_id)
        return Entry(key, fill.venue_ns, base, cash, tuple(changes), "trade"), tuple(others)

    def _spend(self, fill: Fill, market: Market, fee: tuple[str, Decimal, Decimal | None]) -> None:
        """Book a fee as a disposal of its currency, and list it where it has no value."""
        currency, amount, worth = fee
        if worth is None:
            listed = (fill.account, currency, market.quote)
            before = self.unvalued.get(listed)
            amount_before, fills = (before.amount, before.fills) if before is not None else (ZERO, 0)
            self.unvalued[listed] = Unvalued(*listed, add(amount_before, amount), fills + 1)
        paid_in = market_of(f"{currency}/{market.quote}")
        if paid_in is not None:
            key = (fill.venue_ns, 1, 0, fill.order_id, f"fee of {fill.market} {fill.trade_id}")
            self.book(fill.account, paid_in).add(Entry(key, fill.venue_ns, amount.copy_negate(), worth, (), "fee"))

    def _count(self, fill: Fill) -> None:
        self.fills += 1
        counted = (fill.account, fill.market, fill.side)
        self.counts[counted] = self.counts.get(counted, 0) + 1
        for fee in fill.fees:
            paid = (fill.account, fee.currency)
            self.fees[paid] = add(self.fees.get(paid, ZERO), fee.amount)

    def _stand_in(self, book: Book, order_id: str, order: Order) -> tuple[Movement, ...]:
        """Make the provisional entry of an order what its trades leave over."""
        moved: list[Movement] = []
        identity = (book.account, book.market.symbol, order_id)
        if order.provisional is not None:
            removed = book.remove(order.provisional)
            undone = tuple((currency, change.copy_negate()) for currency, change in removed.changes)
            moved.append(Movement(book.account, removed.venue_ns, undone))
            order.provisional = None
        self.provisional.pop(identity, None)
        self.unpriced.pop(identity, None)
        amount, cost = order.missing, order.missing_cost
        if not amount:
            return tuple(moved)
        if cost is None or order.side is None:
            self.unpriced[identity] = None
            return tuple(moved)
        base, cash = (amount, cost.copy_negate()) if order.side == "buy" else (amount.copy_negate(), cost)
        changes = ((book.market.base, base), (book.market.quote, cash)) if book.market.settle is None else ()
        key = (order.claimed_ns, 1, 0, order_id, "provisional")
        order.provisional = book.add(Entry(key, order.claimed_ns, base, cash, changes, "provisional"))
        self.provisional[identity] = None
        moved.append(Movement(book.account, order.claimed_ns, changes))
        return tuple(moved)


def _settle(book: Book, order: Order) -> bool:
    """Whether an order's provisional entry has been folded away: its trades would be booked beside it."""
    if order.provisional is not None and book.is_folded(order.provisional):
        order.is_settled, order.provisional = True, None
    return order.is_settled


def _can_be_booked(fill: Fill) -> bool:
    """Whether a fill can be booked exactly; provisional ones are made here, from reports, and nowhere else."""
    amount, price = fill.amount, fill.price
    if fill.source == "provisional" or fill.side not in ("buy", "sell"):
        return False
    if not is_bookable(amount) or amount <= ZERO or not is_bookable(price) or price < ZERO:
        return False
    for fee in fill.fees:  # noqa: SIM110  `all` over a generator takes twice as long
        if not is_bookable(fee.amount):
            return False
    return True
