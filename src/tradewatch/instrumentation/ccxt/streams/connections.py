"""A connection of ccxt's from dial to end: counted, and its messages run under their own context.

ccxt's `Client` is one connection; after a drop the next `watch_*` makes another one. Its receive loop is begun by the
task of the first `watch_*`, so all messages would run in that one's context, under a span that has ended long ago.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.context import Context

from tradewatch.instrumentation.ccxt.binding import BINDING, Binding, binding_of
from tradewatch.instrumentation.ccxt.streams.sends import gated
from tradewatch.instrumentation.ccxt.streams.wire import said
from tradewatch.instrumentation.patch import Patches, WrapPoint, original_of
from tradewatch.model import Clock
from tradewatch.runtime.failures import failures
from tradewatch.telemetry.live import NOWHERE
from tradewatch.telemetry.otel import get_context, set_context
from tradewatch.telemetry.probe import get_current, put_back, set_current
from tradewatch.telemetry.traffic import Connection, Feed

_KEPT = failures.kept("instrumentation")
_LINE = "_tradewatch_line"
# What is longer in a path is a key to a private stream, and another one at each dial.
_LONGEST_STEP = 32


class Line:
    """A connection's `on_message_callback`: counts a message, then hands it to the one that ccxt set."""

    __slots__ = ("client", "clock", "connection", "feed", "original")

    def __init__(self, client: Any, original: Callable[..., Any], url: str) -> None:
        self.client = client
        self.original = original
        self.connection = Connection(address(url))

    def belongs_to(self, binding: Binding) -> None:
        """Count for this binding from now on."""
        self.clock: Clock = binding.probe.clock
        self.feed: Feed = binding.feed
        self.feed.open(self.connection)

    def __call__(self, ws: Any, message: Any) -> None:
        """One message, decoded."""
        try:
            channel, event_ns = said(message)
            lag_ns = None
            if event_ns is not None:
                clock = self.clock
                passed_ns = clock.now_ns() - event_ns
                if passed_ns >= 0:
                    lag_ns = int(clock.real_seconds(passed_ns))
            self.feed.message(self.connection, channel, lag_ns)
        except Exception as bug:
            failures.note("instrumentation", bug)
        # Where the connection was opened before anybody watched, its messages run in the context of the first call.
        if not get_context() and get_current() is None:
            self.original(ws, message)
            return
        within = _nowhere()
        try:
            self.original(ws, message)
        finally:
            put_back(*within)


def address(url: str) -> str:
    """Host and path of a connection, without what would be a secret or another one at each dial."""
    parts = urlsplit(url)
    steps = [step for step in parts.path.split("/") if len(step) <= _LONGEST_STEP]
    return f"{parts.netloc.rpartition('@')[2]}{'/'.join(steps)}"


def _nowhere() -> tuple[Any, Any]:
    return set_current(None), set_context(Context(NOWHERE))


def _line_of(ws: Any) -> Line | None:
    line: Line | None = ws.__dict__.get(_LINE)
    return line


class Streams:
    """The wrap points of ccxt's connections.

    Args:
        called: told of each client that opens a connection and is not bound.
    """

    def __init__(self, called: Callable[[Any], None]) -> None:
        self._called = called
        self._lines: weakref.WeakSet[Any] = weakref.WeakSet()
        self._points: dict[str, WrapPoint] = {
            "open": _Open(self._opened),
            "close": _Close(),
            "on_error": _Drop(),
            "on_close": _Drop(),
        }
        self.closing: WrapPoint = _CloseAll()

    def wrap(self, patches: Patches, module: Any) -> None:
        """Wrap the connections of ccxt's module of them."""
        for kind in list(vars(module).values()):
            if isinstance(kind, type) and kind.__module__ == module.__name__:
                for name, point in self._points.items():
                    if name in vars(kind):
                        patches.wrap(kind, name, point)
                send = vars(kind).get("send")
                if send is not None and original_of(send) is None:
                    patches.put(kind, "send", gated(send, self._client_of))

    def bind(self, client: Any, binding: Binding) -> None:
        """Take over the connections that a client has already."""
        connections = getattr(client, "clients", None)
        if isinstance(connections, dict):
            for ws in list(connections.values()):
                if getattr(ws, "isConnected", False) and not ws.closed():
                    self._attach(ws, client, binding)

    def undo(self) -> None:
        """Give every connection back the callback that ccxt set."""
        for ws in list(self._lines):
            line = ws.__dict__.pop(_LINE, None)
            if line is not None and ws.on_message_callback is line:
                ws.on_message_callback = line.original
        self._lines.clear()

    def _client_of(self, ws: Any) -> Any:
        """Whose connection it is; one whose dial had begun before anybody watched is seen only now."""
        line = _line_of(ws)
        if line is not None:
            return line.client
        client = getattr(ws.on_message_callback, "__self__", None)
        with _KEPT:
            self._opened(ws)
        return client

    def _opened(self, ws: Any) -> None:
        if not getattr(ws, "isConnected", False):
            return
        client = getattr(ws.on_message_callback, "__self__", None)
        if client is None:
            return
        known = client.__dict__.get(BINDING)
        if known is None or known.over:
            self._called(client)
        binding = binding_of(client)
        if binding is not None:
            self._attach(ws, client, binding)

    def _attach(self, ws: Any, client: Any, binding: Binding) -> None:
        line = _line_of(ws)
        if line is None:
            line = Line(client, ws.on_message_callback, str(ws.url))
            ws.__dict__[_LINE] = line
            self._lines.add(ws)
            line.belongs_to(binding)
            ws.on_message_callback = line
        else:
            line.belongs_to(binding)


class _Open:
    """`open`: what it begins, the receive loop first of all, runs in nobody's context."""

    def __init__(self, opened: Callable[[Any], None]) -> None:
        self._opened = opened

    def begin(self, ws: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        return _nowhere()

    def succeed(self, ws: Any, state: tuple[Any, Any], result: Any) -> None:
        """A failed dial raises nothing: whether it was answered is on the connection."""
        put_back(*state)
        with _KEPT:
            self._opened(ws)

    def fail(self, ws: Any, state: tuple[Any, Any], error: BaseException) -> None:
        put_back(*state)


class _Drop:
    """`on_error` and `on_close`: the first of them ends a connection, unless the bot did."""

    def begin(self, ws: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        line = _line_of(ws)
        if line is not None:
            line.feed.dropped(line.connection)

    def succeed(self, ws: Any, state: Any, result: Any) -> None:
        """Never reached: `begin` keeps no state."""

    def fail(self, ws: Any, state: Any, error: BaseException) -> None:
        """Never reached: `begin` keeps no state."""


class _Close(_Drop):
    """`close` of one connection: after a drop ccxt's own, else the bot's."""

    def begin(self, ws: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        line = _line_of(ws)
        if line is not None:
            line.feed.closed(line.connection)


class _CloseAll(_Drop):
    """The client's own close of all its connections: nothing is waited for any more."""

    def begin(self, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        binding = binding_of(client)
        if binding is not None:
            binding.feed.close()
