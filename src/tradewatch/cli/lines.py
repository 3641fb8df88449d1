"""A running bot where there is no terminal: plain lines of what happens."""

from __future__ import annotations

from tradewatch.cli.spelled import STATES, UNKNOWN, moment, money, numbers
from tradewatch.rules import RuleStatus
from tradewatch.status import Status


class Lines:
    """What has happened since the last look, and a line of the status every so often.

    Args:
        every_s: seconds of the bot's clock between those lines.
    """

    def __init__(self, every_s: float) -> None:
        self._every_ns = int(every_s * 1e9)
        self._before: Status | None = None
        self._next_ns = 0

    def of(self, now: Status) -> list[str]:
        """What to print at this look, each with the time of day."""
        lines, self._before = news(self._before, now), now
        if now.at_ns >= self._next_ns:
            self._next_ns = now.at_ns - now.at_ns % self._every_ns + self._every_ns
            lines.append(line(now))
        return [f"{moment(now.at_ns)[11:]} {each}" for each in lines]


def line(status: Status) -> str:
    """The status in one plain line."""
    books, breaker = status.portfolio, status.breaker
    loss, limit = books.daily_loss_ratio, status.limits.get("daily_loss")
    today = UNKNOWN if books.daily_pnl is None else f"{books.daily_pnl:+,.2f}"
    used = UNKNOWN if loss is None or not limit else f"{max(0.0, float(loss)) / limit:.0%}"
    return (
        f"{breaker.state:<6} equity {money(books.equity.value, books.currency)}"
        f"{' (stale)' if books.equity.stale else ''} · today {today}, {used} of the limit"
        f" · {sum(each.calls for each in status.operations)} calls · {sum(status.orders.values())} orders"
        f" · {books.fills} fills · {sum(status.errors.values())} errors"
    )


def news(before: Status | None, now: Status) -> list[str]:
    """What has happened between two statuses of one bot, as plain lines; `before` is None at the first look."""
    lines: list[str] = []
    breaker, earlier = now.breaker, before.breaker if before is not None else None
    if earlier is None or (breaker.state, breaker.since_ns) != (earlier.state, earlier.since_ns):
        if breaker.state == "HALTED":
            lines.append(f"HALTED by {breaker.by}: {breaker.reason}")
            lines.extend(f"  {each}" for each in numbers(breaker.evidence))
        elif earlier is not None:
            lines.append(f"ACTIVE again, by {breaker.by}: {breaker.reason}")
    was_confirmed = earlier is not None and earlier.state == "HALTED" and earlier.confirmed
    if breaker.state == "HALTED" and breaker.confirmed and not was_confirmed:
        lines.append("halt confirmed: it is on disk, and every order that had passed is answered or listed as unknown")
    if breaker.refused and not (earlier is not None and earlier.refused):
        lines.append("first order refused; cancels and reads pass")
    states = {rule.rule.name: rule.state for rule in before.rules} if before is not None else {}
    for rule in now.rules:
        was = states.get(rule.rule.name, "warming")
        if rule.state == "firing" != was:
            lines.append(f"rule {rule.rule.name} fires{_summary(rule)}")
        elif was == "firing" != rule.state:
            lines.append(f"rule {rule.rule.name} is {STATES[rule.state][2]} again")
        elif rule.state in ("failed", "no_data") and was != rule.state:
            lines.append(f"rule {rule.rule.name}: {rule.error or STATES[rule.state][2]}")
    known = before.errors if before is not None else {}
    lines.extend(f"first error of this kind: {error}" for error in now.errors if error not in known)
    notes = (*now.notes, *now.telemetry.notes)
    seen = (*before.notes, *before.telemetry.notes) if before is not None else ()
    return [*lines, *(f"note: {note}" for note in notes if note not in seen)]


def _summary(rule: RuleStatus) -> str:
    said = dict(rule.alerts[0].annotations).get("summary") if rule.alerts else None
    return f": {said}" if said else ""
