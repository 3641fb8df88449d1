"""Paper exchanges of two kinds on sockets, and ccxt.pro clients of them that a watched bot has."""

import asyncio
import base64
import contextlib
import time
from decimal import Decimal

import ccxt.pro
import pytest

from tradewatch import paper
from tradewatch.paper import candles, faults
from tradewatch.paper.orders import NewOrder
from tradewatch.paper.units import ONE
from tradewatch.runtime.clock import ScaledClock

KEY, SECRET = "paper-key", "paper-secret"
START_NS = 1_677_801_600 * 10**9
QUOTE = {"binance": "USDT", "binanceusdm": "USDT", "kraken": "USD"}


MOVING = ((100, 104, 96, 102), (102, 106, 98, 100)) * 15


class Place:
    """One exchange on the running loop, its server, and the market on it."""

    def __init__(self, kind, exchange, server):
        self.kind, self.exchange, self.server = kind, exchange, server
        self.symbol = f"BTC/{QUOTE[kind]}" + (":USDT" if kind == "binanceusdm" else "")

    def client(self, pointed, cls=None, **settings):
        secret = base64.b64encode(SECRET.encode()).decode() if self.kind == "kraken" else SECRET
        settings = {"secret": secret, "timeout_on_exit": 0} | settings
        if self.kind == "binanceusdm":
            settings = {"options": {}} | settings
        made = pointed(cls or getattr(ccxt.pro, self.kind), self.server.url, **settings)
        if self.kind == "binanceusdm":
            # ccxt finds the perpetual's own codes by the venue's host name, which a redirected client has lost.
            made.exceptions["exact"] = {**made.exceptions["exact"], **made.exceptions["linear"]["exact"]}
        return made

    def requests(self, *operations):
        return [one for one in list(self.server.log.entries) if one.operation in operations]

    def subscribed(self):
        """Whether a stream of the account is subscribed to."""
        if self.kind == "binanceusdm":
            return [one for one in self.requests("ws_connect") if one.path.startswith("/private")]
        wanted = "user_data_subscribe" if self.kind == "binance" else "subscribe"
        return [one for one in self.requests(wanted) if one.account]

    def trade(self, side, amount):
        """A market order of the account's that no client of this process knows of, now. Amount in tenths."""
        self.exchange.advance()  # not at the time of the last request: trades of one time have no order
        symbol = self.symbol.replace("/", "")
        self.exchange.submit("main", NewOrder(symbol, side.upper(), "MARKET", quantity=amount * 10**7))

    def books(self):
        """The account by the exchange's own books."""
        return self.server.shown_books()["accounts"]["main"]

    def equity(self):
        """The account's, in the quote currency; of the perpetual without funding, which nothing tells a bot of."""
        found = self.books()
        if self.kind != "binanceusdm":
            return Decimal(found["equity"]["value"])
        paid = sum(Decimal(each["funding"]) for each in found["positions"].values())
        return Decimal(found["equity_at_last_quote"]) - paid


@pytest.fixture
def places():
    """Makes exchanges. `rules` are pairs of what must match and what happens; prices stand at 100 unless `moving`.

    `depth` (units of 10^-8 BTC) is what stands at each level of the book.
    """

    @contextlib.asynccontextmanager
    async def make(kind, *rules, clock, moving=False, depth=None):
        lines = ["open_time,open,high,low,close,volume"]
        for n, quad in enumerate(MOVING if moving else ((100,) * 4,) * 30):
            lines.append(",".join([str(START_NS // 10**6 + n * 60_000), *map(str, quad), "4"]))
        record = candles.read_candles(lines, "rows")
        quote = QUOTE[kind]
        secret = base64.b64encode(SECRET.encode()).decode() if kind == "kraken" else SECRET
        account = paper.Account(KEY, secret, {"BTC": "100", quote: "1000000"})
        market = paper.Market(f"BTC/{quote}", record, 20, depth=depth)
        if kind == "binanceusdm":
            held = paper.Account(KEY, secret, {quote: "1000000"})
            terms = paper.Terms(funding_rate=ONE // 1000, funding_interval_ns=20 * 10**9)
            exchange = paper.Perpetual([market], [held], clock, terms)
        else:
            fees = paper.Fees(charged_in="quote") if kind == "kraken" else None
            exchange = paper.Exchange([market], [account], clock, fees)
        chosen = [faults.Rule(faults.Match(**match), faults.Fault(**fault)) for match, fault in rules]
        limits = paper.Limits(1_000_000, 100_000, 1_000_000)
        async with paper.serve(exchange, venue=kind, faults=faults.Faults(chosen, seed=3), limits=limits) as server:
            yield Place(kind, exchange, server)

    return make


@pytest.fixture
def listening():
    """A bot's loops around a block: each watches again and again, also after a drop; then the client is closed."""

    @contextlib.asynccontextmanager
    async def loops(client, *watches):
        async def loop(watch):
            while True:
                with contextlib.suppress(ccxt.NetworkError):
                    await watch()
                await asyncio.sleep(0)

        tasks = [asyncio.create_task(loop(watch)) for watch in watches]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await client.close()

    return loops


class Readings:
    """What metrics of streams say, by the application's own reader."""

    def __init__(self, application):
        self._application = application

    def __call__(self, name):
        """{channel, or None where it is of all: value} of a metric of streams."""
        found = self._application.points().get(f"trading.stream.{name}", {})
        return {dict(attributes).get("trading.channel"): point for attributes, point in found.items()}

    def value(self, name, channel=None):
        point = self(name).get(channel)
        return None if point is None else point.value


@pytest.fixture
def readings(application):
    return Readings(application)


@pytest.fixture
def running_clock():
    """Simulated time at twenty times the machine's: prices move, and rules are due, by themselves."""
    return ScaledClock(START_NS, 20.0, time.time_ns())
