"""Manual instrumentation: what the bot itself has to tell, beside the calls that are seen anyway.

Everything goes to the providers of the bot that is watched; of several, the first. Before `instrument`, and after
`shutdown`, nothing is recorded and nothing fails.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from numbers import Real
from types import TracebackType
from typing import Any, Generic, TypeVar

from opentelemetry import trace
from opentelemetry.metrics import Meter
from opentelemetry.trace import INVALID_SPAN, Span, StatusCode

from tradewatch import registry
from tradewatch.runtime.failures import describe, failures
from tradewatch.runtime.scrub import scrubber
from tradewatch.semconv import attributes as a
from tradewatch.semconv.metrics import DURATION_BOUNDS_S
from tradewatch.telemetry.otel import set_context
from tradewatch.telemetry.probe import put_back

_Instrument = TypeVar("_Instrument")
# As OpenTelemetry's specification has it.
_NAME = re.compile(r"[A-Za-z][\w./-]{0,254}", re.ASCII)
_LONGEST = 1_000

Value = str | bool | int | float
_KEPT = failures.kept("manual instrumentation")


class Block:
    """A `with` or `async with` block that is a span; what is raised in it is on the span, and goes on to the bot."""

    def __init__(self, name: str, attributes: Mapping[str, Any]) -> None:
        self._name = name
        self._attributes = attributes
        self._span: Span = INVALID_SPAN
        self._before: Any = None

    def __enter__(self) -> Span:
        """The span, for `set_attribute` and `add_event`."""
        with _KEPT:
            watch = registry.first()
            if watch is not None and watch.tracer is not None:
                attributes = {**watch.extra, **_plain(self._attributes)}
                self._span = watch.tracer.start_span(scrubber.text(self._name), attributes=attributes)
                self._before = set_context(trace.set_span_in_context(self._span))
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the span. A cancelled block is no error."""
        with _KEPT:
            if isinstance(error, Exception):
                self._span.set_status(StatusCode.ERROR, describe(error))
                self._span.set_attribute(a.ERROR_TYPE.name, type(error).__name__)
            # Where an asynchronous generator is left it is closed in another context, where this is not current.
            put_back(None, self._before)
            self._span.end()

    async def __aenter__(self) -> Span:
        """As `with`."""
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """As `with`."""
        self.__exit__(kind, error, traceback)


def span(name: str, **attributes: Any) -> Block:
    """A span of the bot's own; calls made in the block are under it. Works with `with` and `async with`.

    >>> with tradewatch.span("rebalance", symbols=3):
    ...     pass

    Args:
        name: what is done; a few different names, since they are grouped by.
        **attributes: text, numbers, booleans, Decimals; None is left out.
    """
    return Block(name, attributes)


def decision(strategy: str, **inputs: Any) -> Block:
    """A strategy's decision and what it was made from; the orders placed in the block are under it.

    >>> with tradewatch.decision("mean-reversion", z_score=-2.4, spread_bp=3):
    ...     pass  # exchange.create_order(...)

    Args:
        strategy: its name.
        **inputs: what the decision rests on; shown as `trading.decision.input.<name>`.
    """
    found = {a.STRATEGY.name: strategy, **{f"{a.DECISION_INPUT.name}.{name}": value for name, value in inputs.items()}}
    return Block(f"decision {strategy}", found)


class _Own(Generic[_Instrument]):
    """An instrument of the bot's own, made on each watched bot's meter when it is first used there."""

    def __init__(self, name: str, make: Callable[[Meter], _Instrument]) -> None:
        if not isinstance(name, str) or _NAME.fullmatch(name) is None:
            raise ValueError(
                f"name {name!r}; accepted: a letter, then letters, digits, '_', '.', '/' and '-', 255 at most"
            )
        self._make = make
        self._made: tuple[Meter, _Instrument] | None = None

    def _here(self) -> tuple[_Instrument, Mapping[str, str]] | None:
        watch = registry.first()
        if watch is None:
            return None
        made = self._made
        if made is None or made[0] is not watch.meter:
            made = self._made = (watch.meter, self._make(watch.meter))
        return made[1], watch.extra


class Counter(_Own[Any]):
    """Only grows. Made by `tradewatch.counter`."""

    def add(self, amount: float = 1, **attributes: Any) -> None:
        """Add `amount`, 0 or more."""
        with _KEPT:
            if (here := self._here()) is not None and _is_number(amount) and amount >= 0:
                here[0].add(_number(amount), {**here[1], **_plain(attributes)})


class Gauge(_Own[Any]):
    """The last value. Made by `tradewatch.gauge`."""

    def set(self, value: float, **attributes: Any) -> None:
        """The value from now on."""
        with _KEPT:
            if (here := self._here()) is not None and _is_number(value):
                here[0].set(_number(value), {**here[1], **_plain(attributes)})


class Histogram(_Own[Any]):
    """The distribution of a value. Made by `tradewatch.histogram`."""

    def record(self, value: float, **attributes: Any) -> None:
        """Count one value, 0 or more: OpenTelemetry's histograms take no others."""
        with _KEPT:
            if (here := self._here()) is not None and _is_number(value) and value >= 0:
                here[0].record(_number(value), {**here[1], **_plain(attributes)})


def counter(name: str, unit: str = "", description: str = "") -> Counter:
    """A counter of the bot's own; safe to make at import, before `instrument`.

    >>> signals = tradewatch.counter("signals", "{signal}")
    >>> signals.add(1, side="buy")

    Args:
        name: as OpenTelemetry spells names; in Prometheus `signals_total`.
        unit: in UCUM, such as `s`, `By` or `{signal}`.
        description: what it counts.

    Raises:
        ValueError: a name that OpenTelemetry does not take.
    """
    return Counter(name, lambda meter: meter.create_counter(name, unit, description))


def gauge(name: str, unit: str = "", description: str = "") -> Gauge:
    """A gauge of the bot's own. Arguments and errors as those of `counter`.

    >>> regime = tradewatch.gauge("volatility", "{ratio}")
    >>> regime.set(0.42, symbol="BTC/USDT")
    """
    return Gauge(name, lambda meter: meter.create_gauge(name, unit, description))


def histogram(name: str, unit: str = "", description: str = "") -> Histogram:
    """A histogram of the bot's own. Arguments and errors as those of `counter`.

    >>> took = tradewatch.histogram("model.duration", "s")
    >>> took.record(0.017, model="lstm")
    """
    # OpenTelemetry's own buckets begin at 5: in seconds all that a bot does would be one bucket.
    bounds = list(DURATION_BOUNDS_S) if unit == "s" else None
    return Histogram(
        name,
        lambda meter: meter.create_histogram(name, unit, description, explicit_bucket_boundaries_advisory=bounds),
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, Real | Decimal) and math.isfinite(value)


def _number(value: Any) -> int | float:
    return value if type(value) is int else float(value)


def _plain(attributes: Mapping[str, Any]) -> dict[str, Value]:
    """Attributes as OpenTelemetry takes them, without secrets; what is None, or cannot be told as text, is left out."""
    found: dict[str, Value] = {}
    for said, value in attributes.items():
        name = scrubber.text(said)
        if isinstance(value, bool):
            found[name] = value
        elif isinstance(value, Real):
            found[name] = _number(value)
        elif value is not None:
            with _KEPT:
                text = f"{value:f}" if isinstance(value, Decimal) else str(value)
                found[name] = scrubber.attribute(name, text)[:_LONGEST]
    return found
