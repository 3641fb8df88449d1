"""What a fill, an ended order or a transfer does to an account: holdings, fee, statement, journal, and its news."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import msgspec

from tradewatch.paper import units
from tradewatch.paper.accounts import Entry, EntryKind, Holding, State, Transfer
from tradewatch.paper.errors import Refusal
from tradewatch.paper.feed import BalancesChanged, Change, Feed, OrderChanged
from tradewatch.paper.fees import Fees, fee_of, third_fee
from tradewatch.paper.instrument import Instrument
from tradewatch.paper.journal import Journal
from tradewatch.paper.market import Market
from tradewatch.paper.matching import Take
from tradewatch.paper.orders import Order, Role, Status, Trade

FIRST_TRADE_ID = 1_000_000_000  # own trades; ids below are the recorded tape's


class Settlement:
    """Moves money and numbers trades, statement lines and transfers; one for an exchange."""

    def __init__(self, markets: Mapping[str, Market], fees: Fees, journal: Journal, feed: Feed) -> None:
        self._markets = markets
        self._fees = fees
        self._journal = journal
        self._feed = feed
        self._last_trade_id = dict.fromkeys(markets, FIRST_TRADE_ID - 1)
        self._last_entry_id = 0
        self._last_transfer_id = 0

    def fill(self, state: State, order: Order, take: Take, role: Role, at_ns: int, *, keeps: int) -> Trade:
        """Fill an order as far as it takes; `keeps` stays locked for the rest."""
        instrument, price, quantity = self._markets[order.symbol].instrument, take.price, take.quantity
        amount = instrument.notional(price, quantity)
        buys = order.side == "BUY"
        gives, given = (instrument.quote, amount) if buys else (instrument.base, quantity)
        gets, got = (instrument.base, quantity) if buys else (instrument.quote, amount)
        state.reserve(gives, keeps - order.reserved)
        state.holdings[gives].free -= given
        state.holdings[gets].free += got
        rate = self._fees.maker if role == "maker" else self._fees.taker
        fee_currency, fee = self._fee(
            state, instrument, order, quantity=quantity, amount=amount, rate=rate, at_ns=at_ns
        )
        state.holdings[fee_currency].free -= fee
        self._last_trade_id[order.symbol] += 1
        trade = Trade(
            trade_id=self._last_trade_id[order.symbol],
            order_id=order.order_id,
            client_id=order.client_id,
            symbol=order.symbol,
            side=order.side,
            price=price,
            quantity=quantity,
            quote_amount=amount,
            fee=fee,
            fee_currency=fee_currency,
            role=role,
            at_ns=at_ns,
        )
        filled = msgspec.structs.replace(
            order,
            status="FILLED" if quantity == order.left else "PARTIALLY_FILLED",
            executed=order.executed + quantity,
            quote_executed=order.quote_executed + amount,
            updated_ns=at_ns,
            reserved=keeps,
        )
        state.keep(filled)
        state.trades.append(trade)
        state.updated_ns = at_ns
        mids = {symbol: market.quote(at_ns).mid for symbol, market in self._priced(instrument, fee_currency)}
        self._journal.traded(state.account.name, trade, mids)
        self.tell(state, "trade", filled, (), at_ns, trade=trade)
        moved = {gives: (-given, 0), gets: (got, 0)}
        moved[fee_currency] = moved.get(fee_currency, (0, 0))[0], fee
        self._enter(state, "trade", trade.trade_id, moved, at_ns=at_ns, symbol=order.symbol)
        return trade

    def end(
        self,
        state: State,
        order: Order,
        status: Status,
        at_ns: int,
        *,
        change: Change,
        reason: str | None = None,
        cancel_id: str | None = None,
    ) -> Order:
        """Take an order out of the book and free what it had reserved."""
        instrument = self._markets[order.symbol].instrument
        currency = instrument.quote if order.side == "BUY" else instrument.base
        state.reserve(currency, -order.reserved)
        ended = msgspec.structs.replace(order, status=status, updated_ns=at_ns, reserved=0)
        state.keep(ended)
        state.updated_ns = at_ns
        self.tell(
            state, change, ended, (currency,) if order.reserved else (), at_ns, reason=reason, cancel_id=cancel_id
        )
        return ended

    def transfer(self, state: State, currency: str, amount: int, fee: int, at_ns: int) -> Transfer:
        """Move money in (`amount` above zero) or out (below); the fee is paid on top.

        Raises:
            Refusal: unknown_currency, insufficient_balance.
        """
        held = state.holdings.get(currency)
        if held is None:
            raise Refusal("unknown_currency")
        if held.free + amount - fee < 0:
            raise Refusal("insufficient_balance")
        held.free += amount - fee
        self._last_transfer_id += 1
        kind: Literal["deposit", "withdrawal"] = "deposit" if amount > 0 else "withdrawal"
        transfer = Transfer(self._last_transfer_id, kind, currency, abs(amount), fee, at_ns)
        state.transfers.append(transfer)
        state.updated_ns = at_ns
        self._journal.moved(state.account.name, transfer, self._mid_of(currency, at_ns))
        self._enter(state, kind, transfer.transfer_id, {currency: (amount, fee)}, at_ns=at_ns)
        return transfer

    def tell(
        self,
        state: State,
        change: Change,
        order: Order,
        currencies: Iterable[str],
        at_ns: int,
        *,
        trade: Trade | None = None,
        reason: str | None = None,
        cancel_id: str | None = None,
    ) -> None:
        """The news of an order, and of currencies in which money was locked or freed for it."""
        if self._feed.is_heard:
            self._feed.publish(OrderChanged(state.account.name, change, order, at_ns, trade, reason, cancel_id))
            self._tell_balances(state, list(currencies), (), at_ns)

    def _enter(
        self,
        state: State,
        kind: EntryKind,
        reference: int,
        moved: Mapping[str, tuple[int, int]],
        *,
        at_ns: int,
        symbol: str | None = None,
    ) -> None:
        """Write what moved, by currency with its fee, into the statement, and say so."""
        entries = []
        for currency, (amount, fee) in moved.items():
            self._last_entry_id += 1
            entries.append(
                Entry(self._last_entry_id, kind, reference, currency, amount, fee, state.total(currency), at_ns, symbol)
            )
        state.statement += entries
        self._tell_balances(state, list(moved), tuple(entries), at_ns)

    def _tell_balances(self, state: State, currencies: list[str], entries: tuple[Entry, ...], at_ns: int) -> None:
        if self._feed.is_heard and currencies:
            held = {name: Holding(state.holdings[name].free, state.holdings[name].locked) for name in currencies}
            self._feed.publish(BalancesChanged(state.account.name, held, entries, at_ns))

    def _fee(
        self, state: State, instrument: Instrument, order: Order, *, quantity: int, amount: int, rate: int, at_ns: int
    ) -> tuple[str, int]:
        buys = order.side == "BUY"
        gets = instrument.base if buys else instrument.quote
        third = self._fees.third
        if third is not None and third.currency != gets:
            traded = self._markets.get(f"{third.currency}{instrument.quote}")
            price = units.ONE if third.currency == instrument.quote else third.price
            if traded is not None:
                price = traded.quote(at_ns).mid
            if price is not None:
                fee = third_fee(rate, third, amount, price)
                if state.holdings[third.currency].free >= fee:
                    return third.currency, fee
        in_base = buys if order.fee_in == "received" else order.fee_in == "base"
        return (instrument.base, fee_of(rate, quantity)) if in_base else (instrument.quote, fee_of(rate, amount))

    def _priced(self, instrument: Instrument, fee_currency: str) -> Iterator[tuple[str, Market]]:
        """The markets whose mid the books need with a fill: its own, and the one that values a third-currency fee."""
        yield instrument.id, self._markets[instrument.id]
        if fee_currency not in (instrument.base, instrument.quote):
            symbol = f"{fee_currency}{instrument.quote}"
            if symbol in self._markets:
                yield symbol, self._markets[symbol]

    def _mid_of(self, currency: str, at_ns: int) -> tuple[str, int] | None:
        """Id and mid of the first market whose base a currency is."""
        for symbol, market in self._markets.items():
            if market.instrument.base == currency:
                return symbol, market.quote(at_ns).mid
        return None
