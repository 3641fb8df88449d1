"""Process, host, loops, files and other processes through a watch: on every reader, for rules, and in the status."""

import asyncio
import gc
import os
import threading
import urllib.request

import pytest
import uvloop
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry, generate_latest

import tradewatch
from tradewatch import registry
from tradewatch.health import system
from tradewatch.semconv import METRICS

OURS = tuple(m.prometheus for m in METRICS if m.name.startswith(("process.", "system.", "cpython.", "trading.loop")))
LOOKED = tuple(m.prometheus for m in METRICS if m.name.startswith(("tradewatch.log_file", "tradewatch.process")))


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Looks follow each other quickly."""
    monkeypatch.setattr(system, "EVERY_S", 0.05)


def of_system(text):
    """The series of an exposition that are about process and host, without the bot's name and its own."""
    found = set()
    for line in text.splitlines():
        if line.startswith((*OURS, *LOOKED)):
            series = line.rpartition(" ")[0].replace('trading_bot="Bot",', "").replace('trading_bot="Bot"', "")
            found.add(series.replace("{}", "").replace(",}", "}"))
    return found


@pytest.fixture
def working(awaiting, venue, make_bot, watch_over, tmp_path):
    """A watch over a bot whose async client works on a loop in a thread; it ends with the test."""
    (tmp_path / "bot.log").write_text("line\n")
    ended, threads = threading.Event(), []

    def begin(**settings):
        client = awaiting.client(venue())
        watch = watch_over(
            make_bot(client), log_files=[tmp_path / "bot.log"], processes=["no such program"], **settings
        )

        async def work():
            while not ended.is_set():
                await client.fetch_ticker("BTC/USDT")
                await asyncio.sleep(0.01)

        threads.append(threading.Thread(target=awaiting.loop.run_until_complete, args=(work(),)))
        threads[-1].start()
        gc.collect()
        return watch

    yield begin
    ended.set()
    for each in threads:
        each.join(30)


def read(url):
    with urllib.request.urlopen(url) as answer:
        return answer.read().decode()


def complete(text):
    """The series, once all that are to be are there."""
    found = of_system(text)
    missing = {name for name in (*OURS, *LOOKED) if not any(series.startswith(name) for series in found)}
    # One that is down has neither.
    down = {"tradewatch_process_cpu_time_seconds_total", "tradewatch_process_memory_usage_bytes"}
    return found if missing <= down else None


def test_series_are_the_same_by_our_scrape_and_by_an_applications_prometheus_reader(working, until):
    watch = working()
    scraped = until(lambda: complete(read(watch.status().telemetry.endpoint)), 30)
    folder, system = watch.status().state_folder, watch.status().system
    [bot] = [bot for bot, known, _ in registry._watches.values() if known is watch]
    tradewatch.uninstrument(bot)
    collected = CollectorRegistry()
    reader = PrometheusMetricReader(scope_info_enabled=False, registry=collected)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    tradewatch.instrument(
        bot, state_dir=folder, meter_provider=provider, log_files=list(system.log_files),
        processes=list(system.processes),
    )  # fmt: skip
    gc.collect()
    pulled = until(lambda: complete(generate_latest(collected).decode()), 30)
    assert pulled == scraped
    tradewatch.uninstrument(bot)
    provider.shutdown()


def test_a_rule_fires_while_the_bots_loop_stands_still_and_not_before(working, tmp_path, until, awaiting):
    rules = tmp_path / "rules.yaml"
    rules.write_text("""\
groups:
  - name: loop
    interval: 100ms
    rules:
      - alert: LoopStandsStill
        expr: trading_loop_lag_seconds{trading_loop="bot.exchange"} > 1
        annotations:
          action: halt
          summary: "{{ $labels.trading_loop }} has waited {{ $value }} s"
      - alert: DiskFull
        expr: |
          system_filesystem_usage_bytes{system_filesystem_state="free"}
            / ignoring (system_filesystem_state) system_filesystem_limit_bytes < 2
""")
    watch = working(rules=[rules])
    states = lambda: {r.rule.name: r.state for r in watch.status().rules}  # noqa: E731
    until(lambda: states() == {"LoopStandsStill": "inactive", "DiskFull": "firing"}, 30)
    assert watch.status().breaker.state == "ACTIVE"
    go_on = threading.Event()
    awaiting.loop.call_soon_threadsafe(go_on.wait, 60)
    try:
        halted = until(lambda: watch.status().breaker.state == "HALTED" and watch.status().breaker, 30)
    finally:
        go_on.set()
    assert halted.by == "LoopStandsStill"
    assert halted.reason.startswith("bot.exchange has waited ")
    lags = [each.value for each in halted.evidence if each.what.startswith("trading_loop_lag")]
    assert lags
    assert min(lags) > 1
    until(lambda: states()["LoopStandsStill"] == "inactive", 30)


def test_the_status_says_it_too(working, until, tmp_path):
    watch = working(pid_files=[tmp_path / "none.pid"])
    (tmp_path / "none.pid").write_text(str(os.getpid()))
    until(lambda: watch.status().system.loops and watch.status().system.cpu)
    now = watch.status().system
    assert set(now.loops) == {"bot.exchange"}
    assert 0 < now.loops["bot.exchange"] < 60
    assert now.memory_bytes > 1 << 20
    assert now.log_files == {str(tmp_path / "bot.log"): 5}
    until(lambda: watch.status().system.processes == {"no such program": False, str(tmp_path / "none.pid"): True})
    (tmp_path / "bot.log").unlink()
    until(lambda: watch.status().system.log_files == {str(tmp_path / "bot.log"): None})


def test_two_loops_of_which_one_ends_also_uvloops(venue, make_bot, watch_over, until, pointed):
    """As bots with one loop for trading and one for prices have it."""
    import ccxt.async_support as ccxt

    place, ends = venue(), {"trader": threading.Event(), "prices": threading.Event()}
    bot = make_bot()
    watch = watch_over(bot)

    async def work(name):
        client = pointed(ccxt.binance, place.url, timeout_on_exit=0)
        try:
            await client.fetch_ticker("BTC/USDT")
            while not ends[name].is_set():  # noqa: ASYNC110  it is set by another thread
                await asyncio.sleep(0.01)
        finally:
            await client.close()

    def runs(name, factory):
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(work(name))

    makers = {"trader": asyncio.new_event_loop, "prices": uvloop.new_event_loop}
    threads = {name: threading.Thread(target=runs, args=(name, make)) for name, make in makers.items()}
    for each in threads.values():
        each.start()
    try:
        until(lambda: set(watch.status().system.loops) == {"made later", "made later 2"}, 30)
    finally:
        ends["prices"].set()
        threads["prices"].join(30)
    try:
        until(lambda: len(watch.status().system.loops) == 1, 30)
        seen = next(iter(watch.status().system.loops))
        until(lambda: [dict(r.attributes)["trading.loop"] for r in watch._safety.published
                       if r.metric.name == "trading.loop.lag"] == [seen], 30)  # fmt: skip
    finally:
        ends["trader"].set()
        threads["trader"].join(30)
    until(lambda: watch.status().system.loops == {}, 30)


def test_a_blocking_bot_has_no_loop(blocking, venue, make_bot, watch_over, until):
    client = blocking.client(venue())
    watch = watch_over(make_bot(client))
    client.fetch_ticker("BTC/USDT")
    until(lambda: watch.status().system.cpu is not None)
    assert watch.status().system.loops == {}


def test_nothing_is_left_with_the_interpreter_when_watching_ends(blocking, venue, make_bot, watch_over):
    before = list(gc.callbacks)
    bot = make_bot(blocking.client(venue()))
    watch_over(bot)
    assert len(gc.callbacks) == len(before) + 1
    tradewatch.uninstrument(bot)
    assert gc.callbacks == before


def test_a_forked_child_counts_no_pauses_of_its_own(blocking, venue, make_bot, watch_over):
    before = len(gc.callbacks)
    watch_over(make_bot(blocking.client(venue())))
    child = os.fork()
    if not child:
        os._exit(len(gc.callbacks) - before)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_it_is_a_setting_of_the_environment_too(blocking, venue, make_bot, watch_over, monkeypatch, until, tmp_path):
    monkeypatch.setenv("TRADEWATCH_LOG_FILES", f"{tmp_path}/a.log{os.pathsep}{tmp_path}/b.log")
    monkeypatch.setenv("TRADEWATCH_PROCESSES", "no such program, another one")
    (tmp_path / "b.log").write_text("12345")
    watch = watch_over(make_bot(blocking.client(venue())))
    until(lambda: watch.status().system.log_files == {f"{tmp_path}/a.log": None, f"{tmp_path}/b.log": 5})
    until(lambda: watch.status().system.processes == {"no such program": False, "another one": False})
