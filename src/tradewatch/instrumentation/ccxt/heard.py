"""What the answers of a venue tell beside what was asked: rate limits, how long it wants silence, what its clock reads.

Taken on the bot's threads at each HTTP answer, without a lock; read and told by the safety thread. Only what a venue
documents is read: Binance's `X-MBX-USED-WEIGHT-1M`, `X-MBX-ORDER-COUNT-10S` and kin (by product: the path's first part)
with the limits of `exchangeInfo`; Bybit's `X-Bapi-Limit` and `X-Bapi-Limit-Status` (of each endpoint). Kraken's
counters and OKX's limits are in no answer, so of them nothing is told but what they refuse.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from time import monotonic_ns
from typing import Any, NamedTuple

import msgspec

from tradewatch.instrumentation.ccxt.venue_clock import (
    KEPT_NS,
    ClockOffset,
    bounded,
    date_ns,
    narrowed,
    tells_time,
    time_told,
)
from tradewatch.runtime.failures import failures

_KEPT = failures.kept("instrumentation")
_S = 10**9
_WINDOWS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_INTERVALS = {"SECOND": "s", "MINUTE": "m", "HOUR": "h", "DAY": "d"}
# A limit is told for as long as its window, but long enough to be scraped.
_LEAST_TOLD_S = 60
_MOST_LIMITS = 50
# Header names as venues and transports spell them; their number is the venue's to choose.
_MOST_NAMES = 500
# Kinds of answers that wait to be read; beyond that they are read where they come.
_MOST_WAITING = 64
# Where an answer is longer, what is wanted is at its beginning.
_BEGINNING = 4096

_COUNTED = re.compile(r"x-(?:mbx|(sapi))-(?:used-)?(ip-weight|uid-weight|weight|order-count)-(\d+)([smhd])")


class Limit(NamedTuple):
    """One rate limit as the venue last said, at `at_ns` (monotonic); `used` or `limit` is None where it did not."""

    used: float | None
    limit: float | None
    window_s: int
    at_ns: int

    @property
    def remaining(self) -> float | None:
        """What is left of it."""
        return None if self.used is None or self.limit is None else max(self.limit - self.used, 0.0)


class _Header(NamedTuple):
    kind: str
    name: str = ""
    window_s: int = 0


_OTHER = _Header("")
_KINDS = {
    "x-bapi-limit": _Header("limit"),
    "x-bapi-limit-status": _Header("remaining"),
    "retry-after": _Header("retry"),
    "date": _Header("date"),
    "age": _Header("age"),
}
_headers: dict[str, _Header] = {}


def _header(name: str) -> _Header:
    """What a header tells, by its name."""
    lower = name.lower()
    found = _KINDS.get(lower, _OTHER)
    counted = _COUNTED.fullmatch(lower)
    if counted is not None:
        what = {"order-count": "orders"}.get(counted[2], counted[2].replace("-", "_"))
        found = _Header("used", f"{what}_{counted[3]}{counted[4]}", int(counted[3]) * _WINDOWS_S[counted[4]])
    if len(_headers) < _MOST_NAMES:
        _headers[name] = found
    return found


class _Answer(msgspec.Struct, frozen=True, gc=False):
    url: str
    headers: Mapping[str, str]
    came_ns: int
    asked_ns: int | None
    told: tuple[int, int] | None


class Heard:
    """What one client has heard of its venue."""

    __slots__ = ("_allowed", "_by_api", "_by_date", "_limits", "_waiting", "silent_until_ns")

    def __init__(self) -> None:
        self.silent_until_ns = 0
        self._limits: dict[str, Limit] = {}
        self._allowed: dict[str, float] = {}
        self._by_api: ClockOffset | None = None
        self._by_date: ClockOffset | None = None
        self._waiting: dict[tuple[str, str, int], _Answer] = {}

    def answer(
        self,
        venue: str,
        method: str,
        url: str,
        status: int,
        headers: Mapping[str, str],
        *,
        body: Any,
        asked_mono_ns: int | None,
    ) -> float | None:
        """Take an answer that has just come from `url`, without its query, to what went out at `asked_mono_ns`.

        What it says is read when somebody asks for it. Until then the last of those counts that are of one request
        and have as many headers: each says all that the one before did.

        Returns:
            For how many seconds the venue wants silence, where it refused and says so.
        """
        told = None
        if asked_mono_ns is not None and type(body) is str and tells_time(venue, url):
            told = time_told(venue, url, body)
        if url.endswith("/exchangeInfo") and type(body) is str:
            self._allowed.update(_allowed(_path(url), body))
        answer, kind = _Answer(url, headers, monotonic_ns(), asked_mono_ns, told), (method, url, len(headers))
        waiting = self._waiting
        if status >= 400 or (kind not in waiting and len(waiting) >= _MOST_WAITING):
            return self._read(answer, status)
        waiting[kind] = answer
        return None

    def _read_all(self) -> None:
        """Any thread may: what two read at a time is the same, and is there before either goes on."""
        for kind in list(self._waiting):
            answer = self._waiting.get(kind)
            while answer is not None:
                with _KEPT:
                    self._read(answer, 200)
                last = self._waiting.pop(kind, None)
                # Another one came while this one was read.
                answer = None if last is answer else last

    def _read(self, answer: _Answer, status: int) -> float | None:
        came_ns, headers, path = answer.came_ns, answer.headers, _path(answer.url)
        came_wall_ns = time.time_ns() - (monotonic_ns() - came_ns)
        limit = remaining = date = retry = None
        is_kept = False
        for name in list(headers):
            header = _headers.get(name) or _header(name)
            if header is _OTHER:
                continue
            kind = header.kind
            if kind == "used":
                named = f"{path.split('/', 2)[1]}_{header.name}"
                self._note(named, Limit(_number(headers[name]), None, header.window_s, came_ns))
            elif kind == "limit":
                limit = _number(headers[name])
            elif kind == "remaining":
                remaining = _number(headers[name])
            elif kind == "retry" and status >= 400:
                retry = _seconds(headers[name], came_wall_ns)
            elif kind == "date":
                date = headers[name]
            elif kind == "age":
                is_kept = True  # the answer of a cache, with the time of its making
        if limit is not None and remaining is not None:
            self._note(path, Limit(max(limit - remaining, 0.0), limit, 1, came_ns))
        if retry is not None:
            self.silent_until_ns = max(self.silent_until_ns, came_wall_ns + round(retry * _S))
        if answer.asked_ns is not None and not is_kept:
            asked_ns = came_wall_ns - (came_ns - answer.asked_ns)
            second_ns = None if date is None else date_ns(date)
            if answer.told is not None:
                self._by_api = narrowed(self._by_api, bounded(answer.told, asked_ns, came_wall_ns, came_ns))
            if second_ns is not None:
                self._by_date = narrowed(self._by_date, bounded((second_ns, _S), asked_ns, came_wall_ns, came_ns))
        return retry

    def _note(self, name: str, limit: Limit) -> None:
        known = self._limits.get(name)
        if known.at_ns <= limit.at_ns if known is not None else len(self._limits) < _MOST_LIMITS:
            self._limits[name] = limit

    def limits(self, now_ns: int) -> dict[str, Limit]:
        """The rate limits by name, those that are still true at `now_ns` (monotonic)."""
        self._read_all()
        return {
            name: one if one.limit is not None else one._replace(limit=self._allowed.get(name))
            for name, one in self._limits.copy().items()
            if now_ns - one.at_ns <= max(one.window_s, _LEAST_TOLD_S) * _S
        }

    def clock(self, now_ns: int) -> ClockOffset | None:
        """The venue's clock against this machine's: by what the API itself tells, else by the `Date` of its answers.

        None where nothing was heard of it for ten minutes.
        """
        self._read_all()
        fresh = [c for c in (self._by_api, self._by_date) if c is not None and now_ns - c.seen_ns <= KEPT_NS]
        return fresh[0] if fresh else None


def _path(url: str) -> str:
    return "/" + url.split("/", 3)[-1]


def _allowed(path: str, body: str) -> dict[str, float]:
    """The limits that Binance's exchangeInfo states, by the names of what counts against them."""
    start = body.find('"rateLimits"', 0, _BEGINNING)
    found: dict[str, float] = {}
    try:
        limits = json.JSONDecoder().raw_decode(body, body.index("[", start))[0] if start >= 0 else []
        for one in limits:
            what = {"REQUEST_WEIGHT": "weight", "ORDERS": "orders"}.get(one["rateLimitType"])
            if what is not None:
                name = f"{path.split('/', 2)[1]}_{what}_{one['intervalNum']}{_INTERVALS[one['interval']]}"
                found[name] = float(one["limit"])
    except (ValueError, KeyError, TypeError):
        return {}
    return found


def _number(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _seconds(value: str, now_ns: int) -> float | None:
    """`Retry-After` (RFC 9110, 10.2.3): seconds, or a date."""
    number = _number(value)
    if number is not None:
        return max(number, 0.0) if number < _WINDOWS_S["d"] * 30 else None
    from email.utils import parsedate_to_datetime  # loaded by few bots before

    try:
        until = parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return None
    return max((until - datetime.fromtimestamp(now_ns / _S, UTC)).total_seconds(), 0.0)
