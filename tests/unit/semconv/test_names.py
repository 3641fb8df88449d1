"""Names: one place has them, the page that is generated from it is current, and every metric in use is among them."""

from pathlib import Path

import pytest

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
        assert metric.name.split(".")[0] in ("trading", "tradewatch")
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


def test_what_a_running_watch_exports_is_what_is_listed(blocking, venue, make_bot, watch_over, application, until):
    place = venue([{"operation": "ticker_24hr"}, {"status": 503}]) if False else venue()
    client = blocking.client(place, enableRateLimit=True)
    watch = watch_over(make_bot(client), clock=place.clock, **application.settings)
    client.fetch_balance()
    client.fetch_ticker("BTC/USDT")
    client.create_order("BTC/USDT", "market", "buy", 1)
    client.fetch_ticker("BTC/USDT")
    until(lambda: watch.status().portfolio.daily_pnl is not None)
    until(lambda: "trading.order.duration" in application.points())
    known = {m.name: {a.name for a in m.attributes} for m in METRICS}
    exported = {name: {k for key in points for k, _ in key} for name, points in application.points().items()}
    assert set(exported) <= set(known)
    assert {name: used - known[name] for name, used in exported.items() if used - known[name]} == {}
    # Present after 5 s, after a failure of ours, with exporters of ours, where a client has waited, and where a venue
    # refused or takes nonces.
    rare = {"tradewatch.overhead.cpu", "tradewatch.job.failures", "tradewatch.export.failures"}
    rare |= {"trading.exchange.throttle.duration", "trading.exchange.retry_after", "trading.exchange.retries"}
    rare |= {"trading.nonce.generated", "trading.nonce.errors"}
    # A blocking client has no streams; tests/instrumentation/streams sees each of these.
    streamed = {name for name in known if name.startswith("trading.stream.")}
    assert set(known) - set(exported) - rare == streamed
