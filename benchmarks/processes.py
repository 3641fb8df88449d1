"""The processes around a measurement: a collector, a paper exchange, and a bot that goes one of the ways."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.collector import Arrivals

ROOT = Path(__file__).parent.parent


class Collector(msgspec.Struct, frozen=True):
    """`environment` is what sends spans to it; `file` is where it counts them."""

    arrivals: Arrivals
    file: Path
    environment: dict[str, str]


@contextlib.contextmanager
def started(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A Python program with pipes, until the end of the block."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        # As what is installed: compiling the sources would cost more than all else that an import does.
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": ""} | environment,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            # What was not read any more cannot be flushed either.
            with contextlib.suppress(BrokenPipeError):
                pipe.close()  # type: ignore[union-attr]


def answer(process: subprocess.Popen[str]) -> Any:
    """One line of JSON from a program."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{' '.join(map(str, process.args[1:4]))} ended with {process.wait(10)}")  # type: ignore[index]
    return json.loads(line)


@contextlib.contextmanager
def collectors(count: int) -> Iterator[list[Collector]]:
    """So many, in one process."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"arrived-{n}" for n in range(count)]
        for file in files:
            file.write_bytes(bytes(Arrivals.SIZE))
        with started("-m", "benchmarks.collector", *map(str, files)) as process:
            url = f"http://127.0.0.1:{answer(process)}"
            yield [
                Collector(Arrivals(file), file, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{url}/{n}/v1/traces"})
                for n, file in enumerate(files)
            ]


@contextlib.contextmanager
def collector() -> Iterator[Collector]:
    with collectors(1) as [only]:
        yield only


@contextlib.contextmanager
def venue(*arguments: str) -> Iterator[str]:
    """The address of a paper exchange that limits nobody."""
    limits = ["--weight-limit", "1000000000", "--order-limit", "10000000"]
    with started("-m", "tradewatch.cli", "paper", "--json", *limits, *arguments) as process:
        yield answer(process)["url"]


def client(library: Any, url: str, **settings: Any) -> Any:
    """A Binance client of ccxt that talks to a paper exchange."""
    options = {"fetchMarkets": {"types": ["spot"]}, "fetchMargins": False}
    made = library.binance({"enableRateLimit": False, "options": options, **settings})
    made.has["fetchCurrencies"] = False

    def redirected(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: redirected(each) for key, each in value.items()}
        return re.sub(r"^https?://[^/]+", url, value)

    made.urls["api"] = redirected(made.urls["api"])
    return made


class Bot:
    """A bot of `benchmarks/bot.py` that does what it is told, one thing at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def does(self, *what: Any) -> Any:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(what) + "\n")
            self._process.stdin.flush()
        return answer(self._process)


@contextlib.contextmanager
def bots(names: Sequence[str], *, url: str = "") -> Iterator[dict[str, tuple[Bot, Collector]]]:
    """A bot of each way, each with a collector of its own; all of them ready."""
    with contextlib.ExitStack() as stack:
        found = {}
        for name, there in zip(names, stack.enter_context(collectors(len(names))), strict=True):
            environment = {
                **there.environment,
                # Both ways send what they have ten times a second, so that a round need not wait for what it caused.
                "OTEL_BSP_SCHEDULE_DELAY": "100",
            }
            process = stack.enter_context(started("-m", "benchmarks.bot", name, str(there.file), url, **environment))
            found[name] = Bot(process), there
        for bot, _ in found.values():
            bot.does("ready")
        yield found
