"""Everything that is measured, in one run, and one table of it beside the targets.

Each measurement runs in a process of its own, one after the other. A missed target is a result; a measurement that
fails is shown with its reason, and the exit status is 1 then.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.figures import Figure, Outcome, plain, summary, table
from benchmarks.processes import ROOT

MEASUREMENTS = {
    "call": "a hot and a cold call, sync and async, its span asked for or not",
    "real": "a real call of an async ccxt client, with export on",
    "delivery": "calls a second of CPU from the bot to the collector, nothing dropped",
    "export": "encoding and sending spans",
    "metrics": "folding, and a scrape of 1,000 series",
    "process": "import, memory, idle CPU, event-loop lag, shutdown with a dead collector",
    "streams": "200 streams of 5,000 symbols: a message, and memory as messages go on",
    "halt": "from a losing fill to the next order refused",
}
LIMIT_S = 1_200.0
EXAMPLES = """
measurements:
{}

examples:
  python -m benchmarks                          all of it, some nine minutes
  python -m benchmarks --quick                  a minute: the order of magnitude
  python -m benchmarks --only call,process      two of them
  python -m benchmarks --json                   JSON in place of the table
  python -m benchmarks --json bench.json        the table, and JSON into a file
"""


def machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)),
        "load": [round(each, 2) for each in os.getloadavg()],
        "versions": {
            name: version(name) for name in ("tradewatch", "opentelemetry-sdk", "prometheus-client", "wrapt", "ccxt")
        },
    }


@contextlib.contextmanager
def progress(text: str) -> Iterator[None]:
    """Seconds that run, on a terminal; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield
        return
    over, began = threading.Event(), time.monotonic()

    def tick() -> None:
        while not over.wait(0.5):
            print(f"\r\033[K{text}  {time.monotonic() - began:.0f} s", end="", file=sys.stderr, flush=True)

    ticking = threading.Thread(target=tick, daemon=True)
    ticking.start()
    try:
        yield
    finally:
        over.set()
        ticking.join()
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a measurement and the processes that it started: they are one group."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(2)


def measured(name: str, quick: bool) -> Outcome:
    began = time.monotonic()
    command = [sys.executable, "-m", f"benchmarks.{name}", "--json", *(["--quick"] if quick else [])]
    with (
        tempfile.TemporaryFile() as found,
        tempfile.TemporaryFile() as said,
        # Processes that are ended leave what they had there.
        tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder,
    ):
        environment = os.environ | {"TMPDIR": folder}
        process = subprocess.Popen(
            command, stdout=found, stderr=said, cwd=ROOT, env=environment, start_new_session=True
        )
        try:
            status: int | None = process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            end(process)
        found.seek(0)
        said.seek(0)
        text = said.read().decode(errors="replace").strip()
        seconds = round(time.monotonic() - began, 1)
        if status == 0:
            with contextlib.suppress(msgspec.DecodeError):
                return Outcome(name, seconds, msgspec.json.decode(found.read(), type=tuple[Figure, ...]))
        why = f"took longer than {LIMIT_S:g} s" if status is None else f"ended with {status}"
        return Outcome(name, seconds, failure=f"{why}: {text.splitlines()[-1]}" if text else why)


def chosen(text: str) -> list[str]:
    names = [each.strip() for each in text.split(",") if each.strip()]
    unknown = [each for each in names if each not in MEASUREMENTS]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"no measurement {', '.join(unknown)!r}; there are {', '.join(MEASUREMENTS)}")
    return [each for each in MEASUREMENTS if each in names]


def options() -> argparse.Namespace:
    listed = "\n".join(f"  {name:<10}{what}" for name, what in MEASUREMENTS.items())
    parser = argparse.ArgumentParser(
        "python -m benchmarks",
        description=__doc__,
        epilog=EXAMPLES.format(listed),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds and short windows: the order of magnitude")
    parser.add_argument("--only", type=chosen, default=list(MEASUREMENTS), metavar="A,B", help="these measurements")
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="JSON, into a file or to stdout")
    return parser.parse_args()


def run(names: list[str], quick: bool) -> list[Outcome]:
    outcomes = []
    for n, name in enumerate(names, 1):
        with progress(f"[{n}/{len(names)}] {name}: {MEASUREMENTS[name]}"):
            outcomes.append(measured(name, quick))
    return outcomes


def facts(about: dict[str, Any], quick: bool, seconds: float) -> str:
    load = about["load"][0]
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    short = "; quick: few rounds and short windows, the order of magnitude alone" if quick else ""
    where = f"{about['cores']} cores, load {load} at the start"
    return f"Python {about['python']}, {versions}; {where}; {seconds:.0f} s{short}"


def main() -> int:
    given = options()
    # What ends this ends what it started.
    for sign in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, signal.default_int_handler)
    about, began = machine(), time.monotonic()
    try:
        outcomes = run(given.only, given.quick)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    seconds = round(time.monotonic() - began, 1)
    told = {"machine": about, "quick": given.quick, "seconds": seconds, "measurements": plain(outcomes)}
    written = msgspec.json.format(msgspec.json.encode(told), indent=2).decode()
    if given.json == "-":
        print(written)
    else:
        print(facts(about, given.quick, seconds))
        print(table(outcomes))
        print(summary(outcomes))
        if given.json:
            Path(given.json).write_text(written + "\n")
    return 1 if any(outcome.failure is not None for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
