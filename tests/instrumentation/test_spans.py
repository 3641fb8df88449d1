"""The spans of calls against those that a bot makes by hand in OpenTelemetry's usual way, on the same calls."""

import asyncio
import contextvars
import gc
import logging
import sys
import threading
import time

import pytest
from opentelemetry import context as context_api
from opentelemetry import propagate, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import SpanKind, StatusCode

import tradewatch

SYMBOL = "BTC/USDT"


class Foreign(SpanProcessor):
    """A processor of the application's own: notes what it is told, on which thread, and hands ended spans on."""

    def __init__(self, exporter):
        self.exporter, self.told = exporter, []

    def on_start(self, span, parent_context=None):
        self.told.append(("start", span.name, span.context.span_id, threading.get_ident()))

    def on_end(self, span):
        self.told.append(("end", span.name, span.context.span_id, threading.get_ident()))
        if span.context.trace_flags.sampled:
            self.exporter.export((span,))


class Traces:
    """A tracer provider and what reached its exporter."""

    def __init__(self, processor="simple", sampler=ALWAYS_ON, **settings):
        self.exporter = InMemorySpanExporter()
        kind = {"simple": SimpleSpanProcessor, "batch": BatchSpanProcessor, "foreign": Foreign}[processor]
        self.processor = kind(self.exporter)
        self.provider = TracerProvider(sampler, Resource({"service.name": "bot"}), shutdown_on_exit=False, **settings)
        self.provider.add_span_processor(self.processor)

    def spans(self):
        self.provider.force_flush()
        return self.exporter.get_finished_spans()

    def forget(self):
        self.spans()
        self.exporter.clear()

    def told(self):
        """Everything that must be equal, sorted: ids and times are each span's own."""
        names = {s.context.span_id: s.name for s in self.spans()}
        return sorted(
            (
                s.name,
                s.kind.name,
                sorted(s.attributes.items()),
                None if s.parent is None else names.get(s.parent.span_id, "not exported"),
                s.status.status_code.name,
                s.status.description,
                (s.resource, s.instrumentation_scope.name, s.context.trace_flags, s.context.is_remote),
                (s.events, s.links, s.dropped_attributes),
            )
            for s in self.spans()
        )

    def lie_within(self):
        """Whether each span's times lie within its parent's."""
        by_id = {s.context.span_id: s for s in self.spans()}
        pairs = [(s, by_id[s.parent.span_id]) for s in by_id.values() if s.parent and s.parent.span_id in by_id]
        return all(p.start_time <= s.start_time <= s.end_time <= p.end_time for s, p in pairs)


def by_hand(api, tracer):
    """A client whose author writes the spans as OpenTelemetry's guides do. The attributes are the conventions'."""
    start = tracer.start_as_current_span

    def begin(operation, symbol=None, **more):
        found = {"trading.exchange": "binance", "trading.operation": operation, "trading.symbol": symbol, **more}
        given = {k: v for k, v in found.items() if v is not None}
        return start(f"{operation} binance", attributes={"trading.bot": "bot", **given}, record_exception=False)

    def end(span, client, result=None):
        span.set_attribute("trading.attempts", client.attempts)
        if result is not None:
            filled = {"trading.order.id": result["id"], "trading.order.status": "filled"}
            filled |= {"trading.order.client_id": result["clientOrderId"], "trading.order.filled": "1.00000000"}
            span.set_attributes(filled | {"trading.order.average": "100.10000000"})

    def attempt(method, url):
        from urllib.parse import urlsplit

        where = urlsplit(url)
        path = {"http.request.method": method, "server.address": where.hostname, "url.path": where.path}
        return start(method, kind=SpanKind.CLIENT, attributes=path, record_exception=False)

    class Sync(api.ccxt.binance):
        attempts = 0

        def fetch(self, url, method="GET", headers=None, body=None):
            self.attempts += 1
            with attempt(method, url) as span:
                self.span = span
                return super().fetch(url, method, headers, body)

        def on_rest_response(self, code, *args):
            self.span.set_attribute("http.response.status_code", code)
            return super().on_rest_response(code, *args)

        def around(self, operation, call, symbol=None, **more):
            self.attempts = 0
            with begin(operation, symbol, **more) as span:
                result = call()
                end(span, self, result if more else None)
                return result

        def fetch_ticker(self, symbol, params={}):  # noqa: B006
            return self.around("fetch_ticker", lambda: super(Sync, self).fetch_ticker(symbol), symbol)

        def fetch_balance(self, params={}):  # noqa: B006
            return self.around("fetch_balance", lambda: super(Sync, self).fetch_balance())

        def create_order(self, symbol, kind, side, amount, price=None, params={}):  # noqa: B006
            more = {"trading.order.side": side, "trading.order.type": kind, "trading.order.amount": str(amount)}
            return self.around(
                "create_order", lambda: super(Sync, self).create_order(symbol, kind, side, amount), symbol, **more
            )

    class Async(api.ccxt.binance):
        attempts = 0

        async def fetch(self, url, method="GET", headers=None, body=None):
            self.attempts += 1
            with attempt(method, url) as span:
                self.span = span
                return await super().fetch(url, method, headers, body)

        def on_rest_response(self, code, *args):
            self.span.set_attribute("http.response.status_code", code)
            return super().on_rest_response(code, *args)

        async def around(self, operation, call, symbol=None, **more):
            self.attempts = 0
            with begin(operation, symbol, **more) as span:
                result = await call()
                end(span, self, result if more else None)
                return result

        async def fetch_ticker(self, symbol, params={}):  # noqa: B006
            return await self.around("fetch_ticker", lambda: super(Async, self).fetch_ticker(symbol), symbol)

        async def fetch_balance(self, params={}):  # noqa: B006
            return await self.around("fetch_balance", lambda: super(Async, self).fetch_balance())

        async def create_order(self, symbol, kind, side, amount, price=None, params={}):  # noqa: B006
            more = {"trading.order.side": side, "trading.order.type": kind, "trading.order.amount": str(amount)}
            return await self.around(
                "create_order", lambda: super(Async, self).create_order(symbol, kind, side, amount), symbol, **more
            )

    return Sync if api.name == "sync" else Async


def asking(api, question):
    """ccxt's client, and in each of its attempts somebody asks for the current span."""

    class Sync(api.ccxt.binance):
        def fetch(self, *args, **kwargs):
            question()
            return super().fetch(*args, **kwargs)

    class Async(api.ccxt.binance):
        async def fetch(self, *args, **kwargs):
            question()
            return await super().fetch(*args, **kwargs)

    return Sync if api.name == "sync" else Async


def trades(api, client, tracer):
    """What the bot does: a decision with two calls under it, and one call of its own."""

    def once():
        with tracer.start_as_current_span("decide"):
            api.do(client.fetch_ticker(SYMBOL))
            api.do(client.create_order(SYMBOL, "market", "buy", 1))
        api.do(client.fetch_balance())

    once()


def span_context():
    return trace.get_current_span().get_span_context()


QUESTIONS = {
    "unasked": lambda: None,
    "asked for ids": span_context,
    "asked by propagation": lambda: propagate.inject({}),
    "asked for an attribute": lambda: trace.get_current_span().is_recording(),
}


class ByAttribute(Sampler):
    """Drops what its attributes name, and counts what it is asked."""

    def __init__(self):
        self.asked = []

    def should_sample(self, parent_context, trace_id, name, kind=None, attributes=None, links=None):
        self.asked.append((name, dict(attributes or {})))
        drop = (attributes or {}).get("trading.operation") == "fetch_ticker"
        return SamplingResult(Decision.DROP if drop else Decision.RECORD_AND_SAMPLE, attributes)

    def get_description(self):
        return "by attribute"


SAMPLERS = {
    "always on": lambda: ALWAYS_ON,
    "always off": lambda: ALWAYS_OFF,
    "parent-based": lambda: ParentBased(ALWAYS_ON),
    "half": lambda: ParentBased(TraceIdRatioBased(0.5)),
    "by attribute": ByAttribute,
    "by attribute of the first": lambda: ParentBased(ByAttribute()),
    "no children": lambda: ParentBased(ALWAYS_ON, local_parent_sampled=ALWAYS_OFF),
}


class Counting:
    """Ids in turn, so that samplers by id decide the same for both."""

    def __init__(self):
        self.n = 0

    def generate_trace_id(self):
        self.n += 1
        return self.n << 62

    def generate_span_id(self):
        self.n += 1
        return self.n

    def is_trace_id_random(self):
        return False


@pytest.mark.parametrize("asked", QUESTIONS)
@pytest.mark.parametrize("processor", ["simple", "batch", "foreign"])
def test_spans_are_those_that_are_written_by_hand(api, venue, make_bot, watch_over, application, processor, asked):
    both = []
    for ours in (True, False):
        place, traces = venue(), Traces(processor)
        tracer = traces.provider.get_tracer("tradewatch")
        client = api.client(place, asking(api, QUESTIONS[asked]) if ours else by_hand(api, tracer))
        api.do(client.load_markets())
        traces.forget()
        if ours:
            providers = {"tracer_provider": traces.provider, "meter_provider": application.meters}
            watch_over(make_bot(client), name="bot", clock=place.clock, **providers)
        trades(api, client, tracer)
        tradewatch.shutdown()
        both.append(plain_ids(traces.told()))
        assert traces.lie_within()
        assert len(traces.spans()) == 7
        traces.provider.shutdown()
    assert both[0] == both[1]


def plain_ids(told):
    """Without the ids that the venue and ccxt give to orders."""
    given = ("trading.order.id", "trading.order.client_id")
    return [
        (name, kind, [(k, "id" if k in given else v) for k, v in found], *rest) for name, kind, found, *rest in told
    ]


@pytest.mark.parametrize("asked", ["unasked", "asked for ids"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samplers_decide_once_for_each_span_and_as_by_hand(
    blocking, venue, make_bot, watch_over, application, sampler, asked
):
    both, asked_for = [], []
    for ours in (True, False):
        chosen = SAMPLERS[sampler]()
        place, traces = venue(), Traces("simple", chosen, id_generator=Counting())
        tracer = traces.provider.get_tracer("tradewatch")
        client = blocking.client(place, asking(blocking, QUESTIONS[asked]) if ours else by_hand(blocking, tracer))
        client.load_markets()
        traces.forget()
        if ours:
            providers = {"tracer_provider": traces.provider, "meter_provider": application.meters}
            watch_over(make_bot(client), name="bot", clock=place.clock, **providers)
        if isinstance(chosen, ByAttribute):
            chosen.asked.clear()
        for _ in range(4):
            client.fetch_ticker(SYMBOL)
            client.fetch_balance()
        tradewatch.shutdown()
        both.append(plain_ids(traces.told()))
        asked_for.append(sorted(map(repr, getattr(chosen, "asked", ()))))
    if sampler == "half":
        # Which traces are kept depends on their ids: here only that each trace is kept whole or not at all.
        for told in both:
            assert all(parent != "not exported" for *_, parent, _, _, _, _ in told)
    else:
        assert both[0] == both[1]
        assert asked_for[0] == asked_for[1]
        assert {"always off": 0, "by attribute": 12, "by attribute of the first": 8, "no children": 8}.get(
            sampler, 16
        ) == len(both[0])


@pytest.mark.parametrize("kept", [True, False])
def test_a_call_is_kept_as_the_span_is_that_it_begins_in(blocking, venue, make_bot, watch_over, application, kept):
    place, traces = venue(), Traces("simple", ParentBased(ALWAYS_ON))
    client = blocking.client(place)
    client.load_markets()
    providers = {"tracer_provider": traces.provider, "meter_provider": application.meters}
    watch_over(make_bot(client), clock=place.clock, **providers)
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if kept else trace.TraceFlags.DEFAULT)
    parent = trace.SpanContext(1 << 64, 2, is_remote=True, trace_flags=flags)
    with trace.use_span(trace.NonRecordingSpan(parent)):
        client.fetch_ticker(SYMBOL)
    tradewatch.shutdown()
    assert {s.context.trace_id for s in traces.spans()} == ({1 << 64} if kept else set())
    assert len(traces.spans()) == (2 if kept else 0)


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


@pytest.fixture
def call(blocking, make_bot, watch_over, application):
    """Runs a function inside a call of a client that does nothing else; the spans are the application's."""
    inside = []

    class Calls(blocking.ccxt.binance):
        def fetch_time(self, params={}):  # noqa: B006
            return inside[-1]()

    client = blocking.client("http://127.0.0.1:9", Calls)
    watch_over(make_bot(client), **application.settings)

    def make(function):
        inside.append(function)
        return client.fetch_time()

    return make


def only_calls(application):
    return [s for s in application.spans() if s.name == "fetch_time binance"]


def test_threads_that_ask_at_once_get_one_and_the_same_span(call, application):
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(200):
            found, barrier = [], threading.Barrier(9)

            def ask(context, barrier=barrier, found=found):
                barrier.wait()
                found.append(context.run(span_context).span_id)

            def inside(barrier=barrier, ask=ask):
                threads = [threading.Thread(target=ask, args=(contextvars.copy_context(),)) for _ in range(8)]
                for each in threads:
                    each.start()
                barrier.wait()
                return threads  # they ask while the call ends

            for each in call(inside):
                each.join()
            assert len(set(found)) == 1
            assert len(found) == 8
    finally:
        sys.setswitchinterval(interval)
    tradewatch.shutdown()
    spans = only_calls(application)
    assert len(spans) == len({s.context.span_id for s in spans}) == 200
    assert all(s.end_time >= s.start_time and s.attributes["trading.attempts"] == 0 for s in spans)


@pytest.mark.parametrize("handed_on", [False, True])
def test_a_question_after_the_end_gets_the_span_that_is_exported(call, application, handed_on, until):
    captured = call(contextvars.copy_context)
    if handed_on:
        until(lambda: only_calls(application))
    identity = captured.run(span_context)
    captured.run(lambda: trace.get_current_span().set_attribute("too", "late"))
    with captured.run(lambda: application.tracers.get_tracer("app").start_as_current_span("later")):
        pass
    child = captured.run(lambda: application.tracers.get_tracer("app").start_span("child"))
    child.end()
    tradewatch.shutdown()
    [span] = only_calls(application)
    assert span.context.span_id == identity.span_id
    assert child.parent.span_id == identity.span_id
    assert "too" not in span.attributes


def test_a_child_that_outlives_the_call_keeps_its_parent(call, application):
    child = call(lambda: application.tracers.get_tracer("app").start_span("child"))
    time.sleep(0.01)
    child.end()
    tradewatch.shutdown()
    [span] = only_calls(application)
    assert (child.parent.span_id, child.context.trace_id) == (span.context.span_id, span.context.trace_id)
    assert span.end_time < child.end_time


def test_a_call_within_a_call_is_part_of_it(call, application):
    call(lambda: call(lambda: 1))
    tradewatch.shutdown()
    spans = only_calls(application)
    # The inner one is part of the outer one: one call of the bot is one span.
    assert len(spans) == 1


def test_a_thousand_threads_leave_a_thousand_spans_and_no_context_behind(call, application):
    left = []

    def one():
        call(lambda: 1)
        left.append(context_api.get_current())

    threads = [threading.Thread(target=one) for _ in range(1000)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    tradewatch.shutdown()
    assert len(only_calls(application)) == 1000
    assert all(not found for found in left)


def test_the_sampler_may_ask_for_the_current_span_itself(blocking, make_bot, watch_over, application):
    class Curious(ByAttribute):
        def should_sample(self, parent_context, *args, **kwargs):
            self.asked.append(span_context().is_valid)
            return SamplingResult(Decision.RECORD_AND_SAMPLE)

    class Calls(blocking.ccxt.binance):
        def fetch_time(self, params={}):  # noqa: B006
            return span_context()

    sampler = Curious()
    traces = Traces("simple", sampler)
    client = blocking.client("http://127.0.0.1:9", Calls)
    providers = {"tracer_provider": traces.provider, "meter_provider": application.meters}
    watch_over(make_bot(client), **providers)
    identity = client.fetch_time()
    tradewatch.shutdown()
    assert [s.context.span_id for s in traces.spans()] == [identity.span_id]
    assert sampler.asked == [False]


@pytest.mark.parametrize("ask", [False, True])
def test_a_coroutine_that_the_collector_closes_elsewhere_logs_nothing_and_ends_its_call(
    awaiting, make_bot, watch_over, application, caplog, ask
):
    class Hangs(awaiting.ccxt.binance):
        async def fetch_time(self, params={}):  # noqa: B006
            if ask:
                span_context()
            await asyncio.get_running_loop().create_future()

    client = awaiting.client("http://127.0.0.1:9", Hangs)
    watch_over(make_bot(client), **application.settings)

    async def first_steps():
        coroutine = client.fetch_time()
        coroutine.send(None)
        return coroutine

    async def begins():
        return await asyncio.get_running_loop().create_task(first_steps())

    with caplog.at_level(logging.DEBUG):
        coroutine = awaiting.do(begins())
        contextvars.copy_context().run(coroutine.close)
        del coroutine
        gc.collect()
        contextvars.copy_context().run(context_api.get_current)
    tradewatch.shutdown()
    assert [r.getMessage() for r in caplog.records if "detach" in r.getMessage()] == []
    [span] = only_calls(application)
    assert span.attributes["trading.cancelled"] is True
    assert span.status.status_code is StatusCode.UNSET


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
