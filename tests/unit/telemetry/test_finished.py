"""Spans of ours that are written without a span of the SDK's are what the SDK's would have been, byte for field."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from tradewatch.telemetry import export, otel
from tradewatch.telemetry.finished import Finished, readable
from tradewatch.telemetry.otlp import Encoder
from tradewatch.telemetry.outbox import Outbox, Sent, Size

SIZE = Size(100, 1 << 20, 100, 1 << 20, 60.0)


def tracer(**limits):
    provider = TracerProvider(
        resource=Resource({"service.name": "bot"}), span_limits=SpanLimits(**limits), shutdown_on_exit=False
    )
    return provider.get_tracer("tradewatch", "1", attributes={"a": "b"})


ROOMY, NARROW = tracer(), tracer(max_span_attributes=2, max_span_attribute_length=3)
TEXT = st.text(max_size=10) | st.sampled_from(["BTC/USDT", "ключ", "b" * 128])
VALUES = TEXT | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
ATTRIBUTES = st.dictionaries(st.sampled_from(["a", "b", "c", "d", "e", "ф"]), VALUES, max_size=5)
STATUSES = st.just(Status(StatusCode.UNSET)) | TEXT.map(lambda said: Status(StatusCode.ERROR, said))
CONTEXTS = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    st.sampled_from([TraceFlags(1), TraceFlags(3)]),
    st.sampled_from([None, TraceState([("k", "v")])]),
)


@st.composite
def shapes(draw):
    start, more = draw(ATTRIBUTES), draw(ATTRIBUTES)
    name, kind, status = draw(TEXT), draw(st.sampled_from(SpanKind)), draw(STATUSES)
    varying = "waited" if draw(st.booleans()) else None
    if varying is not None:
        more[varying] = 0.0
    kept = None if draw(st.booleans()) else draw(ATTRIBUTES)
    return otel.shaped(
        draw(st.sampled_from([ROOMY, NARROW])),
        name,
        kind,
        start,
        more,
        status,
        kept,
        varying=varying,
        lasts=draw(st.booleans()),
    )


@st.composite
def batches(draw):
    few = draw(st.lists(shapes(), min_size=1, max_size=3))
    times, numbers = st.integers(0, 2**64 - 1), st.floats(allow_nan=False)
    return draw(
        st.lists(
            st.builds(Finished, st.sampled_from(few), CONTEXTS, st.none() | CONTEXTS, times, times, numbers), max_size=6
        )
    )


def written(encoder, spans):
    stretches = encoder.encode(spans)
    while True:
        try:
            next(stretches)
        except StopIteration as end:
            return ExportTraceServiceRequest.FromString(end.value)


@given(batches(), batches())
@settings(max_examples=200, deadline=None)
def test_what_is_written_of_them_equals_upstreams_request_of_the_sdks_spans(first, second):
    encoder = Encoder()
    for batch in (first, second, second + first):
        theirs = encode_spans([readable(each) for each in batch])
        assert written(encoder, batch) == ExportTraceServiceRequest.FromString(theirs.SerializePartialToString())
    assert encoder.skipped == 0


def test_among_spans_of_the_sdks_they_are_in_one_request_in_their_order():
    theirs = ROOMY.start_span("theirs", attributes={"a": 1})
    theirs.end()
    shape = otel.shaped(ROOMY, "ours", SpanKind.INTERNAL, {"a": 1}, {"b": 0.0}, Status(), varying="b", lasts=True)
    ours = [Finished(shape, SpanContext(1, n, False, TraceFlags(1)), None, n, n + 1, n / 2) for n in (1, 2)]
    request = written(Encoder(), [ours[0], theirs, ours[1]])
    [resource] = request.resource_spans
    [scope] = resource.scope_spans
    assert [each.name for each in scope.spans] == ["ours", "theirs", "ours"]
    assert [each.attributes[1].value.double_value for each in scope.spans if each.name == "ours"] == [0.5, 1.0]


def test_a_secret_that_was_learned_since_is_in_no_request():
    hidden = set()
    encoder = Encoder(lambda key, text: "***" if text in hidden else text)
    shape = otel.shaped(ROOMY, "n", SpanKind.INTERNAL, {"a": "word"}, {}, Status(), lasts=True)
    span = Finished(shape, SpanContext(1, 2, False, TraceFlags(1)), None, 1, 2)
    assert b"word" in written(encoder, [span]).SerializeToString()
    hidden.add("word")
    encoder.forget()
    assert b"word" not in written(encoder, [span]).SerializeToString()


def test_shapes_that_are_remembered_are_bounded():
    encoder = Encoder()
    context = SpanContext(1, 2, False, TraceFlags(1))
    for lasts in (True, False):
        for n in range(10_000):
            shape = otel.shaped(ROOMY, f"n{n}", SpanKind.INTERNAL, {}, {}, Status(), lasts=lasts)
            written(encoder, [Finished(shape, context, None, 1, 2)])
        assert len(encoder._shapes) <= 8_192
    assert not any(not shape.lasts for shape in encoder._shapes)


@pytest.mark.parametrize(
    ("status", "attributes", "kind"),
    [
        (Status(), {"a": 1}, "other"),
        (Status(StatusCode.ERROR, "said"), {}, "order or error"),
        (Status(), {"trading.order.id": "5"}, "order or error"),
        (Status(), {"trading.order.side": "buy"}, "order or error"),
    ],
)
def test_orders_and_errors_are_known_by_their_shape_and_what_is_not_sampled_is_not_queued(status, attributes, kind):
    outbox = Outbox("spans", lambda batch: Sent(), lambda: None, SIZE)
    sink = export.SpanSink(outbox)
    shape = otel.shaped(ROOMY, "n", SpanKind.INTERNAL, attributes, {}, status)
    sink.take([Finished(shape, SpanContext(1, n, False, TraceFlags(n % 2)), None, 1, 2) for n in (1, 2, 3)])
    assert (len(outbox._urgent), len(outbox._other)) == ((2, 0) if kind == "order or error" else (0, 2))
    # The other way gives the same.
    sink.on_end(readable(Finished(shape, SpanContext(1, 1, False, TraceFlags(1)), None, 1, 2)))
    assert (len(outbox._urgent), len(outbox._other)) == ((3, 0) if kind == "order or error" else (0, 3))
    outbox.close(10)


def test_another_exporter_gets_them_as_spans_of_the_sdks():
    kept = InMemorySpanExporter()
    outbox = export.spans_by(kept, SIZE)
    shape = otel.shaped(ROOMY, "n", SpanKind.CLIENT, {"a": "x"}, {"b": 0.0}, Status(), varying="b", lasts=True)
    export.SpanSink(outbox).take([Finished(shape, SpanContext(1, 2, False, TraceFlags(1)), None, 3, 4, 0.25)])
    assert outbox.flush(20)
    [span] = kept.get_finished_spans()
    assert (span.name, dict(span.attributes), span.start_time, span.end_time) == ("n", {"a": "x", "b": 0.25}, 3, 4)
    outbox.close(10)


@pytest.mark.parametrize("varying", [None, "b"])
def test_an_exporter_that_changes_what_it_is_given_changes_no_other_span(varying):
    shape = otel.shaped(ROOMY, "n", SpanKind.CLIENT, {"a": "x"}, {"b": 0.5}, Status(), varying=varying, lasts=True)
    one, other = (readable(Finished(shape, SpanContext(1, n, False, TraceFlags(1)), None, 3, 4, 0.5)) for n in (1, 2))
    one._attributes.pop("a")
    one._attributes["c"] = "theirs"
    assert dict(other.attributes) == {"a": "x", "b": 0.5}
    assert {**shape.attributes, "b": 0.5} == {"a": "x", "b": 0.5}
