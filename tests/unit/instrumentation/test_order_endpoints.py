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
from tradewatch.instrumentation.ccxt.calls import BINDING, EndpointCall
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


def stopped(client, method, path, api="private"):
    try:
        live = EndpointCall(_adopt).begin(client, (path, api, method, {}), {})
    except Refused as refused:
        return isinstance(refused.error, ccxt.InvalidOrder)
    EndpointCall(_adopt).succeed(client, live, None)
    return False


def test_every_endpoint_that_creates_or_edits_orders_is_stopped(halted):
    placing = {e for e in endpoints(_PLACES) if not _NO_ORDER.search(e[2])}
    assert len(placing) > 250
    assert sorted(e for e in placing if not stopped(halted(e[0]), e[1], e[2])) == []


def test_no_endpoint_that_only_cancels_or_reads_is_stopped(halted):
    """A few venues send orders and cancels through one endpoint; what cannot be told apart is stopped."""
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
