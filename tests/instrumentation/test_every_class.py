"""Every exchange class of ccxt: each order method is one call that passes the gate, and nothing is left behind."""

import sys

import ccxt
import pytest

import every_class

# What never sends an order here, and why. All else does.
LEFT_OUT = {
    "apex": "signs with zk keys of its own",
    "backpack": "its conversion wants a stock for one side",
    "bitget": "its conversion wants a price",
    "btse": "closes a position by its id",
    "coinbase": "closes a position by a client id",
    "coinbaseinternational": "asks for its portfolios first",
    "derive": "signs a market's address",
    "dydx": "signs a transaction with protobuf",
    "extended": "signs with Stark keys, for a market's layer-2 configuration",
    "grvt": "logs in first",
    "hibachi": "signs a market's contract",
    "lbank": "wants an RSA key in a form of its own",
    "lighter": "signs in a native library",
    "mudrex": "looks for the position to close",
    "nado": "signs for a chain that it asks for",
    "paradex": "signs with Stark keys, for a chain that it asks for",
    "polymarket": "signs a token's number",
}
TOTALS = {"exchanges": 0, "classes": 0, "methods": 0, "left": {}}


# ccxt 4.5.90's async delta leaves out an `await` in cancel_all_orders.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", ccxt.exchanges)
def test_every_order_method_of_every_class_is_one_call_that_a_halt_refuses(name):
    found = every_class.tried(name)
    wrong = {kind: came["wrong"] for kind, came in found.items() if came["wrong"]}
    assert wrong == {}
    left = {method: why for came in found.values() for method, why in came["left"].items() if method in came["orders"]}
    assert bool(left) == (name in LEFT_OUT), left
    TOTALS["exchanges"] += 1
    TOTALS["classes"] += len(found)
    TOTALS["methods"] += sum(len(came["orders"]) + len(came["others"]) for came in found.values())
    TOTALS["left"].update({name: left} if left else {})


def test_it_says_how_many_there_are(capsys):
    lines = [f"{TOTALS['classes']} classes, {TOTALS['methods']} methods, each in both spellings; left out:"]
    lines += [f"  {name} {LEFT_OUT[name]}: {', '.join(left)}" for name, left in TOTALS["left"].items()]
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(lines) + "\n")
    if TOTALS["exchanges"] == len(ccxt.exchanges):
        assert set(TOTALS["left"]) == set(LEFT_OUT)
        assert TOTALS["classes"] > 250
        assert TOTALS["methods"] > 2500
