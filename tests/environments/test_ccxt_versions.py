"""The layout of ccxt before 4.5: other bases, other signatures."""

import json
import os
import subprocess
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
# Venues of both layouts' habits: many endpoints, GET orders, one endpoint for all, batches over one endpoint.
NAMES = ("binance", "kraken", "okx", "bybit", "deribit", "hyperliquid", "krakenfutures", "coinbase")


WEBSOCKETS = (
    "binance",
    "bitvavo",
    "bybit",
    "cex",
    "cryptocom",
    "gate",
    "hitbtc",
    "hyperliquid",
    "okx",
    "oxfun",
    "poloniex",
)


@pytest.fixture
def tried(environment):
    """`tried(program, *names)`: what a program of tests/ says of these exchanges in an environment with ccxt 4.4."""
    python = environment("ccxt==4.4.100")
    env = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    version = subprocess.run(
        [python, "-c", "import ccxt; print(ccxt.__version__)"], env=env, capture_output=True, text=True, check=True
    )
    assert version.stdout == "4.4.100\n"

    def run(program, *names):
        command = [python, "-W", "ignore", TESTS / program, *names]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=500, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        found = {name: came for line in done.stdout.splitlines() for name, came in json.loads(line).items()}
        assert tuple(found) == names
        return found

    return run


@pytest.mark.timeout(600)
def test_order_methods_of_ccxt_4_4_are_calls_that_a_halt_refuses(tried):
    found = tried("every_class.py", *NAMES)
    kinds = {"ccxt", "ccxt.async_support", "ccxt.pro"}
    assert [(name, kind, came["wrong"]) for name in NAMES for kind, came in found[name].items() if came["wrong"]] == []
    assert all(set(found[name]) == kinds for name in NAMES)
    left = {(name, m) for name in NAMES for came in found[name].values() for m in came["left"] if m in came["orders"]}
    assert left <= {("coinbase", "close_position")}
    assert sum(len(came["orders"]) + len(came["others"]) for name in NAMES for came in found[name].values()) > 250


@pytest.mark.timeout(600)
def test_a_halt_refuses_orders_of_ccxt_4_4_over_a_websocket_and_lets_cancels_pass(tried):
    found = tried("every_websocket.py", *WEBSOCKETS)
    assert {name: came["wrong"] for name, came in found.items() if came["wrong"]} == {}
    assert sum(len(came["orders"]) for came in found.values()) > 12
    assert sum(len(came["cancels"]) for came in found.values()) > 12
