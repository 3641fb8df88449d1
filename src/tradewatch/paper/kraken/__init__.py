"""Kraken spot: its REST protocol and version 2 of its websocket, over the same exchange as the other venues."""

from __future__ import annotations

from tradewatch.paper.kraken.wire import OPERATIONS, KrakenSpot

__all__ = ["OPERATIONS", "KrakenSpot"]
