"""Below the logical calls: each HTTP attempt, the client's own throttle, and the status and headers of an answer."""

from __future__ import annotations

import re
from contextvars import ContextVar, Token
from functools import lru_cache
from time import monotonic_ns
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY

from tradewatch.instrumentation.ccxt.calls import argument, binding_of, refuse_if_closed, running
from tradewatch.instrumentation.ccxt.endpoints import endpoints_of, is_test
from tradewatch.instrumentation.ccxt.errors import error_type, is_cancellation, is_refusal, nonce_error
from tradewatch.model import Attempt
from tradewatch.runtime.failures import failures
from tradewatch.telemetry.live import LiveCall
from tradewatch.telemetry.otel import get_context, set_context
from tradewatch.telemetry.probe import put_back

_EDIT_S = 8.0
_KEPT = failures.kept("instrumentation")
# A nonce in a request: of a form, a query or a JSON body.
_NONCE = re.compile(r'(?:^|[?&{,\s"])nonce"?\s*[=:]\s*"?(\d{1,30})')
_ONLY_CHECKED = re.compile(r'(?i)(?:^|[?&{,\s"])validate"?\s*[=:]\s*"?true')


class _Sent:
    """One HTTP attempt that is under way. A `fetch` of the bot's own class is `is_around` the one that it calls."""

    __slots__ = (
        "is_around",
        "live",
        "method",
        "nonce",
        "retry_after_s",
        "start_ns",
        "status",
        "suppressed",
        "token",
        "url",
    )

    def __init__(self, live: LiveCall, method: str, url: str, nonce: str | None) -> None:
        self.live = live
        self.method = method
        self.url = url
        self.nonce = nonce
        self.retry_after_s: float | None = None
        self.is_around = False
        self.status: int | None = None
        self.token: Token[_Sent | None] | None = None
        self.suppressed: tuple[Any, Any] | None = None
        self.start_ns = monotonic_ns()


# Attempts of one call may run side by side in tasks of their own: each task has its own value.
_SENT: ContextVar[_Sent | None] = ContextVar("tradewatch_attempt", default=None)


class HttpAttempt:
    """`fetch`: one attempt. The gate is asked again: it may have closed while an order waited in the throttler."""

    def begin(self, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Sent | None:
        """Raises what a refused order raises, where the gate closed since the call began."""
        live = running(client)
        if live is None:
            return None
        method = str(argument(args, kwargs, 1, "method", "GET"))
        # What an order call only reads on its way, markets say, may be waited for by others too: it passes.
        if live.more.requests and (method != "GET" or endpoints_of(type(client)).placing_by_get):
            binding = binding_of(client)
            if binding is not None and not self._edit_goes_on(live):
                refuse_if_closed(live, binding)
            if not _is_dry(args, kwargs):
                live.own().sent = True
        nonce = None
        with _KEPT:
            live.operation.probe.identify(client)
            nonce = _nonce(args, kwargs)
        sent = _Sent(live, method, str(argument(args, kwargs, 0, "url", "")), nonce)
        outer = _SENT.get()
        if outer is not None and outer.live is live:
            outer.is_around = True
        sent.token = _SENT.set(sent)
        sent.suppressed = _without_others()
        return sent

    def _edit_goes_on(self, live: LiveCall) -> bool:
        """An edit is cancel and create in many classes: once its first request is out, the rest must follow.

        But not for ever: a halt is confirmed after 10 s at the latest, and nothing may be sent after that.
        """
        if not live.more.sent or not live.more.requests[0].operation.startswith("edit_"):
            return False
        return monotonic_ns() - live.start_ns < live.probe.clock.real_seconds(_EDIT_S) * 1e9

    def succeed(self, client: Any, sent: _Sent, result: Any) -> None:
        """The venue answered, and ccxt found no error in it."""
        self._end(sent, None)

    def fail(self, client: Any, sent: _Sent, error: BaseException) -> None:
        """No answer, or one that says no."""
        self._end(sent, None if is_cancellation(error) else error)

    def _end(self, sent: _Sent, error: BaseException | None) -> None:
        if sent.suppressed is not None and get_context() is sent.suppressed[0]:
            put_back(None, sent.suppressed[1])
        if sent.token is not None:
            try:
                _SENT.reset(sent.token)
            except ValueError:  # closed by the garbage collector in another context, where the attempt is not current
                sent.token = None
        if sent.is_around:
            return
        with _KEPT:
            end_ns, live = monotonic_ns(), sent.live
            host, path = _endpoint(sent.url.partition("?")[0])
            attempt = Attempt(
                sent.start_ns,
                end_ns,
                sent.method,
                host,
                path,
                sent.status,
                None if error is None else error_type(error),
                error is not None and is_refusal(error, sent.status),
                sent.nonce,
                None if error is None else nonce_error(error),
                sent.retry_after_s,
            )
            # No call stands inside the statement, so no attempt of another thread is lost.
            live.attempts += (attempt,)
            if live.asked is not None and live.operation.spans is not None:
                live.operation.spans.attempt(live, attempt)


@lru_cache(maxsize=1_024)
def _endpoint(url: str) -> tuple[str, str]:
    """Host and path of a URL without its query: the same few, over and over, where signed URLs are each another one."""
    where = urlsplit(url)
    return where.hostname or "", where.path


def _nonce(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """The nonce of a request as it is sent: in its body, its query or a header. Binance's timestamp is none."""
    for text in (argument(args, kwargs, 3, "body"), argument(args, kwargs, 0, "url")):
        found = _NONCE.search(text) if type(text) is str else None
        if found is not None:
            return found[1]
    for name, value in (argument(args, kwargs, 2, "headers") or {}).items():
        if "nonce" in name.lower():
            return str(value)[:40]
    return None


def _is_dry(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether an order is only checked by the venue: an endpoint for tests, or Kraken's `validate`."""
    url, body = str(argument(args, kwargs, 0, "url", "")), argument(args, kwargs, 3, "body")
    return is_test(url.partition("?")[0]) or (type(body) is str and _ONLY_CHECKED.search(body) is not None)


def _without_others() -> tuple[Any, Any]:
    """The attempt has a span here: an instrumentation of the HTTP library below makes none, nor measures it again.

    Its span would also carry the URL, signature included.
    """
    context = {**get_context(), _SUPPRESS_HTTP_INSTRUMENTATION_KEY: True}
    return context, set_context(context)


class Throttle:
    """`throttle`: the wait in the client's own rate limiter, which users otherwise take for latency of the venue."""

    def begin(self, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[LiveCall, int] | None:
        """None outside a call of ours."""
        live = running(client)
        return None if live is None else (live, monotonic_ns())

    def succeed(self, client: Any, state: tuple[LiveCall, int], result: Any) -> None:
        """The client lets the request go."""
        live, start_ns = state
        waited_ns = monotonic_ns() - start_ns
        live.throttle_ns += waited_ns

    def fail(self, client: Any, state: tuple[LiveCall, int], error: BaseException) -> None:
        """Given up while waiting."""
        self.succeed(client, state, None)


class Answer:
    """`on_rest_response`, which ccxt calls with status and headers before it looks for errors in the body."""

    def begin(self, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Note the status, and what the answer tells of the venue; the call itself is left alone."""
        with _KEPT:
            sent, status = _SENT.get(), argument(args, kwargs, 0, "code")
            if type(status) is not int:
                return
            if sent is not None:
                sent.status = status
            binding, headers = binding_of(client), argument(args, kwargs, 4, "response_headers")
            if binding is None or not headers:
                return
            url, body = str(argument(args, kwargs, 2, "url", "")), argument(args, kwargs, 5, "response_body")
            asked_ns = None if sent is None else sent.start_ns
            retry_after_s = binding.heard.answer(
                binding.probe.venue, url, status, headers, body=body, asked_mono_ns=asked_ns
            )
            if sent is not None:
                sent.retry_after_s = retry_after_s

    def succeed(self, client: Any, state: Any, result: Any) -> None:
        """Never reached: `begin` keeps no state."""

    def fail(self, client: Any, state: Any, error: BaseException) -> None:
        """Never reached: `begin` keeps no state."""
