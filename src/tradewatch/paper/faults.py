"""Faults by scenario: which requests and stream messages go wrong, and how. Deterministic under a seed.

A scenario is a list of rules in the order of the file; each has a match and a fault. A fault is of requests, of
websocket messages or of the market, by its kind. All latencies and clock skews of the rules that match a request add up
and its false ticks multiply; of the other faults the first one happens, and of a message's faults the first one.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal, get_args

import msgspec

from tradewatch.paper.market import MILLIONTHS

RequestKind = Literal[
    "latency", "clock_skew", "false_tick", "rate_limit", "ban", "nonce", "maintenance", "server_error", "timeout",
    "reset", "half_json",
]  # fmt: skip
MessageKind = Literal["drop", "silence", "lose", "repeat", "late", "reorder"]
MarketKind = Literal["price_gap", "thin_book"]
Kind = RequestKind | MessageKind | MarketKind
MESSAGE_KINDS = get_args(MessageKind)
MARKET_KINDS = get_args(MarketKind)
KINDS = (*get_args(RequestKind), *MESSAGE_KINDS, *MARKET_KINDS)
QUOTE = "quote"  # the channel of false ticks on streams
Point = Literal["arrival", "answer"]


class Latency(msgspec.Struct, frozen=True):
    """Real milliseconds.

    `fixed` (a), `uniform` (a to b), `normal` (mean a, deviation b), `exponential` (mean a), or heavy-tailed `pareto`
    (least a, tail index b: the share above x is (a / x) ^ b).
    """

    shape: Literal["fixed", "uniform", "normal", "exponential", "pareto"]
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
            case "pareto":
                ms = self.a * rng.paretovariate(self.b)
        return max(ms, 0.0) / 1000


class Fault(msgspec.Struct, frozen=True, omit_defaults=True):
    """What happens to a request, to a message of a websocket, or to the market.

    Args:
        kind: of a request: `clock_skew` judges and answers it by a clock that is off, `false_tick` tells a price that
            never was, `rate_limit` is 429, `ban` is 418, `nonce` refuses its time or nonce, `maintenance` refuses
            everything, `timeout` is no answer at all, `reset` a connection that is torn down, `half_json` the first
            half of the answer. Of a message: `drop` ends the connection instead, `silence` keeps it open and loses
            this and all that follows for `hold_s`, `lose` loses it, `repeat` sends it twice, `late` after `latency`,
            so that others overtake it, `reorder` after the next one. `price_gap` moves the market itself, `thin_book`
            leaves `depth` at each level of it.
        at: `arrival` is before the exchange sees the request, `answer` after it did what was asked.
        status: of a server error.
        code: of a server error: Binance's number, in its body, or Kraken's text, with HTTP 200; without one the body
            is the plain page of a gateway.
        retry_after_s: header of 429 and 418.
        hold_s: real seconds that a connection without answer is held before it is closed, or stays silent.
        latency: of kinds latency and late.
        skew_ms: the venue's clock less the real one, in milliseconds.
        factor: of a false tick or a price gap, in millionths: 930_000 is 7 % below.
        depth: of a thin book, in units of 10^-8 base; at least one step.
        market: of a price gap or a thin book, such as BTC/USDT; None for all.
    """

    kind: Kind
    at: Point = "arrival"
    status: int = 503
    code: int | str | None = None
    retry_after_s: int = 1
    hold_s: float = 60.0
    latency: Latency | None = None
    skew_ms: int = 0
    factor: int = MILLIONTHS
    depth: int = 0
    market: str | None = None

    @property
    def lets_act(self) -> bool:
        """Whether the exchange does what was asked all the same."""
        return self.at == "answer" or self.kind == "half_json"


class Match(msgspec.Struct, frozen=True):
    """Which requests or messages: all that is given must hold. `nth` and `every` count what the rest matches.

    Args:
        operation: our name of the endpoint, such as `order_place`; of requests alone.
        method: HTTP method, or WS for a request over a websocket; of requests alone.
        channel: of messages alone: a stream such as `executions`, or the operation that is answered; `quote` for
            false ticks on streams.
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
    """What was decided for one request.

    Attributes:
        arrival_delay_s: real seconds to wait before the exchange acts.
        answer_delay_s: real seconds to wait before the answer.
        skew_ns: the venue's clock less the real one.
        factor: of the prices that are told, in millionths.
        fault: what happens else, if anything.
        injected: all of it, with what chance drew fixed, so that it can be repeated.
    """

    arrival_delay_s: float = 0.0
    answer_delay_s: float = 0.0
    skew_ns: int = 0
    factor: int = MILLIONTHS
    fault: Fault | None = None
    injected: tuple[Fault, ...] = ()

    @property
    def name(self) -> str | None:
        """The kinds in short: `latency+ban`."""
        return "+".join(fault.kind for fault in self.injected) or None


class Faults:
    """The rules with their counts and their randomness; each rule has its own, so rules do not disturb each other."""

    def __init__(self, rules: Sequence[Rule] = (), seed: int = 0) -> None:
        self.rules: tuple[Rule, ...] = ()
        self._seed = seed
        self._counts: list[int] = []
        self._rngs: list[random.Random] = []
        self._messages: dict[tuple[str, str], int] = {}
        self.add(rules)

    def add(self, rules: Sequence[Rule]) -> None:
        """More rules, after those there are; they count from now on."""
        first = len(self.rules)
        self.rules += tuple(rules)
        self._counts += [0] * len(rules)
        self._rngs += [random.Random(f"{self._seed}:{first + index}") for index in range(len(rules))]  # noqa: S311

    def clear(self) -> None:
        """No rules any more. Prices that have gapped stay where they are."""
        self.rules, self._counts, self._rngs = (), [], []

    def decide(self, operation: str, method: str, path: str, now_ns: int) -> Injection:
        """What happens to a request at a simulated instant; counts it."""
        if not self.rules:
            return _NOTHING
        delays = {"arrival": 0.0, "answer": 0.0}
        skew_ns, factor = 0, MILLIONTHS
        chosen: Fault | None = None
        injected = []
        for index, rule in enumerate(self.rules):
            match, fault = rule.match, rule.fault
            if fault.kind in MESSAGE_KINDS + MARKET_KINDS or match.channel or match.operation not in (None, operation):
                continue
            if match.method not in (None, method) or not self._happens(index, path, now_ns):
                continue
            drawn = self._drawn(index)
            if drawn.latency is not None:
                delays[fault.at] += drawn.latency.a / 1000
            elif fault.kind == "clock_skew":
                skew_ns += fault.skew_ms * 1_000_000
            elif fault.kind == "false_tick":
                factor = factor * fault.factor // MILLIONTHS
            elif chosen is None:
                chosen = fault
            else:
                continue
            injected.append(drawn)
        return Injection(delays["arrival"], delays["answer"], skew_ns, factor, chosen, tuple(injected))

    def message(self, channel: str, path: str, now_ns: int) -> tuple[Fault | None, int]:
        """What happens to a message of a websocket, and its number on that channel and path; counts it."""
        number = self._messages[channel, path] = self._messages.get((channel, path), 0) + 1
        chosen: Fault | None = None
        for index, rule in enumerate(self.rules):
            if rule.fault.kind not in MESSAGE_KINDS or rule.match.channel not in (None, channel):
                continue
            if self._happens(index, path, now_ns) and chosen is None:
                chosen = self._drawn(index)
        return chosen, number

    def tick(self, path: str, now_ns: int) -> tuple[Fault | None, int]:
        """The false tick, if any, in place of a new quote on a websocket, and the quote's number; counts it."""
        number = self._messages[QUOTE, path] = self._messages.get((QUOTE, path), 0) + 1
        chosen: Fault | None = None
        for index, rule in enumerate(self.rules):
            if rule.fault.kind == "false_tick" and rule.match.channel == QUOTE and self._happens(index, path, now_ns):
                chosen = chosen or rule.fault
        return chosen, number

    def _drawn(self, index: int) -> Fault:
        """The fault of a rule with its latency drawn."""
        fault = self.rules[index].fault
        if fault.latency is None:
            return fault
        drawn = Latency("fixed", fault.latency.draw(self._rngs[index]) * 1000)
        return msgspec.structs.replace(fault, latency=drawn)

    def _happens(self, index: int, path: str, now_ns: int) -> bool:
        match = self.rules[index].match
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
