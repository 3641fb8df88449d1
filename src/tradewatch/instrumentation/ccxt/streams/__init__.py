"""ccxt's websockets: connections, messages, and what `watch_*` methods tell.

`wire` reads a raw message, `connections` wraps what a connection lives by, `watched` the methods that bots wait on,
`sends` gates the orders.
"""

from tradewatch.instrumentation.ccxt.streams.connections import Streams
from tradewatch.instrumentation.ccxt.streams.sends import OrderMessage
from tradewatch.instrumentation.ccxt.streams.watched import watched

__all__ = ["OrderMessage", "Streams", "watched"]
