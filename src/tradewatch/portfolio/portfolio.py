"""The portfolio: fills, order reports, balances and marks in; what is held, earned and lost out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from decimal import Decimal

from tradewatch.model import Balances, Clock, Equity, Fill, Mark, Money, OrderKey, OrderReport
from tradewatch.portfolio import performance
from tradewatch.portfolio.arithmetic import ZERO, add, divide, multiply, plain, shown, subtract, total
from tradewatch.portfolio.book import Book
from tradewatch.portfolio.equity import valuation
from tradewatch.portfolio.ledger import Ledger, Movement
from tradewatch.portfolio.market import Market, market_of
from tradewatch.portfolio.prices import Prices, Rate
from tradewatch.portfolio.readings import (
    Counted,
    DayStart,
    FillCount,
    Peak,
    PortfolioSnapshot,
    PositionReading,
    Total,
    Watermarks,
)
from tradewatch.portfolio.wallet import Wallet

_DAY_NS = 86_400 * 1_000_000_000
# A fee is valued by a price this far from its fill at most: a page of old trades must not be valued at today's price.
FEE_RATE_WITHIN_NS = _DAY_NS


class Portfolio:
    """All accounts of one bot. One thread calls it; what `snapshot` returns may go to any.

    Args:
        clock: the time that ages and days are read from.
        currency: what equity is in; None takes the quote currency of the first market seen.
        mark_max_age_s: a price older than this is stale. Seconds.
    """

    def __init__(self, clock: Clock, currency: str | None = None, mark_max_age_s: float = 60.0) -> None:
        self._clock = clock
        self._currency = currency
        self._ledger = Ledger()
        self._prices = Prices(clock, mark_max_age_s)
        self._wallets: dict[str, Wallet] = {}
        # The accounts that this run has heard of: one of an earlier run may be gone, its key changed.
        self._live: dict[str, None] = {}
        self._spot: dict[str, dict[str, Market]] = {}
        self._markets: set[str] = set()
        self._dealt_in: set[str] = set()
        # (account, base currency) -> the market whose book opens with what was held of it
        self._opened_in: dict[tuple[str, str], str] = {}
        self._read: dict[tuple[str, str], tuple[tuple[int, Decimal | None, bool], PositionReading]] = {}
        self._day_start: DayStart | None = None
        self._peak: Peak | None = None
        self._last_priced: Equity | None = None
        # Account and currency of what the day's start and the peak were measured on; None before there are any.
        self._counted: Set[tuple[str, str]] | None = None
        self._flows: dict[tuple[str, str], Decimal] = {}
        self._unseen_trades: dict[tuple[str, str], Decimal] = {}
        self._rates_before: dict[str, Decimal] = {}
        self._from_the_future = 0

    def fill(self, fill: Fill, *, recalled: bool = False) -> bool:
        """Book a trade; whether anything changed. Repeated ones, and such as cannot be booked, change nothing.

        `recalled` where it is from an earlier run: that says nothing of the accounts that this one uses.
        """
        if fill.venue_ns > self._clock.now_ns() + _DAY_NS:
            # Booked, it would make every true fill after it seven days late.
            self._from_the_future += 1
            return False
        if not recalled:
            self._live[fill.account] = None
        moved = self._ledger.fill(fill, self._rate_then)
        if moved is None:
            return False
        self._deal_in(fill.market)
        self._move(fill.account, moved)
        return True

    def report(self, report: OrderReport, *, recalled: bool = False) -> bool:
        """Take in what the venue said of an order; whether anything changed. `recalled` as in `fill`."""
        is_new = self._deal_in(report.key.symbol)
        if not recalled and report.key.account not in self._live:
            self._live[report.key.account] = None
            is_new = True
        if (report.venue_ns or report.seen_ns) > self._clock.now_ns() + _DAY_NS:
            self._from_the_future += 1
            return is_new
        moved = self._ledger.report(report)
        if moved is None:
            return is_new
        self._move(report.key.account, moved)
        return True

    def stands_provisionally(self, key: OrderKey) -> bool:
        """Whether this order has filled more than its known trades say: its report is all there is of that."""
        return (key.account, key.symbol, key.order_id) in self._ledger.provisional.keys() | self._ledger.unpriced.keys()

    def balances(self, balances: Balances) -> bool:
        """Take in what the venue said an account holds; whether anything changed."""
        self._live[balances.account] = None
        wallet = self._wallet(balances.account)
        had_opening = wallet.anchor is not None
        if not wallet.observe(balances):
            return False
        if not had_opening:
            self._open(balances.account)
        return True

    def mark(self, mark: Mark) -> bool:
        """Take in a price; whether anything that can be read changed."""
        is_first = self._prices.last(mark.market) is None
        changed = self._prices.mark(mark)
        if is_first and changed:
            self._open_in(mark.market)
        # A list of all tickers says nothing of what the bot deals in, nor of the currency it counts in.
        return (not mark.in_bulk and self._deal_in(mark.market)) or changed

    def restore(self, marks: Watermarks | None = None, first_marks: Iterable[Mark] = ()) -> None:
        """Go on from what was before a restart. Day's start and peak lapse in another currency than that of equity.

        Args:
            marks: of an earlier run; to be restored after its fills and reports.
            first_marks: the first one ever taken of each market; to be restored before any fill of that market.
        """
        for mark in first_marks:
            self._prices.restore(mark)
        if marks is None:
            return
        self._day_start, self._peak = marks.day_start, marks.peak
        for of in marks.counted:
            self._wallet(of.account).restore(of.opening, of.cut_ns)
            self._rates_before |= {currency: rate for currency, rate in of.rates if rate is not None}
        self._counted = {(of.account, currency) for of in marks.counted for currency, _ in of.rates}

    def watermarks(self) -> Watermarks | None:
        """What `restore` needs; None as long as nothing has been measured in this run."""
        if self._last_priced is None or self._counted is None:
            return None
        counted: list[Counted] = []
        for account in sorted({account for account, _ in self._counted}):
            wallet = self._wallet(account)
            opening = tuple(Money(amount, of) for of, amount in sorted(wallet.opening.items()) if amount)
            rates = tuple((of, self._worth_of_one(of)) for at, of in sorted(self._counted) if at == account)
            counted.append(Counted(account, wallet.cut_ns, opening, rates))
        return Watermarks(self._day_start, self._peak, tuple(counted))

    def snapshot(self) -> PortfolioSnapshot:
        """Everything there is to read, as of now. Sets the day's start and the peak if equity is fully known."""
        now_ns = self._clock.now_ns()
        for account, wallet in self._wallets.items():
            if wallet.check():
                self._open(account)
        positions = tuple(self._position(where) for where in sorted(self._ledger.books))
        listed = tuple(p for p in positions if p is not None)
        contracts = [b for _, b in sorted(self._ledger.books.items()) if b.market.settle is not None]
        valued = valuation(
            wallets={account: self._wallet(account) for account in self._live},
            contracts=contracts,
            prices=self._prices,
            currency=self._currency,
            dealt_in=self._dealt_in,
            at_ns=now_ns,
        )
        equity = valued.equity
        if equity.is_priced and equity.value is not None:
            self._take_out_flows(valued.counted)
            self._day_start = performance.day_start_after(self._day_start, equity, self._last_priced)
            self._peak = performance.peak_after(self._peak, equity)
            self._last_priced = equity
        ledger = self._ledger
        return PortfolioSnapshot(
            at_ns=now_ns,
            currency=self._currency,
            positions=listed,
            realized=_totals((p.account, p.quote, p.realized) for p in listed),
            unrealized=_totals((p.account, p.quote, p.unrealized) for p in listed),
            fees=tuple(Total(account, of, shown(amount)) for (account, of), amount in sorted(ledger.fees.items())),
            equity=equity,
            unvalued=valued.unvalued,
            flows=tuple(Total(*listed, shown(amount)) for listed, amount in sorted(self._flows.items())),
            day_start=self._day_start,
            peak=self._peak,
            daily_pnl=performance.daily_pnl(self._day_start, equity),
            daily_loss_ratio=performance.daily_loss_ratio(self._day_start, equity),
            drawdown_ratio=performance.drawdown_ratio(self._peak, equity),
            unvalued_fees=tuple(ledger.unvalued[listed_as] for listed_as in sorted(ledger.unvalued)),
            corrections=tuple(ledger.corrections),
            corrections_total=ledger.corrected,
            refused_fills=ledger.refused + self._from_the_future,
            refused_marks=self._prices.refused,
            incomplete=self._incomplete(listed),
            fills=ledger.fills,
            counts=tuple(FillCount(*counted, count) for counted, count in sorted(ledger.counts.items())),
        )

    def _take_out_flows(self, counted: Set[tuple[str, str]]) -> None:
        """Have the day's start and the peak rest on what equity counts now: what came to it or left it is no profit.

        That is an account or a currency that counts from now on, or no longer, and what was moved while nobody watched.
        """
        before, self._counted = self._counted, counted
        if before is None:
            return
        flows = {of: self._began_with(*of) for of in counted - before}
        flows |= {of: self._began_with(*of).copy_negate() for of in before - counted}
        for account in self._live:
            wallet = self._wallet(account)
            meanwhile, wallet.moved_meanwhile = wallet.moved_meanwhile, {}
            found = {(account, of): meanwhile[of] for of in meanwhile if (account, of) in counted}
            if performance.is_flow(found.values()):
                self._flows |= found
                flows |= {of: add(flows.get(of, ZERO), amount) for of, amount in found.items()}
            else:
                self._unseen_trades |= found
        worth = total(
            multiply(amount, self._worth_of_one(currency) or ZERO) for (_, currency), amount in flows.items() if amount
        )
        if worth:
            self._day_start = performance.start_with(self._day_start, worth)
            self._peak = performance.peak_with(self._peak, worth)
            self._last_priced = performance.equity_with(self._last_priced, worth)

    def _worth_of_one(self, currency: str) -> Decimal | None:
        """One of a currency in the reporting currency: as of now, else as of an earlier run."""
        rate = self._prices.rate(currency, self._currency or "")
        return self._rates_before.get(currency) if rate is None else rate.value

    def _began_with(self, account: str, currency: str) -> Decimal:
        """What the account held of it before this run booked anything: by the earlier run's books, else as was said."""
        wallet = self._wallet(account)
        before = wallet.anchored if wallet.before is None else wallet.before
        return before.get(currency, ZERO)

    def _rate_then(self, currency: str, quote: str, venue_ns: int) -> Decimal | None:
        rate = self._prices.rate(currency, quote)
        if rate is None or abs(rate.at_ns - venue_ns) > FEE_RATE_WITHIN_NS:
            return None
        return rate.value

    def _wallet(self, account: str) -> Wallet:
        wallet = self._wallets.get(account)
        if wallet is None:
            wallet = self._wallets[account] = Wallet(account, self._ledger)
        return wallet

    def _deal_in(self, symbol: str) -> bool:
        """Count a market among those that the bot deals in; whether it was new."""
        if symbol in self._markets:
            return False
        market = market_of(symbol)
        if market is None:
            return False
        self._markets.add(symbol)
        self._dealt_in.update(market.currencies)
        if self._currency is None:
            self._currency = market.quote
        if market.settle is None:
            self._spot.setdefault(market.base, {})[symbol] = market
            self._open_in(symbol)
        return True

    def _move(self, account: str, moved: tuple[Movement, ...]) -> None:
        wallet = self._wallet(account)
        for movement in moved:
            if wallet.move(movement):
                for currency, change in movement.changes:
                    self._open_of(account, currency)
                    if (unseen := self._unseen_trades.get((account, currency))) is not None:
                        self._unseen_trades[(account, currency)] = subtract(unseen, change)

    def _open(self, account: str) -> None:
        for base in self._spot:
            self._open_of(account, base)

    def _open_in(self, symbol: str) -> None:
        market = market_of(symbol)
        if market is not None and market.settle is None:
            for account in self._wallets:
                self._open_of(account, market.base)

    def _open_of(self, account: str, base: str) -> None:
        """Open the book that stands for what the account held of a currency before its first fill.

        One book alone, or it would be counted twice: that of the market in the reporting currency, else the first by
        name. Once fills have been folded into its opening, the book keeps it.
        """
        wallet, markets = self._wallet(account), self._spot.get(base)
        if wallet.anchor is None or not markets:
            return
        amount = wallet.opening.get(base, ZERO)
        market = min(markets.values(), key=lambda candidate: (candidate.quote != self._currency, candidate.symbol))
        before = self._opened_in.get((account, base))
        if before is not None and before != market.symbol:
            book = self._ledger.book(account, markets[before])
            if book.can_reopen:
                book.open_with(ZERO, None)
            else:
                market = book.market
        if not amount and (account, market.symbol) not in self._ledger.books:
            return
        self._opened_in[(account, base)] = market.symbol
        self._ledger.book(account, market).open_with(amount, self._prices.first(market.symbol))

    def _position(self, where: tuple[str, str]) -> PositionReading | None:
        book = self._ledger.books[where]
        if not book.is_used and not book.opening:
            return None
        price = self._prices.last(book.market.symbol)
        state = (book.version, None, False) if price is None else (book.version, price.value, price.is_stale)
        cached = self._read.get(where)
        if cached is not None and cached[0] == state:
            return cached[1]
        reading = _reading(book, price)
        self._read[where] = (state, reading)
        return reading

    def _incomplete(self, positions: tuple[PositionReading, ...]) -> tuple[str, ...]:
        ledger = self._ledger
        unseen = sorted(self._unseen_trades.items())
        reasons = [
            f"{p.account} {p.symbol}: what it held before its first fill has no known cost"
            for p in positions
            if p.realized is None
        ]
        if ledger.provisional:
            reasons.append(f"{_orders(ledger.provisional)} booked as reported, without fees, until the trades are seen")
        if ledger.unpriced:
            reasons.append(f"{_orders(ledger.unpriced)} filled, but neither trades nor a price and side are known")
        for unvalued in ledger.unvalued.values():
            amount = plain(unvalued.amount)
            reasons.append(
                f"{unvalued.account}: fees of {amount} {unvalued.currency} ({unvalued.fills} fills) are not valued:"
                f" no price in {unvalued.quote} was known then"
            )
        if ledger.corrected:
            reasons.append(f"{ledger.corrected} fills came more than 7 days late and were booked as corrections")
        if any(self._unseen_trades.values()):
            said = ", ".join(f"{account} {plain(shown(amount))} {of}" for (account, of), amount in unseen if amount)
            reasons.append(f"trades before the start were not seen: {said}; they count in profit or loss, at no price")
        refused = ledger.refused + self._from_the_future
        if refused:
            reasons.append(f"{refused} fills or reports could not be booked: no market, number or time to book")
        if ledger.undecidable:
            reasons.append(f"{ledger.undecidable} fills or reports are too old to tell whether they had been booked")
        return tuple(reasons)


def _reading(book: Book, price: Rate | None) -> PositionReading:
    holding = book.holding()
    is_costed = holding.cost_from is not None
    unrealized: Decimal | None = None
    if not holding.amount:
        unrealized = ZERO
    elif is_costed and price is not None:
        unrealized = shown(subtract(multiply(holding.amount, price.value), holding.cost_held))
    return PositionReading(
        account=book.account,
        symbol=book.market.symbol,
        quote=book.market.quote,
        amount=holding.amount,
        cost=shown(holding.cost.copy_abs()) if is_costed else None,
        quantity=holding.quantity.copy_abs(),
        average=shown(divide(holding.cost, holding.quantity)) if is_costed and holding.amount else None,
        realized=None if holding.realized is None else shown(holding.realized),
        unrealized=unrealized,
        cost_from=holding.cost_from,
        price=None if price is None else price.value,
        price_is_stale=price is not None and price.is_stale,
    )


def _totals(parts: Iterable[tuple[str, str, Decimal | None]]) -> tuple[Total, ...]:
    sums: dict[tuple[str, str], Decimal | None] = {}
    for account, currency, amount in parts:
        before = sums.get((account, currency), ZERO)
        sums[(account, currency)] = None if before is None or amount is None else add(before, amount)
    return tuple(Total(account, currency, amount) for (account, currency), amount in sorted(sums.items(), key=_name))


def _name(item: tuple[tuple[str, str], Decimal | None]) -> tuple[str, str]:
    return item[0]


def _orders(listed: Mapping[tuple[str, str, str], None]) -> str:
    account, symbol, order_id = next(iter(listed))
    first = f"{account} {symbol} order {order_id}"
    return f"{first} is" if len(listed) == 1 else f"{first} and {len(listed) - 1} more orders are"
