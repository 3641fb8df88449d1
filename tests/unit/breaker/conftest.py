from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace

import tradewatch
from tradewatch.breaker import Breaker, OrderGate
from tradewatch.model import Call, Evidence, OrderKey, OrderReport, OrderRequest, OrderStatus
from tradewatch.runtime.failures import failures
from tradewatch.store import Store

NOON_NS = 1_677_844_800_000_000_000  # 2023-03-03 12:00 UTC
REASON = "daily loss 3.12 % of 23,431.55 USDT at the start of 2023-03-03, limit 3 %"
EVIDENCE = (
    Evidence("tradewatch_daily_loss", 0.0312, NOON_NS),
    Evidence('tradewatch_limit{limit="daily_loss"}', 0.03, 1),
)


class ManualClock:
    """Stands until a test moves it, except that whoever waits on it moves it."""

    def __init__(self) -> None:
        self.ns = NOON_NS

    def now_ns(self) -> int:
        return self.ns

    def mono_ns(self) -> int:
        return self.ns

    def real_seconds(self, seconds: float) -> float:
        self.ns += int(seconds * 1e9)
        return 0.0

    def pass_seconds(self, seconds: float) -> None:
        self.ns += int(seconds * 1e9)


class Disk:
    """A store's real files, which can be out of reach for a while."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "events.db"
        self.hidden = folder / "elsewhere"

    def fail(self) -> None:
        self.path.rename(self.hidden)

    def heal(self) -> None:
        self.hidden.rename(self.path)


def order(n: int = 1, protective: bool = False) -> OrderRequest:
    key = OrderKey("binance", "main", "BTC/USDT", None, f"c{n}")
    return OrderRequest(key, "create_order", "buy", "limit", Decimal("0.5"), Decimal("23431.55"), protective=protective)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def new_clock() -> type[ManualClock]:
    return ManualClock


@pytest.fixture
def request_of() -> Callable[..., OrderRequest]:
    return order


@pytest.fixture
def told() -> Callable[..., Call]:
    """A call that told of orders at the venue, by client id."""

    def make(*client_ids: str | None, at_ns: int | None = NOON_NS, **changes: object) -> Call:
        reports = []
        for n, client_id in enumerate(client_ids):
            key = replace(order().key, **{"order_id": str(n), "client_id": client_id, **changes})
            reports.append(OrderReport(key, "buy", "limit", "open", None, None, None, None, None, at_ns, NOON_NS))
        return Call(None, 0, 1, 0, (), None, None, None, reports=tuple(reports))

    return make


@pytest.fixture
def placed() -> Callable[..., Call]:
    """A call that sent an order, with what became of it."""

    def make(n: int, status: OrderStatus) -> Call:
        request = order(n)
        outcome = OrderReport(request.key, "buy", "limit", status, None, None, None, None, None, NOON_NS, NOON_NS)
        return Call(None, 0, 1, 0, (), None, None, None, requests=(request,), outcomes=(outcome,))

    return make


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "bot"


@pytest.fixture
def store(folder: Path, clock: ManualClock) -> Iterator[Store]:
    store = Store.open(folder, clock)
    yield store
    store.close()


@pytest.fixture
def disk(folder: Path) -> Disk:
    return Disk(folder)


@pytest.fixture
def disk_of() -> type[Disk]:
    return Disk


@pytest.fixture
def gate(clock: ManualClock) -> OrderGate:
    return OrderGate(clock)


@pytest.fixture
def breaker(store: Store, gate: OrderGate, clock: ManualClock) -> Breaker:
    return Breaker(store, gate, clock)


@pytest.fixture
def reason() -> str:
    return REASON


@pytest.fixture
def evidence() -> tuple[Evidence, ...]:
    return EVIDENCE


@pytest.fixture
def restart(folder: Path, clock: ManualClock) -> Iterator[Callable[[], Breaker]]:
    """Start again on the same folder, whose last store must be closed or its process gone."""
    opened: list[Store] = []

    def start() -> Breaker:
        for store in opened:
            store.close()
        opened.append(Store.open(folder, clock))
        return Breaker(opened[-1], OrderGate(clock), clock)

    yield start
    for store in opened:
        store.close()


@pytest.fixture
def output() -> Callable[..., tuple[int, str]]:
    """Run a program of its own with the package in reach: how it ended and what it printed."""

    def run(program: str, *args: object) -> tuple[int, str]:
        prologue = (
            "import os, sys\nfrom pathlib import Path\nfrom decimal import Decimal\n"
            "from tradewatch.breaker import *\nfrom tradewatch.model import *\nfrom tradewatch.store import *\n"
            "from tradewatch.runtime.clock import SystemClock\nclock = SystemClock()\n"
        )
        env = {**os.environ, "PYTHONPATH": str(Path(tradewatch.__file__).parents[1]), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, "-c", prologue + program, *map(str, args)],
            capture_output=True,
            text=True,
            env=env,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.fixture(autouse=True)
def _our_failures_fail_the_test() -> Iterator[None]:
    failures.strict = True
    failures._logged.clear()
    yield
    failures.strict = False
