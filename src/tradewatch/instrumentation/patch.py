"""Replacing methods of classes: wrap points, the wrappers around them (sync and async), and the undo.

`wrapped` goes around any method, `measured` around one that is an ordinary call: the hot path of every client library.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from inspect import CO_VARARGS, CO_VARKEYWORDS
from time import monotonic_ns, thread_time_ns  # noqa: F401  in the text below
from types import CodeType, FunctionType
from typing import Any, Protocol

from tradewatch.runtime.failures import failures
from tradewatch.runtime.scrub import label  # noqa: F401  in the text below
from tradewatch.telemetry.cell import BUCKETS, STEP_NS, UP_NS  # noqa: F401  in the text below
from tradewatch.telemetry.current import CallSpan  # noqa: F401  in the text below
from tradewatch.telemetry.live import NO_MORE, NOWHERE, LiveCall  # noqa: F401  in the text below
from tradewatch.telemetry.otel import SPAN_KEY, get_context, reset_context, set_context  # noqa: F401  in the text below
from tradewatch.telemetry.probe import finish, get_current, put_back, set_current  # noqa: F401  in the text below

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
        """The method raised, or its coroutine was cancelled or closed; told again where a signal's handler raised."""
        ...


class CallPoint(WrapPoint, Protocol):
    """A wrap point around a method that most of the time is an ordinary call of its client, and never sends an order.

    A client that is watched has an attribute `_tradewatch` with `operations` by name. While no call of the client is
    under way, the wrapper itself begins and ends one, and what is called within one is part of it; `begin` and
    `succeed` are for all the rest.
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
    """Tell a wrap point that its method raised; again where a signal's handler raised meanwhile."""
    try:
        fail(client, state, error)
    except Exception as bug:
        failures.note("instrumentation", bug)
    except BaseException:
        fail(client, state, error)
        raise


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


# The wrappers, as they are for coroutines; for functions `await` and `async` are left out. Text, so that each is
# written once for both, and the second has the very parameters of the method that it stands for: to pack and unpack
# them would take a tenth of the whole. PARAMETERS and the other words in capitals are put in by `_made`. Tracebacks
# show the lines that stand here.
_WRAPPED_AT = sys._getframe().f_lineno + 1
_WRAPPED = """
def make(original, begin, succeed, fail):
    async def call(self, *args, **kwargs):
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
        except BaseException as raised:
            # A signal's handler may raise anywhere: what is over must not stay current.
            failed(fail, self, state, raised)
            raise
        return result

    return call
"""

_MEASURED_AT = sys._getframe().f_lineno + 1
_MEASURED = """
def make(original, otherwise, name, observe, fail):
    async def call(PARAMETERS):
        live = within = began_ns = None
        try:
            operations, outer = CLIENT._tradewatch.operations, get_current()
            is_part = outer is not None and not outer.end_ns and outer.operation.probe.operations is operations
            operation = None if is_part else operations[name]
        except Exception:  # its first call, or nobody's client
            operation, is_part = None, False
        if is_part:
            return await original(ARGUMENTS)
        if operation is not None:
            try:
                spans = operation.spans
                if (outer is None or outer.end_ns) and (spans is None or not spans.eager):
                    if operation.sampled:
                        began_ns = thread_time_ns()
                    subject = SUBJECT
                    if subject is not None and type(subject) is not str:
                        subject = label(subject)
                    if spans is None:
                        live = LiveCall(operation, subject, NOWHERE, monotonic_ns())
                    else:
                        parent = get_context()
                        live = LiveCall(operation, subject, parent, monotonic_ns())
                        own = CallSpan(live)
                        # A `Context` is a dict that cannot be written to; to make one takes four times as long.
                        within = set_context({**parent, SPAN_KEY: own} if parent else {SPAN_KEY: own})
                    set_current(live)
                    if began_ns is not None:
                        began_ns -= thread_time_ns()
            except BaseException as bug:
                if live is not None:
                    # A signal's handler may raise anywhere: what never began must not stay current.
                    live.end_ns = live.start_ns
                    live = None
                put_back(None, within)
                if not isinstance(bug, Exception):
                    raise
                failures.note("instrumentation", bug)
        if live is None:
            return await otherwise(ARGUMENTS)
        try:
            result = await original(ARGUMENTS)
            end_ns = monotonic_ns()
        except BaseException as raised:
            put_back(None, within)
            failed(fail, CLIENT, live, raised)
            live.end_ns = live.end_ns or monotonic_ns()
            raise
        try:
            if began_ns is not None:
                began_ns += thread_time_ns()
            if within is not None:
                try:
                    reset_context(within)
                except ValueError:  # as in `put_back`
                    pass
            if observe is not None:
                try:
                    observe(live, PLACED, NAMED, result)
                except Exception as bug:
                    failures.note("instrumentation", bug)
            live.end_ns = end_ns
            # As `Cell.count` does, without the call.
            took_ns = end_ns - live.start_ns
            try:
                operation.counts[BUCKETS[(took_ns + UP_NS) // STEP_NS]] += 1
            except IndexError:
                operation.counts[-1] += 1
            operation.sum_ns[0] += took_ns
            if live.asked is not None:
                finish(live)
            reads = operation.reads
            if live.more is NO_MORE and len(reads) < operation.journal.room:
                reads.append(live)
            else:
                operation.journal.append(live)
            if began_ns is not None:
                operation.measured(thread_time_ns() - began_ns)
        except BaseException as bug:
            live.end_ns = live.end_ns or end_ns
            if not isinstance(bug, Exception):
                put_back(None, within)
                failed(fail, CLIENT, live, bug)
                raise
            failures.note("instrumentation", bug)
        return result

    return call
"""


@functools.cache
def _made(source: str, line: int, is_async: bool, places: int | None, subject_at: int | None) -> Callable[..., Any]:
    """What makes a wrapper of `source`, for a function or a coroutine function with so many parameters.

    `places` is None for one with any parameters. Names are given to them by `_named_as`.
    """
    placed = [f"given_{n}" for n in range(places or 0)]
    given = ", ".join(placed)
    if places is None:
        found = f'args[{subject_at}] if len(args) > {subject_at} else kwargs.get("symbol")'
        put = ("*args, **kwargs", "*args, **kwargs", "args[0]", found, "args", "kwargs")
    else:
        put = (given, given, placed[0], placed[subject_at or 0], f"({given},)", "{}")
    for what, by in zip(("PARAMETERS", "ARGUMENTS", "CLIENT", "SUBJECT", "PLACED", "NAMED"), put, strict=True):
        source = source.replace(what, "None" if what == "SUBJECT" and subject_at is None else by)
    if not is_async:
        source = source.replace("async ", "").replace("await ", "")
    made: dict[str, Callable[..., Any]] = {}
    exec(compile("\n" * (line - 1) + source, __file__, "exec"), globals(), made)  # noqa: S102  text of this file alone
    return made["make"]


def wrapped(original: Any, point: WrapPoint) -> Any:
    """`original` with `point` around it, a coroutine function where `original` is one."""
    return standing_for(original, _around(original, point))


def _around(original: Any, point: WrapPoint) -> Any:
    make = _made(_WRAPPED, _WRAPPED_AT, inspect.iscoroutinefunction(original), None, None)
    return make(_called(original), point.begin, point.succeed, point.fail)


@functools.cache
def _renamed(code: CodeType, parameters: tuple[str, ...]) -> CodeType:
    """`code` with its parameters under these names: 3 kB, which methods of the same parameters share."""
    return code.replace(co_varnames=parameters + code.co_varnames[len(parameters) :])


def measured(original: Any, point: CallPoint) -> Any:
    """`original` with an ordinary call around it: what `wrapped` does with `point`, all in one piece.

    It has the parameters of `original` itself, unless those are of an unusual kind.
    """
    otherwise, called = _around(original, point), _called(original)
    code = called.__code__
    is_odd = code.co_flags & (CO_VARARGS | CO_VARKEYWORDS) or code.co_kwonlyargcount or code.co_posonlyargcount
    places = None if is_odd or not code.co_argcount else code.co_argcount
    make = _made(_MEASURED, _MEASURED_AT, inspect.iscoroutinefunction(original), places, point.subject_at)
    call = make(called, otherwise, point.operation, point.observe, point.fail)
    if places is not None:
        call.__code__ = _renamed(call.__code__, code.co_varnames[:places])
        call.__defaults__ = called.__defaults__
    return standing_for(original, call)


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
