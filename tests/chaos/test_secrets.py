"""Keys, secrets and signatures, planted wherever a bot can put them, appear nowhere outside the bot."""

import contextlib
import io
import logging
import secrets
import sqlite3

import pytest

import tradewatch

SYMBOL = "BTC/USDT"
KEY = "paper-key"
OTHER_KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
SIGNATURE = "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"


def planted():
    """What a careless bot may pass, and a careless venue or library may say."""
    long = "x" * 100
    for secret in (SECRET, OTHER_KEY):
        yield secret
        yield f"id-{secret}-1"
        yield f"{long}{secret}"
        yield f"{'x' * 470}{secret}"
    yield f"BTC/USDT?signature={SIGNATURE}"
    yield f"https://api.binance.com/api/v3/order?symbol=BTCUSDT&timestamp=1&signature={SIGNATURE}"
    yield f"{long}&signature={SIGNATURE}"
    yield f"X-MBX-APIKEY: {OTHER_KEY}"
    yield f"{{'apiKey': '{OTHER_KEY}', 'secret': '{SECRET}'}}"
    yield f"Authorization: Bearer {SIGNATURE}"


def leaked(text):
    """The secrets in a text, whole or a tell-tale part of one."""
    pieces = {
        f"{name}[{i}:{i + 12}]": value[i : i + 12]
        for name, value in (("secret", SECRET), ("key", OTHER_KEY), ("signature", SIGNATURE))
        for i in range(0, len(value) - 12, 4)
    }
    return sorted(name for name, piece in pieces.items() if piece in text)


@pytest.fixture
def everything(caplog, application, tmp_path, scrape):
    """All that leaves the process or reaches a disk, as one text a place."""
    caplog.set_level(logging.DEBUG, "tradewatch")

    def collect(watch):
        found = {"status": repr(watch.status()), "status json": watch.status().__str__()}
        found["metrics"] = repr(application.reader.get_metrics_data())
        tradewatch.shutdown()
        found["status after"] = repr(watch.status())
        found["spans"] = "\n".join(s.to_json() for s in application.spans())
        found["log"] = "\n".join(r.getMessage() + str(r.exc_info) for r in caplog.records if "ccxt" not in r.name)
        raw = io.BytesIO()
        for path in sorted((tmp_path / "state").rglob("*")):
            if path.is_file():
                raw.write(path.name.encode() + path.read_bytes())
        found["files"] = raw.getvalue().decode("latin-1")
        return {place: some for place, text in found.items() if (some := leaked(text)[:2])}

    return collect


def test_what_a_bot_plants_appears_nowhere(api, venue, make_bot, watch_over, application, everything, lenient):
    place = venue(({"operation": "order_place", "every": 3}, {"kind": "timeout", "at": "answer", "hold_s": 0.01}))
    client = api.client(place, secret=SECRET, apiKey=OTHER_KEY)
    watch = watch_over(make_bot(client), clock=place.clock, **application.settings)

    def attempt(make):
        with contextlib.suppress(api.ccxt.BaseError):
            api.do(make())

    for n, text in enumerate(planted()):
        attempt(lambda text=text: client.fetch_ticker(text))
        attempt(lambda text=text: client.create_order(text, text, text, 1, 50))
        attempt(lambda text=text: client.create_order(SYMBOL, "limit", "buy", 1, 50, {"clientOrderId": text}))
        attempt(lambda text=text: client.cancel_order(text, SYMBOL))
        attempt(lambda text=text: client.fetch_order(text, SYMBOL))
        attempt(
            lambda text=text: client.private_post_order(
                {"symbol": text, "side": text, "type": text, "quantity": "1", "newClientOrderId": text}
            )
        )
        attempt(lambda text=text: client.edit_order(text, text, text, text, 1, 50))
        if n == 3:
            watch.halt(f"key {OTHER_KEY} secret {SECRET} signature={SIGNATURE}", by=f"me-{SECRET}")
        if n == 6:
            watch.resume(f"key {OTHER_KEY} signature={SIGNATURE}", by=SECRET)
    watch.halt(SECRET)
    assert everything(watch) == {}


def test_what_exceptions_and_answers_say_appears_nowhere(
    blocking, venue, make_bot, watch_over, application, everything, lenient
):
    ccxt = blocking.ccxt

    class Mine(ccxt.binance):
        """A venue that echoes the request, and a transport that prints it."""

        said: list = []  # noqa: RUF012

        def fetch_ticker(self, symbol, params={}):  # noqa: B006
            raise ccxt.ExchangeError(f"binance GET {self.said[0]}")

        def fetch_balance(self, params={}):  # noqa: B006
            raise RuntimeError({"url": self.said[0]}, self.said[0])

        def create_order(self, symbol, type, side, amount, price=None, params={}):  # noqa: B006
            echo = self.said[0]
            return {"id": echo, "clientOrderId": echo, "symbol": echo, "status": echo, "side": echo, "type": echo,
                    "info": {"echo": echo}, "trades": [{"id": echo, "order": echo, "symbol": echo, "side": "buy",
                    "amount": 1, "price": 2, "fee": {"cost": 1, "currency": echo}}]}  # fmt: skip

    place = venue()
    client = blocking.client(place, Mine, secret=SECRET, apiKey=OTHER_KEY)
    watch = watch_over(make_bot(client), clock=place.clock, **application.settings)
    for text in planted():
        client.said = [text]
        for call in (
            client.fetch_ticker,
            lambda s: client.fetch_balance(),
            lambda s: client.create_order(s, "a", "b", 1),
        ):
            with contextlib.suppress(Exception):
                call(SYMBOL)
    assert everything(watch) == {}


@pytest.mark.parametrize("attribute", ["apiKey", "secret", "password", "uid", "privateKey", "walletAddress", "token"])
def test_a_key_that_is_set_after_the_client_was_found_is_known_too(
    blocking, venue, make_bot, watch_over, application, attribute
):
    late = secrets.token_hex(16)

    class Mine(blocking.ccxt.binance):
        """A venue that names the key without a word that would tell what it is."""

        def fetch_ticker(self, symbol, params={}):  # noqa: B006
            raise blocking.ccxt.ExchangeError(f"nothing for {late} here")

    client = blocking.client(venue(), Mine)
    watch_over(make_bot(client), **application.settings)
    setattr(client, attribute, late)
    with pytest.raises(blocking.ccxt.ExchangeError, match=late):
        client.fetch_ticker(SYMBOL)
    tradewatch.shutdown()
    [made] = application.calls()
    assert made["error"] == "ExchangeError: nothing for *** here"


def test_a_path_that_carries_a_token_and_a_class_that_is_named_by_a_key_show_neither(
    blocking, venue, make_bot, watch_over, application, everything
):
    client = blocking.client(venue(), secret=SECRET, apiKey=OTHER_KEY)
    watch = watch_over(make_bot(client), **application.settings)
    client.urls["api"] = {name: f"{url};token={SIGNATURE}" for name, url in client.urls["api"].items()}
    with pytest.raises(blocking.ccxt.BaseError):
        client.fetch_time()
    named = type(f"No{SECRET}", (Exception,), {})

    def sign(*args, **kwargs):
        raise named

    client.sign = sign
    with pytest.raises(named):
        client.fetch_time()
    assert everything(watch) == {}


def test_the_real_requests_of_a_session_leave_no_key_or_signature(
    api, venue, make_bot, watch_over, application, tmp_path, caplog, lenient
):
    """The signed URL is in the text of ccxt's own exceptions for a 503."""
    caplog.set_level(logging.DEBUG, "tradewatch")
    place = venue(({"every": 3}, {"kind": "server_error", "status": 503}))
    client = api.client(place)
    signatures = []
    sign = client.sign

    def remember(*args, **kwargs):
        request = sign(*args, **kwargs)
        for part in (request["url"], request["body"] or ""):
            if "signature=" in str(part):
                signatures.append(str(part).partition("signature=")[2][:64])
        return request

    client.sign = remember
    watch = watch_over(make_bot(client), clock=place.clock, **application.settings)
    errors = []
    for n in range(12):
        try:
            api.do(client.fetch_balance() if n % 2 else client.create_order(SYMBOL, "market", "buy", 1))
        except api.ccxt.BaseError as error:
            errors.append(str(error))
    assert any("signature=" in error for error in errors)
    tradewatch.shutdown()
    text = "\n".join(
        [
            repr(watch.status()),
            repr(application.reader.get_metrics_data()),
            *(s.to_json() for s in application.spans()),
            *(r.getMessage() for r in caplog.records if r.name.startswith("tradewatch")),
            *(p.read_bytes().decode("latin-1") for p in (tmp_path / "state").rglob("*") if p.is_file()),
        ]
    )
    assert signatures
    assert [s for s in {*signatures, KEY, "paper-secret"} if s in text] == []


def test_an_account_is_named_by_a_hash_that_tells_nothing(blocking, venue, make_bot, watch_over, application, tmp_path):
    place = venue()
    client = blocking.client(place)
    bot = make_bot(client)
    names = []
    for folder in ("a", "b", "a"):
        watch = watch_over(bot, state_dir=tmp_path / folder, clock=place.clock, **application.settings)
        client.create_order(SYMBOL, "market", "buy", 1)
        tradewatch.shutdown()
        names.append({p.account for p in watch.status().portfolio.positions})
    assert names[0] == names[2] != names[1]
    assert all(len(name) == 10 and KEY not in name for found in names for name in found)
    with contextlib.closing(sqlite3.connect(tmp_path / "a" / "events.db")) as store:
        rows = store.execute("SELECT * FROM sqlite_master").fetchall()
    assert rows
