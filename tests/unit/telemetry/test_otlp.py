"""Our encoding of spans equals OpenTelemetry's own, field by field, whatever a span says."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from tradewatch.telemetry.otlp import Encoder


def finished(stretches):
    """What a generator returns, and in how many stretches."""
    n = 1
    while True:
        try:
            next(stretches)
            n += 1
        except StopIteration as end:
            return end.value, n


def ours(spans, encoder=None):
    return ExportTraceServiceRequest.FromString(finished((encoder or Encoder()).encode(spans))[0])


def theirs(spans):
    """OpenTelemetry's own, also through bytes: what arrives is what counts."""
    return ExportTraceServiceRequest.FromString(encode_spans(spans).SerializePartialToString())


TEXT = st.text(max_size=20) | st.sampled_from(["BTC/USDT", "ключ", "鍵\U0001f511", "a" * 127, "b" * 128, "c" * 20_000])
SCALAR = (
    TEXT
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.sampled_from([0, 1, -1, 127, 128, 2**63 - 1, -(2**63), 0.0, -0.0, 1.0, float("inf"), float("nan"), ""])
    | st.floats()
    | st.binary(max_size=200)
    | st.none()
)
NESTED = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=12,
)
# What no request can carry: upstream leaves the attribute out.
IMPOSSIBLE = st.sampled_from([2**63, -(2**63) - 1, 2**64, 10**400, [1, 2**70], {"deep": [2**64]}, object(), {1, 2}, 1j])
PLAIN = st.dictionaries(TEXT.filter(bool), NESTED | IMPOSSIBLE, max_size=8)
BOUNDED = st.builds(
    lambda found, most: BoundedAttributes(most, found, immutable=False),
    st.dictionaries(TEXT.filter(bool), SCALAR.filter(lambda v: v is not None), max_size=8),
    st.sampled_from([None, 2, 100]),
)
ATTRIBUTES = PLAIN | BOUNDED | st.none()
STATES = st.dictionaries(
    st.from_regex(r"\A[a-z][a-z0-9_]{0,10}\Z"), st.from_regex(r"\A[!-+\--<>-~]{1,10}\Z"), max_size=3
)
CONTEXTS = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    st.sampled_from([TraceFlags(0), TraceFlags(1)]),
    STATES.map(lambda found: TraceState(list(found.items()))),
)
TIMES = st.integers(0, 2**64 - 1)
EVENTS = st.builds(Event, TEXT, ATTRIBUTES, TIMES.filter(bool))
LINKS = st.builds(Link, CONTEXTS, ATTRIBUTES)
RESOURCES = st.builds(
    Resource,
    st.dictionaries(TEXT.filter(bool), SCALAR.filter(lambda v: v is not None), max_size=4),
    st.sampled_from(["", "https://opentelemetry.io/schemas/1.30.0"]),
)
SCOPES = st.none() | st.builds(
    InstrumentationScope,
    TEXT,
    st.none() | TEXT,
    st.none() | TEXT,
    st.none() | st.dictionaries(TEXT.filter(bool), st.text(max_size=5) | st.integers(0, 9) | st.booleans(), max_size=2),
)
STATUSES = (
    st.just(Status(StatusCode.UNSET))
    | st.just(Status(StatusCode.OK))
    | TEXT.map(lambda said: Status(StatusCode.ERROR, said))
)


@st.composite
def batches(draw):
    """Spans of a few resources and scopes, some of them equal and not the same."""
    resources, scopes = (
        draw(st.lists(RESOURCES, min_size=1, max_size=3)),
        draw(st.lists(SCOPES, min_size=1, max_size=3)),
    )
    spans = []
    for _ in range(draw(st.integers(0, 5))):
        resource, scope = draw(st.sampled_from(resources)), draw(st.sampled_from(scopes))
        if draw(st.booleans()):
            resource = Resource(dict(resource.attributes), resource.schema_url)
        spans.append(
            ReadableSpan(
                draw(TEXT),
                draw(CONTEXTS),
                draw(st.none() | CONTEXTS),
                resource,
                draw(ATTRIBUTES),
                draw(st.lists(EVENTS, max_size=3)),
                draw(st.lists(LINKS, max_size=3)),
                draw(st.sampled_from(SpanKind)),
                None,
                draw(STATUSES),
                draw(st.none() | TIMES),
                draw(st.none() | TIMES),
                scope,
            )
        )
    return spans


@pytest.mark.filterwarnings("ignore")
@given(batches(), batches())
@settings(max_examples=150, deadline=None)
def test_a_request_equals_upstreams(first, second):
    encoder = Encoder()
    assert_same(ours(first, encoder), theirs(first))
    # What was remembered of the first request is written into the second.
    assert_same(ours(second + first, encoder), theirs(second + first))
    assert encoder.skipped == 0


def assert_same(one, other):
    """By bytes in a fixed order, since NaN differs from itself."""
    assert one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)


def test_spans_of_the_sdk_itself_with_what_their_limits_dropped():
    provider = TracerProvider(
        resource=Resource({"service.name": "бот"}),
        span_limits=SpanLimits(
            max_span_attributes=3, max_events=2, max_links=1, max_event_attributes=1, max_link_attributes=1
        ),
        shutdown_on_exit=False,
    )
    tracer = provider.get_tracer("scope", "1.0", "https://schema", {"a": 1})
    links = [Link(SpanContext(n, n, True), {"one": 1, "two": 2}) for n in (1, 2)]
    with tracer.start_as_current_span("outer", links=links, kind=SpanKind.SERVER) as outer:
        outer.set_attributes({"a": "x", "b": True, "c": [1.5, 2.0], "d": 4, "e": ("x", "y")})
        for n in range(4):
            outer.add_event(f"event {n}", {"n": n, "m": n})
        with tracer.start_as_current_span("inner") as inner:
            inner.record_exception(ValueError("said"))
            inner.set_status(StatusCode.ERROR, "said")
    spans = [inner, outer]
    request = ours(spans)
    assert_same(request, theirs(spans))
    [told] = [s for r in request.resource_spans for scope in r.scope_spans for s in scope.spans if s.name == "outer"]
    assert (told.dropped_attributes_count, told.dropped_events_count, told.dropped_links_count) == (2, 2, 1)
    assert (told.events[0].dropped_attributes_count, told.links[0].dropped_attributes_count) == (1, 1)
    assert told.status.code == told.status.STATUS_CODE_UNSET


def span(**what):
    context = SpanContext(1, 2, False)
    return ReadableSpan(
        **{"name": "n", "context": context, "resource": Resource({}), "start_time": 1, "end_time": 2, **what}
    )


@pytest.mark.parametrize(
    "impossible",
    [
        {"context": None},
        {"context": SpanContext(2**129, 1, False)},
        {"start_time": -1},
        {"end_time": 2**64},
        {"name": 5},
    ],
)
def test_a_span_that_no_request_can_carry_does_not_take_the_others_with_it(impossible):
    encoder = Encoder()
    request = ours([span(), span(**impossible), span()], encoder)
    assert [s.name for r in request.resource_spans for scope in r.scope_spans for s in scope.spans] == ["n", "n"]
    assert encoder.skipped == 1


def test_half_a_surrogate_pair_costs_one_character():
    request = ours([span(name="a\ud800b", attributes={"k": "\udfff"})])
    [told] = request.resource_spans[0].scope_spans[0].spans
    assert (told.name, told.attributes[0].value.string_value) == ("a?b", "?")


def test_every_text_is_rewritten_wherever_it_stands():
    context = SpanContext(1, 2, False, trace_state=TraceState([("k", "secret")]))
    said = {
        "secret": "secret",
        "list": ["a", ["secret"]],
        "map": {"secret": {"deep": "secret"}},
        "bytes": b"\xffsecret",
    }
    whole = ReadableSpan(
        "secret",
        context,
        None,
        Resource({"r": "secret"}, "secret"),
        said,
        [Event("secret", said, 1)],
        [Link(context, said)],
        status=Status(StatusCode.ERROR, "secret"),
        start_time=1,
        end_time=2,
        instrumentation_scope=InstrumentationScope("secret", "secret", "secret", {"s": "secret"}),
    )
    asked = []

    def rewrite(key, text):
        asked.append(key)
        return text.replace("secret", "***")

    encoder = Encoder(rewrite)
    for _ in range(2):
        encoded, _ = finished(encoder.encode([whole]))
        assert b"secret" not in encoded
        assert encoded.count(b"***") == 28
        ExportTraceServiceRequest.FromString(encoded)
    assert {"secret", "list", "deep", "bytes", "r", "s", ""} <= set(asked)


def test_what_was_learned_since_is_forgotten_on_demand():
    hidden = set()
    encoder = Encoder(lambda key, text: "***" if text in hidden else text)
    one = span(name="word", attributes={"word": "word"})
    assert finished(encoder.encode([one]))[0].count(b"word") == 3
    hidden.add("word")
    encoder.forget()
    assert finished(encoder.encode([one]))[0].count(b"word") == 0


def test_a_span_with_many_events_is_written_in_several_stretches():
    events = [Event("e", {f"key {n} {m}": "x" * 50 for m in range(40)}, 1) for n in range(128)]
    encoded, stretches = finished(Encoder().encode([span(events=events)]))
    assert_same(ExportTraceServiceRequest.FromString(encoded), theirs([span(events=events)]))
    assert stretches > 5


def test_what_is_remembered_is_bounded():
    encoder = Encoder()
    for n in range(0, 40_000, 1000):
        finished(
            encoder.encode([span(name=f"n{i}", attributes={f"k{i}": i, "v": f"v{i}"}) for i in range(n, n + 1000)])
        )
    assert max(len(encoder._known), len(encoder._names), len(encoder._keys)) <= 8_192
    finished(encoder.encode([span(name="x" * 10_000, attributes={"k": "y" * 10_000})]))
    assert all(len(v) < 300 for v in (*encoder._known.values(), *encoder._names.values()))
