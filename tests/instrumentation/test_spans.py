"""The spans of calls: their limits and status, what the bot sets on them, and who hears of them."""

import threading
import time

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanLimits
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

import tradewatch
from tracing import QUESTIONS, SYMBOL, Foreign, Traces, asking, span_context


def test_a_limit_on_attributes_holds_for_spans_from_records_too(blocking, venue, make_bot, watch_over, application):
    found = []
    for question in (lambda: None, span_context):
        place = venue()
        limits = SpanLimits(max_span_attributes=3, max_span_attribute_length=5)
        traces = Traces("simple", span_limits=limits)
        client = blocking.client(place, asking(blocking, question))
        client.load_markets()
        providers = {"tracer_provider": traces.provider, "meter_provider": application.meters}
        watch_over(make_bot(client), name="bot", clock=place.clock, **providers)
        client.fetch_ticker(SYMBOL)
        tradewatch.shutdown()
        found.append(traces.told())
    assert found[0] == found[1]
    [call] = [s for s in traces.spans() if s.kind is SpanKind.INTERNAL]
    assert dict(call.attributes) == {"trading.operation": "fetch", "trading.symbol": "BTC/U", "trading.attempts": 1}
    assert call.dropped_attributes == 2


def test_a_failed_call_and_attempt_have_status_and_description(api, venue, make_bot, watch_over, application):
    found = []
    for question in QUESTIONS.values():
        place = venue(({"operation": "ticker_24hr"}, {"kind": "rate_limit"}))
        traces = Traces()
        client = api.client(place, asking(api, question))
        api.do(client.load_markets())
        providers = {"tracer_provider": traces.provider, "meter_provider": application.meters}
        watch_over(make_bot(client), name="bot", clock=place.clock, **providers)
        with pytest.raises(api.ccxt.BaseError):
            api.do(client.fetch_ticker(SYMBOL))
        tradewatch.shutdown()
        found.append([(s.name, s.status.status_code.name, dict(s.attributes)) for s in sorted(traces.spans(), key=str)])
        [text] = [s.status.description for s in traces.spans() if s.kind is SpanKind.INTERNAL]
        assert text.startswith("DDoSProtection: ")
    assert len({repr(sorted(f, key=repr)) for f in found}) == 1
    assert {status for _, status, _ in found[0]} == {"ERROR"}


def test_what_the_bot_sets_on_the_current_span_is_exported(api, venue, make_bot, watch_over, application):
    watched = []

    def question():
        if not watched:
            return
        span = trace.get_current_span()
        span.set_attribute("mine", 1)
        span.set_attributes({"also": "mine"})
        span.add_event("seen", {"n": 2})
        span.update_name("renamed")
        assert span.is_recording()
        assert span.name == "renamed"
        assert span.attributes["mine"] == 1
        assert isinstance(span, trace.Span)

    place, traces = venue(), Traces()
    client = api.client(place, asking(api, question))
    api.do(client.load_markets())
    providers = {"tracer_provider": traces.provider, "meter_provider": application.meters}
    watched.append(watch_over(make_bot(client), clock=place.clock, **providers))
    api.do(client.fetch_ticker(SYMBOL))
    tradewatch.shutdown()
    [call] = [s for s in traces.spans() if s.kind is SpanKind.INTERNAL]
    assert call.name == "renamed"
    assert {"mine": 1, "also": "mine", "trading.attempts": 1}.items() <= dict(call.attributes).items()
    assert [(e.name, dict(e.attributes)) for e in call.events] == [("seen", {"n": 2})]


def test_a_foreign_processor_hears_of_each_span_on_the_bots_thread_parents_first(
    api, venue, make_bot, watch_over, application
):
    place, traces = venue(), Traces("foreign")
    client = api.client(place)
    api.do(client.load_markets())
    providers = {"tracer_provider": traces.provider, "meter_provider": application.meters}
    watch_over(make_bot(client), clock=place.clock, **providers)
    api.do(client.fetch_ticker(SYMBOL))
    told = list(traces.processor.told)
    assert [(what, name) for what, name, _, _ in told] == [
        ("start", "fetch_ticker binance"),
        ("start", "GET"),
        ("end", "GET"),
        ("end", "fetch_ticker binance"),
    ]
    assert {thread for *_, thread in told} == {threading.get_ident()}
    time.sleep(0.3)
    tradewatch.shutdown()
    assert traces.processor.told == told


def test_a_foreign_processor_that_comes_later_is_heard_too(blocking, venue, make_bot, watch_over, application, until):
    place, traces = venue(), Traces()
    client = blocking.client(place)
    client.load_markets()
    providers = {"tracer_provider": traces.provider, "meter_provider": application.meters}
    watch_over(make_bot(client), clock=place.clock, **providers)
    client.fetch_ticker(SYMBOL)
    late = Foreign(InMemorySpanExporter())
    traces.provider.add_span_processor(late)

    def heard():
        client.fetch_balance()
        return [name for what, name, _, thread in late.told if what == "start" and thread == threading.get_ident()]

    until(heard)
    tradewatch.shutdown()
    ids = [s.context.span_id for s in traces.spans()]
    assert len(ids) == len(set(ids)) == 2 * len([e for e in place.log() if e.operation in ("ticker_24hr", "account")])


def test_a_foreign_processor_that_raises_costs_the_bot_nothing(api, venue, make_bot, watch_over, application, lenient):
    class Raises(Foreign):
        def on_start(self, span, parent_context=None):
            raise RuntimeError("on_start")

        on_end = on_start

    place, traces = venue(), Traces()
    traces.provider.add_span_processor(Raises(InMemorySpanExporter()))
    client = api.client(place)
    api.do(client.load_markets())
    providers = {"tracer_provider": traces.provider, "meter_provider": application.meters}
    watch = watch_over(make_bot(client), clock=place.clock, **providers)
    assert api.do(client.fetch_ticker(SYMBOL))["symbol"] == SYMBOL
    assert [(o.operation, o.calls) for o in watch.status().operations] == [("fetch_ticker", 1)]
    assert lenient["spans"] >= 1


def test_without_a_tracer_provider_no_span_is_current(api, venue, make_bot, watch_over):
    seen = []
    place = venue()
    client = api.client(place, asking(api, lambda: seen.append(trace.get_current_span())))
    watch_over(make_bot(client), clock=place.clock)
    api.do(client.fetch_ticker(SYMBOL))
    assert seen
    assert all(span is trace.INVALID_SPAN for span in seen)


def test_the_context_after_a_call_is_the_one_before_it(api, venue, make_bot, watch_over, application):
    place = venue()
    client = api.client(place)
    watch_over(make_bot(client), clock=place.clock, **application.settings)
    with application.tracers.get_tracer("app").start_as_current_span("mine") as mine:
        api.do(client.fetch_ticker(SYMBOL))
        with pytest.raises(api.ccxt.BaseError):
            api.do(client.cancel_order("4711", SYMBOL))
        with pytest.raises(api.ccxt.BaseError):
            api.do(client.create_order(SYMBOL, "market", "sell", 500_000))
        assert trace.get_current_span() is mine
    assert trace.get_current_span() is trace.INVALID_SPAN
