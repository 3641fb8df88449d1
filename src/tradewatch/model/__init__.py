"""The frozen values that go between rooms, and the few protocols the rooms share. Imports nothing of ours.

`_ns` is nanoseconds since the Unix epoch, `_mono_ns` nanoseconds of the monotonic clock. None is unknown, never zero.
"""

from tradewatch.model.calls import Attempt, Call, resent
from tradewatch.model.clock import Clock
from tradewatch.model.event import Event
from tradewatch.model.halt import Channel, Gate, Halt, HaltState, Outcome, Refusal
from tradewatch.model.orders import (
    Balances,
    Fill,
    Mark,
    Money,
    OrderKey,
    OrderReport,
    OrderRequest,
    OrderStatus,
    Quote,
    Side,
)
from tradewatch.model.portfolio import Equity, Position
from tradewatch.model.rules import Acted, Action, Alert, AlertState, Evidence, Readings, Rule, RuleState, Sample

__all__ = [
    "Acted",
    "Action",
    "Alert",
    "AlertState",
    "Attempt",
    "Balances",
    "Call",
    "Channel",
    "Clock",
    "Equity",
    "Event",
    "Evidence",
    "Fill",
    "Gate",
    "Halt",
    "HaltState",
    "Mark",
    "Money",
    "OrderKey",
    "OrderReport",
    "OrderRequest",
    "OrderStatus",
    "Outcome",
    "Position",
    "Quote",
    "Readings",
    "Refusal",
    "Rule",
    "RuleState",
    "Sample",
    "Side",
    "resent",
]
