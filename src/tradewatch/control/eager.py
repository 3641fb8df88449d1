"""While a request is served, the interpreter changes hands sooner than Python's 5 ms.

A halt waits for the interpreter some seven times (the connect, its own thread, the request, each step of the disk);
beside a bot that spins in Python each wait takes a whole switch interval.
"""

from __future__ import annotations

import sys
import threading
from types import TracebackType

_INTERVAL_S = 0.0005
# Python cuts to whole microseconds: what was read and is set again would lose one each time.
_HALF_US = 5e-7


class Eager:
    """`with` it, from any thread. What the bot has set comes back at the end, unless the bot changed it meanwhile."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._before = self._ours = 0.0

    def __enter__(self) -> None:
        """Sooner from now on."""
        with self._lock:
            self._count += 1
            if self._count == 1:
                self._before = sys.getswitchinterval()
                sys.setswitchinterval(min(self._before + _HALF_US, _INTERVAL_S))
                self._ours = sys.getswitchinterval()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """As before, if nobody else is served."""
        with self._lock:
            self._count -= 1
            if self._count == 0:
                self._restore()

    def forked(self) -> None:
        """In a forked child nobody is served."""
        self._lock = threading.Lock()
        if self._count:
            self._count = 0
            self._restore()

    def _restore(self) -> None:
        if sys.getswitchinterval() == self._ours:
            sys.setswitchinterval(self._before + _HALF_US)
