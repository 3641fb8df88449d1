"""What it costs to send spans: tradewatch's encoder and outbox beside OpenTelemetry's own.

Encoding is 1,000 finished spans of six attributes into a request, by this thread's CPU time. Export is the same spans
from a processor's `on_end` to a collector in a process of its own that answers over HTTP, by the CPU time of this
process, all its threads included; every span is counted on arrival.

    python -m benchmarks --only export --quick
    python -m benchmarks.export --json
"""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, TraceFlags

from benchmarks.figures import Figure, compared
from benchmarks.processes import collector
from benchmarks.turns import in_turns, program, thread_s
from tradewatch.telemetry.cleaning import clean
from tradewatch.telemetry.export import SpanSink, spans_by_otlp
from tradewatch.telemetry.otlp import Encoder
from tradewatch.telemetry.outbox import Size

SPANS = 1_000


def attributes(n: int) -> dict[str, Any]:
    return {
        "trading.exchange": "binance",
        "trading.operation": "fetch_ticker",
        "trading.symbol": ("BTC/USDT", "ETH/USDT", "SOL/USDT")[n % 3],
        "trading.attempts": 1,
        "trading.throttle.duration": n / 10_000,
        "server.address": "api.binance.com",
    }


def sdk_spans() -> list[ReadableSpan]:
    """As the bot's own come from the SDK."""
    tracer = TracerProvider(resource=Resource({"service.name": "bench"}), shutdown_on_exit=False).get_tracer("bot")
    spans = [tracer.start_span("fetch_ticker binance", attributes=attributes(n)) for n in range(SPANS)]
    for span in spans:
        span.end()
    return spans  # type: ignore[return-value]


def record_spans() -> list[ReadableSpan]:
    """As they are made of tradewatch's records."""
    resource, scope = Resource({"service.name": "bench"}), InstrumentationScope("tradewatch")
    return [
        ReadableSpan(
            "fetch_ticker binance",
            SpanContext(random.getrandbits(128), random.getrandbits(64), False, TraceFlags(1)),
            resource=resource,
            attributes=attributes(n),
            start_time=1_700_000_000_000_000_000 + n,
            end_time=1_700_000_000_001_000_000 + n,
            instrumentation_scope=scope,
        )
        for n in range(SPANS)
    ]


def in_stretches(encoder: Encoder, spans: Sequence[ReadableSpan]) -> list[float]:
    """Seconds of each stretch, by this thread's CPU time: what another process takes in between is none of ours."""
    stretches, writing = [], encoder.encode(spans)
    while True:
        began = time.thread_time()
        try:
            next(writing)
        except StopIteration:
            return stretches
        finally:
            stretches.append(time.thread_time() - began)


def encoding(kind: str, spans: Sequence[ReadableSpan], rounds: int) -> list[Figure]:
    encoder = Encoder(clean)
    in_stretches(encoder, spans)
    turns: dict[str, Callable[[], list[float]]] = {
        "ours": lambda: in_stretches(encoder, spans),
        "theirs": lambda: [thread_s(lambda: encode_spans(spans).SerializePartialToString())],
    }
    found = in_turns(turns, rounds)
    ours, theirs = (statistics.median(map(sum, found[name])) * 1e3 for name in turns)
    stretches = [each for taken in found["ours"] for each in taken]
    note = f"longest stretch {max(stretches) * 1e3:.2f} ms, p99 {statistics.quantiles(stretches, n=100)[98] * 1e3:.2f}"
    what = f"encode 1,000 spans {kind}, CPU"
    return [compared(what, ours, "ms", "OpenTelemetry's encoder", theirs, "below", note=note)]


def exporting(rounds: int) -> list[Figure]:
    """Spans a CPU second from `on_end` to the collector, and how many of them arrived."""
    spans, batch = record_spans(), 4
    with collector() as there:
        os.environ.update(there.environment)
        processors: dict[str, SpanProcessor] = {
            "ours": SpanSink(spans_by_otlp(Size(16_384, 32 << 20, 2_048, 8 << 20, 1.0))),
            "theirs": BatchSpanProcessor(OTLPSpanExporter(), max_queue_size=batch * SPANS),
        }

        def turn(processor: SpanProcessor) -> Callable[[], tuple[float, int]]:
            def sent() -> tuple[float, int]:
                before, began = there.arrivals.count(), time.process_time()
                for _ in range(batch):
                    for span in spans:
                        processor.on_end(span)
                assert processor.force_flush(60_000)
                return batch * SPANS / (time.process_time() - began), there.arrivals.count() - before

            return sent

        found = in_turns({name: turn(each) for name, each in processors.items()}, rounds)
        for processor in processors.values():
            processor.shutdown()
    rate = {name: statistics.median(each[0] for each in turns) for name, turns in found.items()}
    lost = {name: rounds * batch * SPANS - sum(each[1] for each in turns) for name, turns in found.items()}
    note = f"did not arrive: ours {lost['ours']}, theirs {lost['theirs']} of {rounds * batch * SPANS:,}"
    what = "spans exported over HTTP a CPU second"
    return [compared(what, rate["ours"], "/s", "Batch and OTLP", rate["theirs"], "above", note=note)]


def measure(quick: bool) -> list[Figure]:
    rounds = 10 if quick else 50
    found = encoding("of the SDK", sdk_spans(), rounds) + encoding("of records", record_spans(), rounds)
    return found + exporting(3 if quick else 15)


if __name__ == "__main__":
    program(measure, __doc__)
