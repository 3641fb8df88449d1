"""A rebalancer for one spot market on Kraken, in plain blocking ccxt.

It keeps a share of the account in the base currency and trades back to it when the price has moved that share too far.

    EXCHANGE_KEY=... EXCHANGE_SECRET=... python examples/rebalancer.py --seconds 60
"""

import argparse
import logging
import os
import sys
import time

import ccxt

log = logging.getLogger("rebalancer")


def connect(key: str, secret: str, url: str | None = None) -> ccxt.Exchange:
    """A client of Kraken spot; `url` is another address that speaks the same protocol, such as a paper exchange."""
    exchange = ccxt.kraken({"apiKey": key, "secret": secret})
    if url:
        exchange.urls["api"] = dict.fromkeys(exchange.urls["api"], url.rstrip("/"))
    return exchange


def rebalance(exchange: ccxt.Exchange, symbol: str, hold: float, band: float) -> None:
    """Trade back to the share that is to be in base currency, where it is off by more than `band`."""
    base, quote = symbol.split("/")
    last = exchange.fetch_ticker(symbol)["last"]
    balance = exchange.fetch_balance()
    held, cash = balance[base]["total"], balance[quote]["total"]
    worth = held * last + cash
    off = held * last / worth - hold
    log.info("worth %.2f %s, %.1f %% of it in %s", worth, quote, 100 * held * last / worth, base)
    if abs(off) > band:
        amount = float(exchange.amount_to_precision(symbol, abs(off) * worth / last))
        placed = exchange.create_order(symbol, "market", "sell" if off > 0 else "buy", amount)
        # Kraken's answer has the order's id alone.
        order = exchange.fetch_order(placed["id"], symbol)
        log.info("%s %s %s at %s", order["side"], order["filled"], base, order["average"])


def main() -> int:
    """Round after round, until Ctrl-C or for so many seconds."""
    parser = argparse.ArgumentParser(
        description="Keep a share of an account in one currency, with plain ccxt, until Ctrl-C.",
        epilog="EXCHANGE_KEY and EXCHANGE_SECRET are the account's; EXCHANGE_URL another address than Kraken's own.",
    )
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end by itself after so many seconds")
    parser.add_argument("--symbol", default="BTC/USDT", help="the market (default %(default)s)")
    parser.add_argument("--hold", type=float, default=0.9, help="share in base currency (default %(default)s)")
    parser.add_argument("--band", type=float, default=0.0005, help="how far off it may be (default %(default)s)")
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between rounds (default %(default)s)")
    given = parser.parse_args()
    missing = [name for name in ("EXCHANGE_KEY", "EXCHANGE_SECRET") if not os.environ.get(name)]
    if missing:
        parser.error(f"set {' and '.join(missing)} in the environment")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    exchange = connect(os.environ["EXCHANGE_KEY"], os.environ["EXCHANGE_SECRET"], os.environ.get("EXCHANGE_URL"))
    ends = time.monotonic() + given.seconds
    while time.monotonic() < ends:
        try:
            rebalance(exchange, given.symbol, given.hold, given.band)
        except ccxt.InvalidOrder as error:
            log.warning("order not taken: %s", error)
        except ccxt.NetworkError as error:
            log.warning("exchange not reached: %s", error)
        except ccxt.ExchangeError as error:
            log.error("exchange refused: %s", error)
        time.sleep(given.pause)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
