"""Replacing methods of classes: the wrap point, the two wrappers (sync and async), and the undo."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any, Protocol

from tradewatch.runtime.failures import failures

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


def original_of(function: Any) -> Any | None:
    """What a wrapper of ours stands for, also where somebody has wrapped ours; None for any other function."""
    return getattr(function, _ORIGINAL, None)


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
    point_begin, succeed, fail = point.begin, point.succeed, point.fail
    kept, stands_for = failures.kept("instrumentation"), original
    is_async = inspect.iscoroutinefunction(original)
    original = _called(original)

    def begin(self: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any | None:
        try:
            return point_begin(self, args, kwargs)
        except Refused as refused:
            error = refused.error
        except Exception as bug:
            failures.note("instrumentation", bug)
            return None
        # Raised here, so that the bot's traceback and its exception's context show nothing of how it came about.
        raise error

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        state = begin(self, args, kwargs)
        if state is None:
            return original(self, *args, **kwargs)
        try:
            result = original(self, *args, **kwargs)
        except BaseException as error:
            with kept:
                fail(self, state, error)
            raise
        with kept:
            succeed(self, state, result)
        return result

    async def call_async(self: Any, *args: Any, **kwargs: Any) -> Any:
        state = begin(self, args, kwargs)
        if state is None:
            return await original(self, *args, **kwargs)
        try:
            result = await original(self, *args, **kwargs)
        except BaseException as error:
            with kept:
                fail(self, state, error)
            raise
        with kept:
            succeed(self, state, result)
        return result

    wrapper = functools.wraps(stands_for)(call_async if is_async else call)
    setattr(wrapper, _ORIGINAL, stands_for)
    return wrapper


class Patches:
    """The replacements that are in force."""

    def __init__(self) -> None:
        self._done: list[tuple[type, str, Any]] = []
        self._touched: dict[type, None] = {}

    def wrap(self, owner: type, name: str, point: WrapPoint) -> Any:
        """Wrap `owner.name`, which `owner` itself defines, unless it is wrapped; returns what stands there now."""
        original = vars(owner)[name]
        if original_of(original) is not None:
            return original
        wrapper = wrapped(original, point)
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
