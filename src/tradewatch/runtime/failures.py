"""The one place where tradewatch's own failures end: counted by place, logged once a minute at most, never raised.

Tests set `failures.strict`, so that a failure of ours fails the test that met it.
"""

from __future__ import annotations

import logging
import threading
import time

from tradewatch.runtime import fork
from tradewatch.runtime.scrub import scrubber

_log = logging.getLogger("tradewatch")
_LOG_EVERY_S = 60.0
_READ = 4_000
_args_of = BaseException.__dict__["args"].__get__
_SHOWN = 500
_LARGEST = 10**60


def describe(error: BaseException) -> str:
    """One scrubbed line that names an exception.

    Read from its arguments alone: an exception's own `__str__` may raise, block, or print the request that it wraps.
    """
    said = ", ".join(
        str(a)[:_READ] for a in _args_of(error) if type(a) in (str, float) or (type(a) is int and abs(a) < _LARGEST)
    )
    name = scrubber.value(type(error).__name__)
    # Scrubbed before it is cut: half of a secret would not be known as one.
    # Half a surrogate pair could not be exported.
    return f"{name}: {scrubber.text(said.encode('utf-8', 'replace').decode())[:_SHOWN]}" if said else name


class Kept:
    """Holds no state of a block, so one object serves all blocks of a place, on all threads. 0.15 µs a block."""

    __slots__ = ("_failures", "_where")

    def __init__(self, failures: Failures, where: str) -> None:
        self._failures = failures
        self._where = where

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        """Swallow an Exception; what ends the thread or the call (KeyboardInterrupt, CancelledError) passes."""
        # By the type that was raised: `isinstance` would ask the exception for its `__class__`.
        if error is not None and kind is not None and issubclass(kind, Exception):
            self._failures.note(self._where, error)
            return True
        return False


class Failures:
    """Counts by place, for the metric `tradewatch.job.failures` and for `Watch.status()`."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.strict = False
        self._logged: dict[str, float] = {}
        self._renew()
        fork.in_child(self._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()

    def note(self, where: str, error: BaseException) -> None:
        """Count a failure of ours at `where`, and log it unless that place logged within the last minute.

        Raises:
            BaseException: the failure itself, only where `strict` is set.
        """
        if self.strict:
            raise error
        with self._lock:
            self.counts[where] = self.counts.get(where, 0) + 1
            now = time.monotonic()
            last = self._logged.get(where)
            if last is not None and now - last < _LOG_EVERY_S:
                return
            self._logged[where] = now
        try:
            what = describe(error)
        except Exception:  # the scrubber itself may be what failed: then nothing of the text may be shown
            what = type(error).__name__
        _log.warning(
            "%s failed: %s (the bot is not affected; repeats are counted, not logged, for a minute)", where, what
        )

    def warn(self, where: str, message: str) -> None:
        """Say something about our own state, once a minute at most for each `where`."""
        with self._lock:
            now = time.monotonic()
            last = self._logged.get(where)
            if last is not None and now - last < _LOG_EVERY_S:
                return
            self._logged[where] = now
        _log.warning("%s", scrubber.text(message))

    def kept(self, where: str) -> Kept:
        """`with failures.kept("place"):` runs a block whose failures end here."""
        return Kept(self, where)


failures = Failures()
