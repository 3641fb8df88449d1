"""Every class of ccxt.pro that sends orders over a websocket: a halt refuses them, wherever they stand on their way."""

import asyncio
import contextlib

import ccxt.pro
import pytest

import every_class
import tradewatch

# What these want before they send anything, nothing here answers.
LEFT_OUT = {
    "kraken": "asks for a token first; runs against the paper exchange in test_gate.py",
    "lighter": "signs in a native library",
    "nado": "asks for its contracts first",
}
ORDERS = [name for name in every_class.ORDERS if name.endswith("_ws")]


def own(name, methods):
    """Which of these methods a class of ccxt.pro has of its own."""
    kinds = [k for k in getattr(ccxt.pro, name).__mro__ if ".base." not in k.__module__]
    return [method for method in methods if any(method in vars(k) for k in kinds)]


NAMES = [name for name in ccxt.pro.exchanges if own(name, ORDERS) and name not in LEFT_OUT]


class Line:
    """As much of aiohttp's websocket as ccxt uses: keeps what is sent, brings nothing."""

    closed, _conn = False, None

    def __init__(self, sent):
        self.sent = sent

    async def __aenter__(self):
        return self

    async def send_str(self, message):
        self.sent.append(message)

    async def receive(self):
        await asyncio.get_running_loop().create_future()

    async def close(self):
        self.closed = True


def signed_in(client):
    """Answer whoever waits for a login."""
    for line in client.clients.values():
        for name, future in list(line.futures.items()):
            if ("auth" in str(name) or "login" in str(name)) and not future.done():
                future.resolve(True)


async def told(client, function, args, *, halting=None):
    """The error of a call that nobody answers; None where it waits in the end. `halting` is called on its way."""
    task = asyncio.ensure_future(function(*args))
    for _ in range(10):
        await asyncio.sleep(0.001)
        signed_in(client)
    if halting is not None:
        halting()
    done, _ = await asyncio.wait([task], timeout=0.05)
    if not done:
        task.cancel()
        with contextlib.suppress(BaseException):
            await task
        return None
    return task.exception()


@pytest.fixture
def trial(monkeypatch):
    """`trial(name)`: a class, and a maker of clients of it with what they send."""
    loop = asyncio.new_event_loop()
    sent = []
    monkeypatch.setattr(every_class.Session, "ws_connect", lambda self, url, **_: Line(sent), raising=True)
    yield lambda name: (every_class.Trial(name, "ccxt.pro", loop), sent)
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def waits(client, let_go):
    """Messages wait in the throttle of their connection."""

    async def throttle(cost=None):
        await let_go.wait()

    client.enableRateLimit = True
    make = type(client).client

    def connection(url, *args):
        line = make(client, url, *args)
        line.throttle = throttle
        return line

    client.client = connection


@pytest.mark.parametrize("name", NAMES)
def test_no_order_passes_a_halt_over_a_websocket(name, trial, tmp_path):
    tried, sent = trial(name)
    run = tried.loop.run_until_complete
    found = 0
    for n, method in enumerate(own(name, ORDERS)):
        for symbol in (every_class.SPOT, every_class.SWAP):
            args, client = every_class.ORDERS[method](symbol), tried.client()
            sent.clear()
            run(told(client, getattr(client, method), args))
            messages = len(sent)
            tried.close(client)
            if messages:
                break
        assert messages, method
        for way in ("captured", "found", "throttled", "captured and throttled"):
            client = tried.client()
            function, let_go = getattr(client, method), asyncio.Event()
            settings = {"name": "every", "state_dir": tmp_path / f"{n} {way}", "port": None}
            watch = tradewatch.instrument(client, **settings, **every_class.providers())
            if not way.startswith("captured"):
                function = getattr(client, method)
            sent.clear()
            if way.endswith("throttled"):
                waits(client, let_go)

                def halt(watch=watch, let_go=let_go):
                    watch.halt("news")
                    let_go.set()

                error = run(told(client, function, args, halting=halt))
            else:
                watch.halt("news")
                error = run(told(client, function, args))
            tradewatch.shutdown()
            tried.close(client)
            # A login may go out first.
            assert len(sent) < messages, (method, way, sent)
            assert isinstance(error, tradewatch.OrderRefused), (method, way, error)
            found += 1
    assert found


CANCELS = [name for name in every_class.OTHERS if name.startswith("cancel_") and name.endswith("_ws")]
# ccxt itself takes no market here, or none of these.
REFUSED_BY_CCXT = {
    ("binancecoinm", "cancel_all_orders_ws"), ("binanceusdm", "cancel_all_orders_ws"), ("cex", "cancel_orders_ws"),
}  # fmt: skip
CANCELLING = [name for name in ccxt.pro.exchanges if own(name, CANCELS) and name not in LEFT_OUT]


@pytest.mark.parametrize("name", CANCELLING)
def test_every_cancel_passes_a_halt_over_a_websocket(name, trial, tmp_path):
    tried, sent = trial(name)
    run = tried.loop.run_until_complete
    for n, method in enumerate(own(name, CANCELS)):
        for symbol in (every_class.SPOT, every_class.SWAP):
            args, client = every_class.OTHERS[method](symbol), tried.client()
            sent.clear()
            unwatched = run(told(client, getattr(client, method), args))
            messages = len(sent)
            tried.close(client)
            if messages:
                break
        assert bool(messages) == ((name, method) not in REFUSED_BY_CCXT), (method, unwatched)
        client = tried.client()
        settings = {"name": "every", "state_dir": tmp_path / str(n), "port": None}
        watch = tradewatch.instrument(client, **settings, **every_class.providers())
        watch.halt("news")
        sent.clear()
        error = run(told(client, getattr(client, method), args))
        tradewatch.shutdown()
        tried.close(client)
        assert (len(sent), type(error)) == (messages, type(unwatched)), method
