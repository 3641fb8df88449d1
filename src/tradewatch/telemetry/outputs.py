"""What one watch tells OpenTelemetry, begun, forked, handed over and closed together: spans, metrics, log records."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.trace import Tracer

from tradewatch.runtime.failures import failures
from tradewatch.runtime.service import Job
from tradewatch.semconv import attributes as a
from tradewatch.telemetry.agreement import disagreement
from tradewatch.telemetry.cell import Cells
from tradewatch.telemetry.emit import Emitter
from tradewatch.telemetry.fold import Fold, Timed
from tradewatch.telemetry.gauges import Gauges, Published
from tradewatch.telemetry.journal import Journal
from tradewatch.telemetry.logs import Logs
from tradewatch.telemetry.providers import SCOPE, Providers


class Outputs:
    """The way from what is counted and written down to the providers in use.

    Args:
        providers: those.
        gauges: the observable instruments of the process, which all watches share.
        logs: its log records, likewise.
        bot: its name.
        strategy: its strategy's, where it has one.
        cells: what is counted.
        timed: the durations of a call and their cells.
        journal: where its calls are written down.

    Attributes:
        providers: as given.
        tracer: None where nobody wants spans.
        meter: of the provider in use.
        extra: the attributes that tell this bot from others on the same providers.
        span_extra: those of every call's span.
        spans, fold, emitter: what makes spans, None where nobody wants any, and histograms; what hands calls to them.
        identity: labels of whatever is read here as Prometheus would scrape it.
    """

    def __init__(
        self,
        providers: Providers,
        gauges: Gauges,
        logs: Logs,
        *,
        bot: str,
        strategy: str | None,
        cells: Cells,
        timed: Timed,
        journal: Journal,
    ) -> None:
        self.providers = providers
        self._gauges = gauges
        self._logs = logs
        self._bot = bot
        self._journal = journal
        self._published: Published | None = None
        meters, tracers = providers.meter_provider, providers.tracer_provider
        # Several bots may share an application's provider, whose resource cannot tell them apart.
        self.extra: Mapping[str, str] = {} if meters in providers.ours else {a.BOT.name: bot}
        self.span_extra = {**self.extra, a.STRATEGY.name: strategy} if strategy is not None else self.extra
        self.identity = {
            "job": providers.service_name,
            "instance": providers.instance_id,
            **{name.replace(".", "_"): value for name, value in self.extra.items()},
        }
        self.meter = meters.get_meter(SCOPE)
        self.tracer: Tracer | None = None
        self.spans = None
        if tracers is not None:
            # Loaded where anybody wants spans alone.
            from tradewatch.telemetry.spans import spans_to

            self.tracer = tracers.get_tracer(SCOPE)
            self.spans = spans_to(tracers, SCOPE, self.span_extra)
        self.fold = Fold(self.meter, cells, timed, self.extra, disagreement())
        self.emitter = Emitter(self.spans, self.fold, providers.crowded)

    def begin(self, published: Published) -> None:
        """Report these readings at each collection, and hand on log records where they are to go anywhere."""
        self._published = published
        self._gauges.add(self.providers.meter_provider, SCOPE, published, self.extra, self.fold.collecting)
        if self.providers.logger_provider is not None:
            sends = next((o.thread_id for o in self.providers.outboxes if o.signal == "logs"), None)
            # The resource of an application's own says nothing of bots.
            said = {} if sends is not None else {a.BOT.name: self._bot}
            self._logs.add(self._journal, self.providers.logger_provider, sends, said)

    @property
    def jobs(self) -> dict[str, Job]:
        """What the service thread is to do."""
        jobs: dict[str, Job] = {"telemetry": self.emitter.run, "metrics": self.fold.run}
        if self.providers.outboxes or self.providers.passed:
            jobs["export"] = self.providers.run
        return jobs

    def hand_over(self) -> None:
        """Leave the series to a watch that takes over."""
        self._report_no_more()
        with failures.kept("metrics"):
            self.fold.close()

    def forked(self) -> None:
        """In a forked child: nothing is sent from there."""
        self.fold.fork()
        self.providers.forked()

    def close(self, within_s: float, *, at_exit: bool) -> None:
        """Send what there is, and let go of the providers; those that are ours are shut down."""
        ours = self.providers.meter_provider in self.providers.ours
        with failures.kept("metrics"):
            # Ours exports the last values next and is then gone; at the end of the process so does any other.
            self.fold.close(series_stay=at_exit or ours)
        self._logs.remove(self._journal)
        self.providers.shutdown(within_s)
        if not at_exit:
            self._report_no_more()

    def _report_no_more(self) -> None:
        if self._published is not None:
            self._gauges.remove(self.providers.meter_provider, self._published)
