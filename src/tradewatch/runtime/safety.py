"""The safety thread: drains, books, evaluates, halts. No asyncio, no network, no code of the bot.

It shares the interpreter with the bot, so whoever works on it calls `breathe` at least every 0.3 ms: a longer stretch
delays the bot's own wake-ups.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from tradewatch.runtime.failures import failures

_AFTER_A_FAILURE_S = 0.05
_STRETCH_NS = 200_000


def breathe() -> None:
    """Let the bot's threads run. Costs some 60 µs of sleep, since the kernel rounds a sleep of nothing up."""
    time.sleep(0)


class Stretch:
    """Work of many small steps: `step` after each of them breathes as soon as 0.2 ms have passed."""

    def __init__(self) -> None:
        self._until_ns = time.monotonic_ns() + _STRETCH_NS

    def step(self) -> None:
        """One more step is done."""
        if time.monotonic_ns() >= self._until_ns:
            breathe()
            self._until_ns = time.monotonic_ns() + _STRETCH_NS


class Wake:
    """Ends one thread's wait; a lock that is free while somebody has rung.

    One step of the interpreter each: a signal's handler may ring it too, wherever it came in between. `threading.Event`
    holds a lock of its own meanwhile, for which a handler that ends the process would wait in vain.
    """

    def __init__(self) -> None:
        self._rung = threading.Lock()
        self._rung.acquire()

    def set(self) -> None:
        """End the wait, or the next one."""
        if self._rung.locked():
            with suppress(RuntimeError):  # another thread has rung in between
                self._rung.release()

    def wait(self, seconds: float) -> bool:
        """Until somebody rings, `seconds` at most; whether somebody did. A later ring ends the next wait."""
        return self._rung.acquire(timeout=max(0.0, seconds))


class SafetyThread:
    """Calls `step` whenever `wake` is set, and at the latest when the last step asked to be called again.

    Args:
        step: does what is due and returns the real seconds until it wants to be called again.
        wake: set by the bot's threads when an order or a fill was written down.
    """

    def __init__(self, step: Callable[[], float], wake: Wake) -> None:
        self._step = step
        self._wake = wake
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="tradewatch-safety", daemon=True)
        self.cpu_ns = 0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, within_s: float) -> bool:
        """End after one last step; False where that took longer than `within_s`."""
        self._ending = True
        self._wake.set()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(within_s)
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        wait_s = 0.0
        while True:
            # What arrives during the step causes another one.
            self._wake.wait(wait_s)
            ending = self._ending
            wait_s = _AFTER_A_FAILURE_S
            with failures.kept("safety"):
                wait_s = self._step()
            self.cpu_ns = time.thread_time_ns()
            if ending:
                return
