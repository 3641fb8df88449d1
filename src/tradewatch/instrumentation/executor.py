"""The bot's own executors: what sends its orders, as the parent of the calls that it makes, also on other threads.

An order that passes through `bot.executor.execute_order(...)` is one span with the client's calls under it. Orders are
counted at the client alone, never here.
"""

from __future__ import annotations

import functools
import inspect
import threading
import types
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor as PoolExecutor
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import Span, Tracer

from tradewatch.instrumentation.discovery import attributes_named
from tradewatch.instrumentation.patch import Patches, original_of, standing_for
from tradewatch.runtime.failures import describe, failures
from tradewatch.semconv import attributes as a

NAMES = ("executor", "trader", "broker", "order_manager")
METHODS = (
    "execute",
    "execute_order",
    "execute_trade",
    "execute_signal",
    "place_order",
    "send_order",
    "submit_order",
    "open_position",
    "close_position",
)
_EXECUTING: ContextVar[bool] = ContextVar("tradewatch_executing", default=False)


def found_on(bot: Any, is_client: Callable[[type], bool]) -> list[tuple[type, str]]:
    """Class and name of the executor methods on a bot's attributes; runs no code of the bot."""
    found: list[tuple[type, str]] = []
    for value in attributes_named(bot, NAMES):
        if not is_client(type(value)) and not isinstance(value, PoolExecutor | types.ModuleType | type):
            found += _on_list(type(value))
    return found


def named(executors: Iterable[Any]) -> list[tuple[type, str]]:
    """Class and name of the methods that `executors=` means: each a bound method, or an object with such as `METHODS`.

    Raises:
        ValueError: one that is neither.
    """
    found: list[tuple[type, str]] = []
    for each in executors:
        if isinstance(each, types.MethodType):
            found.append((type(each.__self__), each.__name__))
            continue
        methods = _on_list(type(each))
        if not methods:
            raise ValueError(
                f"executors: {type(each).__name__} has none of the methods {', '.join(METHODS)}; "
                "accepted: such an object, or the bound method itself, such as bot.router.send"
            )
        found += methods
    return found


def _on_list(kind: type) -> list[tuple[type, str]]:
    return [(kind, name) for name in METHODS if any(inspect.isfunction(vars(k).get(name)) for k in kind.__mro__)]


class ExecutorCall:
    """The wrap point of an executor's method: a span of its own, current until the method is over."""

    def __init__(self, name: str, tracer: Tracer, extra: Mapping[str, str]) -> None:
        self._name = name
        self._tracer = tracer
        self._attributes = {**extra, a.OPERATION.name: name}

    def begin(self, executor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Span, Any, Any]:
        """The span, and what brings back the context from before."""
        span = self._tracer.start_span(f"{self._name} {type(executor).__name__}", attributes=self._attributes)
        return span, otel_context.attach(trace.set_span_in_context(span)), _EXECUTING.set(True)

    def succeed(self, executor: Any, state: tuple[Span, Any, Any], result: Any) -> None:
        """The method returned."""
        self._end(*state)

    def fail(self, executor: Any, state: tuple[Span, Any, Any], error: BaseException) -> None:
        """It raised; a cancelled one is no error."""
        if isinstance(error, Exception):
            state[0].set_status(trace.StatusCode.ERROR, describe(error))
            state[0].set_attribute(a.ERROR_TYPE.name, type(error).__name__)
        self._end(*state)

    @staticmethod
    def _end(span: Span, before: Any, executing: Any) -> None:
        span.end()
        try:
            _EXECUTING.reset(executing)
        except ValueError:
            return  # closed by the garbage collector in another context, where nothing of this is current
        otel_context.detach(before)


def wrap(patches: Patches, methods: Iterable[tuple[type, str]], tracer: Tracer, extra: Mapping[str, str]) -> None:
    """Wrap each method on the class that defines it, and let the threads that an executor starts keep its span."""
    wrapped = False
    for kind, name in methods:
        with failures.kept("instrumentation"):
            owner = next(k for k in kind.__mro__ if name in vars(k))
            patches.wrap(owner, name, ExecutorCall(name, tracer, extra))
            wrapped = True
    if wrapped:
        for owner, name, replacement in ((ThreadPoolExecutor, "submit", _submit), (threading.Thread, "start", _start)):
            original = vars(owner)[name]
            if original_of(original) is None:
                patches.put(owner, name, replacement(original))


def _submit(original: Any) -> Any:
    def submit(self: Any, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        if not _EXECUTING.get():
            return original(self, fn, *args, **kwargs)
        fn = _carried(fn)
        # The pool may start a thread for it, which outlives the executor's call.
        executing = _EXECUTING.set(False)
        try:
            return original(self, fn, *args, **kwargs)
        finally:
            _EXECUTING.reset(executing)

    return standing_for(original, submit)


def _start(original: Any) -> Any:
    def start(self: threading.Thread) -> Any:
        if _EXECUTING.get():
            # On the instance: a subclass has a `run` of its own.
            self.run = _carried(self.run)  # type: ignore[method-assign]
        return original(self)

    return standing_for(original, start)


def _carried(fn: Any) -> Any:
    """`fn` in the OpenTelemetry context of now, on whatever thread it runs."""
    context = otel_context.get_current()

    @functools.wraps(fn, assigned=("__name__", "__qualname__"), updated=())
    def carried(*args: Any, **kwargs: Any) -> Any:
        executing, before = _EXECUTING.set(True), otel_context.attach(context)
        try:
            return fn(*args, **kwargs)
        finally:
            otel_context.detach(before)
            _EXECUTING.reset(executing)

    return carried
