"""Faults by scenario: which requests go wrong, and how. Deterministic under a seed.

A scenario is a list of rules in the order of the file; each has a match and a fault. All latencies of the rules that
match a request add up; of the other faults the first one happens.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

import msgspec

Kind = Literal["latency", "rate_limit", "ban", "server_error", "timeout"]
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
    """What happens to a request.

    Args:
        kind: `rate_limit` is 429, `ban` is 418, `timeout` is no answer at all.
        at: `arrival` is before the exchange sees the request, `answer` after it did what was asked.
        status: of a server error.
        code: Binance's code in a server error's body; without one the body is the plain page of a gateway.
        retry_after_s: header of 429 and 418.
        hold_s: real seconds that a connection without answer is held before it is closed.
        latency: of kind latency.
    """

    kind: Kind
    at: Point = "arrival"
    status: int = 503
    code: int | None = None
    retry_after_s: int = 1
    hold_s: float = 60.0
    latency: Latency | None = None


class Match(msgspec.Struct, frozen=True):
    """Which requests: all that is given must hold. `nth` and `every` count the requests that the rest matches.

    Args:
        operation: our name of the endpoint, such as `order_place`.
        method: HTTP method.
        path: HTTP path.
        nth: the first is 1; several may be given.
        every: each n-th.
        probability: 0 to 1, drawn from the seed.
        from_ns: simulated time, inclusive.
        until_ns: simulated time, exclusive.
    """

    operation: str | None = None
    method: str | None = None
    path: str | None = None
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
            if not _concerns(rule.match, operation, method, path, now_ns):
                continue
            self._counts[index] += 1
            rng = self._rngs[index]
            if not _is_drawn(rule.match, self._counts[index], rng):
                continue
            fault = rule.fault
            if fault.latency is not None:
                delays[fault.at] += fault.latency.draw(rng)
                names.append(fault.kind)
            elif chosen is None:
                chosen = fault
                names.append(fault.kind)
        return Injection(delays["arrival"], delays["answer"], chosen, "+".join(names) or None)


_NOTHING = Injection()


def _concerns(match: Match, operation: str, method: str, path: str, now_ns: int) -> bool:
    return (
        match.operation in (None, operation)
        and match.method in (None, method)
        and match.path in (None, path)
        and (match.from_ns is None or now_ns >= match.from_ns)
        and (match.until_ns is None or now_ns < match.until_ns)
    )


def _is_drawn(match: Match, count: int, rng: random.Random) -> bool:
    if match.nth and count not in match.nth:
        return False
    if match.every is not None and count % match.every:
        return False
    return match.probability is None or rng.random() < match.probability
