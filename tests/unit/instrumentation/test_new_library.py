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
from tradewatch.runtime.clock import SystemClock
from tradewatch.telemetry.cell import Cells
from tradewatch.telemetry.journal import Journal
from tradewatch.telemetry.probe import Probe

PAGE = "docs/instrumentation.md"


@pytest.fixture
def example(monkeypatch):
    [block] = blocks_of(PAGE, "python")
    module = types.ModuleType("example")
    monkeypatch.setitem(sys.modules, "example", module)
    exec(compile(block.text, PAGE, "exec"), vars(module))
    return module


class Client:
    """A client of the library."""

    __module__ = "toyex"

    def __init__(self):
        self.sent = []

    def place(self, market, side, amount):
        if side == "lost":
            raise TimeoutError
        self.sent.append((market, side, amount))
        return str(len(self.sent))

    def cancel(self, order_id):
        self.sent.append(order_id)


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
    yield client, gate, Breaker(None, gate, clock), cells
    patches.undo()
    assert dict(vars(Client)) == was


def counted(cells):
    return {(cell.operation, cell.error): cell.total for cell in cells if cell.total}


def test_calls_are_counted_and_an_order_whose_answer_is_lost_is_unknown(watched):
    client, gate, _, cells = watched
    assert client.place("BTC/USDT", "buy", Decimal(1)) == "1"
    client.cancel("1")
    with pytest.raises(TimeoutError):
        client.place("BTC/USDT", "lost", Decimal(1))
    assert counted(cells) == {("place", None): 1, ("cancel", None): 1, ("place", "timeout"): 1}
    [unknown] = gate.unknown()
    assert unknown.request.key.symbol == "BTC/USDT"
    assert gate.in_flight() == ()


def test_a_halt_refuses_its_orders_and_lets_its_cancels_pass(watched, example):
    client, gate, breaker, _ = watched
    breaker.halt("me", "news")
    with pytest.raises(example.OrderNotSent, match="halted since"):
        client.place("BTC/USDT", "buy", Decimal(1))
    client.cancel("1")
    assert client.sent == ["1"]
    assert (gate.in_flight(), gate.unknown(), gate.refused) == ((), (), 1)
