"""What the demo does: a paper exchange in a process of its own, a bot on this event loop, tradewatch on the bot."""

import asyncio
import contextlib
import json
import logging
import signal
import sys
import tempfile
import time
import urllib.request
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ccxt
from market_maker import MarketMaker, connect
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.text import Text
from summary import Observed, summary

import tradewatch
from tradewatch.breaker import ACTION, Action
from tradewatch.cli import live, spelled
from tradewatch.cli.lines import Lines
from tradewatch.runtime.clock import ScaledClock
from tradewatch.store import decode, rows_of

START, SPEED, OPENING = "2023-03-03T00:50Z", 200, "BTC=1,USDT=1000"
KEY, SECRET = "demo-key", "demo-secret"
DAILY_LOSS = 0.03
# Simulated seconds pass 200 times as often here, and so do the rules' evaluations: their share of a core is 200 times
# that of a bot in real time, and no reason for an alert.
OVERHEAD = 1.0
PLAIN_EVERY_S = 5 * 60.0
READY_S = 30.0


class RehearsalError(Exception):
    """The demo cannot go on; says what to do."""


@dataclass
class Heard(logging.Handler):
    """What the bot and its libraries log: the latest lines, and when an order was refused for the first time."""

    clock: Callable[[], int]
    lines: deque[tuple[int, str, str]] = field(default_factory=lambda: deque(maxlen=50))
    refused: tuple[int, str] | None = None

    def __post_init__(self) -> None:
        super().__init__()

    __hash__ = logging.Handler.__hash__

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record with its simulated time."""
        now_ns, message = self.clock(), " ".join(record.getMessage().split())
        self.lines.append((now_ns, record.levelname, message))
        if self.refused is None and "tradewatch refused" in message:
            self.refused = (now_ns, message)


Show = Callable[[tradewatch.Watch, Heard, Console], Coroutine[Any, Any, None]]


@contextlib.asynccontextmanager
async def paper_exchange(folder: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, Any]]]:
    """A paper exchange on a free port, and its ready line; ended at the end, whatever happens.

    Raises:
        RehearsalError: it did not start.
    """
    arguments = [
        "--json",
        "--start",
        START,
        "--speed",
        str(SPEED),
        "--balance",
        OPENING,
        "--account",
        f"{KEY}:{SECRET}",
    ]
    with (folder / "paper.err").open("wb") as complaints:
        # A session of its own: Ctrl-C is for the bot, which wants its exchange a moment longer.
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tradewatch.cli", "paper", *arguments,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=complaints, start_new_session=True,
        )  # fmt: skip
    try:
        assert process.stdout is not None
        try:
            ready = json.loads(await asyncio.wait_for(process.stdout.readline(), READY_S))
        except (TimeoutError, ValueError) as error:
            raise RehearsalError(f"the paper exchange did not start. {_complaint(folder)}") from error
        yield process, ready
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 3)
            except TimeoutError:
                process.kill()
                await process.wait()


def _complaint(folder: Path) -> str:
    said = (folder / "paper.err").read_text(errors="replace").strip()
    return (
        f"It said: {said[-800:]}" if said else "It said nothing; try: .venv/bin/python -m tradewatch.cli paper"
    ) + "\nThe demo needs a free port on 127.0.0.1 and what `make demo` installs into .venv."


async def rehearse(seconds: float | None, show: Show, console: Console) -> None:
    """The demo from start to summary; until a signal where `seconds` is None, or until `show` is through.

    Raises:
        RehearsalError: it could not be run; says what to do.
    """
    stop = asyncio.Event()
    _end_on_signals(stop)
    with tempfile.TemporaryDirectory(prefix="tradewatch-demo-") as folder:
        print("starting a paper exchange on this machine ...")
        async with paper_exchange(Path(folder)) as (process, ready):
            clock = ScaledClock(ready["start_ns"], ready["speed"], ready["origin_ns"])
            heard = _listen(clock)
            bot = MarketMaker(connect(KEY, SECRET, ready["url"]), pause_s=0.02)
            try:
                await bot.exchange.load_markets()
                watch = tradewatch.instrument(
                    bot, clock=clock, state_dir=Path(folder) / "state", port=0,
                    limits={"daily_loss": DAILY_LOSS, "overhead": OVERHEAD},
                )  # fmt: skip
                print(f"exchange at {ready['url']}, metrics at {watch.status().telemetry.endpoint}; the bot starts")
                running = asyncio.create_task(bot.run())
                watching = asyncio.create_task(show(watch, heard, console))
                ending = [asyncio.create_task(stop.wait()), running, asyncio.create_task(process.wait()), watching]
                await asyncio.wait(ending, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
                ended = {task for task in ending if task.done()}
                watching.cancel()
                (failure,) = await asyncio.gather(watching, return_exceptions=True)
                print("ending: the bot takes back its orders and reads its account once more ...")
                running.cancel()
                with contextlib.suppress(asyncio.CancelledError, TimeoutError):
                    await asyncio.wait_for(running, 10)
                if isinstance(failure, Exception):
                    raise failure
                if ending[2] in ended:
                    raise RehearsalError(f"the paper exchange ended on its own. {_complaint(Path(folder))}")
                observed = await _observe(watch, ready, heard)
                for task in ending:
                    task.cancel()
            except ccxt.BaseError as error:
                await bot.exchange.close()
                raise RehearsalError(f"the bot could not reach the paper exchange: {error}") from error
            finally:
                tradewatch.shutdown()
    console.print(summary(observed))


def _end_on_signals(stop: asyncio.Event) -> None:
    """The first SIGINT, SIGTERM or SIGHUP ends in good order; one that comes a second later or more ends at once."""
    loop, this = asyncio.get_running_loop(), asyncio.current_task()
    first: list[float] = []

    def arrived() -> None:
        if not first:
            first.append(time.monotonic())
            stop.set()
        elif time.monotonic() - first[0] > 1 and this is not None:
            this.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, arrived)


def _listen(clock: ScaledClock) -> Heard:
    heard = Heard(clock.now_ns)
    logging.getLogger().addHandler(heard)
    logging.getLogger("market_maker").setLevel(logging.INFO)
    return heard


async def in_lines(watch: tradewatch.Watch, heard: Heard, console: Console) -> None:
    """A line when something happens, and one every few simulated minutes."""
    lines = Lines(PLAIN_EVERY_S)
    while True:
        for each in lines.of(watch.status()):
            console.print(each, soft_wrap=True, markup=False)
        await asyncio.sleep(0.1)


async def on_screen(watch: tradewatch.Watch, heard: Heard, console: Console) -> None:
    """The live view, with the bot's own words under it where there is room."""
    with Live(get_renderable=lambda: Screen(watch.status(), heard), console=console, screen=True, refresh_per_second=5):
        await asyncio.Event().wait()


class Screen:
    """The live view of one moment, then as much of the bot's own log as there is room for."""

    def __init__(self, status: tradewatch.Status, heard: Heard) -> None:
        self._view = live.view(status, f"simulated, {SPEED} x")
        self._heard = heard

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = options.height or console.height
        kept = 5 if height >= 30 and options.max_width >= 60 else 0
        shown = list(Segment.split_lines(console.render(self._view, options.update(height=height - kept))))
        for line in shown:
            yield from (*line, Segment.line())
        said = list(self._heard.lines)[-min(12, height - len(shown) - 2) :] if kept else []
        if said:
            yield Text("\nthe bot's own log", "bold cyan")
        for at_ns, level, message in said:
            style = "dim" if level == "INFO" else "yellow"
            yield Text(f"{spelled.moment(at_ns)[11:]} {message}", style, no_wrap=True, overflow="ellipsis")


async def _observe(watch: tradewatch.Watch, ready: dict[str, Any], heard: Heard) -> Observed:
    """The last status, and what the exchange says of the same run."""
    books = await asyncio.to_thread(_read, f"{ready['url']}/paper/books")
    requests = json.loads(await asyncio.to_thread(_read, f"{ready['url']}/paper/requests"))
    status, attempts = watch.status(), None
    logged = sum(each["received_sim_ns"] >= status.since_ns for each in requests)
    for _ in range(20):
        # The last records reach the scrape endpoint a moment after the last call.
        await asyncio.sleep(0.1)
        status = watch.status()
        if status.telemetry.endpoint is None:
            break
        attempts = _attempts(await asyncio.to_thread(_read, status.telemetry.endpoint))
        if attempts == logged:
            break
    assert status.state_folder is not None
    actions = [(row.at_ns, decode(row, Action)) for row in rows_of(Path(status.state_folder), ACTION)]
    return Observed(status, json.loads(books), requests, attempts, ready, heard.refused, actions)


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  a URL of ours on 127.0.0.1
        return str(answer.read().decode())


def _attempts(scrape: str) -> int:
    """HTTP attempts that the scrape endpoint counts."""
    name = "trading_exchange_request_duration_seconds_count"
    return round(sum(float(line.rsplit(" ", 1)[1]) for line in scrape.splitlines() if line.startswith(name)))
