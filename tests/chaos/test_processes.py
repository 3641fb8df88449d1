"""What ends and starts around a bot: kill -9, SIGTERM, an exit in the middle of a call, an import without effects."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

import tradewatch

SYMBOL = "BTC/USDT"


HALT = """
bot.exchange.create_order("BTC/USDT", "market", "buy", 1)
watch.halt("lost too much", by="DailyLoss")
while not watch.status().breaker.confirmed:
    time.sleep(0.005)
say(confirmed=True)
time.sleep(60)
"""
TRY = """
breaker = watch.status().breaker
try:
    bot.exchange.create_order("BTC/USDT", "market", "buy", 1)
    refused = None
except ccxt.InvalidOrder as error:
    refused = str(error)
say(state=breaker.state, by=breaker.by, reason=breaker.reason, refused=refused)
"""


def test_a_bot_that_was_killed_after_a_halt_is_still_halted(venue, run):
    place = venue()
    first = run(HALT, place.url)
    assert first.heard() == {"confirmed": True}
    first.send_signal(signal.SIGKILL)
    first.wait()
    before = len(place.orders())
    said = run(TRY, place.url).heard()
    assert {k: said[k] for k in ("state", "by", "reason")} == {
        "state": "HALTED",
        "by": "DailyLoss",
        "reason": "lost too much",
    }
    assert "halted since" in said["refused"]
    assert len(place.orders()) == before == 1


def test_a_bot_that_was_killed_while_active_is_active_and_says_so(venue, run):
    place = venue()
    first = run("bot.exchange.fetch_ticker('BTC/USDT'); say(ready=True); time.sleep(60)", place.url)
    assert first.heard() == {"ready": True}
    first.send_signal(signal.SIGKILL)
    first.wait()
    second = run("b = watch.status().breaker; say(state=b.state, note=b.note)", place.url)
    said = second.heard()
    assert said["state"] == "ACTIVE"
    assert said["note"].startswith("the last run ended without closing")


@pytest.mark.parametrize("watched", [True, False])
def test_sigterm_in_the_middle_of_a_call_ends_the_bot_as_without(run, hanging, watched):
    process = run("say(ready=True); bot.exchange.fetch_ticker('BTC/USDT'); say(answered=True)", hanging, watched)
    assert process.heard() == {"ready": True}
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == -signal.SIGTERM
    assert "Traceback" not in process.stderr.read()


@pytest.mark.parametrize("watched", [True, False])
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 1)])
def test_a_signal_in_the_middle_of_an_await_ends_the_bot_as_without(run, hanging, watched, sent, code):
    body = """
    import asyncio, signal
    import ccxt.async_support

    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore

    async def main():
        bot.other = ccxt.async_support.binance({"timeout": 60000, "timeout_on_exit": 0})
        bot.other.urls["api"] = redirected(bot.other.urls["api"])
        asyncio.get_running_loop().call_later(0.3, lambda: say(ready=True))
        try:
            await bot.other.fetch_time()
        finally:
            await bot.other.close()

    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        sys.exit(1)
    """
    process = run(body, hanging, watched)
    assert process.heard() == {"ready": True}
    process.send_signal(sent)
    assert process.wait(20) == code
    assert "Traceback" not in process.stderr.read()


@pytest.mark.parametrize("watched", [True, False])
def test_an_exit_in_the_middle_of_a_call_ends_the_bot_as_without(run, hanging, watched):
    body = """
    threading.Thread(target=lambda: bot.exchange.fetch_ticker("BTC/USDT"), daemon=True).start()
    time.sleep(0.3)
    say(ready=True)
    sys.exit(3)
    """
    process = run(body, hanging, watched)
    assert process.heard() == {"ready": True}
    assert process.wait(20) == 3
    assert process.stderr.read() == ""


def test_sigterm_is_a_clean_end(venue, run):
    place = venue()
    first = run("bot.exchange.fetch_ticker('BTC/USDT'); say(ready=True); time.sleep(60)", place.url)
    first.heard()
    first.send_signal(signal.SIGTERM)
    assert first.wait(20) == -signal.SIGTERM
    assert run("say(note=watch.status().breaker.note)", place.url).heard() == {"note": None}


def test_a_handler_of_the_bot_is_left_alone(run):
    body = """
    import signal
    signal.signal(signal.SIGTERM, lambda *a: (say(handled=True), sys.exit(5)))
    tradewatch.uninstrument(bot)
    watch = tradewatch.instrument(bot, state_dir=state, port=0)
    say(ready=True)
    time.sleep(60)
    """
    process = run(body, watched=False)
    assert process.heard() == {"ready": True}
    process.send_signal(signal.SIGTERM)
    assert process.heard() == {"handled": True}
    assert process.wait(20) == 5


def test_a_closed_gate_stays_closed_until_the_process_is_gone(venue, run):
    place = venue()
    body = """
    bot.exchange.load_markets()
    watch.halt("news")

    def trade():
        while True:
            try:
                bot.exchange.create_order("BTC/USDT", "market", "buy", 0.001)
            except ccxt.InvalidOrder:
                time.sleep(0.0005)

    threading.Thread(target=trade, daemon=True).start()
    time.sleep(0.3)
    """
    process = run(body, place.url)
    assert (process.wait(60), process.stderr.read()) == (0, "")
    assert place.orders() == []


def test_a_library_imported_later_is_watched(venue, run):
    place = venue()
    body = """
    import tradewatch
    watch = tradewatch.instrument(bot, state_dir=state, port=0)
    imported = "ccxt" in sys.modules
    client = new_client()
    import ccxt
    watch.halt("news")
    try:
        client.create_order("BTC/USDT", "market", "buy", 1)
    except tradewatch.OrderRefused as error:
        say(imported=imported, usual=isinstance(error, ccxt.InvalidOrder))
    """
    assert run(body, place.url, client=False).heard() == {"imported": False, "usual": True}
    assert place.orders() == []


def test_a_second_bot_of_one_name_is_told_whose_it_is(run, tmp_path):
    first = run("say(ready=True); time.sleep(60)")
    first.heard()
    body = """
    try:
        tradewatch.instrument(bot, state_dir=state, port=0)
    except tradewatch.StoreInUse as error:
        say(error=str(error))
    """
    said = run(body, watched=False).heard()["error"]
    assert f"process {first.pid} has it open" in said
    assert "name" in said


def test_importing_prints_nothing_starts_no_thread_and_opens_no_socket():
    code = """
    import socket, threading
    opened = []
    class Watched(socket.socket):
        def __init__(self, *a, **k):
            opened.append(a)
            super().__init__(*a, **k)
    socket.socket = Watched
    import tradewatch
    assert threading.active_count() == 1 and opened == [], (threading.enumerate(), opened)
    """
    done = subprocess.run([sys.executable, "-W", "error", "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_store_that_is_garbage_starts_halted_and_keeps_the_garbage(
    blocking, venue, make_bot, watch_over, tmp_path, lenient
):
    place = venue()
    folder = tmp_path / "state"
    client = blocking.client(place)
    bot = make_bot(client)
    watch_over(bot, clock=place.clock)
    tradewatch.shutdown()
    (folder / "events.db").write_bytes(b"no database" * 500)
    watch = watch_over(bot, clock=place.clock)
    breaker = watch.status().breaker
    assert breaker.state == "HALTED"
    with pytest.raises(blocking.ccxt.InvalidOrder):
        client.create_order(SYMBOL, "market", "buy", 1)
    assert client.fetch_ticker(SYMBOL)["symbol"] == SYMBOL
    assert any(path.name.startswith("events.damaged") for path in folder.iterdir())
    watch.resume("looked at it")
    assert client.create_order(SYMBOL, "market", "buy", 1)["status"] == "closed"


def test_a_folder_that_cannot_be_had_leaves_the_bot_trading_and_is_said(
    blocking, venue, make_bot, watch_over, tmp_path, lenient
):
    place = venue()
    (tmp_path / "file").write_text("in the way")
    client = blocking.client(place)
    watch = watch_over(make_bot(client), clock=place.clock, state_dir=tmp_path / "file" / "state")
    status = watch.status()
    assert (status.breaker.state, status.state_folder) == ("ACTIVE", None)
    assert any("does not survive a restart" in note for note in status.notes)
    assert client.create_order(SYMBOL, "market", "buy", 1)["status"] == "closed"
    watch.halt("news")
    with pytest.raises(blocking.ccxt.InvalidOrder):
        client.create_order(SYMBOL, "market", "buy", 1)
    assert not watch.status().breaker.confirmed


def test_files_are_for_the_owner_alone(blocking, venue, make_bot, watch_over, tmp_path):
    was = os.umask(0)
    try:
        watch_over(make_bot(blocking.client(venue()))).halt("news")
        folder = tmp_path / "state"
        modes = {path.stat().st_mode & 0o777 for path in folder.iterdir()}
        assert (folder.stat().st_mode & 0o777, modes) == (0o700, {0o600})
    finally:
        os.umask(was)


def test_a_copied_client_passes_the_same_gate_and_a_pickled_one_is_not_watched(blocking, venue, make_bot, watch_over):
    import copy
    import pickle

    from tradewatch.instrumentation.ccxt import binding_of

    # A class of its own: copying writes a name into it.
    client = blocking.client(venue(), type("Mine", (blocking.ccxt.binance,), {}))
    watch = watch_over(make_bot(client))
    binding = binding_of(client)
    assert copy.deepcopy(binding) is binding
    assert pickle.loads(pickle.dumps(binding)) is None
    copied = copy.copy(client)
    watch.halt("news")
    with pytest.raises(blocking.ccxt.InvalidOrder):
        copied.create_order(SYMBOL, "market", "buy", 1)


ENDS = {
    "exit": "say(ready=True)",
    "sys.exit in a call": """
        threading.Thread(target=lambda: bot.exchange.fetch_ticker("BTC/USDT"), daemon=True).start()
        time.sleep(0.3)
        say(ready=True)
        sys.exit(0)
    """,
    "shutdown": """
        tradewatch.shutdown()
        say(ready=True, dropped={d.signal: d.count for d in watch.status().telemetry.dropped})
        os._exit(0)
    """,
    "SIGTERM in a call": "say(ready=True); bot.exchange.fetch_ticker('BTC/USDT')",
}


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("collector", ["hangs", "refuses"])
def test_an_end_does_not_wait_for_a_dead_collector(run, hanging, how, collector):
    """The collector's time-outs are ten minutes: an end that waited for them would outlast this test."""
    head = f"""
    where = {hanging!r} if {collector == "hangs"} else "http://127.0.0.1:9"
    os.environ.update(OTEL_EXPORTER_OTLP_ENDPOINT=where, OTEL_LOGS_EXPORTER="otlp", OTEL_EXPORTER_OTLP_TIMEOUT="600")
    import logging
    logging.basicConfig(level="INFO", handlers=[logging.NullHandler()])
    watch = tradewatch.instrument(bot, state_dir=state, port=0)
    logging.getLogger("bot").info("said")
    threading.Thread(target=lambda: bot.exchange.fetch_time(), daemon=True).start()
    time.sleep(0.3)
    watch._outputs.providers.tracer_provider.get_tracer("bot").start_span("own").end()
    """
    process = run(textwrap.dedent(head) + textwrap.dedent(ENDS[how]), hanging, watched=False)
    said = process.heard()
    assert said["ready"]
    if how == "SIGTERM in a call":
        process.send_signal(signal.SIGTERM)
    assert process.wait(60) == (-signal.SIGTERM if how == "SIGTERM in a call" else 0)
    assert "Traceback" not in process.stderr.read()
    if how == "shutdown":
        assert said["dropped"]["spans"] >= 1
        assert said["dropped"]["logs"] >= 1
        assert said["dropped"]["metrics"] >= 1


def test_a_second_interrupt_at_the_end_costs_no_fill(
    blocking, venue, make_bot, watch_over, tmp_path, monkeypatch, until
):
    """It ends the wait for the service thread, which has yet to write what was booked last."""
    place = venue()
    bot = make_bot(blocking.client(place))
    bot.exchange.load_markets()
    watch = watch_over(bot, clock=place.clock, state_dir=tmp_path / "state")
    append = watch._store.append

    def slowly(*row):
        time.sleep(0.02)  # a disk that takes its time
        return append(*row)

    def interrupted(within_s):
        raise KeyboardInterrupt

    monkeypatch.setattr(watch._store, "append", slowly)
    for _ in range(20):
        bot.exchange.create_order("BTC/USDT", "market", "buy", 1)
    monkeypatch.setattr(watch._service._thread, "join", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tradewatch.registry._at_exit()
    tradewatch.uninstrument(bot)
    again = watch_over(bot, clock=place.clock, state_dir=tmp_path / "state")
    [booked] = watch.status().portfolio.positions
    assert booked.amount > 19
    until(lambda: [p.amount for p in again.status().portfolio.positions] == [booked.amount])


@pytest.mark.parametrize("where", ["_control.stop", "_safety_thread.stop", "_service.stop"])
def test_a_second_interrupt_at_the_end_cuts_short_one_step_alone(
    blocking, venue, make_bot, watch_over, tmp_path, monkeypatch, where
):
    place = venue()
    bot = make_bot(blocking.client(place))
    watch = watch_over(bot, clock=place.clock, state_dir=tmp_path / "state")
    bot.exchange.create_order("BTC/USDT", "market", "buy", 1)
    part, _, method = where.partition(".")
    real = getattr(getattr(watch, part), method)

    def interrupted(*arguments):
        real(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(getattr(watch, part), method, interrupted)
    with pytest.raises(KeyboardInterrupt):
        tradewatch.registry._at_exit()
    assert not watch.status().safety_alive
    assert not watch.status().service_alive
    tradewatch.uninstrument(bot)
    again = watch_over(bot, clock=place.clock, state_dir=tmp_path / "state")
    assert again.status().breaker.note is None
