"""The breaker's state, and the gate that orders pass."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from tradewatch.model.orders import OrderRequest
from tradewatch.model.rules import Evidence

HaltState = Literal["ACTIVE", "HALTED"]
Outcome = Literal["answered", "refused", "unknown"]
# How an action was asked for: by a rule, the program itself, the control socket, a signal, or a start that found a
# state which cannot be read.
Channel = Literal["rule", "program", "control", "signal", "start"]


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
    """What stands between the bot and the venue.

    An order enters before `closed` is read, so that a halt either sees the order or is seen by it.
    """

    closed: bool

    def enter(self, request: OrderRequest) -> int:
        """An order begins; the token is for `leave`."""
        ...

    def amend(self, token: int, request: OrderRequest) -> None:
        """More of an order that has entered is known."""
        ...

    def leave(self, token: int, outcome: Outcome) -> None:
        """The order's call ended: answered, refused (never sent), or unknown (sent, and no answer that tells)."""
        ...

    def admit(self, request: OrderRequest) -> Refusal | None:
        """None lets the order pass; a refusal says why not."""
        ...
