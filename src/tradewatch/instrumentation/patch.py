"""Replacing methods of classes: wrap points, the wrappers around them (sync and async), and the undo.

`wrapped` goes around any method, `measured` around one that is an ordinary call: the hot path of every client library.
"""

from __future__ import annotations

import functools
import inspect
from bisect import bisect_left
from collections.abc import Callable
from time import monotonic_ns, thread_time_ns
from types import FunctionType
from typing import Any, Protocol

from opentelemetry.context import Context

from tradewatch.runtime.failures import failures
from tradewatch.runtime.scrub import label
from tradewatch.telemetry.cell import BOUNDS_NS
from tradewatch.telemetry.current import CallSpan
from tradewatch.telemetry.live import NO_MORE, NOWHERE, LiveCall
from tradewatch.telemetry.otel import SPAN_KEY, get_context, set_context
from tradewatch.telemetry.probe import finish, get_current, put_back, set_current

_ORIGINAL = "__tradewatch_original__"


class Refused(Exception):  # noqa: N818  it names what happened
    """What `begin` raises to refuse a call; `error` is what the bot is to see."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class WrapPoint(Protocol):
    """What is done around one method. Whatever it raises is kept from the bot, but for `Refused` from `begin`."""

    def begin(self, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any | None:
        """State for the other two, or None to leave this call alone."""
        ...

    def succeed(self, client: Any, state: Any, result: Any) -> None:
        """The method returned."""
        ...

    def fail(self, client: Any, state: Any, error: BaseException) -> None:
        """The method raised, or its coroutine was cancelled or closed."""
        ...


class CallPoint(WrapPoint, Protocol):
    """A wrap point around a method that most of the time is an ordinary call of its client, and never sends an order.

    A client that is watched has an attribute `_tradewatch` with `operations` by name. While no call of the client is
    under way, the wrapper itself begins and ends one; `begin` and `succeed` are for all the rest.
    """

    @property
    def operation(self) -> str:
        """What its calls are counted as."""
        ...

    @property
    def subject_at(self) -> int | None:
        """At which place among the arguments (self is the first) the market is named; None where it is not."""
        ...

    @property
    def observe(self) -> Callable[[LiveCall, tuple[Any, ...], dict[str, Any], Any], None] | None:
        """Copies what is wanted of an answer: of call, arguments by place (self is the first) and by name, answer."""
        ...


def original_of(function: Any) -> Any | None:
    """What a wrapper of ours stands for, also where somebody has wrapped ours; None for any other function."""
    return getattr(function, _ORIGINAL, None)


def failed(fail: Callable[[Any, Any, BaseException], None], client: Any, state: Any, error: BaseException) -> None:
    """Tell a wrap point that its method raised."""
    try:
        fail(client, state, error)
    except Exception as bug:
        failures.note("instrumentation", bug)


def _is_ours(function: Any) -> bool:
    """Whether this is a wrapper of ours itself: what others put around it shows the same attributes."""
    return type(function) is FunctionType and vars(function).get(_ORIGINAL, function) is vars(function).get(
        "__wrapped__"
    )


def _called(original: Any) -> Callable[..., Any]:
    """`original` as a function of the client. What an agent has put there finds its instance by being bound."""
    if type(original) is FunctionType:
        return original

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return original.__get__(self, type(self))(*args, **kwargs)

    return call


def wrapped(original: Any, point: WrapPoint) -> Any:
    """`original` with `point` around it, a coroutine function where `original` is one."""
    begin, succeed, fail = point.begin, point.succeed, point.fail
    stands_for, is_async = original, inspect.iscoroutinefunction(original)
    original = _called(original)

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        error = None
        try:
            state = begin(self, args, kwargs)
        except Refused as refused:
            error = refused.error
        except Exception as bug:
            failures.note("instrumentation", bug)
            state = None
        if error is not None:
            # Raised here, so that the bot's traceback and its exception's context show nothing of how it came about.
            raise error
        if state is None:
            return original(self, *args, **kwargs)
        try:
            result = original(self, *args, **kwargs)
        except BaseException as raised:
            failed(fail, self, state, raised)
            raise
        try:
            succeed(self, state, result)
        except Exception as bug:
            failures.note("instrumentation", bug)
        return result

    async def call_async(self: Any, *args: Any, **kwargs: Any) -> Any:
        error = None
        try:
            state = begin(self, args, kwargs)
        except Refused as refused:
            error = refused.error
        except Exception as bug:
            failures.note("instrumentation", bug)
            state = None
        if error is not None:
            # Raised here, so that the bot's traceback and its exception's context show nothing of how it came about.
            raise error
        if state is None:
            return await original(self, *args, **kwargs)
        try:
            result = await original(self, *args, **kwargs)
        except BaseException as raised:
            failed(fail, self, state, raised)
            raise
        try:
            succeed(self, state, result)
        except Exception as bug:
            failures.note("instrumentation", bug)
        return result

    return standing_for(stands_for, call_async if is_async else call)


def measured(original: Any, point: CallPoint) -> Any:
    """`original` with an ordinary call around it: what `wrapped` does with `point`, all in one piece.

    The two wrappers are the same but for `await`; each is written out, since every function between would cost a tenth
    of the whole. `self` stays among the arguments: they are handed on as they came.
    """
    otherwise = wrapped(original, point)
    stands_for, is_async = original, inspect.iscoroutinefunction(original)
    original = _called(original)
    name, at, observe, fail = point.operation, point.subject_at, point.observe, point.fail

    def call(*args: Any, **kwargs: Any) -> Any:
        live = made = within = None
        began_ns = 0
        try:
            operation = args[0]._tradewatch.operations[name]
        except Exception:  # its first call, or nobody's client
            operation = None
        if (
            operation is not None
            and ((outer := get_current()) is None or outer.end_ns)
            and ((spans := operation.spans) is None or not spans.eager)
        ):
            try:
                if operation.sampled:
                    began_ns = thread_time_ns()
                symbol = None
                if at is not None:
                    symbol = args[at] if len(args) > at else kwargs.get("symbol")
                    if type(symbol) is not str:
                        symbol = label(symbol)
                parent = NOWHERE if spans is None else get_context()
                made = LiveCall(operation, symbol, parent, monotonic_ns())
                if spans is not None:
                    own = CallSpan(made)
                    within = set_context(Context({**parent, SPAN_KEY: own} if parent else {SPAN_KEY: own}))
                set_current(made)
                live = made
                if began_ns:
                    began_ns -= thread_time_ns()
            except BaseException as bug:
                live = None
                if made is not None:
                    # A signal's handler may raise anywhere: what never began must not stay current.
                    made.end_ns = made.start_ns
                put_back(None, within)
                if not isinstance(bug, Exception):
                    raise
                failures.note("instrumentation", bug)
        if live is None:
            return otherwise(*args, **kwargs)
        try:
            result = original(*args, **kwargs) if kwargs else original(*args)
        except BaseException as raised:
            put_back(None, within)
            failed(fail, args[0], live, raised)
            live.end_ns = live.end_ns or monotonic_ns()
            raise
        end_ns = monotonic_ns()
        try:
            if began_ns:
                began_ns += thread_time_ns()
            if within is not None:
                put_back(None, within)
            if observe is not None:
                try:
                    observe(live, args, kwargs, result)
                except Exception as bug:
                    failures.note("instrumentation", bug)
            live.end_ns = end_ns
            # As `Cell.count` does, without the call.
            took_ns = end_ns - live.start_ns
            operation.counts[bisect_left(BOUNDS_NS, took_ns)] += 1
            operation.sum_ns[0] += took_ns
            if live.asked is not None:
                finish(live)
            if live.more is NO_MORE and len(operation.reads) < operation.journal.room:
                operation.reads.append(live)
            else:
                operation.journal.append(live)
            if began_ns:
                operation.measured(thread_time_ns() - began_ns)
        except BaseException as bug:
            live.end_ns = live.end_ns or end_ns
            if not isinstance(bug, Exception):
                raise
            failures.note("instrumentation", bug)
        return result

    async def call_async(*args: Any, **kwargs: Any) -> Any:
        live = made = within = None
        began_ns = 0
        try:
            operation = args[0]._tradewatch.operations[name]
        except Exception:  # its first call, or nobody's client
            operation = None
        if (
            operation is not None
            and ((outer := get_current()) is None or outer.end_ns)
            and ((spans := operation.spans) is None or not spans.eager)
        ):
            try:
                if operation.sampled:
                    began_ns = thread_time_ns()
                symbol = None
                if at is not None:
                    symbol = args[at] if len(args) > at else kwargs.get("symbol")
                    if type(symbol) is not str:
                        symbol = label(symbol)
                parent = NOWHERE if spans is None else get_context()
                made = LiveCall(operation, symbol, parent, monotonic_ns())
                if spans is not None:
                    own = CallSpan(made)
                    within = set_context(Context({**parent, SPAN_KEY: own} if parent else {SPAN_KEY: own}))
                set_current(made)
                live = made
                if began_ns:
                    began_ns -= thread_time_ns()
            except BaseException as bug:
                live = None
                if made is not None:
                    # A signal's handler may raise anywhere: what never began must not stay current.
                    made.end_ns = made.start_ns
                put_back(None, within)
                if not isinstance(bug, Exception):
                    raise
                failures.note("instrumentation", bug)
        if live is None:
            return await otherwise(*args, **kwargs)
        try:
            result = await original(*args, **kwargs) if kwargs else await original(*args)
        except BaseException as raised:
            put_back(None, within)
            failed(fail, args[0], live, raised)
            live.end_ns = live.end_ns or monotonic_ns()
            raise
        end_ns = monotonic_ns()
        try:
            if began_ns:
                began_ns += thread_time_ns()
            if within is not None:
                put_back(None, within)
            if observe is not None:
                try:
                    observe(live, args, kwargs, result)
                except Exception as bug:
                    failures.note("instrumentation", bug)
            live.end_ns = end_ns
            # As `Cell.count` does, without the call.
            took_ns = end_ns - live.start_ns
            operation.counts[bisect_left(BOUNDS_NS, took_ns)] += 1
            operation.sum_ns[0] += took_ns
            if live.asked is not None:
                finish(live)
            if live.more is NO_MORE and len(operation.reads) < operation.journal.room:
                operation.reads.append(live)
            else:
                operation.journal.append(live)
            if began_ns:
                operation.measured(thread_time_ns() - began_ns)
        except BaseException as bug:
            live.end_ns = live.end_ns or end_ns
            if not isinstance(bug, Exception):
                raise
            failures.note("instrumentation", bug)
        return result

    return standing_for(stands_for, call_async if is_async else call)


def standing_for(original: Any, call: Any) -> Any:
    """`call` with the names of `original`, known from now on as what stands for it."""
    wrapper = functools.wraps(original)(call)
    setattr(wrapper, _ORIGINAL, original)
    return wrapper


class Patches:
    """The replacements that are in force."""

    def __init__(self) -> None:
        self._done: list[tuple[type, str, Any]] = []
        self._touched: dict[type, None] = {}

    def wrap(self, owner: type, name: str, point: WrapPoint) -> Any:
        """Wrap `owner.name`, which `owner` itself defines, unless it is wrapped; returns what stands there now."""
        return self._replace(owner, name, lambda original: wrapped(original, point))

    def measure(self, owner: type, name: str, point: CallPoint) -> Any:
        """The same for a method that is an ordinary call."""
        return self._replace(owner, name, lambda original: measured(original, point))

    def _replace(self, owner: type, name: str, around: Callable[[Any], Any]) -> Any:
        original = vars(owner)[name]
        if original_of(original) is not None:
            return original
        wrapper = around(original)
        self.put(owner, name, wrapper)
        return wrapper

    def put(self, owner: type, name: str, wrapper: Any) -> None:
        """Set an attribute that `owner` itself defines to a wrapper made elsewhere."""
        self._done.append((owner, name, vars(owner)[name]))
        self.touch(owner)
        setattr(owner, name, wrapper)

    def touch(self, owner: type) -> None:
        """Note a class whose own code may copy our wrappers to other names."""
        self._touched[owner] = None

    def undo(self) -> None:
        """Put back every attribute, copies under other names included.

        Where somebody else has wrapped ours since, theirs stays: it calls ours, which calls the original.
        """
        for owner, name, original in reversed(self._done):
            if _is_ours(vars(owner).get(name)):
                setattr(owner, name, original)
        for owner in self._touched:
            for name, value in list(vars(owner).items()):
                if _is_ours(value):
                    setattr(owner, name, original_of(value))
        self._done.clear()
        self._touched.clear()
