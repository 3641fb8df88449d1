"""What it costs to send spans: tradewatch's encoder and outbox beside OpenTelemetry's own, side by side in one run.

Encoding is 1,000 finished spans of six attributes into a request. Export is the same spans from a processor's `on_end`
to a collector in a process of its own that answers over HTTP, by the CPU time of this process, all its threads
included; every span is counted on arrival. An end is `shutdown` while the collector takes requests and never answers.

    make bench            with the ends, 20 s
    make bench QUICK=1    a few seconds
    .venv/bin/python benchmarks/export.py --json   for a machine to read
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
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

from tradewatch.telemetry.cleaning import clean
from tradewatch.telemetry.export import SpanSink, spans_by_otlp
from tradewatch.telemetry.otlp import Encoder
from tradewatch.telemetry.outbox import Size

SPANS = 1_000
COLLECTOR = """
import http.server, sys
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest as Request
arrived = 0
class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    def do_POST(self):
        global arrived
        body = self.rfile.read(int(self.headers["Content-Length"]))
        arrived += sum(len(s.spans) for r in Request.FromString(body).resource_spans for s in r.scope_spans)
        self.answer(b"")
    def do_GET(self):
        self.answer(str(arrived).encode())
    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
print(server.server_port, flush=True)
server.serve_forever()
"""


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


def timed(function: Callable[[], Any]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


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


def encoding(rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds for 1,000 spans, median of the rounds, and our stretches in microseconds."""
    found = {}
    for kind, spans in (("of the SDK", sdk_spans()), ("of records", record_spans())):
        ours, theirs, stretches = [], [], []
        encoder = Encoder(clean)
        in_stretches(encoder, spans)
        for _ in range(rounds):
            taken = in_stretches(encoder, spans)
            stretches += taken
            ours.append(sum(taken))
            began = time.thread_time()
            encode_spans(spans).SerializePartialToString()
            theirs.append(time.thread_time() - began)
        found[kind] = {
            "ours_ms": statistics.median(ours) * 1e3,
            "theirs_ms": statistics.median(theirs) * 1e3,
            "longest_stretch_us": max(stretches) * 1e6,
            "p99_stretch_us": statistics.quantiles(stretches, n=100)[98] * 1e6,
            "their_stretch_us": statistics.median(theirs) * 1e6,
        }
    return found


def exporting(rounds: int) -> dict[str, float]:
    """Spans a CPU second from `on_end` to the collector, and how many of them arrived."""
    import urllib.request

    process = subprocess.Popen([sys.executable, "-c", COLLECTOR], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url = f"http://127.0.0.1:{process.stdout.readline().strip()}"
    os.environ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = f"{url}/v1/traces"

    def arrived() -> int:
        with urllib.request.urlopen(url) as answer:
            return int(answer.read())

    spans, batch = record_spans(), 4
    processors: dict[str, SpanProcessor] = {
        "ours": SpanSink(spans_by_otlp(Size(16_384, 32 << 20, 2_048, 8 << 20, 1.0))),
        "theirs": BatchSpanProcessor(OTLPSpanExporter(), max_queue_size=batch * SPANS),
    }
    found: dict[str, list[float]] = {name: [] for name in processors}
    came = dict.fromkeys(processors, 0)
    try:
        for _ in range(rounds):
            for name, processor in processors.items():
                before, began = arrived(), time.process_time()
                for _ in range(batch):
                    for span in spans:
                        processor.on_end(span)
                assert processor.force_flush(60_000)
                spent = time.process_time() - began
                came[name] += arrived() - before
                found[name].append(batch * SPANS / spent)
    finally:
        for processor in processors.values():
            processor.shutdown()
        process.kill()
        process.wait()
        process.stdout.close()
    share = {f"{name}_arrived": came[name] / (rounds * batch * SPANS) for name in processors}
    return {**{f"{name}_per_cpu_s": statistics.median(rates) for name, rates in found.items()}, **share}


def ending() -> dict[str, float]:
    """Seconds that an end takes while the collector hangs, all time-outs as they are unless set."""
    import socket

    found = {}
    with socket.socket() as hanging:
        hanging.bind(("127.0.0.1", 0))
        hanging.listen(8)
        url = f"http://127.0.0.1:{hanging.getsockname()[1]}/v1/traces"
        os.environ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = url
        outbox = spans_by_otlp(Size(1_000, 1 << 20, 100, 1 << 20, 1.0))
        for name, processor in (("ours", SpanSink(outbox)), ("theirs", BatchSpanProcessor(OTLPSpanExporter()))):
            processor.on_end(record_spans()[0])
            found[f"{name}_s"] = timed(processor.shutdown)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and no ends: the order of magnitude alone")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    results: dict[str, Any] = {
        "encoding": encoding(10 if options.quick else 50),
        "export": exporting(3 if options.quick else 15),
    }
    if not options.quick:
        results["end"] = ending()
    if options.json:
        print(json.dumps(results, indent=2))
        return
    print("\nencoding 1,000 spans of six attributes")
    for kind, ms in results["encoding"].items():
        ratio = ms["theirs_ms"] / ms["ours_ms"]
        print(f"  spans {kind}: ours {ms['ours_ms']:.2f} ms, upstream's {ms['theirs_ms']:.2f} ms: {ratio:.1f} x ours")
        print(
            f"    stretches: ours {ms['p99_stretch_us']:.0f} µs (p99; longest {ms['longest_stretch_us']:.0f}), "
            f"upstream's {ms['their_stretch_us']:.0f} µs"
        )
    rates = results["export"]
    print("exporting over HTTP, spans a CPU second")
    print(
        f"  ours {rates['ours_per_cpu_s']:,.0f} ({rates['ours_arrived']:.0%} arrived), upstream's "
        f"{rates['theirs_per_cpu_s']:,.0f} ({rates['theirs_arrived']:.0%}): "
        f"ours is {rates['ours_per_cpu_s'] / rates['theirs_per_cpu_s']:.1f} x"
    )
    if "end" in results:
        end = results["end"]
        print(f"an end with a collector that hangs: ours {end['ours_s']:.1f} s, upstream's {end['theirs_s']:.1f} s")


if __name__ == "__main__":
    main()
