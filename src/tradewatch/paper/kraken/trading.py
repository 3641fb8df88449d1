"""Orders as Kraken takes them, over REST and websocket alike: place, change, cancel, and the dead man's switch.

Counters, order ages and the switch go by the real clock, as a bot's timers do; fills and order times are simulated.

Source: https://docs.kraken.com/api-reference/trading/add-order and the pages beside it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from tradewatch.paper.errors import Refusal
from tradewatch.paper.exchange import Exchange
from tradewatch.paper.kraken.errors import KrakenError, in_words, invalid
from tradewatch.paper.kraken.limits import Counter, Rates, cost_by_age
from tradewatch.paper.kraken.names import Names, number, spelled
from tradewatch.paper.kraken.parameters import (
    Params,
    amount,
    check_deadline,
    flag,
    names_list,
    new_order,
    text_of,
    whole,
)
from tradewatch.paper.orders import NewOrder, Order
from tradewatch.paper.units import show

BATCH_LEAST, BATCH_MOST, CANCEL_BATCH_MOST = 2, 15, 50
AFTER_MOST_S = 86_400


class Placed(msgspec.Struct, frozen=True):
    """An order that was asked for, and what became of it: None where it was only to be checked, or refused."""

    request: NewOrder
    order: Order | None = None
    error: str | None = None

    @property
    def txid(self) -> str | None:
        """The order's id in Kraken's spelling."""
        return None if self.order is None else order_name(self.order)


class Trading:
    """The trading side of one exchange, with its counters and switches.

    Args:
        exchange: where orders go.
        names: of its pairs.
        rates: of the order counters.
    """

    def __init__(self, exchange: Exchange, names: Names, rates: Rates) -> None:
        self._exchange = exchange
        self._names = names
        self._rates = rates
        self._counters: dict[tuple[str, str], Counter] = {}
        self._placed_ns: dict[int, int] = {}
        self._ends_ns: dict[str, int] = {}

    def add(self, account: str, params: Params, wall_ns: int) -> Placed:
        """AddOrder, add_order.

        Raises:
            KrakenError, Refusal: it is not taken.
        """
        check_deadline(params, wall_ns)
        request, _ = new_order(self._names, params, self._exchange.now_ns)
        self._count(account, request.symbol, 1, wall_ns)
        return self._place(account, request, wall_ns, check_only=flag(params, "validate"))

    def add_batch(self, account: str, pair: str, orders: object, params: Params, wall_ns: int) -> list[Placed]:
        """AddOrderBatch, batch_add: all must be well formed; each is then taken or refused alone.

        Raises:
            KrakenError: it is not taken as a whole.
        """
        check_deadline(params, wall_ns)
        if not isinstance(orders, list) or not BATCH_LEAST <= len(orders) <= BATCH_MOST:
            raise invalid("orders")
        requests = []
        for one in orders:
            if not isinstance(one, dict):
                raise invalid("orders")
            requests.append(new_order(self._names, one | {"pair": pair}, self._exchange.now_ns)[0])
        self._count(account, self._names.find(pair).key, 1 + len(requests) / 2, wall_ns)
        placed = []
        for request in requests:
            try:
                placed.append(self._place(account, request, wall_ns, check_only=flag(params, "validate")))
            except (KrakenError, Refusal) as refused:
                placed.append(Placed(request, error=in_words(refused)))
        return placed

    def amend(self, account: str, params: Params, wall_ns: int) -> Order:
        """AmendOrder, amend_order: the order keeps its id."""
        check_deadline(params, wall_ns)
        order = self._one(account, params)
        price, quantity = amount(params, "limit_price"), amount(params, "order_qty")
        if price is None and quantity is None:
            raise invalid("limit_price")
        self._count(account, order.symbol, 1 + cost_by_age("amend", self._age_s(order, wall_ns)), wall_ns)
        amended, _ = self._exchange.amend(account, order.order_id, price, quantity, post_only=flag(params, "post_only"))
        return amended

    def edit(self, account: str, params: Params, wall_ns: int) -> tuple[Order, Placed]:
        """EditOrder, edit_order: the order is cancelled and a new one placed, with what is not given as it was.

        Without a volume that is what was not filled; a volume below what was filled is refused.
        """
        check_deadline(params, wall_ns)
        order = self._one(account, params)
        kept = {
            "type": order.side.lower(),
            "ordertype": "market" if order.type == "MARKET" else "limit",
            "price": self._names.by_key[order.symbol].price(order.price),
            "volume": show(order.left),
            "oflags": "post" if order.type == "LIMIT_MAKER" else "",
            "userref": order.user_ref,
        }
        given = {name: value for name, value in params.items() if name in {*kept, "pair"} and value is not None}
        request, one = new_order(self._names, kept | given, self._exchange.now_ns)
        if one.key != order.symbol:
            raise invalid("pair")
        if (request.quantity or 0) < order.executed and "volume" in given:
            raise invalid("volume")
        self._count(account, order.symbol, 1 + cost_by_age("edit", self._age_s(order, wall_ns)), wall_ns)
        if flag(params, "validate"):
            return order, Placed(request)
        replacement, _ = self._exchange.replace(account, order.order_id, request)
        self._placed_ns[replacement.order_id] = wall_ns
        return order, Placed(request, replacement)

    def cancel(self, account: str, names: list[str], client_ids: list[str], wall_ns: int) -> list[Order]:
        """CancelOrder, cancel_order: by id, by user reference (all that have it) or by client id.

        Raises:
            KrakenError: EOrder:Unknown order: the first that is not open; those before it are cancelled.
        """
        if not names and not client_ids:
            raise invalid("txid")
        cancelled = []
        for name in names:
            found = self._open(account, name)
            cancelled += [self._cancel(account, order, wall_ns) for order in found]
        for client_id in client_ids:
            cancelled.append(self._cancel(account, self._by_client(account, client_id), wall_ns))
        return cancelled

    def cancel_all(self, account: str, wall_ns: int) -> list[Order]:
        """CancelAll, cancel_all."""
        return [self._cancel(account, order, wall_ns) for order in self._exchange.open_orders(account)]

    def cancel_after(self, account: str, params: Params, wall_ns: int) -> int | None:
        """CancelAllOrdersAfter, cancel_all_orders_after: when (real time) it will act; None once it is off.

        Raises:
            KrakenError: a timeout that is no whole number of seconds from 0 to 86,400.
        """
        timeout_s = whole(params, "timeout")
        if timeout_s is None or not 0 <= timeout_s <= AFTER_MOST_S:
            raise invalid("timeout")
        if timeout_s == 0:
            self._ends_ns.pop(account, None)
            return None
        self._ends_ns[account] = wall_ns + timeout_s * 10**9
        return self._ends_ns[account]

    def beat(self, wall_ns: int) -> None:
        """Cancel everything of the accounts whose switch has run out."""
        for account in [name for name, ends_ns in self._ends_ns.items() if ends_ns <= wall_ns]:
            del self._ends_ns[account]
            self._exchange.advance()
            for order in self._exchange.open_orders(account):
                self._exchange.cancel(account, order.symbol, order.order_id, None, reason="deadman")

    def counter(self, account: str, key: str, wall_ns: int) -> float:
        """The order counter of an account on a pair."""
        return self._counter(account, key).at(wall_ns)

    @property
    def counter_most(self) -> float:
        """Where order counters end."""
        return self._rates.orders_most

    def _place(self, account: str, request: NewOrder, wall_ns: int, *, check_only: bool) -> Placed:
        if check_only:
            self._exchange.check(account, request)
            return Placed(request)
        order, _ = self._exchange.submit(account, request)
        self._placed_ns[order.order_id] = wall_ns
        return Placed(request, order)

    def _cancel(self, account: str, order: Order, wall_ns: int) -> Order:
        counter = self._counter(account, order.symbol)
        counter.add(wall_ns, cost_by_age("cancel", self._age_s(order, wall_ns)))
        return self._exchange.cancel(account, order.symbol, order.order_id, None)

    def _count(self, account: str, key: str, cost: float, wall_ns: int) -> None:
        counter = self._counter(account, key)
        if counter.at(wall_ns) + cost > self._rates.orders_most:
            raise KrakenError("EOrder:Rate limit exceeded")
        counter.add(wall_ns, cost)

    def _counter(self, account: str, key: str) -> Counter:
        return self._counters.setdefault((account, key), Counter(self._rates.orders_decay))

    def _age_s(self, order: Order, wall_ns: int) -> float:
        return (wall_ns - self._placed_ns.get(order.order_id, 0)) / 1e9

    def _one(self, account: str, params: Params) -> Order:
        """The open order that parameters name by `txid` (`order_id`) or `cl_ord_id`."""
        names = names_list(params, "txid") or names_list(params, "order_id")
        client_id = text_of(params, "cl_ord_id")
        if not names:
            if not client_id:
                raise invalid("txid")
            return self._by_client(account, client_id)
        return self._open(account, names[0])[0]

    def _open(self, account: str, name: str) -> list[Order]:
        orders = self._exchange.open_orders(account)
        order_id = number("O", name)
        found = [order for order in orders if order.order_id == order_id]
        if order_id is None and name.lstrip("-").isdigit():
            found = [order for order in orders if order.user_ref == int(name)]
        if not found:
            raise KrakenError("EOrder:Unknown order")
        return found

    def _by_client(self, account: str, client_id: str) -> Order:
        for order in self._exchange.open_orders(account):
            if order.client_named and order.client_id == client_id:
                return order
        raise KrakenError("EOrder:Unknown order")


def order_name(order: Order) -> str:
    """An order's id in Kraken's spelling."""
    return spelled("O", order.order_id)


def described(names: Names, request: NewOrder | Order) -> str:
    """`buy 1.25000000 XBTUSD @ limit 27500.0`."""
    one = names.by_key[request.symbol]
    volume = show(request.quantity or request.quote_quantity or 0)
    kind: Literal["market", "limit"] = "market" if request.type == "MARKET" else "limit"
    price = f" {one.price(request.price or 0)}" if kind == "limit" else ""
    return f"{request.side.lower()} {volume} {one.altname} @ {kind}{price}"
