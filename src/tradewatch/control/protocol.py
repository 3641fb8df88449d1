"""What goes over the control socket: one line of JSON each way, then the connection ends.

    {"command": "halt", "reason": "news"}
    {"bot": "grid", "pid": 4711, "result": {"before": "ACTIVE", "state": "HALTED", ...}}

What was refused or failed has an `error`, which says why, in place of the result. These are the shapes as the bot takes
and gives them; the command line, which has no time to load them, writes and reads plain JSON.
"""

from __future__ import annotations

import msgspec

LONGEST_REQUEST = 64 * 1024


class Hello(msgspec.Struct, frozen=True, tag_field="command", tag="hello", forbid_unknown_fields=True):
    """Who are you? The answer's own fields say it."""


class StatusAsked(msgspec.Struct, frozen=True, tag_field="command", tag="status", forbid_unknown_fields=True):
    """`Watch.status()`."""


class HaltAsked(msgspec.Struct, frozen=True, tag_field="command", tag="halt", forbid_unknown_fields=True):
    """Refuse every order from now on; `by` is the peer's user unless told."""

    reason: str
    by: str | None = None


class ResumeAsked(msgspec.Struct, frozen=True, tag_field="command", tag="resume", forbid_unknown_fields=True):
    """Let orders pass again."""

    reason: str
    by: str | None = None


class QueryAsked(msgspec.Struct, frozen=True, tag_field="command", tag="query", forbid_unknown_fields=True):
    """The value of a PromQL expression now."""

    expr: str


class LimitsAsked(msgspec.Struct, frozen=True, tag_field="command", tag="limits", forbid_unknown_fields=True):
    """The limits in force."""


Request = Hello | StatusAsked | HaltAsked | ResumeAsked | QueryAsked | LimitsAsked


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line: whose, and its result or what went wrong."""

    bot: str
    pid: int
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: str | None = None


class Change(msgspec.Struct, frozen=True):
    """What a halt or a resumption led to: the state before it, and the breaker after it.

    `in_flight` counts orders that have passed and are not answered, `unknown` those that may be at the venue.
    """

    before: str
    state: str
    by: str
    reason: str
    since_ns: int
    confirmed: bool
    not_confirmed: str | None
    in_flight: int
    unknown: int


class LimitInForce(msgspec.Struct, frozen=True):
    """A limit, its value in this bot and the default one."""

    name: str
    value: float
    default: float
    unit: str
    meaning: str


class Limits(msgspec.Struct, frozen=True):
    """All limits."""

    limits: tuple[LimitInForce, ...]
