"""Whose OpenTelemetry providers are used: the application's where it has any, else ours, private to tradewatch.

Ours serve a scrape endpoint on 127.0.0.1 and export by OTLP over HTTP, or print, where an `OTEL_*` variable asks for
it. An application's providers are never replaced, added to or shut down.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import msgspec
from opentelemetry import metrics, trace
from opentelemetry.metrics import MeterProvider, NoOpMeterProvider
from opentelemetry.trace import TracerProvider

from tradewatch.runtime.failures import describe, failures
from tradewatch.runtime.service import pause
from tradewatch.telemetry import variables
from tradewatch.telemetry.otel import processors_of, readers_of
from tradewatch.telemetry.outbox import Dropped, Outbox, Size
from tradewatch.telemetry.pages import HOST, PageServer

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider
    from opentelemetry.sdk.metrics.export import MetricReader

SCOPE = "tradewatch"
_MIB = 1 << 20
# Far more than upstream's 2,048 and 512: a call of ours costs less, so there may be more of them. What waits for a
# collector that is away is bounded by the bytes.
_SPANS = Size(16_384, 32 * _MIB, 2_048, 8 * _MIB, 1.0)
_LOGS = Size(4_096, 8 * _MIB, 512, 4 * _MIB, 1.0)
_POINTS_MODULE = "tradewatch.telemetry.points"
# Of the time there is to end in: what must be closed after that takes its own.
_SENDING = 0.9
_LOOK_S = 10.0
# All that is read at once fits in, so that what is put in does not have the thread read again.
_POINTS = Size(100_000, 64 * _MIB, 100_000, 4 * _MIB, 60.0)


class Providers(msgspec.Struct):
    """The providers in use, and what of them is ours to close.

    `outboxes` are closed with them; `passed` are those of a provider of ours that outlives this.
    """

    tracer_provider: TracerProvider | None
    meter_provider: MeterProvider
    logger_provider: LoggerProvider | None
    service_name: str
    instance_id: str
    endpoint: str | None
    notes: tuple[str, ...]
    ours: tuple[Any, ...]
    outboxes: tuple[Outbox[Any], ...]
    server: PageServer | None
    passed: tuple[Outbox[Any], ...] = ()

    def forked(self) -> None:
        """In a forked child: the port is the parent's."""
        if self.server is not None:
            self.server.forked()

    def dropped(self) -> list[Dropped]:
        """What of our spans, logs and metrics never arrived."""
        return [dropped for outbox in self.outboxes + self.passed for dropped in outbox.dropped()]

    def failed(self) -> dict[str, int]:
        """Batches that did not go through, by signal."""
        found: dict[str, int] = {}
        for outbox in self.outboxes + self.passed:
            found[outbox.signal] = found.get(outbox.signal, 0) + outbox.failures
        return found

    def crowded(self) -> bool:
        """Whether spans had better come slower; one whose collector is away is not waited for."""
        return any(outbox.crowded and outbox.reachable for outbox in self.outboxes + self.passed)

    async def run(self, ending: asyncio.Event) -> None:
        """A job: says where what is sent stands still. A name that is never resolved knows no time-out."""
        while not ending.is_set():
            for outbox in self.outboxes + self.passed:
                outbox.look()
            await pause(ending, _LOOK_S)

    def shutdown(self, within_s: float) -> None:
        """Send what there is and close what is ours; what is not sent within the time is counted."""
        ends = time.monotonic() + max(0.0, within_s * _SENDING)
        for outbox in self.outboxes:
            outbox.finish()
        if self.server is not None:
            with failures.kept("scrape endpoint"):
                self.server.stop()
        for outbox in self.outboxes:
            with failures.kept("telemetry"):
                outbox.close(ends - time.monotonic())
        for provider in self.ours:
            with failures.kept("telemetry"):
                provider.shutdown()


def connect(
    name: str,
    port: int | None,
    tracer_provider: TracerProvider | None,
    meter_provider: MeterProvider | None,
    *,
    logs: bool = True,
    headers: str | None = None,
) -> Providers:
    """The application's providers where they are handed in or set up, else ours.

    Args:
        name: the bot's name, `service.name` unless `OTEL_SERVICE_NAME` is set.
        port: of the scrape endpoint on 127.0.0.1; 0 takes a free one, None serves none.
        tracer_provider: the application's, or None to look for a global one.
        meter_provider: likewise.
        logs: whether log records go anywhere, if they are asked for.
        headers: of what is sent by OTLP, `name=value,...`, in place of those of OTEL_* variables.
    """
    with variables.put_right() as wrong:
        made = _connected(name, port, tracer_provider, meter_provider, logs=logs, headers=headers)
        if made.ours or made.logger_provider is not None:
            for variable, text in wrong.items():
                failures.warn(variable, text)
            made.notes = (*wrong.values(), *made.notes)
        return made


def _connected(
    name: str,
    port: int | None,
    tracer_provider: TracerProvider | None,
    meter_provider: MeterProvider | None,
    *,
    logs: bool,
    headers: str | None,
) -> Providers:
    from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider
    from opentelemetry.sdk.resources import Resource

    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        note = "OTEL_SDK_DISABLED is set: no telemetry; rules and halts go on"
        return Providers(None, NoOpMeterProvider(), None, name, str(uuid.uuid4()), None, (note,), (), (), None)
    found_meter = metrics.get_meter_provider()
    tracer_provider = tracer_provider or _found_tracer_provider()
    meter_provider = meter_provider or (found_meter if isinstance(found_meter, SdkMeterProvider) else None)
    theirs = next((p for p in (meter_provider, tracer_provider) if p is not None), None)
    resource = getattr(theirs, "resource", None) or getattr(getattr(theirs, "_sdk_config", None), "resource", None)
    if resource is None:
        resource = Resource.create(
            {
                "service.name": os.environ.get("OTEL_SERVICE_NAME") or name,
                "service.instance.id": str(uuid.uuid4()),
                "trading.bot": name,
            }
        )
    notes: list[str] = []
    ours: list[Any] = []
    outboxes: list[Outbox[Any]] = []
    passed = _outboxes_of(tracer_provider, meter_provider)
    if tracer_provider is None:
        tracer_provider = _our_tracer_provider(resource, notes, outboxes, headers)
        ours += [tracer_provider] if tracer_provider is not None else []
    logger_provider = _logger_provider(resource, notes, outboxes, headers) if logs else None
    endpoint = server = None
    if meter_provider is None:
        meter_provider, endpoint, server = _our_meter_provider(resource, port, notes, outboxes, headers)
        ours += [meter_provider] if not isinstance(meter_provider, NoOpMeterProvider) else []
    return Providers(
        tracer_provider,
        meter_provider,
        logger_provider,
        str(resource.attributes.get("service.name", name)),
        str(resource.attributes.get("service.instance.id") or uuid.uuid4()),
        endpoint,
        tuple(notes),
        tuple(ours),
        tuple(outboxes),
        server,
        passed,
    )


def _found_tracer_provider() -> TracerProvider | None:
    found = trace.get_tracer_provider()
    if isinstance(found, trace.ProxyTracerProvider):
        # Nobody has set one: then the SDK's part for spans need not be loaded for a look.
        return None
    from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider

    return found if isinstance(found, SdkTracerProvider) else None


def _outboxes_of(tracers: TracerProvider | None, meters: MeterProvider | None) -> tuple[Outbox[Any], ...]:
    """Those of providers that autoload made for the whole process: it closes them."""
    processors: tuple[Any, ...] = (processors_of(tracers) if tracers is not None else None) or ()
    # By the names of their modules, which are loaded where something is exported by us alone.
    sinks = ("tradewatch.telemetry.export", _POINTS_MODULE)
    return tuple(each.outbox for each in (*processors, *readers_of(meters)) if type(each).__module__ in sinks)


def _our_tracer_provider(
    resource: Any, notes: list[str], outboxes: list[Outbox[Any]], headers: str | None
) -> TracerProvider | None:
    """Ours where spans are asked for; without an exporter nobody would ever see one, so none is made."""
    if not variables.wants_spans():
        return None
    from tradewatch.telemetry.export import SpanSink, spans_by, spans_by_otlp, spans_to_console

    size = _sized(_SPANS, "OTEL_BSP")
    made = _made(
        "TRACES", {"otlp": partial(spans_by_otlp, headers=headers), "console": spans_to_console}, spans_by, size, notes
    )
    if not made:
        return None
    from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider

    try:
        sampler, ids = variables.sampler(), variables.id_generator()
        provider = SdkTracerProvider(sampler, resource, shutdown_on_exit=False, id_generator=ids)
    except Exception as error:  # what an OTEL_* variable holds may be anything
        _given_up("spans", made, error, notes)
        return None
    for outbox in made:
        provider.add_span_processor(SpanSink(outbox))
    outboxes += made
    return provider


def _logger_provider(
    resource: Any, notes: list[str], outboxes: list[Outbox[Any]], headers: str | None
) -> LoggerProvider | None:
    """Where log records are to go to: None unless they are asked for, or where the application sees to it itself."""
    if not variables.asked("LOGS"):
        return None
    from opentelemetry._logs import get_logger_provider
    from opentelemetry.sdk._logs import LoggerProvider as SdkLoggerProvider

    found = get_logger_provider()
    if isinstance(found, SdkLoggerProvider):
        handled = any(type(handler).__name__ == "LoggingHandler" for handler in logging.getLogger().handlers)
        return None if handled else found
    from tradewatch.telemetry.export import logs_by, logs_by_otlp, logs_to_console
    from tradewatch.telemetry.log_sink import LogSink

    size = _sized(_LOGS, "OTEL_BLRP")
    made = _made(
        "LOGS", {"otlp": partial(logs_by_otlp, headers=headers), "console": logs_to_console}, logs_by, size, notes
    )
    if not made:
        return None
    try:
        provider = SdkLoggerProvider(resource=resource, shutdown_on_exit=False)
    except Exception as error:
        _given_up("logs", made, error, notes)
        return None
    for outbox in made:
        provider.add_log_record_processor(LogSink(outbox))
    outboxes += made
    return provider


def _made(
    signal: str,
    kinds: Mapping[str, Callable[[Size], Any]],
    by: Callable[[Any, Size], Any],
    size: Size,
    notes: list[str],
    *,
    but: str = "",
) -> list[Any]:
    """One for each exporter that is asked for, `but` one.

    `kinds` are made here; another is found by its entry point, and handed what is scrubbed.
    """
    made = []
    for name in variables.asked(signal):
        if name == but:
            continue
        if name == "otlp":
            _look_at_protocol(signal, notes)
        try:
            made.append(kinds[name](size) if name in kinds else by(_named(signal, name), size))
        except Exception as error:  # what an OTEL_* variable holds may be anything
            _not_exported(signal, name, error, notes)
    return made


def _given_up(what: str, made: list[Outbox[Any]], error: Exception, notes: list[str]) -> None:
    for outbox in made:
        outbox.close(0)
    notes.append(f"no {what}: the exporter cannot be made: {describe(error)}")
    failures.warn(f"export {what}", notes[-1])


def _sized(size: Size, prefix: str) -> Size:
    """The bounds as OpenTelemetry's variables set them, of spans (OTEL_BSP) or of logs (OTEL_BLRP)."""
    most = int(variables.number(f"{prefix}_MAX_QUEUE_SIZE", size.most))
    return Size(
        most,
        size.most_bytes,
        min(most, int(variables.number(f"{prefix}_MAX_EXPORT_BATCH_SIZE", size.batch))),
        size.batch_bytes,
        variables.number(f"{prefix}_SCHEDULE_DELAY", size.delay_s * 1000) / 1000,
    )


def _our_meter_provider(
    resource: Any, port: int | None, notes: list[str], outboxes: list[Outbox[Any]], headers: str | None
) -> tuple[MeterProvider, str | None, Any]:
    from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider

    from tradewatch.telemetry.scrape import ScrapeReader, scrape_server

    # Where it is our own endpoint that is asked for, upstream's would take its port.
    same = port is not None and os.environ.get("OTEL_EXPORTER_PROMETHEUS_PORT", "").strip() in ("", str(port))
    asked = set(variables.asked("METRICS")) - {"prometheus" if same else ""}
    readers: list[MetricReader] = _pushing(notes, headers, "prometheus" if same else "") if asked else []
    # By the name of their module, which is loaded where something is exported by us alone.
    pushing: list[Any] = [reader for reader in readers if type(reader).__module__ == _POINTS_MODULE]
    endpoint = server = None
    try:
        if port is not None:
            scraped = ScrapeReader()
            server = scrape_server(port, scraped)
            readers.append(scraped)
            endpoint = server.url
    except OSError as error:
        why = error.strerror or "refused"
        note = f"no scrape endpoint: {HOST}:{port} cannot be used ({why}); set port= to another, or 0 for any"
        notes.append(note)
        failures.warn("scrape endpoint", note)
    try:
        provider = SdkMeterProvider(metric_readers=readers, resource=resource, shutdown_on_exit=False)
    except Exception as error:  # what an OTEL_* variable holds may be anything
        _given_up("metrics", [reader.outbox for reader in pushing], error, notes)
        if server is not None:
            server.stop()
        return NoOpMeterProvider(), None, None
    for reader in pushing:
        reader.begin()
        outboxes.append(reader.outbox)
    return provider, endpoint, server


def _pushing(notes: list[str], headers: str | None, but: str) -> list[MetricReader]:
    """The readers that the environment asks for, but for our own scrape."""
    from opentelemetry.sdk.metrics.export import MetricReader

    from tradewatch.telemetry.export import metrics_by, metrics_by_otlp, metrics_to_console

    def by(found: Any, size: Size) -> MetricReader:
        return found if isinstance(found, MetricReader) else metrics_by(found, size)

    every_s = variables.number("OTEL_METRIC_EXPORT_INTERVAL", _POINTS.delay_s * 1000) / 1000
    size = msgspec.structs.replace(_POINTS, delay_s=every_s)
    kinds: dict[str, Callable[[Size], Any]] = {
        "otlp": partial(metrics_by_otlp, headers=headers),
        "console": metrics_to_console,
    }
    return _made("METRICS", kinds, by, size, notes, but=but)


def _named(signal: str, name: str) -> Any:
    """An exporter by its entry point. Raises LookupError where there is none of that name."""
    group = f"opentelemetry_{signal.lower()}_exporter"
    found = variables.component(group, name)
    if found is not None:
        return found.load()()
    known = ", ".join(sorted({"none", "otlp", *(each.name for each in entry_points(group=group))}))
    raise LookupError(f"there is none of that name among {known}")


def _not_exported(signal: str, name: str, error: Exception, notes: list[str]) -> None:
    what = f"OTEL_{signal}_EXPORTER={variables.shown(name)}: not exported to it"
    notes.append(f"{f'no {signal.lower()} by OTLP' if name == 'otlp' else what}: {describe(error)}")
    failures.warn(f"{signal} exporter {name}", notes[-1])


def _look_at_protocol(signal: str, notes: list[str]) -> None:
    protocol = variables.other_protocol(signal)
    if protocol is not None:
        said = f"OTLP goes by {variables.PROTOCOL}, not {variables.shown(protocol)}"
        notes.append(f"{signal.lower()}: {said}; a collector's HTTP port is 4318")
        failures.warn(f"otlp protocol {signal}", notes[-1])
