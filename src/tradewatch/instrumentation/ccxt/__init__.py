"""ccxt, sync and async REST: which methods are wrapped, what an order call says, and what a refused order raises.

ccxt is never imported here: it is looked at when the bot has imported it.
"""

from tradewatch.instrumentation.ccxt.binding import Binding, binding_of, loop_of
from tradewatch.instrumentation.ccxt.errors import refused_class
from tradewatch.instrumentation.ccxt.heard import Limit
from tradewatch.instrumentation.ccxt.venue_clock import ClockOffset
from tradewatch.instrumentation.ccxt.wrap import Ccxt, is_client

__all__ = ["Binding", "Ccxt", "ClockOffset", "Limit", "binding_of", "is_client", "loop_of", "refused_class"]
