"""OTLP: finished spans as the bytes of an ExportTraceServiceRequest, written directly and in short stretches.

Equal field by field to what OpenTelemetry's own encoder makes through protobuf's classes, at a fraction of its cost
(`benchmarks/export.py`). Field numbers are those of opentelemetry-proto: common.proto, resource.proto, trace.proto,
trace_service.proto.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from struct import Struct
from time import perf_counter_ns
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import DEFAULT_TRACE_STATE, Link, SpanContext, SpanKind, Status, StatusCode

from tradewatch.telemetry.finished import Finished, Shape

# What is left of 0.3 ms is for the span that is being written when a stretch ends.
_STRETCH_NS = 150_000
_MOST_KNOWN = 8_192
_LONGEST_KNOWN = 200

_TIMES = Struct("<BQBQ").pack
_FIXED64 = Struct("<BQ").pack
_DOUBLE, _DOUBLE_SIZE = Struct("<Bd").pack, 9
_SMALL = tuple(bytes((n,)) for n in range(128))
_KIND = {kind.value: bytes((0x30, kind.value + 1)) for kind in SpanKind}
_UNSET = b"\x7a\x00"
# SpanFlags: it is known whether the parent (of a link: its target) is remote, and it is not, or it is.
_LOCAL, _REMOTE = b"\x85\x01\x00\x01\x00\x00", b"\x85\x01\x00\x03\x00\x00"
_LINK_LOCAL, _LINK_REMOTE = b"\x35\x00\x01\x00\x00", b"\x35\x00\x03\x00\x00"


class _Group:
    """The spans of one resource and scope: what is written of them, and how long it is."""

    __slots__ = ("length", "parts", "scope")

    def __init__(self, scope: InstrumentationScope | None) -> None:
        self.scope = scope
        self.parts: list[bytes] = []
        self.length = 0


class Encoder:
    """Encodes spans, and remembers how their names and short attributes are written.

    Args:
        rewrite: given every text that is to be sent and the attribute that says it ("" where none does), it returns
            what is sent instead. It is asked once for a text that is remembered.

    Attributes:
        skipped: spans that no request can carry, such as one without a context.
    """

    def __init__(self, rewrite: Callable[[str, str], str] | None = None) -> None:
        self._rewrite = rewrite
        self._names: dict[str, bytes] = {}
        self._keys: dict[str, bytes] = {}
        self._floats: dict[str, bytes] = {}
        # What all spans of a shape have, and the attribute that varies but for its number.
        self._shapes: dict[Shape, tuple[bytes, bytes]] = {}
        # By type as well, since True == 1.
        self._known: dict[tuple[str, Any, type], bytes] = {}
        self.skipped = 0

    def forget(self) -> None:
        """Ask `rewrite` anew about every text."""
        self._names.clear()
        self._keys.clear()
        self._floats.clear()
        self._shapes.clear()
        self._known.clear()

    def encode(self, spans: Iterable[ReadableSpan | Finished]) -> Generator[None, None, bytes]:
        """The request that carries `spans`; yields at least every 0.3 ms.

        A span that no request can carry is left out and counted. So is, uncounted, an attribute that OTLP has no place
        for, such as an integer of more than 64 bits.
        """
        groups: dict[tuple[int, int], _Group] = {}
        resources: list[tuple[Resource, list[_Group]]] = []
        pause_at = perf_counter_ns() + _STRETCH_NS
        for span in spans:
            try:
                if isinstance(span, Finished):
                    parts, tracer = self._finished(span), span.shape.tracer
                    resource, scope = tracer.resource, tracer._instrumentation_scope
                else:
                    parts = self._span(span)
                    for tag, encode, members in self._members(span) if span._events or span._links else ():
                        for member in members:
                            parts.append(_field(tag, encode(member)))
                            if perf_counter_ns() >= pause_at:
                                yield
                                pause_at = perf_counter_ns() + _STRETCH_NS
                    resource, scope = span._resource, span._instrumentation_scope
                group = groups.get((id(resource), id(scope)))
                if group is None:
                    group = groups[id(resource), id(scope)] = _group(resources, resource, scope)
            except Exception:  # an object of the bot's may be anything
                self.skipped += 1
            else:
                body = b"".join(parts)
                head = b"\x12" + _length(len(body))
                group.parts += (head, body)
                group.length += len(head) + len(body)
            if perf_counter_ns() >= pause_at:
                yield
                pause_at = perf_counter_ns() + _STRETCH_NS
        request: list[bytes] = []
        for entry in resources:
            self._resource(request, *entry)
            yield
        return b"".join(request)

    def _finished(self, span: Finished) -> list[bytes]:
        """The fields of a span of ours: what it shares with others was written before."""
        shape = span.shape
        shared, varying = self._shapes.get(shape) or self._shape(shape)
        parts = _identity(span.context, span.parent, span.start_ns, span.end_ns)
        state = span.context.trace_state
        if state is not DEFAULT_TRACE_STATE and state:
            parts.append(self._state(state))
        parts.append(shared)
        if varying:
            parts += (varying, _DOUBLE(0x21, span.number))
        return parts

    def _shape(self, shape: Shape) -> tuple[bytes, bytes]:
        shared = b"".join(self._named(shape.name, shape.kind, shape.attributes, shape.status))
        found = shared, b"" if shape.varying is None else self._float(shape.varying)
        if shape.lasts:
            if len(self._shapes) >= _MOST_KNOWN:
                self._shapes.clear()
            self._shapes[shape] = found
        return found

    def _span(self, span: ReadableSpan) -> list[bytes]:
        """The fields of a span of the SDK's but for its events and links."""
        # The fields themselves: through properties a span takes twice as long. `encodes_like` (export.py) tests them.
        context: Any = span._context
        parts = _identity(context, span._parent, span._start_time or 0, span._end_time or 0)
        state = context.trace_state
        if state is not DEFAULT_TRACE_STATE and state:
            parts.append(self._state(state))
        parts += self._named(span._name, span._kind, span._attributes, span._status)
        for tag, members in ((b"\x60", span._events), (b"\x70", span._links)):
            parts += _dropped(tag, members)
        return parts

    def _named(self, name: str, kind: SpanKind, attributes: Any, status: Status | None) -> list[bytes]:
        """Name, kind, attributes and status."""
        parts = [self._names.get(name) or self._name(name), _KIND[kind._value_]]
        if attributes:
            known = self._known
            # The SDK's own mapping takes a lock and a lookup for each item that is iterated over; a copy is one step.
            for key, value in (attributes if type(attributes) is dict else attributes.copy()).items():
                of = type(value)
                if of is str or of is int or of is bool:
                    parts.append(known.get((key, value, of)) or self._learn(key, value, of))
                elif of is float and type(key) is str:
                    parts += ((self._floats.get(key) or self._float(key)), _DOUBLE(0x21, value))
                else:
                    parts += self._attributes(b"\x4a", ((key, value),))
        if status is not None:
            parts.append(_UNSET if status.status_code is StatusCode.UNSET else self._status(status))
        return [*parts, *_dropped(b"\x50", attributes)]

    def _state(self, state: Mapping[str, str]) -> bytes:
        return self._text(b"\x1a", ",".join(f"{k}={v}" for k, v in state.items()))

    def _members(self, span: ReadableSpan) -> tuple[tuple[bytes, Callable[[Any], bytes], Sequence[Any]], ...]:
        return (b"\x5a", self._event, span.events), (b"\x6a", self._link, span.links)

    def _name(self, name: str) -> bytes:
        field = self._text(b"\x2a", name)
        if len(name) <= _LONGEST_KNOWN:
            if len(self._names) >= _MOST_KNOWN:
                self._names.clear()
            self._names[name] = field
        return field

    def _learn(self, key: str, value: str | int, kind: type) -> bytes:
        field = b"".join(self._attributes(b"\x4a", ((key, value),)))
        if kind is not str or len(value) <= _LONGEST_KNOWN:  # type: ignore[arg-type]
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key, value, kind] = field
        return field

    def _float(self, key: str) -> bytes:
        """What stands before the double of an attribute."""
        if len(self._floats) >= _MOST_KNOWN:
            self._floats.clear()
        whole = _field(b"\x4a", self._pair(key, 0.0))
        self._floats[key] = whole[:-_DOUBLE_SIZE]
        return self._floats[key]

    def _status(self, status: Status) -> bytes:
        body = self._text(b"\x12", status.description) if status.description else b""
        code = status.status_code.value
        return _field(b"\x7a", body + (b"\x18" + _SMALL[code] if code else b""))

    def _event(self, event: Event) -> bytes:
        parts = [_FIXED64(0x09, event.timestamp), self._text(b"\x12", event.name)]
        parts += self._attributes(b"\x1a", _items(event.attributes))
        if event.dropped_attributes:
            parts += (b"\x20", _varint(event.dropped_attributes))
        return b"".join(parts)

    def _link(self, link: Link) -> bytes:
        context = link.context
        parts = [
            b"\x0a\x10",
            context.trace_id.to_bytes(16, "big"),
            b"\x12\x08",
            context.span_id.to_bytes(8, "big"),
            *self._attributes(b"\x22", _items(link.attributes)),
            _LINK_REMOTE if context.is_remote else _LINK_LOCAL,
        ]
        if link.dropped_attributes:
            parts += (b"\x28", _varint(link.dropped_attributes))
        return b"".join(parts)

    def _resource(self, request: list[bytes], resource: Resource, groups: Sequence[_Group]) -> None:
        """Append a ResourceSpans. It is copied once, when the request is joined: with its spans it may be large."""
        said = _field(b"\x0a", b"".join(self._attributes(b"\x0a", _items(resource.attributes))))
        url = self._text(b"\x1a", resource.schema_url) if resource.schema_url else b""
        scopes: list[bytes] = []
        length = len(said) + len(url)
        for group in groups:
            scope, scope_url = self._scope(group.scope)
            head = b"\x12" + _length(len(scope) + group.length + len(scope_url)) + scope
            scopes += (head, *group.parts, scope_url)
            length += len(head) + group.length + len(scope_url)
        request += (b"\x0a", _length(length), said, *scopes, url)

    def _scope(self, scope: InstrumentationScope | None) -> tuple[bytes, bytes]:
        """The scope of a ScopeSpans, and its schema's URL, which stand before and behind the spans."""
        if scope is None:
            return b"\x0a\x00", b""
        said = self._text(b"\x0a", scope.name or "") + self._text(b"\x12", scope.version or "")
        said += b"".join(self._attributes(b"\x1a", _items(scope.attributes)))
        return _field(b"\x0a", said), self._text(b"\x1a", scope.schema_url) if scope.schema_url else b""

    def _attributes(self, tag: bytes, items: Iterable[tuple[str, Any]]) -> list[bytes]:
        """KeyValue fields of a message; a value that OTLP has no place for is left out, as upstream does."""
        fields = []
        for key, value in items:
            try:
                fields.append(_field(tag, self._pair(key, value)))
            except Exception:  # noqa: S112
                continue
        return fields

    def _pair(self, key: str, value: Any) -> bytes:
        prefix = self._keys.get(key)
        if prefix is None:
            if len(self._keys) >= _MOST_KNOWN:
                self._keys.clear()
            prefix = self._keys[key] = self._text(b"\x0a", key)
        return prefix + _field(b"\x12", self._value(key, value))

    def _value(self, key: str, value: Any) -> bytes:
        """An AnyValue.

        Raises:
            TypeError: a value of a kind that OTLP does not know.
            ValueError: an integer of more than 64 bits.
        """
        if value is None:
            return b""
        if isinstance(value, bool):
            return b"\x10\x01" if value else b"\x10\x00"
        if isinstance(value, str):
            return self._text(b"\x0a", value, key)
        if isinstance(value, int):
            if not -(1 << 63) <= value < 1 << 63:
                raise ValueError("an integer of more than 64 bits")
            return b"\x18" + _varint(value & (1 << 64) - 1)
        if isinstance(value, float):
            return _DOUBLE(0x21, value)
        if isinstance(value, bytes):
            # Latin-1 has a character for each byte: what a text may not say, bytes may not say either.
            said = value.decode("latin-1")
            rewritten = self._rewrite(key, said) if self._rewrite is not None else said
            return _field(b"\x3a", value if rewritten == said else rewritten.encode("latin-1", "replace"))
        if isinstance(value, Sequence):
            return _field(b"\x2a", b"".join(_field(b"\x0a", self._value(key, v)) for v in value))
        if isinstance(value, Mapping):
            return _field(b"\x32", b"".join(_field(b"\x0a", self._pair(str(k), v)) for k, v in value.items()))
        raise TypeError(f"an attribute cannot be a {type(value)}")

    def _text(self, tag: bytes, text: str, key: str = "") -> bytes:
        if self._rewrite is not None:
            text = self._rewrite(key, text)
        # Half a surrogate pair would cost upstream the whole batch.
        return _field(tag, text.encode("utf-8", "replace"))


def _identity(context: SpanContext, parent: SpanContext | None, start_ns: int, end_ns: int) -> list[bytes]:
    """Ids, flags and times."""
    parts = [
        b"\x0a\x10",
        context.trace_id.to_bytes(16, "big"),
        b"\x12\x08",
        context.span_id.to_bytes(8, "big"),
        _TIMES(0x39, start_ns, 0x41, end_ns),
    ]
    if parent is None:
        parts.append(_LOCAL)
    else:
        parts += (b"\x22\x08", parent.span_id.to_bytes(8, "big"), _REMOTE if parent.is_remote else _LOCAL)
    return parts


def _dropped(tag: bytes, members: Any) -> tuple[bytes, ...]:
    """How many attributes, events or links the SDK's limits cut off: only its own collections have dropped any."""
    if type(members) is dict or type(members) is tuple:
        return ()
    dropped = getattr(members, "dropped", 0)
    return (tag, _varint(dropped)) if dropped else ()


def _group(
    resources: list[tuple[Resource, list[_Group]]], resource: Resource, scope: InstrumentationScope | None
) -> _Group:
    """Where the spans of a resource and a scope are collected; equal ones share a place, as upstream has it."""
    for known, groups in resources:  # noqa: B007
        if known is resource or (known == resource and hash(known) == hash(resource)):
            break
    else:
        groups = []
        resources.append((resource, groups))
    for group in groups:
        if group.scope is scope or group.scope == scope:
            return group
    groups.append(_Group(scope))
    return groups[-1]


def _items(attributes: Mapping[str, Any] | None) -> Iterable[tuple[str, Any]]:
    if not attributes:
        return ()
    # The SDK's own mapping takes a lock and a lookup for each item that is iterated over; a copy is one step.
    copy = getattr(attributes, "copy", None)
    return (copy() if copy is not None else attributes).items()


def _field(tag: bytes, body: bytes) -> bytes:
    return tag + _length(len(body)) + body


def _length(n: int) -> bytes:
    return _SMALL[n] if n < 128 else _varint(n)


def _varint(n: int) -> bytes:
    if n < 128:
        return _SMALL[n]
    found = bytearray()
    while n > 127:
        found.append(n & 127 | 128)
        n >>= 7
    found.append(n)
    return bytes(found)
