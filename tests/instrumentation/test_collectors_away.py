"""Collectors that are away: dead, hanging, with names or certificates that fail. An end does not wait for them."""

import socket
import ssl
import threading

import pytest

from scripted_collectors import closed_port, lost, spans, warned


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
