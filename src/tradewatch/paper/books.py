"""Books by average cost, from the journal alone and exact: the figures to hold other accounting against.

The rule, per account and symbol, with a signed amount:

- A buy of quantity q at price p adds q - f_b at a cost of q * p + f_q, where f_b is the fee in base and f_q in quote.
- A sell disposes of q + f_b for proceeds of q * p - f_q; realised += proceeds - average * disposed.
- A fee in a third currency is a disposal of that currency at its mid against the quote if the venue trades it, its
  value counted as f_q of the trade. Without such a market it is unvalued: no part of f_q, and listed.
- A fill through zero closes first and then opens, fees pro rata by quantity.
- A deposit of base adds at the mid of the first listed market with that base; a withdrawal and its fee take away at
  the average, so neither is profit or loss.
- Base held at the start is a position of the first listed market with that base, at the symbol's opening mark.

Realised is net of fees. Nothing here is shared with the exchange's own bookkeeping. A position's average and realised
profit are whole numbers over one common denominator that is never reduced: as exact as `Fraction`, whose greatest
common divisors made 4,000 trades take 3.5 s to book; this takes 0.1 s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction

import msgspec

from tradewatch.paper.exchange import Exchange
from tradewatch.paper.instrument import Instrument
from tradewatch.paper.journal import Booked, Journal, Moved
from tradewatch.paper.units import ONE


class Position(msgspec.Struct, frozen=True):
    """A signed amount in units of 10^-8 base; average and realised as whole numbers over `denominator`.

    The average is in 10^-8 quote per base, realised in 10^-16 quote.
    """

    amount: int = 0
    average_over: int = 0
    realised_over: int = 0
    denominator: int = 1

    @property
    def average(self) -> Fraction:
        """Average cost in quote per base; 0 when flat."""
        return Fraction(self.average_over, self.denominator * ONE)

    @property
    def realised(self) -> Fraction:
        """Realised profit in quote, net of fees."""
        return Fraction(self.realised_over, self.denominator * ONE * ONE)


class AccountBooks(msgspec.Struct):
    """One account: positions by venue symbol; fees by currency, and those that had no price, in units of 10^-8."""

    positions: dict[str, Position]
    fees: dict[str, int]
    unvalued_fees: dict[str, int]


class Books:
    """The books of all accounts; trades are worked in when the books are read, so trading itself stays quick.

    Args:
        instruments: by venue symbol, in the venue's order.
        journal: what is booked; read, never written.
    """

    def __init__(self, instruments: Mapping[str, Instrument], journal: Journal) -> None:
        self._instruments = instruments
        self._journal = journal
        self._booked = 0
        self._opened: set[str] = set()
        self._accounts = {name: AccountBooks({}, {}, {}) for name in journal.opening}

    def read(self) -> Mapping[str, AccountBooks]:
        """The books up to the last trade of the journal."""
        for line in self._journal.lines[self._booked :]:
            if isinstance(line, Booked):
                self._book(line)
            else:
                self._move(line)
        self._booked = len(self._journal.lines)
        self._open(self._journal.opening_marks)
        return self._accounts

    def _open(self, symbols: Iterable[str]) -> None:
        """Cost the opening balances of symbols whose opening mark is known by now."""
        for symbol in symbols:
            if symbol in self._opened or symbol not in self._journal.opening_marks:
                continue
            self._opened.add(symbol)
            base = self._instruments[symbol].base
            if symbol != next(name for name, traded in self._instruments.items() if traded.base == base):
                continue
            mark = self._journal.opening_marks[symbol].mid
            for name, opening in self._journal.opening.items():
                if opening.get(base):
                    self._accounts[name].positions[symbol] = Position(opening[base], mark)

    def _book(self, booked: Booked) -> None:
        trade, account = booked.trade, self._accounts[booked.account]
        instrument = self._instruments[trade.symbol]
        self._open(booked.mids)
        quantity, fee, currency = trade.quantity, trade.fee, trade.fee_currency
        account.fees[currency] = account.fees.get(currency, 0) + fee
        base_fee = fee if currency == instrument.base else 0
        quote_fee = fee * ONE if currency == instrument.quote else 0  # in 10^-16 quote, as all values here
        if fee and currency not in (instrument.base, instrument.quote):
            symbol = f"{currency}{instrument.quote}"
            if symbol in booked.mids:
                quote_fee = fee * booked.mids[symbol]
                account.positions[symbol] = changed(account.positions.get(symbol, Position()), -fee, quote_fee)
            else:
                account.unvalued_fees[currency] = account.unvalued_fees.get(currency, 0) + fee
        position = account.positions.get(trade.symbol, Position())
        value = quantity * trade.price
        if trade.side == "BUY":
            position = changed(position, quantity - base_fee, value + quote_fee)
        else:
            position = changed(position, -(quantity + base_fee), value - quote_fee)
        account.positions[trade.symbol] = position

    def _move(self, moved: Moved) -> None:
        if moved.mid is None:
            return
        (symbol, mid), transfer = moved.mid, moved.transfer
        self._open([symbol])
        positions = self._accounts[moved.account].positions
        position = positions.get(symbol, Position())
        if transfer.kind == "deposit":
            positions[symbol] = changed(position, transfer.amount - transfer.fee, transfer.amount * mid)
        else:
            left = position.amount - transfer.amount - transfer.fee
            positions[symbol] = msgspec.structs.replace(
                position, amount=left, average_over=position.average_over if left else 0
            )


def changed(position: Position, delta: int, value: int) -> Position:
    """A position after `delta` of base, bought (above zero) at a cost of `value` or sold for proceeds of `value`.

    Args:
        position: before.
        delta: signed, in units of 10^-8 base, not zero.
        value: in units of 10^-16 quote.
    """
    amount, average, realised, over = (
        position.amount,
        position.average_over,
        position.realised_over,
        position.denominator,
    )
    if amount * delta >= 0:
        total = abs(amount + delta)
        return Position(amount + delta, abs(amount) * average + value * over, realised * total, over * total)
    sign = 1 if amount > 0 else -1
    left = amount + delta
    if left * amount >= 0:
        realised += sign * (value * over + delta * sign * average)
        return Position(left, average if left else 0, realised, over)
    # Through zero: the part that closes takes its share of the value, the rest opens at the same unit price.
    size = abs(delta)
    realised = realised * size + sign * abs(amount) * (value * over - size * average)
    return Position(left, value * over, realised, over * size)


def books_of(exchange: Exchange) -> Books:
    """The books of an exchange."""
    return Books({symbol: market.instrument for symbol, market in exchange.markets.items()}, exchange.journal)
