"""What a fill, an ended order or a payment does to an account: wallet, incomes, journal, and its news."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tradewatch.paper.feed import ContractChanged, Feed
from tradewatch.paper.fees import fee_of
from tradewatch.paper.market import Market
from tradewatch.paper.matching import Take
from tradewatch.paper.orders import Role
from tradewatch.paper.perpetual.account import Wallet
from tradewatch.paper.perpetual.books import Line
from tradewatch.paper.perpetual.values import (
    AccountNews,
    Conditional,
    ConditionalStatus,
    Fill,
    Income,
    IncomeKind,
    Order,
    OrderNews,
    Status,
    Terms,
)
from tradewatch.paper.settlement import FIRST_TRADE_ID


class Settlement:
    """Moves money and numbers fills and incomes; one for an exchange.

    Attributes:
        lines: the journal that the books are kept from.
    """

    def __init__(self, markets: Mapping[str, Market], terms: Terms, feed: Feed) -> None:
        self._markets = markets
        self._terms = terms
        self._feed = feed
        self._last_trade_id = dict.fromkeys(markets, FIRST_TRADE_ID - 1)
        self._last_income_id = 0
        self.lines: list[Line] = []

    def open(self, wallet: Wallet, order: Order) -> None:
        """Put an order into the book."""
        wallet.by_client[order.symbol, order.client_id] = order.order_id
        wallet.keep(order)
        wallet.updated_ns = order.updated_ns
        self._tell(wallet, OrderNews("NEW", order), order.updated_ns)

    def fill(self, wallet: Wallet, order: Order, take: Take, role: Role, at_ns: int) -> Order:
        """Fill an order as far as it takes."""
        price, quantity = take.price, take.quantity
        amount = self._markets[order.symbol].instrument.notional(price, quantity)
        fee = fee_of(self._terms.maker if role == "maker" else self._terms.taker, amount)
        realised = wallet.apply(order.symbol, order.side, price, quantity, at_ns)
        wallet.balance -= fee
        self._last_trade_id[order.symbol] += 1
        fill = Fill(
            trade_id=self._last_trade_id[order.symbol],
            order_id=order.order_id,
            symbol=order.symbol,
            side=order.side,
            price=price,
            quantity=quantity,
            quote_amount=amount,
            fee=fee,
            realised=realised,
            role=role,
            at_ns=at_ns,
        )
        filled = msgspec.structs.replace(
            order,
            status="FILLED" if quantity == order.left else "PARTIALLY_FILLED",
            executed=order.executed + quantity,
            quote_executed=order.quote_executed + amount,
            updated_ns=at_ns,
        )
        wallet.keep(filled)
        wallet.fills.append(fill)
        wallet.updated_ns = at_ns
        self.lines.append(Line(wallet.account.name, fill))
        if realised:
            self._note(wallet, "REALIZED_PNL", order.symbol, realised, at_ns=at_ns, trade_id=fill.trade_id)
        self._note(wallet, "COMMISSION", order.symbol, -fee, at_ns=at_ns, trade_id=fill.trade_id)
        self._tell(wallet, AccountNews("ORDER", (order.symbol,)), at_ns)
        self._tell(wallet, OrderNews("TRADE", filled, fill), at_ns)
        return filled

    def end(self, wallet: Wallet, order: Order, status: Status, at_ns: int) -> Order:
        """Take an order out of the book."""
        ended = msgspec.structs.replace(order, status=status, updated_ns=at_ns)
        wallet.keep(ended)
        wallet.updated_ns = at_ns
        self._tell(wallet, OrderNews("CANCELED" if status == "CANCELED" else "EXPIRED", ended), at_ns)
        return ended

    def keep(self, wallet: Wallet, placed: Conditional) -> None:
        """Let a conditional order wait."""
        wallet.conditionals[placed.algo_id] = wallet.waiting[placed.algo_id] = placed
        self._tell(wallet, placed, placed.created_ns)

    def change(self, wallet: Wallet, one: Conditional, status: ConditionalStatus, at_ns: int) -> Conditional:
        """A conditional order waits no more."""
        ended = msgspec.structs.replace(one, status=status, updated_ns=at_ns)
        wallet.waiting.pop(one.algo_id, None)
        wallet.conditionals[one.algo_id] = ended
        self._tell(wallet, ended, at_ns)
        return ended

    def earn(self, wallet: Wallet, kind: IncomeKind, symbol: str, amount: int, at_ns: int) -> Income:
        """Pay into the wallet, or out of it, what is no fill."""
        wallet.balance += amount
        wallet.updated_ns = at_ns
        income = self._note(wallet, kind, symbol, amount, at_ns=at_ns)
        self.lines.append(Line(wallet.account.name, income))
        return income

    def _note(
        self, wallet: Wallet, kind: IncomeKind, symbol: str, amount: int, *, at_ns: int, trade_id: int | None = None
    ) -> Income:
        self._last_income_id += 1
        income = Income(self._last_income_id, kind, symbol, amount, at_ns, trade_id)
        wallet.incomes.append(income)
        return income

    def _tell(self, wallet: Wallet, news: object, at_ns: int) -> None:
        if self._feed.is_heard:
            self._feed.publish(ContractChanged(wallet.account.name, news, at_ns))
