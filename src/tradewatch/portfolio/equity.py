"""Equity in one currency: what the accounts hold, times what each currency is worth now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from decimal import Decimal

import msgspec

from tradewatch.model import Equity
from tradewatch.portfolio.arithmetic import ZERO, add, multiply, plain, shown, subtract
from tradewatch.portfolio.book import Book
from tradewatch.portfolio.prices import MAX_AGE_S, Prices
from tradewatch.portfolio.readings import Total
from tradewatch.portfolio.wallet import Wallet

BALANCES_NOT_SEEN = "balances not seen yet: the bot has not called fetch_balance"
BALANCES_WAIT = "the first balances hold nothing of what was held before: they wait for a second fetch_balance"

NO_MARKET_SEEN = "no market seen yet: it says what counts, and in what currency"


class Valuation(msgspec.Struct, frozen=True):
    """Equity, the balances that are not in it since the bot deals in no market of theirs, and those that are.

    `counted` are account and currency of what is summed, also where nothing is held of it.
    """

    equity: Equity
    unvalued: tuple[Total, ...]
    counted: frozenset[tuple[str, str]]


def valuation(
    *,
    wallets: Mapping[str, Wallet],
    contracts: Iterable[Book],
    prices: Prices,
    currency: str | None,
    dealt_in: Set[str],
    at_ns: int,
) -> Valuation:
    """The worth of all accounts together.

    Args:
        wallets: by account, one for each that the bot uses.
        contracts: the books of contract markets. Of one that settles in its quote currency, the result since the
            first balances counts, realised and unrealised; others are named as not counted.
        prices: where rates come from.
        currency: what equity is in; None while no market has been seen.
        dealt_in: the currencies that count. What else is held is listed, not summed.
        at_ns: the time of the reading.

    Returns:
        A value of None where balances or the price of something held are not known; where a price is old, or the
        venue's balances differ from the books, the value of the books with `stale` saying so.
    """
    many = len(wallets) > 1
    missing: list[str] = []
    stale: list[str] = []
    held: dict[str, Decimal] = {}
    unvalued: list[Total] = []
    counted: set[tuple[str, str]] = set()
    if not wallets:
        missing.append(BALANCES_NOT_SEEN)
    for account in sorted(wallets):
        wallet = wallets[account]
        where = f"{account}: " if many else ""
        if wallet.anchor is None:
            missing.append(where + (BALANCES_WAIT if wallet.waits else BALANCES_NOT_SEEN))
            continue
        for of in sorted(wallet.currencies()):
            amount = wallet.amount(of)
            if of in dealt_in or of == currency:
                counted.add((account, of))
                held[of] = add(held.get(of, ZERO), amount)
            elif amount:
                unvalued.append(Total(account, of, shown(amount)))
        for of in sorted(wallet.differences.keys() & (dealt_in | {currency or ""})):
            difference = plain(shown(wallet.differences[of]))
            stale.append(f"{where}{of}: the venue's balance differs from the books by {difference}")
    if wallets and (currency is None or (unvalued and not dealt_in)):
        missing.append(NO_MARKET_SEEN)
    differing, stale = stale, []
    for book in contracts:
        _add_contract(book, wallets=wallets, prices=prices, held=held, missing=missing, stale=stale)
    value = ZERO
    for of, amount in sorted(held.items()):
        if not amount:
            continue
        rate = prices.rate(of, currency) if currency is not None else None
        if rate is None:
            missing.append(f"{of}: no price in {currency or 'any currency'}")
            continue
        if rate.is_stale:
            stale.append(f"{of}: price older than {MAX_AGE_S} s")
        elif rate.is_doubted:
            stale.append(f"{of}: a price far from the last one waits for a second")
        value = add(value, multiply(amount, rate.value))
    known = None if missing else shown(value)
    is_priced = not missing and not stale
    equity = Equity(known, currency, (*missing, *differing, *stale), at_ns, is_priced)
    return Valuation(equity, tuple(unvalued), frozenset(counted))


def _add_contract(
    book: Book,
    *,
    wallets: Mapping[str, Wallet],
    prices: Prices,
    held: dict[str, Decimal],
    missing: list[str],
    stale: list[str],
) -> None:
    symbol, quote = book.market.symbol, book.market.quote
    wallet = wallets.get(book.account)
    holding = book.holding()
    if wallet is None or wallet.anchor is None:
        return
    if book.market.settle != quote:
        stale.append(f"{symbol}: settles in {book.market.settle}, which equity does not count")
        return
    worth = ZERO
    if holding.amount:
        price = prices.last(symbol)
        if price is None:
            missing.append(f"{symbol}: no price")
            return
        if price.is_stale:
            stale.append(f"{symbol}: price older than {MAX_AGE_S} s")
        elif price.is_doubted:
            stale.append(f"{symbol}: a price far from the last one waits for a second")
        worth = multiply(holding.amount, price.value)
    before = book.holding_at(wallet.cut_ns).realized or ZERO
    result = subtract(add(holding.cash, worth), before)
    held[quote] = add(held.get(quote, ZERO), result)
