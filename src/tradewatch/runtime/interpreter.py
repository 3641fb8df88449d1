"""The interpreter that tradewatch needs."""

from __future__ import annotations

import sys


def refuse_without_lock() -> None:
    """Refuse a free-threaded interpreter.

    The gate, the cells and the journal rely on the interpreter's lock instead of locks of their own. Without it an
    order could pass a gate that closes, and be missed by the halt that waits for it.

    Raises:
        RuntimeError: the interpreter runs without its lock.
    """
    is_locked = getattr(sys, "_is_gil_enabled", None)
    if is_locked is not None and not is_locked():
        raise RuntimeError(
            "tradewatch cannot watch this process: Python runs without its global interpreter lock, on which the "
            "gate's guarantee rests. Start it with PYTHON_GIL=1, or use a build that has the lock"
        )
