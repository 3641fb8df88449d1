"""What every end-to-end test stands on: a paper exchange on a socket, and real ccxt clients of both kinds; and two
checks after every test: no failure of ours, and ccxt as it was."""

import asyncio
import contextlib
import re
import sys
import time
import urllib.request
from datetime import datetime

import pytest
from hypothesis import HealthCheck, settings

# A test says nothing of how fast a machine is; the first text that hypothesis draws on a fresh clone takes a second.
settings.register_profile("tradewatch", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tradewatch")


pytest_plugins = ["applications", "programs", "otlp", "scripted_collectors", "folding"]
KEY, SECRET = "paper-key", "paper-secret"
SYMBOL = "BTC/USDT"
START_NS = int(datetime.fromisoformat("2023-03-03T00:00+00:00").timestamp()) * 10**9
MINUTE_NS = 60 * 10**9


@pytest.fixture(autouse=True, scope="session")
def state_home(tmp_path_factory):
    """Bots under test leave nothing in the home of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state-home")))
        yield


@pytest.fixture(autouse=True)
def strictly(request):
    """Failures of ours raise where they happen; nothing is watched afterwards."""
    from tradewatch.runtime.failures import failures

    was, failures.strict = failures.strict, "lenient" not in request.fixturenames
    failures.counts.clear()
    failures._logged.clear()
    yield failures
    registry = sys.modules.get("tradewatch.registry")
    if registry is not None:
        registry.shutdown()
        assert not registry._watches
    # No call left its span current.
    context = sys.modules.get("opentelemetry.context")
    assert context is None or context.get_current() == {}
    counts = dict(failures.counts)
    failures.strict = was
    failures.counts.clear()
    failures._logged.clear()
    # Other rooms' tests switch it off in their own ways.
    if "lenient" not in request.fixturenames and request.path.parent.name in ("instrumentation", "chaos"):
        assert counts == {}


@pytest.fixture
def lenient(strictly):
    """For tests that provoke failures of ours on purpose: they are counted as in use; returns the counts."""
    return strictly.counts


class HandClock:
    """Simulated time that stands still until a test moves it."""

    def __init__(self, now_ns):
        self.now = self.began = now_ns

    def now_ns(self):
        return self.now

    def mono_ns(self):
        return self.now - self.began

    def real_seconds(self, seconds):
        return seconds

    def pass_seconds(self, seconds):
        self.now += round(seconds * 10**9)


@pytest.fixture
def clock_at():
    """Makes clocks that stand at a time, in epoch nanoseconds."""
    return HandClock


@pytest.fixture
def hand_clock():
    return HandClock(START_NS)


def until(statement, seconds=10.0):
    """Wait until something is true, and say what it was where it never became so."""
    ends = time.monotonic() + seconds
    while not (found := statement()) and time.monotonic() < ends:
        time.sleep(0.005)
    assert found, "did not come true in time"
    return found


@pytest.fixture(name="until")
def until_fixture():
    return until


@pytest.fixture
def eventually():
    """`until` for what happens on the test's own loop."""

    async def wait(statement, seconds=20.0):
        ends = time.monotonic() + seconds
        while not (found := statement()):
            assert time.monotonic() < ends, "did not come true in time"
            await asyncio.sleep(0.01)
        return found

    return wait


class Venue:
    """A paper exchange behind a socket, and what its log says."""

    def __init__(self, server, exchange, clock):
        self.server, self.exchange, self.clock, self.url = server, exchange, clock, server.url

    def log(self, *operations):
        """Entries of the request log, of some operations or all."""
        return [e for e in list(self.server.log.entries) if not operations or e.operation in operations]

    def orders(self):
        """Requests that would place an order."""
        return self.log("order_place")

    def requests(self):
        """(method, path, status) of every request."""
        return [(e.method, e.path, e.status) for e in self.log()]

    def read(self, path):
        """A control path's JSON."""
        import json

        with urllib.request.urlopen(self.url + path) as answer:
            return json.load(answer)


@pytest.fixture
def venue():
    """Makes venues: prices stand at `price` (or follow rows of open, high, low, close) unless the clock is moved.

    `faults` are pairs of what a request must match and what happens to it.
    """
    from tradewatch import paper
    from tradewatch.paper import candles, faults

    with contextlib.ExitStack() as stack:

        def make(
            *rules, rows=None, price=100, balances=None, clock=None, limits=None, fees=None, log_file=None, depth=None
        ):
            lines = ["open_time,open,high,low,close,volume"]
            for n, quad in enumerate(rows or [(price,) * 4] * 30):
                lines.append(",".join([str(START_NS // 10**6 + n * 60_000), *map(str, quad), "4"]))
            record = candles.read_candles(lines, "rows")
            clock = clock or HandClock(START_NS)
            account = paper.Account(KEY, SECRET, balances or {"BTC": "100", "USDT": "1000000"})
            exchange = paper.Exchange([paper.Market(SYMBOL, record, 20, depth=depth)], [account], clock, fees)
            chosen = [faults.Rule(faults.Match(**match), faults.Fault(**fault)) for match, fault in rules]
            roomy = limits or paper.Limits(1_000_000, 100_000, 1_000_000)
            server = stack.enter_context(
                paper.serve_in_thread(exchange, faults=faults.Faults(chosen), limits=roomy, log_file=log_file)
            )
            return Venue(server, exchange, clock)

        yield make


def redirected(value, url):
    if isinstance(value, dict):
        return {key: redirected(item, url) for key, item in value.items()}
    return re.sub(r"^(http|ws)s?://[^/]+", lambda found: found[1] + url.removeprefix("http"), value)


def pointed(cls, url, **settings):
    """A ccxt client whose exchange is at `url`."""
    options = {"fetchMarkets": {"types": ["spot"]}, "fetchMargins": False}
    client = cls({"apiKey": KEY, "secret": SECRET, "enableRateLimit": False, "options": options, **settings})
    client.has["fetchCurrencies"] = False
    client.urls["api"] = redirected(client.urls["api"], url)
    return client


@pytest.fixture(name="pointed")
def pointed_fixture():
    """Makes clients of any class, whose exchange is at a URL."""
    return pointed


class Sync:
    """ccxt as blocking bots use it."""

    name = "sync"

    def __init__(self):
        import ccxt

        self.ccxt = ccxt
        self._clients = []

    def client(self, url, cls=None, **settings):
        client = pointed(cls or self.ccxt.binance, getattr(url, "url", url), **settings)
        self._clients.append(client)
        return client

    def do(self, result):
        """What a call gave."""
        return result

    def close(self):
        for client in self._clients:
            client.session.close()


class Async:
    """ccxt as asyncio bots use it, on a loop of the test's."""

    name = "async"

    def __init__(self):
        import ccxt.async_support

        self.ccxt = ccxt.async_support
        self.loop = asyncio.new_event_loop()
        self._clients = []

    def client(self, url, cls=None, **settings):
        url = getattr(url, "url", url)
        client = pointed(cls or self.ccxt.binance, url, timeout_on_exit=0, asyncio_loop=self.loop, **settings)
        self._clients.append(client)
        return client

    def do(self, awaitable):
        """What a call gave once it was awaited."""
        return self.loop.run_until_complete(awaitable)

    def close(self):
        for client in self._clients:
            self.do(client.close())
        self.do(self.loop.shutdown_asyncgens())
        self.loop.close()


@pytest.fixture
def blocking():
    with contextlib.closing(Sync()) as api:
        yield api


@pytest.fixture
def awaiting():
    with contextlib.closing(Async()) as api:
        yield api


@pytest.fixture(params=["sync", "async"])
def api(request):
    """Both kinds of ccxt, one after the other."""
    return request.getfixturevalue("blocking" if request.param == "sync" else "awaiting")


class Bot:
    """A bot that knows nothing of tradewatch."""

    def __init__(self, exchange=None):
        if exchange is not None:
            self.exchange = exchange


@pytest.fixture
def make_bot():
    return Bot


@pytest.fixture
def watch_over(tmp_path):
    """`instrument` with a temporary state folder and a free port unless said."""
    import tradewatch

    def instrument(bot, **settings):
        return tradewatch.instrument(bot, **{"state_dir": tmp_path / "state", "port": 0, **settings})

    return instrument


def scraped(endpoint):
    """A scrape: {(name, sorted labels without `otel_scope_*`): value}."""
    from prometheus_client.parser import text_string_to_metric_families

    with urllib.request.urlopen(endpoint) as answer:
        text = answer.read().decode()
    return {
        # To Prometheus an empty label is none.
        (sample.name, tuple(sorted((k, v) for k, v in sample.labels.items() if v))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def scrape():
    return scraped


def attributes_of_ccxt():
    """Every attribute of every class of ccxt's that a binance client of either kind gets its methods from."""
    classes = []
    for name in ("ccxt.binance", "ccxt.async_support.binance", "ccxt.pro.binance"):
        if name in sys.modules:
            classes += [k for k in sys.modules[name].binance.__mro__ if k is not object]
    return {kind: dict(vars(kind)) for kind in classes}


@pytest.fixture(scope="session")
def ccxt_as_it_was():
    """Taken once all kinds have made a client, since ccxt itself adds attributes at the first one."""
    import ccxt
    import ccxt.async_support
    import ccxt.pro

    async def made():
        for kind in (ccxt.async_support.binance, ccxt.pro.binance):
            await kind({"timeout_on_exit": 0}).close()

    ccxt.binance()
    asyncio.run(made())
    return attributes_of_ccxt()


@pytest.fixture(autouse=True)
def ccxt_is_restored(request):
    """After each test with a client, ccxt's classes have exactly the attributes that they had."""
    if not {"api", "blocking", "awaiting"} & set(request.fixturenames):
        yield
        return
    was = request.getfixturevalue("ccxt_as_it_was")
    request.getfixturevalue("strictly")
    yield
    if "tradewatch.registry" in sys.modules:
        sys.modules["tradewatch.registry"].shutdown()
    for kind, attributes in attributes_of_ccxt().items():
        if kind in was:
            differing = [n for n in attributes.keys() | was[kind].keys() if attributes.get(n) is not was[kind].get(n)]
            assert differing == [], f"{kind} is not as it was"
