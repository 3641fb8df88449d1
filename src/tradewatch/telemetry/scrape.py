"""The scrape endpoint: a reader of the SDK's, and a small server on 127.0.0.1 that writes what it reads.

OpenTelemetry's own Prometheus reader costs 149 µs a stream, in one stretch that holds the interpreter. This one writes
the text itself, and lets the bot's threads run at least every 0.3 ms. (The SDK's collection before it, some 4 µs a
stream, is one stretch of the SDK's own.)
"""

from __future__ import annotations

import socket
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from opentelemetry.sdk.metrics.export import MetricReader, MetricsData

from tradewatch.runtime import fork
from tradewatch.runtime.failures import failures
from tradewatch.runtime.safety import breathe
from tradewatch.telemetry.exposition import exposition

HOST = "127.0.0.1"
_STRETCH_NS = 200_000
_VISIT_S = 0.5
# Each takes a thread and a file of the bot's.
_MOST_VISITORS = 16
_NO_FILE_S = 0.2
_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_GZIP = 16 + zlib.MAX_WBITS
_ALLOW = "OPTIONS,GET"


class ScrapeReader(MetricReader):
    """Collects when it is asked, and keeps nothing: what is no longer there is not shown again."""

    def __init__(self) -> None:
        super().__init__()
        self._asking = threading.Lock()
        self._data: MetricsData | None = None

    def read(self) -> MetricsData | None:
        """What there is now; None where there is nothing."""
        with self._asking, fork.held:
            self._data = None
            self.collect()
            data, self._data = self._data, None
            return data

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        self._data = metrics_data

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Nothing is open."""


class ScrapeServer(ThreadingHTTPServer):
    """Serves a reader's metrics on every path, as prometheus_client does. Its threads are daemons.

    Of more visitors than a few at once, whoever has been there longest is let go: the port must not cost the bot its
    files, nor be held by somebody who sends a byte now and then.

    Raises:
        OSError: the port cannot be used.
    """

    daemon_threads = True
    # Of five, which is the default, a sixth who comes at once is answered a second later.
    request_queue_size = 128

    def __init__(self, port: int, reader: ScrapeReader) -> None:
        super().__init__((HOST, port), _Scrape)
        self.reader = reader
        self._ending = False
        self._visitors: OrderedDict[Any, None] = OrderedDict()
        self._thread = threading.Thread(target=self._serve, name="tradewatch-scrape", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where to scrape."""
        return f"http://{HOST}:{self.server_address[1]}/metrics"

    def _serve(self) -> None:
        # Not `serve_forever`, which looks several times a second whether it is to end.
        while not self._ending:
            self.handle_request()

    def shutdown(self) -> None:
        """End; the port is closed by `server_close`."""
        self._ending = True
        # A visitor, since the thread waits for one.
        with suppress(OSError):
            socket.create_connection((HOST, self.server_port), _VISIT_S).close()
        self._thread.join(_VISIT_S)

    def server_bind(self) -> None:
        """Bind without asking the resolver for a name of this host, which may take its time."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    def get_request(self) -> tuple[Any, Any]:
        """The next visitor. Where the process has no file left for one, it waits: it would be tried at once again."""
        try:
            return super().get_request()
        except OSError:
            time.sleep(_NO_FILE_S)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a visitor on a thread of its own, in the place of the longest where there are too many."""
        self._visitors[request] = None
        if len(self._visitors) > _MOST_VISITORS:
            with suppress(OSError, KeyError):
                self._visitors.popitem(last=False)[0].shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """A visitor is done."""
        self._visitors.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is no news."""


class _Scrape(BaseHTTPRequestHandler):
    """One scrape. A client that sends or reads nothing for so long is let go."""

    server: ScrapeServer
    timeout = 10

    def do_GET(self) -> None:
        """Answer with everything there is; a browser's favicon is empty."""
        if self.path == "/favicon.ico":
            self._answer(200, b"")
            return
        body: bytes | None = None
        openmetrics = "application/openmetrics-text" in self.headers.get("Accept", "")
        zipped = "gzip" in self.headers.get("Accept-Encoding", "")
        with failures.kept("scrape"):
            pieces = _paced(exposition(self.server.reader.read(), openmetrics=openmetrics))
            body = b"".join(_zipped(pieces) if zipped else map(_encoded, pieces))
        if body is None:
            self._answer(500, b"# the metrics could not be read; tradewatch's log says why\n")
            return
        headers = {"Content-Type": _OPENMETRICS if openmetrics else _TEXT}
        self._answer(200, body, headers | ({"Content-Encoding": "gzip"} if zipped else {}))

    def do_OPTIONS(self) -> None:
        """Say what is allowed."""
        self._answer(200, b"", {"Allow": _ALLOW})

    def do_HEAD(self) -> None:
        """Refused, as prometheus_client does; other methods get the standard library's 501."""
        self._answer(405, b"", {"Allow": _ALLOW})

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        """Name no version to whoever asks."""
        return "tradewatch"

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


def _paced(pieces: Iterable[str]) -> Iterator[str]:
    """Pieces joined, a stretch's worth at a time; the bot's threads run in between."""
    waiting: list[str] = []
    pause_at_ns = time.monotonic_ns() + _STRETCH_NS
    for piece in pieces:
        waiting.append(piece)
        if time.monotonic_ns() >= pause_at_ns:
            yield "".join(waiting)
            waiting.clear()
            breathe()
            pause_at_ns = time.monotonic_ns() + _STRETCH_NS
    yield "".join(waiting)


def _zipped(pieces: Iterable[str]) -> Iterator[bytes]:
    """Gzip at its fastest; zlib lets other threads run meanwhile."""
    zipper = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
    for piece in pieces:
        yield zipper.compress(_encoded(piece))
    yield zipper.flush()


def _encoded(piece: str) -> bytes:
    """Half a surrogate pair, as the environment of a process may hold, is a question mark."""
    return piece.encode("utf-8", "replace")
