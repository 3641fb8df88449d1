"""Under any combination of faults the log, the books and the client agree, and a recorded run happens again."""

import contextlib
import time

import ccxt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tradewatch import paper
from tradewatch.paper.faults import Fault, Faults, Latency, Match, Rule
from tradewatch.paper.replay import RecordError, load_record, recorded
from tradewatch.paper.units import ONE

SYMBOL = "BTC/USDT"


FAULTS = st.one_of(
    st.builds(
        Fault,
        st.sampled_from(["server_error", "timeout", "reset", "half_json"]),
        at=st.sampled_from(["arrival", "answer"]),
        status=st.sampled_from([500, 502, 503, 504]),
        code=st.sampled_from([None, -1000, -1001, -1006, -1007]),
        hold_s=st.just(0.02),
    ),
    st.builds(Fault, st.sampled_from(["rate_limit", "ban", "nonce", "maintenance"])),
    st.builds(Fault, st.just("false_tick"), factor=st.integers(500_000, 2_000_000)),
    # No sum of several is near -1 s or the window of 5 or 10 s, where the few milliseconds of a request would decide.
    st.builds(Fault, st.just("clock_skew"), skew_ms=st.integers(-15, 15).map(lambda n: 1_300 * n)),
    st.builds(
        Fault,
        st.just("latency"),
        at=st.sampled_from(["arrival", "answer"]),
        latency=st.builds(Latency, st.just("pareto"), st.floats(0.1, 1), st.floats(1.5, 3)),
    ),
)
MATCHES = st.builds(
    Match,
    operation=st.sampled_from([None, "order_place", "order_cancel", "open_orders", "ticker_24hr", "my_trades"]),
    probability=st.sampled_from([None, 0.3, 0.7]),
    every=st.sampled_from([None, 2, 3]),
)


def session(client):
    """A small trading day; yields what each call returned or raised."""
    steps = [
        ("ticker_24hr", lambda: client.fetch_ticker(SYMBOL)["last"]),
        ("order_place", lambda: client.create_order(SYMBOL, "market", "buy", 1)["id"]),
        ("order_place", lambda: client.create_order(SYMBOL, "limit", "buy", 1, 90)["id"]),
        ("open_orders", lambda: [order["id"] for order in client.fetch_open_orders(SYMBOL)]),
        ("order_place", lambda: client.create_order(SYMBOL, "market", "sell", 0.5)["id"]),
        ("order_cancel", lambda: client.cancel_order("2", SYMBOL)["id"]),
        ("my_trades", lambda: len(client.fetch_my_trades(SYMBOL))),
    ]
    for operation, step in steps:
        try:
            yield operation, step(), None
        except Exception as error:
            yield operation, None, error


def run(server, client_of, clock):
    client = client_of(server, timeout=2_000)
    # Markets come first and unharmed: a client without them makes other requests.
    rules, server.faults.rules = server.faults.rules, ()
    client.load_markets()
    server.faults.rules = rules
    before = len(server.log.entries)
    seen = list(session(client))
    entries = server.log.entries[before:]
    deadline = time.monotonic() + 3
    while any(entry.answered_ns is None for entry in entries) and time.monotonic() < deadline:
        time.sleep(0.01)
    return seen, entries


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(rules=st.lists(st.builds(Rule, MATCHES, FAULTS), min_size=1, max_size=5), seed=st.integers(0, 1000))
def test_log_books_and_client_agree_under_any_combination(make, rows, connect, read, rules, seed):
    exchange, clock = make(rows(*[(100, 100, 100, 100)] * 10), spread_bp=20)
    with paper.serve_in_thread(exchange, faults=Faults(rules, seed)) as server:
        seen, entries = run(server, connect, clock)
        assert [entry.operation for entry in entries] == [operation for operation, _, _ in seen]
        for entry, (_, result, error) in zip(entries, seen, strict=True):
            agree(entry, result, error)
        placed = [entry.order_id for entry in entries if entry.operation == "order_place" and entry.accepted]
        assert placed == [order.order_id for order in exchange.orders("main")]
        books = read(server, "/paper/books")["accounts"]["main"]
        assert [order["order_id"] for order in books["orders"]] == placed
        assert [trade["trade_id"] for trade in books["trades"]] == [one.trade_id for one in exchange.trades("main")]
        cancelled = [entry for entry in entries if entry.operation == "order_cancel" and entry.accepted]
        assert sum(order["status"] == "CANCELED" for order in books["orders"]) == len(cancelled)
    with paper.serve_in_thread(make(rows(*[(100, 100, 100, 100)] * 10), spread_bp=20)[0]) as again:
        again.faults.add(recorded(entries))
        replayed, repeated = run(again, connect, clock)
    assert [fates(entry) for entry in repeated] == [fates(entry) for entry in entries]
    assert [(result, type(error)) for _, result, error in replayed] == [
        (result, type(error)) for _, result, error in seen
    ]


def agree(entry, result, error):
    """What one call returned or raised against what the log says of it."""
    kinds = {fault.kind for fault in entry.injected}
    final = kinds - {"latency", "false_tick", "clock_skew"}
    if entry.status is None:
        assert isinstance(error, ccxt.NetworkError)
        assert final <= {"timeout", "reset"}
    elif entry.status != 200:
        assert isinstance(error, ccxt.BaseError)
        assert final or not entry.accepted
    elif "half_json" in final:
        # ccxt may make an order of nothing of it, or a trade of every letter: no result of an answer is one.
        assert entry.accepted or entry.code is not None
        return
    else:
        assert (error, final, entry.accepted) == (None, set(), True)
    if entry.status in (418, 429):
        assert isinstance(error, ccxt.DDoSProtection)
    # The log has the code of an answer that got lost too.
    if entry.code == -1021 and entry.status is not None:
        assert isinstance(error, ccxt.InvalidNonce)
    if result is not None and entry.operation == "order_place":
        assert str(entry.order_id) == result
    if result is not None and entry.operation == "ticker_24hr":
        factor = 10**6
        for fault in entry.injected:
            factor = factor * fault.factor // 10**6
        assert result == 10_000 * factor // 10**6 / 100


def fates(entry):
    return entry.operation, entry.status, entry.code, entry.order_id, entry.accepted, entry.injected


def test_a_recorded_run_happens_again_without_its_scenario(faulty, connect, tmp_path):
    record = tmp_path / "requests.jsonl"
    rules = [
        Rule(Match(operation="ticker_24hr", probability=0.4), Fault("server_error")),
        Rule(Match(probability=0.5), Fault("latency", latency=Latency("exponential", 2))),
    ]

    def outcomes(server):
        client, seen = connect(server), []
        for _ in range(20):
            with contextlib.suppress(ccxt.BaseError):
                seen.append(client.fetch_ticker(SYMBOL)["last"])
        return [(entry.operation, entry.status, entry.injected) for entry in server.log.entries]

    with record.open("ab") as file, faulty(*rules, log_file=file) as server:
        first = outcomes(server)
    assert {status for _, status, _ in first} == {200, 503}
    with faulty(*load_record(record)) as server:
        assert outcomes(server) == first


@pytest.mark.parametrize("venue", ["binance", "binanceusdm"])
def test_a_recorded_run_with_partial_fills_and_queues_ends_with_the_same_books(
    venue, make, perpetual, rows, connect, connect_usdm, read
):
    """What chance drew is in the record, the thin book in the scenario; fills follow from both."""
    moving = ((100, 101, 99, 100), (100, 100.5, 98, 99), (99, 100, 98.5, 100)) * 4
    thin = Rule(Match(from_ns=1_677_801_660 * 10**9), Fault("thin_book", depth=ONE // 5))
    lossy = Rule(Match(operation="order_place", probability=0.3), Fault("server_error", at="answer"))
    symbol = SYMBOL if venue == "binance" else f"{SYMBOL}:USDT"

    def day(*rules):
        if venue == "binance":
            (exchange, clock), client_of = (
                make(rows(*moving), spread_bp=20, balances={"BTC": "9", "USDT": "900"}),
                connect,
            )
        else:
            (exchange, clock), client_of = perpetual(*moving), connect_usdm
        with paper.serve_in_thread(exchange, venue=venue, faults=Faults(rules, 7)) as server:
            client = client_of(server)
            for step in range(30):
                side, price = ("buy", 99.7) if step % 2 else ("sell", 100.1)
                with contextlib.suppress(ccxt.BaseError):
                    client.create_order(symbol, "limit", side, 0.7, price, {"clientOrderId": f"bot-{step}"})
                clock.pass_seconds(19)
            account = read(server, "/paper/books")["accounts"]["main"]
            return account["orders"], account["trades"], account["positions"], server.log.entries

    *books, entries = day(thin, lossy)
    orders, trades, _ = books
    assert {entry.status for entry in entries} == {200, 503}
    assert len({trade["order_id"] for trade in trades}) < len(trades)
    assert "FILLED" in {order["status"] for order in orders}
    assert {trade["role"] for trade in trades} == {"maker", "taker"}
    assert day(thin, *recorded(entries))[:3] == tuple(books)


def test_a_record_that_cannot_be_replayed_is_named(tmp_path):
    with pytest.raises(RecordError, match="cannot read the record"):
        load_record(tmp_path / "none.jsonl")
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{}\n")
    with pytest.raises(RecordError, match=r"broken.jsonl:1: no entry of a request log"):
        load_record(broken)
