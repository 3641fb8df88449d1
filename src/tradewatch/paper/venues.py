"""The venues that are served, by name: what each protocol is made by, and the operations that scenarios may name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tradewatch.paper import kraken
from tradewatch.paper.binance import rest
from tradewatch.paper.binance.rest import BinanceSpot
from tradewatch.paper.exchange import Exchange
from tradewatch.paper.kraken import KrakenSpot
from tradewatch.paper.requests import Limits, Wire

CONNECT = "ws_connect"  # the operation of a websocket's handshake

VENUES: Mapping[str, Callable[[Exchange, Limits | None, Callable[[], int]], Wire]] = {
    "binance": BinanceSpot,
    "kraken": KrakenSpot,
}
OPERATIONS = tuple(dict.fromkeys((CONNECT, *rest.OPERATIONS, *kraken.OPERATIONS)))
