"""What SIGTERM and SIGHUP do in a program that has no handler of its own for them: end cleanly, read settings again.

A handler of the bot is left alone. Only the main thread can put one in or take one out.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

_WAIT_S = 2.5


class Signals:
    """Ours, where there is none.

    Args:
        end: what is to be done before the process ends.
        reread: what is to be done when settings are to be read again.
    """

    def __init__(self, end: Callable[[], None], reread: Callable[[], None]) -> None:
        self._end = end
        self._reread = reread
        self._had_terminal = False

    def take(self, *, rereads: bool) -> None:
        """Put ours in where there is none; SIGHUP's only where there is something to read again."""
        if threading.current_thread() is not threading.main_thread():
            return
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._on_sigterm)
        if rereads and hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
            self._had_terminal = _terminal()
            signal.signal(signal.SIGHUP, self._on_sighup)

    def let_go(self) -> None:
        """Put the defaults back where ours still stand."""
        if threading.current_thread() is not threading.main_thread():
            return
        for name, ours in (("SIGTERM", self._on_sigterm), ("SIGHUP", self._on_sighup)):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) == ours:
                signal.signal(number, signal.SIG_DFL)

    def _on_sigterm(self, signum: int, frame: FrameType | None) -> None:
        # On a thread of its own: the signal may have interrupted the main thread while that held one of our locks.
        ending = threading.Thread(target=self._end, name="tradewatch-signal", daemon=True)
        ending.start()
        ending.join(_WAIT_S)
        signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)

    def _on_sighup(self, signum: int, frame: FrameType | None) -> None:
        # A terminal that was closed means what it means without us: nobody sits before this bot any more.
        if self._had_terminal and not _terminal():
            self._on_sigterm(signum, frame)
        else:
            threading.Thread(target=self._reread, name="tradewatch-signal", daemon=True).start()


def _terminal() -> bool:
    """Whether the process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK))
    except OSError:
        return False
    return True
