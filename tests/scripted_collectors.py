"""Fixtures `scripted` and `ours`: collectors that answer as a script says, on real sockets, and our own providers."""

import gc
import gzip
import http.server
import socket
import threading
import warnings

import pytest
from opentelemetry import metrics
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
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
        with warnings.catch_warnings():
            # Python's ssl leaves a socket whose handshake failed to the collector.
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


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


def closed_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
