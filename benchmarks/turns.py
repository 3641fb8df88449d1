"""Ways that take turns in short rounds, since a shared machine's speed drifts; and one benchmark as a program."""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import msgspec

from benchmarks.figures import Figure, Outcome, table

T = TypeVar("T")


def in_turns(ways: Mapping[str, Callable[[], T]], rounds: int, rest_s: float = 0.0) -> dict[str, list[T]]:
    """What each way gave, round by round. In between, background threads have `rest_s` to finish what was left them."""
    found: dict[str, list[T]] = {name: [] for name in ways}
    names = list(ways)
    # What is there by now stays: to look through ccxt at each collection would take longer than what is measured.
    gc.freeze()
    for n in range(rounds):
        # The order changes: none has always the same one before it.
        for name in names[n % len(names) :] + names[: n % len(names)]:
            time.sleep(rest_s)
            gc.collect()
            found[name].append(ways[name]())
    gc.unfreeze()
    return found


def medians(found: Mapping[str, Iterable[float]]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in found.items()}


def spread(values: Iterable[float]) -> float:
    """Half of what lies between the quartiles, as a share of the median: how far rounds of the same thing differ."""
    low, middle, high = statistics.quantiles(values, n=4)
    return (high - low) / 2 / middle


def thread_s(work: Callable[[], object]) -> float:
    """CPU seconds of this thread: what the interpreter is held for, whoever else uses the machine."""
    began = time.thread_time()
    work()
    return time.thread_time() - began


def program(measure: Callable[[bool], list[Figure]], doc: str | None) -> None:
    """One benchmark by itself: `--quick`, `--json`."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: the order of magnitude alone")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    began = time.monotonic()
    figures = measure(options.quick)
    if options.json:
        sys.stdout.buffer.write(msgspec.json.encode(figures) + b"\n")
    else:
        name = sys.argv[0].rpartition("/")[2].removesuffix(".py")
        print(table([Outcome(name, time.monotonic() - began, tuple(figures))]))
