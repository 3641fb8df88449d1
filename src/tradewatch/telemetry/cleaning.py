"""What leaves by exporters of ours passes the one scrubber: every text of a span or a log, whoever made it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, Status

from tradewatch.runtime.scrub import scrubber
from tradewatch.telemetry.finished import Finished, readable

if TYPE_CHECKING:
    from opentelemetry.sdk._logs import ReadableLogRecord

# Characters. The patterns read what is sent, and a text may be as long as the bot likes.
LONGEST = 16_384
# A secret that stands across the end is still seen whole.
_BEYOND = 4_096


def clean(name: str, text: str) -> str:
    """A text as it may leave, at most `LONGEST` long; `name` is the attribute that says it, "" where none does.

    Half a surrogate pair, which no exporter can write, becomes a question mark.
    """
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    if len(text) > LONGEST:
        return scrubber.attribute(name, text[: LONGEST + _BEYOND])[:LONGEST]
    return scrubber.attribute(name, text)


def clean_value(name: str, value: Any) -> Any:
    """An attribute's value as it may leave, with the same shape."""
    if isinstance(value, str):
        return clean(name, value)
    if isinstance(value, bytes):
        # Latin-1 has a character for each byte.
        return clean(name, value.decode("latin-1")).encode("latin-1", "replace")
    if isinstance(value, Mapping):
        return {clean("", str(k)): clean_value(str(k), v) for k, v in value.items()}
    if isinstance(value, Sequence):
        return [clean_value(name, v) for v in value]
    return value


def clean_log(record: ReadableLogRecord) -> ReadableLogRecord:
    """A log record as it may leave."""
    said = copy.copy(record.log_record)
    said.body = clean_value("", said.body)
    said.attributes = {clean("", k): clean_value(k, v) for k, v in (said.attributes or {}).items()}
    said.severity_text = clean("", said.severity_text) if said.severity_text else said.severity_text
    said.event_name = clean("", said.event_name) if said.event_name else said.event_name
    return replace(record, log_record=said, resource=clean_resource(record.resource))


def clean_resource(resource: Resource) -> Resource:
    """A resource as it may leave; the same one where it says nothing that it should not."""
    said = dict(resource.attributes)
    kept = {clean("", k): clean_value(k, v) for k, v in said.items()}
    return resource if kept == said else Resource(kept, resource.schema_url)


def clean_span(one: ReadableSpan | Finished) -> ReadableSpan:
    """A span as it may leave, for an exporter that encodes by itself."""
    span = readable(one) if isinstance(one, Finished) else one
    scope = span.instrumentation_scope
    return ReadableSpan(
        clean("", span.name),
        span.context,
        span.parent,
        clean_resource(span.resource),
        clean_value("", span.attributes or {}),
        [Event(clean("", e.name), clean_value("", e.attributes or {}), e.timestamp) for e in span.events],
        [Link(link.context, clean_value("", link.attributes or {})) for link in span.links],
        span.kind,
        None,
        _clean_status(span.status),
        span.start_time,
        span.end_time,
        scope,
    )


def _clean_status(status: Status) -> Status:
    return Status(status.status_code, clean("", status.description)) if status.description else status
