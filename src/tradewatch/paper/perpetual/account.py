"""One account of the perpetual: wallet, positions and margin; pure arithmetic over whole numbers of 10^-8.

Cross margin shares the wallet less what is set aside for isolated positions; an isolated position has its own.
Formulas: Binance, "How to Calculate Liquidation Price of USD-M Futures Contracts", with one tier of maintenance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from tradewatch.paper import units
from tradewatch.paper.accounts import Account
from tradewatch.paper.orders import Side
from tradewatch.paper.perpetual.values import Conditional, Fill, Income, MarginType, Order, Terms
from tradewatch.paper.units import ONE

Marks = Mapping[str, int]


class Position(msgspec.Struct):
    """A position in one contract: `amount` signed in base, `cost` what it was entered at in quote, never below zero.

    `isolated` is the wallet of an isolated position.
    """

    leverage: int
    amount: int = 0
    cost: int = 0
    margin_type: MarginType = "cross"
    isolated: int = 0
    updated_ns: int = 0

    @property
    def entry_price(self) -> int:
        """Average entry price, cut to 10^-8; 0 when flat."""
        return self.cost * ONE // abs(self.amount) if self.amount else 0

    def notional(self, mark: int) -> int:
        """Worth at a mark price, without sign."""
        return mark * abs(self.amount) // ONE

    def unrealised(self, mark: int) -> int:
        """Profit or loss at a mark price."""
        gain = self.notional(mark) - self.cost
        return gain if self.amount > 0 else -gain

    def closing(self, side: Side) -> int:
        """How much of the position an order of a side could close."""
        return abs(self.amount) if self.amount and (self.amount < 0) == (side == "BUY") else 0


class Wallet:
    """One account as it stands. Changed by the exchange alone.

    Args:
        account: key, secret and opening balance.
        currency: of margin; the account's other balances stay outside.
        terms: of every contract.
    """

    def __init__(self, account: Account, currency: str, terms: Terms) -> None:
        self.account = account
        self.terms = terms
        self.balance = units.parse(account.balances.get(currency, "0"))
        self.positions: dict[str, Position] = {}
        self.orders: dict[int, Order] = {}
        self.open: dict[int, Order] = {}
        self.by_client: dict[tuple[str, str], int] = {}
        self.conditionals: dict[int, Conditional] = {}
        self.waiting: dict[int, Conditional] = {}
        self.fills: list[Fill] = []
        self.incomes: list[Income] = []
        self.updated_ns = 0

    def position(self, symbol: str) -> Position:
        """The position in a contract, flat if there never was one."""
        return self.positions.setdefault(symbol, Position(self.terms.leverage))

    def held(self) -> list[tuple[str, Position]]:
        """The positions that are not flat."""
        return [(symbol, one) for symbol, one in self.positions.items() if one.amount]

    @property
    def cross_balance(self) -> int:
        """The wallet less what isolated positions have of their own."""
        return self.balance - sum(one.isolated for one in self.positions.values())

    def unrealised(self, marks: Marks, margin_type: MarginType | None = None) -> int:
        """Profit or loss of the positions, all or those of one margin type."""
        held = self.held()
        return sum(one.unrealised(marks[symbol]) for symbol, one in held if margin_type in (None, one.margin_type))

    def maintenance(self, marks: Marks, margin_type: MarginType) -> int:
        """What the positions of a margin type need."""
        notionals = (one.notional(marks[symbol]) for symbol, one in self.held() if one.margin_type == margin_type)
        return sum(notional * self.terms.maintenance // ONE for notional in notionals)

    def position_margin(self, symbol: str, marks: Marks) -> int:
        """Initial margin of a position."""
        position = self.position(symbol)
        return position.notional(marks[symbol]) // position.leverage if position.amount else 0

    def order_margin(self, symbol: str | None = None) -> int:
        """Initial margin of open orders that do not reduce; of each order alone, not netted."""
        return sum(
            order.price * order.left // ONE // self.position(order.symbol).leverage
            for order in self.open.values()
            if symbol in (None, order.symbol) and not order.reduce_only
        )

    def available(self, marks: Marks) -> int:
        """What new orders may use: the cross wallet and its profit or loss, less margin in use; never below zero."""
        used = sum(self.position_margin(symbol, marks) for symbol, one in self.held() if one.margin_type == "cross")
        return max(self.cross_balance + self.unrealised(marks, "cross") - used - self.order_margin(), 0)

    def unsafe(self, marks: Marks) -> list[str]:
        """The contracts to be liquidated at these marks."""
        held = self.held()
        if not held:
            return []
        lost = [
            symbol
            for symbol, one in held
            if one.margin_type == "isolated"
            and one.isolated + one.unrealised(marks[symbol]) <= self._maintenance_of(one, marks[symbol])
        ]
        cross = [symbol for symbol, one in held if one.margin_type == "cross"]
        if cross and self.cross_balance + self.unrealised(marks, "cross") <= self.maintenance(marks, "cross"):
            lost += cross
        return lost

    def liquidation_price(self, symbol: str, marks: Marks) -> int:
        """The mark at which a position is liquidated while all else stays as it is; 0 where none is above zero."""
        position = self.position(symbol)
        if not position.amount:
            return 0
        base = position.isolated
        if position.margin_type == "cross":
            others = [one for one in self.held() if one[0] != symbol and one[1].margin_type == "cross"]
            base = self.cross_balance + sum(one.unrealised(marks[name]) for name, one in others)
            base -= sum(self._maintenance_of(one, marks[name]) for name, one in others)
        # base + sign * (p * |amount| - cost) = maintenance * p * |amount|
        sign, size = (1 if position.amount > 0 else -1), abs(position.amount)
        price = (sign * position.cost - base) * ONE * ONE // (size * (sign * ONE - self.terms.maintenance))
        return max(price, 0)

    def apply(self, symbol: str, side: Side, price: int, quantity: int, at_ns: int) -> int:
        """Change a position by a fill; returns what was realised before fees, which the balance then has."""
        position = self.position(symbol)
        closing = min(quantity, position.closing(side))
        realised = 0
        if closing:
            cost = position.cost * closing // abs(position.amount)
            gain = price * closing // ONE - cost
            realised = gain if position.amount > 0 else -gain
            position.isolated -= position.isolated * closing // abs(position.amount)
            position.cost -= cost
            position.amount += closing if side == "BUY" else -closing
        opening = quantity - closing
        if opening:
            cost = price * opening // ONE
            position.cost += cost
            position.amount += opening if side == "BUY" else -opening
            if position.margin_type == "isolated":
                position.isolated += cost // position.leverage
        if not position.amount:
            position.cost = position.isolated = 0
        position.updated_ns = at_ns
        self.balance += realised
        return realised

    def keep(self, order: Order) -> None:
        """Put an order where it belongs, as it stands now."""
        self.orders[order.order_id] = order
        if order.is_open:
            self.open[order.order_id] = order
        else:
            self.open.pop(order.order_id, None)

    def find(self, symbol: str, order_id: int | None, client_id: str | None) -> Order | None:
        """An order by id, client id or both."""
        if order_id is None:
            order_id = self.by_client.get((symbol, client_id or ""))
        order = self.orders.get(order_id or 0)
        if order is None or order.symbol != symbol or client_id not in (None, order.client_id):
            return None
        return order

    def find_conditional(self, algo_id: int | None, client_id: str | None) -> Conditional | None:
        """A conditional order by id or client id."""
        found: Iterable[Conditional] = self.conditionals.values()
        return next((one for one in found if one.algo_id == algo_id or one.client_id == client_id), None)

    def _maintenance_of(self, position: Position, mark: int) -> int:
        return position.notional(mark) * self.terms.maintenance // ONE
