"""Points of metrics as what must be equal of them; and what naive OpenTelemetry records of the spans of a run."""

from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from parity.naive import HISTOGRAMS, ORDERS


def replayed(spans, metrics, known=()):
    """Records every call among `spans` by hand, in the order that they ended; the ids of those that are done.

    A call's duration is that of its span, to the nanosecond: so what was counted for it is known exactly.
    """
    attempts = {}
    for span in sorted(spans, key=lambda s: s.start_ns):
        if span.is_attempt:
            attempts.setdefault(span.parent, []).append(told(span))
    done = set(known)
    for span in sorted(spans, key=lambda s: s.end_ns):
        if span.is_call and span.id not in done:
            done.add(span.id)
            identity = SpanContext(span.trace, span.id, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
            metrics.call(
                told(span), attempts.get(span.id, ()), set_span_in_context(NonRecordingSpan(identity), Context())
            )
    return done


def told(span):
    return {**span.attributes, "seconds": (span.end_ns - span.start_ns) / 1e9}


def durations(spans):
    """How many durations spans tell of."""
    counted = ("trading.throttle.duration", "trading.order.side")
    return sum(s.is_call + s.is_attempt + sum(name in s.attributes for name in counted) for s in spans)


class Near(float):
    """A sum, but for the order of its additions."""

    def __eq__(self, other):
        return abs(float(self) - float(other)) <= 1e-9 * max(1.0, abs(float(other)))

    __hash__ = None


def points(data, names=(*HISTOGRAMS, ORDERS)):
    """(name, attributes) → point, of the metrics with these names (None: all)."""
    found = {}
    for resource in data.resource_metrics if data is not None else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                if names is None or metric.name in names:
                    for point in metric.data.data_points:
                        key = (metric.name, metric.unit, type(metric.data).__name__, attributes_of(point))
                        assert key not in found, f"two points of {key}"
                        found[key] = (metric.data, point)
    return found


def attributes_of(point):
    return tuple(sorted(point.attributes.items()))


def plain(data, names=(*HISTOGRAMS, ORDERS), *, merged=False):
    """Everything of the points but their times.

    `merged` is said where a view puts calls of both kinds (reads; orders and errors) into one series: which of the
    exemplars of one bucket is kept then depends on the order in which they were drained.
    """
    return {key: (said(point), exemplars(point, merged)) for key, (_, point) in points(data, names).items()}


def as_documented(mine, naive):
    """Without what docs/telemetry.md says of counters: they are observed, so a delta reader hears of no change too."""
    return {key: point for key, point in mine.items() if key in naive or key[0] != ORDERS or point != (Near(0), [])}


def said(point):
    if hasattr(point, "value"):
        return Near(point.value)
    found = (point.count, Near(point.sum), point.min, point.max)
    if hasattr(point, "scale"):
        return *found, point.scale, point.zero_count, side(point.positive), side(point.negative)
    return *found, tuple(point.bucket_counts), tuple(point.explicit_bounds)


def side(buckets):
    """How many empty buckets an exponential side has grown at its end depends on the order of its values."""
    counts = list(buckets.bucket_counts)
    while counts and not counts[-1]:
        counts.pop()
    return buckets.offset, counts


def exemplars(point, merged):
    if not hasattr(point, "count"):
        return []  # the counters are read by a callback, where no call is current
    if merged or not hasattr(point, "bucket_counts"):
        # A reservoir of fixed size keeps a random choice (up to SDK 1.44 even its last place is left to chance).
        return min(len(point.exemplars), 19)
    return sorted((e.value, e.trace_id, e.span_id, sorted(e.filtered_attributes.items())) for e in point.exemplars)


def counts(data):
    """How many values each series has had, whatever they were."""
    found = {}
    for (name, _, _, attributes), (_, point) in points(data).items():
        found[name, attributes] = getattr(point, "count", None) or point.value
    return found


def in_order(earlier, later):
    """Whether the times of a stream's points are those of one that goes on: from reader's one collection to the next.

    Cumulative points go on from one start; delta points begin where the last one ended.
    """
    wrong = []
    for key, (data, point) in points(later).items():
        if not point.start_time_unix_nano <= point.time_unix_nano:
            wrong.append(("starts after it ends", key))
        before = points(earlier).get(key)
        if before is None:
            continue
        is_delta = data.aggregation_temporality.name == "DELTA"
        expected = before[1].time_unix_nano if is_delta else before[1].start_time_unix_nano
        if point.start_time_unix_nano != expected:
            wrong.append(("starts elsewhere", key, point.start_time_unix_nano - expected))
    return wrong
