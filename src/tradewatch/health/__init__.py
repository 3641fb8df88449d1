"""How the bot's process and its machine are: read from the kernel every ten seconds, missing where it does not tell."""

from tradewatch.health.loops import Loops
from tradewatch.health.pauses import GcPauses
from tradewatch.health.system import System, looked_at
from tradewatch.health.watched import LogFiles, WatchedProcesses

__all__ = ["GcPauses", "LogFiles", "Loops", "System", "WatchedProcesses", "looked_at"]
