"""tradewatch makes a trading bot observable and stoppable.

import tradewatch

watch = tradewatch.instrument(bot)   # every exchange call of the bot becomes spans and metrics
watch.status()                       # what it does, earns and risks
watch.halt("news")                   # the next order is refused
"""

from __future__ import annotations

import importlib
import os
import sys

# Not typing's: a command that halts a bot has no time to load that.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tradewatch.breaker import ResumeRefused
    from tradewatch.manual import counter, decision, gauge, histogram, span
    from tradewatch.mixin import Watched
    from tradewatch.registry import instrument, shutdown, uninstrument
    from tradewatch.rules import RuleFileError
    from tradewatch.settings.problems import SettingsError
    from tradewatch.status import Status
    from tradewatch.store import StoreInUse
    from tradewatch.watch import Watch

    __version__: str

__all__ = [
    "ResumeRefused",
    "RuleFileError",
    "SettingsError",
    "Status",
    "StoreInUse",
    "Watch",
    "Watched",
    "counter",
    "decision",
    "gauge",
    "histogram",
    "instrument",
    "shutdown",
    "span",
    "uninstrument",
]
_ROOMS = {
    "ResumeRefused": "breaker",
    "RuleFileError": "rules",
    "SettingsError": "settings.problems",
    "Status": "status",
    "StoreInUse": "store",
    "Watch": "watch",
    "Watched": "mixin",
    "counter": "manual",
    "decision": "manual",
    "gauge": "manual",
    "histogram": "manual",
    "instrument": "registry",
    "shutdown": "registry",
    "span": "manual",
    "uninstrument": "registry",
}


def __getattr__(name: str) -> Any:
    """The public names, loaded with the first one that is used: a program that only imports us pays nothing.

    `__version__` is read from the installed package.

    `OrderRefused` is made when ccxt is there: it is a subclass of ccxt's own `InvalidOrder`.
    """
    if name == "__version__":
        from importlib.metadata import version

        found = globals()[name] = version("tradewatch")
        return found
    if name in _ROOMS:
        found = globals()[name] = getattr(importlib.import_module(f"tradewatch.{_ROOMS[name]}"), name)
        return found
    if name == "OrderRefused":
        from tradewatch.instrumentation.ccxt import refused_class

        try:
            return refused_class()
        except KeyError:
            raise AttributeError("tradewatch.OrderRefused is there once ccxt is imported") from None
    raise AttributeError(f"module 'tradewatch' has no attribute {name!r}")


def _in_child() -> None:
    fork = sys.modules.get("tradewatch.runtime.fork")
    if fork is not None:
        fork.after_in_child()


# Such calls come in the order of their registration. A reader of metrics that an application makes after it imported us
# collects in a forked child from its own on: by then the locks that nobody would let go of are to be new.
os.register_at_fork(after_in_child=_in_child)
