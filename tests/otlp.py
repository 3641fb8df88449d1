"""Fixtures `collector` and `exporting`: a collector on a raw socket that misbehaves as told, and our own providers that
export one signal to it.
"""

import contextlib
import gzip
import socket
import threading

import pytest

REASONS = {200: "OK", 429: "Too Many Requests", 503: "Service Unavailable"}


def answer(status, body=b"", **headers):
    """A whole answer, as bytes."""
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Said')}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Misbehaving:
    """Answers each request with the next step of a script, then with 200 for ever.

    A step is a status, the bytes of an answer after which the connection is closed, or a function that is given the
    connection and the collector. `requests` are (path, headers, body, status or None), in their order.
    """

    def __init__(self, script, tls=None):
        self.script, self.requests, self.over = list(script), [], threading.Event()
        self.tls = tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._connections = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self._connections.append(connection)
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection):
        with contextlib.suppress(OSError, ValueError), contextlib.ExitStack() as stack:
            stack.enter_context(connection)
            if self.tls is not None:
                connection = stack.enter_context(self.tls.wrap_socket(connection, server_side=True))
                self._connections.append(connection)
            with connection.makefile("rb") as reading:
                while self._one(connection, reading):
                    pass

    def _one(self, connection, reading):
        first = reading.readline().decode()
        if not first:
            return False
        headers = {}
        while (line := reading.readline().decode().strip()) != "":
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = reading.read(int(headers["content-length"]))
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        step = self.script.pop(0) if self.script else 200
        self.requests.append((first.split()[1], headers, body, step if isinstance(step, int) else None))
        if isinstance(step, int):
            connection.sendall(answer(step))
            return True
        if isinstance(step, bytes):
            connection.sendall(step)
        else:
            step(connection, self)
        return False

    def close(self):
        self.over.set()
        for one in (self._listening, *self._connections):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@pytest.fixture
def collector():
    """Makes collectors: `collector(503, b"...", function, tls=context)`."""
    made = []

    def make(*script, tls=None):
        made.append(Misbehaving(script, tls))
        return made[-1]

    yield make
    for one in made:
        one.close()


class Signal:
    """One of spans, logs and metrics, made and read back by name."""

    def __init__(self, name):
        self.name = name
        self.variable = {"spans": "TRACES", "logs": "LOGS", "metrics": "METRICS"}[name]
        self.path = f"/v1/{self.variable.lower()}"

    def make(self, providers, *names):
        """A span each, a record each, or a point each of one counter."""
        from opentelemetry._logs import LogRecord

        for each in names:
            if self.name == "spans":
                providers.tracer_provider.get_tracer("test").start_span(each).end()
            elif self.name == "logs":
                providers.logger_provider.get_logger("test").emit(LogRecord(body=each))
            else:
                providers.meter_provider.get_meter("test").create_counter("made").add(1, {"name": each})

    def names(self, collector, status=200):
        """Those of all requests that were answered with a status."""
        found = [self._read(body) for _, _, body, answered in list(collector.requests) if answered == status]
        return [name for names in found for name in names]

    def _read(self, body):
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        if self.name == "spans":
            sent = ExportTraceServiceRequest.FromString(body).resource_spans
            return [s.name for r in sent for scope in r.scope_spans for s in scope.spans]
        if self.name == "logs":
            sent = ExportLogsServiceRequest.FromString(body).resource_logs
            return [s.body.string_value for r in sent for scope in r.scope_logs for s in scope.log_records]
        sent = ExportMetricsServiceRequest.FromString(body).resource_metrics
        points = [p for r in sent for scope in r.scope_metrics for m in scope.metrics for p in m.sum.data_points]
        return [a.value.string_value for point in points for a in point.attributes if a.key == "name"]

    def rejecting(self, count, why):
        """The body of an answer that is content but for some."""
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

        kinds = {
            "spans": (ExportTraceServiceResponse, "rejected_spans"),
            "logs": (ExportLogsServiceResponse, "rejected_log_records"),
            "metrics": (ExportMetricsServiceResponse, "rejected_data_points"),
        }
        kind, field = kinds[self.name]
        said = kind()
        setattr(said.partial_success, field, count)
        said.partial_success.error_message = why
        return said.SerializeToString()


@pytest.fixture(params=["spans", "logs", "metrics"])
def signal(request):
    """All three, one after the other."""
    return Signal(request.param)


@pytest.fixture
def exporting(monkeypatch, signal):
    """Makes providers of our own that export one signal to a URL, often; closed after the test."""
    from tradewatch.telemetry.providers import connect

    made = []
    monkeypatch.setattr("tradewatch.telemetry.outbox._FIRST_PAUSE_S", 0.01)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_SERVICE_NAME"):
        monkeypatch.delenv(name, raising=False)

    def make(url, **variables):
        chosen = {
            f"OTEL_EXPORTER_OTLP_{signal.variable}_ENDPOINT": f"{url}{signal.path}",
            "OTEL_BSP_SCHEDULE_DELAY": "10",
            "OTEL_BLRP_SCHEDULE_DELAY": "10",
            "OTEL_METRIC_EXPORT_INTERVAL": "30",
        }
        for name, value in (chosen | variables).items():
            monkeypatch.setenv(name, value)
        made.append(connect("bot", None, None, None))
        [outbox] = made[-1].outboxes
        assert outbox.signal == signal.name
        return made[-1], outbox

    yield make
    for providers in made:
        providers.shutdown(0.3)
