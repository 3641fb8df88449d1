"""A recorded run's faults as rules: the same requests and messages, counted again, meet the same fates."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from tradewatch.paper.faults import Match, Rule
from tradewatch.paper.log import MESSAGE, Entry


class RecordError(ValueError):
    """A request log that cannot be replayed: the message names file and line."""


def load_record(file: str | Path) -> tuple[Rule, ...]:
    """The faults of a request log as `--log-file` or `/paper/requests?format=jsonl` gives it.

    Raises:
        RecordError: unreadable, or a line that is no entry of a request log.
    """
    try:
        lines = Path(file).read_bytes().splitlines()
    except OSError as error:
        raise RecordError(f"{file}: cannot read the record: {error}") from error
    entries = []
    for number, line in enumerate(lines, start=1):
        try:
            entries.append(msgspec.json.decode(line, type=Entry))
        except msgspec.DecodeError as error:
            raise RecordError(f"{file}:{number}: no entry of a request log: {error}") from error
    return recorded(entries)


def recorded(entries: Iterable[Entry]) -> tuple[Rule, ...]:
    """Rules by which the n-th request of each operation and method, and the n-th message of each channel, goes wrong.

    What chance drew is fixed: no seed is needed. Price gaps are no part of a log; they belong to the scenario.
    """
    counts: dict[tuple[str, str], int] = {}
    rules = []
    for entry in sorted(entries, key=lambda one: one.seq):
        if entry.operation == MESSAGE and entry.number is not None:
            match = Match(channel=entry.channel, path=entry.path, nth=(entry.number,))
        else:
            asked = entry.operation, entry.method
            counts[asked] = counts.get(asked, 0) + 1
            match = Match(operation=entry.operation, method=entry.method, nth=(counts[asked],))
        rules += [Rule(match, fault) for fault in entry.injected]
    return tuple(rules)
