"""The scrape's text, read by Prometheus's own parsers, equals what OpenTelemetry's exporter shows of a provider."""

import gzip
import urllib.error
import urllib.request

import pytest
from opentelemetry.context import Context
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tradewatch.semconv import METRICS
from tradewatch.semconv.metrics import DURATION_BOUNDS_S
from tradewatch.telemetry.exposition import exposition
from tradewatch.telemetry.scrape import ScrapeReader, scrape_server

RESOURCE = Resource(
    {
        "service.name": 'a "bot"\\\n',
        "1.leading": "digit",
        "many": ("a", "b"),
        "n": 5,
        "yes": True,
        "service.instance.id": "i",
    }
)
HOSTILE = [
    {"plain": "value", "other.name": "x"},
    {"plain": 'quo"te', "a.b": "back\\slash", "a_b": "the same name"},
    {"plain": "new\nline", "lf": "\r", "zzz": "after le", "aaa": "before le"},
    {"plain": "", "only": "other"},
    {"plain": "ünïcode ✓ 🚀", "ключ": "v", "1st": "digit", "%s": "%d %s %%", "le": "mine"},
    {"plain": "\x00\x01 control", "{}": "{braces}", "comma,": "a,b=c"},
    {"aaa": "%d %s %%", "zzz": "%(x)s %"},
    {"number": 5, "ratio": 0.5, "yes": True, "many": ("a", 'b"')},
    {"long": "x" * 5_000},
    {},
]
UNITS = [
    "",
    "s",
    "1",
    "%",
    "By",
    "{order}",
    "{a}s",
    "By/s",
    "{x}/s",
    "m/s",
    "/s",
    "foo bar",
    "USD",
    "ms",
    "_odd_",
    "1/s",
]


@pytest.fixture
def both():
    """A provider with both readers: ours, and OpenTelemetry's exporter on a registry of its own."""
    ours, registry = ScrapeReader(), CollectorRegistry()
    theirs = PrometheusMetricReader(scope_info_enabled=False, registry=registry)
    provider = MeterProvider([ours, theirs], RESOURCE, shutdown_on_exit=False)
    yield provider, lambda **how: "".join(exposition(ours.read(), **how)), registry
    provider.shutdown()


def families(parsed):
    """Name → kind, help, unit and samples; labels without a value are none to Prometheus."""
    found = {}
    for family in parsed:
        assert family.name not in found
        samples = {}
        for sample in family.samples:
            key = (sample.name, tuple(sorted((k, v) for k, v in sample.labels.items() if v)))
            assert key not in samples
            samples[key] = float(sample.value)
        found[family.name] = (family.type, family.documentation, family.unit, samples)
    return found


def agree(text, openmetrics, registry):
    assert families(parse_text(text)) == families(parse_text(generate_latest(registry).decode()))
    assert families(parse_openmetrics(openmetrics)) == families(
        parse_openmetrics(generate_openmetrics(registry).decode())
    )


def test_every_kind_of_instrument_is_spelled_as_opentelemetry_does(both):
    provider, text, registry = both
    for scope in ("one", "two"):
        meter = provider.get_meter(scope, "1.0")
        for i, unit in enumerate(UNITS):
            made = f"{scope}.unit-{i}"
            meter.create_counter(f"{made}.counter", unit, "a counter").add(3, {"a": "b"})
            meter.create_counter(f"{made}.total_total", unit).add(1.5)
            meter.create_up_down_counter(f"{made}.updown", unit).add(-3)
            meter.create_gauge(f"{made}.gauge", unit, 'line\nbreak "quoted" \\').set(-1e-7)
            meter.create_histogram(f"{made}.histogram", unit).record(7)
            told = [lambda options: [Observation(12345678901234567890, {"k": "v"}), Observation(0.1)]]
            meter.create_observable_counter(f"{made}.o.counter", told, unit)
            meter.create_observable_up_down_counter(f"{made}.o.updown", told, unit)
            meter.create_observable_gauge(f"{made}.o.gauge", told, unit)
        meter.create_counter(f"{scope}.with_seconds", "s").add(1)
        meter.create_counter(f"{scope}.ends__in.._total", "By").add(1)
    agree(text(openmetrics=False), text(openmetrics=True), registry)


def test_hostile_labels_are_spelled_as_opentelemetry_does(both):
    provider, text, registry = both
    meter = provider.get_meter("scope")
    counter, gauge = meter.create_counter("c"), meter.create_gauge("g", "s")
    histogram = meter.create_histogram("h", "s", "help", explicit_bucket_boundaries_advisory=[0.1, 5, 1e9])
    meter.create_histogram("floats", explicit_bucket_boundaries_advisory=[0.1, 5.0, 1e9]).record(1)
    for n, attributes in enumerate(HOSTILE):
        counter.add(n, attributes)
        gauge.set(n / 3, attributes)
        if "le" not in attributes:
            histogram.record(n, attributes)
    agree(text(openmetrics=False), text(openmetrics=True), registry)


def test_the_bots_own_instruments_have_their_listed_names(both):
    provider, text, registry = both
    meter = provider.get_meter("tradewatch")
    for metric in METRICS:
        attributes = {a.name: a.example for a in metric.attributes}
        if metric.instrument == "histogram":
            bounds = list(DURATION_BOUNDS_S)
            made = meter.create_histogram(
                metric.name, metric.unit, metric.meaning, explicit_bucket_boundaries_advisory=bounds
            )
            made.record(0.3, attributes)
        else:
            told = [lambda options, attributes=attributes: [Observation(1, attributes)]]
            make = meter.create_observable_counter if metric.instrument == "counter" else meter.create_observable_gauge
            make(metric.name, told, metric.unit, metric.meaning)
    shown = text(openmetrics=False)
    agree(shown, text(openmetrics=True), registry)
    names = {sample.name for family in parse_text(shown) for sample in family.samples}
    listed = {m.prometheus + ("_count" if m.instrument == "histogram" else "") for m in METRICS}
    assert listed <= names


def test_infinite_values_and_counts_are_written_as_prometheus_reads_them(both):
    provider, text, registry = both
    gauge = provider.get_meter("scope").create_up_down_counter("big")
    gauge.add(1e308, {"a": "1"})
    gauge.add(1e308, {"a": "1"})
    gauge.add(-1e308, {"a": "2"})
    gauge.add(-1e308, {"a": "2"})
    agree(text(openmetrics=False), text(openmetrics=True), registry)


def test_exemplars_are_in_openmetrics_alone():
    reader = ScrapeReader()
    provider = MeterProvider([reader], RESOURCE, shutdown_on_exit=False)
    meter = provider.get_meter("scope")
    span = NonRecordingSpan(SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED)))
    context = set_span_in_context(span, Context())
    histogram = meter.create_histogram("h", "s", explicit_bucket_boundaries_advisory=[0.1, 1])
    histogram.record(0.5, {"zone": "a", "area": "b"}, context)
    histogram.record(0.05, {"zone": "a", "area": "b"})
    histogram.record(7, {"zone": "a", "area": "b"}, context)
    meter.create_counter("c").add(3, {}, context)
    assert " # " not in "".join(exposition(reader.read(), openmetrics=False)).replace("\n# ", "\n")
    histogram.record(0.6, {"zone": "a", "area": "b"}, context)
    meter.create_counter("c").add(1, {}, context)
    shown = families_with_exemplars("".join(exposition(reader.read(), openmetrics=True)))
    ids = {"trace_id": f"{0xABC:032x}", "span_id": f"{0xDEF:016x}"}
    assert shown == {("h_seconds_bucket", "1"): (ids, 0.6), ("c_total", None): (ids, 1)}
    provider.shutdown()


def families_with_exemplars(text):
    samples = [sample for family in parse_openmetrics(text) for sample in family.samples]
    return {(s.name, s.labels.get("le")): (s.exemplar.labels, s.exemplar.value) for s in samples if s.exemplar}


def test_an_exponential_histogram_is_shown_by_its_count_and_sum():
    reader = ScrapeReader()
    views = [View(instrument_type=Histogram, aggregation=ExponentialBucketHistogramAggregation())]
    provider = MeterProvider([reader], RESOURCE, shutdown_on_exit=False, views=views)
    histogram = provider.get_meter("scope").create_histogram("h", "s")
    for value in (0.5, 2.5):
        histogram.record(value, {"a": "b"})
    for parse, openmetrics in ((parse_text, False), (parse_openmetrics, True)):
        shown = families(parse("".join(exposition(reader.read(), openmetrics=openmetrics))))
        assert shown["h_seconds"][3] == {
            ("h_seconds_bucket", (("a", "b"), ("le", "+Inf"))): 2,
            ("h_seconds_sum", (("a", "b"),)): 3,
            ("h_seconds_count", (("a", "b"),)): 2,
        }
    provider.shutdown()


@pytest.fixture
def endpoint():
    reader = ScrapeReader()
    provider = MeterProvider([reader], RESOURCE, shutdown_on_exit=False)
    server = scrape_server(0, reader)
    yield provider.get_meter("scope"), server.url
    server.stop()
    provider.shutdown()


def asked(url, method="GET", **headers):
    request = urllib.request.Request(url, method=method, headers={k.replace("_", "-"): v for k, v in headers.items()})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.headers, answer.read()


def test_what_is_asked_for_is_served(endpoint):
    meter, url = endpoint
    meter.create_counter("c").add(1)
    headers, body = asked(url)
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "c" in families(parse_text(body.decode()))
    headers, body = asked(url.replace("/metrics", "/"), Accept="application/openmetrics-text;version=1.0.0,*/*;q=0.1")
    assert headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert families(parse_openmetrics(body.decode()))["c"][3] == {("c_total", ()): 1}
    headers, body = asked(url, Accept_Encoding="gzip")
    assert headers["Content-Encoding"] == "gzip"
    assert "c" in families(parse_text(gzip.decompress(body).decode()))
    assert asked(url.replace("/metrics", "/favicon.ico"))[1] == b""
    assert asked(url, "OPTIONS")[0]["Allow"] == "OPTIONS,GET"
    with pytest.raises(urllib.error.HTTPError) as refused:
        asked(url, "HEAD")
    assert refused.value.code == 405
    refused.value.close()


def test_a_series_that_is_observed_no_more_is_absent(endpoint):
    meter, url = endpoint
    observed = [Observation(1, {"symbol": "BTC/USDT"}), Observation(2, {"symbol": "ETH/USDT"})]
    meter.create_observable_gauge("position", [lambda options: list(observed)])
    assert len(families(parse_text(asked(url)[1].decode()))["position"][3]) == 2
    observed.pop()
    assert families(parse_text(asked(url)[1].decode()))["position"][3] == {("position", (("symbol", "BTC/USDT"),)): 1}
    observed.clear()
    assert "position" not in families(parse_text(asked(url)[1].decode()))


def test_a_flush_makes_no_duplicates():
    reader = ScrapeReader()
    provider = MeterProvider([reader], RESOURCE, shutdown_on_exit=False)
    provider.get_meter("scope").create_counter("c").add(1)
    provider.force_flush()
    assert families(parse_text("".join(exposition(reader.read(), openmetrics=False))))["c"][3] == {("c_total", ()): 1}
    provider.shutdown()


def test_what_a_flush_collected_is_not_shown_later():
    reader, observed = ScrapeReader(), [Observation(1)]
    provider = MeterProvider([reader], RESOURCE, shutdown_on_exit=False)
    provider.get_meter("scope").create_observable_gauge("g", [lambda options: list(observed)])
    provider.force_flush()
    observed.clear()
    assert reader.read() is None
    provider.shutdown()


def test_nothing_to_show_is_an_empty_page():
    assert "".join(exposition(None, openmetrics=False)) == ""
    assert "".join(exposition(None, openmetrics=True)) == "# EOF\n"
