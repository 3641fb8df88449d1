"""tradewatch's own parts fail, one after the other, at every call: the bot does not notice, and a halt still holds."""

import asyncio

import ccxt
import pytest

import tradewatch

SYMBOL = "BTC/USDT"


class Bug(Exception):  # noqa: N818  it names what it stands for
    """A failure of tradewatch's own."""


def bug(*args, **kwargs):
    raise Bug("a bug of tradewatch")


# What runs on the bot's thread around a call, by module and name.
ON_THE_WAY = [
    "telemetry.probe:Probe.start",
    "telemetry.probe:Probe.end",
    "telemetry.probe:LiveCall",
    "telemetry.probe:get_context",
    "telemetry.probe:set_current",
    "telemetry.probe:finish",
    "telemetry.probe:Operation.__init__",
    "telemetry.probe:Operation.measured",
    "telemetry.live:LiveCall.own",
    "telemetry.probe:CallSpan",
    "telemetry.spans:Spans.real",
    "telemetry.spans:Spans.finish",
    "instrumentation.patch:LiveCall",
    "instrumentation.patch:get_current",
    "instrumentation.patch:get_context",
    "instrumentation.patch:set_current",
    "instrumentation.patch:CallSpan",
    "instrumentation.patch:BUCKETS",
    "instrumentation.patch:finish",
    "telemetry.cell:Cell.count",
    "telemetry.cell:Cells.cell",
    "telemetry.journal:Journal.append",
    "instrumentation.ccxt.calls:label",
    "instrumentation.ccxt.calls:argument",
    "instrumentation.ccxt.calls:order_answer",
    "instrumentation.ccxt.calls:error_type",
    "instrumentation.ccxt.calls:describe",
    "instrumentation.ccxt.calls:failed_order_status",
    "instrumentation.ccxt.calls:is_cancellation",
    "instrumentation.ccxt.calls:secrets_of",
    "instrumentation.ccxt.calls:_endpoint_name",
    "instrumentation.ccxt.orders:requests",
    "instrumentation.ccxt.orders:endpoint_request",
    "instrumentation.ccxt.orders:_request",
    "instrumentation.ccxt.observe:report",
    "instrumentation.ccxt.observe:fill",
    "instrumentation.ccxt.observe:fills_of_order",
    "instrumentation.ccxt.observe:exact",
    "instrumentation.ccxt.observe:quote",
    "instrumentation.ccxt.observe:best",
    "instrumentation.ccxt.observe:_mark",
    "instrumentation.ccxt.transport:Try",
    "instrumentation.ccxt.transport:argument",
    "instrumentation.ccxt.transport:_over",
    "instrumentation.ccxt.transport:_note",
    "telemetry.live:urlsplit",
    "telemetry.live:_endpoint",
    "instrumentation.ccxt.transport:_nonce",
    "instrumentation.ccxt.transport:_is_dry",
    "instrumentation.ccxt.transport:_without_others",
    "instrumentation.ccxt.transport:is_refusal",
    "instrumentation.ccxt.transport:nonce_error",
    "instrumentation.ccxt.heard:Heard.answer",
    "instrumentation.ccxt.heard:Heard._read",
    "instrumentation.ccxt.endpoints:Endpoints.says",
    "instrumentation.ccxt.calls:never_orders",
    "instrumentation.ccxt.endpoints:is_test",
    "instrumentation.ccxt.observe:told_without_id",
    "instrumentation.ccxt.calls:is_doubtful",
    "telemetry.live:Attempt",
    "instrumentation.ccxt.transport:error_type",
    "instrumentation.ccxt.transport:is_cancellation",
    "breaker.gate:OrderGate.enter",
    "instrumentation.ccxt.orders:sent_client_id",
    "breaker.gate:OrderGate.amend",
    "breaker.gate:OrderGate.leave",
    "runtime.scrub:Scrubber.learn",
    "runtime.scrub:Scrubber.text",
]


@pytest.fixture
def broken(monkeypatch):
    """Breaks one part of tradewatch."""

    def make(where, how=bug):
        module, _, name = where.partition(":")
        monkeypatch.setattr(f"tradewatch.{module}.{name}", how)

    return make


def session(api, client):
    """What a bot does, as a list of what it got and what was raised."""
    got = []
    for make in (
        lambda: client.fetch_ticker(SYMBOL),
        lambda: client.fetch_balance(),
        # From its second call on a reading method takes the short way.
        lambda: client.fetch_ticker(SYMBOL),
        lambda: client.fetch_balance(),
        lambda: client.create_order(SYMBOL, "market", "buy", 1, None, {"clientOrderId": "one"}),
        lambda: client.createOrder(SYMBOL, "limit", "sell", 1, 150, {"clientOrderId": "two"}),
        lambda: client.create_order(SYMBOL, "market", "sell", 500),
        lambda: client.create_order("NO/SUCH", "market", "sell", 1),
        lambda: client.fetch_my_trades(SYMBOL),
        lambda: client.private_get_openorders({"symbol": "BTCUSDT"}),
        lambda: client.cancel_all_orders(SYMBOL),
        lambda: client.private_post_order({"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "1"}),
        lambda: client.cancel_order("4711", SYMBOL),
    ):
        try:
            got.append(api.do(make()))
        except api.ccxt.BaseError as error:
            got.append((type(error), error.args))
    return got


@pytest.mark.parametrize("where", ON_THE_WAY)
def test_the_bot_does_not_notice_a_bug_of_ours(
    blocking, awaiting, venue, make_bot, watch_over, application, broken, lenient, where
):
    for api in (blocking, awaiting):
        untouched = venue()
        expected = session(api, api.client(untouched))
        place = venue()
        client = api.client(place)
        with pytest.MonkeyPatch.context() as patch:
            module, _, name = where.partition(":")
            patch.setattr(f"tradewatch.{module}.{name}", bug)
            bot = make_bot(client)
            try:
                watch_over(bot, clock=place.clock, **application.settings)
            except Bug:
                pytest.fail("instrument() raised a failure of ours")
            got = session(api, client)
        assert without_times(got) == without_times(expected)
        assert [(e.operation, e.status) for e in place.log()] == [(e.operation, e.status) for e in untouched.log()]
        tradewatch.shutdown()


def without_times(value):
    """Results without what differs from one real moment to the next."""
    if isinstance(value, dict):
        skipped = {"timestamp", "datetime", "updateTime", "time", "clientOrderId", "transactTime"}
        return {k: without_times(v) for k, v in value.items() if k not in skipped}
    if isinstance(value, (list, tuple)):
        return [without_times(v) for v in value]
    return value


@pytest.mark.parametrize("where", [*ON_THE_WAY, "breaker.gate:OrderGate.admit", "breaker.status:_order"])
@pytest.mark.parametrize("order", ["unified", "implicit"])
def test_a_halt_holds_whatever_else_of_ours_fails(
    blocking, venue, make_bot, watch_over, application, broken, lenient, where, order
):
    place = venue()
    client = blocking.client(place)
    client.load_markets()
    watch = watch_over(make_bot(client), clock=place.clock, **application.settings)
    watch.halt("news")
    broken(where)
    before = len(place.log())
    implicit = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "1"}
    with pytest.raises(ccxt.InvalidOrder):
        client.create_order(SYMBOL, "market", "buy", 1) if order == "unified" else client.private_post_order(implicit)
    assert len(place.log()) == before


def test_a_result_is_the_very_object_that_ccxt_made(api, make_bot, watch_over, application):
    marker, error = object(), RuntimeError("a bug of the bot")

    class Mine(api.ccxt.binance):
        if api.name == "sync":

            def fetch_ticker(self, symbol, params={}):  # noqa: B006
                if symbol == "raise":
                    raise error
                return marker

        else:

            async def fetch_ticker(self, symbol, params={}):  # noqa: B006
                await asyncio.sleep(0)
                if symbol == "raise":
                    raise error
                return marker

    client = api.client("http://127.0.0.1:9", Mine)
    watch = watch_over(make_bot(client), **application.settings)
    assert api.do(client.fetch_ticker("x")) is marker
    assert api.do(client.fetchTicker("x")) is marker
    outer = KeyError("outer")
    try:
        raise outer
    except KeyError:
        with pytest.raises(RuntimeError) as caught:
            api.do(client.fetch_ticker("raise"))
    assert caught.value is error
    assert error.args == ("a bug of the bot",)
    assert error.__cause__ is None
    assert error.__context__ is (outer if api.name == "sync" else error.__context__)
    assert not error.__suppress_context__
    assert not getattr(error, "__notes__", [])
    [operation] = watch.status().operations
    assert (operation.calls, operation.errors) == (3, 1)
    assert watch.status().errors == {"RuntimeError": 1} or watch.status().errors == {}


class HostileError(Exception):
    """Its texts raise, and so does looking at its arguments."""

    def __str__(self):
        raise Bug("str")

    __repr__ = __format__ = __hash__ = __eq__ = __str__

    @property
    def args(self):
        raise Bug("args")


class EndlessError(Exception):
    """Stands for one whose text takes for ever: it only notes that somebody asked."""

    asked = False

    def __str__(self):
        EndlessError.asked = True
        return "for ever"

    __repr__ = __str__


class MaskedError(Exception):
    @property
    def __class__(self):
        raise Bug("class")


@pytest.mark.parametrize("kind", [HostileError, EndlessError, MaskedError])
def test_an_exception_that_bites_reaches_the_bot_unchanged(blocking, make_bot, watch_over, application, kind, lenient):
    error = kind(EndlessError(), "said")

    class Mine(ccxt.binance):
        def fetch_ticker(self, symbol, params={}):  # noqa: B006
            raise error

        def create_order(self, *args, **kwargs):
            raise error

    client = blocking.client("http://127.0.0.1:9", Mine)
    watch = watch_over(make_bot(client), **application.settings)
    for call in (lambda: client.fetch_ticker(SYMBOL), lambda: client.create_order(SYMBOL, "market", "buy", 1)):
        try:
            call()
        except BaseException as caught:
            same = caught is error
        assert same, "another exception came out"
    assert sum(o.errors for o in watch.status().operations) == 2
    tradewatch.shutdown()
    assert sorted(c["attributes"]["error.type"] for c in application.calls()) == [kind.__name__] * 2
    assert not EndlessError.asked


def test_the_safety_thread_survives_what_it_meets(
    blocking, venue, make_bot, watch_over, application, broken, lenient, until
):
    place = venue()
    client = blocking.client(place)
    watch = watch_over(make_bot(client), clock=place.clock, **application.settings)
    with pytest.MonkeyPatch.context() as patch:
        for where in (
            "portfolio.portfolio.Portfolio.fill",
            "portfolio.portfolio.Portfolio.report",
            "portfolio.portfolio.Portfolio.mark",
            "portfolio.portfolio.Portfolio.balances",
            "portfolio.portfolio.Portfolio.snapshot",
            "rules.engine.Engine.tick",
            "telemetry.tally.Tally.readings",
            "breaker.breaker.Breaker.advance",
        ):
            patch.setattr(f"tradewatch.{where}", bug)
            client.fetch_ticker(SYMBOL)
            client.create_order(SYMBOL, "market", "buy", 1)
            until(lambda: lenient)
        assert watch.status().safety_alive
    client.create_order(SYMBOL, "market", "buy", 1)
    until(lambda: watch.status().portfolio.fills >= 1)
    assert watch.status().safety_alive
    assert watch.status().service_alive
    assert set(lenient) <= {"booking", "safety", "rules", "publish", "store"}


def test_the_service_threads_jobs_start_again(
    blocking, venue, make_bot, watch_over, application, monkeypatch, lenient, until
):
    import tradewatch.runtime.service as service

    monkeypatch.setattr(service, "_FIRST_RETRY_S", 0.01)
    place = venue()
    client = blocking.client(place)
    watch = watch_over(make_bot(client), clock=place.clock, **application.settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tradewatch.telemetry.emit.Emitter._drain", bug)
        until(lambda: lenient.get("telemetry", 0) > 1)
    client.fetch_time()
    until(lambda: application.calls())
    assert watch.status().service_alive
