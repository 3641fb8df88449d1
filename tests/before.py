"""What each page takes for granted: what runs beside it, files, what `bot` and `exchange` are, and what then holds."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from pages import ROOT, blocks_of


class Before(NamedTuple):
    """What a page takes for granted: commands that run, files, Python, variables; what holds after its n-th Python."""

    served: tuple[str, ...] = ()
    files: Mapping[str, str] = MappingProxyType({})
    python: str = ""
    environment: Mapping[str, str] = MappingProxyType({})
    then: Mapping[int, str] = MappingProxyType({})


def example(name):
    return (ROOT / "examples" / f"{name}.py").read_text()


KRAKEN = "tradewatch paper --venue kraken --port 8100 --speed 200 --balance BTC=1,USDT=1000 --account key:c2VjcmV0"
ON_KRAKEN = {"EXCHANGE_URL": "http://127.0.0.1:8100", "EXCHANGE_KEY": "key", "EXCHANGE_SECRET": "c2VjcmV0"}
RECORD = (ROOT / "src/tradewatch/paper/data/BTCUSDT-1m-2023-03-03.csv.gz").read_bytes()
# What the pages mean by `bot`, `exchange` and `price`.
PYTHON = """
import json, logging, os, re, urllib.request
import ccxt
import tradewatch
from tradewatch.runtime.failures import failures

os.environ["TRADEWATCH_PORT"] = "0"
failures.strict = True

def redirected(urls, to):
    return {
        key: redirected(url, to) if isinstance(url, dict) else re.sub(r"^https?://[^/]+", to, url)
        for key, url in urls.items()
    }

def binance(url, key="paper-key", secret="paper-secret"):
    options = {"fetchMarkets": {"types": ["spot"]}, "fetchMargins": False}
    made = ccxt.binance({"apiKey": key, "secret": secret, "options": options, "enableRateLimit": False})
    made.has["fetchCurrencies"] = False
    made.urls["api"] = redirected(made.urls["api"], url)
    return made

class Desk:
    def execute_order(self, order):
        return order
    send = execute_order

class Bot:
    def __init__(self, exchange):
        self.exchange = exchange
        self.router = self.desk = Desk()

exchange = binance("http://127.0.0.1:8101")
price = exchange.fetch_ticker("BTC/USDT")["last"]
bot = Bot(exchange)
"""
BINANCE = "tradewatch paper --port 8101 --speed 1"
GRID = (
    PYTHON
    + """
import contextlib, time
watch = tradewatch.instrument(bot, name="grid", port=None)
exchange.fetch_balance()
print("INFO worth 1.0", flush=True)
with contextlib.suppress(KeyboardInterrupt):
    while True:
        exchange.fetch_ticker("BTC/USDT")
        time.sleep(0.2)
"""
)
# What the README says of its second piece.
REFUSED = """
assert watch.status().limits["daily_loss"] == 0.02
watch.halt("the news")
try:
    exchange.create_order("BTC/USDT", "market", "buy", 0.01)
except ccxt.InvalidOrder as error:
    assert type(error).__name__ == "OrderRefused"
else:
    raise AssertionError("an order passed")
watch.resume("all is well")
assert exchange.create_order("BTC/USDT", "market", "buy", 0.01)["id"]
"""
SECOND = """
import ccxt.pro
from binance import AsyncClient, BinanceSocketManager, Client
from tradewatch.runtime.clock import ScaledClock
connect = binance
"""
WORSE, BAD_DAY = [block.text for block in blocks_of("docs/paper.md", "yaml")]
BEFORE = {
    "README.md": Before(
        (KRAKEN, BINANCE), {}, PYTHON, ON_KRAKEN,
        {
            1: "assert watch.status().clients; tradewatch.uninstrument(bot)",
            2: REFUSED,
        },
    ),
    "docs/autoload.md": Before((KRAKEN,), {"main.py": example("rebalancer")}, environment=ON_KRAKEN),
    "docs/configuration.md": Before(
        (BINANCE,), python=PYTHON, then={1: "assert watch.status().limits['daily_loss'] == 0.02"}
    ),
    "docs/control.md": Before((BINANCE, "python grid.py"), {"grid.py": GRID}),
    "docs/instrumentation.md": Before(then={1: "assert [*POINTS] == ['place', 'cancel', 'trades']"}),
    "docs/manual.md": Before(
        (BINANCE,), python=PYTHON + "tradewatch.instrument(bot, port=None)",
        then={3: "tradewatch.uninstrument(bot)", 5: "assert Grid().watch.status().limits['daily_loss'] == 0.02"},
    ),
    "docs/paper.md": Before(
        (BINANCE,),
        {"bot.py": example("market_maker"), "btc.csv.gz": RECORD, "worse.yaml": WORSE, "bad-day.yaml": BAD_DAY},
        PYTHON + SECOND,
        {"EXCHANGE_URL": "http://127.0.0.1:8123", "EXCHANGE_KEY": "paper-key", "EXCHANGE_SECRET": "paper-secret"},
        {
            1: "bot.exchange = exchange; assert exchange.fetch_ticker('BTC/USDT')['last'] > 20_000",
            3: "assert (await exchange.fetch_ticker('BTC/USDT'))['last'] > 20_000; await exchange.close()",
            4: "assert (await client.get_symbol_ticker(symbol='BTCUSDT'))['price']; await client.close_connection()",
            5: "assert watch.status().at_ns < 1_700_000_000 * 10**9",
        },
    ),
    "docs/telemetry.md": Before(
        (BINANCE,), python=PYTHON + "tradewatch.instrument(bot, port=None)",
        then={1: "logging.getLogger('bot').warning('a line')"},
    ),
}  # fmt: skip
