"""The SDK's points as Prometheus reads them: its text format, and OpenMetrics with exemplars.

Formats: https://prometheus.io/docs/instrumenting/exposition_formats/ and
https://prometheus.io/docs/specs/om/open_metrics_spec/. Names and labels are those of OpenTelemetry's own Prometheus
exporter without scope labels, but that labels without a value are left out, as they are none to Prometheus. A stream of
an exponential histogram, which the text formats cannot show, is one bucket, its sum and its count.

Secrets are masked, as on all exporters of ours. What the bot's own instruments and views would make of it that no
parser reads is left out, and said: a name that is another metric's, a series that is there already.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, Literal

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ExponentialHistogram,
    Gauge,
    Histogram,
    Metric,
    MetricsData,
    Sum,
)
from opentelemetry.trace import format_span_id, format_trace_id

from tradewatch.runtime.failures import failures
from tradewatch.runtime.scrub import scrubber
from tradewatch.semconv.prometheus import family_name, label_name, unit_name

Kind = Literal["counter", "gauge", "histogram"]
Labels = list[tuple[str, str]]


class _Family:
    """Points under one name, of one kind, from whichever scope."""

    def __init__(self, name: str, kind: Kind, metric: Metric) -> None:
        self.name = name
        self.kind = kind
        self.help = scrubber.text(metric.description or "")
        self.unit = unit_name(metric.unit or "")
        self.points: list[Any] = []
        self._bounds: tuple[float, ...] = ()
        self._ends: tuple[str, ...] = ("+Inf",)

    def ends(self, bounds: tuple[float, ...]) -> tuple[str, ...]:
        """What `le` says of each bucket, in both formats alike; made once, since streams share their bounds."""
        if bounds != self._bounds:
            self._bounds, self._ends = bounds, (*map(str, bounds), "+Inf")
        return self._ends


def exposition(data: MetricsData | None, *, openmetrics: bool) -> Iterator[str]:
    """The text in pieces, a few microseconds each: a family's head, or a point with all its lines."""
    if data is not None:
        yield _target_info(data, openmetrics)
        taken = {"target", "target_info"}
        for family in _families(data):
            names = _names(family, openmetrics)
            if not taken.isdisjoint(names):
                _left_out(f"{family.name} is the name of two metrics", "call one of them something else")
                continue
            taken.update(names)
            yield _head(family, openmetrics)
            written: set[str] = set()
            for point in family.points:
                lines = _lines(family, point, openmetrics, written)
                if lines is not None:
                    yield lines
    if openmetrics:
        yield "# EOF\n"


def _families(data: MetricsData) -> Iterable[_Family]:
    families: dict[tuple[str, Kind], _Family] = {}
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = _kind(metric.data)
                if kind is not None:
                    name = family_name(scrubber.value(metric.name), metric.unit or "", counter=kind == "counter")
                    family = families.setdefault((name, kind), _Family(name, kind, metric))
                    family.points += metric.data.data_points
    return families.values()


def _kind(data: Any) -> Kind | None:
    if isinstance(data, (Histogram, ExponentialHistogram)):
        return "histogram"
    if isinstance(data, Gauge):
        return "gauge"
    if isinstance(data, Sum):
        grows_only = data.is_monotonic or data.aggregation_temporality != AggregationTemporality.CUMULATIVE
        return "counter" if grows_only else "gauge"
    return None


def _target_info(data: MetricsData, openmetrics: bool) -> str:
    labels = _labels({k: v for r in data.resource_metrics for k, v in r.resource.attributes.items()})
    name = "target" if openmetrics else "target_info"
    head = f"# HELP {name} Target metadata\n# TYPE {name} {'info' if openmetrics else 'gauge'}\n"
    return f"{head}target_info{_braces(labels)} 1\n"


def _head(family: _Family, openmetrics: bool) -> str:
    name, kind, unit = family.name, family.kind, family.unit
    text = family.help.replace("\\", "\\\\").replace("\n", "\\n")
    if openmetrics:
        text = text.replace('"', '\\"')
        unit_line = f"# UNIT {name} {unit}\n" if unit else ""
        return f"# HELP {name} {text}\n# TYPE {name} {kind}\n{unit_line}"
    shown = f"{name}_total" if kind == "counter" else name
    return f"# HELP {shown} {text}\n# TYPE {shown} {kind}\n"


def _names(family: _Family, openmetrics: bool) -> list[str]:
    """Everything that a family's lines are called, and what else OpenMetrics keeps for it."""
    name = family.name
    if family.kind == "gauge":
        return [name]
    if family.kind == "counter":
        return [name, f"{name}_total", f"{name}_created"] if openmetrics else [f"{name}_total"]
    found = [name, f"{name}_bucket", f"{name}_sum", f"{name}_count"]
    return [*found, f"{name}_created"] if openmetrics else found


def _lines(family: _Family, point: Any, openmetrics: bool, written: set[str]) -> str | None:
    """A point with all its lines; None where the same series was `written` already."""
    labels = _labels(point.attributes)
    if family.kind == "histogram":
        # What a bucket's own label would be taken for, under the name that Prometheus gives to such a one.
        labels = [("exported_le" if key == "le" else key, value) for key, value in labels]
    braces = _braces(labels)
    if braces in written:
        _left_out(f"{family.name}{braces} is two series", "tell them apart by an attribute or a name")
        return None
    written.add(braces)
    if family.kind == "histogram":
        return _histogram(family, point, labels, braces, openmetrics)
    if family.kind == "gauge":
        return f"{family.name}{braces} {_number(point.value)}\n"
    exemplar = _exemplar(point.exemplars[-1]) if openmetrics and point.exemplars else ""
    return f"{family.name}_total{braces} {_number(point.value)}{exemplar}\n"


def _left_out(what: str, do: str) -> None:
    failures.warn("scrape names", f"{what}: the scrape shows the first alone; {do}")


def _histogram(family: _Family, point: Any, labels: Labels, braces: str, openmetrics: bool) -> str:
    name = family.name
    bounds: tuple[float, ...] = getattr(point, "explicit_bounds", ())
    counts: Sequence[int] = point.bucket_counts if bounds else (point.count,)
    before = "".join([f'{key}="{value}",' for key, value in labels if key < "le"])
    after = "".join([f',{key}="{value}"' for key, value in labels if key > "le"])
    head, middle = f'{name}_bucket{{{before}le="', f'"{after}}} '
    ends = family.ends(bounds)
    if openmetrics and point.exemplars:
        found = _by_bucket(point.exemplars, bounds)
        numbered = enumerate(zip(ends, accumulate(counts), strict=True))
        lines = "".join([f"{head}{end}{middle}{n}{found.get(i, '')}\n" for i, (end, n) in numbered])
    else:
        # One join and one formatting for all buckets: a third of the time that a line each takes.
        head, middle = head.replace("%", "%%"), middle.replace("%", "%%")
        template = head + f"{middle}%d\n{head}".join(ends) + middle + "%d\n"
        lines = template % tuple(accumulate(counts))
    return f"{lines}{name}_sum{braces} {_number(point.sum)}\n{name}_count{braces} {point.count}\n"


def _by_bucket(exemplars: Iterable[Any], bounds: Sequence[float]) -> dict[int, str]:
    return {bisect_left(bounds, exemplar.value): _exemplar(exemplar) for exemplar in exemplars}


def _exemplar(exemplar: Any) -> str:
    ids = ""
    if exemplar.trace_id is not None and exemplar.span_id is not None:
        trace_id, span_id = format_trace_id(exemplar.trace_id), format_span_id(exemplar.span_id)
        ids = f'trace_id="{trace_id}",span_id="{span_id}"'
    return f" # {{{ids}}} {_number(exemplar.value)} {exemplar.time_unix_nano / 1e9:.3f}"


def _labels(attributes: Mapping[str, Any] | None) -> Labels:
    """Names and escaped values, sorted; of attributes whose names become the same, the last."""
    known, found = scrubber.known, {}
    for name, value in (attributes or {}).items():
        label, text = _label(name, value if type(value) is str else _text(value), known)
        found[label] = text
    return sorted([(name, text) for name, text in found.items() if text])


@lru_cache(5_000)
def _label(name: str, value: str, known: int) -> tuple[str, str]:
    """A label's name and escaped value, without secrets; `known` is how many there are."""
    return label_name(scrubber.value(name)), _escaped(scrubber.attribute(name, value))


def _text(value: Any) -> str:
    return str(value) if isinstance(value, str) else json.dumps(value, default=str)


def _escaped(value: str) -> str:
    if "\\" in value or '"' in value or "\n" in value:
        return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
    return value


def _braces(labels: Labels) -> str:
    return "{" + ",".join([f'{key}="{value}"' for key, value in labels]) + "}" if labels else ""


def _number(value: float) -> str:
    if type(value) is int:
        return str(value)
    # The bot's may be a numpy number, a Decimal or a truth value, which Python shows as no parser reads them.
    value = float(value)
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
