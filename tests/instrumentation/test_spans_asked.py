"""The current span, asked by threads at once, after its call, by a child that outlives it, by the sampler itself."""

import asyncio
import contextvars
import gc
import logging
import sys
import threading
import time

import pytest
from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import (
    Decision,
    SamplingResult,
)
from opentelemetry.trace import StatusCode

import tradewatch
from tracing import ByAttribute, Traces, span_context


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
