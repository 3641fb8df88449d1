"""What stops the bot: a gate that orders pass, a pure state machine, and the breaker that keeps memory and disk equal.

`OrderGate` stands on the bot's way to the venue, `Breaker` closes and opens it, `Status` is what it says of itself,
`explain` what a refused order is told.
"""

from tradewatch.breaker.breaker import Breaker, ResumeRefused
from tradewatch.breaker.follow import Follower
from tradewatch.breaker.gate import OrderGate
from tradewatch.breaker.record import ACTION, Action
from tradewatch.breaker.status import Status, explain
from tradewatch.breaker.unknown import UnknownOrder

__all__ = ["ACTION", "Action", "Breaker", "Follower", "OrderGate", "ResumeRefused", "Status", "UnknownOrder", "explain"]
