"""Names: one place has them, the page that is generated from it is current, and every metric in use is among them."""

import gc
from pathlib import Path

import pytest
from opentelemetry.semconv._incubating.metrics import cpython_metrics, process_metrics, system_metrics

from tradewatch.semconv import ATTRIBUTES, METRICS
from tradewatch.semconv.__main__ import page

PAGE = Path(__file__).parents[3] / "docs" / "semantic-conventions.md"


def test_the_generated_page_is_current():
    assert PAGE.read_text() == page(), "run `make docs`"


def test_no_metric_is_the_prefix_of_another():
    names = [m.name for m in METRICS]
    assert [(a, b) for a in names for b in names if b.startswith(a + ".")] == []
    assert len(set(names)) == len(names)
    assert len({m.prometheus for m in METRICS}) == len(METRICS)


def test_names_are_spelled_as_opentelemetry_has_them():
    for metric in METRICS:
        assert metric.name.split(".")[0] in ("trading", "tradewatch", "process", "system", "cpython")
        assert "_total" not in metric.name
        assert metric.unit != "1"
        assert metric.meaning.endswith(".")
    for attribute in ATTRIBUTES:
        assert attribute.meaning.endswith(".")


@pytest.mark.parametrize(
    ("name", "prometheus"),
    [
        ("trading.exchange.call.duration", "trading_exchange_call_duration_seconds"),
        ("trading.orders", "trading_orders_total"),
        ("trading.fees", "trading_fees_total"),
        ("trading.pnl.daily", "trading_pnl_daily"),
    ],
)
def test_prometheus_spells_them_so(name, prometheus):
    assert [m.prometheus for m in METRICS if m.name == name] == [prometheus]


def opentelemetrys():
    """Metrics of process, host and CPython as OpenTelemetry's own table has them, by name: instrument and unit.

    It is made of functions that make each on a meter, which is what gets written down here.
    """
    found = {}

    class Meter:
        def __getattr__(self, kind):
            def make(name, description="", unit="", callbacks=None):
                found[name] = kind.removeprefix("create_").removeprefix("observable_").replace("_", ""), unit

            return make

    for module in (process_metrics, system_metrics, cpython_metrics):
        for name, make in vars(module).items():
            if name.startswith("create_"):
                make(Meter(), callbacks=[]) if "callbacks" in make.__code__.co_varnames else make(Meter())
    return found


# The Collector's host receiver has these under these names; OpenTelemetry's table and CPython's have no such metric.
OF_NO_TABLE = {f"system.cpu.load_average.{n}" for n in ("1m", "5m", "15m")} | {"cpython.gc.duration"}


def test_process_and_host_metrics_are_those_of_opentelemetrys_table():
    ours = {
        m.name: (m.instrument, m.unit)
        for m in METRICS
        if m.name.startswith(("process.", "system.", "cpython.")) and m.name not in OF_NO_TABLE
    }
    theirs = opentelemetrys()
    assert len(ours) > 15
    assert {name: theirs.get(name) for name in ours} == ours
    assert not OF_NO_TABLE & set(theirs)


def test_what_a_running_watch_exports_is_what_is_listed(blocking, venue, make_bot, watch_over, application, until):
    place = venue()
    client = blocking.client(place, enableRateLimit=True)
    watch = watch_over(make_bot(client), clock=place.clock, **application.settings)
    client.fetch_balance()
    client.fetch_ticker("BTC/USDT")
    client.create_order("BTC/USDT", "market", "buy", 1)
    client.fetch_ticker("BTC/USDT")
    until(lambda: watch.status().portfolio.daily_pnl is not None)
    until(lambda: {"trading.order.duration", "system.cpu.time"} <= set(application.points()))
    gc.collect()
    until(lambda: "cpython.gc.duration" in application.points())
    known = {m.name: {a.name for a in m.attributes} for m in METRICS}
    exported = {name: {k for key in points for k, _ in key} for name, points in application.points().items()}
    assert set(exported) <= set(known)
    assert {name: used - known[name] for name, used in exported.items() if used - known[name]} == {}
    # Present after 5 s, after a failure of ours, with exporters of ours, where a client has waited, and where a venue
    # refused or takes nonces.
    rare = {"tradewatch.overhead.cpu", "tradewatch.job.failures", "tradewatch.export.failures"}
    rare |= {"trading.exchange.throttle.duration", "trading.exchange.retry_after", "trading.exchange.retries"}
    rare |= {"trading.nonce.generated", "trading.nonce.errors"}
    # Present where there is an event loop, and where settings name a file or a process.
    rare |= {"trading.loop.lag", "tradewatch.log_file.size"}
    rare |= {name for name in known if name.startswith("tradewatch.process.")}
    # A blocking client has no streams; tests/instrumentation/streams sees each of these.
    streamed = {name for name in known if name.startswith("trading.stream.")}
    assert set(known) - set(exported) - rare == streamed
