"""The demo as a person runs it: a process of its own, with and without a terminal, ended in every way."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[2] / "examples" / "demo.py"


@pytest.fixture
def environment(tmp_path):
    """A folder for what is temporary, to see whether anything is left there."""
    (tmp_path / "tmp").mkdir()
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    return kept | {"TMPDIR": str(tmp_path / "tmp"), "TERM": "xterm-256color"}


def nothing_is_left(output, environment):
    """No folder, and nobody who listens where the exchange and the scrape endpoint were."""
    assert os.listdir(environment["TMPDIR"]) == []
    for port in re.findall(r"127\.0\.0\.1:(\d+)", output):
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2)


def section(output, title):
    """The lines of a part of the summary."""
    return output.partition(f"\n{title} ─")[2].partition(" ─\n")[0].partition("─\n")[2].split("\n\n")[0]


def test_without_a_terminal_the_halt_its_numbers_and_equal_books_are_shown(environment):
    done = subprocess.run(
        [sys.executable, DEMO, "--seconds", "18"], env=environment, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    output = done.stdout
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in output
    assert re.search(r"^01:3\d:\d\d HALTED by DailyLoss: \w+ lost [\d.]+% today", output, re.M)
    assert re.search(r"^01:3\d:\d\d halt confirmed", output, re.M)
    assert re.search(r"^01:3\d:\d\d first order refused", output, re.M)
    assert re.search(r"^01:3\d:\d\d +1[23]\.\d s  DailyLoss halts the bot: MarketMaker lost ", output, re.M)
    assert re.search(
        r"^01:3\d:\d\d +1[234]\.\d s  first order refused: create_order \w+ \w+ [\d.]+ BTC/USDT", output, re.M
    )
    equity, start, daily = (
        float(re.search(rf"^  {name} = (-?[\d.]+)", output, re.M)[1])
        for name in (r'trading_portfolio_equity\{trading_currency="USDT"\}', r"trading_portfolio_day_start\{.*\}",
                     r'tradewatch_limit\{limit="daily_loss"\}')
    )  # fmt: skip
    assert 1 - equity / start > daily == 0.03
    assert re.search(r"[\d.]+ ms  from the exchange's answer with the losing price or fill \(\w+\) to the halt", output)
    assert re.search(r"[\d.]+ ms  from the halt to the next order that the bot tried, refused", output)
    compared = section(output, "tradewatch beside the exchange's own books")
    rows = (
        "orders taken",
        "fills",
        "fees, USDT",
        "held, BTC/USDT",
        "average cost",
        "realised",
        "equity at",
        "HTTP requests",
    )
    for row in rows:
        assert re.search(rf"^ *{row}.*✓ equal$", compared, re.M), compared
    assert "✗" not in compared
    assert "✓ no order reached the exchange while it was halted" in output
    nothing_is_left(output, environment)


def test_sigterm_ends_it_with_the_summary_and_a_short_run_says_what_to_do(environment):
    demo = subprocess.Popen(
        [sys.executable, DEMO], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    lines = []
    for line in demo.stdout:
        lines.append(line)
        if " ACTIVE equity 24," in line:
            demo.send_signal(signal.SIGTERM)
            break
    output = "".join(lines) + demo.communicate(timeout=30)[0]
    assert demo.returncode == 0
    assert "BTC falls at about 01:31" in output
    assert "make demo SECONDS=20" in output
    assert "HTTP requests" in output
    nothing_is_left(output, environment)


def test_ctrl_c_on_a_terminal_ends_the_view_with_the_summary(environment):
    number, terminal = pty.openpty()
    os.set_blocking(number, False)
    demo = subprocess.Popen(
        [sys.executable, DEMO], env=environment | {"COLUMNS": "100", "LINES": "40", "NO_COLOR": "1"},
        stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
        preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(terminal)
    output, ends, asked = "", time.monotonic() + 30, False
    while demo.poll() is None and time.monotonic() < ends:
        if select.select([number], [], [], 0.2)[0]:
            try:
                output += os.read(number, 65536).decode(errors="replace")
            except OSError:
                break
        if not asked and "fetch_open_orders" in output:
            os.write(number, b"\x03")
            asked = True
    assert demo.wait(10) == 0
    os.close(number)
    assert "\x1b[?1049h" in output, "the view is on the alternate screen"
    assert not re.search(r"\x1b\[[\d;]*3[1-7]m", output), "NO_COLOR"
    screen, _, end = output.rpartition("\x1b[?1049l")
    assert "● ACTIVE" in screen
    assert "simulated, 200 x" in screen
    assert "what happened" in end
    assert "✓ equal" in end
    nothing_is_left(output, environment)


@pytest.mark.parametrize("missing", ["ccxt", "aiohttp"])
def test_missing_library_says_what_to_do(environment, tmp_path, missing):
    (tmp_path / f"{missing}.py").write_text(f"raise ModuleNotFoundError('gone', name={missing!r})\n")
    done = subprocess.run(
        [sys.executable, DEMO, "--seconds", "5"], env=environment | {"PYTHONPATH": str(tmp_path)}, capture_output=True,
        text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"the demo needs {missing}, which is not installed here" in done.stderr
    assert "make demo" in done.stderr


def test_number_of_seconds_that_is_none_is_refused():
    done = subprocess.run([sys.executable, DEMO, "--seconds", "0"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "accepted is a number of seconds above 0" in done.stderr
