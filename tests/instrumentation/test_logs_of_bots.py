"""Log records of several bots in one process: each goes out under the name of the bot whose call it was made in."""

import logging
import threading

import pytest
from opentelemetry import _logs
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

import tradewatch

SYMBOL = "BTC/USDT"


@pytest.fixture
def log():
    made = logging.getLogger("bots")
    was, made.level = made.level, logging.INFO
    made.manager._clear_cache()
    yield made
    made.setLevel(was)


@pytest.fixture
def bots(api, venue, make_bot, watch_over, tmp_path, log):
    """Two watched bots whose clients log in the middle of each call."""

    class Chatty(api.ccxt.binance):
        name_of_bot = "?"

        def sign(self, *args, **kwargs):
            log.info("in a call of %s", self.name_of_bot)
            return super().sign(*args, **kwargs)

    def make(**settings):
        place = venue()
        made = []
        for name in ("anna", "ben"):
            client = api.client(place, Chatty)
            api.do(client.load_markets())
            client.name_of_bot = name
            made.append(make_bot(client))
        for bot, name in zip(made, ("anna", "ben"), strict=True):
            watch_over(bot, name=name, clock=place.clock, state_dir=tmp_path / name, **settings)
        return made

    return make


def named(collect):
    """(service.name, what was said) of all records that arrived."""
    found = []
    for request in list(collect.logs):
        for resource in request.resource_logs:
            [name] = [a.value.string_value for a in resource.resource.attributes if a.key == "service.name"]
            records = [record for scope in resource.scope_logs for record in scope.log_records]
            found += [(name, record.body.string_value) for record in records]
    return found


def test_a_record_goes_out_under_the_name_of_the_bot_whose_call_it_is(api, bots, collect, monkeypatch, log):
    there = collect()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", f"{there.url}/v1/logs")
    anna, ben = bots(port=None)
    for bot in (ben, anna, ben):
        api.do(bot.exchange.fetch_ticker(SYMBOL))
        log.info("after a call")
    thread = threading.Thread(target=lambda: log.info("no call here"))
    thread.start()
    thread.join()
    tradewatch.shutdown()
    said = named(there)
    called = [(name, text) for name, text in said if "in a call of" in text]
    assert sorted(called) == [(name, f"in a call of {name}") for name in ("anna", "ben", "ben")]
    # Nobody can tell: the first bot's.
    assert [name for name, text in said if text in ("after a call", "no call here")] == ["anna"] * 4


def test_an_applications_provider_is_told_which_bot_it_was_as_long_as_each_is_watched(
    api, bots, application, monkeypatch, log
):
    kept = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(kept))
    monkeypatch.setattr(_logs._internal, "_LOGGER_PROVIDER", provider)
    monkeypatch.setenv("OTEL_LOGS_EXPORTER", "otlp")
    anna, ben = bots(**application.settings)

    def told():
        found = [(r.log_record.attributes.get("trading.bot"), r.log_record.body) for r in kept.get_finished_logs()]
        kept.clear()
        return [each for each in found if "of" in each[1]]

    kept.clear()
    for bot in (anna, ben):
        api.do(bot.exchange.fetch_ticker(SYMBOL))
    assert told() == [("anna", "in a call of anna"), ("ben", "in a call of ben")]
    thread = threading.Thread(target=lambda: log.info("word of nobody"))
    thread.start()
    thread.join()
    assert told() == [(None, "word of nobody")]
    tradewatch.uninstrument(anna)
    api.do(ben.exchange.fetch_ticker(SYMBOL))
    assert told() == [("ben", "in a call of ben")]
