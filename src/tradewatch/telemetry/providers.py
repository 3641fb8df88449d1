"""Whose OpenTelemetry providers are used: the application's where it has any, else ours, which `ours` makes.

An application's providers are never replaced, added to or shut down.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import uuid
from typing import TYPE_CHECKING, Any

import msgspec
from opentelemetry import metrics, trace
from opentelemetry.metrics import MeterProvider, NoOpMeterProvider
from opentelemetry.trace import TracerProvider

from tradewatch.runtime.failures import failures
from tradewatch.runtime.service import pause
from tradewatch.telemetry import variables
from tradewatch.telemetry.otel import processors_of, readers_of
from tradewatch.telemetry.ours import Ours
from tradewatch.telemetry.outbox import Dropped, Outbox
from tradewatch.telemetry.pages import PageServer

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider

SCOPE = "tradewatch"
# Of the time there is to end in: what must be closed after that takes its own.
_SENDING = 0.9
_LOOK_S = 10.0


class Providers(msgspec.Struct):
    """The providers in use, and what of them is ours to close.

    `outboxes` are closed with them; `passed` are those of a provider of ours that outlives this.
    """

    tracer_provider: TracerProvider | None
    meter_provider: MeterProvider
    logger_provider: LoggerProvider | None
    service_name: str
    instance_id: str
    notes: tuple[str, ...]
    ours: tuple[Any, ...]
    outboxes: tuple[Outbox[Any], ...]
    server: PageServer | None
    passed: tuple[Outbox[Any], ...] = ()

    @property
    def endpoint(self) -> str | None:
        """Where our metrics can be scraped."""
        return None if self.server is None else self.server.url

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
        return Providers(None, NoOpMeterProvider(), None, name, str(uuid.uuid4()), (note,), (), (), None)
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
    ours = Ours(resource, headers)
    made: list[Any] = []
    passed = _outboxes_of(tracer_provider, meter_provider)
    if tracer_provider is None:
        tracer_provider = ours.tracer_provider()
        made += [tracer_provider] if tracer_provider is not None else []
    logger_provider = _logger_provider(ours) if logs else None
    if meter_provider is None:
        meter_provider = ours.meter_provider(port)
        made += [meter_provider] if meter_provider is not None else []
    return Providers(
        tracer_provider,
        meter_provider or NoOpMeterProvider(),
        logger_provider,
        str(resource.attributes.get("service.name", name)),
        str(resource.attributes.get("service.instance.id") or uuid.uuid4()),
        tuple(ours.notes),
        tuple(made),
        tuple(ours.outboxes),
        ours.server,
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
    sinks = ("tradewatch.telemetry.export", "tradewatch.telemetry.points")
    return tuple(each.outbox for each in (*processors, *readers_of(meters)) if type(each).__module__ in sinks)


def _logger_provider(ours: Ours) -> LoggerProvider | None:
    """Where log records are to go to: None unless they are asked for, or where the application sees to it itself."""
    if not variables.asked("LOGS"):
        return None
    from opentelemetry._logs import get_logger_provider
    from opentelemetry.sdk._logs import LoggerProvider as SdkLoggerProvider

    found = get_logger_provider()
    if isinstance(found, SdkLoggerProvider):
        handled = any(type(handler).__name__ == "LoggingHandler" for handler in logging.getLogger().handlers)
        return None if handled else found
    return ours.logger_provider()
