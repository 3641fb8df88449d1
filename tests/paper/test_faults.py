"""Faults: decided under a seed, and as a real client meets them."""

import asyncio
import contextlib
import json
import threading
import time

import ccxt
import pytest

from tradewatch import paper
from tradewatch.paper.faults import Fault, Faults, Latency, Match, Rule

SYMBOL = "BTC/USDT"
ORDER = Match(operation="order_place")


def decisions(rules, seed, count=40, now_ns=0):
    faults = Faults(rules, seed)
    return [faults.decide("order_place", "POST", "/api/v3/order", now_ns) for _ in range(count)]


def hit(match, **request):
    asked = {"operation": "order_place", "method": "POST", "path": "/api/v3/order", "now_ns": 50, **request}
    return Faults([Rule(match, Fault("timeout"))]).decide(**asked).fault is not None


@pytest.mark.parametrize(
    ("match", "hits"),
    [
        (Match(), True),
        (Match(operation="order_place"), True),
        (Match(operation="order_cancel"), False),
        (Match(method="POST", path="/api/v3/order"), True),
        (Match(method="GET", path="/api/v3/order"), False),
        (Match(path="/api/v3/depth"), False),
        (Match(from_ns=50), True),
        (Match(from_ns=51), False),
        (Match(until_ns=51), True),
        (Match(until_ns=50), False),
        (Match(nth=(2,)), False),
        (Match(every=1), True),
        (Match(probability=0.0), False),
        (Match(probability=1.0), True),
    ],
)
def test_all_of_a_match_must_hold(match, hits):
    assert hit(match) is hits


def test_calls_are_counted_by_each_rule():
    rules = [Rule(Match(nth=(2, 5)), Fault("ban")), Rule(Match(every=3), Fault("rate_limit"))]
    assert [one.name for one in decisions(rules, 0, 6)] == [None, "ban", "rate_limit", None, "ban", "rate_limit"]


def test_probability_depends_on_the_seed_alone():
    rules = [Rule(Match(probability=0.3), Fault("timeout"))]
    assert decisions(rules, 5) == decisions(rules, 5)
    assert decisions(rules, 5) != decisions(rules, 6)
    more = [*rules, Rule(Match(), Fault("latency", latency=Latency("uniform", 1, 9)))]
    assert [one.fault for one in decisions(more, 5)] == [one.fault for one in decisions(rules, 5)]


def test_latencies_add_up_and_the_first_other_fault_happens():
    rules = [
        Rule(Match(), Fault("latency", latency=Latency("fixed", 10))),
        Rule(Match(), Fault("latency", at="answer", latency=Latency("fixed", 5))),
        Rule(Match(), Fault("ban")),
        Rule(Match(), Fault("timeout")),
        Rule(Match(), Fault("latency", latency=Latency("fixed", 20))),
    ]
    [decided] = decisions(rules, 0, 1)
    assert (decided.arrival_delay_s, decided.answer_delay_s, decided.fault, decided.name) == (
        pytest.approx(0.03), 0.005, Fault("ban"), "latency+latency+ban+latency",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("latency", "least", "most"),
    [
        (Latency("fixed", 20), 0.02, 0.02),
        (Latency("uniform", 20, 30), 0.02, 0.03),
        (Latency("normal", 20, 50), 0.0, 1.0),
        (Latency("exponential", 20), 0.0, 1.0),
        (Latency("pareto", 10, 2), 0.01, 5.0),
    ],
)
def test_latency_distributions(latency, least, most):
    drawn = [one.arrival_delay_s for one in decisions([Rule(Match(), Fault("latency", latency=latency))], 1, 300)]
    assert least <= min(drawn) <= max(drawn) <= most
    assert sum(drawn) / len(drawn) == pytest.approx({"uniform": 0.025}.get(latency.shape, 0.02), rel=0.75)


@pytest.mark.parametrize(("kind", "status"), [("rate_limit", 429), ("ban", 418)])
def test_a_limited_order_never_reached_the_exchange(faulty, connect, kind, status, orders, logged):
    with faulty(Rule(ORDER, Fault(kind, retry_after_s=7))) as server:
        client = connect(server)
        with pytest.raises(ccxt.DDoSProtection, match=str(status)):
            client.create_order(SYMBOL, "market", "buy", 1)
        assert client.last_response_headers["Retry-After"] == "7"
        assert orders(server) == []
        assert logged(server) == {
            "status": status, "code": -1003, "accepted": False, "order_id": None, "fault": kind,
        }  # fmt: skip


def test_a_server_error_on_arrival_means_no_order(faulty, connect, orders):
    with faulty(Rule(Match(operation="order_place", nth=(1,)), Fault("server_error", status=503))) as server:
        client = connect(server)
        with pytest.raises(ccxt.ExchangeNotAvailable):
            client.create_order(SYMBOL, "market", "buy", 1)
        assert orders(server) == []
        assert client.create_order(SYMBOL, "market", "buy", 1)["status"] == "closed"


def test_a_server_error_on_the_answer_leaves_the_order_in(faulty, connect, orders, logged):
    with faulty(Rule(ORDER, Fault("server_error", at="answer", status=504, code=-1007))) as server:
        client = connect(server)
        with pytest.raises(ccxt.RequestTimeout, match="execution status unknown"):
            client.create_order(SYMBOL, "market", "buy", 1)
        assert orders(server) == ["FILLED"]
        assert logged(server) == {
            "status": 504, "code": -1007, "accepted": True, "order_id": 1, "fault": "server_error",
        }  # fmt: skip


def test_a_time_out_after_the_order_went_in(faulty, connect, read, orders, logged):
    with faulty(Rule(ORDER, Fault("timeout", at="answer", hold_s=30))) as server:
        client = connect(server, timeout=300)
        client.load_markets()
        with pytest.raises(ccxt.RequestTimeout):
            client.create_order(SYMBOL, "market", "buy", 1)
        assert orders(server) == ["FILLED"]
        deadline = time.monotonic() + 3
        while read(server, "/paper/requests")[-1]["answered_ns"] is None and time.monotonic() < deadline:
            time.sleep(0.02)
        entry = read(server, "/paper/requests")[-1]
        assert logged(server) == {
            "status": None, "code": None, "accepted": True, "order_id": 1, "fault": "timeout",
        }  # fmt: skip
        assert 0.2e9 < entry["answered_ns"] - entry["received_ns"] < 2e9


def test_a_held_connection_is_closed_in_the_end(faulty, connect, orders, logged):
    with faulty(Rule(ORDER, Fault("timeout", at="arrival", hold_s=0.1))) as server:
        client = connect(server)
        client.load_markets()
        with pytest.raises(ccxt.NetworkError):
            client.create_order(SYMBOL, "market", "buy", 1)
        assert orders(server) == []
        assert logged(server)["status"] is None


def test_a_request_still_held_is_in_the_log_without_an_answer(faulty, connect_async, read):
    async def ask(server):
        client = connect_async(server)
        try:
            await client.load_markets()
            waiting = asyncio.create_task(client.create_order(SYMBOL, "market", "buy", 1))
            await asyncio.sleep(0.3)
            entries = await asyncio.to_thread(read, server, "/paper/requests")
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            return entries[-1]
        finally:
            await client.close()

    with faulty(Rule(ORDER, Fault("timeout", at="answer", hold_s=30))) as server:
        entry = asyncio.run(ask(server))
        assert (entry["operation"], entry["answered_ns"], entry["status"]) == ("order_place", None, None)


@pytest.mark.parametrize("at", ["arrival", "answer"])
def test_latency_is_real_time(faulty, connect, at):
    with faulty(Rule(ORDER, Fault("latency", at=at, latency=Latency("fixed", 150)))) as server:
        client = connect(server)
        client.load_markets()
        began = time.perf_counter()
        client.create_order(SYMBOL, "market", "buy", 1)
        assert 0.15 <= time.perf_counter() - began < 1.0


def test_an_order_may_go_in_after_its_client_gave_up(faulty, connect, orders, logged):
    with faulty(Rule(ORDER, Fault("latency", latency=Latency("fixed", 400)))) as server:
        client = connect(server, timeout=100)
        client.load_markets()
        with pytest.raises(ccxt.RequestTimeout):
            client.create_order(SYMBOL, "market", "buy", 1)
        assert orders(server) == []
        time.sleep(0.6)
        assert orders(server) == ["FILLED"]
        assert logged(server) == {
            "status": None, "code": None, "accepted": True, "order_id": 1, "fault": "latency",
        }  # fmt: skip


def test_a_request_held_at_the_end_is_written_once(faulty, make, rows, connect, tmp_path):
    exchange, _ = make(rows((100, 100, 100, 100)))
    path = tmp_path / "log.jsonl"
    faults = Faults([Rule(ORDER, Fault("timeout", at="answer", hold_s=30))])
    with path.open("ab") as file:
        with paper.serve_in_thread(exchange, faults=faults, log_file=file) as server:
            client = connect(server)
            client.load_markets()
            client.timeout = 10_000
            asked = threading.Thread(target=_ignoring, args=(client.create_order, SYMBOL, "market", "buy", 1))
            asked.start()
            time.sleep(0.3)
        asked.join(5)
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(entry["operation"], entry["accepted"], entry["status"]) for entry in entries] == [
        ("exchange_info", True, 200), ("order_place", True, None),
    ]  # fmt: skip


def _ignoring(call, *args):
    with contextlib.suppress(ccxt.NetworkError):
        call(*args)


def test_an_answer_that_was_not_sent_told_no_price(faulty, connect, read):
    match = Match(operation="book_ticker")
    with faulty(Rule(match, Fault("server_error", at="answer"))) as server:
        with pytest.raises(ccxt.ExchangeNotAvailable):
            connect(server).public_get_ticker_bookticker({"symbol": "BTCUSDT"})
        assert read(server, "/paper/books")["opening_marks"] == {}
