"""tradewatch makes a trading bot observable and stoppable.

import tradewatch

watch = tradewatch.instrument(bot)   # every exchange call of the bot becomes spans and metrics
watch.status()                       # what it does, earns and risks
watch.halt("news")                   # the next order is refused
"""

from tradewatch.breaker import ResumeRefused
from tradewatch.registry import instrument, shutdown, uninstrument
from tradewatch.rules import RuleFileError
from tradewatch.status import Status
from tradewatch.store import StoreInUse
from tradewatch.watch import Watch

__all__ = ["ResumeRefused", "RuleFileError", "Status", "StoreInUse", "Watch", "instrument", "shutdown", "uninstrument"]
