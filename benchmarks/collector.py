"""A collector of spans, as a process: it counts what arrives into files that the other side maps.

    python -m benchmarks.collector FILE ...

prints the port that it listens on. What is sent to /0/v1/traces is counted in the first file, and so on. Reading a
count asks it nothing, so that nobody pays for the question. The other side may have it in another mood than to answer:
to refuse, to say nothing, or that it is busy.
"""

from __future__ import annotations

import gzip
import http.server
import mmap
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Literal, get_args

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

Mood = Literal["answers", "refuses", "is silent", "is busy"]
_MOODS: tuple[Mood, ...] = get_args(Mood)
_SILENT_S = 3.0
_NUMBER = struct.Struct("<Q")


class Arrivals:
    """The count, and the collector's mood, in a mapped file."""

    SIZE = 2 * _NUMBER.size

    def __init__(self, file: Path) -> None:
        with file.open("r+b") as opened:
            self._mapped = mmap.mmap(opened.fileno(), self.SIZE)

    def count(self) -> int:
        return int(_NUMBER.unpack_from(self._mapped)[0])

    def set(self, count: int) -> None:
        _NUMBER.pack_into(self._mapped, 0, count)

    def mood(self) -> Mood:
        return _MOODS[_NUMBER.unpack_from(self._mapped, _NUMBER.size)[0]]

    def be(self, mood: Mood) -> None:
        _NUMBER.pack_into(self._mapped, _NUMBER.size, _MOODS.index(mood))


def main() -> None:
    files, lock = [Arrivals(Path(file)) for file in sys.argv[1:]], threading.Lock()

    class Answers(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            arrivals = files[int(self.path.split("/")[1])]
            mood = arrivals.mood()
            if mood == "is silent":
                time.sleep(_SILENT_S)
                self.close_connection = True
                return
            if mood == "answers":
                request = ExportTraceServiceRequest.FromString(body)
                with lock:
                    arrivals.set(
                        arrivals.count() + sum(len(s.spans) for r in request.resource_spans for s in r.scope_spans)
                    )
            self.send_response({"answers": 200, "refuses": 400, "is busy": 429}[mood])
            if mood == "is busy":
                self.send_header("Retry-After", "1")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
