"""Naive OpenTelemetry: what the author of a bot writes by OpenTelemetry's guides, and so what our telemetry means.

Each method of the client is wrapped (wrapt), runs in `start_as_current_span`, and is then recorded in histograms and a
counter. Nothing here is tradewatch's but the names of the semantic conventions.
"""

import asyncio
import inspect
import time
from contextvars import ContextVar
from urllib.parse import urlsplit

import wrapt
from opentelemetry import trace
from opentelemetry.trace import SpanKind

CALL, REQUEST = "trading.exchange.call.duration", "trading.exchange.request.duration"
THROTTLE, ORDER = "trading.exchange.throttle.duration", "trading.order.duration"
ORDERS = "trading.orders"
HISTOGRAMS = (CALL, REQUEST, THROTTLE, ORDER)
BOUNDS_S = (
    0.0005, 0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 0.75, 1.5, 2.5,
    5.0, 7.5, 10.5, 30.5,
)  # fmt: skip
METHODS = (
    "load_markets", "fetch_markets", "fetch_ticker", "fetch_order_book", "fetch_balance", "fetch_time",
    "fetch_open_orders", "create_order", "cancel_order",
)  # fmt: skip
# First match along an exception's classes; else its own name.
ERRORS = {
    "RateLimitExceeded": "rate_limited",
    "DDoSProtection": "rate_limited",
    "InsufficientFunds": "insufficient_funds",
    "OrderNotFound": "OrderNotFound",
    "RequestTimeout": "timeout",
    "NetworkError": "unavailable",
}
STATUS = {"closed": "filled", "open": "open", "canceled": "cancelled"}
# The call that runs: a call inside of another one is part of it.
_CURRENT = ContextVar("naive_call", default=None)
_ATTEMPT = ContextVar("naive_attempt", default=None)


def known(found):
    return {k: v for k, v in found.items() if v is not None}


def error_type(error):
    names = [kind.__name__ for kind in type(error).__mro__]
    return next((ERRORS[name] for name in names if name in ERRORS), names[0])


class Metrics:
    """The instruments, and how each duration is recorded."""

    def __init__(self, provider, extra):
        meter = provider.get_meter("tradewatch")
        self.histograms = {
            name: meter.create_histogram(name, "s", explicit_bucket_boundaries_advisory=list(BOUNDS_S))
            for name in HISTOGRAMS
        }
        self.orders = meter.create_counter(ORDERS, "{order}")
        self.extra = extra

    def record(self, name, seconds, attributes, context=None):
        self.histograms[name].record(seconds, {**self.extra, **known(attributes)}, context)

    def call(self, told, attempts, context=None):
        """A call and all that is in it; `told` and `attempts` are the attributes of spans, with the seconds taken."""
        both = {name: told.get(name) for name in ("trading.exchange", "trading.operation")}
        self.record(CALL, told["seconds"], {**both, "error.type": told.get("error.type")}, context)
        if "trading.throttle.duration" in told:
            self.record(THROTTLE, told["trading.throttle.duration"], both, context)
        for each in attempts:
            names = ("http.request.method", "http.response.status_code", "error.type")
            self.record(REQUEST, each["seconds"], {**both, **{name: each.get(name) for name in names}}, context)
        if "trading.order.side" in told:
            names = ("exchange", "symbol", "order.side", "order.type", "order.status")
            attributes = {f"trading.{name}": told.get(f"trading.{name}") for name in names}
            self.record(ORDER, told["seconds"], attributes, context)
            self.orders.add(1, {**self.extra, **known(attributes)})


class Call:
    """What is known of a call while it runs."""

    def __init__(self, span, told):
        self.span, self.told = span, told
        self.attempts, self.throttled = [], 0.0
        self.began = time.perf_counter()


class Naive:
    """Instruments a client's methods with a tracer and the metrics."""

    def __init__(self, tracers, meters, extra):
        self.tracer = tracers.get_tracer("tradewatch")
        self.metrics = Metrics(meters, extra)
        self.extra = extra

    def instrument(self, client):
        self.client = client
        for name in METHODS:
            self.wrap(name, self.call(name))
        self.wrap("fetch", self.attempt)
        self.wrap("throttle", self.throttle)
        self.wrap("on_rest_response", self.answer)

    def wrap(self, name, around):
        """Sync and async by one context manager, which is given the result at the end."""
        bound = getattr(self.client, name)

        def wrapper(wrapped, instance, args, kwargs):
            with around(args, kwargs) as end:
                return end(wrapped(*args, **kwargs))

        async def awaited(wrapped, instance, args, kwargs):
            with around(args, kwargs) as end:
                return end(await wrapped(*args, **kwargs))

        is_async = inspect.iscoroutinefunction(bound)
        setattr(self.client, name, wrapt.FunctionWrapper(bound, awaited if is_async else wrapper))

    def call(self, operation):
        def begin(args, kwargs):
            return _Around(self, operation, args) if _CURRENT.get() is None else _Part()

        return begin

    def attempt(self, args, kwargs):
        return _Attempt(self, *args[:2]) if _CURRENT.get() is not None else _Part()

    def throttle(self, args, kwargs):
        return _Throttle()

    def answer(self, args, kwargs):
        if _ATTEMPT.get() is not None:
            _ATTEMPT.get()["http.response.status_code"] = args[0]
            trace.get_current_span().set_attribute("http.response.status_code", args[0])
            if args[0] in (418, 429) and "Retry-After" in args[4]:
                trace.get_current_span().set_attribute("trading.retry_after.duration", float(args[4]["Retry-After"]))
        return _Part()


class _Part:
    """A part of a call that has no telemetry of its own."""

    def __enter__(self):
        return lambda result: result

    def __exit__(self, *raised):
        return None


class _Around:
    """A call: its span is current until it ends."""

    def __init__(self, naive, operation, args):
        self.naive = naive
        symbol = next((a for a in args if isinstance(a, str) and "/" in a), None)
        told = {"trading.exchange": "binance", "trading.operation": operation, "trading.symbol": symbol}
        if operation == "create_order":
            _, kind, side, amount, *price = args
            told |= {
                "trading.order.side": side,
                "trading.order.type": kind,
                "trading.order.amount": f"{amount}",
                "trading.order.price": f"{price[0]}" if price else None,
            }
        self.told = known(told)
        self.current = naive.tracer.start_as_current_span(
            f"{operation} binance", attributes={**naive.extra, **self.told}
        )

    def __enter__(self):
        self.call = Call(self.current.__enter__(), dict(self.told))
        self.token = _CURRENT.set(self.call)
        return self.end

    def end(self, result):
        if "trading.order.side" in self.told:
            self.call.told |= {
                "trading.order.id": result["id"],
                "trading.order.client_id": result["clientOrderId"],
                "trading.order.status": STATUS[result["status"]],
                "trading.order.filled": result["info"]["executedQty"],
                "trading.order.average": f"{result['average']:.8f}" if result["average"] else None,
            }
        return result

    def __exit__(self, kind, error, trace_back):
        call = self.call
        _CURRENT.reset(self.token)
        found = {"trading.attempts": len(call.attempts)}
        if call.throttled:
            found["trading.throttle.duration"] = call.throttled
        if isinstance(error, asyncio.CancelledError):
            found["trading.cancelled"] = True
        elif error is not None:
            found["error.type"] = error_type(error)
            if "trading.order.side" in self.told:
                unanswered = found["error.type"] in ("timeout", "unavailable")
                found["trading.order.status"] = "unknown" if unanswered else "rejected"
        call.told |= found
        call.span.set_attributes(known({k: v for k, v in call.told.items() if k not in self.told}))
        self.naive.metrics.call({**call.told, "seconds": time.perf_counter() - call.began}, call.attempts)
        self.current.__exit__(kind, error, trace_back)


class _Attempt:
    """An HTTP attempt: a span of kind client."""

    def __init__(self, naive, url, method="GET"):
        where, self.call = urlsplit(url), _CURRENT.get()
        self.told = {"http.request.method": method, "server.address": where.hostname, "url.path": where.path}
        # What failed and is sent again.
        failed = [one for one in self.call.attempts if "error.type" in one]
        before = sum(all(one[k] == v for k, v in self.told.items()) for one in failed)
        if before:
            self.told["http.request.resend_count"] = before
        self.current = naive.tracer.start_as_current_span(method, kind=SpanKind.CLIENT, attributes=dict(self.told))

    def __enter__(self):
        self.began = time.perf_counter()
        self.span = self.current.__enter__()
        self.call.attempts.append(self.told)
        self.token = _ATTEMPT.set(self.told)
        return lambda result: result

    def __exit__(self, kind, error, trace_back):
        _ATTEMPT.reset(self.token)
        self.told["seconds"] = time.perf_counter() - self.began
        if isinstance(error, Exception):
            self.told["error.type"] = error_type(error)
            self.span.set_attribute("error.type", self.told["error.type"])
        self.current.__exit__(kind, error, trace_back)


class _Throttle(_Part):
    """The wait in the client's own rate limiter."""

    def __enter__(self):
        self.began = time.perf_counter()
        return super().__enter__()

    def __exit__(self, *raised):
        if _CURRENT.get() is not None:
            _CURRENT.get().throttled += time.perf_counter() - self.began
