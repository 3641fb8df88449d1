"""An account: what it holds, what it has ordered, and the statement of everything that moved its money."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from tradewatch.paper import units
from tradewatch.paper.orders import Order, Trade

EntryKind = Literal["trade", "deposit", "withdrawal"]
Permission = Literal["query", "trade", "funds"]


class Account(msgspec.Struct, frozen=True):
    """A key, its secret and what it starts with. `name` stands for it wherever the key must not be shown.

    Args:
        key: sent with each private request.
        secret: what its signatures are made with, as the venue hands it out (Kraken's is base64).
        balances: currency to plain decimal, such as `{"BTC": "1", "USDT": "5000"}`.
        name: in books and request log.
        permissions: what the key is for, where the venue has such.
    """

    key: str
    secret: str
    balances: Mapping[str, str]
    name: str = "main"
    permissions: tuple[Permission, ...] = ("query", "trade", "funds")

    def __repr__(self) -> str:
        return f"Account(name={self.name!r})"


class Holding(msgspec.Struct):
    """One currency of one account, units of 10^-8."""

    free: int = 0
    locked: int = 0


class Entry(msgspec.Struct, frozen=True):
    """A line of the statement: `amount` is signed and without the fee, `balance` what is held after both.

    `reference` is the trade's id, of market `symbol`, or the transfer's; a trade has one entry for each currency that
    it moved.
    """

    entry_id: int
    kind: EntryKind
    reference: int
    currency: str
    amount: int
    fee: int
    balance: int
    at_ns: int
    symbol: str | None = None


class Transfer(msgspec.Struct, frozen=True):
    """A deposit or withdrawal, done at once. `amount` is without the fee, which a withdrawal pays on top."""

    transfer_id: int
    kind: Literal["deposit", "withdrawal"]
    currency: str
    amount: int
    fee: int
    at_ns: int


class State:
    """One account as it stands. Changed by the exchange alone."""

    def __init__(self, account: Account, currencies: Iterable[str]) -> None:
        self.account = account
        self.holdings = {currency: Holding() for currency in currencies}
        for currency, amount in account.balances.items():
            self.holdings.setdefault(currency, Holding()).free = units.parse(amount)
        self.orders: dict[int, Order] = {}
        self.open: dict[int, Order] = {}
        self.by_client: dict[tuple[str, str], int] = {}
        self.trades: list[Trade] = []
        self.statement: list[Entry] = []
        self.transfers: list[Transfer] = []
        self.updated_ns = 0

    def find(self, symbol: str | None, order_id: int | None, client_id: str | None) -> Order | None:
        """An order by id, client id or both; `symbol` None takes any."""
        if order_id is None and symbol is not None:
            order_id = self.by_client.get((symbol, client_id or ""))
        order = self.orders.get(order_id or 0)
        if order is None or symbol not in (None, order.symbol) or client_id not in (None, order.client_id):
            return None
        return order

    def keep(self, order: Order) -> None:
        """Put an order where it belongs, as it stands now."""
        self.orders[order.order_id] = order
        if order.is_open:
            self.open[order.order_id] = order
        else:
            self.open.pop(order.order_id, None)

    def reserve(self, currency: str, amount: int) -> None:
        """Lock what an order may need; a negative amount frees it."""
        held = self.holdings[currency]
        held.free -= amount
        held.locked += amount

    def total(self, currency: str) -> int:
        """What is held of a currency, locked or not."""
        held = self.holdings[currency]
        return held.free + held.locked
