from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

import tradewatch
from tradewatch.model import Event
from tradewatch.runtime.failures import failures
from tradewatch.runtime.scrub import scrubber
from tradewatch.store import Store, decode

NOON_NS = 1_677_844_800_000_000_000  # 2023-03-03 12:00 UTC


class Note(msgspec.Struct, frozen=True):
    text: str


class ManualClock:
    """Stands until a test moves it; its waits do not wait."""

    def __init__(self) -> None:
        self.ns = NOON_NS

    def now_ns(self) -> int:
        return self.ns

    def mono_ns(self) -> int:
        return self.ns

    def real_seconds(self, seconds: float) -> float:
        return 0.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "bot"


@pytest.fixture
def store(folder: Path, clock: ManualClock) -> Iterator[Store]:
    store = Store.open(folder, clock)
    yield store
    store.close()


@pytest.fixture
def note() -> type[Note]:
    return Note


@pytest.fixture
def texts() -> Callable[[Store], list[str]]:
    def read(store: Store) -> list[str]:
        return [decode(event, Note).text for event in store.read(["note"])]

    return read


@pytest.fixture
def filled(folder: Path, clock: ManualClock) -> Callable[[int], list[Event]]:
    """A closed log with so many notes in it."""

    def fill(count: int) -> list[Event]:
        store = Store.open(folder, clock)
        events = [store.append("note", Note(f"note {n} " + "x" * 80)) for n in range(count)]
        store.close()
        return events

    return fill


@pytest.fixture
def start() -> Callable[..., subprocess.Popen[str]]:
    """Start a Python program of its own with the package in reach."""

    def run(program: str, *args: object, **options: object) -> subprocess.Popen[str]:
        prologue = (
            "import os, resource, signal, sys, threading, time\nfrom pathlib import Path\nimport msgspec\n"
            "from tradewatch.runtime.clock import SystemClock\nfrom tradewatch.store import *\n"
            "class Note(msgspec.Struct, frozen=True):\n    text: str\n"
        )
        env = {**os.environ, "PYTHONPATH": str(Path(tradewatch.__file__).parents[1]), "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.Popen(
            [sys.executable, "-c", prologue + program, *map(str, args)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=env,
            **options,
        )

    return run


@pytest.fixture
def output(start: Callable[..., subprocess.Popen[str]]) -> Callable[..., str]:
    """Run such a program to its end and give back what it printed."""

    def run(program: str, *args: object, **options: object) -> str:
        process = start(program, *args, **options)
        printed, _ = process.communicate(timeout=60)
        assert process.returncode == 0, printed
        return printed

    return run


@pytest.fixture(autouse=True)
def _our_failures_fail_the_test() -> Iterator[None]:
    failures.strict = True
    failures._logged.clear()
    known = scrubber._secrets
    yield
    scrubber._secrets = known
    failures.strict = False
