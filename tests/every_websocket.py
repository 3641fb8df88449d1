"""Every class of the installed ccxt.pro that sends orders or cancels over a websocket, on a line that brings nothing.

`tried(name)` says what came of one exchange. Run as a program it tries those that are named, or all, and prints that as
JSON lines: so it runs in environments with other versions of ccxt too.
"""

import asyncio
import contextlib
import json
import sys
import tempfile
from pathlib import Path

import ccxt.pro

import every_class

# What these want before they send anything, nothing here answers.
LEFT_OUT = {
    "kraken": "asks for a token first; runs against the paper exchange in test_gate.py",
    "lighter": "signs in a native library",
    "nado": "asks for its contracts first",
}
# ccxt itself takes no market here, or none of these.
REFUSED_BY_CCXT = {
    ("binancecoinm", "cancel_all_orders_ws"), ("binanceusdm", "cancel_all_orders_ws"), ("cex", "cancel_orders_ws"),
}  # fmt: skip
ORDERS = {name: args for name, args in every_class.ORDERS.items() if name.endswith("_ws")}
CANCELS = {k: v for k, v in every_class.OTHERS.items() if k.startswith("cancel_") and k.endswith("_ws")}


def own(name, methods):
    """Which of these methods a class of ccxt.pro has of its own."""
    kinds = [k for k in getattr(ccxt.pro, name).__mro__ if ".base." not in k.__module__]
    return [method for method in methods if any(method in vars(k) for k in kinds)]


NAMES = [name for name in ccxt.pro.exchanges if own(name, ORDERS | CANCELS) and name not in LEFT_OUT]


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


def _signed_in(client):
    """Answer whoever waits for a login."""
    for line in client.clients.values():
        for name, future in list(line.futures.items()):
            if ("auth" in str(name) or "login" in str(name)) and not future.done():
                future.resolve(True)


async def _told(client, function, args, halting):
    """The error of a call that nobody answers; None where it waits in the end. `halting` is called on its way."""
    task = asyncio.ensure_future(function(*args))
    for _ in range(10):
        await asyncio.sleep(0.001)
        _signed_in(client)
    if halting is not None:
        halting()
    done, _ = await asyncio.wait([task], timeout=0.05)
    if not done:
        task.cancel()
        with contextlib.suppress(BaseException):
            await task
        return None
    return task.exception()


def _waits(client, let_go):
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


class _Trial:
    """One class. `sent` is what the last call sent."""

    def __init__(self, name, loop, folder):
        self.name, self.folder, self.sent, self.wrong = name, folder, [], []
        self._trial, self._loop, self._watches = every_class.Trial(name, "ccxt.pro", loop), loop, 0

    def client(self):
        made = self._trial.client()
        made.session.ws_connect = lambda url, **_: Line(self.sent)
        return made

    def watched(self, client):
        import tradewatch

        self._watches += 1
        settings = {"name": "every", "state_dir": self.folder / str(self._watches), "port": None}
        return tradewatch.instrument(client, **settings, **every_class.providers())

    def call(self, client, function, args, halting=None):
        self.sent.clear()
        return self._loop.run_until_complete(_told(client, function, args, halting))

    def over(self, client):
        import tradewatch

        tradewatch.shutdown()
        self.close(client)

    def close(self, client):
        self._trial.close(client)
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))

    def unwatched(self, method, arguments):
        """Arguments with which the method sends something, how many messages it sends, and what it raises."""
        for symbol in (every_class.SPOT, every_class.SWAP):
            client = self.client()
            error = self.call(client, getattr(client, method), arguments(symbol))
            self.close(client)
            if self.sent:
                break
        if bool(self.sent) == ((self.name, method) in REFUSED_BY_CCXT):
            self.wrong.append(f"{method}: sent {self.sent}, {error!r} unwatched")
        return arguments(symbol), len(self.sent), error

    def refuses(self, method, arguments):
        """A halt refuses the order, wherever it stands on its way."""
        from tradewatch import OrderRefused

        args, messages, _ = self.unwatched(method, arguments)
        for way in ("captured", "found", "throttled", "captured and throttled"):
            client, let_go = self.client(), asyncio.Event()
            function = getattr(client, method)
            watch = self.watched(client)
            if not way.startswith("captured"):
                function = getattr(client, method)
            if way.endswith("throttled"):
                _waits(client, let_go)

                def halt(watch=watch, let_go=let_go):
                    watch.halt("news")
                    let_go.set()

                error = self.call(client, function, args, halt)
            else:
                watch.halt("news")
                error = self.call(client, function, args)
            self.over(client)
            # A login may go out first.
            if len(self.sent) >= messages or not isinstance(error, OrderRefused):
                self.wrong.append(f"{method} {way}: sent {self.sent}, {error!r}")

    def passes(self, method, arguments):
        """A halt lets the cancel pass, and it is counted once."""
        args, messages, unwatched = self.unwatched(method, arguments)
        for way in ("captured", "found"):
            client = self.client()
            function = getattr(client, method)
            watch = self.watched(client)
            if way == "found":
                function = getattr(client, method)
            watch.halt("news")
            error = self.call(client, function, args)
            counted = every_class.calls(watch)
            self.over(client)
            if (len(self.sent), type(error)) != (messages, type(unwatched)):
                self.wrong.append(f"{method} {way}: sent {self.sent}, {error!r}; unwatched {messages}, {unwatched!r}")
            # One that ccxt itself refuses is seen only where it is wrapped; one for several may be called below it.
            cancels = [n for m, n in counted.items() if m.startswith("cancel_")]
            if cancels != [1] and (unwatched is None or way == "found"):
                self.wrong.append(f"{method} {way}: counted as {dict(counted)}")


def tried(name):
    """What came of one exchange: its orders and cancels over a websocket, and what went wrong."""
    loop = asyncio.new_event_loop()
    orders, cancels = own(name, ORDERS), own(name, CANCELS)
    with tempfile.TemporaryDirectory() as folder:
        trial = _Trial(name, loop, Path(folder))
        for method in orders:
            trial.refuses(method, ORDERS[method])
        for method in cancels:
            trial.passes(method, CANCELS[method])
    loop.close()
    return {"orders": orders, "cancels": cancels, "wrong": trial.wrong}


if __name__ == "__main__":
    from tradewatch.runtime.failures import failures

    failures.strict = True
    for each in sys.argv[1:] or NAMES:
        sys.stdout.write(json.dumps({each: tried(each)}) + "\n")
