"""How many calls a second of CPU carries from the bot to the collector, nothing dropped: tradewatch and the naive way.

A bot of each way, in a process of its own, reads tickers that come at once, as fast as it can; where its queue would
run over it waits, as it would for a venue. A figure is calls by the CPU time of the bot's process, all its threads
included, until the collector has counted every span. Where nobody wants spans, a call is carried when its record is
in tradewatch's books; prometheus_client stands beside it.

    python -m benchmarks --only delivery --quick
    python -m benchmarks.delivery --json
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from benchmarks.figures import Figure, alone, compared
from benchmarks.processes import Bot, bots
from benchmarks.turns import in_turns, program
from benchmarks.ways import CACHED, NAIVE, RECORD, SPAN

LEAST = 300_000
# So many calls may be on their way: less than what waits in each one's queue as it comes (2,048 and 16,384).
WAITING = {NAIVE: 1_500, SPAN: 8_000, RECORD: 8_000}


def measure(quick: bool) -> list[Figure]:
    rounds = 2 if quick else 5
    calls = {NAIVE: 4_000, SPAN: 8_000, RECORD: 20_000, CACHED: 40_000}
    if not quick:
        calls = {name: 2 * number for name, number in calls.items()}

    def turn(bot: Bot, name: str) -> Callable[[], Any]:
        # What sends nothing has nothing to wait for: its CPU time is that of the calls.
        if name == CACHED:
            return lambda: (bot.does("calls", calls[name]), calls[name], 0)
        return lambda: bot.does("burst", calls[name], WAITING[name])

    with bots(tuple(calls)) as there:
        turns = {name: turn(bot, name) for name, (bot, _) in there.items()}
        in_turns(turns, 1)
        found = in_turns(turns, rounds)
    rate = {name: statistics.median(calls[name] / spent[0] for spent in each) for name, each in found.items()}

    def lost(name: str) -> str:
        missing = rounds * calls[name] - sum(each[1] for each in found[name])
        told = "" if name == NAIVE else f"; {sum(each[2] for each in found[name]):,} counted as dropped"
        return f"{missing:,} of {rounds * calls[name]:,} calls did not arrive{told}"

    what, unit = "calls a CPU second, every span delivered", "/s"
    without = "calls a CPU second, metrics and record"
    return [
        alone(what, rate[SPAN], unit, at_least=LEAST, note=lost(SPAN)),
        compared(what, rate[SPAN], unit, NAIVE, rate[NAIVE], "above", note=f"there, {lost(NAIVE)}"),
        alone(without, rate[RECORD], unit, at_least=LEAST, note=lost(RECORD)),
        compared(without, rate[RECORD], unit, CACHED, rate[CACHED], "above", note="there, nothing is kept of a call"),
    ]


if __name__ == "__main__":
    program(measure, __doc__)
