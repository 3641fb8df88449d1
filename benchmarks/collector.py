"""A collector of spans, as a process: it counts what arrives into a file that the other side maps.

    python -m benchmarks.collector FILE

prints the port that it listens on. Reading the count asks it nothing, so that nobody pays for the question.
"""

from __future__ import annotations

import gzip
import http.server
import mmap
import struct
import sys
import threading
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

COUNT = struct.Struct("<Q")


class Arrivals:
    """The count in a mapped file."""

    def __init__(self, file: Path) -> None:
        with file.open("r+b") as opened:
            self._mapped = mmap.mmap(opened.fileno(), COUNT.size)

    def count(self) -> int:
        return int(COUNT.unpack_from(self._mapped)[0])

    def set(self, count: int) -> None:
        COUNT.pack_into(self._mapped, 0, count)


def main() -> None:
    arrivals, lock = Arrivals(Path(sys.argv[1])), threading.Lock()

    class Answers(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            request = ExportTraceServiceRequest.FromString(body)
            with lock:
                arrivals.set(
                    arrivals.count() + sum(len(s.spans) for r in request.resource_spans for s in r.scope_spans)
                )
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
