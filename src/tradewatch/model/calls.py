"""One call of an exchange client, described once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from tradewatch.model.orders import Balances, Fill, Mark, OrderReport, OrderRequest


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One HTTP attempt. `status` is None where no answer came; `error` is an `error.type` or None.

    `refused` says that the answer was an explicit refusal: what was asked was not done. `nonce` is the one that was
    sent, `nonce_error` what kind of fault the venue found in it or in the time; `retry_after_s` for how long the venue
    wants silence.
    """

    start_mono_ns: int
    end_mono_ns: int
    method: str
    host: str
    path: str
    status: int | None
    error: str | None
    refused: bool = False
    nonce: str | None = None
    nonce_error: str | None = None
    retry_after_s: float | None = None


def resent(attempts: Sequence[Attempt]) -> Iterator[int]:
    """For each attempt of a call how often its request had failed right before: 0 for one that repeats none.

    Pages of a list are not repetitions: what was answered well is not sent again.
    """
    failed: dict[tuple[str, str], int] = {}
    for attempt in attempts:
        request = attempt.method, attempt.path
        before = failed.get(request, 0)
        failed[request] = 0 if attempt.error is None else before + 1
        yield before


class Call(msgspec.Struct, frozen=True):
    """One logical call of a client, retries and the client's own throttle wait included, and what it told us.

    `cell` is where its duration is counted (opaque to all but telemetry; None where a stream told it: that is no call),
    `parent` the OpenTelemetry context that was
    current when it began, in which the call's own span is not yet current; `span` leads to that one (opaque to all but
    telemetry, None where nobody wants spans). `error` is an `error.type`; None for success and for a call that was
    cancelled.
    """

    cell: Any
    start_mono_ns: int
    end_mono_ns: int
    throttle_ns: int
    attempts: tuple[Attempt, ...]
    error: str | None
    message: str | None
    parent: Any
    symbol: str | None = None
    cancelled: bool = False
    requests: tuple[OrderRequest, ...] = ()
    outcomes: tuple[OrderReport, ...] = ()
    reports: tuple[OrderReport, ...] = ()
    fills: tuple[Fill, ...] = ()
    marks: tuple[Mark, ...] = ()
    balances: Balances | None = None
    span: Any = None
