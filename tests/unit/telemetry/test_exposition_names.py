"""Whatever the bot's own instruments, views and environment hold, the scrape is one that Prometheus's parsers read."""

import logging
import subprocess
from decimal import Decimal
from fractions import Fraction

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.resources import Resource
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from servers import SERVERS
from tradewatch.runtime.scrub import scrubber
from tradewatch.telemetry.exposition import exposition
from tradewatch.telemetry.scrape import ScrapeReader, scrape_server

PROMTOOL = next((one.binary for one in SERVERS if one.name == "promtool" and one.binary.exists()), None)
FORMATS = [(parse_openmetrics, True), (parse_text, False)]


class Float64(float):
    """Shown as numpy 2 shows its own."""

    def __repr__(self):
        return f"np.float64({float(self)})"


def shown(record, views=()):
    """What each of the two formats shows of what `record` does with two meters: (name, labels) → value, but `le`s."""
    reader = ScrapeReader()
    provider = MeterProvider([reader], Resource({}), views=views, shutdown_on_exit=False)
    record(provider.get_meter("one"), provider.get_meter("two"))
    found = []
    for parse, openmetrics in FORMATS:
        text = "".join(exposition(reader.read(), openmetrics=openmetrics))
        samples = [sample for family in parse(text) for sample in family.samples]
        keys = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in samples]
        assert len(set(keys)) == len(keys)
        found.append({key: s.value for key, s in zip(keys, samples, strict=True) if "le" not in s.labels})
        if PROMTOOL is not None and not openmetrics:
            checked = subprocess.run(
                [PROMTOOL, "check", "metrics"], input=text.encode(), capture_output=True, timeout=60
            )
            # 3 is a name against the conventions.
            assert checked.returncode in (0, 3), checked.stderr
    provider.shutdown()
    return [{key: value for key, value in each.items() if key[0] != "target_info"} for each in found]


@pytest.mark.parametrize("value", [True, Decimal("1"), Fraction(1), Float64(1)], ids=lambda value: type(value).__name__)
def test_numbers_of_any_type_are_numbers(value):
    each = shown(lambda one, two: (one.create_gauge("g").set(value), one.create_counter("c").add(value)))
    assert each == [{("g", ()): 1.0, ("c_total", ()): 1.0}] * 2


def test_a_label_that_buckets_use_is_called_otherwise():
    each = shown(lambda one, two: one.create_histogram("h").record(2, {"le": "mine", "a": "x"}))
    labels = (("a", "x"), ("exported_le", "mine"))
    assert each == [{("h_sum", labels): 2.0, ("h_count", labels): 1.0}] * 2


CLASHES = {
    "a counter and a gauge": (
        lambda one, two: (one.create_counter("x").add(1), two.create_gauge("x.total").set(2)),
        {("x_total", ()): 1.0},
    ),
    "two scopes": (
        lambda one, two: (one.create_counter("x").add(1, {"k": "1"}), two.create_counter("x").add(2, {"k": "1"})),
        {("x_total", (("k", "1"),)): 1.0},
    ),
    "two units": (
        lambda one, two: (one.create_gauge("x", "s").set(1), one.create_gauge("x_seconds").set(2)),
        {("x_seconds", ()): 1.0},
    ),
    "a histogram's count": (
        lambda one, two: (one.create_histogram("x").record(1), one.create_gauge("x.count").set(2)),
        {("x_sum", ()): 1.0, ("x_count", ()): 1.0},
    ),
    "attributes": (
        lambda one, two: [one.create_gauge("x").set(n, {name: "k"}) for n, name in enumerate(("a.b", "a_b"))],
        {("x", (("a_b", "k"),)): 0.0},
    ),
    "the target": (lambda one, two: one.create_gauge("target.info").set(2), {}),
}


@pytest.mark.parametrize(("record", "expected"), CLASHES.values(), ids=CLASHES)
def test_of_two_that_are_called_alike_the_first_is_shown_and_it_is_said(record, expected, caplog):
    assert shown(record) == [expected] * 2
    [line] = {r.getMessage() for r in caplog.records if r.name == "tradewatch"}
    assert line.endswith(("call one of them something else", "tell them apart by an attribute or a name"))


def test_views_that_rename_to_the_same_name_add_their_series(caplog):
    caplog.set_level(logging.ERROR, "opentelemetry")
    views = [View(instrument_name=name, name="same") for name in ("a", "b")]

    def record(one, two):
        for name in ("a", "b"):
            one.create_counter(name).add(1, {"of": name})
            one.create_counter(name).add(1, {"of": "both"})

    counted = {("same_total", (("of", of),)): 1.0 for of in ("a", "b", "both")}
    assert shown(record, views) == [counted] * 2


def test_half_a_surrogate_pair_does_not_cost_the_scrape(scrape):
    reader = ScrapeReader()
    provider = MeterProvider([reader], Resource({"service.name": "\udcff"}), shutdown_on_exit=False)
    provider.get_meter("m").create_gauge("g", description="\udcff").set(1, {"symbol": "a\udcff"})
    server = scrape_server(0, reader)
    try:
        found = scrape(server.url)
    finally:
        server.stop()
        provider.shutdown()
    assert found == {("target_info", (("service_name", "?"),)): 1.0, ("g", (("symbol", "a?"),)): 1.0}


def test_no_secret_is_shown_in_names_labels_help_or_the_target():
    key, secret = "KEYKEYkeykey0123456789", "SECSECsecsec9876543210"
    scrubber.learn([key])
    reader = ScrapeReader()
    resource = Resource({"deploy": key, "signature": secret, key: "name"})
    provider = MeterProvider([reader], resource, shutdown_on_exit=False)
    meter = provider.get_meter("m")
    meter.create_counter(key, description=key).add(1, {"k": key, key: "name", "api_key": secret})
    meter.create_histogram("h", description=f"signature={secret}").record(1, {"url": f"https://x/?signature={secret}"})
    for _, openmetrics in FORMATS:
        text = "".join(exposition(reader.read(), openmetrics=openmetrics))
        assert key not in text
        assert secret not in text
        assert 'k="***"' in text
    provider.shutdown()
