"""Whose OpenTelemetry providers are used: the application's where it has any, else ours, private to tradewatch.

Ours serve a scrape endpoint on 127.0.0.1 and export by OTLP over HTTP where an `OTEL_*` variable asks for it. An
application's providers are never replaced, added to or shut down.
"""

from __future__ import annotations

import os
import uuid
from importlib.metadata import entry_points
from typing import Any

import msgspec
from opentelemetry import metrics, trace
from opentelemetry.metrics import MeterProvider, NoOpMeterProvider
from opentelemetry.trace import TracerProvider

from tradewatch.runtime import fork
from tradewatch.runtime.failures import describe, failures

HOST = "127.0.0.1"
SCOPE = "tradewatch"


class Providers(msgspec.Struct):
    """The providers in use, and what of them is ours to close."""

    tracer_provider: TracerProvider | None
    meter_provider: MeterProvider
    service_name: str
    instance_id: str
    endpoint: str | None
    notes: tuple[str, ...]
    ours: tuple[Any, ...]
    server: Any

    def forked(self) -> None:
        """In a forked child: the port is the parent's, and so are the series of ours that the SDK has kept."""
        if self.server is not None:
            self.server.socket.close()
        with failures.kept("fork"):
            _forget_series(self.meter_provider)

    def shutdown(self) -> None:
        """Flush and close what is ours. With a dead collector this takes the SDK 12 s: call it where that may be."""
        if self.server is not None:
            with failures.kept("scrape endpoint"):
                self.server.shutdown()
                self.server.server_close()
        for provider in self.ours:
            with failures.kept("telemetry"):
                provider.shutdown()


def _forget_series(provider: Any) -> None:
    """Take the streams of our instruments out of a provider of the SDK, which then begins them anew.

    No lock is taken: the child has one thread, and one that is gone may hold them for ever.
    """
    consumer = getattr(provider, "_measurement_consumer", None)
    for storage in getattr(consumer, "_reader_storages", {}).values():
        matches = storage._instrument_view_instrument_matches
        for instrument in [i for i in matches if i.instrumentation_scope.name == SCOPE]:
            del matches[instrument]


def connect(
    name: str, port: int | None, tracer_provider: TracerProvider | None, meter_provider: MeterProvider | None
) -> Providers:
    """The application's providers where they are handed in or set up, else ours.

    Args:
        name: the bot's name, `service.name` unless `OTEL_SERVICE_NAME` is set.
        port: of the scrape endpoint on 127.0.0.1; 0 takes a free one, None serves none.
        tracer_provider: the application's, or None to look for a global one.
        meter_provider: likewise.
    """
    from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider

    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        note = "OTEL_SDK_DISABLED is set: no telemetry; rules and halts go on"
        return Providers(None, NoOpMeterProvider(), name, str(uuid.uuid4()), None, (note,), (), None)
    found_tracer, found_meter = trace.get_tracer_provider(), metrics.get_meter_provider()
    tracer_provider = tracer_provider or (found_tracer if isinstance(found_tracer, SdkTracerProvider) else None)
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
    if tracer_provider is None:
        tracer_provider = _with_spans_to_others(_our_tracer_provider(resource, notes), resource, notes)
        ours += [tracer_provider] if tracer_provider is not None else []
    endpoint = server = None
    if meter_provider is None:
        meter_provider, endpoint, server = _our_meter_provider(resource, port, notes)
        ours += _with_metrics_to_others(meter_provider, notes)
        ours.append(meter_provider)
    return Providers(
        tracer_provider,
        meter_provider,
        str(resource.attributes.get("service.name", name)),
        str(resource.attributes.get("service.instance.id") or uuid.uuid4()),
        endpoint,
        tuple(notes),
        tuple(ours),
        server,
    )


def _our_tracer_provider(resource: Any, notes: list[str]) -> TracerProvider | None:
    """Ours where spans are asked for; without an exporter nobody would ever see one, so none is made."""
    if not _wants_otlp("TRACES", notes):
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = SdkTracerProvider(resource=resource, shutdown_on_exit=False)
    try:
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    except Exception as error:  # what an OTEL_* variable holds may be anything
        notes.append(f"no spans: the OTLP exporter cannot be made: {describe(error)}")
        failures.warn("otlp traces", notes[-1])
        return None
    return provider


def _our_meter_provider(resource: Any, port: int | None, notes: list[str]) -> tuple[MeterProvider, str | None, Any]:
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider
    from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
    from prometheus_client import CollectorRegistry, start_http_server

    class Registry(CollectorRegistry):
        """One of its own: the bot's own prometheus_client metrics are the bot's to serve."""

        def collect(self) -> Any:
            """Collected in one go, while no fork happens."""
            with fork.held:
                return iter(list(super().collect()))

    registry = Registry()
    readers: list[MetricReader] = []
    endpoint = server = None
    try:
        server = None if port is None else start_http_server(port, addr=HOST, registry=registry)[0]
    except OSError as error:
        why = error.strerror or "refused"
        note = f"no scrape endpoint: {HOST}:{port} cannot be used ({why}); set port= to another, or 0 for any"
        notes.append(note)
        failures.warn("scrape endpoint", note)
    if server is not None:
        readers.append(PrometheusMetricReader(scope_info_enabled=False, registry=registry))
        endpoint = f"http://{HOST}:{server.server_port}/metrics"
    if _wants_otlp("METRICS", notes):
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

        try:
            readers.append(PeriodicExportingMetricReader(OTLPMetricExporter()))
        except Exception as error:
            notes.append(f"no metrics by OTLP: the exporter cannot be made: {describe(error)}")
            failures.warn("otlp metrics", notes[-1])
    return SdkMeterProvider(metric_readers=readers, resource=resource, shutdown_on_exit=False), endpoint, server


def exporters(signal: str) -> tuple[str, ...] | None:
    """The names in `OTEL_<signal>_EXPORTER`; None where it is not set."""
    said = os.environ.get(f"OTEL_{signal}_EXPORTER", "").strip()
    return tuple(name.strip().lower() for name in said.split(",") if name.strip()) if said else None


def _others(signal: str, notes: list[str]) -> list[Any]:
    """What `OTEL_<signal>_EXPORTER` names beside what is made here, `console` for one, by its entry point."""
    made = []
    for name in exporters(signal) or ():
        if name in ("none", "prometheus") or "otlp" in name:
            continue
        try:
            (found,) = entry_points(group=f"opentelemetry_{signal.lower()}_exporter", name=name)
            made.append(found.load()())
        except Exception as error:
            why = f"there is none of that name among {_known(signal)}" if type(error) is ValueError else describe(error)
            notes.append(f"OTEL_{signal}_EXPORTER={name}: not exported to it: {why}")
            failures.warn(f"{signal} exporter", notes[-1])
    return made


def _known(signal: str) -> str:
    return ", ".join(
        sorted({"none", *(e.name for e in entry_points(group=f"opentelemetry_{signal.lower()}_exporter"))})
    )


def _with_spans_to_others(provider: TracerProvider | None, resource: Any, notes: list[str]) -> TracerProvider | None:
    from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    for exporter in _others("TRACES", notes):
        if not isinstance(provider, SdkTracerProvider):
            provider = SdkTracerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def _with_metrics_to_others(provider: Any, notes: list[str]) -> list[Any]:
    """The readers added, which the provider's own shutdown does not close."""
    from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader

    readers = [
        found if isinstance(found, MetricReader) else PeriodicExportingMetricReader(found)
        for found in _others("METRICS", notes)
    ]
    for reader in readers:
        provider.add_metric_reader(reader)
    return readers


def wants_spans() -> bool:
    """Whether OpenTelemetry's variables ask for spans at all."""
    named = exporters("TRACES")
    return named != ("none",) if named is not None else _wants_otlp("TRACES", [])


def _wants_otlp(signal: str, notes: list[str]) -> bool:
    """Whether OpenTelemetry's variables ask for export of a signal, `TRACES` or `METRICS`."""
    env = os.environ
    exporter = env.get(f"OTEL_{signal}_EXPORTER", "").strip().lower()
    wanted = "otlp" in exporter or (
        not exporter
        and bool(env.get("OTEL_EXPORTER_OTLP_ENDPOINT") or env.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"))
    )
    named = (env.get(f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL"), env.get("OTEL_EXPORTER_OTLP_PROTOCOL"))
    protocol = next((p for p in named if p), "http/protobuf")
    if wanted and protocol != "http/protobuf":
        note = f"{signal.lower()}: OTLP goes by http/protobuf, not {protocol!r}; a collector's HTTP port is 4318"
        notes.append(note)
        failures.warn(f"otlp {signal}", note)
    return wanted
