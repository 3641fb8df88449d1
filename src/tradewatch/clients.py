"""The exchange clients of one bot: adopted, shared with other bots, taken over, let go; and the limits they tell of."""

from __future__ import annotations

import hashlib
import secrets
import time
import weakref
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from tradewatch import status as said
from tradewatch.breaker import OrderGate, explain
from tradewatch.instrumentation.ccxt import Binding, Ccxt, ClockOffset, Limit, binding_of, loop_of
from tradewatch.instrumentation.discovery import Search
from tradewatch.runtime.failures import failures
from tradewatch.semconv import Reading
from tradewatch.semconv import attributes as a
from tradewatch.semconv import metrics as m
from tradewatch.store import Store, decode
from tradewatch.telemetry.cell import Cells
from tradewatch.telemetry.journal import Journal
from tradewatch.telemetry.probe import Probe


class _Salt(msgspec.Struct, frozen=True):
    """Body of `account.salt`: what API keys are hashed with, so that an account's name tells nothing of its key."""

    salt: str


def salt_of(store: Store | None) -> bytes:
    """The salt that a store keeps; a fresh one where there is none."""
    fresh = _Salt(secrets.token_hex(16))
    if store is not None:
        with failures.kept("store"):
            event = store.last("account.salt")
            if event is not None:
                return decode(event, _Salt).salt.encode()
            store.append("account.salt", fresh, durable=True)
    return fresh.salt.encode()


PUBLIC = "public"


class Accounts:
    """Names for accounts.

    Args:
        name: as set by the bot's owner, or None.
        salt: what API keys are hashed with.
    """

    def __init__(self, name: str | None, salt: bytes) -> None:
        self._name = name
        self._salt = salt

    def of(self, client: Any, exchange: str) -> str:
        """The account's name: as set, with the venue's name behind it, else a salted hash of venue and key."""
        if self._name is not None:
            return f"{self._name}-{exchange}"
        key = getattr(client, "apiKey", None) or getattr(client, "walletAddress", None)
        if not isinstance(key, str) or not key:
            return PUBLIC
        return hashlib.blake2s(f"{exchange}:{key}".encode(), key=self._salt, digest_size=5).hexdigest()


def _is_closed(client: Any) -> bool:
    """Whether a client that had a session has none any more, as after an async client's `close()`."""
    return "session" in client.__dict__ and client.__dict__["session"] is None


class Clients:
    """Clients are held weakly: one that the bot lets go of can go.

    Args:
        ccxt: binds them.
        gate: every client's orders pass it.
        probe_of: makes a probe, given venue and account.
        accounts: names them.
        gone: told of a venue that no client is left of.
        cells: whose bounds on attributes hold here too.
    """

    def __init__(
        self,
        ccxt: Ccxt,
        gate: OrderGate,
        probe_of: Callable[[str, str], Probe],
        accounts: Accounts,
        gone: Callable[[str], None],
        *,
        cells: Cells,
    ) -> None:
        self._ccxt = ccxt
        self._cells = cells
        self._gate = gate
        self._probe_of = probe_of
        self._accounts = accounts
        self._gone = gone
        self._clients: list[tuple[weakref.ref[Any], said.Client, Binding]] = []
        self._shared: list[tuple[str, Binding]] = []
        self._overhead_gone_ns = 0

    def adopt(self, client: Any, path: str, *, found: bool) -> None:
        """Watch a client: one that was found, or one that the bot made later.

        A client that was found on a bot stays with that bot; one that was only made while it ran goes to the bot that
        it is found on.
        """
        known = binding_of(client)
        if known is not None and self._gate in known.gates:
            return
        if known is not None and (known.found or not found):
            # Another bot's: its calls are counted there, but either bot's halt refuses its orders.
            if found:
                known.gates = (*known.gates, self._gate)
                self._shared.append((path, known))
            return
        self._bind(client, path, found=found)
        if known is not None:
            known.let_go(*known.gates)

    def take_over(self, other: Clients, search: Search) -> None:
        """Watch the clients of another bot that is watched no more, by the paths that they were found at here."""
        paths = {id(found.client): found.path for found in search.found}
        for made, known, _ in other._clients:
            client = made()
            if client is not None:
                with failures.kept("instrumentation"):
                    self._bind(client, paths.get(id(client), known.path), found=id(client) in paths)
        other.release()

    def release(self) -> None:
        """Let the clients go, those of other bots too."""
        for binding in [b for _, _, b in self._clients] + [b for _, b in self._shared]:
            binding.let_go(self._gate)

    def forked(self, journal: Journal, *, let_go: bool) -> None:
        """In a forked child: what they do is not counted with what the parent's did.

        With `let_go` their next call asks for a binding, for a watch of the child's own that takes over.
        """
        for made, _, binding in self._clients:
            probe, client = binding.probe, made()
            binding.probe = Probe(probe.venue, probe.account, Cells(), journal, probe.clock)
            binding.operations = binding.probe.operations
            if let_go and client is not None:
                self._ccxt.let_go(client)

    def hold_again(self) -> None:
        """Put the gate back on clients that were let go, where nothing took over."""
        for made, _, binding in self._clients:
            client = made()
            if client is not None:
                self._ccxt.bind(client, binding)

    def mine(self) -> list[tuple[said.Client, Binding]]:
        """The clients that are still there and still this bot's; those that are gone are forgotten."""
        there = [(made, client, binding) for made, client, binding in self._clients if made() is not None]
        if len(there) != len(self._clients):
            # What a client that is gone took is kept in the sum.
            gone = [entry for entry in self._clients if entry[0]() is None]
            for exchange in {client.exchange for _, client, _ in gone} - {client.exchange for _, client, _ in there}:
                self._gone(exchange)
            self._overhead_gone_ns += sum(binding.probe.overhead_ns for _, _, binding in gone)
            self._clients = there
        return [(client, binding) for _, client, binding in there if self._gate in binding.gates]

    @property
    def shared(self) -> list[str]:
        """Where those were found that belong to another bot too."""
        return [path for path, _ in self._shared]

    @property
    def unclear(self) -> list[str]:
        """Venue and endpoint where what was sent did not tell whether it was an order."""
        return sorted({f"{client.exchange}: {each}" for client, b in self.mine() for each in list(b.unclear)})

    @property
    def overhead_ns(self) -> int:
        """CPU time that the bot's threads spent for us in their calls."""
        return sum(binding.probe.overhead_ns for _, binding in self.mine()) + self._overhead_gone_ns

    def loops(self) -> Iterator[tuple[str, AbstractEventLoop]]:
        """Path and event loop of each client that has been used on one."""
        for made, client, binding in tuple(self._clients):
            there = made()
            loop = None if there is None or self._gate not in binding.gates else loop_of(there)
            if loop is not None:
                yield client.path, loop

    def venues(self) -> tuple[said.Venue, ...]:
        """What the venues told of themselves to clients that are open; of several the most used, the best known."""
        now_ns = time.monotonic_ns()
        limits: dict[str, dict[str, Limit]] = {}
        clocks: dict[str, ClockOffset] = {}
        silent: dict[str, int] = {}
        for made, client, binding in self._clients:
            open_client = made()
            if open_client is None or self._gate not in binding.gates or _is_closed(open_client):
                continue
            exchange, heard = client.exchange, binding.heard
            silent[exchange] = max(silent.get(exchange, 0), heard.silent_until_ns)
            known = limits.setdefault(exchange, {})
            for name, one in heard.limits(now_ns).items():
                before = known.get(name)
                known[name] = one if before is None or (one.used or 0) > (before.used or 0) else before
            clock, other = heard.clock(now_ns), clocks.get(exchange)
            if clock is not None and (other is None or clock.uncertainty_s < other.uncertainty_s):
                clocks[exchange] = clock
        wall_ns = time.time_ns()
        return tuple(
            said.Venue(
                exchange,
                tuple(said.RateLimit(name, one.used, one.limit, one.remaining) for name, one in known.items()),
                silent[exchange] if silent[exchange] > wall_ns else None,
                None if (clock := clocks.get(exchange)) is None else clock.offset_s,
                None if clock is None else clock.uncertainty_s,
            )
            for exchange, known in limits.items()
        )

    def readings(self) -> Iterator[Reading]:
        """The same as metrics."""
        admit = self._cells.cardinality.admit
        for venue in self.venues():
            of = (a.EXCHANGE.name, venue.exchange)
            # What there is no room for is one series: that of which most is used.
            shown = {admit(a.RATE_LIMIT.name, one.name): one for one in sorted(venue.rate_limits, key=said.share)}
            for name, one in shown.items():
                for metric, value in (
                    (m.RATE_LIMIT_USED, one.used),
                    (m.RATE_LIMIT_LIMIT, one.limit),
                    (m.RATE_LIMIT_REMAINING, one.remaining),
                ):
                    if value is not None:
                        yield Reading(metric, value, (of, (a.RATE_LIMIT.name, name)))
            if venue.silent_until_ns is not None:
                yield Reading(m.RETRY_AFTER, max(venue.silent_until_ns - time.time_ns(), 0) / 1e9, (of,))
            if venue.clock_offset_s is not None and venue.clock_uncertainty_s is not None:
                yield Reading(m.CLOCK_OFFSET, venue.clock_offset_s, (of,))
                yield Reading(m.CLOCK_UNCERTAINTY, venue.clock_uncertainty_s, (of,))

    def _bind(self, client: Any, path: str, *, found: bool) -> None:
        exchange = str(getattr(client, "id", "") or type(client).__name__)
        probe = self._probe_of(exchange, self._accounts.of(client, exchange))
        if probe.account == PUBLIC:
            probe.account_of = lambda client: self._late_account(probe, client)
        binding = Binding(probe, self._gate, explain, found=found)
        kind = f"{type(client).__module__}.{type(client).__qualname__}"
        self._ccxt.bind(client, binding)
        self._clients.append((weakref.ref(client), said.Client(path, kind, exchange), binding))

    def _late_account(self, probe: Probe, client: Any) -> str:
        """The account of a client whose key is set later than it is bound."""
        account = self._accounts.of(client, probe.venue)
        if account != PUBLIC:
            probe.account_of = None
        return account
