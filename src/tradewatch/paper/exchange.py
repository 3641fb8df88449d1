"""The exchange without its wire: accounts, orders and fills over simulated time. No input or output.

`advance` alone moves time: it carries the markets on to the present of the clock handed in and fills resting orders at
the instants at which the path reached them, so a fill does not depend on when anybody asks. Everything else happens at
`now_ns`, the instant that was last advanced to; a wire advances once a request.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from tradewatch.model.clock import Clock
from tradewatch.paper import matching, units
from tradewatch.paper.errors import VenueError
from tradewatch.paper.fees import Fees, received_fee, third_fee
from tradewatch.paper.instrument import Instrument, check_notional, check_price, check_quantity
from tradewatch.paper.journal import Journal
from tradewatch.paper.market import Market, Quote
from tradewatch.paper.orders import NewOrder, Order, Role, Side, Trade

MAX_OPEN_ORDERS = 200
FIRST_TRADE_ID = 1_000_000_000  # own trades; ids below are the recorded tape's


class Account(msgspec.Struct, frozen=True):
    """A key, its secret and what it starts with. `name` stands for it wherever the key must not be shown.

    Args:
        key: sent as X-MBX-APIKEY.
        secret: of the HMAC.
        balances: currency to plain decimal, such as `{"BTC": "1", "USDT": "5000"}`.
        name: in books and request log.
    """

    key: str
    secret: str
    balances: Mapping[str, str]
    name: str = "main"

    def __repr__(self) -> str:
        return f"Account(name={self.name!r})"


class Holding(msgspec.Struct):
    """One currency of one account, units of 10^-8."""

    free: int = 0
    locked: int = 0


class _Ledger:
    """What one account holds and has ordered."""

    def __init__(self, account: Account, currencies: Iterable[str]) -> None:
        self.account = account
        self.holdings = {currency: Holding() for currency in currencies}
        for currency, amount in account.balances.items():
            self.holdings.setdefault(currency, Holding()).free = units.parse(amount)
        self.orders: dict[int, Order] = {}
        self.open: dict[int, Order] = {}
        self.by_client: dict[tuple[str, str], int] = {}
        self.trades: list[Trade] = []
        self.updated_ns = 0


class Exchange:
    """Markets, accounts and one clock.

    Args:
        markets: at least one; equity is shown in the first one's quote currency.
        accounts: at least one, with different keys and names.
        clock: simulated time, within the candles of every market when the exchange is made.
        fees: rates for everybody.

    Attributes:
        now_ns: the instant that everything happens at.
        markets: by venue symbol, in the order given.
        accounts: by key.
        names: of the accounts, in the order given.
        journal: what the books are kept from.

    Raises:
        ValueError: no market or account, a repeated symbol, key or name, a balance that is not a plain decimal, a
            clock before or after the candles.
    """

    def __init__(
        self, markets: Iterable[Market], accounts: Iterable[Account], clock: Clock, fees: Fees | None = None
    ) -> None:
        market_list, account_list = list(markets), list(accounts)
        self.markets = {market.instrument.id: market for market in market_list}
        self.accounts = {account.key: account for account in account_list}
        if not self.markets or len(self.markets) != len(market_list):
            raise ValueError("an exchange needs markets, each symbol once")
        if not self.accounts or len({account.name for account in account_list}) != len(account_list):
            raise ValueError("an exchange needs accounts, each name once")
        if len(self.accounts) != len(account_list):
            raise ValueError("two accounts have the same key")
        self.names = [account.name for account in account_list]
        self.clock = clock
        self.fees = fees or Fees()
        self.currencies = _currencies(market_list, account_list, self.fees)
        self._ledgers = {account.name: _Ledger(account, self.currencies) for account in account_list}
        self.now_ns = clock.now_ns()
        for market in market_list:
            if not market.candles.start_ns <= self.now_ns < market.end_ns:
                raise ValueError(f"{market.instrument.symbol}: the clock stands outside the candles")
        self._last_order_id = 0
        self._last_trade_id = dict.fromkeys(self.markets, FIRST_TRADE_ID - 1)
        opening = {name: ledger.account.balances for name, ledger in self._ledgers.items()}
        self.journal = Journal({name: _parsed(balances) for name, balances in opening.items()})

    def advance(self) -> int:
        """Carry every market on to the present; returns it, epoch nanoseconds of simulated time."""
        now_ns = max(self.clock.now_ns(), self.now_ns)
        due: list[tuple[int, int, str, Order]] = []
        for name, ledger in self._ledgers.items():
            for symbol in {order.symbol for order in ledger.open.values()}:
                resting = (order for order in ledger.open.values() if order.symbol == symbol)
                due += (
                    (at_ns, order.order_id, name, order)
                    for at_ns, order in matching.crossings(self.markets[symbol], resting, self.now_ns, now_ns)
                )
        for at_ns, _, name, order in sorted(due, key=lambda fill: fill[:2]):
            self._fill(self._ledgers[name], order, order.price, "maker", at_ns)
        self.now_ns = now_ns
        return now_ns

    def market(self, symbol: str) -> Market:
        """The market of a venue symbol.

        Raises:
            VenueError: -1121.
        """
        try:
            return self.markets[symbol]
        except KeyError:
            raise VenueError(-1121, "Invalid symbol.") from None

    def quoted(self, account: str | None, symbol: str, quote: Quote) -> None:
        """Note that a client was told a symbol's mid: one account's client, or (None) anybody's."""
        self.journal.quoted(list(self._ledgers) if account is None else [account], symbol, quote)

    def submit(self, account: str, request: NewOrder) -> tuple[Order, list[Trade]]:
        """Place an order; returns it as it stands after matching, with its trades.

        Raises:
            VenueError: unknown symbol, closed market, filter, balance, duplicate client id, post-only that would take.
        """
        now_ns = self.now_ns
        ledger = self._ledgers[account]
        market = self.market(request.symbol)
        instrument = market.instrument
        quote = market.quote(now_ns)
        if now_ns >= market.end_ns:
            raise VenueError(-1013, "Market is closed.")
        price, quantity = _checked(request, instrument, quote)
        becomes = matching.outcome(request, quote)
        if request.client_id is not None:
            known = ledger.by_client.get((request.symbol, request.client_id))
            if known in ledger.open:
                raise VenueError(-2010, "Duplicate order sent.")
        if sum(order.symbol == request.symbol for order in ledger.open.values()) >= MAX_OPEN_ORDERS:
            raise VenueError(-1013, "Filter failure: MAX_NUM_ORDERS")
        trade_price = matching.touch(request.side, quote) if becomes == "fill" else price
        currency, amount = _needed(instrument, request.side, trade_price, quantity)
        holding = ledger.holdings[currency]
        if holding.free < max(amount, _needed(instrument, request.side, price or trade_price, quantity)[1]):
            raise VenueError(-2010, "Account has insufficient balance for requested action.")
        self._last_order_id += 1
        order = Order(
            order_id=self._last_order_id,
            client_id=request.client_id or f"paper-{self._last_order_id}",
            symbol=request.symbol,
            side=request.side,
            type=request.type,
            time_in_force=request.time_in_force,
            price=price,
            quantity=quantity,
            quote_quantity=request.quote_quantity or 0,
            created_ns=now_ns,
            updated_ns=now_ns,
            status="EXPIRED" if becomes == "expire" else "NEW",
        )
        ledger.by_client[order.symbol, order.client_id] = order.order_id
        ledger.orders[order.order_id] = order
        ledger.updated_ns = now_ns
        if becomes == "expire":
            return order, []
        holding.free -= amount
        holding.locked += amount
        ledger.open[order.order_id] = order
        if becomes == "rest":
            return order, []
        trade = self._fill(ledger, order, trade_price, "taker", now_ns)
        return ledger.orders[order.order_id], [trade]

    def cancel(self, account: str, symbol: str, order_id: int | None, client_id: str | None) -> Order:
        """Cancel an open order by id, client id or both.

        Raises:
            VenueError: -2011 not open or not known, -1121.
        """
        ledger = self._ledgers[account]
        self.market(symbol)
        order = _find(ledger, symbol, order_id, client_id)
        if order is None or not order.is_open:
            raise VenueError(-2011, "Unknown order sent.")
        return self._cancel(ledger, order)

    def cancel_all(self, account: str, symbol: str) -> list[Order]:
        """Cancel every open order of a symbol.

        Raises:
            VenueError: -2011 none is open, -1121.
        """
        ledger = self._ledgers[account]
        self.market(symbol)
        orders = [order for order in ledger.open.values() if order.symbol == symbol]
        if not orders:
            raise VenueError(-2011, "Unknown order sent.")
        return [self._cancel(ledger, order) for order in orders]

    def order(self, account: str, symbol: str, order_id: int | None, client_id: str | None) -> Order:
        """One order, open or not.

        Raises:
            VenueError: -2013, -1121.
        """
        self.market(symbol)
        order = _find(self._ledgers[account], symbol, order_id, client_id)
        if order is None:
            raise VenueError(-2013, "Order does not exist.")
        return order

    def open_orders(self, account: str, symbol: str | None = None) -> list[Order]:
        """What rests in the book, oldest first."""
        return [order for order in self._ledgers[account].open.values() if symbol in (None, order.symbol)]

    def orders(self, account: str, symbol: str | None = None) -> list[Order]:
        """Every order ever accepted, oldest first."""
        return [order for order in self._ledgers[account].orders.values() if symbol in (None, order.symbol)]

    def trades(self, account: str, symbol: str | None = None) -> list[Trade]:
        """Every fill, in order of simulated time."""
        return [trade for trade in self._ledgers[account].trades if symbol in (None, trade.symbol)]

    def holdings(self, account: str) -> dict[str, Holding]:
        """Free and locked of every currency; copies."""
        return {currency: Holding(held.free, held.locked) for currency, held in self._ledgers[account].holdings.items()}

    def updated_ns(self, account: str) -> int:
        """When the account last changed; 0 if it never did."""
        return self._ledgers[account].updated_ns

    def _cancel(self, ledger: _Ledger, order: Order) -> Order:
        currency, amount = _needed(self.markets[order.symbol].instrument, order.side, order.price, order.quantity)
        holding = ledger.holdings[currency]
        holding.locked -= amount
        holding.free += amount
        cancelled = msgspec.structs.replace(order, status="CANCELED", updated_ns=self.now_ns)
        del ledger.open[order.order_id]
        ledger.orders[order.order_id] = cancelled
        ledger.updated_ns = self.now_ns
        return cancelled

    def _fill(self, ledger: _Ledger, order: Order, price: int, role: Role, at_ns: int) -> Trade:
        instrument = self.markets[order.symbol].instrument
        amount = instrument.notional(price, order.quantity)
        buys = order.side == "BUY"
        gives, given = (instrument.quote, amount) if buys else (instrument.base, order.quantity)
        gets, got = (instrument.base, order.quantity) if buys else (instrument.quote, amount)
        ledger.holdings[gives].locked -= given
        ledger.holdings[gets].free += got
        rate = self.fees.maker if role == "maker" else self.fees.taker
        fee_currency, fee = self._fee(ledger, instrument, gets=gets, got=got, amount=amount, rate=rate, at_ns=at_ns)
        ledger.holdings[fee_currency].free -= fee
        self._last_trade_id[order.symbol] += 1
        trade = Trade(
            trade_id=self._last_trade_id[order.symbol],
            order_id=order.order_id,
            client_id=order.client_id,
            symbol=order.symbol,
            side=order.side,
            price=price,
            quantity=order.quantity,
            quote_amount=amount,
            fee=fee,
            fee_currency=fee_currency,
            role=role,
            at_ns=at_ns,
        )
        filled = msgspec.structs.replace(
            order, status="FILLED", executed=order.quantity, quote_executed=amount, updated_ns=at_ns
        )
        ledger.open.pop(order.order_id, None)
        ledger.orders[order.order_id] = filled
        ledger.trades.append(trade)
        ledger.updated_ns = at_ns
        mids = {symbol: market.quote(at_ns).mid for symbol, market in self._priced(instrument, fee_currency)}
        self.journal.traded(ledger.account.name, trade, mids)
        return trade

    def _fee(
        self, ledger: _Ledger, instrument: Instrument, *, gets: str, got: int, amount: int, rate: int, at_ns: int
    ) -> tuple[str, int]:
        third = self.fees.third
        if third is not None and third.currency != gets:
            traded = self.markets.get(f"{third.currency}{instrument.quote}")
            price = units.ONE if third.currency == instrument.quote else third.price
            if traded is not None:
                price = traded.quote(at_ns).mid
            if price is not None:
                fee = third_fee(rate, third, amount, price)
                if ledger.holdings[third.currency].free >= fee:
                    return third.currency, fee
        return gets, received_fee(rate, got)

    def _priced(self, instrument: Instrument, fee_currency: str) -> Iterator[tuple[str, Market]]:
        """The markets whose mid the books need with a fill: its own, and the one that values a third-currency fee."""
        yield instrument.id, self.markets[instrument.id]
        if fee_currency not in (instrument.base, instrument.quote):
            symbol = f"{fee_currency}{instrument.quote}"
            if symbol in self.markets:
                yield symbol, self.markets[symbol]


def _checked(request: NewOrder, instrument: Instrument, quote: Quote) -> tuple[int, int]:
    """Limit price (0 for market orders) and base quantity, past the filters."""
    if request.type == "MARKET":
        quantity = matching.market_quantity(request, instrument, quote)
        check_quantity(instrument, quantity)
        check_notional(instrument, matching.touch(request.side, quote), quantity)
        return 0, quantity
    price, quantity = request.price or 0, request.quantity or 0
    check_price(instrument, price)
    check_quantity(instrument, quantity)
    check_notional(instrument, price, quantity)
    return price, quantity


def _needed(instrument: Instrument, side: Side, price: int, quantity: int) -> tuple[str, int]:
    """Which currency an order gives, and how much of it."""
    if side == "BUY":
        return instrument.quote, instrument.notional(price, quantity)
    return instrument.base, quantity


def _find(ledger: _Ledger, symbol: str, order_id: int | None, client_id: str | None) -> Order | None:
    if order_id is None:
        order_id = ledger.by_client.get((symbol, client_id or ""))
    order = ledger.orders.get(order_id or 0)
    if order is None or order.symbol != symbol or client_id not in (None, order.client_id):
        return None
    return order


def _currencies(markets: list[Market], accounts: list[Account], fees: Fees) -> list[str]:
    names = [name for market in markets for name in (market.instrument.base, market.instrument.quote)]
    if fees.third is not None:
        names.append(fees.third.currency)
    for account in accounts:
        names += account.balances
    return list(dict.fromkeys(names))


def _parsed(balances: Mapping[str, str]) -> dict[str, int]:
    return {currency: units.parse(amount) for currency, amount in balances.items()}
