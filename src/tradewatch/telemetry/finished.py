"""A span of ours that has ended, before it is put in anybody's format: `otlp` writes it, `readable` is for the SDK's.

Most calls differ from the one before in their ids, times and waits alone. What they share is one object, so that it is
scrubbed, measured and encoded once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

import msgspec
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode

from tradewatch.semconv import attributes as a

# What an attribute takes in memory less its text, and a span less its attributes: one that shares them, and one that
# has its own (by tracemalloc on CPython 3.11).
ATTRIBUTE_BYTES = 120
_SHARING_BYTES, _OWN_BYTES = 600, 1_000


class Shape(msgspec.Struct, eq=False, weakref=True):
    """What spans have in common.

    `start` are the attributes that a sampler saw, `end` those set later, `attributes` all of them within the SDK's
    limits. `varying` names one more whose number differs from span to span. `lasts` says that other spans will have
    the same shape.
    """

    name: str
    kind: SpanKind
    start: Mapping[str, Any]
    end: Mapping[str, Any]
    attributes: Mapping[str, Any]
    status: Status
    tracer: Any
    varying: str | None = None
    lasts: bool = False
    size: int = 0
    is_urgent: bool = False

    def __post_init__(self) -> None:
        self.is_urgent = urgent(self.status, self.attributes)
        self.size = _SHARING_BYTES if self.lasts else _OWN_BYTES + texts(self.attributes)


class Finished(msgspec.Struct, eq=False, gc=False):
    """A span that has ended. Times are epoch nanoseconds; `number` is that of the attribute that varies."""

    shape: Shape
    context: SpanContext
    parent: SpanContext | None
    start_ns: int
    end_ns: int
    number: float = 0.0


class Sink(Protocol):
    """A span processor that takes them as they are."""

    def take(self, spans: Sequence[Finished]) -> None:
        """Queue those that are sampled."""


def readable(span: Finished) -> Any:
    """As the SDK's processors and exporters take it."""
    shape = span.shape
    attributes = shape.attributes
    if shape.varying is not None:
        attributes = {**attributes, shape.varying: span.number}
    elif shape.lasts:
        # Others have the same ones, and some exporters change what they are given.
        attributes = {**attributes}
    return _readable_span()(
        shape.name,
        span.context,
        span.parent,
        shape.tracer.resource,
        attributes,
        (),
        (),
        shape.kind,
        shape.tracer.instrumentation_info,
        shape.status,
        span.start_ns,
        span.end_ns,
        shape.tracer._instrumentation_scope,
    )


@lru_cache(maxsize=1)
def _readable_span() -> Any:
    """Imported once it is needed: an application may have the API alone."""
    from opentelemetry.sdk.trace import ReadableSpan

    return ReadableSpan


def urgent(status: Status, attributes: Mapping[str, Any] | None) -> bool:
    """Whether a span is of an error or an order, which are sent first and dropped last."""
    if status.status_code is StatusCode.ERROR:
        return True
    return attributes is not None and (a.ORDER_SIDE.name in attributes or a.ORDER_ID.name in attributes)


def texts(attributes: Any) -> int:
    """About how many bytes attributes hold in memory."""
    if not attributes:
        return 0
    size = ATTRIBUTE_BYTES * len(attributes)
    # The SDK's own mapping takes a lock for each item that is iterated over; a copy is one step.
    for value in attributes.copy().values() if hasattr(attributes, "copy") else attributes.values():
        kind = type(value)
        if kind is str or kind is bytes:
            size += len(value)
        elif kind is tuple or kind is list:
            size += sum(ATTRIBUTE_BYTES + len(v) if isinstance(v, (str, bytes)) else ATTRIBUTE_BYTES for v in value)
    return size
