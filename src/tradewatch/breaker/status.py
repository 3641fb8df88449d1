"""What the breaker says of itself, and what a refused order is told."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from tradewatch.breaker.unknown import UnknownOrder
from tradewatch.model import Evidence, Halt, HaltState, Refusal
from tradewatch.runtime.scrub import scrubber

_MOST_EVIDENCE = 4
_LONGEST_NAME = 80
_LONGEST_REASON = 400


class Status(msgspec.Struct, frozen=True):
    """The breaker at one moment.

    `confirmed`: the state is on disk and, while HALTED, every order that had passed the gate is answered or listed in
    `unknown`; `not_confirmed` says why it is not yet. `further` are the halts asked for while HALTED, `note` what is to
    know of the last run. `refused` (orders) and `trips` (times that it went to HALTED) count since this start;
    `in_flight` are orders that have entered the gate and not left, `forgotten` unknown orders that the list had no
    room for. `since_ns` is epoch nanoseconds, and so are, since this start and None until then, `confirmed_ns`, when a
    halt was first seen confirmed, and `first_refused_ns`, when it first refused an order.
    """

    state: HaltState
    by: str
    reason: str
    evidence: tuple[Evidence, ...]
    since_ns: int
    confirmed: bool
    not_confirmed: str | None
    further: tuple[Halt, ...]
    unknown: tuple[UnknownOrder, ...]
    in_flight: int
    refused: int
    forgotten: int
    trips: int
    note: str | None
    confirmed_ns: int | None
    first_refused_ns: int | None


def explain(refusal: Refusal) -> str:
    """One line for the trader: what was refused, since when and by whom the halt is, its numbers, how to resume."""
    halt = refusal.halt
    text = (
        f"tradewatch refused {_order(refusal)}: halted since {_utc(halt.since_ns)} by {halt.by}: "
        f"{_clip(halt.reason)}{_numbers(halt.evidence)}. Cancels still pass. "
        "When you have looked: tradewatch resume NAME --reason ..., or Watch.resume(by=..., reason=...)"
    )
    return scrubber.value(" ".join(text.split()))


def _order(refusal: Refusal) -> str:
    request = refusal.request
    amount = None if request.amount is None else f"{request.amount:f}"
    price = None if request.price is None else f"at {request.price:f}"
    words = (
        request.operation,
        request.type,
        request.side,
        amount,
        request.key.symbol,
        price,
        f"on {request.key.venue}",
    )
    return " ".join(word for word in words if word)


def _clip(reason: str) -> str:
    reason = reason.rstrip(". \n")
    return reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]} …"


def _numbers(evidence: tuple[Evidence, ...]) -> str:
    if not evidence:
        return ""
    # An expression that fills a line is for the status; what it reads is told here.
    told = [each for each in evidence if len(each.what) <= _LONGEST_NAME] or evidence
    shown = [f"{each.what} = {each.value:.10g}" for each in told[:_MOST_EVIDENCE]]
    if len(told) > _MOST_EVIDENCE:
        shown.append(f"{len(told) - _MOST_EVIDENCE} more")
    return f" ({', '.join(shown)})"


def _utc(ns: int) -> str:
    return datetime.fromtimestamp(ns // 10**9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
