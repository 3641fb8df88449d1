"""The venues that are served, by name: what each protocol is made by, and the operations that scenarios may name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tradewatch.paper import kraken
from tradewatch.paper.binance import spot, streams, usdm, ws_api
from tradewatch.paper.binance.spot import binance_spot
from tradewatch.paper.binance.usdm import binance_usdm
from tradewatch.paper.kraken import KrakenSpot
from tradewatch.paper.requests import Limits, Wire

CONNECT = "ws_connect"  # the operation of a websocket's handshake

VENUES: Mapping[str, Callable[[Any, Limits | None, Callable[[], int]], Wire]] = {
    "binance": binance_spot,
    "binanceusdm": binance_usdm,
    "kraken": KrakenSpot,
}
OPERATIONS = tuple(
    dict.fromkeys(
        (
            CONNECT,
            *(route.operation for route in spot.ROUTES.values()),
            *(route.operation for route in usdm.ROUTES.values()),
            *streams.OPERATIONS.values(),
            *ws_api.OPERATIONS.values(),
            *kraken.OPERATIONS,
        )
    )
)
