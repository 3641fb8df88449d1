"""Kraken's REST protocol request by request: keys, nonces, signatures, names, counters and refusals."""

import base64
import json

import pytest

from kraken_rest import Client, Wall
from tradewatch import paper
from tradewatch.paper.faults import Fault
from tradewatch.paper.kraken import KrakenSpot
from tradewatch.paper.kraken.names import spelled
from tradewatch.paper.requests import Limits, Request


@pytest.fixture
def wall():
    return Wall()


@pytest.fixture
def venue(dollars, rows, wall):
    """A client over an exchange that stands at 100, its exchange and its clock; keywords as of `dollars`."""

    def build(tier="intermediate", record=None, **settings):
        record = record or rows((100, 100, 100, 100), (100, 110, 90, 105))
        exchange, clock = dollars(record, **({"spread_bp": 20} | settings))
        return Client(KrakenSpot(exchange, Limits(tier=tier), wall)), exchange, clock

    return build


BUY = {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "volume": "1", "price": "90"}


def test_an_unknown_key_a_wrong_signature_and_a_stale_nonce_are_told_apart(venue):
    client, exchange, _ = venue()
    other = base64.b64encode(b"another").decode()
    assert client("Balance", key="nobody") == "EAPI:Invalid key"
    assert client("Balance", secret=other, nonce=9_000) == "EAPI:Invalid signature"
    assert client("Balance") == {"XXBT": "1.00000000", "ZUSD": "50000.00000000"}  # 9,000 was never taken
    assert client("Balance", nonce=5_000) == {"XXBT": "1.00000000", "ZUSD": "50000.00000000"}
    assert client("Balance", nonce=5_000) == "EAPI:Invalid nonce"
    assert client("AddOrder", nonce=4_999, **BUY) == "EAPI:Invalid nonce"
    assert client("Balance", nonce="x") == "EAPI:Invalid nonce"
    assert exchange.orders("main") == []


def test_the_signature_of_the_documentation(venue):
    """The example of https://docs.kraken.com/api/docs/guides/spot-rest-auth."""
    secret = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="
    client, exchange, _ = venue()
    exchange.accounts["paper-key"] = paper.Account("paper-key", secret, {})
    body = "nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25"
    signature = "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ=="
    headers = {"api-key": "paper-key", "api-sign": signature}
    answer = client.wire.answer(Request("POST", "/0/private/AddOrder", "", body, headers))
    assert answer.error not in ("EAPI:Invalid signature", "EAPI:Invalid nonce", "EAPI:Invalid key")
    tampered = Request("POST", "/0/private/AddOrder", "", body.replace("1.25", "1.26"), headers)
    assert client.wire.answer(tampered).error == "EAPI:Invalid signature"


def test_a_key_may_do_what_it_is_for(venue):
    client, exchange, _ = venue(permissions=("query",))
    assert client("OpenOrders") == {"open": {}}
    assert client("AddOrder", **BUY) == "EGeneral:Permission denied"
    assert client("CancelAll") == "EGeneral:Permission denied"
    assert client("DepositStatus") == "EGeneral:Permission denied"
    assert exchange.orders("main") == []


def test_an_order_is_answered_with_its_id_and_its_description_alone(venue):
    client, exchange, _ = venue()
    placed = client("AddOrder", pair="XBTUSD", type="buy", ordertype="market", volume="1.25")
    assert placed == {"descr": {"order": "buy 1.25000000 XBTUSD @ market"}, "txid": [spelled("O", 1)]}
    assert exchange.orders("main")[0].status == "FILLED"
    placed = client("AddOrder", **BUY)
    assert placed == {"descr": {"order": "buy 1.00000000 XBTUSD @ limit 90.00"}, "txid": [spelled("O", 2)]}


def test_validate_checks_and_places_nothing(venue):
    client, exchange, _ = venue()
    assert client("AddOrder", **BUY, validate="true") == {"descr": {"order": "buy 1.00000000 XBTUSD @ limit 90.00"}}
    assert client("AddOrder", **(BUY | {"volume": "9000"}), validate="true") == "EOrder:Insufficient funds"
    assert exchange.orders("main") == []


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"pair": "XBTEUR"}, "EQuery:Unknown asset pair"),
        ({"pair": ""}, "EGeneral:Invalid arguments:pair"),
        ({"type": "hold"}, "EGeneral:Invalid arguments:type"),
        ({"ordertype": "stop-loss"}, "EGeneral:Invalid arguments:ordertype"),
        ({"volume": ""}, "EGeneral:Invalid arguments:volume"),
        ({"volume": "-1"}, "EGeneral:Invalid arguments:volume"),
        ({"volume": "0.000001"}, "EGeneral:Invalid arguments:volume minimum not met"),
        ({"volume": "0.01"}, "EOrder:Cost minimum not met"),
        ({"volume": "1000"}, "EOrder:Insufficient funds"),
        ({"price": ""}, "EGeneral:Invalid arguments:price"),
        ({"price": "90.001"}, "EOrder:Invalid price:BTC/USD price can only be specified up to 2 decimals."),
        ({"price": "101", "oflags": "post"}, "EOrder:Post only order"),
        ({"oflags": "nothing"}, "EGeneral:Invalid arguments:oflags"),
        ({"oflags": "fcib,fciq"}, "EGeneral:Invalid arguments:oflags"),
        ({"ordertype": "market", "oflags": "post"}, "EGeneral:Invalid arguments:oflags"),
        ({"timeinforce": "DAY"}, "EGeneral:Invalid arguments:timeinforce"),
        ({"timeinforce": "GTD"}, "EGeneral:Invalid arguments:expiretm"),
        ({"userref": "x"}, "EGeneral:Invalid arguments:userref"),
        ({"userref": "1", "cl_ord_id": "mine"}, "EGeneral:Invalid arguments:cl_ord_id"),
        ({"deadline": "2001-01-01T00:00:00Z"}, "EService:Deadline elapsed"),
        ({"deadline": "soon"}, "EGeneral:Invalid arguments:deadline"),
    ],
)  # fmt: skip
def test_an_order_is_refused_in_krakens_words(venue, change, error):
    client, exchange, _ = venue()
    assert client("AddOrder", **(BUY | change)) == error
    assert exchange.orders("main") == []


def test_a_client_order_id_is_taken_once_while_its_order_is_open(venue):
    client, _, _ = venue()
    txid = client("AddOrder", **BUY, cl_ord_id="mine")["txid"][0]
    assert "cl_ord_id" in client("AddOrder", **BUY, cl_ord_id="mine")
    assert list(client("OpenOrders", cl_ord_id="mine")["open"]) == [txid]
    assert client("CancelOrder", cl_ord_id="mine") == {"count": 1}
    assert client("CancelOrder", cl_ord_id="mine") == "EOrder:Unknown order"
    assert "txid" in client("AddOrder", **BUY, cl_ord_id="mine")


def test_a_user_reference_cancels_all_that_have_it(venue):
    client, exchange, _ = venue()
    for price in ("90", "91", "92"):
        client("AddOrder", **(BUY | {"price": price}), userref="92" if price == "92" else "7")
    assert client("CancelOrder", txid="7") == {"count": 2}
    assert [order.user_ref for order in exchange.open_orders("main")] == [92]
    assert client("CancelOrder", txid="OAAAAA-BBBBB-CCCCCC") == "EOrder:Unknown order"


def test_an_amend_keeps_the_id_and_an_edit_does_not(venue):
    client, _, _ = venue()
    txid = client("AddOrder", **BUY)["txid"][0]
    assert "amend_id" in client("AmendOrder", txid=txid, limit_price="80", order_qty="2")
    shown = client("OpenOrders")["open"][txid]
    assert (shown["vol"], shown["descr"]["price"]) == ("2.00000000", "80.00")
    edited = client("EditOrder", txid=txid, pair="XBTUSD", price="85")
    assert edited["originaltxid"] == txid
    shown = client("OpenOrders")["open"]
    assert list(shown) == [edited["txid"]]
    assert shown[edited["txid"]]["descr"]["order"] == "buy 2.00000000 XBTUSD @ limit 85.00"
    assert client("QueryOrders", txid=txid)[txid]["status"] == "canceled"
    assert client("AmendOrder", txid=txid, limit_price="80") == "EOrder:Unknown order"
    assert client("AmendOrder", txid=edited["txid"]) == "EGeneral:Invalid arguments:limit_price"


def test_a_batch_places_each_order_or_says_why_not(venue):
    client, exchange, _ = venue()
    order = {"ordertype": "limit", "type": "buy", "volume": "1", "price": "90"}
    done = client("AddOrderBatch", json_body={"pair": "XBTUSD", "orders": [order, order | {"volume": "9000"}]})
    assert done == {
        "orders": [
            {"txid": spelled("O", 1), "descr": {"order": "buy 1.00000000 XBTUSD @ limit 90.00"}},
            {"error": "EOrder:Insufficient funds"},
        ]
    }
    assert (
        client("AddOrderBatch", json_body={"pair": "XBTUSD", "orders": [order]}) == "EGeneral:Invalid arguments:orders"
    )
    bad = client("AddOrderBatch", json_body={"pair": "XBTUSD", "orders": [order, {"type": "buy"}]})
    assert bad == "EGeneral:Invalid arguments:ordertype"
    assert len(exchange.open_orders("main")) == 1


def test_the_switch_cancels_everything_once_it_is_not_renewed(venue, wall):
    client, exchange, _ = venue()
    client("AddOrder", **BUY)
    armed = client("CancelAllOrdersAfter", timeout="60")
    assert armed == {"currentTime": "2023-11-14T22:13:20Z", "triggerTime": "2023-11-14T22:14:20Z"}
    wall.s += 50
    client("CancelAllOrdersAfter", timeout="60")
    wall.s += 50
    client.wire.beat(wall())
    assert len(exchange.open_orders("main")) == 1
    wall.s += 10
    client.wire.beat(wall())
    assert exchange.open_orders("main") == []
    client("AddOrder", **BUY)
    wall.s += 1_000
    client.wire.beat(wall())
    assert len(exchange.open_orders("main")) == 1  # it acts once


def test_the_switch_is_disarmed_by_zero_and_refuses_what_is_no_time(venue, wall):
    client, exchange, _ = venue()
    client("AddOrder", **BUY)
    client("CancelAllOrdersAfter", timeout="60")
    assert client("CancelAllOrdersAfter", timeout="0")["triggerTime"] == "0"
    wall.s += 61
    client.wire.beat(wall())
    assert len(exchange.open_orders("main")) == 1
    for timeout in ("", "-1", "1.5", "86401"):
        assert client("CancelAllOrdersAfter", timeout=timeout) == "EGeneral:Invalid arguments:timeout"


def test_calls_are_counted_by_key_and_the_count_falls_with_time(venue, wall):
    client, _, _ = venue(tier="starter")  # 15, less 0.33 a second
    assert [client("OpenOrders") == {"open": {}} for _ in range(16)] == [True] * 15 + [False]
    assert client("OpenOrders") == "EAPI:Rate limit exceeded"
    assert "txid" in client("AddOrder", **BUY)  # orders have a counter of their own
    wall.s += 3.1
    assert client("OpenOrders") != "EAPI:Rate limit exceeded"
    assert client("TradesHistory") == "EAPI:Rate limit exceeded"


def test_orders_are_counted_by_pair_and_a_young_one_is_dear_to_cancel(venue, wall):
    client, exchange, _ = venue(tier="starter")  # 60, less 1 a second
    for _ in range(6):
        txid = client("AddOrder", **BUY)["txid"][0]
        assert client("CancelOrder", txid=txid) == {"count": 1}
    txid = [client("AddOrder", **BUY) for _ in range(6)][-1]["txid"][0]
    assert client("AddOrder", **BUY) == "EOrder:Rate limit exceeded"
    assert client("CancelOrder", txid=txid) == {"count": 1}  # a cancel counts and is never refused
    assert client.wire.trading.counter("main", "BTCUSD", wall()) == 6 * 9 + 6 + 8
    wall.s += 300
    old = exchange.open_orders("main")[0]
    client("CancelOrder", txid=spelled("O", old.order_id))
    assert client.wire.trading.counter("main", "BTCUSD", wall()) == 0


def test_lists_come_newest_first_by_pages_of_fifty(venue, wall):
    client, exchange, clock = venue(balances={"USD": "50000"})
    for _ in range(60):
        client("AddOrder", pair="XBTUSD", type="buy", ordertype="market", volume="0.1")
        clock.now += 10**9
        wall.s += 10
    history = client("TradesHistory")
    times = [trade["time"] for trade in history["trades"].values()]
    assert (len(times), history["count"]) == (50, 60)
    assert times == sorted(times, reverse=True)
    rest = client("TradesHistory", ofs="50")["trades"]
    assert len(rest) == 10
    assert set(rest).isdisjoint(history["trades"])
    oldest = list(rest)[-1]
    assert client("TradesHistory", start=oldest)["count"] == 59  # exclusive
    assert client("TradesHistory", end=oldest)["count"] == 1  # inclusive
    start = exchange.trades("main")[29].at_ns // 10**9
    assert client("TradesHistory", start=str(start))["count"] == 30
    assert client("ClosedOrders")["count"] == 60
    assert client("Ledgers")["count"] == 120
    assert client("Ledgers", asset="XBT")["count"] == 60


def test_a_trade_and_its_ledger_name_each_other_and_say_the_fee(venue):
    client, _, _ = venue(balances={"USD": "1000"})
    client("AddOrder", pair="XBTUSD", type="buy", ordertype="market", volume="1")
    client("AddOrder", pair="XBTUSD", type="buy", ordertype="market", volume="1", oflags="fcib")
    second, first = client("TradesHistory")["trades"].items()
    assert (first[1]["cost"], first[1]["fee"], second[1]["fee"]) == ("100.10000000", "0.10010000", "0.00100000")
    entries = list(client("Ledgers")["ledger"].values())
    assert [(one["refid"], one["asset"], one["amount"], one["fee"], one["balance"]) for one in entries] == [
        (second[0], "XXBT", "1.00000000", "0.00100000", "1.99900000"),
        (second[0], "ZUSD", "-100.10000000", "0.00000000", "799.69990000"),
        (first[0], "XXBT", "1.00000000", "0.00000000", "1.00000000"),
        (first[0], "ZUSD", "-100.10000000", "0.10010000", "899.79990000"),
    ]
    order = client("QueryOrders", txid=first[1]["ordertxid"], trades="true")[first[1]["ordertxid"]]
    assert order["trades"] == [first[0]]
    assert list(client("QueryTrades", txid=f"{first[0]},{second[0]}")) == [first[0], second[0]]


def test_an_order_that_expires_and_one_that_found_nothing(venue, rows):
    record = rows((100, 100, 100, 100), (100, 100, 100, 100))
    client, exchange, clock = venue(record=record)
    timed = client("AddOrder", **BUY, timeinforce="GTD", expiretm="+30")["txid"][0]
    nothing = client("AddOrder", **BUY, timeinforce="IOC")["txid"][0]
    clock.pass_seconds(60)
    closed = client("ClosedOrders")["closed"]
    assert {txid: one["status"] for txid, one in closed.items()} == {timed: "expired", nothing: "canceled"}
    assert closed[timed]["closetm"] == closed[timed]["expiretm"] == record.start_ns / 1e9 + 30
    assert exchange.holdings("main")["USD"].locked == 0


def test_a_withdrawal_is_done_at_once_or_refused(venue):
    client, exchange, _ = venue()
    for asked, error in (
        ({"asset": "NONE", "amount": "1"}, "EFunding:Unknown asset"),
        ({"asset": "XBT", "amount": "-1"}, "EFunding:Invalid amount"),
        ({"asset": "XBT", "amount": "2"}, "EFunding:Insufficient funds"),
    ):
        assert client("Withdraw", json_body=asked | {"key": "mine"}) == error
    done = client("Withdraw", json_body={"asset": "XBT", "amount": "0.25", "key": "mine"})
    (shown,) = client("WithdrawStatus", asset="XXBT")
    assert (shown["refid"], shown["amount"], exchange.holdings("main")["BTC"].free) == (
        done["refid"], "0.25000000", 75_000_000,
    )  # fmt: skip
    assert client("WithdrawStatus", asset="ZUSD") == []


def test_market_data_by_every_name_of_a_pair(venue):
    client, _, clock = venue()
    clock.pass_seconds(60)
    expected = client.public("Ticker", pair="XXBTZUSD")
    assert list(expected) == ["XXBTZUSD"]
    assert expected["XXBTZUSD"]["a"][0] == "100.10000"
    assert client.public("Ticker", pair="XBTUSD") == client.public("Ticker") == expected
    assert client.public("Ticker", pair="BTC/USD") == {"BTC/USD": expected["XXBTZUSD"]}
    assert client.public("Depth", pair="XBTUSD", count="1") == {
        "XXBTZUSD": {"asks": [["100.10000", "9000.000", 1677801660]], "bids": [["99.90000", "9000.000", 1677801660]]}
    }
    assert client.public("Depth", pair="NONE") == "EQuery:Unknown asset pair"
    assert client.public("OHLC", pair="XBTUSD", interval="7") == "EGeneral:Invalid arguments:interval"
    assert client.public("Nothing") == "EGeneral:Unknown method"
    ohlc = client.public("OHLC", pair="XBTUSD")
    assert ohlc["XXBTZUSD"][0] == [
        1677801600, "100.00000", "100.00000", "100.00000", "100.00000", "100.00000", "4.00000000", 4,
    ]  # fmt: skip
    assert ohlc["last"] == 1677801600
    trades = client.public("Trades", pair="XBTUSD", count="2")
    assert [trade[6] for trade in trades["XXBTZUSD"]] == [4, 5]
    assert trades["last"] == "1677801660000000000"


@pytest.mark.parametrize(
    ("fault", "operation", "status", "error"),
    [
        (Fault("rate_limit"), "balance", 200, "EAPI:Rate limit exceeded"),
        (Fault("rate_limit"), "add_order", 200, "EOrder:Rate limit exceeded"),
        (Fault("ban"), "balance", 200, "EGeneral:Temporary lockout"),
        (Fault("server_error", code="EService:Busy"), "balance", 200, "EService:Busy"),
        (Fault("server_error", status=502), "balance", 502, None),
    ],
)  # fmt: skip
def test_injected_faults_are_said_in_krakens_words(venue, fault, operation, status, error):
    client, _, _ = venue()
    answer = client.wire.faulted(fault, operation)
    assert (answer.status, answer.error) == (status, error)
    if error is not None:
        assert json.loads(answer.body) == {"error": [error]}
