"""The spans of calls against those that a bot makes by hand in OpenTelemetry's usual way, on the same calls."""

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    ParentBased,
    TraceIdRatioBased,
)
from opentelemetry.trace import SpanKind

import tradewatch
from tracing import QUESTIONS, SYMBOL, ByAttribute, Traces, asking


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


def trades(api, client, tracer):
    """What the bot does: a decision with two calls under it, and one call of its own."""

    def once():
        with tracer.start_as_current_span("decide"):
            api.do(client.fetch_ticker(SYMBOL))
            api.do(client.create_order(SYMBOL, "market", "buy", 1))
        api.do(client.fetch_balance())

    once()


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
