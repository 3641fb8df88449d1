"""Spans equal those of naive OpenTelemetry on the same calls, whatever their provider is set up like."""

import itertools
import threading
from collections import Counter

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
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
from opentelemetry.trace import TraceState

from parity import runs, traces
from tradewatch.runtime.scrub import scrubber

BOT = {"trading.bot": "bot"}


class Foreign(SpanProcessor):
    """Of the application's own: hands on what it hears of at its start and at its end."""

    def __init__(self, exporter):
        self.exporter, self.told = exporter, []

    def on_start(self, span, parent_context=None):
        self.told.append(("start", span.context.span_id, threading.get_ident()))

    def on_end(self, span):
        self.told.append(("end", span.context.span_id, threading.get_ident()))
        if span.context.trace_flags.sampled:
            self.exporter.export((span,))


class Marking(Foreign):
    """Sets an attribute at the start, with what it finds there."""

    def on_start(self, span, parent_context=None):
        super().on_start(span, parent_context)
        span.set_attribute("team", f"desk of {dict(span.attributes).get('trading.exchange')}")


class Batch(BatchSpanProcessor):
    """One that is not the SDK's own class, as applications derive them."""


# Each processor has an exporter of its own, and each of these must get the same spans.
PROCESSORS = {
    "simple": (SimpleSpanProcessor,),
    "batch": (BatchSpanProcessor,),
    "foreign": (Foreign,),
    "simple and batch": (SimpleSpanProcessor, BatchSpanProcessor),
    "batch and foreign": (BatchSpanProcessor, Foreign),
    "one that sets attributes, then simple": (Marking, SimpleSpanProcessor),
    "derived from batch": (Batch,),
}


class Ids:
    """Trace ids in turn, so that a sampler by id decides over the same ids; every second half of them is low."""

    def __init__(self):
        self.traces, self.spans = itertools.count(1), itertools.count(1)

    def generate_trace_id(self):
        n = next(self.traces)
        return (n << 64) | (n * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF)

    def generate_span_id(self):
        return next(self.spans)

    def is_trace_id_random(self):
        return False


class Traces:
    """A tracer provider, and what reached each of its exporters."""

    def __init__(self, kinds=(SimpleSpanProcessor,), sampler=ALWAYS_ON, **settings):
        self.provider = TracerProvider(sampler, Resource({"service.name": "bot"}), shutdown_on_exit=False, **settings)
        self.exporters, self.processors = [], []
        for kind in kinds:
            self.add(kind)

    def add(self, kind):
        self.exporters.append(InMemorySpanExporter())
        self.processors.append(kind(self.exporters[-1]))
        self.provider.add_span_processor(self.processors[-1])

    def spans(self, n=0):
        self.provider.force_flush()
        return [traces.seen(span) for span in self.exporters[n].get_finished_spans()]


@pytest.fixture
def made():
    """Makes tracer providers."""
    all_made = []

    def make(*args, **settings):
        all_made.append(Traces(*args, **settings))
        return all_made[-1]

    yield make
    for each in all_made:
        each.provider.shutdown()


def compared(spans, naive):
    """Both forests as they must be equal."""
    expected = traces.as_documented(traces.forest(naive), scrubber.text)
    return [sorted(map(traces.plain, trees), key=repr) for trees in (traces.forest(spans), expected)]


@pytest.mark.parametrize("processors", PROCESSORS)
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_spans_of_every_shape_of_call_are_those_written_by_hand(application, made, kind, processors):
    ours, naive = made(PROCESSORS[processors]), made(PROCESSORS[processors])
    watched = runs.watched(kind, ours.provider, application.meters)
    by_hand = runs.by_hand(kind, naive.provider, application.meters, BOT)
    for n in range(len(ours.exporters)):
        spans, reference = ours.spans(n), naive.spans(n)
        mine, expected = compared(spans, reference)
        assert mine == expected
        assert len(spans) == {"sync": 46, "async": 48}[kind]
        assert traces.lie_within(spans) == traces.lie_within(reference) == []
        assert traces.lie_in_steps(spans, watched.steps) == traces.lie_in_steps(reference, by_hand.steps) == []
    for processor in ours.processors:
        if isinstance(processor, Foreign):
            heard_properly(processor.told)


def heard_properly(told):
    """Each span starts and ends once, on one thread."""
    assert len(told) == len(set(told))
    by_span = {}
    for what, span, thread in told:
        by_span.setdefault(span, []).append((what, thread))
    assert all([what for what, _ in each] == ["start", "end"] for each in by_span.values())
    assert all(len({thread for _, thread in each}) == 1 for each in by_span.values())


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_processor_that_comes_later_gets_what_comes_later(application, made, until, kind):
    """Spans that began before are its too where they end later, as with the SDK; none comes twice, none is lost."""
    found = []
    for watched in (True, False):
        one = made()

        def settled(watch, calls, one=one):
            until(lambda: sum(span.is_call for span in one.spans()) == calls)
            if len(one.exporters) == 1:
                one.add(BatchSpanProcessor)

        if watched:
            runs.watched(kind, one.provider, application.meters, settled)
        else:
            one.add(BatchSpanProcessor)
            runs.by_hand(kind, one.provider, application.meters, BOT)
        found.append((one.spans(0), one.spans(1)))
    (mine, late), (naive, _) = found
    assert compared(mine, naive)[0] == compared(mine, naive)[1]
    first = [span.name for span in mine if span not in late]
    assert len(mine) == len(late) + len(first)
    assert Counter(first)["fetch_balance binance"] == 2
    assert {span.id for span in late} < {span.id for span in mine}
    assert not {"decide", "load_markets binance"} & {span.name for span in late}


class ByAttribute(Sampler):
    """Drops, records without sampling, and samples with an attribute and a state of its own; notes what it is asked."""

    def __init__(self):
        self.asked = []

    def should_sample(self, parent_context, trace_id, name, kind=None, attributes=None, links=None):
        given = dict(attributes or {})
        self.asked.append((name, str(kind), tuple(sorted(given.items()))))
        decision = {"fetch_ticker": Decision.DROP, "fetch_balance": Decision.RECORD_ONLY}.get(
            given.get("trading.operation"), Decision.RECORD_AND_SAMPLE
        )
        return SamplingResult(decision, {**given, "kept.by": "desk"}, TraceState([("desk", "1")]))

    def get_description(self):
        return "by attribute"


SAMPLERS = {
    "always off": (lambda: ALWAYS_OFF, 0),
    "a ratio": (lambda: TraceIdRatioBased(0.5), None),
    "a ratio of roots": (lambda: ParentBased(TraceIdRatioBased(0.5)), None),
    "parent-based, with the local parent's children dropped": (
        lambda: ParentBased(ALWAYS_ON, local_parent_sampled=ALWAYS_OFF),
        None,
    ),
    "by attribute": (ByAttribute, None),
}


@pytest.mark.parametrize("processor", [SimpleSpanProcessor, Foreign])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samplers_decide_the_same_over_the_same(application, made, sampler, processor):
    """Each is asked once for each span, with what is known at its start; what it adds is there."""
    make, kept = SAMPLERS[sampler]
    found = []
    for run in (runs.watched, runs.by_hand):
        chosen = make()
        one = made((processor,), chosen, id_generator=Ids())
        given = {} if run is runs.watched else {"extra": BOT}
        run("sync", one.provider, application.meters, **given)
        found.append((chosen, one))
    (mine, ours), (theirs, naive) = found
    spans, reference = ours.spans(), naive.spans()
    # How many traces are kept is a matter of ids; which call had which is one of the order in which they were drained.
    assert len({span.trace for span in spans}) == len({span.trace for span in reference})
    if "ratio" in sampler:
        assert {span.trace for span in spans} == {span.trace for span in reference}
        assert 3 < len({span.trace for span in spans}) < 14
        wanted = mine if sampler == "a ratio" else mine._root
        assert all(wanted.should_sample(None, s.trace, s.name).decision.is_sampled() for s in spans)
    else:
        one, other = compared(spans, reference)
        assert one == other
        assert kept is None or len(spans) == kept
    if sampler == "by attribute":
        assert Counter(mine.asked) == Counter(theirs.asked)
        names = {span.name for span in spans}
        assert "create_order binance" in names
        assert not {"fetch_ticker binance", "fetch_balance binance"} & names
        assert all(span.attributes["kept.by"] == "desk" for span in spans)
