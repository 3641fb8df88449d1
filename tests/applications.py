"""Fixture `application`: an application's own OpenTelemetry providers, with what they were given kept in memory."""

import contextlib

import pytest


class Application:
    """The providers, and what they were given as plain values."""

    def __init__(self):
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)

    @property
    def settings(self):
        return {"tracer_provider": self.tracers, "meter_provider": self.meters}

    def spans(self):
        """All finished spans, ours and the application's."""
        return list(self.exporter.get_finished_spans())

    def calls(self):
        """Our spans of logical calls in order of their beginnings, each with its attempts, as plain values."""
        ours = [s for s in self.spans() if s.instrumentation_scope.name == "tradewatch"]
        roots = sorted((s for s in ours if s.kind.name == "INTERNAL"), key=lambda s: s.start_time)
        made = []
        for root in roots:
            # A call may also be made inside another one: that is no attempt of it.
            below = [
                s
                for s in ours
                if s.kind.name == "CLIENT" and s.parent is not None and s.parent.span_id == root.context.span_id
            ]
            made.append(plain(root) | {"attempts": [plain(s) for s in sorted(below, key=lambda s: s.start_time)]})
        assert len(ours) == len(made) + sum(len(m["attempts"]) for m in made), "a span of ours under no call"
        return made

    def requests(self):
        """(method, path, status) of every attempt, as `Venue.requests` has them."""
        return [
            tuple(
                each["attributes"].get(name)
                for name in ("http.request.method", "url.path", "http.response.status_code")
            )
            for call in self.calls()
            for each in call["attempts"]
        ]

    def points(self):
        """Every point of every metric: name → {attributes but the bot's name: point}; each of ours names the bot."""
        data = self.reader.get_metrics_data()
        found = {}
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    points = {tuple(sorted(told(scope.scope.name, p.attributes))): p for p in metric.data.data_points}
                    found.setdefault(metric.name, {}).update(points)
        return found

    def close(self):
        self.tracers.shutdown()
        self.meters.shutdown()


def told(scope, attributes):
    """The attributes without the bot's name, which everything of ours has on an application's providers.

    But for the SDK's own overflow point, which stands for all that a metric has no more room for.
    """
    kept = dict(attributes)
    if scope == "tradewatch" and "otel.metric.overflow" not in kept:
        assert kept.pop("trading.bot")
    return kept.items()


def plain(span):
    """A span as its name, attributes, error description (None: no error) and kind."""
    error = span.status.description if span.status.status_code.name == "ERROR" else None
    assert span.status.status_code.name in ("UNSET", "ERROR")
    attributes = told("tradewatch" if span.kind.name == "INTERNAL" else "attempt", span.attributes)
    return {"name": span.name, "attributes": dict(attributes), "error": error}


@pytest.fixture
def application():
    with contextlib.closing(Application()) as made:
        yield made
