"""What a real call of an async ccxt client costs, with export on, beside the other ways and nothing.

A bot of each way runs in a process of its own and reads a ticker of one paper exchange over loopback. They take
turns. A figure is the CPU time of a bot's process a call, all its threads included: what is exported within half a
second belongs to the calls. Spans go over HTTP to a collector that decodes and counts them; of tradewatch that is two
a call (the call and its HTTP attempt, with its status), of the naive way one.

    python -m benchmarks --only real --quick
    python -m benchmarks.real --json
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

from benchmarks.figures import Figure, compared
from benchmarks.processes import Bot, bots, venue
from benchmarks.turns import in_turns, program, spread
from benchmarks.ways import CACHED, LABELS, NAIVE, NOTHING, RECORD, SPAN

WAYS = (NOTHING, CACHED, LABELS, NAIVE, RECORD, SPAN)
MOST_ADDED = 0.03


def measure(quick: bool) -> list[Figure]:
    # Records wait 0.05 s, spans 0.1 s for others and 0.1 s for their request: all of a round is over in 0.35.
    rounds, calls, settled_s = (3, 150, 0.35) if quick else (9, 500, 0.5)
    has_threads = {NAIVE, RECORD, SPAN}

    def turn(name: str, bot: Bot) -> Callable[[], float]:
        return lambda: bot.does("real", calls, settled_s if name in has_threads else 0)

    with venue() as url, bots(WAYS, url=url) as there:
        turns = {name: turn(name, bot) for name, (bot, _) in there.items()}
        in_turns(turns, 1)
        before = {name: collector.arrivals.count() for name, (_, collector) in there.items()}
        found = in_turns(turns, rounds)
        spans = {
            name: (collector.arrivals.count() - before[name]) / rounds / calls for name, (_, collector) in there.items()
        }
    # The share is taken round by round: a machine that slows down does it to neighbours in a round alike.
    bare = found[NOTHING]
    us, noise = statistics.median(bare), spread(bare)
    figures = []
    for name in (RECORD, SPAN, NAIVE, CACHED, LABELS):
        added = statistics.median(one / other for one, other in zip(found[name], bare, strict=True)) - 1
        ours = name in {RECORD, SPAN}
        note = f"bare rounds differ by ±{noise:.1%}"
        if name in {SPAN, NAIVE}:
            note = f"{spans[name]:.2f} spans a call arrived"
        figures.append(
            compared(
                f"real async call, CPU: {name}" + (", exported" if name in {SPAN, NAIVE} else ""),
                us * (1 + added),
                "µs",
                NOTHING,
                us,
                "added",
                at_most=MOST_ADDED if ours else None,
                note=note,
            )
        )
    return figures


if __name__ == "__main__":
    program(measure, __doc__)
