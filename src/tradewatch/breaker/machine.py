"""The breaker's states and what moves between them: pure functions over frozen values.

```
            a halt is asked for                      a halt is asked for again: the first reason stands,
   ACTIVE ─────────────────────▶ HALTED ◀──┐         the further one is noted beside it, once for each who asks
          ◀─────────────────────        └──┘
            a person resumes
```

At a start: HALTED stays HALTED whoever set it and however the last run ended; ACTIVE stays ACTIVE, and an unclean end
is said; a state that cannot be read is HALTED until a person has looked.
"""

from __future__ import annotations

import msgspec

from tradewatch.model import Evidence, Halt

# Who a halt is by when it is the breaker's own.
ITSELF = "tradewatch"
# A person reads this list; a hundred different rules firing at once is one event, not a hundred.
_MOST_FURTHER = 50


class HaltAsked(msgspec.Struct, frozen=True):
    """A rule or a person wants the bot stopped."""

    by: str
    reason: str
    evidence: tuple[Evidence, ...]
    at_ns: int


class ResumeAsked(msgspec.Struct, frozen=True):
    """A person wants the bot to trade again."""

    by: str
    reason: str
    at_ns: int


class Past(msgspec.Struct, frozen=True):
    """What the log says: the last state written (None: never one), and whether the last run ended by closing.

    `ended_clean` is None where there was no run before.
    """

    halt: Halt | None
    ended_clean: bool | None


class Unreadable(msgspec.Struct, frozen=True):
    """There may be a past, but it cannot be read: why, and what to do about it."""

    reason: str
    remedy: str


class Beginning(msgspec.Struct, frozen=True):
    """The state at the start, and what a person should know of the last run."""

    halt: Halt
    note: str | None


def decide(current: Halt, request: HaltAsked | ResumeAsked) -> Halt:
    """The state after a request: `current` itself where the request changes nothing."""
    if isinstance(request, HaltAsked):
        if current.state == "HALTED":
            return current
        return Halt("HALTED", request.by, request.reason, request.evidence, request.at_ns)
    if current.state == "ACTIVE":
        return current
    return Halt("ACTIVE", request.by, request.reason, (), request.at_ns)


def further(current: Halt, noted: tuple[Halt, ...], request: HaltAsked) -> Halt | None:
    """What to note of a halt that is asked for while HALTED; None where whoever asks is noted already.

    A second rule must be seen by the person who resumes, but a rule that fires every second must not fill the log.
    """
    if len(noted) >= _MOST_FURTHER or request.by in {current.by, *(each.by for each in noted)}:
        return None
    return Halt("HALTED", request.by, request.reason, request.evidence, request.at_ns)


def begin(past: Past | Unreadable, now_ns: int) -> Beginning:
    """The state that a start begins with."""
    if isinstance(past, Unreadable):
        reason = (
            f"the state of the last run cannot be read: {past.reason}. {past.remedy} "
            "Look at the account's open orders and positions, then resume."
        )
        return Beginning(Halt("HALTED", ITSELF, reason, (), now_ns), None)
    if past.halt is not None and past.halt.state == "HALTED":
        return Beginning(past.halt, "halted before this start; a restart does not resume")
    if past.ended_clean is None:
        return Beginning(Halt("ACTIVE", ITSELF, "first start", (), now_ns), None)
    if past.ended_clean:
        return Beginning(Halt("ACTIVE", ITSELF, "start after a clean end", (), now_ns), None)
    note = "the last run ended without closing (killed, crashed or power lost): orders of it may still be open"
    return Beginning(Halt("ACTIVE", ITSELF, "start after an unclean end", (), now_ns), note)
