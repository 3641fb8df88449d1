"""Orders over a websocket: known where ccxt hands their message to a connection, gated where it is sent.

`watch` is to the websockets what `fetch2` is to REST: all that a method sends goes through it, so an order is known
there also where its method was captured before anybody watched. In between the message may wait, for the connection's
dial or in its throttle; so the gate is asked again at `send`.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any, Literal

from tradewatch.instrumentation.ccxt import orders
from tradewatch.instrumentation.ccxt.binding import binding_of, refuse, running
from tradewatch.instrumentation.ccxt.calls import LogicalCall, argument
from tradewatch.instrumentation.ccxt.endpoints import PLACES
from tradewatch.instrumentation.patch import Refused, original_of, standing_for
from tradewatch.runtime.failures import failures
from tradewatch.runtime.scrub import label
from tradewatch.telemetry.live import LiveCall

_CANCELS = re.compile(r"cancel_\w+_ws")
# What a method that sends an order may have to send first.
_ASKS_FIRST = re.compile(r"\w*(auth|login)\w*|(un_)?watch_(?!\w*request)\w+|(fetch|load|cancel|ensure)_\w+")
_DEEPEST = 15

_Sends = Literal["order", "cancel", "other"]


class OrderMessage(LogicalCall):
    """`watch`: begins a call whose method was captured early, and notes which message is an order."""

    def begin(self, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> LiveCall | None:
        """The call that begins here; None where there is none, or one that is under way. Raises `Refused`."""
        message, name = argument(args, kwargs, 2, "message"), argument(args, kwargs, 1, "message_hash")
        if not message or _is_sent_already(client, args, kwargs):
            return None
        frame, sends = _method(type(client), sys._getframe(1))
        if frame is None or sends == "other":
            return None
        live = running(client)
        if sends == "cancel":
            binding = self._binding(client) if live is None else None
            if binding is None:
                return None
            return binding.probe.start(frame.f_code.co_name, label(frame.f_locals.get("symbol")))
        if live is not None and live.more.requests:
            live.own().ws_message = message, name
            return None
        binding = self._binding(client)
        if binding is None:
            return None
        probe, operation, given = binding.probe, frame.f_code.co_name, dict(frame.f_locals)

        def wanted() -> tuple[Any, ...]:
            probe.identify(client)
            return orders.requests(probe.venue, probe.account, operation, (), orders.arguments(operation, given))

        live = self._send(client, binding, operation, given.get("symbol"), wanted)
        if live is not None:
            live.own().ws_message = message, name
        return live

    def succeed(self, client: Any, live: LiveCall, result: Any) -> None:
        """`watch` hands on a future: the call ends with it."""
        if not isinstance(result, asyncio.Future):
            super().succeed(client, live, result)
            return
        live.probe.leave(live)

        def over(future: asyncio.Future[Any]) -> None:
            with failures.kept("instrumentation"):
                error = asyncio.CancelledError() if future.cancelled() else future.exception()
                if error is None:
                    super(OrderMessage, self).succeed(client, live, future.result())
                else:
                    self.fail(client, live, error)

        result.add_done_callback(over)


def _is_sent_already(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether ccxt sends nothing, since what the message asks for comes already: so it is but once a subscription."""
    connection = client.clients.get(argument(args, kwargs, 0, "url"))
    wanted = argument(args, kwargs, 3, "subscribe_hash")
    return connection is not None and bool(connection.subscriptions.get(wanted))


def _method(kind: type, frame: FrameType | None) -> tuple[FrameType | None, _Sends]:
    """The method from which this is called, and what it sends; no frame where none of the client's is known."""
    methods = _methods(kind)
    for _ in range(_DEEPEST):
        if frame is None:
            break
        sends = methods.get(frame.f_code)
        if sends is not None:
            return frame, sends
        frame = frame.f_back
    return None, "other"


@lru_cache(maxsize=512)
def _methods(kind: type) -> dict[CodeType, _Sends]:
    """What methods of a class send, by their code; those that may be part of any of these are left out."""
    found: dict[CodeType, _Sends] = {}
    for owner in kind.__mro__:
        for name, value in list(vars(owner).items()):
            function = original_of(value) or value
            if not hasattr(function, "__code__"):
                continue
            if PLACES.fullmatch(name):
                found[function.__code__] = "order"
            elif _CANCELS.fullmatch(name):
                found[function.__code__] = "cancel"
            elif _ASKS_FIRST.fullmatch(name):
                found[function.__code__] = "other"
    return found


def gated(original: Any, client_of: Callable[[Any], Any]) -> Any:
    """`send`: the gate is asked again, since an order may have waited in the connection's throttle or for its dial.

    Args:
        original: ccxt's.
        client_of: whose connection it is.
    """

    async def send(self: Any, *args: Any, **kwargs: Any) -> Any:
        refused = None
        try:
            refused = _refusal(client_of(self), args[0] if args else kwargs.get("message"))
        except Exception as bug:
            failures.note("instrumentation", bug)
        if refused is None:
            return await original(self, *args, **kwargs)
        error, name = refused
        # The one who waits for this order's answer is told; others on the line go on.
        self.reject(error, name)
        return None

    return standing_for(original, send)


def _refusal(client: Any, message: Any) -> tuple[Exception, str] | None:
    """What a closed gate answers to the order that is about to be sent, and what its answer is waited for by.

    Notes where it lets an order pass. What else a call sends on its way, such as a login, is no order.
    """
    live = None if client is None else running(client)
    if live is None or live.more.ws_message is None or live.more.ws_message[0] is not message:
        return None
    binding = binding_of(client)
    if binding is not None and binding.closed:
        try:
            refuse(binding, live.more.requests)
        except Refused as refused:
            return refused.error, live.more.ws_message[1]
    live.own().written = True
    return None
