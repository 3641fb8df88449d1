"""The exchange without its wire: accounts, orders and fills over simulated time. No input or output.

`advance` alone moves time: it carries the markets on to the present of the clock handed in and fills resting orders at
the instants at which the path passed them or, where depth is limited, prints came to them: a fill does not depend on
when anybody asks. Everything else happens at `now_ns`, the instant that was last advanced to; a wire advances once a
request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from tradewatch.model.clock import Clock
from tradewatch.paper import matching, queue, units
from tradewatch.paper.accounts import Account, Entry, Holding, State, Transfer
from tradewatch.paper.admission import Admitted, admit, reserved
from tradewatch.paper.errors import Refusal
from tradewatch.paper.feed import Printed, prints_between
from tradewatch.paper.fees import Fees
from tradewatch.paper.floor import Floor
from tradewatch.paper.journal import Journal
from tradewatch.paper.market import Market, Quote
from tradewatch.paper.matching import Take
from tradewatch.paper.orders import NewOrder, Order, OrderType, Trade
from tradewatch.paper.settlement import Settlement
from tradewatch.paper.tape import Print


class Exchange(Floor):
    """Markets, accounts and one clock.

    Args:
        markets: at least one; equity is shown in the first one's quote currency.
        accounts: at least one, with different keys and names.
        clock: simulated time, within the candles of every market when the exchange is made.
        fees: rates for everybody.

    Attributes:
        journal: what the books are kept from.

    Raises:
        ValueError: no market or account, a repeated symbol, key or name, a balance that is not a plain decimal, a
            clock before or after the candles.
    """

    def __init__(
        self, markets: Iterable[Market], accounts: Iterable[Account], clock: Clock, fees: Fees | None = None
    ) -> None:
        market_list, account_list = list(markets), list(accounts)
        super().__init__(market_list, account_list, clock)
        self.fees = fees or Fees()
        self.currencies = _currencies(market_list, account_list, self.fees)
        self._states = {account.name: State(account, self.currencies) for account in account_list}
        self._last_order_id = 0
        self._last_turn = 0
        opening = {name: state.account.balances for name, state in self._states.items()}
        self.journal = Journal({name: _parsed(balances) for name, balances in opening.items()})
        self._settlement = Settlement(self.markets, self.fees, self.journal, self.feed)

    def advance(self) -> int:
        """Carry every market on to the present; returns it, epoch nanoseconds of simulated time."""
        now_ns = max(self.clock.now_ns(), self.now_ns)
        prints = prints_between(self.markets.values(), self.now_ns, now_ns) if self.feed.is_heard else []
        while True:
            at_ns, met = self.next_prints(
                {order.symbol for state in self._states.values() for order in state.open.values()}, now_ns
            )
            self._pass(at_ns, prints)
            for symbol, printed in met:
                self._meet(symbol, printed)
            if at_ns == now_ns:
                break
        self.publish_quotes()
        return now_ns

    def quoted(self, account: str | None, symbol: str, quote: Quote) -> None:
        """Note that a client was told a symbol's mid: one account's client, or (None) anybody's."""
        self.journal.quoted(list(self._states) if account is None else [account], symbol, quote)

    def check(self, account: str, request: NewOrder) -> None:
        """Judge an order without placing it. Raises as `submit`."""
        admit(request, self.market(request.symbol), self._states[account], self.fees, now_ns=self.now_ns)

    def submit(self, account: str, request: NewOrder) -> tuple[Order, list[Trade]]:
        """Place an order; returns it as it stands after matching, with its trades.

        Raises:
            Refusal: unknown symbol, closed market, filter, balance, duplicate client id, post-only that would take.
        """
        state = self._states[account]
        return self._place(
            state, request, admit(request, self.market(request.symbol), state, self.fees, now_ns=self.now_ns)
        )

    def amend(
        self, account: str, order_id: int, price: int | None, quantity: int | None, *, post_only: bool = False
    ) -> tuple[Order, list[Trade]]:
        """Change price or quantity of an open order, which keeps its ids; None leaves what it was.

        It keeps its place in the queue if its price stays and its quantity does not grow.

        Raises:
            Refusal: order_not_open, quantity that is traded already, or as `submit`; the order then stands as before.
        """
        state = self._states[account]
        order = self._open(state, order_id)
        kind: OrderType = "LIMIT_MAKER" if post_only else order.type
        request = NewOrder(
            order.symbol,
            order.side,
            kind,
            order.time_in_force,
            quantity=order.quantity if quantity is None else quantity,
            price=order.price if price is None else price,
            fee_in=order.fee_in,
        )
        market = self.markets[order.symbol]
        admitted = admit(
            request, market, state, self.fees, now_ns=self.now_ns, replacing=order, executed=order.executed
        )
        if admitted.price == order.price and admitted.quantity <= order.quantity and not admitted.arrival.takes:
            place, turn = queue.Place(order.ahead, order.through), order.turn
        else:
            place, turn = self._place_of(request, admitted), self._next_turn()
        state.reserve(admitted.currency, admitted.reserves[0] - order.reserved)
        amended = msgspec.structs.replace(
            order,
            price=admitted.price,
            quantity=admitted.quantity,
            reserved=admitted.reserves[0],
            updated_ns=self.now_ns,
            ahead=place.ahead,
            through=place.through,
            turn=turn,
        )
        state.keep(amended)
        state.updated_ns = self.now_ns
        self._settlement.tell(state, "amended", amended, (admitted.currency,), self.now_ns)
        trades = self._take(state, order_id, admitted)
        return state.orders[order_id], trades

    def replace(self, account: str, order_id: int, request: NewOrder) -> tuple[Order, list[Trade]]:
        """Cancel an open order and place another with its money, or do neither.

        Raises:
            Refusal: order_not_open, or as `submit`; the old order then stays.
        """
        state = self._states[account]
        order = self._open(state, order_id)
        admitted = admit(request, self.market(request.symbol), state, self.fees, now_ns=self.now_ns, replacing=order)
        self._settlement.end(state, order, "CANCELED", self.now_ns, change="canceled", reason="replaced")
        return self._place(state, request, admitted)

    def cancel(
        self,
        account: str,
        symbol: str | None,
        order_id: int | None,
        client_id: str | None,
        *,
        reason: str | None = None,
        cancel_id: str | None = None,
    ) -> Order:
        """Cancel an open order by id, client id or both; `symbol` None takes the order's own.

        `cancel_id` is an id of the cancel itself, for those who hear of it.

        Raises:
            Refusal: order_not_open, also when it is not known; unknown_symbol.
        """
        state = self._states[account]
        if symbol is not None:
            self.market(symbol)
        order = state.find(symbol, order_id, client_id)
        if order is None or not order.is_open:
            raise Refusal("order_not_open")
        return self._settlement.end(
            state, order, "CANCELED", self.now_ns, change="canceled", reason=reason, cancel_id=cancel_id
        )

    def cancel_all(self, account: str, symbol: str) -> list[Order]:
        """Cancel every open order of a symbol.

        Raises:
            Refusal: order_not_open, none is; unknown_symbol.
        """
        state = self._states[account]
        self.market(symbol)
        orders = [order for order in state.open.values() if order.symbol == symbol]
        if not orders:
            raise Refusal("order_not_open")
        return [self._settlement.end(state, order, "CANCELED", self.now_ns, change="canceled") for order in orders]

    def order(self, account: str, symbol: str | None, order_id: int | None, client_id: str | None) -> Order:
        """One order, open or not; `symbol` None takes any.

        Raises:
            Refusal: order_not_found, unknown_symbol.
        """
        if symbol is not None:
            self.market(symbol)
        order = self._states[account].find(symbol, order_id, client_id)
        if order is None:
            raise Refusal("order_not_found")
        return order

    def open_orders(self, account: str, symbol: str | None = None) -> list[Order]:
        """What rests in the book, oldest first."""
        return [order for order in self._states[account].open.values() if symbol in (None, order.symbol)]

    def orders(self, account: str, symbol: str | None = None) -> list[Order]:
        """Every order ever accepted, oldest first."""
        return [order for order in self._states[account].orders.values() if symbol in (None, order.symbol)]

    def trades(self, account: str, symbol: str | None = None) -> list[Trade]:
        """Every fill, in order of simulated time."""
        return [trade for trade in self._states[account].trades if symbol in (None, trade.symbol)]

    def holdings(self, account: str) -> dict[str, Holding]:
        """Free and locked of every currency; copies."""
        return {currency: Holding(held.free, held.locked) for currency, held in self._states[account].holdings.items()}

    def statement(self, account: str) -> list[Entry]:
        """Every line of the account's statement, oldest first."""
        return list(self._states[account].statement)

    def transfers(self, account: str) -> list[Transfer]:
        """Deposits and withdrawals, oldest first."""
        return list(self._states[account].transfers)

    def transfer(self, account: str, currency: str, amount: int, fee: int = 0) -> Transfer:
        """Move money in (`amount` above zero) or out (below); a withdrawal's fee is paid on top.

        Raises:
            Refusal: unknown_currency, insufficient_balance.
        """
        state = self._states[account]
        return self._settlement.transfer(state, currency, amount, fee, self.now_ns)

    def updated_ns(self, account: str) -> int:
        """When the account last changed; 0 if it never did."""
        return self._states[account].updated_ns

    def _pass(self, now_ns: int, prints: list[Printed]) -> None:
        """Carry the markets on, with what the path passes and what expires; takes the prints that it has told."""
        due: list[tuple[int, int, str, Order, bool]] = []
        for name, state in self._states.items():
            for symbol in {order.symbol for order in state.open.values()}:
                resting = [order for order in state.open.values() if order.symbol == symbol]
                due += (
                    (at_ns, order.order_id, name, order, True)
                    for at_ns, order in matching.crossings(self.markets[symbol], resting, self.now_ns, now_ns)
                )
                filled = {order_id for _, order_id, *_ in due}
                due += (
                    (order.expires_ns, order.order_id, name, order, False)
                    for order in resting
                    if order.expires_ns is not None and order.expires_ns <= now_ns and order.order_id not in filled
                )
        for at_ns, _, name, order, is_fill in sorted(due, key=lambda happens: happens[:2]):
            while prints and prints[0].print.at_ns <= at_ns:
                self.feed.publish(prints.pop(0))
            if is_fill:
                self._fill_resting(self._states[name], order, order.left, at_ns)
            else:
                self._settlement.end(self._states[name], order, "EXPIRED", at_ns, change="expired")
        while prints and prints[0].print.at_ns <= now_ns:
            self.feed.publish(prints.pop(0))
        self.now_ns = now_ns

    def _meet(self, symbol: str, printed: Print) -> None:
        """Let a print of a market of limited depth trade with the orders that rest there."""
        for name, order, ahead, filled in queue.turns(self._states, self.markets[symbol], printed):
            state, moved = self._states[name], msgspec.structs.replace(order, ahead=ahead)
            state.keep(moved)
            if filled:
                self._fill_resting(state, moved, filled, printed.at_ns)

    def _fill_resting(self, state: State, order: Order, quantity: int, at_ns: int) -> None:
        instrument, left = self.markets[order.symbol].instrument, order.left - quantity
        keeps = reserved(instrument, order.side, order.price, left, fee_in=order.fee_in, rate=self.fees.maker)
        self._settlement.fill(state, order, Take(order.price, quantity), "maker", at_ns, keeps=keeps)

    def _open(self, state: State, order_id: int) -> Order:
        order = state.open.get(order_id)
        if order is None:
            raise Refusal("order_not_open")
        return order

    def _place(self, state: State, request: NewOrder, admitted: Admitted) -> tuple[Order, list[Trade]]:
        now_ns, arrived = self.now_ns, admitted.arrival
        place = self._place_of(request, admitted)
        self._last_order_id += 1
        order = Order(
            order_id=self._last_order_id,
            client_id=request.client_id or f"paper-{self._last_order_id}",
            symbol=request.symbol,
            side=request.side,
            type=request.type,
            time_in_force=request.time_in_force,
            price=admitted.price,
            quantity=admitted.quantity,
            quote_quantity=request.quote_quantity or 0,
            created_ns=now_ns,
            updated_ns=now_ns,
            reserved=admitted.reserves[0],
            client_named=request.client_id is not None,
            user_ref=request.user_ref,
            expires_ns=request.expires_ns,
            fee_in=admitted.fee_in,
            self_trade=request.self_trade,
            ahead=place.ahead,
            through=place.through,
            turn=self._next_turn(),
        )
        met: list[Order] = []
        if request.self_trade != "NONE":
            quote = self.markets[order.symbol].quote(now_ns)
            met = matching.own_met(request, arrived, quote, state.open.values())
        state.by_client[order.symbol, order.client_id] = order.order_id
        state.keep(order)
        state.updated_ns = now_ns
        state.reserve(admitted.currency, order.reserved)
        self._settlement.tell(state, "new", order, (admitted.currency,) if order.reserved else (), now_ns)
        if request.self_trade in ("EXPIRE_MAKER", "EXPIRE_BOTH"):
            for one in met:
                self._settlement.end(state, one, "EXPIRED_IN_MATCH", now_ns, change="expired", reason="self_trade")
        if met and request.self_trade != "EXPIRE_MAKER":
            ended = self._settlement.end(
                state, order, "EXPIRED_IN_MATCH", now_ns, change="expired", reason="self_trade"
            )
            return ended, []
        trades = self._take(state, order.order_id, admitted)
        order = state.orders[order.order_id]
        if arrived.expires:
            order = self._settlement.end(state, order, "EXPIRED", now_ns, change="expired", reason="time_in_force")
        return order, trades

    def _take(self, state: State, order_id: int, admitted: Admitted) -> list[Trade]:
        """Trade with each level that an order takes."""
        return [
            self._settlement.fill(state, state.orders[order_id], take, "taker", self.now_ns, keeps=keeps)
            for take, keeps in zip(admitted.arrival.takes, admitted.reserves[1:], strict=True)
        ]

    def _next_turn(self) -> int:
        self._last_turn += 1
        return self._last_turn

    def _place_of(self, request: NewOrder, admitted: Admitted) -> queue.Place:
        market = self.markets[request.symbol]
        quote, took = market.quote(self.now_ns), bool(admitted.arrival.takes)
        return queue.place(request.side, admitted.price, quote, market.instrument.tick, took=took)


def _currencies(markets: list[Market], accounts: list[Account], fees: Fees) -> list[str]:
    names = [name for market in markets for name in (market.instrument.base, market.instrument.quote)]
    if fees.third is not None:
        names.append(fees.third.currency)
    for account in accounts:
        names += account.balances
    return list(dict.fromkeys(names))


def _parsed(balances: Mapping[str, str]) -> dict[str, int]:
    return {currency: units.parse(amount) for currency, amount in balances.items()}
