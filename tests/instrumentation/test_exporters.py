"""What tradewatch's own exporters send, to whom, in what batches, and what is masked in it."""

import contextlib
import importlib

import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)

from scripted_collectors import spans, warned


@pytest.mark.parametrize("value", ["none", "none,otlp"])
def test_none_means_no_spans(scripted, ours, value):
    providers = ours(scripted().url, OTEL_TRACES_EXPORTER=value)
    assert (providers.tracer_provider, providers.outboxes) == (None, ())


def test_console_prints_spans_scrubbed(ours, capsys):
    providers = ours("http://127.0.0.1:9", OTEL_TRACES_EXPORTER="console")
    span = providers.tracer_provider.get_tracer("test").start_span(
        "printed", attributes={"u": "https://x/?signature=abcdef"}
    )
    span.end()
    providers.shutdown(10)
    printed = capsys.readouterr().out
    assert '"name": "printed"' in printed
    assert "signature=***" in printed
    assert "abcdef" not in printed


def test_an_exporter_that_there_is_none_of_is_said(ours, caplog):
    providers = ours("http://127.0.0.1:9", OTEL_TRACES_EXPORTER="zipkin")
    assert providers.tracer_provider is None
    [note] = providers.notes
    assert note.startswith("OTEL_TRACES_EXPORTER='zipkin': not exported to it: ")
    assert note.endswith("there is none of that name among console, none, otlp, otlp_proto_http")
    assert warned(caplog) == list(providers.notes)


def test_an_exporter_by_its_entry_point_gets_what_is_scrubbed(ours, monkeypatch, tmp_path):
    (tmp_path / "keeping.py").write_text(
        "from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter\n"
        "kept = InMemorySpanExporter()\n"
        "def exporter():\n"
        "    return kept\n"
    )
    info = tmp_path / "keeping-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: keeping\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[opentelemetry_traces_exporter]\nkeeping = keeping:exporter\n")
    monkeypatch.syspath_prepend(tmp_path)
    providers = ours("http://127.0.0.1:9", OTEL_TRACES_EXPORTER="keeping")
    tracer = providers.tracer_provider.get_tracer("test")
    tracer.start_span("kept", attributes={"u": "https://x/?signature=abcdef"}).end()
    [outbox] = providers.outboxes
    assert outbox.flush(10)
    [span] = importlib.import_module("keeping").kept.get_finished_spans()
    assert (span.name, dict(span.attributes)) == ("kept", {"u": "https://x/?signature=***"})
    assert providers.notes == ()


def test_a_batch_is_no_larger_than_its_variable_says(scripted, ours):
    collector = scripted()
    providers = ours(collector.url, OTEL_BSP_MAX_EXPORT_BATCH_SIZE="7", OTEL_BSP_SCHEDULE_DELAY="200")
    spans(providers, *map(str, range(50)))
    assert providers.outboxes[0].flush(10)
    sizes = [
        len(ExportTraceServiceRequest.FromString(b).resource_spans[0].scope_spans[0].spans)
        for _, _, b in collector.requests
    ]
    assert (sum(sizes), max(sizes)) == (50, 7)


def test_a_sampler_that_a_variable_sets_is_honoured(scripted, ours):
    collector = scripted()
    providers = ours(collector.url, OTEL_TRACES_SAMPLER="always_off")
    spans(providers, "order one", "error two")
    providers.shutdown(10)
    assert collector.requests == []
    assert providers.dropped() == []


def test_spans_of_another_version_are_encoded_by_upstream(scripted, ours, monkeypatch, caplog):
    """The way back, in case that a version of the SDK builds its spans otherwise."""
    monkeypatch.setattr("tradewatch.telemetry.export.Encoder.encode", lambda self, spans: iter(()))
    collector = scripted()
    providers = ours(collector.url)
    span = providers.tracer_provider.get_tracer("test").start_span("n", attributes={"u": "token=abcdefgh", "n": 5})
    span.record_exception(ValueError("https://x/?signature=0123456789"))
    span.end()
    spans(providers, *map(str, range(20)))
    assert providers.outboxes[0].flush(10)
    assert sorted(collector.names()) == sorted(["n", *map(str, range(20))])
    assert not any(b"abcdefgh" in body or b"0123456789" in body for _, _, body in collector.requests)
    assert any("own encoder is used" in line for line in warned(caplog))


@pytest.mark.parametrize("change", ["no such name", "raises"])
def test_an_exporter_that_is_built_otherwise_does_all_of_it_itself(scripted, ours, monkeypatch, change):
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    real = OTLPSpanExporter.export
    if change == "no such name":
        monkeypatch.setattr(OTLPSpanExporter, "export", lambda self, spans: real(self, spans))
    else:

        def export(self, spans):
            encode_spans = [span.name for span in spans]
            assert encode_spans
            return real(self, spans)

        # It names the encoder, and looks at the spans themselves all the same.
        export.__code__ = export.__code__.replace(co_names=(*export.__code__.co_names, "encode_spans"))
        export.__globals__["real"] = real
        monkeypatch.setattr(OTLPSpanExporter, "export", export)
    collector = scripted()
    providers = ours(collector.url)
    span = providers.tracer_provider.get_tracer("test").start_span("n", attributes={"u": "token=abcdefgh"})
    span.end()
    assert providers.outboxes[0].flush(10)
    assert collector.names() == ["n"]
    assert b"abcdefgh" not in collector.requests[0][2]
    assert providers.dropped() == []


def test_the_bots_own_spans_leave_scrubbed(scripted, ours):
    signed = "https://api.binance.com/api/v3/order?symbol=X&signature=c8db56825ae71d6d"
    collector = scripted()
    providers = ours(collector.url)
    tracer = providers.tracer_provider.get_tracer("bot")
    failing = tracer.start_as_current_span(f"GET {signed}", attributes={"url": signed})
    with contextlib.suppress(ValueError), failing as span:
        span.set_attributes({"x-mbx-apikey": "vmPUZE6mv9SD5VNHk4", "list": [signed], "raw": signed.encode()})
        raise ValueError(signed)
    providers.shutdown(10)
    sent = b"".join(body for _, _, body in collector.requests)
    assert len(collector.names()) == 1
    assert b"vmPUZE6mv9SD5VNHk4" not in sent
    assert b"c8db56825ae71d6d" not in sent
    # Its name, three attributes, the exception's message and trace, and the status.
    assert sent.count(b"signature=***") >= 7


def test_a_secret_that_is_learned_later_is_masked_from_then_on(scripted, ours):
    from tradewatch.runtime.scrub import scrubber

    secret = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP"
    collector = scripted()
    providers = ours(collector.url)
    tracer, [outbox] = providers.tracer_provider.get_tracer("bot"), providers.outboxes
    for n in range(2):
        tracer.start_span(secret, attributes={"known": secret}).end()
        assert outbox.flush(10)
        assert [secret.encode() in body for _, _, body in collector.requests] == [True, False][: n + 1]
        scrubber.learn([secret])


def test_no_span_is_made_of_what_an_outbox_itself_sends(scripted, ours):
    """What other instrumentations ask before they make one."""
    from opentelemetry import context

    seen = []
    collector = scripted()
    providers = ours(collector.url)
    real = providers.outboxes[0]._send

    def send(batch):
        seen.append(context.get_value("suppress_instrumentation"))
        seen.append(trace.get_current_span().get_span_context().is_valid)
        return real(batch)

    providers.outboxes[0]._send = send
    spans(providers, "one")
    assert providers.outboxes[0].flush(10)
    assert seen == [True, False]


FORK = """
import os, sys, time
os.environ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = sys.argv[1] + "/v1/traces"
from opentelemetry import metrics
from tradewatch.telemetry.providers import connect
providers = connect("bot", 0, None, metrics.NoOpMeterProvider())
tracer, [outbox] = providers.tracer_provider.get_tracer("t"), providers.outboxes
tracer.start_span("first of the parent").end()
assert outbox.flush(10)
tracer.start_span("second of the parent").end()
child = os.fork()
tracer.start_span("of the child" if child == 0 else "third of the parent").end()
providers.shutdown(10)
assert providers.dropped() == [], providers.dropped()
if child == 0:
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def test_a_forked_child_sends_its_own_spans_by_a_connection_of_its_own(scripted):
    import subprocess
    import sys

    collector = scripted()
    done = subprocess.run(
        [sys.executable, "-c", FORK, collector.url], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    expected = ["first of the parent", "of the child", "second of the parent", "third of the parent"]
    assert sorted(collector.names()) == expected
    by = dict(zip((b"of the child" in body for _, _, body in collector.requests), collector.peers, strict=True))
    assert by[True] != by[False]
