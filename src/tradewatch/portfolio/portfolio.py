"""The portfolio: fills, order reports, balances and marks in; what is held, earned and lost out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from decimal import Decimal

import msgspec

from tradewatch.model import Balances, Clock, Equity, Fill, Mark, Money, OrderKey, OrderReport
from tradewatch.portfolio import flows, performance
from tradewatch.portfolio.arithmetic import ZERO, add, multiply, shown, subtract, total
from tradewatch.portfolio.equity import valuation
from tradewatch.portfolio.ledger import Ledger, Movement
from tradewatch.portfolio.market import Market, market_of
from tradewatch.portfolio.positions import incomplete, position, totals
from tradewatch.portfolio.prices import Prices
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

    Attributes:
        remeasured: how often what losses are measured from became another in a way that must survive a kill: another
            day's start, other things counted, a flow taken out.

    Args:
        clock: the time that ages and days are read from.
        currency: what equity is in; None takes that of an earlier run, else the quote currency of the first market.
    """

    def __init__(self, clock: Clock, currency: str | None = None) -> None:
        self.remeasured = 0
        self._clock = clock
        self._currency = currency
        self._currency_is_set = currency is not None
        self._ledger = Ledger()
        self._prices = Prices(clock)
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
        self._is_measured = False
        # Account and currency of what the day's start and the peak were measured on; None before there are any.
        self._counted: Set[tuple[str, str]] | None = None
        # What of that no longer counts, with how much it was then.
        self._left: dict[tuple[str, str], Decimal] = {}
        # What the first balances of each account said beyond the books of an earlier run.
        self._judged: dict[str, flows.Judged] = {}
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
        of = (key.account, key.symbol, key.order_id)
        return of in self._ledger.provisional or of in self._ledger.unpriced

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
        is_first = mark.market not in self._prices
        changed = self._prices.mark(mark)
        if is_first and changed:
            self._open_in(mark.market)
        # A list of all tickers says nothing of what the bot deals in, nor of the currency it counts in.
        return (not mark.in_bulk and self._deal_in(mark.market)) or changed

    def restore(self, marks: Watermarks | None = None, first_marks: Iterable[Mark] = ()) -> None:
        """Go on from what was before a restart. Day's start and peak lapse in another currency than that of equity.

        Args:
            marks: of an earlier run; to be restored between the fills and reports that it was written after and before.
            first_marks: the first one ever taken of each market; to be restored before any fill of that market.
        """
        for mark in first_marks:
            self._prices.restore(mark)
        if marks is None:
            return
        self._day_start, self._peak, self._last_priced = marks.day_start, marks.peak, marks.last
        if not self._currency_is_set:
            self._currency = marks.currency or self._currency
        for of in marks.counted:
            self._wallet(of.account).restore(of.opening, of.cut_ns)
            self._rates_before |= {currency: rate for currency, rate in of.rates if rate is not None}
        self._counted = {(of.account, currency) for of in marks.counted for currency, _ in of.rates}
        self._dealt_in.update(currency for _, currency in self._counted)
        if marks.last is not None and marks.currency == self._currency:
            for currency, rate in self._rates_before.items():
                self._prices.doubt_by(f"{currency}/{self._currency}", rate, marks.last.at_ns)

    def watermarks(self) -> Watermarks | None:
        """What `restore` needs; None as long as nothing has been measured in this run."""
        if not self._is_measured or self._counted is None:
            return None
        counted: list[Counted] = []
        for account in sorted({account for account, _ in self._counted}):
            wallet = self._wallet(account)
            opening = tuple(Money(amount, of) for of, amount in sorted(wallet.opening.items()) if amount)
            rates = tuple((of, self._worth_of_one(of)) for at, of in sorted(self._counted) if at == account)
            counted.append(Counted(account, wallet.cut_ns, opening, rates))
        return Watermarks(self._day_start, self._peak, tuple(counted), self._currency, self._last_priced)

    @property
    def reopened(self) -> int:
        """How often what an account held before all fills became another."""
        return sum(wallet.reopened for wallet in self._wallets.values())

    def snapshot(self) -> PortfolioSnapshot:
        """Everything there is to read, as of now. Sets the day's start and the peak if equity is fully known."""
        now_ns = self._clock.now_ns()
        for account, wallet in self._wallets.items():
            if wallet.check():
                self.remeasured += 1
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
            self._measure(equity, equity.value, valued.counted)
        ledger = self._ledger
        return PortfolioSnapshot(
            at_ns=now_ns,
            currency=self._currency,
            positions=listed,
            realized=totals((p.account, p.quote, p.realized) for p in listed),
            unrealized=totals((p.account, p.quote, p.unrealized) for p in listed),
            fees=tuple(Total(account, of, shown(amount)) for (account, of), amount in sorted(ledger.fees.items())),
            equity=equity,
            unvalued=valued.unvalued,
            flows=_listed({account: judged.flow for account, judged in self._judged.items()}),
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
            incomplete=incomplete(
                ledger,
                listed,
                _listed({account: judged.trade for account, judged in self._judged.items()}),
                self._from_the_future,
            ),
            fills=ledger.fills,
            counts=tuple(FillCount(*counted, count) for counted, count in sorted(ledger.counts.items())),
        )

    def _measure(self, equity: Equity, value: Decimal, counted: Set[tuple[str, str]]) -> None:
        """Set the day's start and the peak, now that equity is fully known."""
        day = None if self._day_start is None else self._day_start.day
        # Before flows are taken out: they are not in what was known last before midnight either.
        self._day_start = performance.day_start_over_midnight(self._day_start, self._last_priced, equity)
        self._take_out_flows(counted, value)
        self._day_start = performance.day_start_after(self._day_start, equity)
        self._peak = performance.peak_after(self._peak, equity)
        self._last_priced, self._is_measured = equity, True
        if self._day_start is not None and self._day_start.day != day:
            self.remeasured += 1

    def _take_out_flows(self, counted: Set[tuple[str, str]], equity: Decimal) -> None:
        """Have the day's start and the peak rest on what equity counts now, and follow what balances say beyond books.

        What balances say is judged again whenever trades that are told late explain more of it, or more of it counts.
        """
        before, self._counted = self._counted, counted
        begun = frozenset() if before is None else counted - before
        worth = ZERO if before is None else self._worth_of_counting(begun, before - counted)
        fresh: dict[str, tuple[flows.Judged, Decimal]] = {}
        for account in self._live:
            unexplained = self._wallet(account).unexplained()
            amounts = {of: unexplained[of] for of in sorted(unexplained) if (account, of) in counted}
            was = self._judged.get(account, flows.UNJUDGED)
            if amounts == was.amounts:
                continue
            rates = {of: self._worth_of_one(of) or ZERO for of in amounts} | dict(was.rates)
            judged = flows.judged(was, amounts, rates, self._day_start, self._peak)
            if was is flows.UNJUDGED or any((account, of) in begun for of in amounts):
                came = subtract(judged.worth, was.worth)
                fresh[account] = judged, came
                worth = add(worth, came)
            else:
                self._judged[account] = judged
                self._take_out(was.worth, judged.worth, judged.equity, of=judged)
        for account, (judged, came) in fresh.items():
            # All flows of this moment together changed equity: another worth of this one is another equity before them.
            self._judged[account] = msgspec.structs.replace(judged, equity=subtract(equity, subtract(worth, came)))
        self._take_out(ZERO, worth, equity)

    def _worth_of_counting(self, begun: Set[tuple[str, str]], ended: Set[tuple[str, str]]) -> Decimal:
        """The worth of what counts from now on less that of what does not any more, accounts or currencies."""
        moved: list[tuple[str, Decimal]] = []
        for account, of in sorted(begun):
            moved.append((of, self._left.pop((account, of), self._wallet(account).before.get(of, ZERO))))
        for account, of in sorted(ended):
            self._left[(account, of)] = self._wallet(account).amount(of)
            moved.append((of, self._left[(account, of)].copy_negate()))
        if moved:
            self.remeasured += 1
        return total(multiply(amount, self._worth_of_one(of) or ZERO) for of, amount in moved if amount)

    def _take_out(self, was: Decimal, worth: Decimal, equity: Decimal, of: flows.Judged | None = None) -> None:
        """Have the day's start and the peak rest on a flow of this worth, taken for one of `was` before.

        `equity` was measured with the flow in. Of an earlier judgement, what was set after it is left: it has it in.
        """
        if worth == was:
            return
        self.remeasured += 1
        if self._day_start is not None and (of is None or of.day == self._day_start.day):
            self._day_start = flows.day_start_with(self._day_start, was, worth, equity)
        if self._peak is not None and (of is None or of.peak_ns == self._peak.at_ns):
            self._peak = flows.peak_with(self._peak, was, worth, equity)

    def _worth_of_one(self, currency: str) -> Decimal | None:
        """One of a currency in the reporting currency: as of now, else as of an earlier run."""
        rate = self._prices.rate(currency, self._currency or "")
        return self._rates_before.get(currency) if rate is None else rate.value

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
                for currency, _ in movement.changes:
                    self._open_of(account, currency)

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
        reading = position(book, price)
        self._read[where] = (state, reading)
        return reading


def _listed(amounts: Mapping[str, Mapping[str, Decimal]]) -> tuple[Total, ...]:
    """Amounts by account and currency, in order; without those that are none."""
    return tuple(
        Total(account, of, shown(amount))
        for account, by_currency in sorted(amounts.items())
        for of, amount in sorted(by_currency.items())
        if amount
    )
