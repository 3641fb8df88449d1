"""SIGHUP has a watched bot read its settings again, if it has a file and no handler of its own."""

import os
import pty
import signal
import subprocess
import sys
import textwrap

import pytest

from tradewatch.breaker import ACTION, Action
from tradewatch.store import decode, rows_of

HEAD = """
import signal, time

def limit():
    return watch.status().limits["drawdown"]

def until(statement):
    ends = time.monotonic() + 15
    while not statement():
        assert time.monotonic() < ends, "did not come true in time"
        time.sleep(0.01)

def hang_up():
    os.kill(os.getpid(), signal.SIGHUP)

def write(text):
    open("tradewatch.yaml", "w").write(text)
"""

# Of a program without code, whose watch begins with its first order.
REREAD = """
    import signal
    order(client())
    def limits_after(text):
        open("mine.yaml", "w").write(text)
        changed = watch().status().configured_ns
        os.kill(os.getpid(), signal.SIGHUP)
        until(lambda: watch().status().configured_ns != changed or watch().settings.refused)
        return watch().status().limits
"""


@pytest.fixture
def bot(run, tmp_path, monkeypatch):
    """A bot with `tradewatch.yaml` in its folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tradewatch.yaml").write_text("limits: {drawdown: 0.2}\n")

    def start(body, watched="watch = tradewatch.instrument(bot, config='tradewatch.yaml', state_dir=state, port=0)"):
        return run(HEAD + watched + "\n" + textwrap.dedent(body), watched=False)

    return start


@pytest.fixture
def audited(tmp_path):
    """What is kept of changes: before, after, and why nothing was done."""

    def read():
        found = [decode(event, Action) for event in rows_of(tmp_path / "state", ACTION)]
        assert {(each.asked, each.by, each.channel) for each in found} <= {("configure", "SIGHUP", "signal")}
        return [(each.before, each.after, each.refused) for each in found]

    return read


def test_the_file_is_read_again_by_a_signal(bot, audited):
    process = bot("""
    write("limits: {drawdown: 0.3}\\n")
    before = limit()
    hang_up()
    until(lambda: limit() == 0.3)
    say(before=before)
    """)
    assert process.heard() == {"before": 0.2}
    assert process.wait(20) == 0
    assert "settings of Bot changed by SIGHUP: limits.drawdown 0.2 -> 0.3 (" in process.stderr.read()
    assert audited() == [("limits.drawdown 0.2", "limits.drawdown 0.3", None)]


def test_a_broken_file_changes_nothing_and_is_said(bot, audited):
    process = bot("""
    write("limits: {drawdown: 30}\\n")
    hang_up()
    until(lambda: any("IS NOT IN FORCE" in note for note in watch.status().notes))
    say(limit=limit())
    """)
    assert process.heard() == {"limit": 0.2}
    assert process.wait(20) == 0
    wrong = "tradewatch.yaml:1:20: limits.drawdown 30; accepted: a ratio above 0, at most 1"
    assert wrong in process.stderr.read()
    [(before, after, refused)] = audited()
    assert (before, after, wrong in refused) == ("as it was", "as it was", True)


def test_a_handler_of_the_bot_is_left_alone(bot):
    process = bot(
        """
        write("limits: {drawdown: 0.3}\\n")
        hang_up()
        time.sleep(0.3)
        say(met=met, limit=limit(), handler=signal.getsignal(signal.SIGHUP) is mine)
        """,
        watched="met = []\nmine = lambda *a: met.append(1)\nsignal.signal(signal.SIGHUP, mine)\n"
        "watch = tradewatch.instrument(bot, config='tradewatch.yaml', state_dir=state, port=0)",
    )
    assert process.heard() == {"met": [1], "limit": 0.2, "handler": True}


def test_without_a_file_and_when_nothing_is_watched_the_signal_is_the_systems(bot):
    process = bot(
        """
        def ours():
            return signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL
        without = ours()
        tradewatch.uninstrument(bot)
        watch = tradewatch.instrument(bot, config='tradewatch.yaml', state_dir=state, port=0)
        watched = ours()
        tradewatch.uninstrument(bot)
        say(ours=[without, watched, ours()])
        """,
        watched="watch = tradewatch.instrument(bot, state_dir=state, port=0)",
    )
    assert process.heard() == {"ours": [False, True, False]}


def test_a_program_without_code_reads_its_file_again(venue, program, tmp_path):
    (tmp_path / "mine.yaml").write_text("limits: {drawdown: 0.2}\n")
    body = """
    before = watch().status().limits["drawdown"]
    say(limits=[before, limits_after("limits: {drawdown: 0.3}")["drawdown"]])
    """
    bot = program(REREAD + body, venue().url, TRADEWATCH_CONFIG="mine.yaml")
    assert bot.said() == {"limits": [0.2, 0.3]}
    assert "changed by SIGHUP" in bot.end()[1]


def test_a_variable_that_was_wrong_at_the_start_does_not_keep_a_file_from_being_read_again(venue, program, tmp_path):
    """What is wrong in the environment of a process nobody can mend while it runs."""
    (tmp_path / "mine.yaml").write_text("limits: {drawdown: 0.2}\n")
    body = """
    say(limits=[limits_after("limits: {drawdown: %s}" % text)["drawdown"] for text in ("0.3", "0.4", "40")])
    """
    bot = program(
        REREAD + body, venue().url, TRADEWATCH_CONFIG="mine.yaml", TRADEWATCH_LIMITS="overhead=7", TRADEWATCH_PROT="1"
    )
    assert bot.said() == {"limits": [0.3, 0.4, 0.4]}
    _, err = bot.end()
    assert "TRADEWATCH_PROT '1' IS NOT IN FORCE: no such variable (nearest: TRADEWATCH_PORT)" in err
    assert "limits.drawdown 40; accepted" in err


def test_a_file_that_a_variable_of_the_start_wins_over_is_said_to_have_no_effect(venue, program, tmp_path):
    """A shell cannot change the environment of a program that runs."""
    (tmp_path / "mine.yaml").write_text("limits: {drawdown: 0.2}\n")
    body = """
    first = limits_after("limits: {drawdown: 0.3, overhead: 0.2}")
    os.environ["TRADEWATCH_LIMITS"] = ""
    second = limits_after("limits: {drawdown: 0.4, overhead: 0.2}")
    say(limits=[(limits["drawdown"], limits["overhead"]) for limits in (first, second)])
    """
    bot = program(REREAD + body, venue().url, TRADEWATCH_CONFIG="mine.yaml", TRADEWATCH_LIMITS="drawdown=0.1")
    assert bot.said() == {"limits": [[0.1, 0.2], [0.4, 0.2]]}
    first, second = [line for line in bot.end()[1].splitlines() if "changed by SIGHUP" in line]
    assert "limits.overhead 0.05 -> 0.2 (" in first
    assert first.endswith(
        "mine.yaml:1) HAS NO EFFECT: TRADEWATCH_LIMITS, as it was at the program's start, wins over the file"
    )
    assert "limits.drawdown 0.3 (" in first
    assert "HAS NO EFFECT" not in second


ON_A_TERMINAL = """
import os, signal, sys, time
import tradewatch
class Bot: pass
os.chdir(sys.argv[1])
watch = tradewatch.instrument(Bot(), config="tradewatch.yaml", state_dir="state", port=0)
open("tradewatch.yaml", "w").write("limits: {drawdown: 0.3}\\n")
os.kill(os.getpid(), signal.SIGHUP)
while watch.status().limits["drawdown"] != 0.3:
    time.sleep(0.01)
open("ready", "w").write("yes")
time.sleep(60)
"""


def test_a_terminal_that_is_closed_ends_the_bot_as_it_would_without_us(tmp_path, until):
    """While it is open, the signal only has the settings read."""
    (tmp_path / "tradewatch.yaml").write_text("limits: {drawdown: 0.2}\n")
    script = tmp_path / "bot.py"
    script.write_text(ON_A_TERMINAL)
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, str(script), str(tmp_path)])
    until((tmp_path / "ready").exists, 20)
    os.close(terminal)
    status = []
    until(lambda: status.append(os.waitpid(child, os.WNOHANG)) or status[-1][0] == child, 20)
    assert os.waitstatus_to_exitcode(status[-1][1]) == -signal.SIGHUP


def test_a_bot_of_a_service_has_no_terminal_to_lose(tmp_path):
    (tmp_path / "tradewatch.yaml").write_text("limits: {drawdown: 0.2}\n")
    script = tmp_path / "bot.py"
    script.write_text(ON_A_TERMINAL.replace("time.sleep(60)", "print('alive')"))
    done = subprocess.run(
        [sys.executable, script, tmp_path],
        start_new_session=True,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "alive\n"
