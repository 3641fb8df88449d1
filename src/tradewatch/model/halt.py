"""The breaker's state, and the gate that orders pass."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from tradewatch.model.orders import OrderRequest
from tradewatch.model.rules import Evidence

HaltState = Literal["ACTIVE", "HALTED"]


class Halt(msgspec.Struct, frozen=True):
    """The breaker's state and why. `by` is a rule's name or who asked; `since_ns` is when this state began."""

    state: HaltState
    by: str
    reason: str
    evidence: tuple[Evidence, ...]
    since_ns: int


class Refusal(msgspec.Struct, frozen=True):
    """Why an order was not sent."""

    request: OrderRequest
    halt: Halt


class Gate(Protocol):
    """What stands between the bot and the venue. Reading `closed` is all that an open gate costs."""

    closed: bool

    def admit(self, request: OrderRequest) -> Refusal | None:
        """None lets the order pass; a refusal says why not."""
        ...
