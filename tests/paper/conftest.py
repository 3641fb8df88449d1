"""Exchanges on small or recorded candles, and real ccxt clients pointed at them."""

import asyncio
import base64
import contextlib
import functools
import json
import re
import urllib.request
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import aiohttp
import ccxt
import ccxt.async_support
import ccxt.pro
import pytest

from tradewatch import paper
from tradewatch.paper import candles
from tradewatch.paper.faults import Faults
from tradewatch.paper.requests import Limits
from tradewatch.paper.units import parse

RECORDED = Path(paper.__file__).parent / "data" / "BTCUSDT-1m-2023-03-03.csv.gz"
KEY, SECRET = "paper-key", "paper-secret"
KRAKEN_SECRET = base64.b64encode(b"paper-secret").decode()
OPTIONS = {"fetchMarkets": {"types": ["spot"]}, "fetchMargins": False}


def instant(text):
    return int(datetime.fromisoformat(text).timestamp()) * 10**9


@pytest.fixture(scope="session")
def recorded():
    return candles.load_candles(RECORDED)


@pytest.fixture
def rows():
    """Candles from (open, high, low, close) rows, from 2023-03-03T00:00Z, volume 4 each."""

    def build(*quads):
        lines = ["open_time,open,high,low,close,volume"]
        start = instant("2023-03-03T00:00+00:00") // 10**6
        for n, quad in enumerate(quads):
            lines.append(",".join([str(start + n * 60_000), *map(str, quad), "4"]))
        return candles.read_candles(lines, "rows")

    return build


@pytest.fixture
def make(recorded, clock_at):
    """An exchange and its clock. Keywords: candles, at, balances, spread_bp, depth, fees, more markets and accounts."""

    def build(record=None, *, at=None, balances=None, spread_bp=2.0, depth=None, fees=None, markets=(), accounts=()):
        record = record or recorded
        if at is None:
            at = instant("2023-03-03T00:50+00:00") if record is recorded else record.start_ns
        clock = clock_at(at)
        first = paper.Account(KEY, SECRET, balances or {"BTC": "1", "USDT": "50000"})
        market = paper.Market("BTC/USDT", record, spread_bp, depth=depth and parse(depth))
        return paper.Exchange([market, *markets], [first, *accounts], clock, fees), clock

    return build


def _redirected(value, url):
    if isinstance(value, dict):
        return {key: _redirected(item, url) for key, item in value.items()}
    _, _, host = url.partition("://")
    return re.sub(r"^(http|ws)s?://[^/]+", lambda found: f"{found[1]}://{host}", value)


def _client(cls, url, **settings):
    client = cls({"apiKey": KEY, "secret": SECRET, "enableRateLimit": False, "options": dict(OPTIONS), **settings})
    client.has["fetchCurrencies"] = False
    client.urls["api"] = _redirected(client.urls["api"], url)
    return client


@contextlib.contextmanager
def _connecting(make, cls):
    """Makes sync clients of servers, which are closed at the end."""
    with contextlib.ExitStack() as stack:

        def build(server, **settings):
            client = make(cls, server.url, **settings)
            stack.callback(client.session.close)
            return client

        yield build


@contextlib.asynccontextmanager
async def _streaming(make, cls, server, **settings):
    client = make(cls, server.url, timeout_on_exit=0, **settings)
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
def connect():
    """A real ccxt client of a server, closed after the test."""
    with _connecting(_client, ccxt.binance) as build:
        yield build


@pytest.fixture
def connect_async():
    """An async ccxt client of a server; the test closes it."""
    return lambda server, **settings: _client(ccxt.async_support.binance, server.url, timeout_on_exit=0, **settings)


@pytest.fixture
def connect_pro():
    """A real ccxt.pro client of a server, as an async context."""
    return functools.partial(_streaming, _client, ccxt.pro.binance)


@pytest.fixture
def quiet(make, rows):
    """Prices stand at 100 for a minute, fall to 90 and come back to 95."""
    return make(rows((100, 100, 100, 100), (100, 100, 90, 95), (95, 95, 95, 95), (95, 95, 95, 95)), spread_bp=20)


@pytest.fixture
def perpetual(rows, clock_at):
    """A perpetual on rows of candles, and its clock. Keywords: wallet, terms, spread_bp, more markets and accounts."""

    def build(*quads, wallet="10000", terms=None, spread_bp=20.0, depth=None, markets=(), accounts=()):
        record = rows(*quads)
        clock = clock_at(record.start_ns)
        first = paper.Account(KEY, SECRET, {"USDT": wallet})
        market = paper.Market("BTC/USDT", record, spread_bp, depth=depth and parse(depth))
        return paper.Perpetual([market, *markets], [first, *accounts], clock, terms), clock

    return build


def _usdm_client(cls, url, **settings):
    client = cls({"apiKey": KEY, "secret": SECRET, "enableRateLimit": False, **settings})
    client.has["fetchCurrencies"] = False
    client.urls["api"] = _redirected(client.urls["api"], url)
    # ccxt finds the perpetual's own codes by the venue's host name, which a redirected client has lost.
    client.exceptions["exact"] = {**client.exceptions["exact"], **client.exceptions["linear"]["exact"]}
    return client


@pytest.fixture
def connect_usdm():
    """A real ccxt client of a server that speaks the perpetual's protocol, closed after the test."""
    with _connecting(_usdm_client, ccxt.binanceusdm) as build:
        yield build


@pytest.fixture
def stream_usdm():
    """The same of ccxt.pro, as an async context."""
    return functools.partial(_streaming, _usdm_client, ccxt.pro.binanceusdm)


@pytest.fixture
def dollars(recorded, clock_at):
    """An exchange as Kraken's, and its clock. Keywords: record, at, balances, spread_bp, depth, markets."""

    def build(record=None, *, at=None, balances=None, spread_bp=2.0, depth=None, markets=(), **account):
        record = record or recorded
        if at is None:
            at = instant("2023-03-03T00:50+00:00") if record is recorded else record.start_ns
        clock = clock_at(at)
        held = balances or {"BTC": "1", "USD": "50000"}
        keys = [paper.Account(KEY, KRAKEN_SECRET, held, **account)]
        fees = paper.Fees(charged_in="quote")
        market = paper.Market("BTC/USD", record, spread_bp, depth=depth and parse(depth))
        return paper.Exchange([market, *markets], keys, clock, fees), clock

    return build


def kraken_client(cls, url, **settings):
    client = cls({"apiKey": KEY, "secret": KRAKEN_SECRET, "enableRateLimit": False, **settings})
    client.urls["api"] = _redirected(client.urls["api"], url)
    return client


@pytest.fixture
def connect_kraken():
    """A real ccxt client of a server that speaks Kraken's protocol, closed after the test."""
    with _connecting(kraken_client, ccxt.kraken) as build:
        yield build


@pytest.fixture
async def stream_kraken():
    """A real ccxt.pro client of a server that speaks Kraken's protocol, closed after the test."""
    async with contextlib.AsyncExitStack() as stack:

        def build(server, **settings):
            client = kraken_client(ccxt.pro.kraken, server.url, timeout_on_exit=0, **settings)
            stack.push_async_callback(client.close)
            return client

        yield build


class KrakenLine:
    """A connection that reads until it has what a test asks for; decimals are kept."""

    def __init__(self, socket, token):
        self.socket = socket
        self.token = token
        self.ids = iter(range(1, 1000))

    async def message(self, wait_s=5):
        arrived = await asyncio.wait_for(self.socket.receive(), wait_s)
        if arrived.type is not aiohttp.WSMsgType.TEXT:
            raise ConnectionError(arrived.type.name)
        return json.loads(arrived.data, parse_float=Decimal)

    async def next(self, name):
        """The next message of a channel or method."""
        while True:
            found = await self.message()
            if name in (found.get("channel"), found.get("method")):
                return found

    async def ask(self, method, answers=1, **params):
        req_id = next(self.ids)
        await self.socket.send_json({"method": method, "params": params, "req_id": req_id})
        found = []
        while len(found) < answers:
            arrived = await self.message()
            if arrived.get("req_id") == req_id:
                assert {"time_in", "time_out"} <= set(arrived)
                found.append({name: value for name, value in arrived.items() if not name.startswith("time_")})
        return found[0] if answers == 1 else found

    async def another(self):
        """A second connection of the same session."""
        return KrakenLine(await self.session.ws_connect(f"{self.server.url}/v2"), self.token)

    async def private(self, method, **params):
        return await self.ask(method, token=self.token, **params)

    async def nothing(self, wait_s=0.3):
        """No message but heartbeats for a while."""
        with contextlib.suppress(TimeoutError):
            while True:
                assert (await self.message(wait_s))["channel"] == "heartbeat"


@pytest.fixture
async def line(dollars, rows):
    """A connection to an exchange at 100, the exchange and its clock; keywords: faults and those of `dollars`."""
    async with contextlib.AsyncExitStack() as stack:

        async def build(faults=(), record=None, **settings):
            record = record or rows((100, 100, 100, 100), (100, 110, 90, 105))
            exchange, clock = dollars(record, **({"spread_bp": 20, "balances": {"BTC": "1", "USD": "1000"}} | settings))
            serving = paper.serve(exchange, venue="kraken", faults=Faults(faults, 1), limits=Limits(tier="pro"))
            server = await stack.enter_async_context(serving)
            session = await stack.enter_async_context(aiohttp.ClientSession())
            socket = await stack.enter_async_context(session.ws_connect(f"{server.url}/v2"))
            token = server.wire.tokens.issue(next(iter(exchange.accounts.values())), server.wall_ns())
            found = KrakenLine(socket, token)
            found.server, found.exchange, found.clock, found.session = server, exchange, clock, session
            return found

        yield build


@pytest.fixture
def read():
    """A control path's JSON."""

    def get(server, path):
        with urllib.request.urlopen(server.url + path) as answer:
            return json.load(answer)

    return get


@pytest.fixture
def orders(read):
    """What became of each order, by the books."""

    def statuses(server):
        return [order["status"] for order in read(server, "/paper/books")["accounts"]["main"]["orders"]]

    return statuses


@pytest.fixture
def logged(read):
    """What the log says of the latest request."""

    def latest(server):
        entry = read(server, "/paper/requests")[-1]
        return {key: entry[key] for key in ("status", "code", "accepted", "order_id", "fault")}

    return latest


@pytest.fixture
def faulty(make, rows):
    """A served exchange under rules."""
    exchange, clock = make(rows(*[(100, 100, 100, 100)] * 10), spread_bp=20)

    def serve(*rules, log_file=None):
        return paper.serve_in_thread(exchange, faults=Faults(rules, seed=1), log_file=log_file)

    serve.clock = clock
    return serve
