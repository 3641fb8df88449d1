"""`tradewatch audit`: who halted and resumed a bot. Read from its log, so the bot need not run."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from tradewatch.breaker import ACTION, Action
from tradewatch.cli import bots
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


@click.command(epilog=bots.EXIT_CODES)
@click.argument("name", required=False)
@click.option("--state-dir", type=click.Path(path_type=Path), metavar="FOLDER", help="The bot's state folder.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON: a list, oldest first.")
def audit(*, name: str | None, state_dir: Path | None, as_json: bool) -> None:
    """Every halt and resumption of a bot, oldest first: when, who, how, why, the state before and after.

    It need not run. NAME may be left out where one bot runs.
    """
    folder = _folder(name, state_dir)
    if not (folder / "events.db").exists():
        raise bots.ended(bots.FAILED, f"nothing was ever kept in {folder}")
    try:
        found = [_entry(event.seq, event.at_ns, decode(event, Action)) for event in rows_of(folder, ACTION)]
    except (StoreUnavailable, msgspec.MsgspecError) as error:
        raise bots.ended(bots.FAILED, str(error)) from None
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    for each in found:
        done = f"{each.before or 'unreadable'} → {each.after}" if each.refused is None else f"refused: {each.refused}"
        bots.say([f"{bots.moment(each.at_ns)} {each.asked} by {each.by} ({each.channel}), {done}: {each.reason}"])


def _entry(seq: int, at_ns: int, action: Action) -> Entry:
    return Entry(seq, at_ns, **msgspec.structs.asdict(action))


def _folder(name: str | None, state_dir: Path | None) -> Path:
    if state_dir is None and name is not None:
        kept = state_folder(name)
        if (kept / "events.db").exists():
            return kept
    return bots.folder_of(name, state_dir)
