"""The commands: from a request to its answer. Who asks is known already, and is kept with a halt or a resumption."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import msgspec

from tradewatch.breaker import Breaker, ResumeRefused
from tradewatch.control.protocol import (
    Answer,
    Change,
    HaltAsked,
    Hello,
    LimitInForce,
    Limits,
    LimitsAsked,
    QueryAsked,
    Request,
    ResumeAsked,
    StatusAsked,
)
from tradewatch.rules import LIMITS
from tradewatch.runtime.safety import Stretch
from tradewatch.runtime.scrub import scrubber
from tradewatch.store import encode

_LONGEST_NAME = 100
_REQUESTS = msgspec.json.Decoder(Request)


class CannotAnswer(Exception):  # noqa: N818 - it names what happened
    """What was asked cannot be done or told; the text says why."""


class Bot(msgspec.Struct, frozen=True):
    """What the commands need of a bot.

    `query` evaluates an expression on the bot's own series; it raises `CannotAnswer`, and waits for a bounded time.
    """

    name: str
    breaker: Breaker
    status: Callable[[], msgspec.Struct]
    query: Callable[[str], msgspec.Struct]
    limits: Callable[[], Mapping[str, float]]


def answer(line: bytes, user: str, bot: Bot, gone: Callable[[], bool]) -> bytes:
    """The line that answers a line. `user` is who asks, by the kernel's word; `gone` whether nobody waits any more."""
    try:
        # Bytes of a reason that are no text must not keep a halt away.
        result = _perform(_REQUESTS.decode(line.decode(errors="replace")), user, bot, gone)
        body = b"null" if result is None else encode(result, scrubber, Stretch().step)
        said = Answer(bot.name, os.getpid(), msgspec.Raw(body))
    except (CannotAnswer, ResumeRefused, msgspec.MsgspecError) as error:
        said = failed(bot.name, str(error))
    except RecursionError:
        said = failed(bot.name, "JSON is nested too deep")
    return msgspec.json.encode(said)


def failed(name: str, why: str) -> Answer:
    """An answer that says what went wrong."""
    return Answer(name, os.getpid(), error=scrubber.text(why))


def _perform(request: Request, user: str, bot: Bot, gone: Callable[[], bool]) -> msgspec.Struct | None:
    match request:
        case Hello():
            return None
        case StatusAsked():
            return bot.status()
        case HaltAsked():
            before = bot.breaker.status().state
            # A script whose reason came out empty wants the halt nonetheless.
            bot.breaker.halt(_who(request.by, user), request.reason, channel="control")
            return _change(before, bot.breaker)
        case ResumeAsked():
            # A halt that comes late is still a halt. A resumption is for whoever looked, and looked then.
            if gone():
                raise CannotAnswer("whoever asked has not waited")
            if not request.reason.strip():
                raise CannotAnswer("a reason is needed, for whoever looks later")
            before = bot.breaker.status().state
            bot.breaker.resume(_who(request.by, user), request.reason, channel="control")
            return _change(before, bot.breaker)
        case QueryAsked():
            return bot.query(request.expr)
        case LimitsAsked():
            values = bot.limits()
            return Limits(
                tuple(
                    LimitInForce(each.name, values[each.name], each.default, each.unit, each.meaning) for each in LIMITS
                )
            )


def _who(given: str | None, user: str) -> str:
    """Who asks: a name that was told stands beside the user whose process it was, never in its place."""
    told = " ".join((given or "").split())[:_LONGEST_NAME]
    return f"{told} ({user})" if told and told != user else user


def _change(before: str, breaker: Breaker) -> Change:
    now = breaker.status()
    return Change(
        before,
        now.state,
        now.by,
        now.reason,
        now.since_ns,
        now.confirmed,
        now.not_confirmed,
        now.in_flight,
        len(now.unknown) + now.forgotten,
    )
