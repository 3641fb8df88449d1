"""Faults of connection, clock, nonce, price and maintenance, and their control path."""

import json
import threading
import time
import urllib.error
import urllib.request

import ccxt
import pytest

from tradewatch.paper.faults import Fault, Latency, Match, Rule
from tradewatch.paper.scenario import read_scenario

SYMBOL = "BTC/USDT"
ORDER = Match(operation="order_place")


def change(server, method, text=""):
    request = urllib.request.Request(server.url + "/paper/faults", text.encode(), method=method)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def root(error):
    """The operating system's error at the bottom of a client's."""
    while error is not None and not isinstance(error, ConnectionResetError):
        error = error.__cause__ or error.__context__
    return error


@pytest.mark.parametrize(("at", "status"), [("arrival", []), ("answer", ["FILLED"])])
def test_a_connection_that_is_reset(faulty, connect, at, status, orders, logged):
    with faulty(Rule(ORDER, Fault("reset", at=at))) as server:
        client = connect(server)
        client.load_markets()
        with pytest.raises(ccxt.NetworkError) as raised:
            client.create_order(SYMBOL, "market", "buy", 1)
        assert isinstance(root(raised.value), ConnectionResetError)
        assert orders(server) == status
        assert logged(server) == {
            "status": None, "code": None, "accepted": bool(status), "order_id": 1 if status else None, "fault": "reset",
        }  # fmt: skip


def test_half_an_answer(faulty, connect, orders, logged):
    with faulty(Rule(ORDER, Fault("half_json"))) as server:
        client = connect(server)
        client.load_markets()
        # ccxt makes an order without anything of half an answer, and raises nothing.
        order = client.create_order(SYMBOL, "market", "buy", 1)
        assert (order["id"], order["average"], order["info"][:1]) == (None, None, "{")
        assert '"symbol":"BTCUSDT"' in client.last_http_response
        with pytest.raises(json.JSONDecodeError):
            json.loads(client.last_http_response)
        assert orders(server) == ["FILLED"]
        assert logged(server) == {
            "status": 200, "code": None, "accepted": True, "order_id": 1, "fault": "half_json",
        }  # fmt: skip


def test_a_nonce_that_is_refused(faulty, connect, orders, logged):
    with faulty(Rule(ORDER, Fault("nonce"))) as server:
        with pytest.raises(ccxt.InvalidNonce):
            connect(server).create_order(SYMBOL, "market", "buy", 1)
        assert orders(server) == []
        assert logged(server) == {
            "status": 400, "code": -1021, "accepted": False, "order_id": None, "fault": "nonce",
        }  # fmt: skip


def test_a_venue_whose_clock_is_off(faulty, connect, logged):
    with faulty(Rule(Match(), Fault("clock_skew", skew_ms=30_000))) as server:
        client = connect(server)
        client.load_markets()
        with pytest.raises(ccxt.InvalidNonce):
            client.create_order(SYMBOL, "market", "buy", 1)
        assert logged(server) | {"fault": "clock_skew"} == logged(server)
        client.options["adjustForTimeDifference"] = True
        assert client.load_time_difference() == pytest.approx(-30_000, abs=2_000)
        used = int(client.last_response_headers["x-mbx-used-weight-1m"])
        assert client.create_order(SYMBOL, "market", "buy", 1)["status"] == "closed"
        server.faults.clear()
        client.fetch_ticker(SYMBOL)
        # Limits are counted by the real clock: a clock that is off starts no window anew.
        assert int(client.last_response_headers["x-mbx-used-weight-1m"]) == used + 3


def test_maintenance_refuses_everything(faulty, connect, logged):
    with faulty(Rule(Match(), Fault("maintenance"))) as server:
        client = connect(server)
        with pytest.raises(ccxt.OnMaintenance):
            client.fetch_ticker(SYMBOL)
        assert logged(server) == {
            "status": 503, "code": 1, "accepted": False, "order_id": None, "fault": "maintenance",
        }  # fmt: skip


def test_a_false_tick_is_told_and_never_traded_at(faulty, connect, read):
    with faulty(Rule(Match(operation="ticker_24hr", nth=(2,)), Fault("false_tick", factor=500_000))) as server:
        client = connect(server)
        assert [client.fetch_ticker(SYMBOL)["last"] for _ in range(3)] == [100.0, 50.0, 100.0]
        assert client.create_order(SYMBOL, "market", "sell", 0.5)["average"] == 99.9
        faults = [(entry["operation"], entry["fault"]) for entry in read(server, "/paper/requests") if entry["fault"]]
        assert faults == [("ticker_24hr", "false_tick")]
        assert read(server, "/paper/books")["mids"][SYMBOL]["mid"] == "100"


def test_a_price_gap_moves_the_market_and_fills_what_it_passes(faulty, connect, read):
    start = faulty.clock.now_ns()
    gap = Rule(Match(from_ns=start + 120 * 10**9, until_ns=start + 240 * 10**9), Fault("price_gap", factor=800_000))
    with faulty(gap) as server:
        client = connect(server)
        resting = client.create_order(SYMBOL, "limit", "buy", 1, 90)
        seen = []
        for _ in range(5):
            seen.append(client.fetch_ticker(SYMBOL)["last"])
            faulty.clock.pass_seconds(60)
        assert seen == [100.0, 100.0, 80.0, 80.0, 100.0]
        filled = client.fetch_my_trades(SYMBOL)
        assert [(one["order"], one["price"], one["timestamp"]) for one in filled] == [
            (resting["id"], 90.0, pytest.approx(start // 10**6 + 120_000, abs=1)),
        ]  # fmt: skip


THIN = """
rules:
  - match: {from: 2023-03-03T00:02Z, until: 2023-03-03T00:04Z}
    fault: {kind: thin_book, depth: 0.2, market: BTC/USDT}
"""


def test_a_book_thins_out_for_a_while_and_orders_fill_in_parts(faulty, connect):
    with faulty(*read_scenario(THIN, "thin")) as server:
        client = connect(server)
        seen = []
        for _ in range(5):
            order = client.create_order(SYMBOL, "limit", "buy", 0.5, 100.11, {"timeInForce": "IOC"})
            book = client.fetch_order_book(SYMBOL)
            seen.append((order["status"], order["filled"], len(order["trades"]), book["asks"][0][1]))
            faulty.clock.pass_seconds(60)
        assert seen == [("closed", 0.5, 1, 9000.0)] * 2 + [("expired", 0.4, 2, 0.2)] * 2 + [("closed", 0.5, 1, 9000.0)]


def test_the_book_can_be_thinned_while_it_runs_from_then_on(faulty, connect):
    with faulty() as server:
        client = connect(server)
        resting = client.create_order(SYMBOL, "limit", "buy", 1.5, 99.9)
        faulty.clock.pass_seconds(119)
        assert client.fetch_order(resting["id"], SYMBOL)["filled"] == 0
        change(server, "POST", THIN)
        faulty.clock.pass_seconds(42)
        # 0.2 is all that can stand before it by now; sellers bring 1 at 140 s.
        assert client.fetch_order(resting["id"], SYMBOL)["filled"] == 0.8
        faulty.clock.pass_seconds(20)
        assert client.fetch_order(resting["id"], SYMBOL)["filled"] == 1.5


def test_faults_are_put_in_and_taken_out_while_it_runs(faulty, connect, read):
    with faulty() as server:
        client = connect(server)
        client.fetch_ticker(SYMBOL)
        rules = change(server, "POST", "rules: [{match: {operation: ticker_24hr}, fault: {kind: ban}}]")
        assert rules == read(server, "/paper/faults")
        assert [rule["fault"] for rule in rules] == [{"kind": "ban", "status": 503, "hold_s": 60.0}]
        with pytest.raises(ccxt.DDoSProtection):
            client.fetch_ticker(SYMBOL)
        assert change(server, "DELETE") == []
        client.fetch_ticker(SYMBOL)
        with pytest.raises(urllib.error.HTTPError) as refused:
            change(server, "POST", "rules: [{match: {}, fault: {kind: crash}}]")
        assert (refused.value.code, "kind: 'crash' is not accepted" in refused.value.read().decode()) == (400, True)
        assert read(server, "/paper/faults") == []


def test_latency_on_the_answer_lets_the_fill_be_seen_before_it(faulty, connect, read):
    rule = Rule(ORDER, Fault("latency", at="answer", latency=Latency("fixed", 300)))
    with faulty(rule) as server:
        client, other = connect(server), connect(server)
        client.load_markets()
        other.load_markets()
        began = time.monotonic()
        answered = []
        asked = threading.Thread(target=lambda: answered.append(client.create_order(SYMBOL, "market", "buy", 1)))
        asked.start()
        while not other.fetch_my_trades(SYMBOL) and time.monotonic() - began < 5:
            assert answered == []
        asked.join()
        [order] = answered
        assert order["status"] == "closed"
