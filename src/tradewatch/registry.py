"""The bots that this process watches: the one piece of global state, and the functions that change it."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import msgspec
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from tradewatch import given
from tradewatch.instrumentation.ccxt import Ccxt
from tradewatch.model import Clock
from tradewatch.runtime import fork
from tradewatch.runtime.failures import describe, failures
from tradewatch.runtime.interpreter import refuse_without_lock
from tradewatch.settings import sources
from tradewatch.signals import Signals
from tradewatch.store import StoreInUse
from tradewatch.telemetry.gauges import Gauges
from tradewatch.telemetry.logs import Logs
from tradewatch.watch import Watch

_lock = threading.RLock()
# By the identity of the bot, which is kept alive as long as it is watched; with the settings that it is watched by.
_watches: dict[int, tuple[Any, Watch, dict[str, Any]]] = {}
_at_end: list[Callable[[], None]] = []


class _Process:
    """What a program without a bot object is watched with: see `watch_process`."""

    settings: Callable[[], given.InForce] | None = None
    watch: Watch | None = None


_process = _Process()


def _made(client: Any) -> None:
    """A client that the bot makes while it runs belongs to the bot that is watched; of several, to the first."""
    with _lock:
        # In a forked child the parent's watch is there for its gate alone, unless one of the child's own is to come.
        watches = [watch for _, watch, _ in _watches.values() if not (watch.forked and _process.settings)]
    if watches:
        watches[0].adopt(client, "made later", found=False)


def _called(client: Any) -> None:
    """The first call of a client that nobody watches: where the process is to be watched, that begins now."""
    with _lock:
        watched = any(not watch.forked for _, watch, _ in _watches.values())
        if not watched and _process.settings is not None:
            _begin_process(_process.settings, _process.watch)
        _made(client)


_ccxt = Ccxt(_made, _called)
_gauges = Gauges()
_logs = Logs()


def instrument(
    bot: Any,
    *,
    config: str | os.PathLike[str] | None = None,
    profile: str | None = None,
    name: str | None = None,
    state_dir: str | os.PathLike[str] | None = None,
    account: str | None = None,
    currency: str | None = None,
    limits: Mapping[str, float] | None = None,
    rules: Sequence[str | os.PathLike[str]] | None = None,
    port: int | msgspec.UnsetType | None = msgspec.UNSET,
    log_files: Sequence[str | os.PathLike[str]] | None = None,
    processes: Sequence[str] | None = None,
    pid_files: Sequence[str | os.PathLike[str]] | None = None,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    clients: Sequence[Any] = (),
    strategy: str | None = None,
    executors: Sequence[Any] = (),
    clock: Clock | None = None,
) -> Watch:
    """Watch a bot: find its exchange clients, see every call of them, and arm the gate that a halt closes.

    A second call with the same bot returns the same `Watch`, if it is given the same settings or none. In a program
    that is run by `opentelemetry-instrument` the first call takes over from the watch of the process: its clients, and
    its halt where it is halted; and so it does in a forked child from the watch of the parent.

    >>> import ccxt
    >>> class Grid:
    ...     def __init__(self):
    ...         self.exchange = ccxt.binance({"apiKey": "...", "secret": "..."})
    >>> bot = Grid()
    >>> watch = tradewatch.instrument(bot, limits={"daily_loss": 0.02}, port=None)
    >>> [client.path for client in watch.status().clients]
    ['bot.exchange']

    Settings come from a profile, a file, the environment (`TRADEWATCH_*`) and these arguments; the later one wins. All
    of them are in docs/configuration.md, and an argument that is None is not given, `port` aside.

    Args:
        bot: the object that holds the clients; a client itself, a module or a list will do as well.
        config: a settings file, YAML or JSON; what `TRADEWATCH_CONFIG` names unless given. SIGHUP reads it again.
        profile: which defaults are in force: default, production, development or testing.
        name: the bot's name, for its state folder and as `service.name`; its class's unless given.
        state_dir: where halts, fills and the day's start are kept; `~/.local/state/tradewatch/<name>` unless given.
        account: the account's name in telemetry, with the venue's behind it: `account="main"` is `main-binance` on
            Binance; a salted hash of the API key unless given.
        currency: what equity is shown in; the quote currency of the first market seen unless given.
        limits: limits by name, such as `{"daily_loss": 0.02}`; docs/rules.md lists them.
        rules: rule files in Prometheus's format that replace the default rules.
        port: of the scrape endpoint on 127.0.0.1; 0 takes a free one, None serves none; 9464 unless set.
        log_files: log files whose size is told.
        processes: other programs to look after, by name.
        pid_files: the same by the files that they write their process id into.
        tracer_provider: the application's, where it is not the global one. It is never shut down.
        meter_provider: likewise.
        clients: exchange clients to watch from the start beside those that are found on the bot.
        strategy: the strategy's name, on the span of each call and order.
        executors: what sends the bot's orders, as objects or bound methods: their calls are spans with the client's
            calls under them. Found by themselves on attributes named executor, trader, broker or order_manager.
        clock: simulated time, for rehearsals.

    Returns:
        The watch: `status()`, `halt()`, `resume()`.

    Raises:
        tradewatch.SettingsError: a ValueError; what is wrong in any source, one line each: file and line or variable,
            setting, value, and what is accepted; also a limit that no rule reads.
        ValueError: an impossible clock, client or executor; or a bot that is watched already, with other settings.
        tradewatch.StoreInUse: another bot, here or in another process, has this name or state folder.
        tradewatch.RuleFileError: a rule file that does not load; says file, line, column and what is accepted.
        RuntimeError: a free-threaded interpreter, on which a halt could be missed.
    """
    refuse_without_lock()
    arguments = {
        "profile": profile,
        "name": name,
        "state_dir": state_dir,
        "account": account,
        "currency": currency,
        "limits": limits,
        "rules": rules,
        "port": port,
        "log_files": log_files,
        "processes": processes,
        "pid_files": pid_files,
        "strategy": strategy,
    }
    # As they are compared with those of a second call, None where nothing was given.
    told = {
        **{key: sources.plain(value) for key, value in arguments.items()},
        "config": None if config is None else os.path.abspath(config),
        "state_dir": None if state_dir is None else os.path.abspath(state_dir),
        "limits": sources.plain(limits) or None,
        "port": None if port is msgspec.UNSET else "none" if port is None else port,
        "tracer_provider": tracer_provider,
        "meter_provider": meter_provider,
        "clients": tuple(map(id, clients)) or None,
        "executors": tuple(executors) or None,
        "clock": clock,
    }
    with _lock:
        known = _watches.get(id(bot))
        before = _process.watch or (known[1] if known is not None else None)
        if known is not None and not known[1].forked and known[1] is not _process.watch:
            other = [key for key, value in told.items() if value is not None and value != known[2][key]]
            if other:
                raise ValueError(
                    f"this bot is watched already, with another {', '.join(other)}; leave out what is to stay, or call "
                    "tradewatch.uninstrument(bot) first"
                )
            return known[1]
        layers = sources.read(config=config, environ=os.environ, arguments=given.told(arguments))
        chosen = given.in_force(layers)
        parts = {
            "tracer_provider": tracer_provider,
            "meter_provider": meter_provider,
            "clients": clients,
            "executors": executors,
            "clock": clock,
        }
        if before is not None and not before.forked:
            # Lets go of the folder and the port. Its gates stay on its clients until they have those of the new one.
            before.stop(at_exit=True)
        try:
            watch = _begin(bot, chosen, told, before, **parts)
        except BaseException:
            # What the caller got wrong must not leave the process without a watch.
            if _process.settings is not None:
                _begin_process(_process.settings, before)
            raise
        _process.settings = _process.watch = None
        return watch


def watch_process(settings: Callable[[], given.InForce]) -> None:
    """Watch the process itself, from the first call of an exchange client on; for programs without a bot object.

    An `instrument` of a bot takes over, whenever it comes.

    Args:
        settings: asked for at that first call. It says itself what of them is wrong, and raises nothing.
    """
    with _lock:
        if not _watches:
            _process.settings = settings
            _ccxt.install()


def leave_process() -> None:
    """Undo `watch_process`; bots that were instrumented by themselves stay watched."""
    with _lock:
        _process.settings = None
        bot = next((bot for bot, watch, _ in _watches.values() if watch is _process.watch), None)
        if not _watches:
            _ccxt.undo()
    if bot is not None:
        uninstrument(bot)


def at_end(last: Callable[[], None]) -> None:
    """Have something done at the end of the process, when every watch has stopped."""
    _at_end.append(last)
    atexit.unregister(_at_exit)
    atexit.register(_at_exit)


def first() -> Watch | None:
    """The watch of the bot that has been watched longest, in this process."""
    # Read without the lock, from wherever the bot tells something: a dict that changes meanwhile is asked again.
    while _watches:
        with suppress(RuntimeError):
            return next((watch for _, watch, _ in _watches.values() if not watch.forked), None)
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


def _begin(bot: Any, chosen: given.InForce, told: dict[str, Any], before: Watch | None, **parts: Any) -> Watch:
    """Watch `bot` from now on, with the clients and the halt of the watch that was there before."""
    watch = Watch(bot, _ccxt, _gauges, _logs, _leave, chosen=chosen, **parts)
    for key, (_, known, _) in list(_watches.items()):
        if known is before:
            del _watches[key]
    _watches[id(bot)] = (bot, watch, told)
    try:
        _ccxt.install()
        _logs.install()
        if before is not None:
            watch.take_over(before)
        watch.start()
        _end_cleanly()
    except BaseException:
        # An interrupt, or a thread that cannot be had: half a watch would be taken for a whole one the next time.
        _watches.pop(id(bot), None)
        watch.stop()
        if not _watches and _process.settings is None:
            _ccxt.undo()
            _logs.undo()
        raise
    return watch


def _begin_process(settings: Callable[[], given.InForce], before: Watch | None) -> None:
    bot = sys.modules["__main__"]
    # Whatever goes wrong: the bot's call goes on, and is not made to wait for another try each time.
    _process.settings = None
    try:
        chosen = settings()
        try:
            _process.watch = _begin(bot, chosen, {}, before)
        except StoreInUse as used:
            # A process of the same bot, its parent for one: two cannot keep one state, but one halt must hold in both.
            failures.warn("autoload", f"{used} Until then that one's halts hold here too, and nothing is kept of this.")
            _process.watch = _begin(bot, chosen, {}, before, follows=used.path)
    except Exception as error:
        failures.warn("autoload failed", f"THIS PROCESS IS NOT WATCHED and no rule can halt it: {describe(error)}")
        failures.note("autoload", error)
        if before is not None:
            before.hold_again()
    else:
        _process.settings = settings


def _leave(watch: Watch) -> None:
    """`uninstrument` by the watch; one that is over already, or was taken over, is left alone."""
    with _lock:
        bot = next((bot for bot, known, _ in _watches.values() if known is watch), None)
    if bot is not None:
        uninstrument(bot)


def uninstrument(bot: Any) -> None:
    """Stop watching a bot, and put back every attribute of its clients' classes once no bot is watched.

    Its orders pass from then on, also those of a halted bot: nothing is left that could refuse them.

    >>> bot = [ccxt.kraken()]
    >>> watch = tradewatch.instrument(bot, name="kraken", port=None)
    >>> tradewatch.uninstrument(bot)
    """
    with _lock:
        known = _watches.pop(id(bot), None)
        if known is not None:
            _process.settings = None
            _process.watch = None if known[1] is _process.watch else _process.watch
    if known is not None:
        try:
            known[1].stop()
        finally:
            with _lock:
                # Looked at only now: while this one stopped, another bot may have come.
                if not _watches:
                    _ccxt.undo()
                    _signals.let_go()
                    _logs.undo()


def shutdown() -> None:
    """Stop watching every bot. Takes two seconds at most for each, whatever the collector does.

    >>> watch = tradewatch.instrument([ccxt.kraken()], name="kraken", port=None)
    >>> tradewatch.shutdown()
    """
    with _lock:
        bots = [bot for bot, _, _ in _watches.values()]
    leave_process()
    for bot in bots:
        with failures.kept("shutdown"):
            uninstrument(bot)


def _at_exit() -> None:
    """Send and mark what there is, but leave every gate as it is: the bot's threads run until the process is gone."""
    with _lock:
        watches = [watch for _, watch, _ in _watches.values()]
    # An interrupt ends one of them alone.
    with ExitStack() as ending:
        for end in _at_end:
            ending.callback(_kept, end)
        for watch in reversed(watches):
            ending.callback(_kept, partial(watch.stop, at_exit=True))
        _at_end.clear()


def _kept(end: Callable[[], object]) -> None:
    with failures.kept("shutdown"):
        end()


def _end_cleanly() -> None:
    """Have the end of the process marked clean and the last telemetry sent: at exit, and on SIGTERM.

    A handler of the bot is left alone: it decides what SIGTERM means, and the exit that follows is ours to use. Where
    there is none, the process still ends by SIGTERM, a moment later.
    """
    atexit.unregister(_at_exit)
    atexit.register(_at_exit)
    _signals.take(rereads=any(watch.settings.rereads for _, watch, _ in _watches.values()))


def _reread() -> None:
    """Read the settings of every bot again, each by itself."""
    with _lock:
        watches = [watch for _, watch, _ in _watches.values() if not watch.forked]
    for watch in watches:
        watch.settings.reread()


def _in_child() -> None:
    """A forked child has no threads of ours, and the store is its parent's: it ends as it would without tradewatch.

    Its gates stay as they were at the fork, so that a child of a halted bot sends no orders either. It is watched once
    it is instrumented, or calls an exchange where the process is watched; what was halted stays halted then.
    """
    global _lock  # noqa: PLW0603  a thread that is not there any more may have held it
    _lock = threading.RLock()
    _ccxt.forked()
    _gauges.forked()
    _logs.forked()
    for _, watch, _ in _watches.values():
        watch.fork(let_go=watch is _process.watch and _process.settings is not None)
    _signals.let_go()


_signals = Signals(_at_exit, _reread)
fork.in_child(_in_child)
