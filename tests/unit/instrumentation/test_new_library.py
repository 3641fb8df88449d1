"""The worked example of docs/instrumentation.md, as it stands there, around a client library that is made up here."""

import sys
import types
from decimal import Decimal
from pathlib import Path

import pytest

from pages import blocks_of
from tradewatch.breaker import Breaker, OrderGate, explain
from tradewatch.instrumentation.ccxt import Binding
from tradewatch.instrumentation.patch import Patches
from tradewatch.model import Fill, Money
from tradewatch.runtime.clock import SystemClock
from tradewatch.telemetry.cell import Cells
from tradewatch.telemetry.journal import Journal
from tradewatch.telemetry.probe import Probe, recorded

PAGE = "docs/instrumentation.md"


@pytest.fixture
def example(monkeypatch):
    [block] = blocks_of(PAGE, "python")
    module = types.ModuleType("example")
    monkeypatch.setitem(sys.modules, "example", module)
    exec(compile(block.text, PAGE, "exec"), vars(module))
    return module


class OrderRejected(Exception):  # noqa: N818  the venue's word
    """The venue says no."""


class Client:
    """A client of the library."""

    __module__ = "toyex"

    def __init__(self):
        self.sent = []

    def place(self, market, side, amount):
        if side == "lost":
            raise TimeoutError
        if side == "wrong":
            raise OrderRejected
        self.sent.append((market, side, amount))
        return str(len(self.sent))

    def cancel(self, order_id):
        self.sent.append(order_id)

    def trades(self, market):
        return [
            {"market": market, "order": "1", "id": "7", "side": "buy", "amount": "0.5", "price": "100.1", "ms": 1_700,
             "fee": "0.05", "fee_currency": "USDT"},
        ]  # fmt: skip


@pytest.fixture
def watched(example):
    """A client under the example, its gate's breaker, where its calls are counted, and the journal."""
    clock, cells, journal, client, patches = SystemClock(), Cells(), Journal(), Client(), Patches()
    was = dict(vars(Client))
    gate = OrderGate(clock)
    client._tradewatch = Binding(Probe("toyex", "main", cells, journal, clock), gate, explain, found=True)
    assert example.is_client(Client)
    assert not example.is_client(Path)
    example.wrap(patches, Client)
    yield client, gate, Breaker(None, gate, clock), cells, journal
    patches.undo()
    assert dict(vars(Client)) == was


def counted(cells):
    return {(cell.operation, cell.error): cell.total for cell in cells if cell.total}


def test_calls_are_counted_and_an_order_whose_answer_is_lost_is_unknown(watched):
    client, gate, _, cells, journal = watched
    assert client.place("BTC/USDT", "buy", Decimal(1)) == "1"
    client.cancel("1")
    with pytest.raises(TimeoutError):
        client.place("BTC/USDT", "lost", Decimal(1))
    with pytest.raises(OrderRejected):
        client.place("BTC/USDT", "wrong", Decimal(1))
    errors = {("place", "timeout"): 1, ("place", "rejected"): 1}
    assert counted(cells) == {("place", None): 1, ("cancel", None): 1, **errors}
    orders = [recorded(live) for live in journal.drain() if live.more.requests]
    assert [call.outcomes[0].status for call in orders] == ["open", "unknown", "rejected"]
    [unknown] = gate.unknown()
    assert unknown.request.key.symbol == "BTC/USDT"
    assert gate.in_flight() == ()


def test_trades_are_told_as_the_venue_says(watched):
    client, _, _, _, journal = watched
    assert len(client.trades("BTC/USDT")) == 1
    [call] = [recorded(live) for live in journal.drain()]
    fee = (Money(Decimal("0.05"), "USDT"),)
    amount, price = Decimal("0.5"), Decimal("100.1")
    assert call.fills == (
        Fill("main", "BTC/USDT", "1", "7", "buy", amount, price, fee, 1_700_000_000, "trades"),
    )  # fmt: skip


ORDER = {"market": "BTC/USDT", "side": "buy", "amount": Decimal(1)}


def refused(watched, example, *args, **kwargs):
    """A halted bot's order is refused, however it is written; its cancels pass."""
    client, gate, breaker, _, _ = watched
    breaker.halt("me", "news")
    with pytest.raises(example.OrderNotSent, match="halted"):
        client.place(*args, **kwargs)
    client.cancel("1")
    assert client.sent == ["1"]
    assert (gate.in_flight(), gate.unknown()) == ((), ())
    return gate.refused


def test_a_halt_refuses_its_orders_and_lets_its_cancels_pass(watched, example):
    assert refused(watched, example, *ORDER.values()) == 1


def test_a_halt_refuses_orders_that_are_written_by_name_or_not_to_their_end(watched, example):
    assert refused(watched, example, **ORDER) == 1
    watched[0].sent.clear()
    assert refused(watched, example) == 2


def test_a_client_that_was_let_go_is_left_alone(watched):
    client, gate, _, cells, journal = watched
    client._tradewatch.let_go(gate)
    client.place(**ORDER)
    client.cancel("1")
    assert (len(client.sent), counted(cells), list(journal.drain()), gate.in_flight()) == (2, {}, [], ())


def test_a_bug_does_not_open_a_closed_gate(watched, example, monkeypatch, lenient):
    monkeypatch.delattr(example, "OrderRequest")
    assert refused(watched, example, **ORDER) == 0
    assert lenient == {"instrumentation": 1}
