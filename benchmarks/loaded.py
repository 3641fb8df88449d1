"""A process that loads one of the ways beside ccxt, does one thing, and prints what it found as JSON.

python -m benchmarks.loaded import|idle|lag|shutdown WAY SECONDS SETTLED

SETTLED is how many seconds what begins with the process is given to end.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ccxt.async_support

from benchmarks import ways


class Client(ccxt.async_support.binance):
    """Answers without a venue."""

    async def fetch_status(self, params: Any = None) -> Any:
        return {}


def load(way: str, client: Any, folder: str) -> tuple[str | None, Callable[[], object]]:
    """Set the way up as an application does; its scrape endpoint, and what ends it."""
    if way == ways.NOTHING:
        return None, lambda: None
    if way in {ways.RECORD, ways.SPAN}:
        import tradewatch

        watch = tradewatch.instrument([client], port=0, state_dir=folder)
        return watch.status().telemetry.endpoint, tradewatch.shutdown
    from prometheus_client import REGISTRY, start_http_server

    server, _ = start_http_server(0, "127.0.0.1")
    url, function = f"http://127.0.0.1:{server.server_port}/metrics", client.fetch_status
    if way == ways.CACHED:
        client.fetch_status = ways.prometheus(function, "fetch_status", True, cached=True, registry=REGISTRY)
        return url, server.shutdown
    from opentelemetry.exporter.prometheus import PrometheusMetricReader

    provider = ways.tracers(ways.by_otlp())
    client.fetch_status = ways.naive(function, "fetch_status", True, provider, PrometheusMetricReader())
    return url, provider.shutdown


NEEDED = {
    ways.NAIVE: (
        "wrapt",
        "opentelemetry.sdk.metrics",
        "opentelemetry.sdk.trace.export",
        "opentelemetry.exporter.otlp.proto.http.trace_exporter",
        "opentelemetry.exporter.prometheus",
    ),
    ways.CACHED: ("prometheus_client",),
    ways.RECORD: ("tradewatch",),
}


def imported(way: str) -> list[float]:
    """Milliseconds of CPU: of the import alone, until the first name is there, until all is that `instrument` loads."""
    began = time.process_time()
    for name in NEEDED[way]:
        importlib.import_module(name)
    first = used = time.process_time()
    if way == ways.RECORD:
        _ = sys.modules["tradewatch"].instrument
        used = time.process_time()
        for name in ("opentelemetry.sdk.metrics.export", "opentelemetry.sdk.resources", "tradewatch.telemetry.scrape"):
            importlib.import_module(name)
    return [1e3 * (until - began) for until in (first, used, time.process_time())]


def memory_mb() -> float:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


async def idle(client: Any, url: str | None, seconds: float, settled_s: float) -> list[float]:
    """Memory in MB after a hundred calls, and the share of a core in percent that the bot uses while it is idle."""
    for _ in range(100):
        await client.fetch_status()
    await asyncio.sleep(settled_s)
    memory = memory_mb()
    print(json.dumps(url), flush=True)
    began, cpu = time.monotonic(), time.process_time()
    await asyncio.sleep(seconds)
    return [memory, 100 * (time.process_time() - cpu) / (time.monotonic() - began)]


async def lag(client: Any, url: str | None, seconds: float, settled_s: float) -> list[float]:
    """Milliseconds by which a sleep of 1 ms is late on a loop that also makes calls: p50, p99, p99.9."""

    async def busy() -> None:
        while True:
            await client.fetch_status()
            await asyncio.sleep(0.005)

    tasks = [asyncio.create_task(busy()) for _ in range(4)]
    await asyncio.sleep(settled_s)
    late, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.perf_counter()
        await asyncio.sleep(0.001)
        late.append(time.perf_counter() - began - 0.001)
    for task in tasks:
        task.cancel()
    late.sort()
    return [1e3 * late[int(share * len(late))] for share in (0.5, 0.99, 0.999)]


async def calls(client: Any, url: str | None, seconds: float, settled_s: float) -> None:
    for _ in range(2_000):
        await client.fetch_status()
    await asyncio.sleep(seconds)


async def run(what: str, way: str, seconds: float, settled_s: float, folder: str) -> tuple[Any, Callable[[], object]]:
    client = Client()
    url, end = load(way, client, folder)
    try:
        return await {"idle": idle, "lag": lag, "shutdown": calls}[what](client, url, seconds, settled_s), end
    finally:
        await client.close()


def main() -> None:
    what, way, seconds, settled_s = sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
    if what == "import":
        print(json.dumps(imported(way)))
        return
    with tempfile.TemporaryDirectory() as folder:
        found, end = asyncio.run(run(what, way, seconds, settled_s, folder))
        if what != "shutdown":
            print(json.dumps(found), flush=True)
        began = time.monotonic()
        end()
        took = time.monotonic() - began
    if what == "shutdown":
        # What the interpreter still does at its end is for the caller to see.
        print(json.dumps([took, time.time()]), flush=True)


if __name__ == "__main__":
    main()
