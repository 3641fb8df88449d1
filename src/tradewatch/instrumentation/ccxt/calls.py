"""The logical calls of ccxt: a unified method, or an endpoint called below them. Orders pass the gate here first."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from time import monotonic_ns, thread_time_ns
from typing import Any

from msgspec.structs import replace

from tradewatch.instrumentation.ccxt import orders
from tradewatch.instrumentation.ccxt.binding import BINDING, Binding, binding_of, refuse, running, secrets_of
from tradewatch.instrumentation.ccxt.endpoints import Endpoints, endpoints_of, never_orders
from tradewatch.instrumentation.ccxt.errors import (
    error_type,
    failed_order_status,
    is_cancellation,
    is_doubtful,
    streamed_order_status,
)
from tradewatch.instrumentation.ccxt.observe import OBSERVERS, Seen, order_answer
from tradewatch.instrumentation.ccxt.orders import SENDS_ORDERS
from tradewatch.instrumentation.patch import Refused
from tradewatch.model import OrderKey, OrderReport, OrderRequest, Outcome
from tradewatch.runtime.failures import describe, failures
from tradewatch.runtime.scrub import label, scrubber
from tradewatch.telemetry.live import LiveCall
from tradewatch.telemetry.probe import Probe

_KEPT = failures.kept("instrumentation")
_OUTCOMES: dict[str, Outcome] = {"unknown": "unknown", "refused": "refused"}


def argument(args: tuple[Any, ...], kwargs: Mapping[str, Any], at: int, name: str, default: Any = None) -> Any:
    """An argument given by place or by name."""
    return args[at] if len(args) > at else kwargs.get(name, default)


Wanted = Callable[[], tuple[OrderRequest, ...]]


class LogicalCall:
    """What unified methods and calls below them have in common: orders pass the gate, and a call ends in one way."""

    def __init__(self, adopt: Callable[[Any], None]) -> None:
        self._adopt = adopt

    def _binding(self, client: Any) -> Binding | None:
        """The client's binding. One that nobody has seen before, in a closure say, is adopted at its first call."""
        known = client.__dict__.get(BINDING)  # None also where it was pickled
        if known is None or known.over:
            with _KEPT:
                self._adopt(client)
        return binding_of(client)

    def _send(self, client: Any, binding: Binding, operation: str, symbol: Any, wanted: Wanted) -> LiveCall | None:
        """Begin a call that sends orders; raises `Refused` where the gate is closed, whatever else of ours fails."""
        live: LiveCall | None = None
        requests: tuple[OrderRequest, ...] = ()
        with _KEPT:
            requests = wanted() or (_unread(binding.probe, operation),)
        try:
            with _KEPT:
                live = binding.probe.start(operation, label(symbol), requests)
                live.own().gate_tokens = tuple([(g, g.enter(request)) for g in binding.gates for request in requests])
            if binding.closed:
                refuse(binding, requests)
        except BaseException as raised:  # refused; or a signal's handler, which may raise anywhere
            if live is not None:
                with _KEPT:
                    self.fail(client, live, raised.error if isinstance(raised, Refused) else raised)
            raise
        return live

    def succeed(self, client: Any, live: LiveCall, result: Any) -> None:
        """The call was answered."""
        end_ns, began_ns = monotonic_ns(), thread_time_ns() if live.more.cpu_ns else 0
        binding = binding_of(client)
        if binding is not None:
            with _KEPT:
                self._answered(live, binding.seen, result)
        is_doubted = False
        if live.more.requests and len(live.tries) > 1:
            with _KEPT:
                is_doubted = is_doubtful(live.attempts, endpoints_of(type(client)).placing_by_get)
        self._end(live, end_ns, began_ns, is_doubted=is_doubted)

    def _answered(self, live: LiveCall, seen: Seen, result: Any) -> None:
        if live.more.requests:
            order_answer(live, seen, result, raw=True)

    def fail(self, client: Any, live: LiveCall, error: BaseException) -> None:
        """The call raised, or was cancelled."""
        end_ns, began_ns = monotonic_ns(), thread_time_ns() if live.more.cpu_ns else 0
        if live.end_ns:  # its end was interrupted
            self._end(live, end_ns, began_ns)
            return
        with _KEPT:
            more = live.own()
            more.cancelled = is_cancellation(error)
            if not more.cancelled:
                live.error = error_type(error)
                # A key may have been set after the client was found.
                scrubber.learn(secrets_of(client))
                more.message = describe(error)
        binding = binding_of(client)
        with _KEPT:
            more = live.more
            # Where an answer was not read to its end, for a signal's handler that raised, it counts as none.
            if more.requests and not (more.outcomes and (more.reports or more.fills)):
                now = live.probe.clock.now_ns()
                if live.operation.name.endswith("_ws") and not live.more.sent:
                    status = streamed_order_status(error, live.more.written)
                else:
                    # What never may have placed an order, a dry run say, counts as not sent.
                    sent = live.attempts if live.more.sent else ()
                    status = failed_order_status(error, sent, endpoints_of(type(client)).placing_by_get)
                if status == "unknown" and binding is not None:
                    # Where it was seen before the call failed, it must be told of again to be known.
                    binding.seen.orders.clear()
                    if more.outcomes:
                        binding.seen.trades.clear()
                live.own().outcomes = tuple(
                    OrderReport(r.key, r.side, r.type, status, r.amount, r.price, None, None, None, None, now)
                    for r in live.more.requests
                )
        self._end(live, end_ns, began_ns)

    def _end(self, live: LiveCall, end_ns: int, began_ns: int, *, is_doubted: bool = False) -> None:
        with _KEPT:
            live.probe.leave(live)
        more = live.more
        if not live.end_ns or ((more.requests or more.fills or more.reports) and not more.is_kept):
            with _KEPT:
                live.probe.end(live, end_ns, began_ns)
        # Whatever failed: what is over is not current any more.
        live.end_ns = live.end_ns or end_ns
        if live.more.gate_tokens:
            outcomes = live.more.outcomes
            for i, (gate, token) in enumerate(live.more.gate_tokens):
                # Of each gate one token for each order, in their order.
                n = i % len(live.more.requests)
                outcome = _OUTCOMES.get(outcomes[n].status, "answered") if n < len(outcomes) else "answered"
                gate.leave(token, "unknown" if is_doubted else outcome)


class UnifiedCall(LogicalCall):
    """A unified method such as `create_order`, by whichever of its two spellings it is called."""

    def __init__(self, operation: str, symbol_at: int | None, adopt: Callable[[Any], None]) -> None:
        super().__init__(adopt)
        self.operation = operation
        self.symbol_at = symbol_at
        self.subject_at = None if symbol_at is None else symbol_at + 1
        self.observe = self._observed if operation in OBSERVERS else None
        self._copy = OBSERVERS.get(operation)
        self._sends_orders = operation in SENDS_ORDERS

    def begin(self, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> LiveCall | None:
        """The call that begins here; None where it is part of one that runs, or where the client is nobody's."""
        binding = self._binding(client)
        if binding is None:
            return None
        if self._sends_orders:
            return self._begin_order(client, binding, args, kwargs)
        if running(client) is not None:
            return None
        symbol = None if self.symbol_at is None else argument(args, kwargs, self.symbol_at, "symbol")
        # Before the call begins: what fails from there on would leave it the current one.
        symbol, is_unread = label(symbol), self._is_unread(args, kwargs)
        live = binding.probe.start(self.operation, symbol)
        live.more.unread = is_unread
        return live

    def _is_unread(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Balances asked for with parameters are often those of another wallet: funding, margin."""
        return self.operation == "fetch_balance" and bool(argument(args, kwargs, 0, "params"))

    def _observed(self, live: LiveCall, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """Copy what is wanted of the answer to a reading call."""
        binding = binding_of(args[0])
        if self._copy is not None and binding is not None and not self._is_unread(args[1:], kwargs):
            self._copy(live, binding.seen, result)

    def _answered(self, live: LiveCall, seen: Seen, result: Any) -> None:
        if live.more.requests:
            order_answer(live, seen, result)
        elif self._copy is not None and not live.more.unread:
            self._copy(live, seen, result)

    def _begin_order(
        self, client: Any, binding: Binding, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> LiveCall | None:
        probe, operation = binding.probe, self.operation

        def wanted() -> tuple[OrderRequest, ...]:
            probe.identify(client)
            return orders.requests(probe.venue, probe.account, operation, args, kwargs)

        outer = running(client)
        if outer is not None and outer.more.requests:
            return None
        # Also inside another call, such as close_position, or in a task that a read began: an order is its own call.
        symbol = None
        with _KEPT:
            symbol = None if self.symbol_at is None else argument(args, kwargs, self.symbol_at, "symbol")
        return self._send(client, binding, operation, symbol, wanted)


class EndpointCall(LogicalCall):
    """`fetch2`, where a call below the unified methods begins: an implicit method, or a method captured early."""

    def begin(self, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> LiveCall | None:
        """The call that begins here; None where it serves a unified one."""
        if _serves_a_read(client, args):
            return None
        binding = self._binding(client)
        if binding is None:
            return None
        outer, probe = running(client), binding.probe
        if outer is not None and outer.more.requests:
            with _KEPT:
                self._learn_client_id(outer, argument(args, kwargs, 3, "params"))
            return None
        try:
            path, api = str(argument(args, kwargs, 0, "path", "")), argument(args, kwargs, 1, "api", "public")
            method, params = str(argument(args, kwargs, 2, "method", "GET")), argument(args, kwargs, 3, "params")
            endpoints = endpoints_of(type(client))
            says = endpoints.says(method, path, params)
            operation = _endpoint_name(path, api, method)
            if says == "unclear":
                # What the payload does not tell, the unified method does.
                if outer is not None and _is_none(outer.operation.name, endpoints):
                    return None
                binding.unclear.add(f"{method} {path}")
            sends_orders = says != "other"
            if outer is not None and not sends_orders:
                return None
        except Exception as bug:
            failures.note("instrumentation", bug)
            # What cannot be told from an order must not pass a closed gate.
            if binding.closed:
                refuse(binding, (_unread(probe, "endpoint"),))
            return None
        if not sends_orders:
            return probe.start(operation, None)

        def wanted() -> tuple[OrderRequest, ...]:
            probe.identify(client)
            return (orders.endpoint_request(probe.venue, probe.account, operation, params),)

        return self._send(client, binding, operation, None, wanted)

    def _learn_client_id(self, live: LiveCall, params: Any) -> None:
        """Where the bot gives an order no client id, ccxt gives it one: with it the order can be known again."""
        request = live.more.requests[0]
        if (
            len(live.more.requests) > 1
            or request.key.client_id is not None
            or not request.operation.startswith("create_")
        ):
            return
        client_id = orders.sent_client_id(params)
        if client_id is not None:
            named = replace(request, key=replace(request.key, client_id=client_id))
            live.own().requests = (named,)
            for gate, token in live.more.gate_tokens:
                gate.amend(token, named)


def _serves_a_read(client: Any, args: tuple[Any, ...]) -> bool:
    """Whether a request is part of a call that reads, at an endpoint that takes no order: so are most, and no more
    is to be known of them.
    """
    try:
        outer = running(client)
        if outer is None or outer.more.requests:
            return False
        path, _, method, *_ = args
        kind: type = type(client)
        return type(path) is type(method) is str and never_orders(kind, method, path)
    except Exception:  # whoever looks closer finds out
        return False


def _is_none(operation: str, endpoints: Endpoints) -> bool:
    """Whether a unified method uses the endpoint that orders go to for something else."""
    return operation.startswith("cancel_") or operation in endpoints.users


def _unread(probe: Probe, operation: str) -> OrderRequest:
    """An order whose arguments could not be read: still an order."""
    return OrderRequest(OrderKey(probe.venue, probe.account, "", None, None), operation, None, None, None, None)


def _endpoint_name(path: str, api: Any, method: Any) -> str:
    """As ccxt names its implicit methods: `private_post_order`. Paths are templates here, ids are not in them."""
    where = api if type(api) is str else "_".join(a for a in api if type(a) is str)
    return _snake(f"{where}_{method}_{path}")


@lru_cache(maxsize=1_024)
def _snake(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:80]
