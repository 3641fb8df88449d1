"""The span that is current while a call runs: an object that becomes a span of the SDK when somebody asks it something.

Most spans are never asked. One that is (for its ids, by a child, a log record, an exemplar; for an attribute) is
started then, at the call's own beginning, and from then on everything goes to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import msgspec
from opentelemetry.trace import Span, SpanContext, Status, StatusCode
from opentelemetry.util.types import AnyValue, Attributes

if TYPE_CHECKING:
    from tradewatch.telemetry.live import LiveCall


class CallSpan(msgspec.Struct, eq=False, gc=False):
    """The span of a call. Any thread may ask it, also when the call has ended.

    A `Span` by registration (below): made like this it takes a quarter of the time that a subclass takes.
    """

    _live: LiveCall

    def _real(self) -> Span:
        live = self._live
        # The common second question: no lock.
        if live.asked is not None and not live.end_ns:
            return live.asked.span
        spans = live.operation.spans
        assert spans is not None
        return spans.real(live)

    def get_span_context(self) -> SpanContext:
        """The identity that children, log records and exemplars carry."""
        return self._real().get_span_context()

    def is_recording(self) -> bool:
        """Whether what is set on it reaches anybody."""
        return self._real().is_recording()

    def set_attributes(self, attributes: Mapping[str, AnyValue]) -> None:
        """The bot's own attributes on our span."""
        self._real().set_attributes(attributes)

    def set_attribute(self, key: str, value: AnyValue) -> None:
        """One attribute of the bot's."""
        self._real().set_attribute(key, value)

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        """An event of the bot's."""
        self._real().add_event(name, attributes, timestamp)

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """A link of the bot's."""
        self._real().add_link(context, attributes)

    def update_name(self, name: str) -> None:
        """Another name."""
        self._real().update_name(name)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """The bot's view of how it went."""
        self._real().set_status(status, description)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """An exception, as an event."""
        self._real().record_exception(exception, attributes, timestamp, escaped)

    def end(self, end_time: int | None = None) -> None:
        """End it early."""
        self._real().end(end_time)

    def __enter__(self) -> Self:
        """As `with` has it."""
        return self

    def __exit__(self, *raised: Any) -> None:
        self._real().__exit__(*raised)

    def __getattr__(self, name: str) -> Any:
        """What only a span of the SDK has, such as `attributes` and `name`."""
        if name == "_live" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._real(), name)


Span.register(CallSpan)
