"""Collectors that refuse, ask for patience, redirect, answer by halves or never: real sockets, our own providers.

What a collector does is never felt by who makes the spans; it is seen in what was dropped, and in a log line a minute.
"""

import contextlib
import gzip
import http.server
import importlib
import socket
import ssl
import threading

import pytest
from opentelemetry import metrics, trace
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.trace import StatusCode

from tradewatch.telemetry.providers import connect


class Scripted:
    """A collector that answers each request as the next step of a script says, then with 200.

    A step is a status, (status, headers, body), "half" (of an answer, then the connection is closed), "hang" (until the
    test is over), or "drop" (the connection is closed unanswered).
    """

    def __init__(self, script, context=None):
        self.script, self.requests, self.headers, self.peers = list(script), [], [], []
        self.asked, self.over = threading.Semaphore(0), threading.Event()
        collector = self

        class Answers(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                step = collector.script.pop(0) if collector.script else 200
                status, headers, answer = step if isinstance(step, tuple) else (step, {}, b"")
                collector.peers.append(self.client_address[1])
                collector.headers.append({k.lower(): v for k, v in self.headers.items()})
                collector.requests.append((self.path, status, body))
                collector.asked.release()
                if status == "hang":
                    collector.over.wait(100)
                if status in ("hang", "drop"):
                    self.close_connection = True
                    return
                half = status == "half"
                self.send_response(200 if half else status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "100" if half else str(len(answer)))
                self.end_headers()
                self.wfile.write(b"x" * 50 if half else answer)
                self.close_connection = half

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass

        self._server = Server(("127.0.0.1", 0), Answers)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def names(self, status=200):
        """Names of the spans, or bodies of the logs, of all requests that were answered with `status`."""
        found = []
        for path, answered, body in list(self.requests):
            if answered == status and path == "/v1/traces":
                sent = ExportTraceServiceRequest.FromString(body).resource_spans
                found += [s.name for r in sent for scope in r.scope_spans for s in scope.spans]
            elif answered == status:
                sent = ExportLogsServiceRequest.FromString(body).resource_logs
                found += [s.body.string_value for r in sent for scope in r.scope_logs for s in scope.log_records]
        return found

    def close(self):
        self.over.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def scripted():
    made = []

    def make(*script, context=None):
        made.append(Scripted(script, context))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def ours(monkeypatch, request):
    """Providers of our own that export spans to a URL; closed after the test."""
    made = []
    monkeypatch.setattr("tradewatch.telemetry.outbox._FIRST_PAUSE_S", 0.01)

    # Which requests prefers to what OTEL_* variables say.
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)

    def make(url, **variables):
        for name in ("OTEL_TRACES_EXPORTER", "OTEL_LOGS_EXPORTER", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_SERVICE_NAME"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{url}/v1/traces")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        made.append(connect("bot", 0, None, metrics.NoOpMeterProvider()))
        return made[-1]

    yield make
    for providers in made:
        providers.shutdown(0.3)


def spans(providers, *names):
    """Ended spans; those named "order …" are orders', those named "error …" failed."""
    tracer = providers.tracer_provider.get_tracer("test")
    for name in names:
        span = tracer.start_span(name, attributes={"trading.order.side": "buy"} if name.startswith("order") else {})
        if name.startswith("error"):
            span.set_status(StatusCode.ERROR, "said")
        span.end()


def lost(providers):
    return {(d.kind, d.reason): d.count for d in providers.dropped()}


def warned(caplog):
    """What was logged at all: by us, and by what we use."""
    return [r.getMessage() for r in caplog.records if r.levelname != "DEBUG"]


def test_what_is_sent_arrives_with_its_resource_headers_and_compression(scripted, ours):
    collector = scripted()
    providers = ours(
        collector.url,
        OTEL_EXPORTER_OTLP_HEADERS="x-tenant=blue",
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test",
    )
    spans(providers, "one", "two", "order three")
    providers.shutdown(10)
    assert sorted(collector.names()) == ["one", "order three", "two"]
    assert {(h["content-encoding"], h["x-tenant"], h["content-type"]) for h in collector.headers} == {
        ("gzip", "blue", "application/x-protobuf")
    }
    sent = ExportTraceServiceRequest.FromString(collector.requests[0][2])
    resource = {a.key: a.value.string_value for a in sent.resource_spans[0].resource.attributes}
    assert (resource["service.name"], resource["deployment.environment.name"]) == ("bot", "test")
    assert providers.dropped() == []


@pytest.mark.parametrize("status", [400, 401, 404, 413])
def test_a_refusal_is_counted_and_the_next_batch_goes_out(scripted, ours, caplog, status):
    collector = scripted(status)
    providers = ours(collector.url)
    spans(providers, "order one", "error two", "three")
    [outbox] = providers.outboxes
    assert outbox.flush(10)
    spans(providers, "four")
    assert outbox.flush(10)
    refused = collector.names(status)
    assert sorted(refused + collector.names()) == ["error two", "four", "order one", "three"]
    counted = lost(providers)
    assert sum(counted.values()) == len(refused) > 0
    assert {reason for _, reason in counted} == {"refused"}
    assert warned(caplog) == [f"not all spans reach the collector: it answers {status}; status() counts"]


@pytest.mark.parametrize("script", [(503,), (502,), ("half",), ("drop", "drop"), ((429, {"Retry-After": "0"}, b""),)])
def test_what_could_not_be_taken_now_is_sent_again(scripted, ours, script):
    collector = scripted(*script)
    providers = ours(collector.url)
    spans(providers, "order one", "two")
    [outbox] = providers.outboxes
    assert outbox.flush(60)
    assert {"order one", "two"} <= set(collector.names())
    assert providers.dropped() == []


def test_a_collector_is_left_alone_for_as_long_as_it_asks(scripted, ours, caplog, until):
    """Longer than an export may take: upstream gives up, and ours waits, with what it has, until the end."""
    collector = scripted((429, {"Retry-After": "100"}, b""))
    providers = ours(collector.url)
    spans(providers, "order one")
    [outbox] = providers.outboxes
    until(lambda: not outbox.reachable)
    spans(providers, "two")
    assert not outbox.flush(0.3)
    assert len(collector.requests) == 1
    assert warned(caplog) == ["not all spans reach the collector: it answers 429; status() counts"]
    providers.shutdown(10)
    assert sorted(collector.names()) == ["order one", "two"]
    assert providers.dropped() == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_and_is_no_success(scripted, ours, caplog, status):
    elsewhere = scripted()
    collector = scripted((status, {"Location": f"{elsewhere.url}/v1/traces"}, b""))
    providers = ours(collector.url, OTEL_EXPORTER_OTLP_HEADERS="authorization=Basic%20abcdefghijk")
    spans(providers, "one")
    assert providers.outboxes[0].flush(10)
    assert (len(collector.requests), elsewhere.requests) == (1, [])
    assert lost(providers) == {("other", "refused"): 1}
    assert warned(caplog) == [f"not all spans reach the collector: it answers {status} (a redirect); status() counts"]


@pytest.mark.parametrize("answer", [b"", b"\xff\xff not protobuf", b"{}"])
def test_an_answer_that_says_nothing_of_use_is_taken_for_its_status(scripted, ours, answer):
    collector = scripted((200, {}, answer))
    providers = ours(collector.url)
    spans(providers, "one")
    assert providers.outboxes[0].flush(10)
    assert providers.dropped() == []


def test_what_a_content_collector_rejects_is_counted_and_said(scripted, ours, caplog):
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 2
    answer.partial_success.error_message = "too old; apiKey=abcdef123"
    collector = scripted((200, {"Content-Type": "application/x-protobuf"}, answer.SerializeToString()))
    providers = ours(collector.url)
    spans(providers, "one", "two", "three")
    assert providers.outboxes[0].flush(10)
    assert lost(providers) == {("unknown", "rejected"): 2}
    [line] = warned(caplog)
    assert "2 were rejected: too old; apiKey=***" in line


def closed_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def black_hole():
    """An address whose connection is never made: the queue of those that wait for it is full."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        waiting = []
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(listening.getsockname())
            waiting.append(one)
        yield listening.getsockname()[1]
        for one in waiting:
            one.close()


@pytest.fixture
def hanging_dns(monkeypatch):
    """A resolver that does not answer, for one name alone. (The real one cannot be made to hang here.)"""
    over, asked = threading.Event(), threading.Event()
    real = socket.getaddrinfo

    def getaddrinfo(host, *args, **kwargs):
        if host == "collector.example":
            asked.set()
            over.wait(100)
            raise socket.gaierror(socket.EAI_AGAIN, "temporary failure in name resolution")
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield asked
    over.set()


@pytest.mark.parametrize("kind", ["refusing", "hanging", "black hole", "dns", "tls", "unknown name"])
def test_an_end_does_not_wait_for_a_dead_collector_and_counts_what_it_had(
    scripted, ours, black_hole, hanging_dns, caplog, kind
):
    """With a time-out of ten minutes, waiting for any of these would run into the test's own."""
    collector = scripted(*["hang"] * 50)
    url = {
        "refusing": f"http://127.0.0.1:{closed_port()}",
        "hanging": collector.url,
        "black hole": f"http://127.0.0.1:{black_hole}",
        "dns": "http://collector.example:4318",
        "tls": f"https://127.0.0.1:{collector.port}",
        "unknown name": "http://no-such-collector.invalid:4318",
    }[kind]
    providers = ours(url, OTEL_EXPORTER_OTLP_TIMEOUT="600")
    spans(providers, "order one", "error two", "three", "four")
    if kind == "hanging":
        assert collector.asked.acquire(timeout=20)
    if kind == "dns":
        assert hanging_dns.wait(20)
    providers.shutdown(0.5)
    assert lost(providers) == {("order or error", "unreachable"): 2, ("other", "unreachable"): 2}
    assert "4 spans could not be sent before the end; they are lost" in warned(caplog)


def test_a_certificate_that_nobody_vouches_for_is_said_once(scripted, ours, caplog, tmp_path, until):
    certificate = own_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    collector = scripted(context=context)
    providers = ours(collector.url, OTEL_EXPORTER_OTLP_TIMEOUT="0.5")
    spans(providers, "one")
    [outbox] = providers.outboxes
    until(lambda: outbox._failed > 2, 30)
    [line] = warned(caplog)
    assert "CERTIFICATE_VERIFY_FAILED" in line or "certificate" in line.lower()
    assert collector.requests == []


def test_a_certificate_that_a_variable_names_is_trusted(scripted, ours, tmp_path):
    certificate = own_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    collector = scripted(context=context)
    providers = ours(collector.url, OTEL_EXPORTER_OTLP_CERTIFICATE=str(certificate))
    spans(providers, "one")
    assert providers.outboxes[0].flush(20)
    assert collector.names() == ["one"]


def own_certificate(folder):
    import subprocess

    found = folder / "own.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(found),
         "-out", str(folder / "c")],
        check=True, capture_output=True,
    )  # fmt: skip
    found.write_text(found.read_text() + (folder / "c").read_text())
    return found


def test_a_collector_that_is_down_for_long_costs_memory_up_to_a_bound_and_orders_last(ours, until):
    providers = ours(
        f"http://127.0.0.1:{closed_port()}", OTEL_BSP_MAX_QUEUE_SIZE="50", OTEL_EXPORTER_OTLP_TIMEOUT="0.2"
    )
    [outbox] = providers.outboxes
    spans(providers, *(f"read {n}" for n in range(200)), *(f"order {n}" for n in range(20)))
    until(lambda: outbox._failed > 1, 30)
    providers.shutdown(0.2)
    counted = lost(providers)
    assert counted["order or error", "unreachable"] == 20
    assert sum(counted.values()) == 220
    assert counted["other", "full"] >= 170


def test_a_long_outage_is_one_log_line(ours, caplog, until):
    providers = ours(f"http://127.0.0.1:{closed_port()}", OTEL_EXPORTER_OTLP_TIMEOUT="0.1")
    spans(providers, "one")
    until(lambda: providers.outboxes[0]._failed > 4, 30)
    [line] = warned(caplog)
    assert line.startswith("not all spans reach the collector: ")
    assert {r.name for r in caplog.records if r.levelname != "DEBUG"} == {"tradewatch"}


def test_an_applications_own_exporter_is_heard_while_ours_is_quiet(ours, caplog, until):
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    url = f"http://127.0.0.1:{closed_port()}"
    providers = ours(url, OTEL_EXPORTER_OTLP_TIMEOUT="0.1")
    spans(providers, "one")
    until(lambda: providers.outboxes[0]._failed > 1, 30)
    theirs = OTLPSpanExporter(f"{url}/v1/traces", timeout=0.1)
    assert theirs.export([]).name == "FAILURE"
    theirs.shutdown()
    assert any("Failed to export" in line for line in warned(caplog))


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
    assert note.startswith("OTEL_TRACES_EXPORTER=zipkin: not exported to it: ")
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


@pytest.mark.parametrize("value", ["many", "-1", "0", "٣"])
def test_a_bound_that_is_none_is_said_and_ours_is_used(scripted, ours, value):
    collector = scripted()
    providers = ours(collector.url, OTEL_BSP_MAX_QUEUE_SIZE=value)
    [note] = providers.notes
    assert f"OTEL_BSP_MAX_QUEUE_SIZE={value!r}: not a positive whole number; 16384 is used" == note
    spans(providers, "one")
    assert providers.outboxes[0].flush(10)
    assert collector.names() == ["one"]


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
