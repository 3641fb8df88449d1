"""A market maker for one spot market, in plain ccxt.

It keeps a bid and an ask around the middle of the market, moves them when the market has moved, and trades back to
the share of the account that is to be in the base currency. It earns the spread and carries the risk of what it holds.

    EXCHANGE_KEY=... EXCHANGE_SECRET=... python examples/market_maker.py --seconds 60
"""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
from typing import Any
from urllib.parse import urlsplit

import ccxt.async_support as ccxt

log = logging.getLogger("market_maker")


def connect(key: str, secret: str, url: str | None = None) -> ccxt.Exchange:
    """A client of Binance spot; `url` is another address that speaks the same protocol, such as a test network."""
    exchange = ccxt.binance(
        {"apiKey": key, "secret": secret, "options": {"fetchMarkets": {"types": ["spot"]}, "fetchMargins": False}}
    )
    exchange.has["fetchCurrencies"] = False  # networks and withdrawal fees are nothing to a market maker
    if url:
        exchange.urls["api"] = _moved(exchange.urls["api"], url.rstrip("/"))
    return exchange


def _moved(urls: Any, to: str) -> Any:
    return (
        {name: _moved(each, to) for name, each in urls.items()} if isinstance(urls, dict) else to + urlsplit(urls).path
    )


class MarketMaker:
    """Quotes one market until it is cancelled.

    Args:
        exchange: the client; closed at the end.
        symbol: the market.
        size: of a quote, in base currency.
        spread: from bid to ask, as a share of the price.
        hold: share of the account that is to be in base currency.
        pause_s: between rounds.
    """

    def __init__(
        self,
        exchange: ccxt.Exchange,
        *,
        symbol: str = "BTC/USDT",
        size: float = 0.004,
        spread: float = 0.0012,
        hold: float = 0.96,
        pause_s: float = 1.0,
    ) -> None:
        self.exchange = exchange
        self.symbol = symbol
        self.size = size
        self.spread = spread
        self.hold = hold
        self.pause_s = pause_s
        self.quoted_at = 0.0  # the middle of the market when the quotes were last put right
        self.newest_trade = ("0", 0)  # id, milliseconds
        self.rest = 0  # rounds without quotes left, after the exchange did not take one
        self.longest_rest = 1

    async def run(self) -> None:
        """Round after round; a failed one is logged, and the next one comes a little later."""
        try:
            for number in range(1_000_000_000):
                pause_s = self.pause_s
                try:
                    await self.round(number)
                except ccxt.InvalidOrder as error:
                    log.warning("order not taken: %s", error)
                    self.rest, self.longest_rest = self.longest_rest, min(2 * self.longest_rest, 16)
                except ccxt.NetworkError as error:
                    log.warning("exchange not reached: %s", error)
                    pause_s = 5 * self.pause_s
                except ccxt.ExchangeError as error:
                    log.error("exchange refused: %s", error)
                    pause_s = 5 * self.pause_s
                await asyncio.sleep(pause_s)
        finally:
            await self.close()

    async def round(self, number: int) -> None:
        """Look at the market, put the quotes right where it has moved, and now and then read the account."""
        ticker = await self.exchange.fetch_ticker(self.symbol)
        mid = (ticker["bid"] + ticker["ask"]) / 2
        if number % 8 == 0:
            await self.read_trades()
            if number % 24 == 0:
                await self.rebalance(await self.exchange.fetch_balance(), mid)
            return
        if abs(mid - self.quoted_at) < mid * self.spread / 4 and number % 4:
            return
        await self.quote(mid)

    async def quote(self, mid: float) -> None:
        """Take back the quotes that are too far from where they should be, and place those that are missing."""
        wanted = {"buy": mid * (1 - self.spread / 2), "sell": mid * (1 + self.spread / 2)}
        for order in await self.exchange.fetch_open_orders(self.symbol):
            if abs(order["price"] / wanted[order["side"]] - 1) < self.spread / 4:
                del wanted[order["side"]]
            else:
                await self.cancel(order)
        if self.rest:
            self.rest -= 1
            return
        for side, price in wanted.items():
            await self.exchange.create_order(
                self.symbol, "limit", side, self.size, float(self.exchange.price_to_precision(self.symbol, price))
            )
        self.quoted_at, self.longest_rest = mid, 1

    async def cancel(self, order: dict[str, Any]) -> None:
        """Take back a quote; one that was filled meanwhile is no trouble."""
        try:
            await self.exchange.cancel_order(order["id"], self.symbol)
        except ccxt.OrderNotFound:
            log.info("%s at %s is gone, filled most likely", order["side"], order["price"])

    async def read_trades(self) -> None:
        """Log what was filled since the last look."""
        seen, since = self.newest_trade
        for trade in await self.exchange.fetch_my_trades(self.symbol, since=since or None):
            if int(trade["id"]) > int(seen):
                done = "bought" if trade["side"] == "buy" else "sold"
                log.info("%s %s at %s", done, trade["amount"], trade["price"])
                self.newest_trade = (trade["id"], trade["timestamp"])

    async def rebalance(self, balance: dict[str, Any], mid: float) -> None:
        """Trade back to the share that is to be in base currency, where fills have led too far away from it."""
        base, quote = self.symbol.split("/")
        held, cash = balance[base]["total"], balance[quote]["total"]
        excess = held - self.hold * (held + cash / mid)
        if abs(excess) > 1.5 * self.size and not self.rest:
            log.info("rebalancing %+.5f %s", -excess, base)
            amount = float(self.exchange.amount_to_precision(self.symbol, abs(excess)))
            await self.exchange.create_order(self.symbol, "market", "sell" if excess > 0 else "buy", amount)

    async def close(self) -> None:
        """Take back the quotes, read the account and the price once more, and close the client."""
        try:
            for order in await self.exchange.fetch_open_orders(self.symbol):
                await self.cancel(order)
            await self.read_trades()
            balance = await self.exchange.fetch_balance()
            held = {currency: amount for currency, amount in balance["total"].items() if amount}
            last = (await self.exchange.fetch_ticker(self.symbol))["last"]
            log.info("ended with %s, at %s", ", ".join(f"{n} {currency}" for currency, n in held.items()), last)
        except ccxt.BaseError as error:
            log.warning("not ended as it should be, look at the account: %s", error)
        finally:
            await self.exchange.close()


async def main() -> None:
    """Run until SIGINT or SIGTERM, or for so many seconds."""
    parser = argparse.ArgumentParser(
        description="Make a market with plain ccxt, until Ctrl-C.",
        epilog="EXCHANGE_KEY and EXCHANGE_SECRET are the account's; EXCHANGE_URL another address than Binance's own.",
    )
    parser.add_argument("--seconds", type=float, help="end by itself after so many seconds")
    parser.add_argument("--symbol", default="BTC/USDT", help="the market (default %(default)s)")
    parser.add_argument("--size", type=float, default=0.004, help="of a quote, in base currency (default %(default)s)")
    parser.add_argument("--spread", type=float, default=0.0012, help="bid to ask, a share (default %(default)s)")
    parser.add_argument("--hold", type=float, default=0.96, help="share in base currency (default %(default)s)")
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between rounds (default %(default)s)")
    given = parser.parse_args()
    missing = [name for name in ("EXCHANGE_KEY", "EXCHANGE_SECRET") if not os.environ.get(name)]
    if missing:
        parser.error(f"set {' and '.join(missing)} in the environment")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    exchange = connect(os.environ["EXCHANGE_KEY"], os.environ["EXCHANGE_SECRET"], os.environ.get("EXCHANGE_URL"))
    bot = MarketMaker(
        exchange, symbol=given.symbol, size=given.size, spread=given.spread, hold=given.hold, pause_s=given.pause
    )
    running = asyncio.create_task(bot.run())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    await asyncio.wait([running], timeout=given.seconds)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


if __name__ == "__main__":
    asyncio.run(main())
