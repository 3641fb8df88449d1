"""Kraken's rate limits: counters that calls raise and time lowers. All in real time.

Source: https://docs.kraken.com/api/docs/guides/spot-rest-ratelimits and spot-ratelimits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from tradewatch.paper.requests import Tier


class Rates(msgspec.Struct, frozen=True):
    """How high the counters may be, and how much they lose in a second."""

    calls_most: float
    calls_decay: float
    orders_most: float
    orders_decay: float


TIERS: Mapping[Tier, Rates] = {
    "starter": Rates(15, 0.33, 60, 1.0),
    "intermediate": Rates(20, 0.5, 125, 2.34),
    "pro": Rates(20, 1.0, 180, 3.75),
}
# What an order's age in seconds costs: the first row whose age is not reached counts.
_CANCEL = ((5, 8), (10, 6), (15, 5), (45, 4), (90, 2), (300, 1))
_AMEND = ((5, 3), (10, 2), (15, 1))
_EDIT = ((5, 6), (10, 5), (15, 4), (45, 2), (90, 1))
_BY_AGE = {"cancel": _CANCEL, "amend": _AMEND, "edit": _EDIT}


class Counter:
    """A figure that falls steadily to zero."""

    def __init__(self, decay: float) -> None:
        self._decay = decay
        self._value = 0.0
        self._at_ns = 0

    def at(self, wall_ns: int) -> float:
        """What is left of it."""
        passed_s = max(wall_ns - self._at_ns, 0) / 1e9
        self._value = max(self._value - passed_s * self._decay, 0.0)
        self._at_ns = max(wall_ns, self._at_ns)
        return self._value

    def add(self, wall_ns: int, amount: float) -> float:
        """Raise it; returns the sum."""
        self._value = self.at(wall_ns) + amount
        return self._value


def cost_by_age(action: Literal["cancel", "amend", "edit"], age_s: float) -> int:
    """What changing an order of this age adds to the pair's counter, beside the fixed cost of an amend or edit."""
    return next((cost for most, cost in _BY_AGE[action] if age_s < most), 0)
