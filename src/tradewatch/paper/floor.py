"""What every exchange here has: markets, accounts and one clock, and the news of its quotes."""

from __future__ import annotations

from collections.abc import Collection

from tradewatch.model.clock import Clock
from tradewatch.paper import queue
from tradewatch.paper.accounts import Account
from tradewatch.paper.errors import Refusal
from tradewatch.paper.feed import Feed, Quoted
from tradewatch.paper.market import MILLIONTHS, Market, Quote
from tradewatch.paper.tape import Print


class Floor:
    """Where it is traded, without the orders.

    Attributes:
        now_ns: the instant that everything happens at, epoch nanoseconds of simulated time.
        markets: by id, such as BTCUSDT, in the order given.
        accounts: by key.
        names: of the accounts, in the order given.
        feed: tells listeners what happens.
        told_factor: of the prices that market data tells, in millionths; other than 1 during a false tick.

    Raises:
        ValueError: no market or account, a repeated symbol, key or name, a clock before or after the candles.
    """

    def __init__(self, markets: list[Market], accounts: list[Account], clock: Clock) -> None:
        self.markets = {market.instrument.id: market for market in markets}
        self.accounts = {account.key: account for account in accounts}
        self.names = [account.name for account in accounts]
        if not markets or len(self.markets) != len(markets):
            raise ValueError("an exchange needs markets, each symbol once")
        if not accounts or len(set(self.names)) != len(accounts):
            raise ValueError("an exchange needs accounts, each name once")
        if len(self.accounts) != len(accounts):
            raise ValueError("two accounts have the same key")
        self.clock = clock
        self.feed = Feed()
        self.told_factor = MILLIONTHS
        self.now_ns = clock.now_ns()
        for market in markets:
            if not market.candles.start_ns <= self.now_ns < market.end_ns:
                raise ValueError(f"{market.instrument.symbol}: the clock stands outside the candles")
        self._last_quotes: dict[str, tuple[int, int, int]] = {}

    def market(self, symbol: str) -> Market:
        """The market of an id.

        Raises:
            Refusal: unknown_symbol.
        """
        try:
            return self.markets[symbol]
        except KeyError:
            raise Refusal("unknown_symbol") from None

    def next_prints(self, symbols: Collection[str], until_ns: int) -> tuple[int, list[tuple[str, Print]]]:
        """The next instant, at most `until_ns`, at which markets of limited depth trade, and what they trade then."""
        found = []
        for symbol, market in self.markets.items():
            printed = queue.next_print(market, self.now_ns, until_ns) if symbol in symbols else None
            if printed is not None:
                found.append((symbol, printed))
        at_ns = min((printed.at_ns for _, printed in found), default=until_ns)
        return at_ns, [one for one in found if one[1].at_ns == at_ns]

    def told(self, market: Market) -> Quote:
        """The quote of the present that market data tells: the market's own but for a false tick."""
        return market.quote(self.now_ns, self.told_factor)

    def publish_quotes(self) -> None:
        """Tell who listens the quotes that have changed since they were last told."""
        if not self.feed.is_heard:
            return
        for symbol, market in self.markets.items():
            quote = market.quote(self.now_ns)
            if self._last_quotes.get(symbol) != (quote.bid, quote.ask, quote.size):
                self._last_quotes[symbol] = quote.bid, quote.ask, quote.size
                self.feed.publish(Quoted(symbol, quote))
