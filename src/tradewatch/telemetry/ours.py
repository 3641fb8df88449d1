"""Providers of our own, private to tradewatch: what is made where the application has none.

They serve a scrape endpoint on 127.0.0.1 and export by OTLP over HTTP, or print, where an `OTEL_*` variable asks for
it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from tradewatch.runtime.failures import describe, failures
from tradewatch.telemetry import variables
from tradewatch.telemetry.outbox import Outbox, Size
from tradewatch.telemetry.pages import HOST, PageServer

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider
    from opentelemetry.sdk.metrics.export import MetricReader

    from tradewatch.telemetry.points import PointReader

_MIB = 1 << 20
# Far more than upstream's 2,048 and 512: a call of ours costs less, so there may be more of them. What waits for a
# collector that is away is bounded by the bytes.
_SPANS = Size(16_384, 32 * _MIB, 2_048, 8 * _MIB, 1.0)
_LOGS = Size(4_096, 8 * _MIB, 512, 4 * _MIB, 1.0)
# All that is read at once fits in, so that what is put in does not have the thread read again.
_POINTS = Size(100_000, 64 * _MIB, 100_000, 4 * _MIB, 60.0)
_P = TypeVar("_P")


class Ours:
    """Makes them.

    Args:
        resource: of each.
        headers: of what is sent by OTLP, in place of those of OTEL_* variables.

    Attributes:
        notes: what of them could not be made as asked for.
        outboxes: where what they send waits.
        server: the scrape endpoint.
    """

    def __init__(self, resource: Any, headers: str | None) -> None:
        self._resource = resource
        self._headers = headers
        self.notes: list[str] = []
        self.outboxes: list[Outbox[Any]] = []
        self.server: PageServer | None = None

    def tracer_provider(self) -> TracerProvider | None:
        """Where spans are asked for; without an exporter nobody would ever see one, so none is made."""
        if not variables.wants_spans():
            return None
        from tradewatch.telemetry.export import SpanSink, spans_by, spans_by_otlp, spans_to_console

        size = _sized(_SPANS, "OTEL_BSP")
        outboxes = self._exporters("TRACES", spans_by_otlp, spans_to_console, spans_by, size)
        if not outboxes:
            return None
        from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider

        def make() -> SdkTracerProvider:
            sampler, ids = variables.sampler(), variables.id_generator()
            return SdkTracerProvider(sampler, self._resource, shutdown_on_exit=False, id_generator=ids)

        provider = self._provider("spans", make, outboxes)
        if provider is not None:
            for outbox in outboxes:
                provider.add_span_processor(SpanSink(outbox))
        return provider

    def logger_provider(self) -> LoggerProvider | None:
        """Where log records are asked for."""
        from tradewatch.telemetry.export import logs_by, logs_by_otlp, logs_to_console

        size = _sized(_LOGS, "OTEL_BLRP")
        outboxes = self._exporters("LOGS", logs_by_otlp, logs_to_console, logs_by, size)
        if not outboxes:
            return None
        from opentelemetry.sdk._logs import LoggerProvider as SdkLoggerProvider

        from tradewatch.telemetry.log_sink import LogSink

        make = partial(SdkLoggerProvider, resource=self._resource, shutdown_on_exit=False)
        provider = self._provider("logs", make, outboxes)
        if provider is not None:
            for outbox in outboxes:
                provider.add_log_record_processor(LogSink(outbox))
        return provider

    def meter_provider(self, port: int | None) -> MeterProvider | None:
        """Served at `port`, 0 a free one and None nowhere, and sent where that is asked for."""
        from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider

        from tradewatch.telemetry.scrape import ScrapeReader, scrape_server

        # Where it is our own endpoint that is asked for, upstream's would take its port.
        same = port is not None and os.environ.get("OTEL_EXPORTER_PROMETHEUS_PORT", "").strip() in ("", str(port))
        but = "prometheus" if same else ""
        readers: list[MetricReader] = []
        sending: list[PointReader] = []
        if set(variables.asked("METRICS")) - {but}:
            from tradewatch.telemetry.points import PointReader

            readers = self._readers(but)
            sending = [reader for reader in readers if isinstance(reader, PointReader)]
        try:
            if port is not None:
                scraped = ScrapeReader()
                self.server = scrape_server(port, scraped)
                readers.append(scraped)
        except OSError as error:
            why = error.strerror or "refused"
            note = f"no scrape endpoint: {HOST}:{port} cannot be used ({why}); set port= to another, or 0 for any"
            self._warn("scrape endpoint", note)
        make = partial(SdkMeterProvider, metric_readers=readers, resource=self._resource, shutdown_on_exit=False)
        provider = self._provider("metrics", make, [reader.outbox for reader in sending])
        if provider is not None:
            for reader in sending:
                reader.begin()
        elif self.server is not None:
            self.server.stop()
            self.server = None
        return provider

    def _readers(self, but: str) -> list[MetricReader]:
        from opentelemetry.sdk.metrics.export import MetricReader

        from tradewatch.telemetry.export import metrics_by, metrics_by_otlp, metrics_to_console

        def by(found: Any, size: Size) -> MetricReader:
            return found if isinstance(found, MetricReader) else metrics_by(found, size)

        every_s = variables.number("OTEL_METRIC_EXPORT_INTERVAL", _POINTS.delay_s * 1000) / 1000
        size = msgspec.structs.replace(_POINTS, delay_s=every_s)
        return self._exporters("METRICS", metrics_by_otlp, metrics_to_console, by, size, but=but)

    def _exporters(
        self,
        signal: str,
        by_otlp: Callable[[Size, str | None], Any],
        to_console: Callable[[Size], Any],
        by: Callable[[Any, Size], Any],
        size: Size,
        *,
        but: str = "",
    ) -> list[Any]:
        """One for each exporter that is asked for, `but` one.

        Args:
            signal: as variables spell it.
            by_otlp: makes it for a collector.
            to_console: makes one that prints.
            by: makes it for an exporter of any other name, found by its entry point, which is handed what is scrubbed.
            size: bounds of what waits.
            but: the name that is passed over.
        """
        made = []
        for name in variables.asked(signal):
            if name == but:
                continue
            try:
                if name == "otlp":
                    self._look_at_protocol(signal)
                    made.append(by_otlp(size, self._headers))
                elif name == "console":
                    made.append(to_console(size))
                else:
                    made.append(by(_named(signal, name), size))
            except Exception as error:  # what an OTEL_* variable holds may be anything
                what = f"OTEL_{signal}_EXPORTER={variables.shown(name)}: not exported to it"
                note = f"{f'no {signal.lower()} by OTLP' if name == 'otlp' else what}: {describe(error)}"
                self._warn(f"{signal} exporter {name}", note)
        return made

    def _provider(self, what: str, make: Callable[[], _P], outboxes: list[Outbox[Any]]) -> _P | None:
        try:
            provider = make()
        except Exception as error:  # what an OTEL_* variable holds may be anything
            for outbox in outboxes:
                outbox.close(0)
            self._warn(f"export {what}", f"no {what}: the exporter cannot be made: {describe(error)}")
            return None
        self.outboxes += outboxes
        return provider

    def _look_at_protocol(self, signal: str) -> None:
        protocol = variables.other_protocol(signal)
        if protocol is not None:
            said = f"OTLP goes by {variables.PROTOCOL}, not {variables.shown(protocol)}"
            note = f"{signal.lower()}: {said}; a collector's HTTP port is 4318"
            self._warn(f"otlp protocol {signal}", note)

    def _warn(self, key: str, note: str) -> None:
        self.notes.append(note)
        failures.warn(key, note)


def _named(signal: str, name: str) -> Any:
    """An exporter by its entry point. Raises LookupError where there is none of that name."""
    group = f"opentelemetry_{signal.lower()}_exporter"
    found = variables.component(group, name)
    if found is not None:
        return found.load()()
    known = ", ".join(sorted({"none", "otlp", *(each.name for each in entry_points(group=group))}))
    raise LookupError(f"there is none of that name among {known}")


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
