"""A paper exchange: Binance spot and Kraken spot on loopback, matching on recorded or random prices, with faults.

The core (`Exchange`) does no input or output and is handed its clock; `serve` puts it behind sockets and needs aiohttp
(the extra `server`).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tradewatch.paper.accounts import Account
from tradewatch.paper.candles import CandleError, Candles, load_candles, random_candles
from tradewatch.paper.errors import Refusal
from tradewatch.paper.exchange import Exchange
from tradewatch.paper.faults import Faults
from tradewatch.paper.fees import Fees, ThirdCurrency
from tradewatch.paper.market import Market
from tradewatch.paper.perpetual import Perpetual, Terms
from tradewatch.paper.requests import Limits

if TYPE_CHECKING:
    from tradewatch.paper.server import PaperServer, serve, serve_in_thread

__all__ = [
    "Account",
    "CandleError",
    "Candles",
    "Exchange",
    "Faults",
    "Fees",
    "Limits",
    "Market",
    "PaperServer",
    "Perpetual",
    "Refusal",
    "Terms",
    "ThirdCurrency",
    "load_candles",
    "random_candles",
    "serve",
    "serve_in_thread",
]

_FROM_SERVER = ("PaperServer", "serve", "serve_in_thread")


def __getattr__(name: str) -> Any:
    """The names that need aiohttp, imported when first asked for."""
    if name in _FROM_SERVER:
        return getattr(import_module("tradewatch.paper.server"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
