"""The breaker's state as metric readings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from tradewatch.breaker.status import Status
from tradewatch.model import HaltState
from tradewatch.semconv import Reading
from tradewatch.semconv import attributes as a
from tradewatch.semconv import metrics as m

_STATES: tuple[HaltState, ...] = get_args(HaltState)


def readings(now: Status) -> Iterator[Reading]:
    """One series a state, 1 on the current one; trips; orders refused."""
    for state in _STATES:
        yield Reading(m.BREAKER_STATE, 1.0 if state == now.state else 0.0, ((a.STATE.name, state),))
    yield Reading(m.BREAKER_TRIPS, now.trips)
    yield Reading(m.ORDERS_REFUSED, now.refused)
