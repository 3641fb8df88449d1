"""Faults by scenario: which requests and stream messages go wrong, and how. Deterministic under a seed.

A scenario is a list of rules in the order of the file; each has a match and a fault. A fault is of requests or of
websocket messages, by its kind. All latencies of the rules that match a request add up; of the other faults the first
one happens, and of a message's faults the first one.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal, get_args

import msgspec

RequestKind = Literal["latency", "rate_limit", "ban", "server_error", "timeout"]
MessageKind = Literal["drop", "silence", "lose", "repeat", "late", "reorder"]
Kind = RequestKind | MessageKind
MESSAGE_KINDS = get_args(MessageKind)
KINDS = (*get_args(RequestKind), *MESSAGE_KINDS)
Point = Literal["arrival", "answer"]


class Latency(msgspec.Struct, frozen=True):
    """Real milliseconds: `fixed` (a), `uniform` (a to b), `normal` (mean a, deviation b) or `exponential` (mean a)."""

    shape: Literal["fixed", "uniform", "normal", "exponential"]
    a: float
    b: float = 0.0

    def draw(self, rng: random.Random) -> float:
        """One delay in seconds, never below zero."""
        match self.shape:
            case "fixed":
                ms = self.a
            case "uniform":
                ms = rng.uniform(self.a, self.b)
            case "normal":
                ms = rng.gauss(self.a, self.b)
            case "exponential":
                ms = rng.expovariate(1 / self.a)
        return max(ms, 0.0) / 1000


class Fault(msgspec.Struct, frozen=True):
    """What happens to a request, or to a message of a websocket.

    Args:
        kind: of a request: `rate_limit` is 429, `ban` is 418, `timeout` is no answer at all. Of a message: `drop`
            ends the connection instead, `silence` keeps it open and loses this and all that follows for `hold_s`,
            `lose` loses it, `repeat` sends it twice, `late` after `latency`, so that others overtake it, `reorder`
            after the next one.
        at: `arrival` is before the exchange sees the request, `answer` after it did what was asked.
        status: of a server error.
        code: of a server error: Binance's number, in its body, or Kraken's text, with HTTP 200; without one the body
            is the plain page of a gateway.
        retry_after_s: header of 429 and 418.
        hold_s: real seconds that a connection without answer is held before it is closed, or stays silent.
        latency: of kinds latency and late.
    """

    kind: Kind
    at: Point = "arrival"
    status: int = 503
    code: int | str | None = None
    retry_after_s: int = 1
    hold_s: float = 60.0
    latency: Latency | None = None


class Match(msgspec.Struct, frozen=True):
    """Which requests or messages: all that is given must hold. `nth` and `every` count what the rest matches.

    Args:
        operation: our name of the endpoint, such as `order_place`; of requests alone.
        method: HTTP method, or WS for a request over a websocket; of requests alone.
        channel: of messages alone: a stream such as `executions`, or the operation that is answered.
        path: HTTP path, of a websocket too.
        nth: the first is 1; several may be given.
        every: each n-th.
        probability: 0 to 1, drawn from the seed.
        from_ns: simulated time, inclusive.
        until_ns: simulated time, exclusive.
    """

    operation: str | None = None
    method: str | None = None
    path: str | None = None
    channel: str | None = None
    nth: tuple[int, ...] = ()
    every: int | None = None
    probability: float | None = None
    from_ns: int | None = None
    until_ns: int | None = None


class Rule(msgspec.Struct, frozen=True):
    """One entry of a scenario."""

    match: Match
    fault: Fault


class Injection(msgspec.Struct, frozen=True):
    """What was decided for one request: seconds to wait on arrival and before the answer, and the fault, if any."""

    arrival_delay_s: float = 0.0
    answer_delay_s: float = 0.0
    fault: Fault | None = None
    name: str | None = None


class Faults:
    """The rules with their counts and their randomness; each rule has its own, so rules do not disturb each other."""

    def __init__(self, rules: Sequence[Rule] = (), seed: int = 0) -> None:
        self._rules = tuple(rules)
        self._counts = [0] * len(self._rules)
        self._rngs = [random.Random(f"{seed}:{index}") for index in range(len(self._rules))]  # noqa: S311

    def decide(self, operation: str, method: str, path: str, now_ns: int) -> Injection:
        """What happens to a request at a simulated instant; counts it."""
        if not self._rules:
            return _NOTHING
        delays = {"arrival": 0.0, "answer": 0.0}
        chosen: Fault | None = None
        names = []
        for index, rule in enumerate(self._rules):
            match, fault = rule.match, rule.fault
            if fault.kind in MESSAGE_KINDS or match.operation not in (None, operation):
                continue
            if match.method not in (None, method) or not self._happens(index, path, now_ns):
                continue
            if fault.latency is not None:
                delays[fault.at] += fault.latency.draw(self._rngs[index])
                names.append(fault.kind)
            elif chosen is None:
                chosen = fault
                names.append(fault.kind)
        return Injection(delays["arrival"], delays["answer"], chosen, "+".join(names) or None)

    def message(self, channel: str, path: str, now_ns: int) -> tuple[Fault | None, float]:
        """What happens to a message of a websocket, and its delay in real seconds; counts it."""
        chosen: Fault | None = None
        delay_s = 0.0
        for index, rule in enumerate(self._rules):
            if rule.fault.kind not in MESSAGE_KINDS or rule.match.channel not in (None, channel):
                continue
            if self._happens(index, path, now_ns) and chosen is None:
                chosen = rule.fault
                delay_s = chosen.latency.draw(self._rngs[index]) if chosen.latency is not None else 0.0
        return chosen, delay_s

    def _happens(self, index: int, path: str, now_ns: int) -> bool:
        match = self._rules[index].match
        if not _concerns(match, path, now_ns):
            return False
        self._counts[index] += 1
        return _is_drawn(match, self._counts[index], self._rngs[index])


_NOTHING = Injection()


def _concerns(match: Match, path: str, now_ns: int) -> bool:
    return (
        match.path in (None, path)
        and (match.from_ns is None or now_ns >= match.from_ns)
        and (match.until_ns is None or now_ns < match.until_ns)
    )


def _is_drawn(match: Match, count: int, rng: random.Random) -> bool:
    if match.nth and count not in match.nth:
        return False
    if match.every is not None and count % match.every:
        return False
    return match.probability is None or rng.random() < match.probability
