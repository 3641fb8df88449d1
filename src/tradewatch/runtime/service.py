"""The service thread: one asyncio loop in a daemon thread, with supervised jobs for all that is not safety.

A job that raises is counted and started again, later each time; the others go on.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from tradewatch.runtime.failures import failures

_FIRST_RETRY_S = 1.0
_LAST_RETRY_S = 60.0
# Questions of `measure`: 15 s at the least.
_MOST_UNANSWERED = 3

Job = Callable[[asyncio.Event], Awaitable[None]]


class Service:
    """Runs jobs until it is stopped; each is handed an event that is set when it should finish.

    Args:
        jobs: by name; a job returns when it has finished after the event, never before.
        last: done on this thread when all jobs have ended, given the seconds that are left. (At interpreter exit Python
            starts no new thread, so what may hang is done on one that exists, and waited for as long as `stop` says.)
    """

    def __init__(self, jobs: Mapping[str, Job], last: Callable[[float], None]) -> None:
        self._jobs = dict(jobs)
        self._last = last
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Event | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tradewatch-service", daemon=True)
        self._stop_at = 0.0
        # As of the last `measure` that was answered, and how many were not since.
        self.cpu_ns = 0
        self._unanswered = 0

    def start(self) -> None:
        """Begin, and wait until the loop runs."""
        self._thread.start()
        self._ready.wait(5.0)

    def stop(self, within_s: float) -> bool:
        """Ask the jobs to finish; False where they took longer than `within_s`."""
        if self._thread.ident is None:
            # It never began: what it would have closed at its end is closed here.
            with failures.kept("service end"):
                self._last(within_s)
            return True
        self._stop_at = time.monotonic() + within_s
        if self._thread.is_alive():
            # An interrupt may have come as it began: nobody would end a loop that is not there yet.
            self._ready.wait(within_s)
        loop, ending = self._loop, self._ending
        if loop is not None and ending is not None and self._thread.is_alive():
            try:
                loop.call_soon_threadsafe(ending.set)
            except RuntimeError:
                return not self._thread.is_alive()  # the loop ended in between
            self._thread.join(max(0.0, self._stop_at - time.monotonic()))
        return not self._thread.is_alive()

    def measure(self) -> None:
        """Have `cpu_ns`, what the thread has used since it began, brought up to date soon.

        Where several of these got no answer, it is said: the thread is over, or does not return from what it called. By
        their number, since a process that was suspended has lost none of its own time.
        """
        if (loop := self._loop) is None:
            return
        if self._unanswered >= _MOST_UNANSWERED:
            failures.warn(
                "service",
                "the service thread stands still: spans, metrics and fills for the disk wait; an exporter or a "
                "processor of the application's that does not return holds it",
            )
        self._unanswered += 1
        with suppress(RuntimeError):  # the loop is at its end
            loop.call_soon_threadsafe(self._measure)

    def _measure(self) -> None:
        self.cpu_ns = time.thread_time_ns()
        self._unanswered = 0

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        with failures.kept("service"):
            asyncio.run(self._main())
        with failures.kept("service end"):
            self._last(self._stop_at - time.monotonic())

    async def _main(self) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        self._ready.set()
        await asyncio.gather(*(self._supervise(name, job) for name, job in self._jobs.items()))

    async def _supervise(self, name: str, job: Job) -> None:
        assert self._ending is not None
        wait_s = _FIRST_RETRY_S
        while True:
            try:
                await job(self._ending)
                return
            except (Exception, SystemExit) as error:  # an exporter of the application's may raise that, too
                failures.note(name, error)
            if self._ending.is_set():
                return
            await pause(self._ending, wait_s)
            wait_s = min(wait_s * 2, _LAST_RETRY_S)


class Bell:
    """Lets another thread end a job's pause."""

    def __init__(self) -> None:
        self._waiting: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self._rung = False

    def ring(self) -> None:
        """End the pause, or the next one. Cheap where the job is not pausing; safe on any thread."""
        self._rung = True
        if (waiting := self._waiting) is not None:
            self._waiting = None
            with suppress(RuntimeError):  # the loop is at its end
                waiting[0].call_soon_threadsafe(waiting[1].set)

    async def pause(self, ending: asyncio.Event, seconds: float) -> None:
        """Wait, but no longer than until the end or until `ring`."""
        event = asyncio.Event()
        self._waiting = asyncio.get_running_loop(), event
        if not self._rung:
            waits = [asyncio.ensure_future(each.wait()) for each in (ending, event)]
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
        self._waiting, self._rung = None, False


async def pause(ending: asyncio.Event, seconds: float) -> None:
    """Wait, but no longer than until the end."""
    try:
        async with asyncio.timeout(seconds):
            await ending.wait()
    except TimeoutError:
        pass
