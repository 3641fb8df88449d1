"""A collector: what an OTLP exporter sends arrives over a real socket and is decoded by OpenTelemetry's own classes."""

import base64
import contextlib
import http.server
import threading

import pytest

from tradewatch import paper
from tradewatch.paper import candles, faults

START_MS = 1_677_801_600_000


class Collector:
    """Answers /v1/traces, /v1/metrics and /v1/logs; keeps the decoded requests."""

    def __init__(self, status=200):
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        self.status = status
        self.traces, self.metrics, self.logs, self.raw = [], [], [], []
        kinds = {
            "/v1/traces": (ExportTraceServiceRequest, self.traces),
            "/v1/logs": (ExportLogsServiceRequest, self.logs),
            "/v1/metrics": (ExportMetricsServiceRequest, self.metrics),
        }
        collector = self

        class Answers(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                kind, kept = kinds[self.path]
                collector.raw.append(body)
                kept.append(kind.FromString(body))
                self.send_response(collector.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def spans(self):
        """All spans that arrived."""
        return [
            span
            for request in list(self.traces)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def resources(self):
        """The attributes of every resource that arrived, as plain dicts."""
        found = [r.resource for request in list(self.traces) for r in request.resource_spans]
        found += [r.resource for request in list(self.metrics) for r in request.resource_metrics]
        return [{a.key: a.value.string_value for a in resource.attributes} for resource in found]

    def last_metrics(self):
        """Each metric as it arrived last."""
        return {
            metric.name: metric
            for request in list(self.metrics)
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def collect():
    """Makes collectors, each answering with a status."""
    made = []

    def make(status=200):
        made.append(Collector(status))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def exported(monkeypatch):
    """Has tradewatch's own providers export to a URL."""

    def to(url):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "200")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")

    for name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER"):
        monkeypatch.delenv(name, raising=False)
    return to


class Canned:
    """A venue that gives the answers that it was told to give, in their order, and keeps what it was asked."""

    def __init__(self):
        self.answers, self.asked = [], []
        place = self

        class Answers(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                place.asked.append((self.command, self.path.partition("?")[0], body))
                status, headers, text = place.answers.pop(0)
                self.send_response_only(status)
                for name, value in ({"Content-Type": "application/json"} | headers).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = answer  # noqa: N815

            def log_message(self, *args):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def say(self, body, status=200, **headers):
        """Answer the next request so; header names with `_` for `-`."""
        self.answers.append((status, {name.replace("_", "-"): value for name, value in headers.items()}, body))

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def canned():
    with contextlib.closing(Canned()) as place:
        yield place


class Kraken:
    """Paper exchanges that speak Kraken's protocol, and ccxt clients of them."""

    secret = base64.b64encode(b"paper-secret").decode()

    def __init__(self, stack, clock_at):
        self._stack, self._clock_at = stack, clock_at

    def venue(self, *rules, price=100):
        """A served exchange whose price stands; `rules` are pairs of match and fault."""
        lines = ["open_time,open,high,low,close,volume"]
        lines += [f"{START_MS + n * 60_000},{price},{price},{price},{price},4" for n in range(30)]
        record = candles.read_candles(lines, "rows")
        account = paper.Account("paper-key", self.secret, {"BTC": "100", "USD": "1000000"})
        markets, clock = [paper.Market("BTC/USD", record, 20)], self._clock_at(record.start_ns)
        exchange = paper.Exchange(markets, [account], clock, paper.Fees(charged_in="quote"))
        chosen = faults.Faults([faults.Rule(faults.Match(**match), faults.Fault(**fault)) for match, fault in rules])
        return self._stack.enter_context(paper.serve_in_thread(exchange, venue="kraken", faults=chosen))

    def client(self, api, server, **settings):
        return api.client(server, api.ccxt.kraken, apiKey="paper-key", secret=self.secret, **settings)


@pytest.fixture
def kraken(clock_at):
    with contextlib.ExitStack() as stack:
        yield Kraken(stack, clock_at)
