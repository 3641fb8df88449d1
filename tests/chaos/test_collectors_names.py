"""Collectors that cannot be reached or trusted, and what OTEL_* variables say that cannot be: for all three signals."""

import importlib.resources
import logging
import os
import re
import ssl
import subprocess
import sys
import textwrap

import pytest

ON_LOOPBACK = "subjectAltName=IP:127.0.0.1"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Makes a server's certificate and key in one file, which vouches for itself."""
    folder = tmp_path_factory.mktemp("tls")

    def make(name, alternative=ON_LOOPBACK, at=None):
        key, found = folder / f"{name}.key", folder / f"{name}.pem"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command += ["-days", "2", "-subj", f"/CN={name}", "-addext", alternative, "-keyout", str(key)]
        library = importlib.resources.files("libfaketime") / "vendor/libfaketime/src/libfaketime.so.1"
        then = {} if at is None else {"LD_PRELOAD": os.fspath(library), "FAKETIME": at}
        subprocess.run([*command, "-out", str(found)], check=True, capture_output=True, env=os.environ | then)
        both = folder / f"{name}-both.pem"
        both.write_text(key.read_text() + found.read_text())
        return both

    return make


def served_with(file):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def warned(caplog):
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("authority", "self-signed certificate|unable to get local issuer|self signed"),
        ("expired", "certificate has expired"),
        ("name", "IP address mismatch|doesn't match|not valid for"),
        ("plain", "WRONG_VERSION_NUMBER|wrong version number|record layer|UNEXPECTED_EOF|EOF"),
    ],
)
def test_who_cannot_be_trusted_is_sent_nothing_and_said_once(
    collector, exporting, signal, certificate, caplog, until, wrong, said
):
    other = certificate("other")
    own = other
    if wrong == "expired":
        own = certificate("expired", at="@2020-01-01 00:00:00")
    elif wrong == "name":
        own = certificate("elsewhere", "subjectAltName=DNS:elsewhere.example")
    elif wrong == "authority":
        own = certificate("unknown")
    there = collector(tls=None if wrong == "plain" else served_with(own))
    trusted = other if wrong == "authority" else own
    url = f"https://127.0.0.1:{there.port}"
    providers, outbox = exporting(url, OTEL_EXPORTER_OTLP_CERTIFICATE=str(trusted), OTEL_EXPORTER_OTLP_TIMEOUT="0.5")
    signal.make(providers, "one")
    until(lambda: providers.failed()[signal.name] > 1, 30)
    [line] = warned(caplog)
    assert re.search(said, line), line
    assert (there.requests, outbox.dropped()) == ([], [])


def test_who_a_variable_vouches_for_is_sent_everything(collector, exporting, signal, certificate, caplog, until):
    own = certificate("own")
    there = collector(tls=served_with(own))
    providers, outbox = exporting(
        there.url,
        **{
            f"OTEL_EXPORTER_OTLP_{signal.variable}_CERTIFICATE": str(own),
            f"OTEL_EXPORTER_OTLP_{signal.variable}_HEADERS": "x-tenant=blue,authorization=Bearer%20abcdefgh",
            "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=red",
            f"OTEL_EXPORTER_OTLP_{signal.variable}_COMPRESSION": "gzip",
        },
    )
    signal.make(providers, "one")
    until(lambda: "one" in signal.names(there))
    path, headers, _, _ = there.requests[0]
    assert path == signal.path
    assert (headers["x-tenant"], headers["authorization"]) == ("blue", "Bearer abcdefgh")
    assert headers["content-encoding"] == "gzip"
    assert (outbox.dropped(), warned(caplog)) == ([], [])


def test_a_certificate_that_is_not_there_is_named(collector, exporting, signal, caplog, until):
    there = collector()
    url = f"https://127.0.0.1:{there.port}"
    providers, _ = exporting(url, OTEL_EXPORTER_OTLP_CERTIFICATE="/no/such/file.pem")
    signal.make(providers, "one")
    until(lambda: warned(caplog))
    assert "/no/such/file.pem" in warned(caplog)[0]


@pytest.mark.parametrize(
    ("endpoint", "better"),
    [
        ("localhost:4318", "http://localhost:4318"),
        ("collector.example", "http://collector.example"),
        ("10.0.0.1:4318/v1/x", "http://10.0.0.1:4318/v1/x"),
        ("http//collector:4318", "http://host:4318"),
        ("ftp://collector", "http://host:4318"),
        ("grpc://collector:4317", "http://host:4318"),
        ("http://", "http://host:4318"),
        ("http://[::1", "http://host:4318"),
        ("http://collector:99999", "http://host:4318"),
    ],
)
@pytest.mark.parametrize("own", [False, True])
def test_an_endpoint_that_is_none_is_said_at_the_start_with_what_to_write(
    monkeypatch, signal, caplog, endpoint, better, own
):
    from tradewatch.telemetry.providers import connect

    name = f"OTEL_EXPORTER_OTLP_{signal.variable}_ENDPOINT" if own else "OTEL_EXPORTER_OTLP_ENDPOINT"
    monkeypatch.setenv(name, endpoint)
    for variable in ("TRACES", "LOGS", "METRICS"):
        monkeypatch.setenv(f"OTEL_{variable}_EXPORTER", "otlp" if variable == signal.variable else "none")
    providers = connect("bot", None, None, None)
    try:
        [note] = providers.notes
        what = f"no {signal.variable.lower()} by OTLP"
        assert note == f"{what}: ValueError: {name}={endpoint!r} is no address of a collector; write {better}"
        assert warned(caplog) == [note]
        assert providers.outboxes == ()
    finally:
        providers.shutdown(1)


@pytest.mark.parametrize("exporters", ["none", "console", "otlp,console", "prometheus", "otlp,zipkin"])
def test_metrics_go_to_whom_the_variable_names(collector, monkeypatch, capsys, exporters):
    from tradewatch.telemetry.providers import connect

    there = collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", there.url)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", exporters)
    providers = connect("bot", 0, None, None)
    counter = providers.meter_provider.get_meter("t").create_counter("made")
    counter.add(1, {"url": "https://x/?signature=c8db56825ae71d6d"})
    providers.shutdown(10)
    printed = capsys.readouterr().out
    assert bool(there.requests) == ("otlp" in exporters)
    assert ('"name": "made"' in printed) == ("console" in exporters)
    assert "c8db56825ae71d6d" not in printed
    assert bool(providers.notes) == ("zipkin" in exporters)


# A resolver that never answers, for one name; the real one cannot be made to hang without rights over the machine.
DNS = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (name && !strcmp(name, "collector.example")) { write(1, "asked\\n", 6); sleep(600); }
    return real(name, service, hints, found);
}
"""


@pytest.fixture(scope="session")
def hanging_dns(tmp_path_factory):
    """A library to be loaded first."""
    folder = tmp_path_factory.mktemp("dns")
    (folder / "dns.c").write_text(DNS)
    library = folder / "dns.so"
    try:
        command = ["cc", "-shared", "-fPIC", "-o", library, folder / "dns.c", "-ldl"]
        subprocess.run(command, check=True, capture_output=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("no C compiler")
    return library


def test_a_name_that_is_never_resolved_costs_the_bot_nothing_and_is_counted(hanging_dns, signal):
    body = """
    import sys, time
    from tradewatch.telemetry.providers import connect
    from otlp import Signal
    providers = connect("bot", None, None, None)
    signal = Signal(sys.argv[1])
    signal.make(providers, "one", "two")
    [outbox] = providers.outboxes
    while outbox._sending == (0, 0):
        time.sleep(0.01)
    time.sleep(0.5)
    providers.shutdown(0.5)
    print(providers.dropped()[0].count, providers.dropped()[0].reason, flush=True)
    """
    name = f"OTEL_EXPORTER_OTLP_{signal.variable}_ENDPOINT"
    environment = os.environ | {"LD_PRELOAD": str(hanging_dns), name: f"http://collector.example:4318{signal.path}"}
    environment |= {"OTEL_BSP_SCHEDULE_DELAY": "10", "OTEL_BLRP_SCHEDULE_DELAY": "10"}
    environment |= {"OTEL_METRIC_EXPORT_INTERVAL": "200", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(body), signal.name],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["asked", "2 unreachable"]
    assert done.stderr.splitlines() == [f"2 {signal.name} could not be sent before the end; they are lost"]
