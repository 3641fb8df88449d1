"""`tradewatch status`, `halt`, `resume`, `query`, `limits`: on bots that run."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from tradewatch.cli import bots
from tradewatch.control.client import NotAllowed, NotRunning, Unanswered, ask, running
from tradewatch.control.protocol import (
    Change,
    HaltAsked,
    LimitInForce,
    LimitsAsked,
    QueryAsked,
    ResumeAsked,
    StatusAsked,
)

_AS_JSON = click.option("--json", "as_json", is_flag=True, help="One line of JSON, as the bot said it.")
_REASON = click.option("--reason", required=True, metavar="TEXT", help="Why, for whoever looks later.")
_BY = click.option("--by", metavar="WHO", help="Who, beside the user whose shell this is.")


class _State(msgspec.Struct):
    state: str


class _Running(msgspec.Struct):
    """What of a status the exit code follows from."""

    breaker: _State
    safety_alive: bool


@click.command(epilog=bots.EXIT_CODES)
@bots.of_a_bot
@_AS_JSON
def status(*, name: str | None, state_dir: Path | None, timeout: float, as_json: bool) -> None:
    """What a bot does, earns and risks; without NAME a line for every bot that runs here.

    It is 0 only if all are ACTIVE and their rules are evaluated.
    """
    if name is None and state_dir is None:
        raise SystemExit(_all(timeout, as_json=as_json))
    answer = bots.asked(bots.folder_of(name, state_dir), StatusAsked(), timeout)
    if as_json:
        click.echo(bytes(answer.result))
    else:
        from tradewatch.cli.top import print_once

        print_once(answer.result)
    raise SystemExit(_code(answer.result))


def _all(timeout: float, *, as_json: bool) -> int:
    found = running()
    if not found and not as_json:
        raise bots.ended(bots.NOT_RUNNING, "no bot runs here")
    codes, statuses = [] if found else [bots.NOT_RUNNING], []
    for bot in found:
        try:
            answer = ask(bot.folder, StatusAsked(), timeout if bot.name else 0.1)
        except NotRunning:
            continue  # it ended meanwhile
        except (NotAllowed, Unanswered) as error:
            codes.append(bots.UNANSWERED)
            bots.say([f"Error: {error}"], err=True)
            continue
        if answer.error is not None:
            codes.append(bots.FAILED)
            bots.say([f"Error: {answer.bot}: {answer.error}"], err=True)
            continue
        codes.append(_code(answer.result))
        if as_json:
            statuses.append(answer.result)
        else:
            from tradewatch.cli.top import in_one_line

            bots.say([f"{answer.bot} {in_one_line(answer.result)}"])
    if as_json:
        click.echo(msgspec.json.encode(statuses))
    # A bot that does not answer is worse than one that is halted.
    return next((code for code in (bots.UNANSWERED, bots.FAILED, bots.HALTED) if code in codes), max(codes, default=0))


def _code(result: msgspec.Raw) -> int:
    now = msgspec.json.decode(result, type=_Running)
    if now.breaker.state != "ACTIVE":
        return bots.HALTED
    return 0 if now.safety_alive else bots.FAILED


@click.command(epilog=bots.EXIT_CODES)
@bots.of_a_bot
@_REASON
@_BY
@_AS_JSON
def halt(
    *, name: str | None, state_dir: Path | None, timeout: float, reason: str, by: str | None, as_json: bool
) -> None:
    """Refuse every new order of a bot from now on; cancels and reads pass. It outlives a restart.

    NAME may be left out where one bot runs.
    """
    _change(bots.folder_of(name, state_dir), HaltAsked(reason, by), timeout, as_json=as_json)


@click.command(epilog=bots.EXIT_CODES)
@bots.of_a_bot
@_REASON
@_BY
@_AS_JSON
def resume(
    *, name: str | None, state_dir: Path | None, timeout: float, reason: str, by: str | None, as_json: bool
) -> None:
    """Let the orders of a halted bot pass again.

    NAME may be left out where one bot runs.
    """
    _change(bots.folder_of(name, state_dir), ResumeAsked(reason, by), timeout, as_json=as_json)


def _change(folder: Path, request: HaltAsked | ResumeAsked, timeout: float, *, as_json: bool) -> None:
    try:
        answer = bots.asked(folder, request, timeout)
    except SystemExit as ended:
        if ended.code == bots.UNANSWERED:
            bots.say(["Whether it did as it was told is not known: ask for its status."], err=True)
        raise
    if as_json:
        click.echo(bytes(answer.result))
        return
    now = msgspec.json.decode(answer.result, type=Change)
    already = " already" if now.before == now.state else ""
    state = click.style(now.state, bold=True, fg="red" if now.state == "HALTED" else "green")
    click.echo(f"{answer.bot} is{already} {state}")
    lines = [f"by {now.by}: {now.reason}", f"since {bots.moment(now.since_ns)}"]
    if now.state == "HALTED":
        lines.append("confirmed" if now.confirmed else f"not confirmed yet: {now.not_confirmed}")
    if now.unknown:
        lines.append(f"{now.unknown} orders may or may not be at the venue: look at the account")
    bots.say(lines)


class _Element(msgspec.Struct):
    labels: dict[str, str]
    value: float | str


class _Value(msgspec.Struct):
    value: float | str | None
    elements: list[_Element]
    notes: list[str]


@click.command(epilog=f"{bots.EXIT_CODES}\n\b\nExample:\n  tradewatch query grid 'trading_portfolio_equity > 1000'\n")
@click.argument("words", nargs=-1, metavar="[NAME] EXPR")
@bots.reached
@_AS_JSON
def query(*, words: tuple[str, ...], state_dir: Path | None, timeout: float, as_json: bool) -> None:
    """The value of a PromQL expression now, on the bot's own series.

    Of metrics that rules read there is history, as long as the rules look back; of others the current value. An element
    a line; none where nothing matches, with the reason on standard error.
    """
    if len(words) not in (1, 2):
        raise click.UsageError("accepted: EXPR, or NAME and EXPR; quote the expression")
    folder = bots.folder_of(words[0] if len(words) == 2 else None, state_dir)
    answer = bots.asked(folder, QueryAsked(words[-1]), timeout)
    found = msgspec.json.decode(answer.result, type=_Value)
    bots.say((f"note: {note}" for note in found.notes), err=True)
    if as_json:
        click.echo(bytes(answer.result))
    elif found.value is not None:
        click.echo(found.value)
    else:
        bots.say(f"{_series(each.labels)} {each.value}" for each in found.elements)


def _series(labels: dict[str, str]) -> str:
    inner = ", ".join(
        f"{name}={msgspec.json.encode(value).decode()}" for name, value in labels.items() if name != "__name__"
    )
    return f"{labels.get('__name__', '')}{{{inner}}}"


class _Limits(msgspec.Struct):
    limits: list[LimitInForce]


@click.command(epilog=bots.EXIT_CODES)
@bots.of_a_bot
@_AS_JSON
def limits(*, name: str | None, state_dir: Path | None, timeout: float, as_json: bool) -> None:
    """The limits that a bot's rules compare with."""
    answer = bots.asked(bots.folder_of(name, state_dir), LimitsAsked(), timeout)
    if as_json:
        click.echo(bytes(answer.result))
        return
    for each in msgspec.json.decode(answer.result, type=_Limits).limits:
        default = "" if each.value == each.default else f", by default {_valued(each.default, each.unit)}"
        bots.say([f"{each.name:<16} {_valued(each.value, each.unit)}{default}: {each.meaning}"])


def _valued(value: float, unit: str) -> str:
    return f"{value * 100:g}%" if unit == "ratio" else f"{value:g} {unit}"
