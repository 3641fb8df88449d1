"""`tradewatch audit`: who halted, resumed and configured a bot. Read from its log, so the bot need not run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from tradewatch.breaker import ACTION, Action
from tradewatch.cli import bots
from tradewatch.control.client import running
from tradewatch.store import StoreUnavailable, decode, rows_of, state_folder


class Entry(msgspec.Struct, frozen=True):
    """A line of the audit: when (epoch), and what `tradewatch.breaker.Action` says."""

    seq: int
    at_ns: int
    asked: str
    by: str
    channel: str
    reason: str
    before: str | None
    after: str
    refused: str | None


def audit(arguments: Sequence[str], prog: str) -> int:
    """Every halt and resumption of a bot, and every change of its settings."""
    parser = bots.Parser(
        prog,
        "Every halt, resumption and change of settings of a bot, oldest first: when, who, how, why, before and after.\n"
        "It need not run.",
    )
    parser.name()
    parser.state_dir("where its name alone does not tell it")
    parser.as_json("One line of JSON: a list, oldest first.")
    given = parser.read(arguments)
    folder = _folder(given.name, given.state_dir)
    if not _is_kept(folder):
        raise bots.ended(bots.FAILED, f"nothing was ever kept in {folder}")
    found: list[Entry] = []
    damage = None
    try:
        found.extend(_entry(event.seq, event.at_ns, decode(event, Action)) for event in rows_of(folder, ACTION))
    except (StoreUnavailable, msgspec.MsgspecError) as error:
        damage = error
    if given.as_json:
        bots.say_json(msgspec.to_builtins(found))
    for each in [] if given.as_json else found:
        done = f"{each.before or 'unreadable'} → {each.after}" if each.refused is None else f"refused: {each.refused}"
        bots.say([f"{bots.moment(each.at_ns)} {each.asked} by {each.by} ({each.channel}), {done}: {each.reason}"])
    if damage is not None:
        raise bots.ended(bots.FAILED, f"this may not be all: {damage}" if found else str(damage))
    return 0


def _entry(seq: int, at_ns: int, action: Action) -> Entry:
    return Entry(seq, at_ns, **msgspec.structs.asdict(action))


def _folder(name: str | None, state_dir: Path | None) -> Path:
    if state_dir is None and name is not None:
        with suppress(StoreUnavailable):  # no home
            kept = state_folder(name)
            if _is_kept(kept):
                # One of that name may run with another folder: whoever asks after its halt must not read an old log.
                if any(bot.name == name and bot.folder != kept.resolve() for bot in running()):
                    what = f"a bot named {name!r} runs with another state folder than {kept}"
                    raise bots.ended(bots.USAGE, f"{what}, which has a log too: say which with --state-dir")
                return kept
    return bots.folder_of(name, state_dir)


def _is_kept(folder: Path) -> bool:
    return os.path.isfile(folder / "events.db")
