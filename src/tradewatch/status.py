"""What `Watch.status()` says: everything that a live view, a script or a person asks of a running bot."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from tradewatch import health
from tradewatch.breaker import Status as BreakerStatus
from tradewatch.instrumentation.discovery import Search
from tradewatch.portfolio import PortfolioSnapshot
from tradewatch.rules import RuleStatus
from tradewatch.settings.sources import Setting
from tradewatch.telemetry.cell import Cell, merged, quantile_s
from tradewatch.telemetry.journal import Journal
from tradewatch.telemetry.outbox import Dropped
from tradewatch.telemetry.outputs import Outputs


class Client(msgspec.Struct, frozen=True):
    """An exchange client: where it was found on the bot, its class, and its venue."""

    path: str
    kind: str
    exchange: str


class Operation(msgspec.Struct, frozen=True):
    """Calls of one operation since the start. Latencies in seconds, None without calls.

    They are read from the histogram's buckets as Prometheus's `histogram_quantile` does, so each is in the same bucket
    as the true one: off by less than that bucket's width (semconv's DURATION_BOUNDS_S). What exceeds the last bound is
    told as that bound.
    """

    exchange: str
    operation: str
    calls: int
    errors: int
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None


class RateLimit(msgspec.Struct, frozen=True):
    """A rate limit of a venue as it last said: requests, orders or weight in its window; None where it does not say."""

    name: str
    used: float | None
    limit: float | None
    remaining: float | None


class Venue(msgspec.Struct, frozen=True):
    """What a venue told of itself. None is not known, or, of `silent_until_ns`, that it wants no silence.

    `silent_until_ns` is on this machine's clock. The venue's clock is ahead of it by `clock_offset_s`, give or take
    `clock_uncertainty_s`.
    """

    exchange: str
    rate_limits: tuple[RateLimit, ...]
    silent_until_ns: int | None
    clock_offset_s: float | None
    clock_uncertainty_s: float | None


class Telemetry(msgspec.Struct, frozen=True):
    """Where telemetry goes, and what of it was lost, on the way to OpenTelemetry and on that from it to a collector.

    `export_failures` are batches that a collector did not take, by signal; they are sent again unless they are in
    `dropped`.
    """

    endpoint: str | None
    spans: bool
    providers: str
    reads_dropped: int
    records_dropped: int
    dropped: tuple[Dropped, ...]
    export_failures: dict[str, int]
    notes: tuple[str, ...]


class System(msgspec.Struct, frozen=True):
    """The bot's process and what settings have watched beside it; None is not known, or of a file that it is missing.

    `cpu` is of one core over the last seconds. `loops` are lags in seconds of the event loops that run, `log_files`
    sizes in bytes, `processes` say whether each runs.
    """

    cpu: float | None = None
    memory_bytes: int | None = None
    loops: dict[str, float] = {}
    log_files: dict[str, int | None] = {}
    processes: dict[str, bool | None] = {}


class Status(msgspec.Struct, frozen=True):
    """A bot at one moment.

    `at_ns` and `since_ns` are epoch nanoseconds of the bot's clock. `attempts` are HTTP requests of all calls,
    `retries` those that were sent again after a failure, `throttle_s` the real seconds that calls waited in the
    clients' own rate limiters, all since the start. `orders` are by status, `errors` by `error.type`, `limits` by name,
    `settings` each with its origin, and `configured_ns` is when they last changed, None where they are those of the
    start. `failures` are of tradewatch's own by place. `overhead_cpu` is of one core, None in the first seconds.
    `safety_alive` and `service_alive` say whether its two threads run; `state_folder` is None where nothing is kept.
    """

    bot: str
    at_ns: int
    since_ns: int
    clients: tuple[Client, ...]
    operations: tuple[Operation, ...]
    venues: tuple[Venue, ...]
    attempts: int
    retries: int
    throttle_s: float
    orders: dict[str, int]
    errors: dict[str, int]
    portfolio: PortfolioSnapshot
    limits: dict[str, float]
    settings: tuple[Setting, ...]
    configured_ns: int | None
    rules: tuple[RuleStatus, ...]
    breaker: BreakerStatus
    overhead_cpu: float | None
    telemetry: Telemetry
    failures: dict[str, int]
    safety_alive: bool
    service_alive: bool
    state_folder: str | None
    notes: tuple[str, ...]
    system: System = System()


def share(one: RateLimit) -> float:
    """How much of a limit is used, 0 to 1; below 0 where that is not known."""
    return one.used / one.limit if one.used is not None and one.limit else -1.0


def operations(cells: Iterable[Cell]) -> tuple[Operation, ...]:
    """Cells by exchange and operation, errors and successes together, most called first."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.exchange, cell.operation), []).append(cell)
    found = []
    for (exchange, operation), group in groups.items():
        counts = merged(group)
        found.append(
            Operation(
                exchange,
                operation,
                sum(counts),
                sum(cell.total for cell in group if cell.error is not None),
                quantile_s(counts, 0.50),
                quantile_s(counts, 0.95),
                quantile_s(counts, 0.99),
            )
        )
    return tuple(sorted((o for o in found if o.calls), key=lambda o: (-o.calls, o.operation)))


def telemetry(outputs: Outputs, journal: Journal) -> Telemetry:
    """Where telemetry goes and what of it was lost."""
    providers = outputs.providers
    return Telemetry(
        endpoint=providers.endpoint,
        spans=outputs.spans is not None,
        providers="tradewatch" if providers.ours else "application",
        reads_dropped=journal.dropped,
        records_dropped=outputs.emitter.dropped + journal.unread,
        dropped=tuple(providers.dropped()),
        export_failures=providers.failed(),
        notes=providers.notes + outputs.fold.notes,
    )


def system(system: health.System) -> System:
    """How process and host are."""
    return System(system.cpu, system.memory_bytes, system.loops.lags(), system.log_files, system.processes)


def notes(
    search: Search,
    *,
    watched: bool,
    shared: Iterable[str],
    unclear: Iterable[str],
    refused: str | None,
    halting: bool,
    follows: Path | None,
    kept: bool,
    control: str | None,
) -> tuple[str, ...]:
    """What a person should know of a watch, a sentence each.

    Args:
        search: for the bot's clients.
        watched: it has a client.
        shared: the paths of those that belong to another bot too.
        unclear: endpoints that serve orders and more.
        refused: what is said of settings that were not taken.
        halting: a rule halts it.
        follows: the state folder of the process that this one follows.
        kept: a store keeps what must survive.
        control: what is said of the control socket.
    """
    found = [f"{path} belongs to another bot too; its calls are counted there" for path in shared]
    none_at_all = not watched and not found
    found += [
        f"{each} serves orders and more, and what was sent did not tell which: it counts as an order, and is refused "
        "while halted"
        for each in unclear
    ]
    if search.cut_short:
        found.append(
            f"the search for clients ended after {search.looked_at} objects; one that it did not reach is watched from "
            "its first call on"
        )
    if none_at_all:
        found.append(
            f"no exchange client found on the bot ({search.looked_at} attributes looked at); one that is made or used "
            "from now on is watched"
        )
    if refused is not None:
        found.append(refused)
    if not halting:
        found.append("no rule has the annotation 'action: halt': only a person halts this bot")
    if follows is not None:
        found.append(f"{follows} is another process's: what halts that one halts this one; nothing is kept")
    elif not kept:
        found.append("nothing is kept on disk: a halt does not survive a restart")
    if control is not None:
        found.append(control)
    return tuple(found)
