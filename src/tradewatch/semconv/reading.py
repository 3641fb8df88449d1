"""A current value of a metric, as rooms hand it to rules and to OpenTelemetry alike."""

from __future__ import annotations

import msgspec

from tradewatch.semconv.metrics import Metric


class Reading(msgspec.Struct, frozen=True):
    """One value with its attributes, sorted by name. What is unknown has no reading."""

    metric: Metric
    value: float
    attributes: tuple[tuple[str, str], ...] = ()
