"""Books as people read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from tradewatch.portfolio import book as books
from tradewatch.portfolio.arithmetic import ZERO, add, divide, multiply, plain, shown, subtract
from tradewatch.portfolio.book import Book
from tradewatch.portfolio.ledger import Ledger
from tradewatch.portfolio.prices import Rate
from tradewatch.portfolio.readings import PositionReading, Total


def position(book: Book, price: Rate | None) -> PositionReading:
    """What a book holds, by the market's last price."""
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


def totals(parts: Iterable[tuple[str, str, Decimal | None]]) -> tuple[Total, ...]:
    """Sums by account and currency; None where a part is."""
    sums: dict[tuple[str, str], Decimal | None] = {}
    for account, currency, amount in parts:
        before = sums.get((account, currency), ZERO)
        sums[(account, currency)] = None if before is None or amount is None else add(before, amount)
    return tuple(Total(account, currency, amount) for (account, currency), amount in sorted(sums.items(), key=_name))


def incomplete(
    ledger: Ledger, positions: Iterable[PositionReading], unseen: Iterable[Total], from_the_future: int
) -> tuple[str, ...]:
    """Why the figures may not be the whole truth.

    Args:
        ledger: the books.
        positions: what they hold.
        unseen: what balances say was traded while nobody watched.
        from_the_future: how many fills and reports were refused for their time.
    """
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
        reasons.append(
            f"{unvalued.account}: fees of {plain(unvalued.amount)} {unvalued.currency} ({unvalued.fills} fills) are not"
            f" valued: no price in {unvalued.quote} was known then"
        )
    if ledger.corrected:
        reasons.append(
            f"{ledger.corrected} fills came more than 7 days, or {books.KEPT_FILLS:,} fills of their market, late and"
            " were booked as corrections"
        )
    reasons += [
        f"{account}: nobody reads what contracts pay for funding, nor what comes and goes of {settle}: equity and the "
        "day's loss leave it out"
        for account, settle in sorted(
            {
                (account, each.market.settle)
                for (account, _), each in ledger.books.items()
                if each.market.settle is not None
            }
        )
    ]
    said = ", ".join(f"{each.account} {plain(each.amount)} {each.currency}" for each in unseen if each.amount)
    if said:
        reasons.append(f"trades before the start were not seen: {said}; they count in profit or loss, at no price")
    refused = ledger.refused + from_the_future
    if refused:
        reasons.append(f"{refused} fills or reports could not be booked: no market, number or time to book")
    if ledger.undecidable:
        reasons.append(f"{ledger.undecidable} fills or reports are too old to tell whether they had been booked")
    return tuple(reasons)


def _name(item: tuple[tuple[str, str], Decimal | None]) -> tuple[str, str]:
    return item[0]


def _orders(listed: Mapping[tuple[str, str, str], None]) -> str:
    account, symbol, order_id = next(iter(listed))
    first = f"{account} {symbol} order {order_id}"
    return f"{first} is" if len(listed) == 1 else f"{first} and {len(listed) - 1} more orders are"
