"""Log records of a watched bot: ids on each, nothing printed otherwise than before, and by OTLP where asked for."""

import io
import logging
import re
import subprocess
import sys
import textwrap

import pytest
from opentelemetry import _logs
from opentelemetry.trace import format_span_id, format_trace_id

import tradewatch

SYMBOL = "BTC/USDT"
FORMAT = "%(message)s trace=%(otelTraceID)s span=%(otelSpanID)s sampled=%(otelTraceSampled)s order=%(tradingOrderID)s"


@pytest.fixture
def printed():
    """A logger of the bot's that prints through a format which names the attributes."""
    text, log = io.StringIO(), logging.getLogger("bot")
    handler = logging.StreamHandler(text)
    handler.setFormatter(logging.Formatter(FORMAT))
    log.addHandler(handler)
    was, log.level = log.level, logging.INFO
    log.manager._clear_cache()
    yield text
    log.removeHandler(handler)
    log.setLevel(was)


def test_a_record_names_the_span_that_is_current(make_bot, watch_over, application, printed):
    watch_over(make_bot(), **application.settings)
    log = logging.getLogger("bot")
    with application.tracers.get_tracer("bot").start_as_current_span("decide") as span:
        log.info("in")
    log.info("out")
    context = span.get_span_context()
    trace_id, span_id = format_trace_id(context.trace_id), format_span_id(context.span_id)
    assert printed.getvalue().splitlines() == [
        f"in trace={trace_id} span={span_id} sampled=True order=-",
        "out trace=0 span=0 sampled=False order=-",
    ]


def test_a_record_made_in_a_call_names_the_order(api, venue, make_bot, watch_over, application, printed):
    log = logging.getLogger("bot")

    class Mine(api.ccxt.binance):
        def sign(self, *args, **kwargs):
            log.info("signing")
            return super().sign(*args, **kwargs)

    place = venue()
    client = api.client(place, Mine)
    api.do(client.load_markets())
    watch_over(make_bot(client), clock=place.clock, **application.settings)
    printed.truncate(0)
    printed.seek(0)
    api.do(client.create_order(SYMBOL, "limit", "buy", 1, 50, {"clientOrderId": "mine-1"}))
    api.do(client.fetch_ticker(SYMBOL))
    assert re.findall("order=(.*)", printed.getvalue()) == ["mine-1", "-"]


def test_everything_is_put_back(make_bot, watch_over):
    factory, handle = logging.Logger.makeRecord, logging.Logger.callHandlers
    bot = make_bot()
    watch_over(bot)
    assert logging.Logger.makeRecord is not factory
    tradewatch.uninstrument(bot)
    assert (logging.Logger.makeRecord, logging.Logger.callHandlers) == (factory, handle)


def test_factories_of_others_are_chained_in_both_orders(make_bot, watch_over):
    first, began = logging.getLogRecordFactory(), []

    def before(*args, **kwargs):
        record = first(*args, **kwargs)
        record.otelTraceID = "another instrumentation's"
        return record

    logging.setLogRecordFactory(before)
    try:
        bot = make_bot()
        watch_over(bot)
        ours = logging.getLogRecordFactory()

        def after(*args, **kwargs):
            began.append(1)
            return ours(*args, **kwargs)

        logging.setLogRecordFactory(after)
        record = logging.getLogger("bot").makeRecord("bot", 20, "f", 1, "m", (), None)
        assert (record.otelTraceID, record.tradingOrderID) == ("another instrumentation's", "-")
        tradewatch.uninstrument(bot)
        # It is not ours to take away; ours below it goes on without a word, and comes back with the next watch.
        assert logging.getLogRecordFactory() is after
        logging.getLogger("bot").makeRecord("bot", 20, "f", 1, "m", (), None)
        watch_over(bot)
        assert logging.getLogRecordFactory() is after
        tradewatch.uninstrument(bot)
    finally:
        logging.setLogRecordFactory(first)
        tradewatch.registry._logs._make = None
    assert len(began) >= 2


def test_a_failure_of_ours_costs_no_record(make_bot, watch_over, monkeypatch, printed, lenient):
    watch_over(make_bot())

    def bug(*args):
        raise RuntimeError("a bug of tradewatch")

    monkeypatch.setattr("tradewatch.telemetry.logs._mark", bug)
    logging.getLogger("bot").info("said")
    assert printed.getvalue() == "said trace=0 span=0 sampled=False order=-\n"
    assert lenient["logs"] >= 1


def test_a_span_whose_ids_cannot_be_asked_without_a_log_line_does_not_recurse(make_bot, watch_over, printed):
    from opentelemetry import context, trace

    class Talkative(trace.NonRecordingSpan):
        def get_span_context(self):
            logging.getLogger("bot").info("asked")
            return super().get_span_context()

    watch_over(make_bot())
    span = Talkative(trace.SpanContext(1, 2, False))
    token = context.attach(trace.set_span_in_context(span))
    logging.getLogger("bot").info("said")
    context.detach(token)
    assert [line.split()[0] for line in printed.getvalue().splitlines()] == ["asked", "said"]


# By OTLP.


@pytest.fixture
def asked_for(collect, exported, monkeypatch):
    """A collector that log records are exported to."""
    collector = collect()
    exported("")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", f"{collector.url}/v1/logs")
    monkeypatch.setenv("OTEL_BLRP_SCHEDULE_DELAY", "20")
    monkeypatch.delenv("OTEL_LOGS_EXPORTER", raising=False)
    return collector


def told(collector):
    """Each record that arrived: logger, body, level and its number, trace id, attributes, as plain values."""
    found = []
    for request in list(collector.logs):
        for resource in request.resource_logs:
            for scope in resource.scope_logs:
                for r in scope.log_records:
                    said = {a.key: a.value.string_value or a.value.int_value for a in r.attributes}
                    found.append(
                        (scope.scope.name, r.body.string_value, r.severity_text, r.severity_number, r.trace_id, said)
                    )
    return found


def test_records_arrive_with_ids_extras_and_exceptions(make_bot, watch_over, application, asked_for):
    watch_over(make_bot(), tracer_provider=application.tracers)
    log = logging.getLogger("bot.orders")
    with application.tracers.get_tracer("bot").start_as_current_span("decide") as span:
        log.warning("sold %d at %s", 2, "x", extra={"leg": 7, "client": object()})
        try:
            raise KeyError("gone")
        except KeyError:
            log.exception("failed")
    logging.getLogger("bot.orders").info("below the level of this logger")
    tradewatch.shutdown()
    # One a request; on a busy machine the first record goes before the second is there.
    assert dict(application.tracers.resource.attributes) in resources(asked_for)
    assert len({str(each) for each in resources(asked_for)}) == 1
    (_, failed, error, _, _, trace), (scope, body, level, number, trace_id, said) = sorted(told(asked_for), key=str)
    assert (scope, body, level, number) == ("bot.orders", "sold 2 at x", "WARNING", 13)
    assert trace_id == span.get_span_context().trace_id.to_bytes(16, "big")
    assert said.pop("code.line.number") > 0
    assert said.pop("code.file.path").endswith("test_logs.py")
    assert said == {"leg": 7, "code.function.name": "test_records_arrive_with_ids_extras_and_exceptions"}
    assert (failed, error, trace["exception.type"], trace["exception.message"]) == (
        "failed",
        "ERROR",
        "builtins.KeyError",
        "gone",
    )
    assert "raise KeyError" in trace["exception.stacktrace"]


def resources(collector):
    sent = [r.resource for request in list(collector.logs) for r in request.resource_logs]
    return [{a.key: a.value.string_value for a in resource.attributes} for resource in sent]


def test_what_a_record_says_leaves_scrubbed(make_bot, watch_over, asked_for):
    from tradewatch.runtime.scrub import scrubber

    secret = "Zm9vYmFyc2VjcmV0MTIzNDU2Nzg5MA"
    scrubber.learn([secret])
    watch_over(make_bot())
    log = logging.getLogger("bot")
    log.warning("GET https://api/x?signature=%s", "c8db56825ae71d6d")
    log.warning("key %s", secret, extra={"apiKey": "vmPUZE6mv9SD5VNHk4", "note": f"x{secret}"})
    try:
        raise RuntimeError(f"https://api/x?signature=c8db56825ae71d6d {secret}")
    except RuntimeError:
        log.exception("failed")
    tradewatch.shutdown()
    assert len(told(asked_for)) == 3
    text = repr(told(asked_for))
    assert [s for s in (secret, "c8db56825ae71d6d", "vmPUZE6mv9SD5VNHk4") if s in text] == []
    assert "signature=***" in text


def test_logs_are_not_sent_unless_they_are_asked_for(make_bot, watch_over, collect, exported, monkeypatch):
    """One endpoint for all signals asks for spans and metrics alone."""
    collector = collect()
    exported(collector.url)
    monkeypatch.delenv("OTEL_LOGS_EXPORTER", raising=False)
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", raising=False)
    handle = logging.Logger.callHandlers
    watch_over(make_bot())
    logging.getLogger("bot").warning("private")
    assert logging.Logger.callHandlers is handle
    tradewatch.shutdown()
    assert collector.logs == []


def test_an_applications_own_provider_of_logs_is_used(make_bot, watch_over, asked_for, monkeypatch):
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

    kept, theirs = InMemoryLogRecordExporter(), LoggerProvider(shutdown_on_exit=False)
    theirs.add_log_record_processor(SimpleLogRecordProcessor(kept))
    monkeypatch.setattr(_logs._internal, "_LOGGER_PROVIDER", theirs)
    watch_over(make_bot())
    logging.getLogger("bot").warning("said")
    tradewatch.shutdown()
    logging.getLogger("bot").warning("afterwards")
    assert [r.log_record.body for r in kept.get_finished_logs()] == ["said"]
    assert asked_for.logs == []


def test_a_hanging_collector_of_logs_is_not_felt_and_counted(make_bot, watch_over, asked_for, monkeypatch, collect):
    import socket

    with socket.socket() as hanging:
        hanging.bind(("127.0.0.1", 0))
        hanging.listen(8)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", f"http://127.0.0.1:{hanging.getsockname()[1]}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "600")
        monkeypatch.setenv("OTEL_BLRP_MAX_QUEUE_SIZE", "10")
        watch = watch_over(make_bot())
        for n in range(100):
            logging.getLogger("bot").warning("said %d", n)
        tradewatch.shutdown()
        dropped = {(d.signal, d.kind): d.count for d in watch.status().telemetry.dropped if d.reason == "full"}
        assert dropped[("logs", "other")] >= 80
        assert sum(d.count for d in watch.status().telemetry.dropped) == 100


SCRIPT = """
import logging, os, sys
os.environ.update({"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://127.0.0.1:9", "OTEL_METRICS_EXPORTER": "none"})
import tradewatch
class Bot: pass
if sys.argv[1] == "watched":
    tradewatch.instrument(Bot(), state_dir=sys.argv[2], port=0)
logging.getLogger("a").warning("without a handler")
logging.basicConfig(format="%(levelname)s %(message)s", level="INFO")
logging.info("configured")
logging.getLogger("b").error("bad %d", "text")
print(len(logging.getLogger().handlers))
os._exit(0)
"""


def test_what_a_bot_prints_is_what_it_printed_before(tmp_path):
    """No handler of ours is on the root logger: `basicConfig` still configures it."""

    def run(how):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(SCRIPT), how, str(tmp_path / "s")],
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.stdout, re.sub(r'File ".*?", line \d+, in \w+\n.*\n', "", done.stderr)

    watched, alone = run("watched"), run("alone")
    assert watched[0] == alone[0] == "1\n"
    for line in ("without a handler", "INFO configured", "--- Logging error ---"):
        assert line in watched[1]
        assert line in alone[1]


def test_many_records_are_written_a_few_at_a_time_and_read_as_one(make_bot, watch_over, asked_for):
    watch_over(make_bot(), name="grid")
    for n in range(20):
        logging.getLogger("bot").warning("said %d", n)
    tradewatch.shutdown()
    assert [body for _, body, *_ in told(asked_for)] == [f"said {n}" for n in range(20)]
    assert {a["service.name"] for a in resources(asked_for)} == {"grid"}


def test_what_the_bot_gives_under_our_names_stands(blocking, venue, make_bot, watch_over, caplog):
    watch_over(make_bot(blocking.client(venue())))
    with caplog.at_level(logging.INFO):
        logging.getLogger("bot").info("hello", extra={"otelTraceID": "mine", "tradingOrderID": "7"})
    [record] = [each for each in caplog.records if each.name == "bot"]
    assert (record.otelTraceID, record.tradingOrderID) == ("mine", "7")
