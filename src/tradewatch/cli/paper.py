"""`tradewatch paper`: the paper exchange as a process."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, TypeVar

import click

from tradewatch.paper import units
from tradewatch.paper.accounts import Account
from tradewatch.paper.candles import CandleError, Candles, load_candles, random_candles
from tradewatch.paper.exchange import Exchange
from tradewatch.paper.faults import Faults
from tradewatch.paper.fees import Fees, ThirdCurrency
from tradewatch.paper.market import Market
from tradewatch.paper.perpetual import Perpetual, Terms
from tradewatch.paper.replay import RecordError, load_record
from tradewatch.paper.requests import Limits, Tier
from tradewatch.paper.scenario import ScenarioError, load_scenario, parse_time
from tradewatch.paper.venues import VENUES
from tradewatch.runtime.clock import ScaledClock

_T = TypeVar("_T")
RECORDED = Path(__file__).parent.parent / "paper" / "data" / "BTCUSDT-1m-2023-03-03.csv.gz"
RANDOM_DAYS = 7
DEFAULT_ACCOUNTS = {
    "binance": "paper-key:paper-secret",
    "binanceusdm": "paper-key:paper-secret",
    "kraken": "paper-key:cGFwZXItc2VjcmV0",
}

EPILOG = """\b
Examples:
  tradewatch paper
      BTC/USDT through the fall of 3 March 2023, from 00:50 at 1 x, on a free port.
  tradewatch paper --speed 200 --port 8123 --balance BTC=1,USDT=5000
      The same 200 times as fast, an account mostly in BTC.
  tradewatch paper --scenario faults.yaml --seed 7 --log-file requests.jsonl --json
      With faults; the first line on standard output is JSON with url and clock.
  tradewatch paper --candles random:25000 --start 2024-01-01T00:00Z --seed 3
      A random walk from 25,000 for seven days.
  tradewatch paper --venue kraken --market BTC/USD --candles random:25000 --balance BTC=1,USD=5000
      Kraken: REST, and websocket v2 at /v2 of the same port.
  tradewatch paper --venue binance --venue kraken --port 8123
      Both in one process, on one clock: Binance at port 8123, Kraken at 8124.
  tradewatch paper --venue binanceusdm --balance USDT=5000 --speed 60
      Binance's USD-M perpetual (ccxt.binanceusdm), for positions, leverage, funding and liquidation.
  tradewatch paper --depth 0.05 --speed 60
      A thin book: orders larger than 0.05 BTC fill in parts, resting ones wait their turn.
  tradewatch paper --replay requests.jsonl
      The faults of a recorded run again, request by request.

\b
A ccxt client for it: rewrite scheme and host of every string in ex.urls['api'] to the url printed (ws:// for those
under 'ws'). For Binance also set ex.has['fetchCurrencies'] = False and
options={'fetchMarkets': {'types': ['spot']}, 'fetchMargins': False}.

\b
Read GET /paper/books, /paper/requests and /paper/clock; POST /paper/transfer?currency=USDT&amount=100 is a deposit,
amount=-100 a withdrawal. GET /paper/faults shows the rules, POST /paper/faults adds those of a scenario in its body,
DELETE /paper/faults takes all out. SIGINT or SIGTERM ends it.

\b
A scenario is a list of rules: rules: [{match: {operation: order_place, nth: 2}, fault: {kind: timeout}}].
Faults of requests: latency, clock_skew, false_tick, rate_limit, ban, nonce, maintenance, server_error, timeout, reset,
half_json; of websocket messages: drop, silence, lose, repeat, late, reorder; of the market: price_gap, thin_book.
"""


@click.command(epilog=EPILOG)
@click.option(
    "--venue", "venues", multiple=True, type=click.Choice(list(VENUES)),
    help="Whose protocol; repeat for more, each a venue with books of its own, on the ports from --port on. "
    "Default binance.",
)  # fmt: skip
@click.option(
    "--account", "accounts", multiple=True, metavar="KEY:SECRET",
    help="API key and secret; repeat for more accounts. Default paper-key:paper-secret; of kraken, whose secrets are "
    "base64, paper-key:cGFwZXItc2VjcmV0.",
)  # fmt: skip
@click.option("--balance", default="BTC=1,USDT=5000", show_default=True, help="What every account starts with.")
@click.option("--market", "symbols", multiple=True, help="BASE/QUOTE; repeat for more. Default BTC/USDT.")
@click.option(
    "--candles", multiple=True, metavar="FILE|random:PRICE",
    help="One-minute candles (CSV, .gz too) or a seeded random walk; one for each --market, in order. "
    "Default: the recorded BTC/USDT of 3 and 4 March 2023.",
)  # fmt: skip
@click.option(
    "--start", default="2023-03-03T00:50Z", show_default=True, help="Simulated time at the start, ISO 8601 with offset."
)
@click.option("--speed", default=1.0, show_default=True, help="Simulated seconds in a real second.")
@click.option("--seed", default=0, show_default=True, help="Of random walks and of the scenario's probabilities.")
@click.option("--scenario", metavar="FILE", help="YAML with faults; see the documentation of the paper exchange.")
@click.option("--replay", metavar="FILE", help="A request log; its faults happen again, after those of --scenario.")
@click.option("--port", default=0, show_default=True, help="On 127.0.0.1; 0 takes a free one.")
@click.option("--spread-bp", default=2.0, show_default=True, help="Bid to ask in basis points of the mid.")
@click.option(
    "--depth", metavar="BASE",
    help="What stands at each level of the book, so that orders fill in parts and wait their turn. Default: ample, "
    "orders fill whole.",
)  # fmt: skip
@click.option("--maker-fee", help="Rate. Default 0.001; of binanceusdm, on the notional, 0.0002.")
@click.option("--taker-fee", help="Rate. Default 0.001; of binanceusdm, on the notional, 0.0005.")
@click.option(
    "--funding-rate", default="0.0001", show_default=True,
    help="Of binanceusdm: what longs pay shorts every eight hours; below zero the other way.",
)  # fmt: skip
@click.option(
    "--fee-currency", metavar="CODE",
    help="Charge fees in this currency (such as BNB), 25 % less, while the account holds enough.",
)  # fmt: skip
@click.option("--fee-price", help="Its price in quote, where no --market has it.")
@click.option("--weight-limit", type=int, help="Request weight a real minute. Default 6000; of binanceusdm 2400.")
@click.option("--order-limit", type=int, help="Orders an account in ten real seconds. Default 100; of binanceusdm 300.")
@click.option(
    "--tier", default="intermediate", show_default=True, type=click.Choice(["starter", "intermediate", "pro"]),
    help="Of Kraken's rate limits.",
)  # fmt: skip
@click.option("--log-file", metavar="FILE", help="Append the request log as JSON lines.")
@click.option("--json", "as_json", is_flag=True, help="Say that it is ready as one line of JSON.")
def paper(
    *,
    venues: tuple[str, ...],
    accounts: tuple[str, ...],
    balance: str,
    symbols: tuple[str, ...],
    candles: tuple[str, ...],
    start: str,
    speed: float,
    seed: int,
    scenario: str | None,
    replay: str | None,
    port: int,
    spread_bp: float,
    depth: str | None,
    maker_fee: str | None,
    taker_fee: str | None,
    funding_rate: str,
    fee_currency: str | None,
    fee_price: str | None,
    weight_limit: int | None,
    order_limit: int | None,
    tier: Tier,
    log_file: str | None,
    as_json: bool,
) -> None:
    """Serve a paper exchange on loopback, on recorded or random prices: Binance spot and perpetual, Kraken spot.

    Orders are matched in simulated time, with fees, filters and balances as the venue has them. No real money and no
    real venue: the server listens on 127.0.0.1 alone.
    """
    try:
        from tradewatch.paper.server import serve
    except ImportError as error:
        raise click.ClickException(f"the paper exchange needs aiohttp: pip install aiohttp ({error})") from error
    start_ns = _parsed("--start", start, parse_time, "ISO 8601 with an offset, such as 2023-03-03T00:50Z")
    if not 0 < speed < 1e6:
        raise _refused("--speed", speed, "a number above 0, below 1000000")
    if not 0 <= port < 65536:
        raise _refused("--port", port, "0 to 65535")
    names = symbols or ("BTC/USDT",)
    chosen = tuple(dict.fromkeys(venues)) or ("binance",)
    held = _balances(balance)
    keys = {venue: _accounts(accounts or (DEFAULT_ACCOUNTS[venue],), held, venue) for venue in chosen}
    size = _parsed("--depth", depth, units.parse, "an amount of base such as 0.5") if depth is not None else None
    make = partial(_markets, names, candles, start, start_ns, seed=seed, spread_bp=spread_bp, depth=size)
    markets = {venue: make() for venue in chosen}
    fees = {venue: _fees(venue, maker_fee, taker_fee, _third(fee_currency, fee_price)) for venue in chosen}
    funding = _funding(funding_rate)
    try:
        rules = (*(load_scenario(scenario) if scenario else ()), *(load_record(replay) if replay else ()))
    except (ScenarioError, RecordError) as error:
        raise click.ClickException(str(error)) from error
    for rule in rules:
        if rule.fault.market not in (None, *names):
            raise click.ClickException(f"{scenario}: market {rule.fault.market}: accepted is {', '.join(names)}")

    async def run(log: IO[bytes] | None) -> None:
        clock = ScaledClock(start_ns, speed, time.time_ns())
        stop = asyncio.Event()
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(signal_number, stop.set)
        async with AsyncExitStack() as servers:
            urls = {}
            for number, venue in enumerate(chosen):
                exchange: Exchange | Perpetual
                weight, orders = (2_400, 300) if venue == "binanceusdm" else (6_000, 100)
                if venue == "binanceusdm":
                    terms = Terms(fees[venue].maker, fees[venue].taker, funding_rate=funding)
                    exchange = Perpetual(markets[venue], keys[venue], clock, terms)
                else:
                    exchange = Exchange(markets[venue], keys[venue], clock, fees[venue])
                serving = serve(
                    exchange,
                    venue=venue,
                    port=port + number if port else 0,
                    faults=Faults(rules, seed),
                    limits=Limits(weight_limit or weight, order_limit or orders, tier=tier),
                    log_file=log,
                )
                urls[venue] = (await servers.enter_async_context(serving)).url
            ready = {
                "url": urls[chosen[0]],
                "urls": urls,
                "start_ns": clock.start_ns,
                "speed": clock.speed,
                "origin_ns": clock.origin_ns,
                "markets": list(names),
            }
            at = datetime.fromtimestamp(start_ns / 1e9, UTC).isoformat(timespec="seconds")
            where = ", ".join(f"{url} ({venue})" for venue, url in urls.items())
            human = f"Paper exchange at {where}: {', '.join(names)} from {at} at {speed:g} x. Ctrl-C ends it."
            click.echo(json.dumps(ready) if as_json else human)
            sys.stdout.flush()
            await stop.wait()

    with ExitStack() as stack:
        try:
            log = stack.enter_context(Path(log_file).open("ab")) if log_file else None
        except OSError as error:
            raise click.ClickException(
                f"--log-file {log_file}: {error.strerror}; accepted is a file to append to"
            ) from error
        try:
            asyncio.run(run(log))
        except OSError as error:
            raise click.ClickException(
                f"--port {port}: {error.strerror}; accepted is a free port of 127.0.0.1, or 0 for any"
            ) from error


def _refused(option: str, value: object, accepted: str) -> click.ClickException:
    return click.ClickException(f"{option} {value}: accepted is {accepted}")


def _parsed(option: str, value: str, parse: Callable[[str], _T], accepted: str) -> _T:
    try:
        return parse(value)
    except ValueError as error:
        raise _refused(option, value, accepted) from error


def _rate(option: str, text: str) -> int:
    rate = _parsed(option, text, units.parse, "a rate such as 0.001")
    if rate >= units.ONE // 2:
        raise _refused(option, text, "a rate below 0.5, such as 0.001")
    return rate


def _fees(venue: str, maker: str | None, taker: str | None, third: ThirdCurrency | None) -> Fees:
    usual = ("0.0002", "0.0005") if venue == "binanceusdm" else ("0.001", "0.001")
    return Fees(
        _rate("--maker-fee", maker or usual[0]),
        _rate("--taker-fee", taker or usual[1]),
        third,
        charged_in="quote" if venue == "kraken" else "received",
    )


def _funding(text: str) -> int:
    rate = _rate("--funding-rate", text.removeprefix("-"))
    return -rate if text.startswith("-") else rate


def _third(currency: str | None, price: str | None) -> ThirdCurrency | None:
    if currency is None:
        if price is not None:
            raise _refused("--fee-price", price, "a price together with --fee-currency")
        return None
    at = _parsed("--fee-price", price, units.parse, "a decimal above 0, such as 300") if price is not None else None
    if at == 0:
        raise _refused("--fee-price", price, "a decimal above 0, such as 300")
    return ThirdCurrency(currency, price=at)


def _markets(
    symbols: tuple[str, ...],
    given: tuple[str, ...],
    start: str,
    start_ns: int,
    *,
    seed: int,
    spread_bp: float,
    depth: int | None,
) -> list[Market]:
    if not given:
        if symbols != ("BTC/USDT",):
            raise _refused("--market", " ".join(symbols), "BTC/USDT, or one --candles for each --market")
        given = (str(RECORDED),)
    if len(given) != len(symbols):
        raise _refused("--candles", " ".join(given), f"one for each --market, so {len(symbols)}")
    markets = []
    for number, (symbol, source) in enumerate(zip(symbols, given, strict=True)):
        candles = _candles(source, start_ns, seed + number)
        if not candles.start_ns <= start_ns < candles.end_ns:
            first, last = (
                datetime.fromtimestamp(ns / 1e9, UTC).isoformat() for ns in (candles.start_ns, candles.end_ns)
            )
            raise _refused("--start", start, f"an instant within {source}: from {first}, before {last}")
        try:
            markets.append(Market(symbol, candles, spread_bp, depth=depth))
        except ValueError as error:
            raise click.ClickException(str(error)) from error
    if len({market.instrument.id for market in markets}) != len(markets):
        raise _refused("--market", " ".join(symbols), "each market once")
    return markets


def _candles(source: str, start_ns: int, seed: int) -> Candles:
    if source.startswith("random:"):
        accepted = "random: and a first price of at least 0.01 with two decimals, such as random:25000"
        price = source.removeprefix("random:")
        if _parsed("--candles", price, units.parse, accepted) < units.ONE // 100:
            raise _refused("--candles", source, accepted)
        return random_candles(price, start_ns, RANDOM_DAYS * 1440, seed)
    try:
        return load_candles(source)
    except CandleError as error:
        raise click.ClickException(str(error)) from error


def _balances(text: str) -> dict[str, str]:
    accepted = "CODE=AMOUNT pairs with commas between, such as BTC=1,USDT=5000"
    balances: dict[str, str] = {}
    for pair in text.split(",") if text else []:
        currency, equals, amount = pair.strip().partition("=")
        if not (equals and currency.isalnum() and currency.isupper()) or currency in balances:
            raise _refused("--balance", pair, accepted)
        try:
            units.parse(amount)
        except ValueError as error:
            raise _refused("--balance", pair, accepted) from error
        balances[currency] = amount
    return balances


def _accounts(given: tuple[str, ...], balances: dict[str, str], venue: str) -> list[Account]:
    accounts = []
    for number, pair in enumerate(given, start=1):
        key, colon, secret = pair.partition(":")
        if not (colon and key and secret):
            raise click.ClickException(f"--account number {number}: accepted is KEY:SECRET, neither of them empty")
        if venue == "kraken" and not _is_base64(secret):
            raise click.ClickException(f"--account number {number}: a secret of kraken is base64, such as cGFwZXI=")
        name = "main" if number == 1 else f"account-{number}"
        accounts.append(Account(key, secret, balances, name))
    if len({account.key for account in accounts}) != len(accounts):
        raise click.ClickException("--account: two accounts have the same key; accepted is each key once")
    return accounts


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text, validate=True))
    except binascii.Error:
        return False
