"""What tradewatch takes from inside OpenTelemetry is there in the installed version, and is missed elsewhere."""

from contextvars import ContextVar

import pytest
from opentelemetry import context as context_api
from opentelemetry.sdk.trace import ConcurrentMultiSpanProcessor, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SimpleSpanProcessor

from tradewatch.telemetry import otel
from tradewatch.telemetry.spans import Spans


@pytest.fixture(autouse=True)
def tried_anew():
    otel.makes_the_same_spans.cache_clear()
    yield
    otel.makes_the_same_spans.cache_clear()


def test_spans_from_records_are_the_sdks_own_in_this_version(caplog):
    assert otel.makes_the_same_spans() is True
    assert caplog.records == []


@pytest.mark.parametrize(
    "broken",
    ["opentelemetry.sdk.trace.Tracer._is_enabled", "opentelemetry.sdk.trace.ReadableSpan.dropped_events"],
)
def test_where_the_sdk_is_another_one_spans_are_started_by_it(monkeypatch, broken):
    monkeypatch.delattr(broken)
    assert otel.makes_the_same_spans() is False
    provider = TracerProvider(shutdown_on_exit=False)
    assert Spans(provider, provider.get_tracer("x"), {}).eager is True


def test_the_context_variable_is_found():
    variable = context_api._RUNTIME_CONTEXT._current_context
    assert isinstance(variable, ContextVar)
    assert otel.get_context == variable.get


class Mine(SimpleSpanProcessor):
    """A subclass may do anything in `on_start`."""


@pytest.mark.parametrize(
    ("processors", "expected"),
    [
        ([], True),
        ([SimpleSpanProcessor], True),
        ([SimpleSpanProcessor, BatchSpanProcessor], True),
        ([Mine], False),
        ([SimpleSpanProcessor, Mine], False),
        ([lambda _: SpanProcessor()], False),
    ],
)
@pytest.mark.parametrize("multi", [None, ConcurrentMultiSpanProcessor])
def test_whose_processors_a_provider_has(processors, expected, multi):
    active = {} if multi is None else {"active_span_processor": multi()}
    provider = TracerProvider(shutdown_on_exit=False, **active)
    for make in processors:
        provider.add_span_processor(make(ConsoleSpanExporter()))
    assert otel.only_ends(provider) is expected
    provider.shutdown()
