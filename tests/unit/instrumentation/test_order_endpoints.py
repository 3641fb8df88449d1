"""Which endpoints of ccxt's exchanges are taken for orders, held against ccxt's own source.

Every endpoint that a `create_order` or `edit_order` of any exchange calls must be stopped by a halt, also when it is
called without the unified method: by its implicit name, or by a method that was captured before.
"""

import functools
import re
from pathlib import Path

import ccxt
import pytest

from tradewatch.breaker import Breaker, OrderGate, explain
from tradewatch.instrumentation.ccxt import Binding
from tradewatch.instrumentation.ccxt.binding import BINDING, running
from tradewatch.instrumentation.ccxt.calls import EndpointCall
from tradewatch.instrumentation.ccxt.endpoints import endpoints_of, never_orders
from tradewatch.instrumentation.patch import Refused
from tradewatch.runtime.clock import SystemClock
from tradewatch.telemetry.cell import Cells
from tradewatch.telemetry.journal import Journal
from tradewatch.telemetry.probe import Probe

_ENTRY = re.compile(r"(\w+) = (\w+) = Entry\[_Dict\]\('([^']*)', \[([^\]]*)\], '(\w+)'")
_PLACES = re.compile(r"(create|edit)_(\w*_)?orders?(_request)?")
_CANCELS_OR_READS = re.compile(r"(cancel|fetch)_\w+")
_NO_ORDER = re.compile(r"(?i)test$|preview|rfq")


@functools.cache
def used_by():
    """(exchange, HTTP method, path) → names of the methods that call it, by the source of the installed ccxt."""
    folder = Path(ccxt.__file__).parent
    found = {}
    for name in ccxt.exchanges:
        abstract = folder / "abstract" / f"{name}.py"
        entries = {}
        for snake, camel, path, _, method in _ENTRY.findall(abstract.read_text()) if abstract.exists() else ():
            entries[snake] = entries[camel] = (name, method, path)
        for function in re.split(r"\n    def ", (folder / f"{name}.py").read_text())[1:]:
            for used in re.findall(r"self\.(\w+)", function):
                if used in entries:
                    found.setdefault(entries[used], set()).add(function[: function.index("(")])
    return found


def endpoints(pattern):
    found = {e for e, names in used_by().items() if any(pattern.fullmatch(n) for n in names)}
    return found - {("extended", "GET", "user/orders/{id}")}  # read by its edit_order


@pytest.fixture
def halted():
    """Makes clients of any exchange whose gate is closed; only the class of one matters here."""
    clock = SystemClock()
    gate = OrderGate(clock)
    Breaker(None, gate, clock).halt("me", "news")

    def make(name):
        client = object.__new__(getattr(ccxt, name))
        probe = Probe(name, "account", Cells(), Journal(), clock)
        client.__dict__[BINDING] = Binding(probe, gate, explain, found=True)
        client.session = None
        return client

    return make


def _adopt(client):
    raise AssertionError("the client has its binding")


def stopped(client, method, path, api="private", payload=None):
    try:
        live = EndpointCall(_adopt).begin(client, (path, api, method, payload or {}), {})
    except Refused as refused:
        return isinstance(refused.error, ccxt.InvalidOrder)
    EndpointCall(_adopt).succeed(client, live, None)
    return False


def test_every_endpoint_that_creates_or_edits_orders_is_stopped(halted):
    placing = {e for e in endpoints(_PLACES) if not _NO_ORDER.search(e[2])}
    assert len(placing) > 250
    assert sorted(e for e in placing if not stopped(halted(e[0]), e[1], e[2])) == []


def test_every_endpoint_that_creates_or_edits_orders_is_stopped_within_a_call_that_reads(halted):
    """Where most requests are passed over, in the task of a read, none of an order is."""
    placing = {e for e in endpoints(_PLACES) if not _NO_ORDER.search(e[2])}
    passed = []
    for exchange, method, path in placing:
        client = halted(exchange)
        probe = client.__dict__[BINDING].probe
        live = probe.start("fetch_ticker", None)
        assert running(client) is live
        passed += [(exchange, method, path)] if not stopped(client, method, path) else []
        assert not never_orders(type(client), method, path)
        probe.leave(live)
    assert passed == []


def test_what_never_orders_is_what_is_something_else_with_any_parameters():
    for name in ccxt.exchanges:
        kind = getattr(ccxt, name)
        known = endpoints_of(kind)
        for method, path in known.placing | known.others:
            expected = (method, path) not in known.placing or _NO_ORDER.search(path) is not None
            if never_orders(kind, method, path):
                assert expected, (name, method, path)
                assert known.says(method, path, {"side": "buy", "type": "order"}) == "other"
        assert known.placing or not any(not never_orders(kind, *each) for each in known.others)


def test_no_endpoint_that_only_cancels_or_reads_is_stopped(halted):
    """But for those that also send orders: there the payload tells, see below; kucoin closes positions by a test."""
    passing = endpoints(_CANCELS_OR_READS) - endpoints(_PLACES)
    assert len(passing) > 1000
    assert sorted(e for e in passing if stopped(halted(e[0]), e[1], e[2])) == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "order"),
        ("DELETE", "openOrders"),
        ("GET", "order"),
        ("GET", "openOrders"),
        ("GET", "allOrders"),
        ("POST", "CancelOrder"),
        ("POST", "CancelAll"),
        ("POST", "CancelAllOrdersAfter"),
        ("POST", "OpenOrders"),
        ("POST", "v2/orders/search"),
        ("POST", "spot/v1/trade/open-orders"),
        ("POST", "orders/killSwitch"),
        ("POST", "orderly_key"),
        ("POST", "list_orderbook"),
        ("POST", "getOrderByClientOrderId"),
        ("POST", "auth/r/orders/otc/{symbol}/hist"),
        ("POST", "ClosedOrders"),
        ("POST", "QueryOrders"),
        ("POST", "order/test"),
        ("POST", "v5/order/cancel"),
        ("POST", "v5/order/cancel-all"),
        ("POST", "trade/cancel-order"),
        ("POST", "trade/cancel-batch-orders"),
        ("POST", "cancel_order"),
        ("POST", "order/status"),
        ("POST", "v2/spot/trade/cancel-order"),
        ("POST", "Balance"),
        ("POST", "TradesHistory"),
        ("GET", "ticker/24hr"),
        ("GET", "myTrades"),
        ("PUT", "userDataStream"),
        ("POST", "userDataStream"),
    ],
)
def test_cancels_and_reads_below_the_unified_methods_pass(halted, method, path):
    assert stopped(halted("kraken"), method, path) is False


HYPERLIQUID_ORDER = {"a": 0, "b": True, "p": "100", "s": "1", "r": False, "t": {"limit": {"tif": "Gtc"}}}
DYDX = "/dydxprotocol.clob.Msg"


def signed(type_url):
    """As dydx's clients send a transaction: protobuf in hexadecimal, the type of its message in plain letters."""
    name = type_url.encode()
    return "0x" + (b"\n\x9a\x01\n\x8f\x01\n" + bytes([len(name)]) + name + b"\x12\x60" + bytes(range(96))).hex()


# Of each venue that has one endpoint for orders and the rest, what it is sent, as ccxt's code has it.
SHARED = [
    (
        "hyperliquid",
        "POST",
        "exchange",
        {"action": {"type": "order", "orders": [HYPERLIQUID_ORDER], "grouping": "na"}},
        True,
    ),
    ("hyperliquid", "POST", "exchange", {"action": {"type": "batchModify", "modifies": [{"oid": 1}]}}, True),
    ("hyperliquid", "POST", "exchange", {"action": {"type": "twapOrder", "twap": {"a": 0, "b": True}}}, True),
    ("hyperliquid", "POST", "exchange", {"action": {"type": "cancel", "cancels": [{"a": 0, "o": 1}]}}, False),
    ("hyperliquid", "POST", "exchange", {"action": {"type": "cancelByCloid", "cancels": [{"cloid": "0x1"}]}}, False),
    ("hyperliquid", "POST", "exchange", {"action": {"type": "scheduleCancel", "time": 1}}, False),
    ("hyperliquid", "POST", "exchange", {"action": {"type": "updateLeverage", "asset": 0, "leverage": 2}}, False),
    ("hyperliquid", "POST", "exchange", {"action": {"type": "someNewOrder", "cancels": []}}, True),
    (
        "krakenfutures",
        "POST",
        "batchorder",
        {"batchOrder": [{"order": "send", "orderType": "lmt", "side": "buy"}]},
        True,
    ),
    ("krakenfutures", "POST", "batchorder", {"batchOrder": [{"order": "cancel", "order_id": "1"}]}, False),
    (
        "krakenfutures",
        "POST",
        "batchorder",
        {"batchOrder": [{"order": "cancel", "order_id": "1"}] * 99 + [{"order": "send", "orderType": "lmt"}]},
        True,
    ),
    ("hibachi", "POST", "trade/orders", {"accountId": 1, "orders": [{"action": "place", "side": "BID"}]}, True),
    ("hibachi", "POST", "trade/orders", {"accountId": 1, "orders": [{"action": "modify", "orderId": "1"}]}, True),
    (
        "hibachi",
        "POST",
        "trade/orders",
        {"accountId": 1, "orders": [{"action": "cancel", "orderId": "my-order"}]},
        False,
    ),
    ("bullish", "POST", "v2/command", {"commandType": "V1AmendOrder", "orderId": "1", "type": "LIMIT"}, True),
    ("bullish", "POST", "v2/command", {"commandType": "V3CancelOrder", "orderId": "1", "clientOrderId": "2"}, False),
    ("bullish", "POST", "v2/command", {"commandType": "V2TransferAsset", "quantity": "1"}, False),
    ("nado", "POST", "execute", {"place_order": {"product_id": 1, "order": {"amount": "1"}}}, True),
    ("nado", "POST", "execute", {"cancel_and_place": {"cancel_tx": {}, "place_order": {}}}, True),
    ("nado", "POST", "execute", {"cancel_orders": {"tx": {"digests": ["0x1"]}, "signature": "0x1"}}, False),
    ("pacifica", "POST", "orders/batch", {"actions": [{"type": "Create", "data": {"side": "bid"}}]}, True),
    ("pacifica", "POST", "orders/batch", {"actions": [{"type": "Cancel", "data": {"order_id": 1}}]}, False),
    ("dydx", "GET", "broadcast_tx_sync", {"tx": signed(f"{DYDX}PlaceOrder")}, True),
    ("dydx", "GET", "broadcast_tx_sync", {"tx": signed(f"{DYDX}CancelOrder")}, False),
    ("dydx", "GET", "broadcast_tx_sync", {"tx": signed(f"{DYDX}BatchCancel")}, False),
    # A number and a text that only a native library makes: unclear.
    ("lighter", "POST", "sendTx", {"tx_type": 14, "tx_info": "{}"}, True),
    ("lighter", "POST", "sendTx", {"tx_type": 15, "tx_info": "{}"}, True),
]


@pytest.mark.parametrize(("name", "method", "path", "payload", "is_order"), SHARED)
def test_what_an_endpoint_for_all_is_sent_tells_orders_from_the_rest(halted, name, method, path, payload, is_order):
    client = halted(name)
    assert stopped(client, method, path, payload=payload) is is_order
    assert client.__dict__[BINDING].unclear == (
        {f"{method} {path}"} if name == "lighter" or "some" in str(payload) else set()
    )


def test_every_endpoint_that_is_shared_has_payloads_above():
    shared = {(name, *each) for name in ccxt.exchanges for each in endpoints_of(getattr(ccxt, name)).shared}
    assert shared == {(name, method, path) for name, method, path, *_ in SHARED}


def test_a_payload_that_is_nested_too_deeply_to_be_read_is_stopped(halted, lenient):
    payload = {"type": "cancel"}
    for _ in range(40):
        payload = {"action": payload}
    assert stopped(halted("hyperliquid"), "POST", "exchange", payload=payload)
    assert lenient == {"instrumentation": 1}


@pytest.mark.parametrize(
    "path",
    [
        "trade/stop_limit",
        "buyStopLoss/{symbol}",
        "rfq/execute-quote",
        "openapi/convert/v1/accept-quote",
        "v5/fiat/trade-execute",
        "trade/easy-convert",
        "v2/convert/trade",
        "v2/convert/bgb-convert",
        "finance/sfp/dcd/trade",
        "copytrading/close-subposition",
        "v5/spot-lever-token/purchase",
        "blvt/redeem",
        "v3/trade/grid/create-neutral-bot",
        "trade/batchCancelReplace",
        "create_position",
        "tradingBot/grid/close-position",
        "position/reverse",
        "order/oco",
        "spot/order/list",
        "orderList/otoco",
    ],
)
def test_orders_that_no_method_of_ccxt_sends_are_stopped_by_their_words(halted, path):
    assert stopped(halted("kraken"), "POST", path)
