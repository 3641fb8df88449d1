"""A thousand threads and five thousand symbols: each call is counted, and what is made of it is sent or counted."""

import logging
import threading

import pytest

import tradewatch

THREADS, EACH = 1_000, 10


@pytest.fixture
def instant(blocking):
    """A client whose calls take no time, and log."""
    log = logging.getLogger("many")
    was, log.level = log.level, logging.INFO
    log.manager._clear_cache()

    class Instant(blocking.ccxt.binance):
        def fetch_ticker(self, symbol, params={}):  # noqa: B006
            log.info("of %s", symbol)
            return {"symbol": symbol, "last": 1.0}

    yield blocking.client("http://127.0.0.1:9", Instant)
    log.setLevel(was)


def counted(points):
    return sum(point.count for point in points)


def test_a_thousand_threads_and_five_thousand_symbols(instant, make_bot, watch_over, collect, monkeypatch):
    there = collect()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", there.url)
    monkeypatch.setenv("OTEL_LOGS_EXPORTER", "otlp")
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "300")
    watch = watch_over(make_bot(instant))
    wrong, ready = [], threading.Barrier(THREADS)

    def trade(number):
        ready.wait(60)
        for n in range(EACH):
            symbol = f"S{(number * EACH + n) % 5_000}/USDT"
            if instant.fetch_ticker(symbol)["symbol"] != symbol:
                wrong.append(symbol)

    threads = [threading.Thread(target=trade, args=(number,)) for number in range(THREADS)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert wrong == []
    [operation] = watch.status().operations
    assert operation.calls == THREADS * EACH
    for outbox in watch._outputs.providers.outboxes:
        outbox.flush(30)
    tradewatch.shutdown()
    telemetry = watch.status().telemetry
    lost = {}
    for each in telemetry.dropped:
        lost[each.signal] = lost.get(each.signal, 0) + each.count
    spans = [span for span in there.spans() if span.name.startswith("fetch_ticker")]
    assert len(spans) + lost.get("spans", 0) + telemetry.records_dropped + telemetry.reads_dropped == THREADS * EACH
    records = [r for one in there.logs for x in one.resource_logs for s in x.scope_logs for r in s.log_records]
    said = [record for record in records if record.body.string_value.startswith("of S")]
    assert len(said) + lost.get("logs", 0) == THREADS * EACH
    durations = there.last_metrics()["trading.exchange.call.duration"].histogram.data_points
    assert counted(durations) == THREADS * EACH
    assert max(len(m.gauge.data_points) for m in there.last_metrics().values() if m.HasField("gauge")) < 500
    assert "metrics" not in lost
