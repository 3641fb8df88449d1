"""The composition root: builds the rooms for one bot, wires them, and takes them apart again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import msgspec
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from tradewatch import given, own
from tradewatch import status as said
from tradewatch.breaker import Breaker, Follower, OrderGate
from tradewatch.changes import Changes
from tradewatch.clients import Accounts, Clients, salt_of
from tradewatch.control.commands import Bot
from tradewatch.control.server import ControlSocket
from tradewatch.health import GcPauses, looked_at
from tradewatch.instrumentation import executor
from tradewatch.instrumentation.ccxt import Ccxt, is_client
from tradewatch.instrumentation.discovery import Search, search, with_named
from tradewatch.instrumentation.patch import Patches
from tradewatch.memory import Memory
from tradewatch.model import Clock, Halt
from tradewatch.portfolio import Portfolio
from tradewatch.runtime.clock import SystemClock
from tradewatch.runtime.failures import failures
from tradewatch.runtime.safety import SafetyThread
from tradewatch.runtime.service import Job, Service
from tradewatch.safety import Safety
from tradewatch.semconv import Reading
from tradewatch.store import Store, StoreInUse, StoreUnavailable, state_folder
from tradewatch.telemetry.cell import Cells
from tradewatch.telemetry.gauges import Gauges
from tradewatch.telemetry.journal import Journal
from tradewatch.telemetry.logs import Logs
from tradewatch.telemetry.outputs import Outputs
from tradewatch.telemetry.probe import Probe
from tradewatch.telemetry.providers import Providers, connect
from tradewatch.telemetry.tally import Tally
from tradewatch.telemetry.traffic import Traffic

_STOP_S = 1.8
_NOT_BEGUN_S = 0.5


class Watch:
    """A bot that is being watched. Made by `tradewatch.instrument`; `with` stops watching at the end of the block.

    >>> with tradewatch.instrument([ccxt.kraken()], name="kraken", port=None) as watch:
    ...     print(watch)
    <Watch 'kraken': ACTIVE, 1 clients>

    Attributes:
        name: the bot's.
        search: how much was looked at to find its clients; those that were found are in `status().clients`.
        tracer, meter, extra: of the providers in use, and the attributes that tell this bot from others on them;
            the tracer is None where nobody wants spans.
        settings: what is in force, and how it changes while the bot runs.
        forked: this process is a child of the one that watches; here nothing is booked, written or sent.
    """

    def __init__(
        self,
        bot: Any,
        ccxt: Ccxt,
        gauges: Gauges,
        logs: Logs,
        leave: Callable[[Watch], None],
        *,
        chosen: given.InForce,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        clients: Sequence[Any] = (),
        executors: Sequence[Any] = (),
        clock: Clock | None = None,
        follows: Path | None = None,
    ) -> None:
        # What the caller may have got wrong is looked at before anything is begun.
        given.check_clock(clock)
        settings = chosen.settings
        methods = executor.named(executors)
        self.name = given.bot_name(bot, settings.name)
        self.search: Search = with_named(search(bot, is_client), clients, is_client)
        self._executors = dict.fromkeys([*methods, *executor.found_on(bot, is_client)])
        self._ccxt = ccxt
        self._gauges = gauges
        self._logs = logs
        self._leave = leave
        self._clock = clock or SystemClock()
        self._since_ns = self._clock.now_ns()
        self._patches = Patches()
        self._cells = Cells()
        self._journal = Journal()
        self._overhead = own.Overhead()
        self._stopped = self._at_exit = False
        self.forked = False

        self._follows = follows
        self._folder: Path | None = None
        opened = self._open_store(settings.state_dir) if follows is None else None
        self._store = opened if isinstance(opened, Store) else None
        made = None
        try:
            port = settings.port if follows is None else None
            made = connect(self.name, port, tracer_provider, meter_provider, headers=settings.otlp_headers)
            self._build(opened, chosen, made)
        except BaseException:
            if made is not None:
                made.shutdown(_NOT_BEGUN_S)
            if self._store is not None:
                self._store.close()
            raise

    def _build(self, opened: Store | StoreUnavailable | None, chosen: given.InForce, providers: Providers) -> None:
        accounts = Accounts(chosen.settings.account, salt_of(self._store))
        self._gate = OrderGate(self._clock)
        self._breaker = Breaker(opened, self._gate, self._clock, lambda status: self._journal.touch())
        self.settings = Changes(chosen, self._configured, self._breaker.keep, self.name, self._clock)
        tally = Tally(self._cells)
        self._traffic = Traffic(self._cells)
        self._outputs = Outputs(
            providers,
            self._gauges,
            self._logs,
            bot=self.name,
            strategy=chosen.settings.strategy,
            cells=self._cells,
            timed=tally.timed,
            journal=self._journal,
        )
        self.tracer, self.meter, self.extra = self._outputs.tracer, self._outputs.meter, self._outputs.extra
        self._clients = Clients(
            self._ccxt, self._gate, self._probe, accounts, self._outputs.fold.retire, cells=self._cells
        )
        self._memory = Memory(self._store)
        self._pauses = GcPauses(self._cells)
        self._system = looked_at(
            chosen.settings, self._folder, self._clients.loops, self._pauses, self._cells.cardinality
        )
        self._safety = Safety(
            journal=self._journal,
            cells=self._cells,
            tally=tally,
            traffic=self._traffic,
            breaker=self._breaker,
            portfolio=Portfolio(self._clock, chosen.settings.currency),
            memory=self._memory,
            groups=chosen.groups,
            limits=chosen.limits,
            identity=self._outputs.identity,
            clock=self._clock,
            hand_on=self._outputs.emitter.take,
            others=self._own_readings,
        )
        self._outputs.begin(lambda: self._safety.published)
        self._safety_thread = SafetyThread(self._safety.step, self._journal.wake)
        jobs: dict[str, Job] = {**self._outputs.jobs, "store": self._memory.run, "system": self._system.run}
        if self._follows is not None:
            jobs["following"] = Follower(self._follows, self._breaker).run
        self._service = Service(jobs, lambda within_s: self._outputs.close(within_s, at_exit=self._at_exit))
        # A process beside the one that has the folder is halted with that one.
        control = Bot(self.name, self._breaker, self.status, self._safety.query, lambda: self.settings.in_force.limits)
        self._control = ControlSocket(self._folder, control) if self._folder is not None else None

    def start(self) -> None:
        """Arm the gate on every client found, and start the two threads."""
        for found in self.search.found:
            with failures.kept("instrumentation"):
                self.adopt(found.client, found.path, found=True)
        # A client that the bot lets go of must be able to go.
        self.search = msgspec.structs.replace(self.search, found=())
        if self.tracer is not None:
            executor.wrap(self._patches, self._executors, self.tracer, self._outputs.span_extra)
        self._pauses.start()
        self._safety_thread.start()
        self._service.start()
        if self._control is not None:
            self._control.start()

    def adopt(self, client: Any, path: str, *, found: bool) -> None:
        """Watch a client: one that was found, or one that the bot made later; see `Clients.adopt`."""
        self._clients.adopt(client, path, found=found)

    def take_over(self, other: Watch) -> None:
        """Watch the clients of a watch that has stopped, and be halted where it was: no order passes in between."""
        halted = other._breaker.status()
        if halted.state == "HALTED" and self._breaker.status().state == "ACTIVE":
            self._breaker.halt(halted.by, halted.reason, halted.evidence)
        other._outputs.hand_over()
        other._patches.undo()
        self._clients.take_over(other._clients, self.search)

    def fork(self, *, let_go: bool) -> None:
        """In a forked child: nothing of this watch runs there but its gate, which stays as it was.

        What the clients do is not written down, since nobody would read it. With `let_go` the clients are taken
        from it, for a watch of the child's own that takes over.
        """
        self.forked = True
        self._pauses.stop()
        if self._control is not None:
            self._control.forked()
        self._journal.forked()
        self._outputs.forked()
        self._breaker.forked()
        self.settings.forked()
        self._patches.undo()
        self._clients.forked(self._journal, let_go=let_go)

    def hold_again(self) -> None:
        """Put the gate back on clients that were let go, where nothing took over: it stays as it was at the fork."""
        self._clients.hold_again()

    def status(self) -> said.Status:
        """Everything there is to know at this moment; reads memory alone and may be called from any thread.

        >>> with tradewatch.instrument([ccxt.kraken()], name="kraken", port=None) as watch:
        ...     status = watch.status()
        >>> status.breaker.state, status.limits["daily_loss"]
        ('ACTIVE', 0.03)
        """
        return said.Status(
            bot=self.name,
            at_ns=self._clock.now_ns(),
            since_ns=self._since_ns,
            clients=tuple(client for client, _ in self._clients.mine()),
            operations=said.operations(self._cells),
            venues=self._clients.venues(),
            attempts=self._safety.tally.attempts,
            retries=self._safety.tally.retries.total(),
            throttle_s=self._safety.tally.throttle_ns / 1e9,
            orders=self._safety.tally.by_status(),
            errors=dict(self._safety.tally.errors),
            portfolio=self._safety.snapshot,
            limits=self.settings.in_force.limits,
            settings=self.settings.in_force.listed,
            configured_ns=self.settings.changed_ns,
            rules=self._safety.engine.status(),
            breaker=self._breaker.status(),
            overhead_cpu=self._overhead.cpu,
            telemetry=said.telemetry(self._outputs, self._journal),
            failures=dict(failures.counts),
            safety_alive=self._safety_thread.alive,
            service_alive=self._service.alive,
            state_folder=str(self._store.folder) if self._store is not None else None,
            notes=said.notes(
                self.search,
                watched=bool(self._clients.mine()),
                shared=self._clients.shared,
                unclear=self._clients.unclear,
                refused=self.settings.refused,
                halting=any(r.rule.action == "halt" for group in self.settings.in_force.groups for r in group.rules),
                follows=self._follows,
                kept=self._store is not None,
                control=self._control.note if self._control is not None else None,
            ),
            system=said.system(self._system),
        )

    def halt(self, reason: str, by: str = "operator") -> Halt:
        """Refuse every new order from now on; cancels and reads pass. Returns once it is on disk.

        >>> with tradewatch.instrument([ccxt.kraken()], name="kraken", port=None) as watch:
        ...     halt = watch.halt("news", by="me")
        ...     resumed = watch.resume("read them", by="me")
        >>> halt.state, halt.reason, resumed.state
        ('HALTED', 'news', 'ACTIVE')

        Args:
            reason: why, for whoever looks later.
            by: who asks.

        Returns:
            The halt in force; an earlier one stands. `status().breaker.confirmed` says whether every order that had
            passed is answered or listed as unknown.
        """
        return self._breaker.halt(by, reason)

    def resume(self, reason: str, by: str = "operator") -> Halt:
        """Let orders pass again; the example is that of `halt`.

        Raises:
            tradewatch.ResumeRefused: the disk did not take it, or a halt came meanwhile; the bot is still halted.
        """
        return self._breaker.resume(by, reason)

    def configure(self, **changes: Any) -> None:
        """Change settings while the bot runs: limits and rules, all of what is given or nothing.

        They win over file and environment, as arguments of `tradewatch.instrument` do. A rule that stays as it was
        keeps its alerts; a halt stays. The example is that of a bot that may lose 2 % from now on:

        >>> with tradewatch.instrument([ccxt.kraken()], name="kraken", port=None) as watch:
        ...     watch.configure(limits={"daily_loss": 0.02})
        ...     watch.status().limits["daily_loss"]
        0.02

        Args:
            changes: `limits` by name, those that are not named stay; `rules`, a list of files that are read again.

        Raises:
            tradewatch.SettingsError: something is not accepted, or cannot change while the bot runs.
            tradewatch.RuleFileError: a rule file that does not load.
            RuntimeError: the safety thread does not answer.
        """
        self.settings.configure(changes)

    def __repr__(self) -> str:
        """One line, for whoever prints a watch."""
        return f"<Watch {self.name!r}: {self._breaker.status().state}, {len(self._clients.mine())} clients>"

    def __enter__(self) -> Self:
        """`with tradewatch.instrument(bot) as watch:` stops watching at the end of the block."""
        return self

    def __exit__(self, *error: object) -> None:
        """As `tradewatch.uninstrument`."""
        self._leave(self)

    async def __aenter__(self) -> Self:
        """As `with`."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """As `with`, off the loop: it may take two seconds."""
        await asyncio.to_thread(self._leave, self)

    def stop(self, *, at_exit: bool = False) -> None:
        """Book and send what is there, mark a clean end, let the clients go: in two seconds, or it gives up.

        At the end of the process the clients are kept: until it is gone, other threads may still send orders, and the
        gate stays as it is.
        """
        if self._stopped:
            return
        self._stopped, self._at_exit = True, at_exit
        try:
            if not self.forked:
                self._end()
        finally:
            if not at_exit:
                self._patches.undo()
                self._clients.release()

    def _end(self) -> None:
        deadline = time.monotonic() + _STOP_S
        # Last first. A second Ctrl-C ends the step that it meets alone: the others still book, mark and send.
        with ExitStack() as ending:
            ending.callback(self._end_store, deadline)
            ending.callback(self._end_service, deadline)
            ending.callback(self._end_breaker)
            ending.callback(self._end_safety)
            if self._control is not None:
                ending.callback(self._control.stop)
            ending.callback(self._pauses.stop)

    def _end_safety(self) -> None:
        if not self._safety_thread.stop(_STOP_S / 2):
            failures.warn("stop", "the safety thread did not end in time; its last records may be missing")
        self._journal.close()

    def _end_breaker(self) -> None:
        with failures.kept("breaker"):
            self._breaker.close()

    def _end_service(self, deadline: float) -> None:
        if not self._service.stop(max(0.1, deadline - time.monotonic())):
            self._outputs.emitter.give_up()
            failures.warn("stop", "the last telemetry could not be sent in 2 s; the collector does not answer")

    def _end_store(self, deadline: float) -> None:
        if self._store is not None:
            # An interrupt may have ended the wait for the service thread, which writes what was booked last.
            try:
                self._memory.finish(deadline - time.monotonic() if self._service.alive else 0.0)
            finally:
                with failures.kept("store"):
                    self._store.close()

    def _configured(self, chosen: given.InForce) -> None:
        self._safety.configure(chosen.groups, chosen.limits)

    def _open_store(self, folder: str | None) -> Store | StoreUnavailable:
        try:
            self._folder = Path(folder or state_folder(self.name)).absolute()
            return Store.open(self._folder, self._clock)
        except StoreInUse:
            # Which of the two is halted, and whose fills are whose, could not be told: a name is missing.
            raise
        except StoreUnavailable as error:
            failures.warn("store", f"nothing survives a restart of this bot: {error}")
            return error

    def _probe(self, exchange: str, account: str) -> Probe:
        spans, traffic = self._outputs.spans, self._traffic
        return Probe(exchange, account, self._cells, self._journal, self._clock, spans=spans, traffic=traffic)

    def _own_readings(self) -> Iterator[Reading]:
        if self._overhead.measure(self._safety_thread.cpu_ns + self._service.cpu_ns + self._clients.overhead_ns):
            # Of the service thread this is what it had used at the reading before: to ask it wakes it.
            self._service.measure()
        yield from own.readings(self._overhead, self._journal, self._cells, self._outputs)
        yield from self._clients.readings()
        yield from self._traffic.readings()
        yield from self._system.readings()
