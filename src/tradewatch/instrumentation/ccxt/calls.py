"""The logical calls of ccxt: a unified method, or an endpoint called below them. Orders pass the gate here first."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from time import monotonic_ns, thread_time_ns
from typing import Any

from tradewatch.instrumentation.ccxt import orders
from tradewatch.instrumentation.ccxt.endpoints import endpoints_of
from tradewatch.instrumentation.ccxt.errors import error_type, failed_order_status, is_cancellation, order_refused
from tradewatch.instrumentation.ccxt.numbers import label
from tradewatch.instrumentation.ccxt.observe import OBSERVERS, Seen, order_answer
from tradewatch.model import Gate, OrderReport, OrderRequest, Refusal
from tradewatch.runtime.failures import describe, failures
from tradewatch.runtime.scrub import scrubber
from tradewatch.telemetry.probe import CURRENT, LiveCall, Probe

BINDING = "_tradewatch"
_SECRETS = (
    "apiKey",
    "secret",
    "password",
    "uid",
    "login",
    "token",
    "twofa",
    "privateKey",
    "walletAddress",
    "accountId",
)
# The unified methods that send orders.
SENDS_ORDERS = frozenset(
    {
        "create_order",
        "create_orders",
        "edit_order",
        "edit_orders",
        "create_order_ws",
        "create_orders_ws",
        "edit_order_ws",
    }
)


_KEPT = failures.kept("instrumentation")


class Binding:
    """What a client carries once it is instrumented.

    A copy of the client keeps it, so that the copy's orders pass the same gate; a pickled one loses it, since the
    process that it wakes up in is another.
    """

    __slots__ = ("found", "gate", "probe", "rate_limit_used", "render", "seen")

    def __init__(self, probe: Probe, gate: Gate, render: Callable[[Refusal], str], *, found: bool) -> None:
        self.found = found
        self.probe = probe
        self.gate = gate
        self.render = render
        self.seen = Seen()
        self.rate_limit_used: float | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Binding:
        return self

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()


def secrets_of(client: Any) -> list[Any]:
    """The credentials that a client holds."""
    return [client.__dict__.get(name) for name in _SECRETS]


def binding_of(client: Any) -> Binding | None:
    """The binding that a client carries."""
    return client.__dict__.get(BINDING)  # type: ignore[no-any-return]


def running(client: Any) -> LiveCall | None:
    """The call of this client that is under way in this task or thread."""
    live = CURRENT.get()
    if live is None or live.ended:
        return None
    binding = client.__dict__.get(BINDING)
    return live if binding is not None and live.probe is binding.probe else None


def refuse_if_closed(live: LiveCall, binding: Binding) -> None:
    """Raise where the closed gate refuses any order of this call."""
    if binding.gate.closed:
        refusal = None
        with _KEPT:
            refusal = next((r for r in map(binding.gate.admit, live.requests) if r is not None), None)
        if refusal is not None:
            message = "tradewatch refused this order: the bot is halted"
            with _KEPT:
                message = binding.render(refusal)
            raise order_refused(message)


def argument(args: tuple[Any, ...], kwargs: Mapping[str, Any], at: int, name: str, default: Any = None) -> Any:
    """An argument given by place or by name."""
    return args[at] if len(args) > at else kwargs.get(name, default)


class _LogicalCall:
    """What unified methods and endpoints have in common: they begin in two ways and end in one."""

    def __init__(self) -> None:
        self._observe: Callable[[LiveCall, Seen, Any], None] | None = None

    def _pass_gate(self, live: LiveCall, binding: Binding, wanted: tuple[OrderRequest, ...]) -> None:
        with _KEPT:
            live.requests = wanted
            live.gate_tokens = tuple([binding.gate.enter(request) for request in wanted])
        refuse_if_closed(live, binding)

    def succeed(self, client: Any, live: LiveCall, result: Any) -> None:
        end_ns, began_ns = monotonic_ns(), 0 if live.cpu_ns is None else thread_time_ns()
        binding = binding_of(client)
        if binding is not None:
            with _KEPT:
                if live.requests:
                    order_answer(live, binding.seen, result)
                elif self._observe is not None:
                    self._observe(live, binding.seen, result)
        self._end(live, binding, end_ns, began_ns)

    def fail(self, client: Any, live: LiveCall, error: BaseException) -> None:
        end_ns, began_ns = monotonic_ns(), 0 if live.cpu_ns is None else thread_time_ns()
        live.cancelled = is_cancellation(error)
        with _KEPT:
            if not live.cancelled:
                # A key may have been set after the client was found.
                scrubber.learn(secrets_of(client))
                live.error, live.message = error_type(error), describe(error)
            if live.requests:
                by_get = endpoints_of(type(client)).placing_by_get
                status, now = failed_order_status(error, live.attempts, by_get), live.probe.clock.now_ns()
                live.outcomes = tuple(
                    OrderReport(r.key, r.side, r.type, status, r.amount, r.price, None, None, None, None, now)
                    for r in live.requests
                )
        self._end(live, binding_of(client), end_ns, began_ns)

    def _end(self, live: LiveCall, binding: Binding | None, end_ns: int, began_ns: int) -> None:
        with _KEPT:
            live.probe.end(live, end_ns, began_ns)
        if live.gate_tokens and binding is not None:
            with _KEPT:
                said = {o.status for o in live.outcomes}
                for token in live.gate_tokens:
                    binding.gate.leave(
                        token, "unknown" if "unknown" in said else "refused" if "refused" in said else "answered"
                    )


class UnifiedCall(_LogicalCall):
    """A unified method such as `create_order`, by whichever of its two spellings it is called."""

    def __init__(self, operation: str, symbol_at: int | None) -> None:
        super().__init__()
        self._observe = OBSERVERS.get(operation)
        self._operation = operation
        self._symbol_at = symbol_at
        self._sends_orders = operation in SENDS_ORDERS

    def begin(self, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> LiveCall | None:
        """The call that begins here; None where it is part of one that runs, or where the client is not ours."""
        binding = binding_of(client)
        if binding is None:
            return None
        outer = running(client)
        if outer is not None:
            if self._sends_orders and not outer.requests:
                # An order inside another method, such as close_position: the outer call carries it.
                self._pass_gate(outer, binding, self._wanted(binding.probe, args, kwargs))
            return None
        live = None
        with _KEPT:
            symbol = None if self._symbol_at is None else argument(args, kwargs, self._symbol_at, "symbol")
            live = binding.probe.start(self._operation, label(symbol))
        if live is not None and self._sends_orders:
            try:
                self._pass_gate(live, binding, self._wanted(binding.probe, args, kwargs))
            except BaseException as refused:
                self.fail(client, live, refused)
                raise
        return live

    def _wanted(self, probe: Probe, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[OrderRequest, ...]:
        wanted: tuple[OrderRequest, ...] = ()
        with _KEPT:
            wanted = orders.requests(probe.venue, probe.account, self._operation, args, kwargs)
        # An order that cannot be read is still an order: a closed gate must stop it.
        return wanted or (orders.endpoint_request(probe.venue, probe.account, self._operation, {}),)


class EndpointCall(_LogicalCall):
    """`fetch2`, where a call below the unified methods begins: an implicit method, or a method captured early."""

    def begin(self, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> LiveCall | None:
        """The call that begins here; None where it serves a unified one."""
        binding = binding_of(client)
        if binding is None or running(client) is not None:
            return None
        live, wanted = None, None
        with _KEPT:
            path, api = str(argument(args, kwargs, 0, "path", "")), argument(args, kwargs, 1, "api", "public")
            method, params = argument(args, kwargs, 2, "method", "GET"), argument(args, kwargs, 3, "params")
            live = binding.probe.start(_endpoint_name(path, api, method), None)
            if endpoints_of(type(client)).sends_orders(str(method), path):
                probe = binding.probe
                wanted = orders.endpoint_request(probe.venue, probe.account, live.cell.operation, params)
        if live is not None and wanted is not None:
            try:
                self._pass_gate(live, binding, (wanted,))
            except BaseException as refused:
                self.fail(client, live, refused)
                raise
        return live


def _endpoint_name(path: str, api: Any, method: Any) -> str:
    """As ccxt names its implicit methods: `private_post_order`. Paths are templates here, ids are not in them."""
    where = api if type(api) is str else "_".join(a for a in api if type(a) is str)
    return re.sub(r"[^a-z0-9]+", "_", f"{where}_{method}_{path}".lower()).strip("_")[:80]
