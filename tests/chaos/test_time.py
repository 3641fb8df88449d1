"""A process that is suspended, and a wall clock that is set while the bot trades."""

import importlib.resources
import itertools
import os
import signal
import time

import pytest

BUSY = """
import ccxt
bot.exchange.load_markets()
calls = 0

def trade():
    global calls
    while True:
        bot.exchange.fetch_ticker("BTC/USDT")
        calls += 1
        time.sleep(0.02)

threading.Thread(target=trade, daemon=True).start()
for line in sys.stdin:
    exec(line)
    found = watch.status()
    counted = next(o.calls for o in found.operations if o.operation == "fetch_ticker")
    say(calls=calls, counted=counted, slowest=max(o.p99_s for o in found.operations), state=found.breaker.state,
        firing=[r.rule.name for r in found.rules if r.state in ("firing", "failed")], failures=found.failures,
        alive=found.safety_alive and found.service_alive, at=found.at_ns // 10**9,
        day=str(found.portfolio.day_start and found.portfolio.day_start.day), notes=found.notes)
"""


def ask(process, line="pass"):
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return process.heard()


def sound(said):
    """Whether nothing of ours was shaken, and nothing was counted that was not so."""
    assert (said["failures"], said["firing"], said["state"], said["alive"]) == ({}, [], "ACTIVE", True)
    assert said["calls"] - 1 <= said["counted"] <= said["calls"] + 1
    return said


def test_a_suspended_process_goes_on_as_if_nothing_had_been(venue, run):
    process = run(BUSY, venue().url, stdin=True)
    before = sound(ask(process, "time.sleep(1)"))
    process.send_signal(signal.SIGSTOP)
    time.sleep(3)
    process.send_signal(signal.SIGCONT)
    after = sound(ask(process, "time.sleep(1)"))
    assert after["calls"] > before["calls"]
    assert ask(process, 'watch.halt("seen enough")')["state"] == "HALTED"


@pytest.fixture
def stepped(tmp_path):
    """Environment of a process whose wall clock is off by what stands in a file, and what writes it there."""
    library = importlib.resources.files("libfaketime") / "vendor/libfaketime/src/libfaketime.so.1"
    offset = tmp_path / "offset"
    environment = {
        "LD_PRELOAD": os.fspath(library),
        "FAKETIME_TIMESTAMP_FILE": os.fspath(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    offset.write_text("+0\n")
    return environment, lambda seconds: offset.write_text(f"{seconds:+}\n")


def test_a_wall_clock_that_is_set_shakes_nothing(venue, run, stepped):
    """A day forward, an hour back, a day back: durations are of the steady clock, and a halt halts."""
    environment, step = stepped
    process = run(BUSY, venue().url, stdin=True, environment=environment)
    first = sound(ask(process, "bot.exchange.fetch_balance(); time.sleep(1)"))
    came = [first["at"]]
    for offset in (86_400, 82_800, 0):
        step(offset)
        said = sound(ask(process, "time.sleep(1)"))
        assert said["slowest"] < 10
        came.append(said["at"])
    steps = [later - earlier for earlier, later in itertools.pairwise(came)]
    assert [round(each / 100) for each in steps] == [864, -36, -828]
    assert ask(process, 'watch.halt("seen enough")')["state"] == "HALTED"
    refused = """
try: bot.exchange.create_order("BTC/USDT", "market", "buy", 0.001)
except ccxt.InvalidOrder: say(refused=True)
"""
    process.stdin.write(f"exec({refused!r})\n")
    process.stdin.flush()
    assert process.heard() == {"refused": True}
