"""200 streams of 5,000 symbols over real sockets: what a message costs a bot, whether memory levels off, and whether a
call of the bot costs more beside them.

A server in a process of its own sends Binance's miniTicker messages to a ccxt.pro client over 50 connections, four
streams of 25 symbols each. The same bursts are taken in turns without tradewatch and with it, in one process; the
client's CPU time is of its own thread, so the safety thread's work is not in it. Then bursts go on, without and with
tradewatch, every symbol again and again: memory is that of the process after each burst, in the median of each quarter.

Last, the hot call of `benchmarks.call`: of clients in this process, whose watch has seen every symbol and has all
streams open, with a burst and a rest before each round, and in turns with it of the same bot in a process without any
stream.

    python -m benchmarks --only streams --quick
    python -m benchmarks.streams --json
"""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import tradewatch
from benchmarks import processes, turns
from benchmarks.figures import Figure, alone, compared
from benchmarks.growth import medians, resident_mb, rise
from benchmarks.listener import KINDS, Bot, watched
from benchmarks.processes import answer, started
from benchmarks.tickers import CONNECTIONS, EACH, STREAMS, SYMBOLS
from benchmarks.turns import program
from benchmarks.ways import RECORD, SPAN
from tradewatch.semconv.metrics import STREAM_CONNECTIONS
from tradewatch.telemetry.traffic import CHANNELS

# The line through the last half may rise by this: a reading differs from the next one by as much.
RISES_MB = 0.5
# Two processes of the very same program differ by a tenth.
UNCHANGED = 1.15
# Spans are made ten times a second.
SETTLED_S = 0.15
# Rounds of a call one after the other: what others take of the machine only adds.
QUICKEST_OF = 12


class Bursts:
    """Has the server send one after the other, each to its end, on a loop that stands still in between."""

    def __init__(self, server: subprocess.Popen[str], bot: Bot, runner: asyncio.Runner) -> None:
        self.sent = 0
        self._all_came = False
        self._server, self._bot, self._runner = server, bot, runner

    def one(self) -> None:
        """One message a stream, each told to the bot."""
        self._runner.run(self._send(1))

    def every_symbol(self) -> None:
        """A message a symbol while the bot is busy, if that never was; then one a stream, which tells it of all."""
        if not self._all_came:
            self._bot.idle.clear()
            self._runner.run(self._send(EACH))
            self._bot.idle.set()
            self._all_came = True
        self._bot.exchange.newUpdates = False
        self.one()
        self._bot.exchange.newUpdates = True

    async def _send(self, bursts: int) -> None:
        assert self._server.stdin is not None
        self._server.stdin.write(f"{json.dumps([self.sent + n for n in range(bursts)])}\n")
        self._server.stdin.flush()
        await asyncio.to_thread(answer, self._server)
        self.sent += bursts
        told = -1
        while self._bot.exchange.updates < self.sent * STREAMS or told != self._bot.told:
            told = self._bot.told
            await asyncio.sleep(0.01)

    def microseconds(self, bursts: int) -> float:
        """CPU of this thread a message."""
        gc.collect()
        began = time.thread_time_ns()
        for _ in range(bursts):
            self.one()
        return (time.thread_time_ns() - began) / bursts / STREAMS / 1_000

    def settled(self) -> float:
        """One, and the seconds in which the background threads work off what it left them."""
        self.one()
        time.sleep(SETTLED_S)
        return SETTLED_S

    def memory_mb(self, bursts: int) -> list[float]:
        """The median of each quarter of so many."""
        found: list[float] = []
        for _ in range(bursts):
            self.one()
            found.append(resident_mb())
        return medians(found, 4)


def prices(watch: Any) -> int:
    """How many symbols a watch has a price of."""
    return len(watch._safety._portfolio._prices._last)


def connections(watch: Any) -> int:
    """How many a watch says are open."""
    return sum(each.value for each in watch._traffic.readings() if each.metric == STREAM_CONNECTIONS)


def all_seen(watch: Any) -> None:
    """Wait until a watch knows every symbol: the safety thread books them."""
    ends = time.monotonic() + 20
    while (found := (prices(watch), connections(watch))) != (SYMBOLS, CONNECTIONS):
        if time.monotonic() > ends:
            raise RuntimeError(f"{found} symbols and connections were seen, of {SYMBOLS} and {CONNECTIONS}")
        time.sleep(0.02)


def messages(sending: Bursts, bot: Bot, folder: str, rounds: int, each: int) -> Figure:
    """What one costs, without tradewatch and with it."""
    sending.one()
    bare: list[float] = []
    ours: list[float] = []
    for n in range(rounds):
        bare.append(sending.microseconds(each))
        watch: Any = tradewatch.instrument(bot, port=None, state_dir=f"{folder}/{n}")
        ours.append(sending.microseconds(each))
        dropped = watch._journal.dropped
        tradewatch.uninstrument(bot)
    return compared(
        f"a message of {STREAMS} streams, {SYMBOLS:,} symbols",
        statistics.median(ours),
        "µs",
        "nothing",
        statistics.median(bare),
        "times",
        note=f"{sending.sent * STREAMS:,} messages, {bot.told:,} told to the bot, {dropped} records dropped",
    )


def memory(sending: Bursts, bot: Bot, folder: str, bursts: int) -> list[Figure]:
    """As messages go on."""
    bare = sending.memory_mb(bursts)
    tradewatch.instrument(bot, port=None, state_dir=f"{folder}/memory")
    ours = sending.memory_mb(bursts)
    tradewatch.uninstrument(bot)
    return [
        *(
            alone(
                f"memory in quarter {n} of {bursts * STREAMS:,} messages",
                now,
                "MB",
                note=f"without tradewatch, before: {before:.1f}",
            )
            for n, (now, before) in enumerate(zip(ours, bare, strict=True), 1)
        ),
        alone(
            "memory's rise over the last half",
            rise(ours[2:]),
            "MB",
            # Prices are new until every symbol has come.
            at_most=RISES_MB if bursts >= 2 * EACH else None,
            note=f"without tradewatch, before: {rise(bare[2:]):.2f}",
        ),
    ]


def kept(watch: Any) -> list[Figure]:
    """How many prices and series a watch has that has seen every symbol."""
    published = watch._safety.published
    series = len(published) + len(watch._cells.every())
    of_streams = sum(1 for each in published if each.metric.name.startswith("trading.stream."))
    return [
        alone("prices kept", prices(watch), "", at_most=SYMBOLS),
        alone("series of streams", of_streams, "", at_most=2 * len(CHANNELS) + 3, note=f"of {series} in all"),
    ]


def calls_beside(sending: Bursts, bot: Bot, other: processes.Bot, folder: str, rounds: int) -> list[Figure]:
    """The hot call beside all streams and symbols, and of the same bot in a process that has none."""
    found: list[Figure] = []
    for way in (RECORD, SPAN):
        watch = watched(bot, way, folder)
        other.does("watched", way)
        sending.every_symbol()
        all_seen(watch)
        calling: dict[str, Callable[[], float]] = {"a burst": sending.settled}
        for kind in KINDS:
            calling[f"{kind} here"] = bot.hot(kind, QUICKEST_OF)
            calling[f"{kind} there"] = partial(other.does, kind, QUICKEST_OF)
        ns = {name: min(values) for name, values in turns.in_turns(calling, rounds, 0.02).items()}
        found += kept(watch) if way == RECORD else []
        for kind in KINDS:
            what = f"hot call, {kind}, beside {STREAMS} streams: {way}"
            ours, theirs = ns[f"{kind} here"] / 1e3, ns[f"{kind} there"] / 1e3
            note = f"{SYMBOLS:,} symbols seen, {CONNECTIONS} connections open"
            found.append(compared(what, ours, "µs", "no stream", theirs, "times", at_most=UNCHANGED, note=note))
        tradewatch.uninstrument(bot)
    return found


def measure(quick: bool) -> list[Figure]:
    rounds, each, again, hot_rounds = (2, 1, 4, 3) if quick else (7, EACH, 16 * EACH, 20)
    with (
        started("-m", "benchmarks.tickers") as server,
        started("-m", "benchmarks.listener") as process,
        tempfile.TemporaryDirectory() as folder,
        asyncio.Runner() as runner,
    ):
        bot = Bot(f"ws://127.0.0.1:{answer(server)}/ws")
        loop = runner.get_loop()
        loops = [loop.create_task(bot.listen(n)) for n in range(STREAMS)]
        sending = Bursts(server, bot, runner)
        found = [
            messages(sending, bot, folder, rounds, each),
            *memory(sending, bot, folder, again),
            *calls_beside(sending, bot, processes.Bot(process), folder, hot_rounds),
        ]

        async def end() -> None:
            for each in loops:
                each.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            await bot.exchange.close()

        runner.run(end())
    return found


if __name__ == "__main__":
    program(measure, __doc__)
