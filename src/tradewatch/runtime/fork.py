"""Forks: a gate that keeps them out while our threads hold locks of others, and what a child does with what it has.

A child has the memory of its parent but only the thread that forked: a lock that another thread held stays held there
for ever. Locks of ours are made anew in the child. Those of the OpenTelemetry SDK and of SQLite cannot be, so our
threads hold the gate while they may hold one, and a fork waits for the gate.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

# A thread of ours that takes longer than this inside the SDK must not stop the bot from forking.
_WAIT_S = 1.0


class Gate:
    """`with held:` around work in the SDK or SQLite. Reentrant; 0.1 µs."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._forking: int | None = None

    def __enter__(self) -> None:
        """No fork from now on."""
        self._lock.acquire()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Forks may go on."""
        self._lock.release()

    def before(self) -> None:
        """A fork is about to happen, on this thread."""
        if self._lock.acquire(timeout=_WAIT_S):
            self._forking = threading.get_ident()

    def after_in_parent(self) -> None:
        """It has."""
        if self._forking == threading.get_ident():
            self._forking = None
            self._lock.release()

    def after_in_child(self) -> None:
        """Nobody else is in the child that could hold the gate."""
        self._lock = threading.RLock()
        self._forking = None


held = Gate()
_in_child: list[Callable[[], object]] = []


def in_child(renew: Callable[[], object]) -> None:
    """Have something done in every forked child from now on, before any other code of the bot runs there."""
    _in_child.append(renew)


def _after_in_child() -> None:
    held.after_in_child()
    for renew in list(_in_child):
        renew()


os.register_at_fork(before=held.before, after_in_parent=held.after_in_parent, after_in_child=_after_in_child)
