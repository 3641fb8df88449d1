"""The scrape endpoint: a reader of the SDK's, and what is answered to whoever scrapes.

OpenTelemetry's own Prometheus reader costs 149 µs a stream, in one stretch that holds the interpreter. This one writes
the text itself, and lets the bot's threads run at least every 0.3 ms. (The SDK's collection before it, some 4 µs a
stream, is one stretch of the SDK's own.)
"""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any

from opentelemetry.sdk.metrics.export import MetricReader, MetricsData

from tradewatch.runtime import fork
from tradewatch.runtime.failures import failures
from tradewatch.runtime.safety import breathe
from tradewatch.telemetry.exposition import exposition
from tradewatch.telemetry.pages import Page, PageServer, Request

_STRETCH_NS = 200_000
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


def scrape_server(port: int, reader: ScrapeReader) -> PageServer:
    """Serves a reader's metrics on every path, as prometheus_client does.

    Raises:
        OSError: the port cannot be used.
    """
    return PageServer(port, lambda request: _answered(request, reader))


def _answered(request: Request, reader: ScrapeReader) -> Page:
    """Everything there is; a browser's favicon is empty, and other methods are refused, as prometheus_client does."""
    if request.method != "GET":
        allowed = request.method == "OPTIONS"
        return Page(HTTPStatus.OK if allowed else HTTPStatus.METHOD_NOT_ALLOWED, b"", {"Allow": _ALLOW})
    if request.path == "/favicon.ico":
        return Page(HTTPStatus.OK)
    openmetrics = "application/openmetrics-text" in request.headers.get("accept", "")
    zipped = "gzip" in request.headers.get("accept-encoding", "")
    with failures.kept("scrape"):
        pieces = _paced(exposition(reader.read(), openmetrics=openmetrics))
        body = b"".join(_zipped(pieces) if zipped else map(_encoded, pieces))
        headers = {"Content-Type": _OPENMETRICS if openmetrics else _TEXT}
        return Page(HTTPStatus.OK, body, headers | ({"Content-Encoding": "gzip"} if zipped else {}))
    return Page(HTTPStatus.INTERNAL_SERVER_ERROR, b"# the metrics could not be read; tradewatch's log says why\n")


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
