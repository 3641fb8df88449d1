"""Every exchange class of the installed ccxt, called as bots call it, against a transport that records.

`tried(name)` says what came of one exchange. Run as a program it tries those that are named, or all, and prints that as
JSON lines: so it runs in environments with other versions of ccxt too.
"""

import asyncio
import base64
import collections
import importlib
import inspect
import json
import re
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import ccxt
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

KINDS = ("ccxt", "ccxt.async_support", "ccxt.pro")
SPOT, SWAP = "BTC/USDT", "BTC/USDT:USDT"
CREDENTIALS = {
    "apiKey": "a" * 32,
    "secret": base64.b64encode(b"s" * 32).decode(),
    "password": "p",
    "uid": "1",
    "login": "l",
    "token": "t",
    "twofa": "JBSWY3DPEHPK3PXP",
    "privateKey": "0x" + "1" * 64,
    "walletAddress": "0x" + "1" * 40,
    "accountId": "1",
}


def one(symbol, **more):
    return {"symbol": symbol, "type": "limit", "side": "buy", "amount": 1, "price": 100, **more}


# Arguments by method, for a symbol.
ORDERS = {
    "create_order": lambda s: (s, "limit", "buy", 1, 100),
    "create_orders": lambda s: ([one(s), one(s)],),
    "create_twap_order": lambda s: (s, "buy", 1, 3_600_000),
    "create_convert_trade": lambda s: ("1", "BTC", "USDT", 1),
    "edit_order": lambda s: ("1", s, "limit", "buy", 1, 100),
    "edit_orders": lambda s: ([one(s, id="1"), one(s, id="2")],),
    "close_position": lambda s: (s, "buy"),
    "close_all_positions": lambda s: (),
    "create_order_ws": lambda s: (s, "limit", "buy", 1, 100),
    "create_orders_ws": lambda s: ([one(s), one(s)],),
    "edit_order_ws": lambda s: ("1", s, "limit", "buy", 1, 100),
    "edit_orders_ws": lambda s: ([one(s, id="1"), one(s, id="2")],),
}
OTHERS = {
    "cancel_order": lambda s: ("1", s),
    "cancel_orders": lambda s: (["1", "2"], s),
    "cancel_all_orders": lambda s: (s,),
    "cancel_all_orders_after": lambda s: (60_000,),
    "cancel_order_ws": lambda s: ("1", s),
    "cancel_orders_ws": lambda s: (["1", "2"], s),
    "cancel_all_orders_ws": lambda s: (s,),
    "fetch_order": lambda s: ("1", s),
    "fetch_orders": lambda s: (s,),
    "fetch_open_orders": lambda s: (s,),
    "fetch_closed_orders": lambda s: (s,),
    "fetch_my_trades": lambda s: (s,),
    "fetch_balance": lambda s: (),
    "fetch_order_ws": lambda s: ("1", s),
    "fetch_open_orders_ws": lambda s: (s,),
    "fetch_balance_ws": lambda s: (),
}


def market(symbol, quote, settle):
    swap = settle is not None
    limits = {each: {"min": None, "max": None} for each in ("amount", "price", "cost", "leverage")}
    return {
        "id": f"BTC{quote}",
        "numericId": 1,
        "uppercaseId": f"BTC{quote}",
        "baseNumericId": 1,
        "quoteNumericId": 2,
        "symbol": symbol,
        "base": "BTC",
        "quote": quote,
        "settle": settle,
        "baseId": "1",
        "quoteId": quote,
        "settleId": settle,
        "type": "swap" if swap else "spot",
        "spot": not swap,
        "swap": swap,
        "margin": False,
        "future": False,
        "option": False,
        "active": True,
        "contract": swap,
        "linear": True if swap else None,
        "inverse": False if swap else None,
        "contractSize": 1.0 if swap else None,
        "taker": 0.001,
        "maker": 0.001,
        "precision": {"amount": 0.0001, "price": 0.01},
        "limits": limits,
        "info": {"orderTypes": ["LIMIT", "MARKET"], "filters": []},
    }


def pem(key):
    kind = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()).decode()


ED25519 = ccxt.Exchange.binary_to_base58(b"s" * 32)
BYBIT = {"enableUnifiedMargin": False, "enableUnifiedAccount": True, "unifiedMarginStatus": 6}
# What a class wants beside that before it sends an order: attributes, and options below "options".
WANTED = {
    "bullish": {"options": {"tokenExpires": 10**15, "loadAccount": {"tradingAccountId": "1"}, "tradingAccountId": "1"}},
    "bybit": {"options": BYBIT},
    "bybiteu": {"options": BYBIT},
    "bybitid": {"options": BYBIT},
    "coinbaseinternational": {"options": {"portfolio": "1"}},
    "derive": {"options": {"max_fee": "1", "deriveWalletAddress": "0x" + "1" * 40}},
    "gemini": {"apiKey": "account-1"},
    "grvt": {"apiKey": None, "secret": None},
    "kucoin": {"options": {"uta": False}},
    "kucoinfutures": {"options": {"uta": False}},
    "lbank": {"secret": "".join(pem(rsa.generate_private_key(65537, 1024)).splitlines()[1:-1])},
    "modetrade": {"secret": "ed25519:" + ED25519},
    "nado": {"market": "1"},
    "ndax": {"market": "1"},
    "pacifica": {"privateKey": ccxt.Exchange.binary_to_base58(b"s" * 64)},
    "polymarket": {"market": "1"},
    "revolutx": {"privateKey": pem(ed25519.Ed25519PrivateKey.generate())},
    "woofipro": {"secret": "ed25519:" + ED25519},
}
ACCOUNTS = [{"id": "1", "type": kind, "code": None, "info": {}} for kind in ("spot", "trade", "trading")]


class Recorder(requests.adapters.BaseAdapter):
    """Below requests.Session and in place of aiohttp.ClientSession: keeps what is sent, answers with `{}`."""

    def __init__(self):
        super().__init__()
        self.sent = []

    def record(self, method, url):
        where = urlsplit(str(url))
        self.sent.append((method.upper(), f"{where.netloc}{where.path}"))
        return "{}"

    def send(self, request, **_):
        answer = requests.Response()
        answer.status_code, answer.reason, answer.url, answer.request = 200, "OK", request.url, request
        answer._content, answer.encoding = self.record(request.method, request.url).encode(), "utf-8"
        return answer

    def close(self):
        pass


class Session:
    """As much of aiohttp.ClientSession as ccxt uses."""

    closed = False

    def __init__(self, recorder):
        self.recorder, self.headers = recorder, {}

    def __getattr__(self, name):
        if name not in ("get", "post", "put", "patch", "delete"):
            raise AttributeError(name)
        return lambda url, **_: Answer(self.recorder.record(name, url))

    def ws_connect(self, url, **_):
        self.recorder.record("WS", url)
        raise ConnectionError("a transport that records")

    async def close(self):
        self.closed = True


class Answer:
    status, reason = 200, "OK"

    def __init__(self, text):
        self._text, self.headers = text, {}

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        pass

    async def text(self, **_):
        return self._text

    async def read(self):
        return self._text.encode()


def camel(name):
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


def attributes(kind):
    return {owner: dict(vars(owner)) for owner in kind.__mro__ if owner is not object}


def differing(was, now):
    """(class, attribute) of everything that is not the same object."""
    return [
        (owner.__qualname__, name)
        for owner in was
        for name in was[owner].keys() | now[owner].keys()
        if was[owner].get(name) is not now[owner].get(name)
    ]


class Trial:
    """One class: `kind` is of KINDS. `loop` runs what is awaited."""

    def __init__(self, name, module, loop):
        self.module = importlib.import_module(module)
        self.kind = getattr(self.module, name)
        self.loop = loop
        self.is_async = module != "ccxt"
        self.close(self.client())  # ccxt itself adds attributes to a class at its first instance
        own = [k for k in self.kind.__mro__ if not re.match(r"ccxt\.(\w+\.)?base\.|builtins", k.__module__)]
        has = {n for n in (*ORDERS, *OTHERS) if any(n in vars(k) for k in own)}
        self.orders = [n for n in ORDERS if n in has]
        # A plain function on an async class returns before its call is over: what it leads to counts.
        self.others = [n for n in OTHERS if n in has and self.is_async == inspect.iscoroutinefunction(self.function(n))]

    def function(self, name):
        return next(vars(k)[name] for k in self.kind.__mro__ if name in vars(k))

    def client(self):
        options = {"newUpdates": False}
        made = self.kind({**CREDENTIALS, "enableRateLimit": False, "timeout_on_exit": 0, "options": options})
        made.options.update(dict.fromkeys(("accountId", "operatorId", "subaccount_id", "defaultAccountId"), "1"))
        wanted = WANTED.get(made.id, {})
        made.options.update(wanted.get("options", {}))
        for name, value in wanted.items():
            if name not in ("options", "market"):
                setattr(made, name, value)
        made.accounts = [dict(account) for account in ACCOUNTS]
        made.recorder = Recorder()
        if self.is_async:
            made.asyncio_loop, made.own_session, made.session = self.loop, False, Session(made.recorder)
        else:
            made.session.mount("https://", made.recorder)
            made.session.mount("http://", made.recorder)
        markets = [market(SPOT, "USDT", None), market(SWAP, "USDT", "USDT")]
        for each in markets:
            each["id"] = wanted.get("market", each["id"])
        if made.precisionMode != 4:  # in places or digits rather than in ticks
            for each in markets:
                each["precision"] = {"amount": 8, "price": 5}
        made.set_markets(markets)
        return made

    def arguments(self, name, client):
        """Arguments for the first of the two markets with which the method sends something; what a first and a second
        call send and raise."""
        for symbol in (SPOT, SWAP):
            args = (ORDERS | OTHERS)[name](symbol)
            first = self.call(client, getattr(client, name), *args)
            if first[0]:
                break
        return args, first, self.call(client, getattr(client, name), *args)

    def call(self, client, function, *args):
        """(what was sent, the exception or None)."""
        client.recorder.sent.clear()
        client.ws_dial_backoff = {}  # each dial fails; the next one is not to wait
        error = None
        try:
            result = function(*args)
            if inspect.isawaitable(result):
                self.loop.run_until_complete(asyncio.wait_for(asyncio.ensure_future(result, loop=self.loop), 5))
        except Exception as raised:
            error = raised
        return tuple(client.recorder.sent), error

    def close(self, client):
        if self.is_async:
            self.loop.run_until_complete(client.close())
        else:
            client.session.close()

    def run(self, folder):
        """What came of the class: what it has, what never sends anything and why, and what went wrong."""
        import tradewatch

        names, wrong, left = (*self.orders, *self.others), [], {}
        plain = self.client()
        known = {name: self.arguments(name, plain) for name in names}
        for name, (_, _, (sent, error)) in known.items():
            if not sent or (name in self.orders and not places(sent)):
                left[name] = f"{type(error).__name__}: {error}"[:60]
        # Taken only now, since some classes keep what they have computed on the class.
        was = attributes(self.kind)

        client = self.client()
        captured = {name: getattr(client, name) for name in names}
        watch = tradewatch.instrument(client, name="every", state_dir=folder, port=None, **providers())
        try:
            for name in names:
                args, *unwatched = known[name]
                for spelling, (sent, error) in zip((name, camel(name)), unwatched, strict=True):
                    before = calls(watch)
                    now, raised = self.call(client, getattr(client, spelling), *args)
                    made = calls(watch) - before
                    if made != {name: 1}:
                        wrong.append(f"{spelling} counted as {dict(made)}")
                    if (now, type(raised)) != (sent, type(error)):
                        wrong.append(f"{spelling} sent {now}, {raised!r}; unwatched {sent}, {error!r}")
            watch.halt("news")
            for name in names:
                args, _, (sent, _) = known[name]
                for spelling, function in (
                    (name, getattr(client, name)),
                    (camel(name), getattr(client, camel(name))),
                    (f"captured {name}", captured[name]),
                ):
                    now, raised = self.call(client, function, *args)
                    refused = isinstance(raised, tradewatch.OrderRefused)
                    if name in self.others:
                        if refused or bool(now) != bool(sent):
                            wrong.append(f"halted: {spelling} sent {now}, {raised!r}")
                    elif spelling.startswith("captured"):
                        # Below the unified methods a reading request may go out before the order is refused.
                        if name not in left and not name.endswith("_ws") and (not refused or places(now)):
                            wrong.append(f"halted: {spelling} sent {now}, {raised!r}")
                    elif not refused or now:
                        wrong.append(f"halted: {spelling} sent {now}, {raised!r}")
        finally:
            tradewatch.shutdown()
        orders = sum(watch.status().orders.values())
        if orders < 4 * len(self.orders):
            wrong.append(f"{orders} orders counted of {len(self.orders)} methods, each called four times")
        wrong += [f"left a trace: {trace}" for trace in differing(was, attributes(self.kind))]
        unclear = [note for note in watch.status().notes if "serves orders and more" in note]
        self.close(client)
        self.close(plain)
        return {"orders": self.orders, "others": self.others, "left": left, "wrong": wrong, "unclear": unclear}


def places(sent):
    """Whether something of what was sent is more than a question or a login."""
    return any(
        (method != "GET" or "/private/" in where) and not where.endswith(("/info", "/login")) for method, where in sent
    )


def calls(watch):
    return collections.Counter({each.operation: each.calls for each in watch.status().operations})


def providers():
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.trace import TracerProvider

    return {
        "tracer_provider": TracerProvider(shutdown_on_exit=False),
        "meter_provider": MeterProvider(shutdown_on_exit=False),
    }


def tried(name):
    """What came of one exchange: by kind of ccxt, `Trial.run`."""
    loop = asyncio.new_event_loop()
    found = {}
    try:
        for module in KINDS:
            if hasattr(importlib.import_module(module), name):
                with tempfile.TemporaryDirectory() as folder:
                    found[module] = Trial(name, module, loop).run(Path(folder))
    finally:
        loop.close()
    return found


if __name__ == "__main__":
    from tradewatch.runtime.failures import failures

    failures.strict = True
    for each in sys.argv[1:] or ccxt.exchanges:
        sys.stdout.write(json.dumps({each: tried(each)}) + "\n")
