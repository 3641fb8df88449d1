"""Visitors of the scrape endpoint that are many, slow, broken, or come when the process has no file left."""

import os
import resource
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource

from tradewatch.telemetry.pages import PageServer
from tradewatch.telemetry.scrape import ScrapeReader, scrape_server

EXPECTED = {("target_info", (("a", "b"),)): 1.0, ("g", ()): 1.0}


@pytest.fixture
def server():
    reader = ScrapeReader()
    provider = MeterProvider([reader], Resource({"a": "b"}), shutdown_on_exit=False)
    provider.get_meter("m").create_gauge("g").set(1)
    server = scrape_server(0, reader)
    yield server
    server.stop()
    provider.shutdown()


def visited(stack, server, sent=b""):
    visitor = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 10))
    visitor.sendall(sent)
    return visitor


def answered(visitor):
    """All that comes until the server ends it."""
    found = b""
    try:
        while piece := visitor.recv(65_536):
            found += piece
    except ConnectionResetError:
        pass
    return found


def test_a_thousand_visitors_who_never_finish_cost_few_threads_and_files(server, scrape, until):
    """Slowly sent requests: each visitor is let go for those that come after, and a scrape is answered meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4_096, hard), hard))
    try:
        with ExitStack() as stack:
            threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
            visitors = [visited(stack, server, b"GET /metrics HTTP/1.1\r\nX: ") for _ in range(1_000)]
            assert scrape(server.url) == EXPECTED
            until(lambda: threading.active_count() <= threads + 16, 30)
            until(lambda: len(os.listdir("/proc/self/fd")) <= files + 1_000 + 16, 30)
            # Who came first was let go without an answer.
            assert answered(visitors[0]) == b""
        until(lambda: threading.active_count() == threads, 30)
        assert not server._visitors
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


ODD = {
    "HTTP/1.0": (b"GET /metrics HTTP/1.0\r\n\r\n", b"HTTP/1.0 200 OK"),
    "lines without carriage returns": (b"GET /metrics HTTP/1.1\nAccept: */*\n\n", b"HTTP/1.0 200 OK"),
    "HTTP/0.9": (b"GET /metrics\r\n\r\n", b"HTTP/1.0 400 "),
    "HEAD": (b"HEAD /metrics HTTP/1.1\r\n\r\n", b"HTTP/1.0 405 "),
    "POST": (b"POST /metrics HTTP/1.1\r\nContent-Length: 9\r\n\r\n", b"HTTP/1.0 405 "),
    "a body that nobody reads": (b"POST / HTTP/1.1\r\n\r\n" + b"a" * 1_000_000, b"HTTP/1.0 405 "),
    "a huge header": (b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", b"HTTP/1.0 431 "),
    "many headers": (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 200 + b"\r\n", b"HTTP/1.0 200 OK"),
    "too many headers": (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 200_000 + b"\r\n", b"HTTP/1.0 431 "),
    "a header that is none": (b"GET / HTTP/1.1\r\n:\r\nX\r\n\xff: \x00\r\n\r\n", b"HTTP/1.0 200 OK"),
    "a huge path": (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b"HTTP/1.0 431 "),
    "a later version": (b"GET / HTTP/9.9\r\n\r\n", b"HTTP/1.0 400 "),
    "other bytes": (b"\xff\x00\xfe \r\n\r\n", b"HTTP/1.0 400 "),
}


@pytest.mark.parametrize(("sent", "begins"), ODD.values(), ids=ODD)
def test_odd_requests_are_answered_and_the_next_scrape_too(server, scrape, capfd, sent, begins):
    with ExitStack() as stack:
        assert answered(visited(stack, server, sent)).startswith(begins)
    assert scrape(server.url) == EXPECTED
    assert capfd.readouterr() == ("", "")


def test_a_visitor_who_hangs_up_says_nothing(server, scrape, capfd, until):
    for _ in range(20):
        with ExitStack() as stack:
            visited(stack, server, b"GET /metrics HTTP/1.1\r\n\r\n")
    assert scrape(server.url) == EXPECTED
    until(lambda: not server._visitors)
    assert capfd.readouterr() == ("", "")


def test_a_process_without_a_free_file_does_not_spin(server, scrape, monkeypatch, until):
    """A visitor who cannot be accepted stays in the kernel's queue: to look again at once would take a whole core."""
    looked, accept = [], PageServer._accepted

    def counted(self):
        looked.append(1)
        return accept(self)

    monkeypatch.setattr(PageServer, "_accepted", counted)
    come = f"""if True:
        import socket
        visitor = socket.create_connection(("127.0.0.1", {server.port}))
        print(flush=True)
        input()
    """
    with subprocess.Popen([sys.executable, "-c", come], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) - 1, hard))
            other.stdout.readline()
            until(lambda: looked)
            threading.Event().wait(1.0)
            assert len(looked) <= 10
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert scrape(server.url) == EXPECTED
        other.communicate(b"\n", 10)


FORKED = """
import os, socket, time
from http import HTTPStatus
from tradewatch.telemetry.pages import Page, PageServer
server = PageServer(0, lambda request: Page(HTTPStatus.OK, b"here"))
with socket.create_connection(("127.0.0.1", server.port), 20) as visitor:
    while not server._visitors:
        time.sleep(0.01)
    ends, until = os.pipe()
    if not (child := os.fork()):
        server.forked()
        os.close(until)
        os.read(ends, 1)  # lives for as long as its parent
        os._exit(0)
    visitor.sendall(b"GET /metrics HTTP/1.1\\r\\n\\r\\n")
    found = b""
    while piece := visitor.recv(65_536):
        found += piece
print(found.endswith(b"\\r\\n\\r\\nhere"))
server.stop()
"""


def test_a_forked_child_keeps_no_visitor_waiting():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("True\n", "")
