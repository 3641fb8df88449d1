"""The servers of the compose file, built by `make servers`, on ports of loopback: one set for all tests here."""

import contextlib
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from servers import SERVERS, missing

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CONFIG = ROOT / "otel-collector"


def pytest_collection_modifyitems(items):
    lacking = [server.name for server in missing()]
    if lacking:
        skip = pytest.mark.skip(reason=f"not built: {', '.join(lacking)}; `make servers` builds them (Go, ten minutes)")
        for item in items:
            if item.path.parent == HERE:
                item.add_marker(skip)


def free_ports(count):
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in taken:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in taken]


def get(url, **params):
    """A page's JSON, where it is some."""
    query = f"?{urllib.parse.urlencode(params, doseq=True)}" if params else ""
    with urllib.request.urlopen(url + query, timeout=10) as answer:
        body = answer.read()
    return json.loads(body) if body[:1] in b"{[" else body


def ready(url, process, log, seconds=60):
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        assert process.poll() is None, f"ended at once:\n{log.read_text(errors='replace')[-2000:]}"
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            return get(url)
        time.sleep(0.1)
    raise AssertionError(f"{url} is not ready:\n{log.read_text(errors='replace')[-2000:]}")


class Prometheus:
    """What its API answers."""

    def __init__(self, url):
        self.url = url

    def get(self, path, **params):
        """The data of an answer."""
        return get(f"{self.url}{path}", **params)["data"]

    def query(self, text):
        """An instant vector: labels (as a tuple of pairs) with the value."""
        found = self.get("/api/v1/query", query=text)["result"]
        return {tuple(sorted(one["metric"].items())): float(one["value"][1]) for one in found}

    def exemplars(self, text):
        """Exemplars of the last ten minutes, as Prometheus has them."""
        now = time.time()
        return self.get("/api/v1/query_exemplars", query=text, start=now - 600, end=now + 60)


class Stack:
    """The Collector, Jaeger and Prometheus, wired as the compose file has them; Prometheus also scrapes `scraped`."""

    def __init__(self, otlp, jaeger, prometheus, scraped):
        self.otlp, self.jaeger, self.scraped = otlp, jaeger, scraped
        self.prometheus = Prometheus(prometheus)

    def traces(self, service):
        """The traces of a service as Jaeger's API has them."""
        found = get(f"{self.jaeger}/api/traces", service=service, limit=1000, lookback="1h")
        return found["data"] or []


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    servers = {server.name: server.binary for server in SERVERS}
    folder = tmp_path_factory.mktemp("stack")
    otlp, metrics, health, jaeger_otlp, jaeger_http, jaeger_grpc, prometheus, scraped = free_ports(8)
    environment = {
        **os.environ, "COLLECTOR_OTLP_PORT": str(otlp), "COLLECTOR_METRICS_PORT": str(metrics),
        "COLLECTOR_HEALTH_PORT": str(health), "JAEGER_OTLP": f"127.0.0.1:{jaeger_otlp}",
        "JAEGER_OTLP_PORT": str(jaeger_otlp), "JAEGER_HTTP_PORT": str(jaeger_http),
        "JAEGER_GRPC_PORT": str(jaeger_grpc),
    }  # fmt: skip
    written = (CONFIG / "prometheus.yaml").read_text()
    direct = f"\n  - job_name: direct\n    static_configs:\n      - targets: ['127.0.0.1:{scraped}']\n"
    (folder / "prometheus.yaml").write_text(
        written.replace("otel-collector:8889", f"127.0.0.1:{metrics}").replace("10s", "1s") + direct
    )
    (folder / "rules").symlink_to(ROOT / "src" / "tradewatch" / "rules")
    commands = {
        "jaeger": ([f"--config={CONFIG / 'jaeger.yaml'}"], f"http://127.0.0.1:{jaeger_http}/api/services"),
        "otelcol": ([f"--config={CONFIG / 'config.yaml'}"], f"http://127.0.0.1:{health}/"),
        "prometheus": (
            [
                f"--config.file={folder / 'prometheus.yaml'}", f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{prometheus}", "--enable-feature=exemplar-storage",
            ],
            f"http://127.0.0.1:{prometheus}/-/ready",
        ),
    }  # fmt: skip
    with contextlib.ExitStack() as running:
        for name, (arguments, page) in commands.items():
            log = folder / f"{name}.log"
            output = running.enter_context(log.open("wb"))
            process = subprocess.Popen(
                [servers[name], *arguments], cwd=folder, env=environment, stdout=output, stderr=output
            )
            running.callback(process.wait, 20)
            running.callback(process.terminate)
            ready(page, process, log)
        yield Stack(
            f"http://127.0.0.1:{otlp}", f"http://127.0.0.1:{jaeger_http}", f"http://127.0.0.1:{prometheus}", scraped
        )
