"""The bots that this process watches: the one piece of global state, and the three functions that change it."""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from tradewatch.instrumentation.ccxt import Ccxt
from tradewatch.model import Clock
from tradewatch.runtime.failures import failures
from tradewatch.runtime.interpreter import refuse_without_lock
from tradewatch.telemetry.gauges import Gauges
from tradewatch.telemetry.logs import Logs
from tradewatch.watch import Watch

_PORT = 9464
_SIGTERM_S = 2.5

_lock = threading.RLock()
# By the identity of the bot, which is kept alive as long as it is watched; with the settings that it is watched by.
_watches: dict[int, tuple[Any, Watch, dict[str, Any]]] = {}


def _made(client: Any) -> None:
    """A client that the bot makes while it runs belongs to the bot that is watched; of several, to the first."""
    with _lock:
        first = next(iter(_watches.values()), None)
    if first is not None:
        first[1].adopt(client, "made later", found=False)


_ccxt = Ccxt(_made)
_gauges = Gauges()
_logs = Logs()


def instrument(
    bot: Any,
    *,
    name: str | None = None,
    state_dir: str | os.PathLike[str] | None = None,
    account: str | None = None,
    currency: str | None = None,
    limits: Mapping[str, float] | None = None,
    rules: Sequence[str | os.PathLike[str]] | None = None,
    port: int = _PORT,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    executors: Sequence[Any] = (),
    clock: Clock | None = None,
) -> Watch:
    """Watch a bot: find its exchange clients, see every call of them, and arm the gate that a halt closes.

    A second call with the same bot returns the same `Watch`, if it is given the same settings or none.

    Args:
        bot: the object that holds the clients; a client itself, a module or a list will do as well.
        name: the bot's name, for its state folder and as `service.name`; its class's unless given.
        state_dir: where halts, fills and the day's start are kept; `~/.local/state/tradewatch/<name>` unless given.
        account: the account's name in telemetry, with the venue's behind it: `account="main"` is `main-binance` on
            Binance; a salted hash of the API key unless given.
        currency: what equity is shown in; the quote currency of the first market seen unless given.
        limits: limits by name that replace the defaults, such as `{"daily_loss": 0.02}`; docs/rules.md lists them.
        rules: rule files in Prometheus's format that replace the default rules.
        port: of the scrape endpoint on 127.0.0.1; 0 takes a free one.
        tracer_provider: the application's, where it is not the global one. It is never shut down.
        meter_provider: likewise.
        executors: what sends the bot's orders, as objects or bound methods: their calls are spans with the client's
            calls under them. Found by themselves on attributes named executor, trader, broker or order_manager.
        clock: simulated time, for rehearsals.

    Returns:
        The watch: `status()`, `halt()`, `resume()`.

    Raises:
        ValueError: a limit that there is none of, or an impossible value, name, port or executor; or a bot that is
            watched already, with other settings.
        tradewatch.StoreInUse: another bot, here or in another process, has this name or state folder.
        tradewatch.RuleFileError: a rule file that does not load; says file, line, column and what is accepted.
        RuntimeError: a free-threaded interpreter, on which a halt could be missed.
    """
    refuse_without_lock()
    settings = {
        "name": name,
        "state_dir": None if state_dir is None else os.path.abspath(state_dir),
        "account": account,
        "currency": currency,
        "limits": dict(limits) if limits else None,
        "rules": None if rules is None else [os.path.abspath(file) for file in rules],
        "port": None if port == _PORT else port,
        "tracer_provider": tracer_provider,
        "meter_provider": meter_provider,
        "executors": tuple(executors) or None,
        "clock": clock,
    }
    with _lock:
        known = _watches.get(id(bot))
        if known is not None and not known[1].forked:
            other = [key for key, value in settings.items() if value is not None and value != known[2][key]]
            if other:
                raise ValueError(
                    f"this bot is watched already, with another {', '.join(other)}; leave out what is to stay, or call "
                    "tradewatch.uninstrument(bot) first"
                )
            return known[1]
        watch = Watch(
            bot,
            _ccxt,
            _gauges,
            _logs,
            name=name,
            state_dir=state_dir,
            account=account,
            currency=currency,
            limits=limits,
            rule_files=rules,
            port=port,
            tracer_provider=tracer_provider,
            meter_provider=meter_provider,
            executors=executors,
            clock=clock,
        )
        if known is not None:
            known[1].stop()
        _watches[id(bot)] = (bot, watch, settings)
        _ccxt.install()
        _logs.install()
        watch.start()
        _end_cleanly()
        return watch


def first() -> Watch | None:
    """The watch of the bot that has been watched longest."""
    # Read without the lock, from wherever the bot tells something: a dict that changes meanwhile is asked again.
    while _watches:
        with suppress(RuntimeError, StopIteration):
            watch = next(iter(_watches.values()))[1]
            return None if watch.forked else watch
    return None


def watch_of(bot: Any) -> Watch:
    """The watch of this bot.

    Raises:
        KeyError: it is not watched.
    """
    known = _watches.get(id(bot))
    if known is None:
        raise KeyError(f"{type(bot).__name__} is not watched")
    return known[1]


def uninstrument(bot: Any) -> None:
    """Stop watching a bot, and put back every attribute of its clients' classes once no bot is watched.

    Its orders pass from then on, also those of a halted bot: nothing is left that could refuse them.
    """
    with _lock:
        known = _watches.pop(id(bot), None)
    if known is not None:
        known[1].stop()
        with _lock:
            # Looked at only now: while this one stopped, another bot may have come.
            if not _watches:
                _ccxt.undo()
                _let_sigterm_go()
                _logs.undo()


def shutdown() -> None:
    """Stop watching every bot. Takes two seconds at most for each, whatever the collector does."""
    with _lock:
        bots = [bot for bot, _, _ in _watches.values()]
    for bot in bots:
        with failures.kept("shutdown"):
            uninstrument(bot)


def _at_exit() -> None:
    """Send and mark what there is, but leave every gate as it is: the bot's threads run until the process is gone."""
    with _lock:
        watches = [watch for _, watch, _ in _watches.values()]
    for watch in watches:
        with failures.kept("shutdown"):
            watch.stop(at_exit=True)


def _end_cleanly() -> None:
    """Have the end of the process marked clean and the last telemetry sent: at exit, and on SIGTERM.

    A handler of the bot is left alone: it decides what SIGTERM means, and the exit that follows is ours to use. Where
    there is none, the process still ends by SIGTERM, a moment later.
    """
    atexit.unregister(_at_exit)
    atexit.register(_at_exit)
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_sigterm)


def _let_sigterm_go() -> None:
    """Put the default back where our handler still stands; only the main thread can."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is _on_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _in_child() -> None:
    """A forked child has no threads of ours, and the store is its parent's: it ends as it would without tradewatch.

    Its gates stay as they were at the fork, so that a child of a halted bot sends no orders either.
    """
    global _lock  # noqa: PLW0603  a thread that is not there any more may have held it
    _lock = threading.RLock()
    for _, watch, _ in _watches.values():
        watch.fork()
    _let_sigterm_go()


os.register_at_fork(after_in_child=_in_child)


def _on_sigterm(signum: int, frame: FrameType | None) -> None:
    # On a thread of its own: the signal may have interrupted the main thread while that held one of our locks.
    ending = threading.Thread(target=_at_exit, name="tradewatch-sigterm", daemon=True)
    ending.start()
    ending.join(_SIGTERM_S)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
