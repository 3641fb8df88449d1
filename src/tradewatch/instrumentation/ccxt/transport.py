"""Below the logical calls: each HTTP attempt, the client's own throttle, and the status and headers of an answer.

Every request of the bot comes through here on the bot's own thread, so what is noted are bare values: what an attempt
was, and what the headers of its answer say, is read on the safety thread.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from time import monotonic_ns
from typing import Any

from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY

from tradewatch.instrumentation.ccxt.binding import binding_of, refuse_if_closed, running
from tradewatch.instrumentation.ccxt.calls import argument
from tradewatch.instrumentation.ccxt.endpoints import endpoints_of, is_test
from tradewatch.instrumentation.ccxt.errors import error_type, is_cancellation, is_refusal, nonce_error
from tradewatch.runtime.failures import failures
from tradewatch.telemetry.live import LiveCall, Try
from tradewatch.telemetry.otel import SPAN_KEY, get_context, set_context
from tradewatch.telemetry.probe import put_back

_EDIT_S = 8.0
_KEPT = failures.kept("instrumentation")
# A nonce in a request: of a form, a query or a JSON body.
_NONCE = re.compile(r'(?:^|[?&{,\s"])nonce"?\s*[=:]\s*"?(\d{1,30})')
_ONLY_CHECKED = re.compile(r'(?i)(?:^|[?&{,\s"])validate"?\s*[=:]\s*"?true')
_REQUEST = (("url", ""), ("method", "GET"), ("headers", None), ("body", None))
_ANSWER = ("code", "reason", "url", "method", "response_headers", "response_body")

# Attempts of one call may run side by side in tasks of their own: each task has its own value. One that has ended may
# still be here: it has no call, and to leave it costs less than to take it away.
_TRY: ContextVar[Try | None] = ContextVar("tradewatch_attempt", default=None)


class HttpAttempt:
    """`fetch`: one attempt. The gate is asked again: it may have closed while an order waited in the throttler."""

    def begin(self, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Try | None:
        """Raises what a refused order raises, where the gate closed since the call began."""
        live = running(client)
        if live is None:
            return None
        if len(args) != len(_REQUEST):
            args = tuple(argument(args, kwargs, at, *of) for at, of in enumerate(_REQUEST))
        url, method, headers, body = args
        if type(method) is not str or type(url) is not str:
            url, method = str(url), str(method)
        # What an order call only reads on its way, markets say, may be waited for by others too: it passes.
        if live.more.requests and (method != "GET" or endpoints_of(type(client)).placing_by_get):
            binding = binding_of(client)
            if binding is not None and not self._edit_goes_on(live):
                refuse_if_closed(live, binding)
            if not _is_dry(url, body):
                live.own().sent = True
        nonce = None
        if headers or body or live.operation.probe.account_of is not None or "nonce" in url:
            with _KEPT:
                live.operation.probe.identify(client)
                nonce = _nonce(url, headers, body)
        made = Try(live, method, url.partition("?")[0], nonce, monotonic_ns())
        outer = _TRY.get()
        if outer is not None and outer.live is live:
            outer.is_around = True
        _TRY.set(made)
        made.within = _without_others()
        return made

    def _edit_goes_on(self, live: LiveCall) -> bool:
        """An edit is cancel and create in many classes: once its first request is out, the rest must follow.

        But not for ever: a halt is confirmed after 10 s at the latest, and nothing may be sent after that.
        """
        if not live.more.sent or not live.more.requests[0].operation.startswith("edit_"):
            return False
        return monotonic_ns() - live.start_ns < live.probe.clock.real_seconds(_EDIT_S) * 1e9

    def succeed(self, client: Any, made: Try, result: Any) -> None:
        """The venue answered, and ccxt found no error in it."""
        live = _over(made)
        if live is not None:
            _note(live, made)

    def fail(self, client: Any, made: Try, error: BaseException) -> None:
        """No answer, or one that says no."""
        live = _over(made)
        if live is None:
            return
        if not is_cancellation(error):
            made.error = error_type(error)
            made.is_refused = is_refusal(error, made.status)
            made.nonce_error = nonce_error(error)
        _note(live, made)


def _over(made: Try) -> LiveCall | None:
    """An attempt has ended; its call, unless another one inside it is that attempt."""
    made.end_ns = monotonic_ns()
    within = made.within
    if within is not None and get_context() is within[0]:
        put_back(None, within[1])
    made.within = None
    if made.is_around:
        made.live = None
    return made.live


def _note(live: LiveCall, made: Try) -> None:
    # No call stands inside the two, so no attempt of another thread is lost, and none is noted twice where a signal's
    # handler raises. An order without its attempt would count as never sent.
    live.tries += (made,)
    made.live = None
    if live.asked is not None and live.operation.spans is not None:
        live.operation.spans.attempt(live, made)


def _nonce(url: str, headers: Any, body: Any) -> str | None:
    """The nonce of a request as it is sent: in its body, its query or a header. Binance's timestamp is none."""
    for text in (body, url):
        found = _NONCE.search(text) if type(text) is str and "nonce" in text else None
        if found is not None:
            return found[1]
    for name, value in (headers or {}).items():
        if "nonce" in name.lower():
            return str(value)[:40]
    return None


def _is_dry(url: str, body: Any) -> bool:
    """Whether an order is only checked by the venue: an endpoint for tests, or Kraken's `validate`."""
    return is_test(url.partition("?")[0]) or (type(body) is str and _ONLY_CHECKED.search(body) is not None)


_last: tuple[Any, Any] = (None, None)


def _without_others() -> tuple[Any, Any]:
    """The attempt has a span here: an instrumentation of the HTTP library below makes none, nor measures it again.

    Its span would also carry the URL, signature included. Where there is no span around, the context is that of the
    attempt before, mostly.
    """
    global _last  # noqa: PLW0603
    parent = get_context()
    known, context = _last
    if known is not parent:
        context = {**parent, _SUPPRESS_HTTP_INSTRUMENTATION_KEY: True}
        if SPAN_KEY not in parent:
            _last = parent, context
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
        binding = binding_of(client)
        if binding is None:
            return
        if len(args) < len(_ANSWER):
            args = tuple(argument(args, kwargs, at, name) for at, name in enumerate(_ANSWER))
        status, _, url, method, headers, body = args[: len(_ANSWER)]
        if type(status) is not int:
            return
        made, asked_ns = _TRY.get(), None
        if made is not None and made.live is not None:
            made.status, asked_ns = status, made.start_ns
        else:
            made = None
        if headers:
            url = made.url if made is not None else str(url).partition("?")[0]
            retry_after_s = binding.heard.answer(
                binding.probe.venue, method, url, status, headers, body=body, asked_mono_ns=asked_ns
            )
            if made is not None:
                made.retry_after_s = retry_after_s

    def succeed(self, client: Any, state: Any, result: Any) -> None:
        """Never reached: `begin` keeps no state."""

    def fail(self, client: Any, state: Any, error: BaseException) -> None:
        """Never reached: `begin` keeps no state."""
