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
    """`with held:` around work in the SDK or SQLite, by any number of threads at once; a fork waits for all of them.

    Nobody waits for another holder: an exporter of the application's that hangs must not keep a halt from the disk.
    """

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._holders = 0
        self._forking: int | None = None
        self._own = threading.local()

    def __enter__(self) -> None:
        """No fork from now on."""
        depth = getattr(self._own, "depth", 0)
        if not depth:
            with self._free:
                if self._forking is not None and self._forking != threading.get_ident():
                    self._free.wait_for(lambda: self._forking is None, _WAIT_S)
                self._holders += 1
        self._own.depth = depth + 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Forks may go on."""
        self._own.depth -= 1
        if not self._own.depth:
            with self._free:
                self._holders -= 1
                if self._forking is not None:
                    self._free.notify_all()

    def before(self) -> None:
        """A fork is about to happen, on this thread."""
        own = 1 if getattr(self._own, "depth", 0) else 0
        with self._free:
            self._free.wait_for(lambda: self._forking is None, _WAIT_S)
            self._forking = threading.get_ident()
            self._free.wait_for(lambda: self._holders <= own, _WAIT_S)

    def after_in_parent(self) -> None:
        """It has."""
        with self._free:
            self._forking = None
            self._free.notify_all()

    def after_in_child(self) -> None:
        """Nobody else is in the child that could hold the gate."""
        self._free = threading.Condition()
        self._forking = None
        self._holders = 1 if getattr(self._own, "depth", 0) else 0


held = Gate()
_in_child: list[Callable[[], object]] = []


def in_child(renew: Callable[[], object]) -> None:
    """Have something done in every forked child from now on, before any other code of the bot runs there."""
    _in_child.append(renew)


def after_in_child() -> None:
    """In every forked child; `tradewatch` itself has it called, so that it comes before what was loaded later."""
    held.after_in_child()
    for renew in list(_in_child):
        renew()


os.register_at_fork(before=held.before, after_in_parent=held.after_in_parent)
