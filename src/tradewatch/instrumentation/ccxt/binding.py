"""What a client carries once it is instrumented: whose it is, and the gates that refuse its orders."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import Any

from tradewatch.instrumentation.ccxt.errors import order_refused
from tradewatch.instrumentation.ccxt.heard import Heard
from tradewatch.instrumentation.ccxt.observe import Seen
from tradewatch.instrumentation.patch import Refused
from tradewatch.model import Gate, OrderRequest, Refusal
from tradewatch.runtime.failures import failures
from tradewatch.telemetry.live import LiveCall
from tradewatch.telemetry.probe import Probe, get_current

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
_KEPT = failures.kept("instrumentation")


class Binding:
    """What a client carries once it is instrumented.

    A copy of the client keeps it, so that the copy's orders pass the same gates; a pickled one loses it, since the
    process that it wakes up in is another. A client that several bots share has the gate of each.
    """

    __slots__ = (
        "__weakref__",
        "feed",
        "found",
        "gates",
        "heard",
        "operations",
        "over",
        "probe",
        "render",
        "seen",
        "unclear",
    )

    def __init__(self, probe: Probe, gate: Gate, render: Callable[[Refusal], str], *, found: bool) -> None:
        self.found = found
        # Set once the client has another one, or nobody watches any client: a copy that still carries it asks anew.
        self.over = False
        self.probe = probe
        # Empty once every bot has let the client go: such a binding counts as none.
        self.gates: tuple[Gate, ...] = (gate,)
        # The probe's, for the wrappers; none once nobody watches.
        self.operations = probe.operations
        self.render = render
        self.seen = Seen()
        self.heard = Heard()
        self.feed = probe.traffic.feed(probe.venue)
        # Endpoints at which it was not clear whether an order or something else was sent.
        self.unclear: set[str] = set()

    @property
    def closed(self) -> bool:
        """Whether any bot that has this client is halted."""
        return any(gate.closed for gate in self.gates)

    def let_go(self, *gates: Gate) -> None:
        """Bots let the client go; the calls of one that nobody watches are left alone."""
        self.gates = tuple(one for one in self.gates if one not in gates)
        if not self.gates:
            self.operations = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Binding:
        return self

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()


def secrets_of(client: Any) -> list[Any]:
    """The credentials that a client holds."""
    return [client.__dict__.get(name) for name in _SECRETS]


def binding_of(client: Any) -> Binding | None:
    """The binding that a client carries, if a bot still has the client."""
    binding: Binding | None = client.__dict__.get(BINDING)
    return binding if binding is not None and binding.gates else None


def loop_of(client: Any) -> AbstractEventLoop | None:
    """The event loop that an async client has been used on; none of a blocking one."""
    loop = client.__dict__.get("asyncio_loop")
    return loop if isinstance(loop, AbstractEventLoop) else None


def running(client: Any) -> LiveCall | None:
    """The call of this client that is under way in this task or thread."""
    live = get_current()
    if live is None or live.end_ns:
        return None
    binding: Binding | None = client.__dict__.get(BINDING)
    return live if binding is not None and live.operation.probe is binding.probe and binding.gates else None


def refuse_if_closed(live: LiveCall, binding: Binding) -> None:
    """Raise `Refused` where the closed gate refuses any order of this call."""
    if binding.closed:
        refuse(binding, live.more.requests)


def refuse(binding: Binding, wanted: tuple[OrderRequest, ...]) -> None:
    """Raise `Refused` unless the closed gate admits every one of these orders.

    The gate is closed for a reason: a bug of ours on this way refuses too.
    """
    message = "tradewatch refused this order: the bot is halted. Cancels still pass"
    with _KEPT:
        asked = [(gate, request) for gate in binding.gates if gate.closed for request in wanted]
        refusal = next((r for gate, request in asked if (r := gate.admit(request)) is not None), None)
        if refusal is None and wanted:
            return
        if refusal is not None:
            message = binding.render(refusal)
    raise Refused(order_refused(message))
