"""`tradewatch status`, `halt`, `resume`, `query`, `limits`: on bots that run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tradewatch.cli import bots
from tradewatch.control.client import NotAllowed, NotRunning, Unanswered, ask, running

# As in tradewatch/__init__.py: the module typing is not loaded.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LONGEST_REASON = 4000
_NOT_KNOWN = "Whether it did as it was told is not known: ask for its status."


def status(arguments: Sequence[str], prog: str) -> int:
    """Of one bot all that is known, else a line for each."""
    parser = bots.Parser(
        prog,
        "What a bot does, earns and risks; without NAME a line for every bot of this user that runs.\n"
        "It is 0 only if all are ACTIVE and their rules are evaluated.",
    )
    parser.name()
    parser.add_argument(
        "--all", action="store_true", dest="everywhere",
        help="A line for every bot of the machine that this user may ask: other homes' too, for root other users'.",
    )  # fmt: skip
    parser.reached()
    parser.as_json()
    given = parser.read(arguments)
    if given.everywhere and (given.name is not None or given.state_dir is not None):
        parser.error("--all is for every bot; accepted without NAME and --state-dir")
    if given.name is None and given.state_dir is None:
        return _all(given.timeout, everywhere=given.everywhere, as_json=given.as_json)
    answer = bots.asked(bots.folder_of(given.name, given.state_dir), {"command": "status"}, given.timeout)
    with bots.understood(answer.bot):
        if given.as_json:
            bots.say_json(answer.result)
        else:
            from tradewatch.cli.top import print_once

            print_once(answer.result)
        return _code(answer.result)


def _all(timeout: float, *, everywhere: bool, as_json: bool) -> int:
    found = running(everywhere=everywhere)
    codes: list[int] = []
    statuses: list[Any] = []
    for bot in found:
        try:
            answer = ask(bot.folder, {"command": "status"}, timeout if bot.name else 0.1)
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
        try:
            with bots.understood(answer.bot):
                code = _code(answer.result)
                if as_json:
                    statuses.append(answer.result)
                else:
                    from tradewatch.cli.top import in_one_line

                    bots.say([f"{answer.bot} {in_one_line(answer.result)}"])
        except SystemExit:
            code = bots.FAILED
        codes.append(code)
    if as_json:
        bots.say_json(statuses)
    if not codes:
        raise bots.none_runs(None)
    # A bot that does not answer is worse than one that is halted.
    return next((code for code in (bots.UNANSWERED, bots.FAILED, bots.HALTED) if code in codes), 0)


def _code(now: Mapping[str, Any]) -> int:
    if now["breaker"]["state"] != "ACTIVE":
        return bots.HALTED
    return 0 if now["safety_alive"] else bots.FAILED


def halt(arguments: Sequence[str], prog: str) -> int:
    """Refuse every new order of a bot."""
    what = "Refuse every new order of a bot from now on; cancels and reads pass. It outlives a restart."
    return _change("halt", arguments, prog, what)


def resume(arguments: Sequence[str], prog: str) -> int:
    """Let the orders of a halted bot pass again."""
    return _change("resume", arguments, prog, "Let the orders of a halted bot pass again.")


def _change(command: str, arguments: Sequence[str], prog: str, what: str) -> int:
    parser = bots.Parser(prog, what)
    parser.name()
    parser.add_argument("--reason", required=True, metavar="TEXT", help="Why, for whoever looks later.")
    parser.add_argument("--by", metavar="WHO", help="Who, beside the user whose shell this is.")
    parser.reached()
    parser.as_json()
    given = parser.read(arguments)
    # A halt must pass, whatever was put into its reason; the bot keeps less of it.
    request = {"command": command, "reason": given.reason[:_LONGEST_REASON], "by": given.by}
    try:
        answer = bots.asked(bots.folder_of(given.name, given.state_dir), request, given.timeout)
    except SystemExit as ended:
        if ended.code == bots.UNANSWERED:
            bots.say([_NOT_KNOWN], err=True)
        raise
    except KeyboardInterrupt:
        bots.say([_NOT_KNOWN], err=True)
        raise
    try:
        with bots.understood(answer.bot):
            _say_change(answer.bot, answer.result, as_json=given.as_json)
    except SystemExit:
        bots.say([_NOT_KNOWN], err=True)
        raise
    return 0


def _say_change(bot: str, now: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        bots.say_json(now)
        return
    already = " already" if now["before"] == now["state"] else ""
    bots.say([f"{bot} is{already} {bots.coloured(now['state'])}"])
    lines = [f"by {now['by']}: {now['reason']}", f"since {bots.moment(now['since_ns'])}"]
    if now["state"] == "HALTED":
        lines.append("confirmed" if now["confirmed"] else f"not confirmed yet: {now['not_confirmed']}")
    if now["unknown"]:
        lines.append(f"{now['unknown']} orders may or may not be at the venue: look at the account")
    bots.say(lines)


def query(arguments: Sequence[str], prog: str) -> int:
    """The value of a PromQL expression."""
    parser = bots.Parser(
        prog,
        "The value of a PromQL expression now, on the bot's own series.\n\n"
        "Of metrics that rules read there is history, as long as the rules look back; of others the current value.\n"
        "An element a line; none where nothing matches, with the reason on standard error.",
        "example:\n  tradewatch query grid 'trading_portfolio_equity > 1000'\n",
    )
    parser.add_argument("words", nargs="*", metavar="[NAME] EXPR", help="NAME may be left out where one bot runs.")
    parser.reached()
    parser.as_json()
    given = parser.read(arguments)
    if len(given.words) not in (1, 2):
        parser.error("accepted: EXPR, or NAME and EXPR; quote the expression")
    folder = bots.folder_of(given.words[0] if len(given.words) == 2 else None, given.state_dir)
    answer = bots.asked(folder, {"command": "query", "expr": given.words[-1]}, given.timeout)
    with bots.understood(answer.bot):
        found = answer.result
        bots.say((f"note: {note}" for note in found["notes"]), err=True)
        if given.as_json:
            bots.say_json(found)
        elif found["value"] is not None:
            bots.say([str(found["value"])])
        else:
            bots.say(f"{_series(each['labels'])} {each['value']}" for each in found["elements"])
    return 0


def _series(labels: Mapping[str, str]) -> str:
    import json

    inner = ", ".join(
        f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in labels.items() if name != "__name__"
    )
    return f"{labels.get('__name__', '')}{{{inner}}}"


def limits(arguments: Sequence[str], prog: str) -> int:
    """The limits that a bot's rules compare with."""
    parser = bots.Parser(prog, "The limits that a bot's rules compare with.")
    parser.name()
    parser.reached()
    parser.as_json()
    given = parser.read(arguments)
    answer = bots.asked(bots.folder_of(given.name, given.state_dir), {"command": "limits"}, given.timeout)
    if given.as_json:
        bots.say_json(answer.result)
        return 0
    with bots.understood(answer.bot):
        for each in answer.result["limits"]:
            value, default, unit = each["value"], each["default"], each["unit"]
            otherwise = "" if value == default else f", by default {_valued(default, unit)}"
            bots.say([f"{each['name']:<16} {_valued(value, unit)}{otherwise}: {each['meaning']}"])
    return 0


def _valued(value: float, unit: str) -> str:
    return f"{value * 100:g}%" if unit == "ratio" else f"{value:g} {unit}"
