"""The table of ccxt's wrap points, put on the classes of the clients that exist and of those made later.

Transport methods are wrapped on the class that defines them. A unified method is wrapped on the class that an instance
gets it from, and under its camel-case name as well, which ccxt copies to the instance's class at each construction.
"""

from __future__ import annotations

import inspect
import re
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

from tradewatch.instrumentation.ccxt.binding import BINDING, Binding, secrets_of
from tradewatch.instrumentation.ccxt.calls import EndpointCall, UnifiedCall
from tradewatch.instrumentation.ccxt.endpoints import endpoints_of
from tradewatch.instrumentation.ccxt.orders import SENDS_ORDERS
from tradewatch.instrumentation.ccxt.streams import OrderMessage, Streams, watched
from tradewatch.instrumentation.ccxt.transport import Answer, HttpAttempt, Throttle
from tradewatch.instrumentation.discovery import ancestry
from tradewatch.instrumentation.patch import Patches, WrapPoint, original_of
from tradewatch.runtime.failures import failures
from tradewatch.runtime.scrub import scrubber

_MODULES = ("ccxt.base.exchange", "ccxt.async_support.base.exchange", "ccxt.async_support.base.ws.client")
# Seen where they lead to: the convenience methods at create_order, streams (which wait for a message) not as calls.
_SEEN_ELSEWHERE = re.compile(r"create_\w+_orders?(_with_cost)?(_ws)?|(un_)?watch_\w+")


def is_client(kind: type) -> bool:
    """Whether a class is one of ccxt's exchanges, sync, async or pro, or a subclass of one."""
    classes = ancestry(kind)
    return any(("ccxt.base.exchange", name) in classes for name in ("BaseExchange", "Exchange"))


class _Construction:
    """`__init__`: the methods of a client made later are wrapped, and somebody may bind it."""

    def __init__(self, wrap: Callable[[type, Any], None], made: Callable[[Any], None]) -> None:
        self._wrap = wrap
        self._made = made

    def begin(self, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        return True

    def succeed(self, client: Any, state: bool, result: Any) -> None:
        with failures.kept("instrumentation"):
            self._wrap(type(client), client)
            self._made(client)

    def fail(self, client: Any, state: bool, error: BaseException) -> None:
        """A client that could not be made is nobody's."""


class Ccxt:
    """ccxt as it stands in this process: wrapped for as long as anybody watches a client.

    Args:
        made: told of each client that is made from now on; it may bind it.
        called: likewise, of each client that makes a call and is not bound.
    """

    def __init__(self, made: Callable[[Any], None], called: Callable[[Any], None]) -> None:
        self._made = made
        self._called = called
        self._patches = Patches()
        self._classes: set[type] = set()
        self._bound: weakref.WeakSet[Any] = weakref.WeakSet()
        self._bindings: weakref.WeakSet[Binding] = weakref.WeakSet()
        self._lock = threading.RLock()
        self._hooked = False
        self._wanted = False
        self._streams = Streams(called)
        self._transport: dict[str, WrapPoint] = {
            "fetch2": EndpointCall(called),
            "fetch": HttpAttempt(),
            "watch": OrderMessage(called),
            "throttle": Throttle(),
            "on_rest_response": Answer(),
            # By one name or the other: ccxt 4.5 and 4.4.
            "close_ws_clients": self._streams.closing,
            "ws_close": self._streams.closing,
        }

    def install(self) -> None:
        """Wrap construction and transport, so that every client is seen; later, where ccxt is imported later."""
        self._wanted = True
        missing = []
        for name in _MODULES:
            if (module := sys.modules.get(name)) is not None:
                self._imported(module)
            else:
                missing.append(name)
        if missing and not self._hooked:
            # Costs 3 ms and half a MB, which a bot that has both modules need not pay.
            import wrapt

            self._hooked = True
            for name in missing:
                wrapt.register_post_import_hook(self._imported, name)

    def _imported(self, module: Any) -> None:
        with failures.kept("instrumentation"), self._lock:
            if not self._wanted:
                return
            if module.__name__ == _MODULES[-1]:
                self._streams.wrap(self._patches, module)
                return
            for name in ("BaseExchange", "Exchange"):
                base = vars(module).get(name)
                if inspect.isclass(base) and "fetch2" in vars(base):
                    self._wrap_transport(base)
                    if base.__module__ == "ccxt.base.exchange":
                        self._patches.wrap(base, "__init__", _Construction(self._wrap_class, self._made))

    def _wrap_transport(self, owner: type) -> None:
        for name, point in self._transport.items():
            if name in vars(owner):
                self._patches.wrap(owner, name, point)

    def bind(self, client: Any, binding: Binding) -> None:
        """Wrap what the client's class gets its methods from, and give the client its binding."""
        with failures.kept("scrubbing"):
            scrubber.learn(secrets_of(client))
        self.install()
        with self._lock:
            self._wrap_class(type(client), client)
            before = client.__dict__.get(BINDING)
            client.__dict__[BINDING] = binding
            binding.over = False
            if before is not None and before is not binding:
                before.over = True
            self._streams.bind(client, binding)
            self._bound.add(client)
            self._bindings.add(binding)

    def undo(self) -> None:
        """Put back every attribute of every class and take the binding from every client."""
        with self._lock:
            self._wanted = False
            for client in list(self._bound):
                client.__dict__.pop(BINDING, None)
            self._bound.clear()
            for binding in list(self._bindings):
                binding.over = True
            self._bindings.clear()
            self._streams.undo()
            self._patches.undo()
            self._classes.clear()

    def forked(self) -> None:
        """In a forked child: no other thread is there that could hold the lock."""
        self._lock = threading.RLock()

    def let_go(self, client: Any) -> None:
        """Take the binding from a client: its next call asks for one."""
        client.__dict__.pop(BINDING, None)

    def _wrap_class(self, kind: type, client: Any) -> None:
        with self._lock:
            if self._wanted and kind not in self._classes:
                self._wrap_methods(kind, client)

    def _wrap_methods(self, kind: type, client: Any) -> None:
        # Now rather than in the bot's first call, and first: the memory that it takes for a moment serves the wrappers.
        with failures.kept("instrumentation"):
            endpoints_of(kind)
        self._patches.touch(kind)
        for owner in kind.__mro__:
            if owner is not object:
                self._wrap_transport(owner)
        # What sends orders is wrapped also where ccxt's own table of methods leaves it out.
        for camel in dict.fromkeys((*client.has, "loadMarkets", *map(_camel, sorted(SENDS_ORDERS)))):
            name = _snake(camel)
            # One that is too odd to be wrapped must not cost the others their gate.
            with failures.kept("instrumentation"):
                if name.startswith(("watch_", "un_watch_")):
                    self._wrap_watching(kind, name, camel)
                elif not _SEEN_ELSEWHERE.fullmatch(name) or name in SENDS_ORDERS:
                    self._wrap_unified(kind, name, camel)
        self._classes.add(kind)

    def _wrap_unified(self, kind: type, name: str, camel: str) -> None:
        """Wrap a unified method on every class that defines it; the innermost calls are part of the outermost one.

        On an async client a plain function is left alone, as a generator is on any: it returns before its call is over.
        It is often an override that calls super(), and what that leads to is wrapped.
        """
        is_async = inspect.iscoroutinefunction(getattr(kind, "fetch2", None))
        for owner in kind.__mro__:
            original = vars(owner).get(name)
            if not inspect.isfunction(original) or inspect.isgeneratorfunction(original):
                continue
            if inspect.iscoroutinefunction(original) != is_async:
                continue
            point = UnifiedCall(name, _symbol_at(original), self._called)
            put = self._patches.wrap if name in SENDS_ORDERS else self._patches.measure
            wrapper = put(owner, name, point)
            stood = original_of(wrapper)
            for klass in kind.__mro__:
                if vars(klass).get(camel) is stood:
                    self._patches.put(klass, camel, wrapper)

    def _wrap_watching(self, kind: type, name: str, camel: str) -> None:
        """Wrap a `watch_*` method on every class that defines it, plain functions that hand on a coroutine too."""
        for owner in kind.__mro__:
            stood = vars(owner).get(name)
            if not inspect.isfunction(stood) or original_of(stood) is not None:
                continue
            wrapper = watched(stood, name)
            self._patches.put(owner, name, wrapper)
            for klass in kind.__mro__:
                if vars(klass).get(camel) is stood:
                    self._patches.put(klass, camel, wrapper)


def _snake(camel: str) -> str:
    """`fetchOHLCVWs` → `fetch_ohlcv_ws`, as ccxt spells its methods."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", camel).lower()


def _camel(snake: str) -> str:
    first, *rest = snake.split("_")
    return first + "".join(map(str.capitalize, rest))


def _symbol_at(function: Any) -> int | None:
    """At which place among the arguments after the instance, whatever that is called."""
    names = list(inspect.signature(function).parameters)[1:]
    return names.index("symbol") if "symbol" in names else None
