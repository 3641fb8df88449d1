"""ccxt's websockets: connections, messages, and what `watch_*` methods tell.

`wire` reads a raw message, `connections` wraps what a connection lives by, `watched` the methods that bots wait on.
"""

from tradewatch.instrumentation.ccxt.streams.connections import Streams
from tradewatch.instrumentation.ccxt.streams.watched import watched

__all__ = ["Streams", "watched"]
