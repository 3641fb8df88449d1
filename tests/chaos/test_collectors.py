"""Collectors that misbehave, and spans, logs and metrics alike: counted by signal, one log line a minute, no more."""

import socket
import struct

import pytest

from otlp import answer

ONE_LINE = "not all {} reach the collector: {}; status() counts"


def warned(caplog):
    """What was logged at all: by us, and by what we use."""
    return [r.getMessage() for r in caplog.records if r.levelname != "DEBUG"]


def lost(outbox):
    return {(d.signal, d.kind, d.reason): d.count for d in outbox.dropped()}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 415, 500])
def test_a_refusal_is_counted_said_once_and_the_next_ones_arrive(collector, exporting, signal, caplog, until, status):
    there = collector(status)
    providers, outbox = exporting(there.url)
    signal.make(providers, "one", "two")
    until(lambda: outbox.dropped())
    signal.make(providers, "three")
    until(lambda: "three" in signal.names(there))
    refused = signal.names(there, status)
    assert refused
    assert lost(outbox) == {(signal.name, "other", "refused"): len(refused)}
    assert providers.failed() == {signal.name: 1}
    assert warned(caplog) == [ONE_LINE.format(signal.name, f"it answers {status}")]


def reset(connection, there):
    """The headers of an answer, then a reset."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def slowly(connection, there):
    """An answer at twenty bytes a second: each comes well within a time-out of its own."""
    for byte in answer(200, b"x" * 2_000):
        connection.sendall(bytes([byte]))
        if there.over.wait(0.05):
            return


def slowly_in_its_body(connection, there):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n")
    for _ in range(2_000):
        connection.sendall(b"x")
        if there.over.wait(0.05):
            return


def never(connection, there):
    there.over.wait(60)


NOT_NOW = {
    "429": answer(429, Retry_After="0"),
    "502": 502,
    "503": answer(503, Retry_After="0"),
    "504": 504,
    "half a body": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
    "half a line": b"HTTP/1.1 2",
    "no answer": b"",
    "garbage": b"\x00\xff garbage\r\n\r\n",
    "chunked garbage": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nnot a chunk",
    "not gzip": answer(200, b"plain", Content_Encoding="gzip"),
    "reset": reset,
    "slow": slowly,
    "slow body": slowly_in_its_body,
    "never": never,
}


@pytest.mark.parametrize("step", NOT_NOW)
def test_what_was_not_taken_now_is_sent_again_and_nothing_is_lost(collector, exporting, signal, until, step):
    there = collector(NOT_NOW[step])
    providers, outbox = exporting(there.url, OTEL_EXPORTER_OTLP_TIMEOUT="0.5")
    signal.make(providers, "one", "two")
    until(lambda: {"one", "two"} <= set(signal.names(there)), 30)
    assert len(there.requests) >= 2
    assert outbox.dropped() == []


CONTENT = {
    "html": answer(200, b"<html>Welcome to nginx</html>", Content_Type="text/html"),
    "closes": answer(200, Connection="close"),
    "half a header": b"HTTP/1.1 200 OK\r\nContent-Le",
    "no length": b"HTTP/1.1 200 OK\r\n\r\n",
    "202": answer(202),
    "not protobuf": answer(200, b"\xff\xff\xff"),
}


@pytest.mark.parametrize("step", CONTENT)
def test_an_answer_that_says_nothing_of_use_is_taken_for_its_status(collector, exporting, signal, until, caplog, step):
    there = collector(*[CONTENT[step]] * 3)
    providers, outbox = exporting(there.url)
    signal.make(providers, "one")
    until(lambda: there.requests)
    signal.make(providers, "two")
    until(lambda: len(there.requests) > 1)
    assert outbox.flush(10)
    assert (outbox.dropped(), providers.failed(), warned(caplog)) == ([], {signal.name: 0}, [])


def test_of_an_answer_of_a_hundred_megabytes_little_is_read(collector, exporting, signal, until, caplog):
    sent = []

    def huge(connection, there):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        try:
            for _ in range(1_000):
                connection.sendall(b"x" * 100_000)
                sent.append(100_000)
        except OSError:
            sent.append(None)

    there = collector(huge)
    providers, outbox = exporting(there.url)
    signal.make(providers, "one")
    until(lambda: sent and sent[-1] is None)
    # What the kernel's buffers hold beside what was read.
    assert sum(sent[:-1]) < 30_000_000
    signal.make(providers, "two")
    until(lambda: "two" in signal.names(there))
    assert (outbox.dropped(), warned(caplog)) == ([], [])


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_is_no_success(collector, exporting, signal, until, caplog, status):
    elsewhere = collector()
    there = collector(*[answer(status, Location=f"{elsewhere.url}{signal.path}")] * 2)
    providers, outbox = exporting(there.url, OTEL_EXPORTER_OTLP_HEADERS="authorization=Basic%20abcdefghijk")
    signal.make(providers, "one")
    until(lambda: outbox.dropped())
    assert elsewhere.requests == []
    assert {reason for _, _, reason in lost(outbox)} == {"refused"}
    assert warned(caplog) == [ONE_LINE.format(signal.name, f"it answers {status} (a redirect)")]


@pytest.mark.parametrize("said", ["100", None])
def test_a_collector_is_left_alone_for_as_long_as_it_asks(collector, exporting, signal, until, caplog, said):
    """Longer than an export may take. Where it does not say, later each time."""
    there = collector(*[answer(503, **({"Retry_After": said} if said else {}))] * 50)
    providers, outbox = exporting(there.url, OTEL_EXPORTER_OTLP_TIMEOUT="0.2")
    signal.make(providers, "one")
    until(lambda: not outbox.reachable)
    if said:
        asked = len(there.requests)
        signal.make(providers, "two")
        assert not outbox.flush(0.5)
        assert len(there.requests) == asked == 1
    else:
        until(lambda: providers.failed()[signal.name] > 3)
    there.script.clear()
    providers.shutdown(10)
    assert "one" in signal.names(there)
    assert outbox.dropped() == []
    assert warned(caplog) == [ONE_LINE.format(signal.name, "it answers 503")]


def test_what_a_content_collector_rejects_is_counted_and_said(collector, exporting, signal, until, caplog):
    body = signal.rejecting(2, "too old; apiKey=abcdef123")
    there = collector(answer(200, body, Content_Type="application/x-protobuf"))
    providers, outbox = exporting(there.url)
    signal.make(providers, "one", "two", "three")
    until(lambda: outbox.dropped())
    assert lost(outbox) == {(signal.name, "unknown", "rejected"): 2}
    [line] = warned(caplog)
    assert "2 were rejected: too old; apiKey=***" in line


def test_a_collector_that_is_down_says_one_line_a_minute(exporting, signal, until, caplog):
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    providers, _ = exporting(f"http://127.0.0.1:{port}", OTEL_EXPORTER_OTLP_TIMEOUT="0.1")
    signal.make(providers, "one")
    until(lambda: providers.failed()[signal.name] > 4, 30)
    [line] = warned(caplog)
    assert line.startswith(f"not all {signal.name} reach the collector: ")
    assert {r.name for r in caplog.records if r.levelname != "DEBUG"} == {"tradewatch"}


def test_an_end_waits_no_longer_than_told_and_counts_what_it_had(collector, exporting, signal, caplog, until):
    """With a time-out of ten minutes, waiting for this collector would run into the test's own."""
    there = collector(*[never] * 50)
    providers, outbox = exporting(there.url, OTEL_EXPORTER_OTLP_TIMEOUT="600")
    signal.make(providers, "one", "two")
    until(lambda: there.requests)
    providers.shutdown(0.5)
    assert lost(outbox) == {(signal.name, "other", "unreachable"): 2}
    assert warned(caplog) == [f"2 {signal.name} could not be sent before the end; they are lost"]
