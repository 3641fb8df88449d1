"""The bot of the demo, alone: a bot as a trader writes it, that ends cleanly."""

import os
import subprocess
import sys
import time
from pathlib import Path

from tradewatch import paper
from tradewatch.cli.paper import RECORDED
from tradewatch.runtime.clock import ScaledClock

BOT = Path(__file__).parents[2] / "examples" / "market_maker.py"


def test_bot_has_no_word_of_tradewatch_in_it():
    text = BOT.read_text().lower()
    assert "tradewatch" not in text
    assert "paper" not in text


def test_bot_trades_alone_and_takes_its_orders_back_at_the_end():
    candles = paper.load_candles(RECORDED)
    clock = ScaledClock(candles.start_ns, 200, time.time_ns())
    account = paper.Account("key", "secret", {"BTC": "1", "USDT": "1000"})
    exchange = paper.Exchange([paper.Market("BTC/USDT", candles)], [account], clock)
    with paper.serve_in_thread(exchange) as server:
        environment = os.environ | {"EXCHANGE_URL": server.url, "EXCHANGE_KEY": "key", "EXCHANGE_SECRET": "secret"}
        done = subprocess.run(
            [sys.executable, BOT, "--seconds", "3", "--pause", "0.05"], env=environment, capture_output=True, text=True,
            timeout=30, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "ended with" in done.stderr
        assert "Unclosed" not in done.stderr
        assert exchange.orders("main")
        assert exchange.open_orders("main") == []


def test_bot_says_what_it_needs():
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EXCHANGE_")}
    done = subprocess.run([sys.executable, BOT], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "set EXCHANGE_KEY and EXCHANGE_SECRET in the environment" in done.stderr
    told = subprocess.run([sys.executable, BOT, "--help"], capture_output=True, text=True, check=False)
    assert told.returncode == 0
    assert "EXCHANGE_URL" in told.stdout
