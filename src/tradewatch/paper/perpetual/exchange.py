"""The perpetual over simulated time: orders, conditional orders, funding and liquidation. No input or output.

Mark and index price are the mid; the path between two vertices is straight, so every instant at which an order is
reached, a trigger is met or an account falls below its maintenance margin is found, not sampled, and does not depend on
when anybody asks. Positions are one-way. `advance` alone moves time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal

import msgspec

from tradewatch.model.clock import Clock
from tradewatch.paper import queue, units
from tradewatch.paper.accounts import Account, Transfer
from tradewatch.paper.errors import Refusal
from tradewatch.paper.feed import ContractChanged, prints_between
from tradewatch.paper.floor import Floor
from tradewatch.paper.market import Market, Quote
from tradewatch.paper.matching import Take
from tradewatch.paper.orders import Role
from tradewatch.paper.perpetual.account import Wallet
from tradewatch.paper.perpetual.admission import admit, admit_conditional, closing_order
from tradewatch.paper.perpetual.books import PerpetualBooks
from tradewatch.paper.perpetual.settlement import Settlement
from tradewatch.paper.perpetual.timeline import first_lost, marks_at, reached, triggered
from tradewatch.paper.perpetual.values import (
    AccountNews,
    Conditional,
    MarginType,
    NewConditional,
    NewOrder,
    Order,
    SettingsNews,
    Terms,
)
from tradewatch.paper.tape import Print


class Perpetual(Floor):
    """Contracts, accounts and one clock.

    Args:
        markets: at least one, all of one quote currency, which is the margin's.
        accounts: at least one, with different keys and names.
        clock: simulated time, within the candles of every market when the exchange is made.
        terms: of every contract.

    Attributes:
        currency: of margin.
        next_funding_ns: when positions pay or are paid next.
        funded: past funding instants with the marks by symbol.
        books: kept beside the exchange.

    Raises:
        ValueError: no market or account, repeated ones, different quotes, a clock outside of the candles.
    """

    def __init__(
        self, markets: Iterable[Market], accounts: Iterable[Account], clock: Clock, terms: Terms | None = None
    ) -> None:
        market_list, account_list = list(markets), list(accounts)
        super().__init__(market_list, account_list, clock)
        quotes = {market.instrument.quote for market in market_list}
        if len(quotes) != 1:
            raise ValueError("a perpetual needs markets of one quote currency")
        self.currency = quotes.pop()
        self.terms = terms or Terms()
        self.next_funding_ns = (self.now_ns // self.terms.funding_interval_ns + 1) * self.terms.funding_interval_ns
        self.funded: list[tuple[int, dict[str, int]]] = []
        self.last_quoted: dict[str, dict[str, Quote]] = {name: {} for name in self.names}
        self._wallets = {one.name: Wallet(one, self.currency, self.terms) for one in account_list}
        self._settlement = Settlement(self.markets, self.terms, self.feed)
        opening = {name: wallet.balance for name, wallet in self._wallets.items()}
        self.books = PerpetualBooks(opening, self._settlement.lines)
        self._last_order_id = 0

    @property
    def funding_rate(self) -> int:
        """Of the next payment, in units of 10^-8."""
        return self.terms.funding_rate

    def advance(self) -> int:
        """Carry everything on to the present, in order of simulated time; returns it."""
        until_ns = max(self.clock.now_ns(), self.now_ns)
        prints = prints_between(self.markets.values(), self.now_ns, until_ns) if self.feed.is_heard else []
        while self.now_ns < until_ns:
            open_ = {order.symbol for wallet in self._wallets.values() for order in wallet.open.values()}
            printed_ns, met = self.next_prints(open_, until_ns)
            at_ns, act = self._next(printed_ns)
            lost_ns = first_lost(self.markets, self._wallets.values(), self.now_ns, at_ns)
            self.now_ns = at_ns if lost_ns is None else lost_ns
            while prints and prints[0].print.at_ns <= self.now_ns:
                self.feed.publish(prints.pop(0))
            if lost_ns is not None:
                self._liquidate()
            elif act is not None:
                act()
            if self.now_ns == printed_ns:
                for symbol, print_ in met:
                    self._meet(symbol, print_)
        for printed in prints:
            self.feed.publish(printed)
        self.publish_quotes()
        return until_ns

    def quoted(self, account: str | None, symbol: str, quote: Quote) -> None:
        """Note that a client was told a symbol's mid: one account's client, or (None) anybody's."""
        for name in self.names if account is None else [account]:
            self.last_quoted[name][symbol] = quote

    def marks(self) -> dict[str, int]:
        """The mark price of every contract at the present."""
        return marks_at(self.markets, self.now_ns)

    def wallet(self, account: str) -> Wallet:
        """An account as it stands; not to be changed."""
        return self._wallets[account]

    def submit(self, account: str, request: NewOrder) -> Order:
        """Place an order; returns it as it stands after matching. A reduce-only one is cut to the position.

        Raises:
            Refusal: unknown symbol, closed market, filter, margin, duplicate client id, reduce-only that would not
                reduce, post-only that would take.
        """
        return self._place(self._wallets[account], request)

    def cancel(self, account: str, symbol: str, order_id: int | None, client_id: str | None) -> Order:
        """Cancel an open order.

        Raises:
            Refusal: order_not_open, unknown_symbol.
        """
        wallet = self._wallets[account]
        self.market(symbol)
        order = wallet.find(symbol, order_id, client_id)
        if order is None or not order.is_open:
            raise Refusal("order_not_open")
        return self._settlement.end(wallet, order, "CANCELED", self.now_ns)

    def cancel_all(self, account: str, symbol: str) -> list[Order]:
        """Cancel every open order of a contract; conditional ones stay."""
        wallet = self._wallets[account]
        self.market(symbol)
        orders = [order for order in wallet.open.values() if order.symbol == symbol]
        return [self._settlement.end(wallet, order, "CANCELED", self.now_ns) for order in orders]

    def order(self, account: str, symbol: str, order_id: int | None, client_id: str | None) -> Order:
        """One order, open or not.

        Raises:
            Refusal: order_not_found, unknown_symbol.
        """
        self.market(symbol)
        order = self._wallets[account].find(symbol, order_id, client_id)
        if order is None:
            raise Refusal("order_not_found")
        return order

    def submit_conditional(self, account: str, request: NewConditional) -> Conditional:
        """Place an order that waits for the mark price.

        Raises:
            Refusal: unknown symbol, closed market, filter, duplicate client id, would_trigger at once.
        """
        wallet = self._wallets[account]
        admit_conditional(request, self.market(request.symbol), wallet, self.now_ns)
        self._last_order_id += 1
        number = self._last_order_id
        placed = Conditional(number, request.client_id or f"paper-{number}", request, self.now_ns, self.now_ns)
        self._settlement.keep(wallet, placed)
        return placed

    def cancel_conditional(self, account: str, algo_id: int | None, client_id: str | None) -> Conditional:
        """Cancel a conditional order that waits.

        Raises:
            Refusal: order_not_open.
        """
        wallet = self._wallets[account]
        found = wallet.find_conditional(algo_id, client_id)
        if found is None or found.status != "NEW":
            raise Refusal("order_not_open")
        return self._settlement.change(wallet, found, "CANCELED", self.now_ns)

    def set_leverage(self, account: str, symbol: str, leverage: int) -> None:
        """Set a contract's leverage.

        Raises:
            Refusal: leverage, outside of 1 to the most; insufficient_margin for the position; unknown_symbol.
        """
        wallet = self._wallets[account]
        self.market(symbol)
        if not 1 <= leverage <= self.terms.max_leverage:
            raise Refusal("leverage")
        position, marks = wallet.position(symbol), self.marks()
        needed = position.notional(marks[symbol]) // leverage - wallet.position_margin(symbol, marks)
        if needed > wallet.available(marks):
            raise Refusal("insufficient_margin")
        position.leverage = leverage
        self._tell(wallet, SettingsNews(symbol, leverage))

    def set_margin_type(self, account: str, symbol: str, margin_type: MarginType) -> bool:
        """Set a contract's margin type; False if it is that already.

        Raises:
            Refusal: open_position, there is one or an open order; unknown_symbol.
        """
        wallet = self._wallets[account]
        self.market(symbol)
        position = wallet.position(symbol)
        if position.margin_type == margin_type:
            return False
        if position.amount or any(order.symbol == symbol for order in wallet.open.values()):
            raise Refusal("open_position")
        position.margin_type = margin_type
        return True

    def transfer(self, account: str, currency: str, amount: int, fee: int = 0) -> Transfer:
        """Move margin in (`amount` above zero) or out (below); a fee is paid on top.

        Raises:
            Refusal: unknown_currency, insufficient_balance.
        """
        wallet = self._wallets[account]
        if currency != self.currency:
            raise Refusal("unknown_currency")
        if amount - fee < 0 and fee - amount > wallet.available(self.marks()):
            raise Refusal("insufficient_balance")
        income = self._settlement.earn(wallet, "TRANSFER", "", amount - fee, self.now_ns)
        self._tell(wallet, AccountNews("DEPOSIT" if amount > 0 else "WITHDRAW", ()))
        kind: Literal["deposit", "withdrawal"] = "deposit" if amount > 0 else "withdrawal"
        return Transfer(income.income_id, kind, currency, abs(amount), fee, self.now_ns)

    def _place(self, wallet: Wallet, request: NewOrder, conditional: Conditional | None = None) -> Order:
        admitted = admit(request, self.market(request.symbol), wallet, self.marks(), self.now_ns)
        self._last_order_id += 1
        order = Order(
            order_id=self._last_order_id,
            client_id=request.client_id or f"paper-{self._last_order_id}",
            symbol=request.symbol,
            side=request.side,
            type=request.type,
            time_in_force=request.time_in_force,
            price=request.price,
            quantity=admitted.quantity,
            reduce_only=request.reduce_only,
            created_ns=self.now_ns,
            updated_ns=self.now_ns,
            closes=conditional is not None and conditional.asked.closes_position,
            from_conditional=conditional.asked.type if conditional is not None else None,
            ahead=admitted.place.ahead,
            through=admitted.place.through,
        )
        self._settlement.open(wallet, order)
        for take in admitted.arrival.takes:
            order = self._fill(wallet, order, take, "taker")
        if admitted.arrival.expires:
            return self._settlement.end(wallet, order, "EXPIRED", self.now_ns)
        return order

    def _fill(self, wallet: Wallet, order: Order, take: Take, role: Role) -> Order:
        filled = self._settlement.fill(wallet, order, take, role, self.now_ns)
        if not wallet.position(order.symbol).amount:
            for one in list(wallet.waiting.values()):
                if one.asked.symbol == order.symbol and one.asked.closes_position:
                    self._settlement.change(wallet, one, "EXPIRED", self.now_ns)
        return filled

    def _next(self, until_ns: int) -> tuple[int, Callable[[], None] | None]:
        """The first instant in (now, until] at which something is due, and what to do then (None: nothing)."""
        due: list[tuple[int, int, Callable[[], None] | None]] = [(until_ns, 1 << 62, None)]
        if self.next_funding_ns <= until_ns:
            due.append((self.next_funding_ns, 0, self._fund))
        for wallet in self._wallets.values():
            for order in wallet.open.values():
                at_ns = reached(self.markets[order.symbol], order, self.now_ns, until_ns)
                if at_ns is not None:
                    due.append((at_ns, order.order_id, partial(self._rested, wallet, order, order.left)))
            for waiting in wallet.waiting.values():
                at_ns = triggered(self.markets[waiting.asked.symbol], waiting.asked, self.now_ns, until_ns)
                if at_ns is not None:
                    due.append((at_ns, waiting.algo_id, partial(self._trigger, wallet, waiting)))
        at_ns, _, act = min(due, key=lambda one: one[:2])
        return at_ns, act

    def _meet(self, symbol: str, printed: Print) -> None:
        """Let a print of a market of limited depth trade with the orders that rest there."""
        for name, order, ahead, filled in queue.turns(self._wallets, self.markets[symbol], printed):
            wallet, moved = self._wallets[name], msgspec.structs.replace(order, ahead=ahead)
            wallet.keep(moved)
            if filled:
                self._rested(wallet, moved, filled)

    def _rested(self, wallet: Wallet, order: Order, quantity: int) -> None:
        """Fill so much of an order that rested; a reduce-only one is cut to the position."""
        closing = wallet.position(order.symbol).closing(order.side)
        if order.reduce_only and not closing:
            self._settlement.end(wallet, order, "EXPIRED", self.now_ns)
            return
        if order.reduce_only and closing < order.left:
            order = msgspec.structs.replace(order, quantity=order.executed + closing)
        self._fill(wallet, order, Take(order.price, min(quantity, order.left)), "maker")

    def _trigger(self, wallet: Wallet, waiting: Conditional) -> None:
        """Turn a conditional order into an ordinary one, or say why not."""
        asked = waiting.asked
        closing = wallet.position(asked.symbol).closing(asked.side)
        waiting = msgspec.structs.replace(waiting, triggered_ns=self.now_ns)
        if asked.closes_position and not closing:
            self._settlement.change(wallet, waiting, "EXPIRED", self.now_ns)
            return
        request = NewOrder(
            asked.symbol,
            asked.side,
            "MARKET" if asked.type.endswith("_MARKET") else "LIMIT",
            closing if asked.closes_position else asked.quantity,
            asked.price,
            asked.time_in_force,
            reduce_only=asked.reduce_only or asked.closes_position,
        )
        del wallet.waiting[waiting.algo_id]
        try:
            placed = self._place(wallet, request, waiting)
        except Refusal:
            self._settlement.change(wallet, waiting, "REJECTED", self.now_ns)
            return
        done = msgspec.structs.replace(waiting, order_id=placed.order_id)
        self._settlement.change(wallet, done, "FINISHED", self.now_ns)

    def _fund(self) -> None:
        marks = self.marks()
        self.funded.append((self.now_ns, marks))
        self.next_funding_ns += self.terms.funding_interval_ns
        for wallet in self._wallets.values():
            paid = []
            for symbol, position in wallet.held():
                amount = marks[symbol] * position.amount // units.ONE * self.terms.funding_rate // units.ONE
                self._settlement.earn(wallet, "FUNDING_FEE", symbol, -amount, self.now_ns)
                if position.margin_type == "isolated":
                    position.isolated -= amount
                paid.append(symbol)
            if paid:
                self._tell(wallet, AccountNews("FUNDING_FEE", tuple(paid)))

    def _liquidate(self) -> None:
        """Close what is to be liquidated at the best price, for a clearance fee; nobody owes more than there was."""
        marks = self.marks()
        for wallet in self._wallets.values():
            for symbol in wallet.unsafe(marks):
                for order in [one for one in wallet.open.values() if one.symbol == symbol]:
                    self._settlement.end(wallet, order, "CANCELED", self.now_ns)
                self._last_order_id += 1
                position, quote = wallet.position(symbol), self.markets[symbol].quote(self.now_ns)
                order = closing_order(symbol, position, quote, self._last_order_id, self.now_ns)
                isolated = position.margin_type == "isolated"
                kept = wallet.balance - position.isolated if isolated else 0
                self._settlement.open(wallet, order)
                filled = self._fill(wallet, order, Take(order.price, order.quantity), "taker")
                clearance = filled.quote_executed * self.terms.clearance // units.ONE
                self._settlement.earn(
                    wallet, "INSURANCE_CLEAR", symbol, max(-clearance, kept - wallet.balance), self.now_ns
                )
                self._tell(wallet, AccountNews("INSURANCE_CLEAR", (symbol,)))

    def _tell(self, wallet: Wallet, news: object) -> None:
        if self.feed.is_heard:
            self.feed.publish(ContractChanged(wallet.account.name, news, self.now_ns))
