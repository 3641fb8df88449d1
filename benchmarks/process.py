"""What tradewatch costs the process that it is loaded into: import, memory, idle CPU, event-loop lag, shutdown.

Every figure is of fresh processes that have ccxt loaded, one for each way. They run from bytecode, and imports are
measured in CPU time. They take turns, but for memory and idle CPU, whose processes run side by side: CPU time and
memory are each one's own. The naive way has the SDK, a batch processor with OTLP over HTTP, and a Prometheus reader
with its server; tradewatch is measured as it comes, with its rules and its scrape endpoint, and once more with spans
exported as the naive way's are. Nobody but the scraper calls an idle one.

    python -m benchmarks --only process --quick
    python -m benchmarks.process --json
"""

from __future__ import annotations

import compileall
import contextlib
import socket
import statistics
import time
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tradewatch
from benchmarks.figures import Figure, alone, compared
from benchmarks.processes import answer, collector, started
from benchmarks.turns import in_turns, program
from benchmarks.ways import CACHED, NAIVE, NOTHING, RECORD, SPAN

SCRAPE_S = 15.0
WAYS = (NOTHING, CACHED, NAIVE, RECORD, SPAN)
OURS = {RECORD: "as it comes", SPAN: "spans exported"}


def loaded(what: str, way: str, seconds: float, settled_s: float = 0, **environment: str) -> Any:
    with started("-m", "benchmarks.loaded", what, way, str(seconds), str(settled_s), **environment) as process:
        return answer(process)


def importing(rounds: int) -> list[Figure]:
    def turn(way: str) -> Callable[[], list[float]]:
        return lambda: loaded("import", way, 0)

    found = in_turns({way: turn(way) for way in (CACHED, NAIVE, RECORD)}, rounds)
    first, used, all_of_it = (
        {way: statistics.median(each[n] for each in ms) for way, ms in found.items()} for n in range(3)
    )
    what = "import of all that a watch loads, CPU"
    return [
        alone("import, ccxt loaded, CPU", first[RECORD], "ms", at_most=60),
        alone("import and the first name used, CPU", used[RECORD], "ms", at_most=60),
        alone(what, all_of_it[RECORD], "ms", at_most=60, note="the SDK's metrics are part of it"),
        compared(what, all_of_it[RECORD], "ms", NAIVE, all_of_it[NAIVE], "below"),
        compared(what, all_of_it[RECORD], "ms", CACHED, all_of_it[CACHED], "below"),
    ]


def idling(rounds: int, seconds: float, settled_s: float) -> list[Figure]:
    """Memory and idle CPU, from the same processes."""
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        with collector() as there, contextlib.ExitStack() as stack:
            running = {}
            for way in WAYS:
                environment = {} if way == RECORD else there.environment
                command = ("-m", "benchmarks.loaded", "idle", way, str(seconds), str(settled_s))
                running[way] = stack.enter_context(started(*command, **environment))
            urls = {way: answer(process) for way, process in running.items()}
            for n in range(max(1, int(seconds / SCRAPE_S))):
                time.sleep(SCRAPE_S if n else 0)
                for url in filter(None, urls.values()):
                    with urllib.request.urlopen(url) as page:
                        page.read()
            for way, process in running.items():
                found[way].append(answer(process))
    memory, cpu = ({way: statistics.median(each[n] for each in of) for way, of in found.items()} for n in (0, 1))
    figures = []
    for title, values, unit, most in (
        ("memory added to a ccxt bot", memory, "MB", 10),
        ("idle CPU added, scraped every 15 s", cpu, "% of a core", 0.1),
    ):
        bare = values[NOTHING]
        note = f"bare {bare:.3g} {unit}" + ("" if unit == "MB" else f", a window of {seconds:g} s")
        for way, named in OURS.items():
            what, ours = f"{title}, {named}", values[way] - bare
            # The targets are of the SDK and its alerts; what exports adds its exporter.
            figures.append(alone(what, ours, unit, at_most=most if way == RECORD or unit != "MB" else None, note=note))
            figures += [compared(what, ours, unit, other, values[other] - bare, "below") for other in (NAIVE, CACHED)]
    return figures


def lagging(rounds: int, seconds: float, settled_s: float) -> list[Figure]:
    with collector() as there:

        def turn(way: str) -> Callable[[], list[float]]:
            return lambda: loaded("lag", way, seconds, settled_s, **there.environment)

        found = in_turns({way: turn(way) for way in (NOTHING, NAIVE, SPAN)}, rounds)
    figures = []
    for n, name in enumerate(("p50", "p99", "p99.9")):
        ms = {way: statistics.median(each[n] for each in of) for way, of in found.items()}
        what = f"event-loop lag {name}, spans exported"
        note = f"naive {ms[NAIVE] / ms[NOTHING]:.2f} x; {rounds} x {seconds:g} s"
        figures.append(compared(what, ms[SPAN], "ms", NOTHING, ms[NOTHING], "times", at_most=1.2, note=note))
    return figures


def ended(way: str, port: int, seconds: float) -> tuple[float, float]:
    """Seconds of the shutdown, and of the process's end after it."""
    command = ("-m", "benchmarks.loaded", "shutdown", way, str(seconds), "0")
    with started(*command, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}") as process:
        took, at = answer(process)
        process.wait(60)
        return float(took), time.time() - at


def ending(others: Sequence[str], seconds: float) -> list[Figure]:
    """So long after the last call: with a collector that refuses, and one that takes what is sent and is silent.

    All at the same time: they wait more than they work.
    """
    with socket.socket() as silent, ThreadPoolExecutor() as pool:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        ports = {"refuses": 9, "is silent": silent.getsockname()[1]}
        running = {
            (way, name): pool.submit(ended, way, port, seconds)
            for name, port in ports.items()
            for way in (SPAN, *others)
        }
        bare = pool.submit(ended, NOTHING, 9, seconds).result()[1]
        found = {each: result.result() for each, result in running.items()}
    figures = []
    for name in ports:
        what, (took, end) = f"shutdown, the collector {name}", found[SPAN, name]
        note = f"the process's end after it {end:.2f} s, a bare one's {bare:.2f}"
        figures.append(alone(what, took, "s", at_most=2, note=note))
        figures += [compared(what, took, "s", other, found[other, name][0], "below") for other in others]
    return figures


def measure(quick: bool) -> list[Figure]:
    compileall.compile_dir(Path(tradewatch.__file__).parent, quiet=1)
    if quick:
        return importing(1) + idling(1, 3, 0.5) + lagging(1, 1.5, 0.3) + ending((), 0.2)
    return importing(5) + idling(1, 45, 3) + lagging(3, 8, 1) + ending((NAIVE,), 1)


if __name__ == "__main__":
    program(measure, __doc__)
