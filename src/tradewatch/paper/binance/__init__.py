"""Binance's protocols: spot and the USD-M perpetual over REST, market and user streams, and the websocket API."""
