"""One look at process and host every ten seconds, on the service thread, in stretches of 0.1 ms.

A look costs 0.3 to 1 ms of CPU, with cold caches, and what the log files and processes of the settings add. What the
kernel does not tell has no reading, and where no look was taken of late there is none at all.
"""

from __future__ import annotations

import asyncio
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from tradewatch.health import host, proc, process
from tradewatch.health.loops import Loops
from tradewatch.health.pauses import GcPauses
from tradewatch.health.watched import LogFiles, WatchedProcesses
from tradewatch.runtime.failures import failures
from tradewatch.runtime.service import pause
from tradewatch.semconv import Reading
from tradewatch.semconv import attributes as a
from tradewatch.semconv import metrics as m
from tradewatch.settings.tree import Settings
from tradewatch.telemetry.cardinality import Cardinality

EVERY_S = 10.0
# Two looks that were not taken: what was seen before is no longer how things are.
_OLD_NS = round(3 * EVERY_S * 1e9)
_STRETCH_NS = 100_000

Part = Callable[[], Iterable[Reading | None]]


class System:
    """What is known of process and host; `run` is a job of the service thread.

    Args:
        folders: whose file systems are looked at.
        logs: the log files that settings name.
        processes: the processes that settings name.
        loops: the event loops of the bot's clients.
        pauses: those of the garbage collector.
        bounded: puts what there is no room for in metrics together.
        folder: /proc.
        blocks: /sys/block.
    """

    def __init__(
        self,
        *,
        folders: Iterable[Path],
        logs: LogFiles,
        processes: WatchedProcesses,
        loops: Loops,
        pauses: GcPauses,
        bounded: Callable[[Iterable[Reading]], Iterable[Reading]],
        folder: Path = proc.PROC,
        blocks: Path = host.BLOCKS,
    ) -> None:
        self.loops = loops
        self._logs, self._processes = logs, processes
        self._bounded = bounded
        self._seen: tuple[Reading, ...] = ()
        self._seen_ns = 0
        self._used: tuple[int, int] | None = None
        self._cpu: float | None = None
        self._parts: Sequence[Part] = (
            process.cpu,
            *(partial(part, folder) for part in (process.memory, process.life, process.files, process.disk)),
            pauses.look,
            *(partial(part, folder) for part in (host.cpu, host.memory, host.network, host.uptime)),
            partial(host.disks, folder, blocks),
            host.load,
            host.FileSystems(folders).room,
            logs.look,
            processes.look,
        )

    async def run(self, ending: asyncio.Event) -> None:
        """Look every ten seconds."""
        while not ending.is_set():
            self.loops.ask()
            await self.look()
            await pause(ending, EVERY_S)

    async def look(self) -> None:
        """Take one look; a part that fails is left out of it."""
        found: list[Reading] = []
        until_ns = time.monotonic_ns() + _STRETCH_NS
        for part in self._parts:
            try:
                for reading in part():
                    if reading is not None:
                        found.append(reading)
                    if time.monotonic_ns() >= until_ns:
                        await asyncio.sleep(0)
                        until_ns = time.monotonic_ns() + _STRETCH_NS
            except OSError:
                pass  # no such file here, or it is kept from us
            except Exception as error:
                failures.note("system", error)
        used = time.monotonic_ns(), time.process_time_ns()
        if self._used is not None:
            self._cpu = (used[1] - self._used[1]) / (used[0] - self._used[0])
        self._used = used
        self._seen = tuple(self._bounded(found))
        self._seen_ns = time.monotonic_ns()

    def readings(self) -> Iterator[Reading]:
        """What the last look saw, and the loops as they are now. Any thread."""
        yield from self._last()
        yield from self.loops.readings()

    @property
    def cpu(self) -> float | None:
        """What the process used between the last two looks, of one core; None before."""
        return self._cpu if self._holds() else None

    @property
    def memory_bytes(self) -> int | None:
        """What the bot's process has in RAM."""
        return next((int(each.value) for each in self._last() if each.metric is m.PROCESS_MEMORY), None)

    @property
    def log_files(self) -> dict[str, int | None]:
        """Sizes by path; None where one is missing."""
        return dict(self._logs.sizes) if self._holds() else dict.fromkeys(self._logs.sizes)

    @property
    def processes(self) -> dict[str, bool | None]:
        """Whether each runs; None where it cannot be told."""
        up = self._processes.up
        return up if self._holds() else dict.fromkeys(up)

    def _last(self) -> tuple[Reading, ...]:
        return self._seen if self._holds() else ()

    def _holds(self) -> bool:
        """Whether what was seen last is how things are."""
        return time.monotonic_ns() - self._seen_ns < _OLD_NS


def looked_at(
    settings: Settings,
    state: Path | None,
    loops: Callable[[], Iterable[tuple[str, AbstractEventLoop]]],
    pauses: GcPauses,
    cardinality: Cardinality,
) -> System:
    """The system of a bot with these settings; `state` is its folder, `loops` are those of its clients."""
    logs = settings.log_files or ()
    return System(
        folders=[Path("/"), Path(), *([state] if state is not None else []), *(Path(each).parent for each in logs)],
        logs=LogFiles(logs),
        processes=WatchedProcesses(settings.processes or (), settings.pid_files or ()),
        loops=Loops(loops, lambda name: cardinality.admit(a.LOOP.name, name)),
        pauses=pauses,
        bounded=cardinality.bounded,
    )
