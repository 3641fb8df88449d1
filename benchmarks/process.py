"""What tradewatch costs the process that it is loaded into: import, memory, idle CPU, event-loop lag, shutdown.

Every figure is of fresh processes with and without it, which take turns, since the machine's speed drifts.

    make bench                                     with the other benchmarks
    .venv/bin/python benchmarks/process.py --quick  half a minute
    .venv/bin/python benchmarks/process.py --json   for a machine to read
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
from typing import Any

HEAD = """
import asyncio, gc, json, os, sys, tempfile, time, threading
import ccxt.async_support
WITH, SECONDS = sys.argv[1] == "with", float(sys.argv[2])
class Client(ccxt.async_support.binance):
    async def fetch_status(self, params=None):
        return {}
class Bot:
    def __init__(self):
        self.exchange = Client()
def watched(bot):
    if WITH:
        import tradewatch
        return tradewatch.instrument(bot, port=0, state_dir=tempfile.mkdtemp())
"""
IMPORT = """
began = time.perf_counter()
import tradewatch
if WITH:
    tradewatch.instrument
print(json.dumps(1e3 * (time.perf_counter() - began)))
"""
MEMORY = """
async def main():
    bot = Bot()
    watched(bot)
    for _ in range(100):
        await bot.exchange.fetch_status()
    await asyncio.sleep(2)
    await bot.exchange.close()
asyncio.run(main())
gc.collect()
print(json.dumps(int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20))
"""
IDLE = """
import urllib.request
async def main():
    bot = Bot()
    watch = watched(bot)
    await asyncio.sleep(3)
    url = watch.status().telemetry.endpoint if watch else None
    began, cpu = time.monotonic(), time.process_time()
    while time.monotonic() - began < SECONDS:
        if url:
            await asyncio.to_thread(lambda: urllib.request.urlopen(url).read())
        await asyncio.sleep(min(15, SECONDS))
    used = 100 * (time.process_time() - cpu) / (time.monotonic() - began)
    await bot.exchange.close()
    return used
print(json.dumps(asyncio.run(main())))
"""
LAG = """
async def main():
    bot = Bot()
    watched(bot)
    async def busy():
        while True:
            await bot.exchange.fetch_status()
            await asyncio.sleep(0.005)
    tasks = [asyncio.create_task(busy()) for _ in range(4)]
    await asyncio.sleep(1)
    late, until = [], time.monotonic() + SECONDS
    while time.monotonic() < until:
        began = time.perf_counter()
        await asyncio.sleep(0.001)
        late.append(time.perf_counter() - began - 0.001)
    for task in tasks:
        task.cancel()
    await bot.exchange.close()
    late.sort()
    return [1e3 * late[len(late) // 2], 1e3 * late[int(0.99 * len(late))], 1e3 * late[int(0.999 * len(late))]]
print(json.dumps(asyncio.run(main())))
"""
SHUTDOWN = """
async def main():
    bot = Bot()
    watched(bot)
    for _ in range(2000):
        await bot.exchange.fetch_status()
    await asyncio.sleep(1)
    await bot.exchange.close()
asyncio.run(main())
import tradewatch
began = time.monotonic()
tradewatch.shutdown()
took = time.monotonic() - began
began = time.monotonic()
import atexit
atexit.register(lambda: print(json.dumps([took, time.monotonic() - began])))
"""


def run(body: str, how: str, seconds: float = 0.0, **environment: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", HEAD + body, how, str(seconds)],
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | environment,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def pairs(body: str, rounds: int, seconds: float = 0.0) -> tuple[list[Any], list[Any]]:
    """Figures without and with, from processes that take turns."""
    found: tuple[list[Any], list[Any]] = ([], [])
    for _ in range(rounds):
        for n, how in enumerate(("without", "with")):
            found[n].append(run(body, how, seconds))
    return found


def shutdown_s() -> dict[str, float]:
    """Seconds of `shutdown` and of the process's end after it: a collector that refuses, one that says nothing."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        found = {}
        for name, port in (("refusing", 9), ("silent", silent.getsockname()[1])):
            took, end = run(SHUTDOWN, "with", OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}")
            found[name] = took + end
        return found


def measure(quick: bool) -> list[dict[str, Any]]:
    rounds, seconds = (3, 8.0) if quick else (10, 60.0)
    rows: list[dict[str, Any]] = []

    def row(what: str, value: float, unit: str, target: float, detail: str = "") -> None:
        rows.append({"what": what, "value": round(value, 3), "unit": unit, "target": target, "detail": detail})
        if sys.stderr.isatty():
            print(f"  {what}: {value:.3g} {unit}", file=sys.stderr, flush=True)

    imported, used = pairs(IMPORT, rounds)
    row("import, ccxt loaded", statistics.median(imported), "ms", 60)
    row("import and the first name used", statistics.median(used), "ms", 60)
    bare, loaded = pairs(MEMORY, 3)
    row(
        "memory added to a ccxt bot",
        statistics.median(loaded) - statistics.median(bare),
        "MB",
        10,
        f"bare {bare[0]:.0f} MB",
    )
    bare, loaded = pairs(IDLE, 1, seconds)
    row("idle CPU added, scraped every 15 s", loaded[0] - bare[0], "% of a core", 0.1, f"bare {bare[0]:.3f} %")
    bare, loaded = pairs(LAG, 3 if quick else 5, min(seconds, 20))
    for n, name in enumerate(("p50", "p99", "p99.9")):
        without, having = (statistics.median(each[n] for each in found) for found in (bare, loaded))
        row(
            f"event-loop lag {name}, with / without", having / without, "ratio", 1.2, f"{without:.3f} → {having:.3f} ms"
        )
    for name, took in shutdown_s().items():
        row(f"shutdown, collector {name}", took, "s", 2)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = measure(arguments.quick)
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return
    width = max(len(each["what"]) for each in rows)
    for each in rows:
        met = "met" if each["value"] <= each["target"] else "MISSED"
        print(
            f"{each['what']:<{width}}  {each['value']:>8.3g} {each['unit']:<11}  target ≤ {each['target']:g}  {met:<6}"
            f"  {each['detail']}"
        )


if __name__ == "__main__":
    main()
