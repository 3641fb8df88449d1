"""Spans as what must be equal of them: trees of plain values, whatever their ids and times."""

import re
from dataclasses import dataclass, field, replace

# What is given anew each time.
_GIVEN = {"trading.order.id": "id", "trading.order.client_id": "id", "trading.throttle.duration": "seconds"}
_CHANGING = ((r"127\.0\.0\.1:\d+", "venue"), (r"timestamp=\d+", "timestamp=*"), (r"signature=[^&\s]+", "signature=*"))
_ATTEMPTS = ("GET", "POST", "DELETE")


@dataclass
class Seen:
    """A span as its exporter got it; times in epoch nanoseconds, parent 0 where it has none."""

    name: str
    kind: str
    attributes: dict
    trace: int
    id: int
    parent: int
    status: str
    description: str | None
    events: list
    start_ns: int
    end_ns: int
    scope: str
    more: tuple = ()
    children: list = field(default_factory=list)

    @property
    def is_attempt(self):
        return self.scope == "tradewatch" and self.kind == "CLIENT"

    @property
    def is_call(self):
        return self.scope == "tradewatch" and self.kind == "INTERNAL"


def seen(span):
    """Of the SDK's."""
    return Seen(
        span.name,
        span.kind.name,
        dict(span.attributes),
        span.context.trace_id,
        span.context.span_id,
        span.parent.span_id if span.parent is not None else 0,
        span.status.status_code.name,
        span.status.description,
        [(event.name, dict(event.attributes)) for event in span.events],
        span.start_time,
        span.end_time,
        span.instrumentation_scope.name,
        (dict(span.resource.attributes), int(span.context.trace_flags), dict(span.context.trace_state), span.links),
    )


def forest(spans):
    """The spans that have no parent among them, each with its children."""
    spans = [replace(span, children=[]) for span in spans]
    by_id = {span.id: span for span in spans}
    assert len(by_id) == len(spans), "two spans have one id"
    for span in spans:
        if span.parent in by_id:
            assert span.trace == by_id[span.parent].trace, "a child in another trace"
            by_id[span.parent].children.append(span)
    roots = [span for span in spans if span.parent not in by_id]
    assert len({span.trace for span in roots if not span.parent}) == len([s for s in roots if not s.parent])
    return roots


def plain(span):
    """A tree as plain values."""
    attributes = tuple(sorted((k, _GIVEN.get(k, v)) for k, v in span.attributes.items()))
    children = sorted((plain(child) for child in span.children), key=repr)
    said = (span.status, steady(span.description), tuple(name for name, _ in span.events))
    is_root = not span.parent
    return span.name, span.kind, span.scope, attributes, said, repr(span.more), is_root, children


def steady(text):
    for pattern, shown in _CHANGING:
        text = re.sub(pattern, shown, text) if text else text
    return text


def as_documented(roots, says):
    """What a naive tree becomes by the differences that docs/telemetry.md states, and by no other.

    `says` masks secrets and cuts a text, as the description of a failed call is.
    """
    return _beside([_documented(root, says) for root in roots])


def _beside(spans):
    """What was made during an attempt comes beside it."""
    below = [child for span in spans if span.is_attempt for child in span.children]
    return [replace(span, children=[]) if span.is_attempt else span for span in spans] + below


def _documented(span, says):
    children = [_documented(child, says) for child in span.children]
    # 1. A failed call or attempt has no event of the exception: its text holds the signed URL.
    is_ours = span.is_call or span.is_attempt
    if is_ours and span.status == "ERROR":
        [(name, attributes)] = span.events
        assert name == "exception"
        assert attributes["exception.type"].rsplit(".", 1)[-1] == span.description.split(":", 1)[0]
        # 2. A failed attempt is described by its error.type, a failed call by its exception's text, scrubbed.
        said = span.attributes["error.type"] if span.is_attempt else says(span.description)
        span = replace(span, events=[], description=said)
    # 3. The id that the client library gave to an order is known although the order failed.
    if is_ours and span.attributes.get("trading.order.status") in ("rejected", "unknown"):
        span = replace(span, attributes={**span.attributes, "trading.order.client_id": "id"})
    # 4. An attempt is not current: what is made during it is a child of the call, beside it.
    return replace(span, children=_beside(children))


def lie_within(spans):
    """Each span's times lie within its parent's, and are in order."""
    by_id = {span.id: span for span in spans}
    wrong = []
    for span in spans:
        above = by_id.get(span.parent, span)
        if not above.start_ns <= span.start_ns <= span.end_ns <= above.end_ns:
            wrong.append((span.name, above.name, span.start_ns - above.start_ns, above.end_ns - span.end_ns))
    return wrong


def lie_in_steps(spans, steps):
    """Each call lies within what the bot timed from outside, and each step has as many calls as it made."""
    calls = [span for span in spans if span.is_call]
    found = [(name, sum(a <= c.start_ns <= c.end_ns <= b for c in calls)) for name, a, b, _ in steps]
    wanted = [(name, n) for name, *_, n in steps]
    return [] if found == wanted else [("calls within steps", found, wanted)]


def arrived(requests):
    """The spans in what a collector got (OTLP), each once."""
    kinds, codes = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT"), ("UNSET", "OK", "ERROR")
    return [
        Seen(
            span.name,
            kinds[span.kind],
            values(span.attributes),
            int.from_bytes(span.trace_id, "big"),
            int.from_bytes(span.span_id, "big"),
            int.from_bytes(span.parent_span_id, "big"),
            codes[span.status.code],
            span.status.message or None,
            [(event.name, values(event.attributes)) for event in span.events],
            span.start_time_unix_nano,
            span.end_time_unix_nano,
            scope.scope.name,
            (span.flags, span.trace_state, list(span.links)),
        )
        for request in requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def values(attributes):
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
