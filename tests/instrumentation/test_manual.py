"""What the bot itself tells: spans, decisions and instruments, on whatever providers are in use."""

import asyncio
import doctest
from decimal import Decimal

import pytest

import tradewatch
from tradewatch import manual, mixin, registry, watch

SYMBOL = "BTC/USDT"


@pytest.fixture
def watched(venue, api, make_bot, watch_over, application):
    """A client of a bot that is watched, with the application's providers."""
    place = venue()
    client = api.client(place)
    watch = watch_over(make_bot(client), clock=place.clock, name="grid", **application.settings)
    return client, watch


def spans(application):
    tradewatch.shutdown()
    return {span.name: span for span in application.spans()}


def test_calls_in_a_span_are_under_it(watched, api, application):
    with tradewatch.span("rebalance", symbols=3, target=Decimal("0.25"), note=None) as span:
        span.add_event("began")
        api.do(watched[0].fetch_ticker(SYMBOL))
    made = spans(application)
    outer, call = made["rebalance"], made["fetch_ticker binance"]
    assert call.parent.span_id == outer.context.span_id
    assert dict(outer.attributes) == {"trading.bot": "grid", "symbols": 3, "target": "0.25"}
    assert outer.start_time <= call.start_time <= call.end_time <= outer.end_time
    assert [event.name for event in outer.events] == ["began"]


def test_a_decision_is_the_parent_of_the_orders_that_follow(watched, api, application):
    with tradewatch.decision("reversion", z_score=-2.5, spread_bp=3, confident=True):
        api.do(watched[0].create_order(SYMBOL, "market", "buy", 1))
    made = spans(application)
    decision = made["decision reversion"]
    assert made["create_order binance"].parent.span_id == decision.context.span_id
    assert dict(decision.attributes) == {
        "trading.bot": "grid",
        "trading.strategy": "reversion",
        "trading.decision.input.z_score": -2.5,
        "trading.decision.input.spread_bp": 3,
        "trading.decision.input.confident": True,
    }


def test_an_asynchronous_block_holds_its_own_tasks_alone(watched, application):
    async def one(name):
        async with tradewatch.span(name):
            await asyncio.sleep(0.01)
            with tradewatch.span(f"{name} inner"):
                await asyncio.sleep(0.01)

    async def both():
        await asyncio.gather(one("first"), one("second"))

    asyncio.run(both())
    made = spans(application)
    for name in ("first", "second"):
        assert made[f"{name} inner"].parent.span_id == made[name].context.span_id
        assert made[name].parent is None


def test_an_error_in_a_span_goes_on_to_the_bot_and_shows_no_secret(watched, application):
    secret = watched[0].secret
    error = ValueError(f"GET /api?signature=abc&by={secret}")
    with pytest.raises(ValueError, match="signature") as raised, tradewatch.span("sync", token=secret):
        raise error
    assert raised.value is error
    made = spans(application)["sync"]
    assert made.status.description == "ValueError: GET /api?signature=***&by=***"
    assert dict(made.attributes) == {"trading.bot": "grid", "token": "***", "error.type": "ValueError"}
    assert made.events == ()


def test_a_cancelled_block_is_no_error(watched, application):
    async def cancelled():
        async with tradewatch.span("waiting"):
            asyncio.current_task().cancel()
            await asyncio.sleep(1)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
    assert spans(application)["waiting"].status.status_code.name == "UNSET"


def test_instruments_of_the_bots_own(watched, application):
    signals = tradewatch.counter("signals", "{signal}", "Signals seen.")
    regime, took = tradewatch.gauge("regime"), tradewatch.histogram("model.duration", "s")
    for amount in (2, 1.5, Decimal("0.5"), -1, float("nan"), "3", None, True):
        signals.add(amount, side="buy")
    signals.add(symbol=SYMBOL)
    regime.set(1)
    regime.set(-0.25)
    for value in (0.5, 0.25, -1, None):
        took.record(value)
    points = application.points()
    buys, other = points["signals"][(("side", "buy"),)], points["signals"][(("symbol", SYMBOL),)]
    assert (buys.value, other.value) == (5, 1)
    assert points["regime"][()].value == -0.25
    durations = points["model.duration"][()]
    assert (durations.count, durations.sum) == (2, 0.75)
    assert durations.explicit_bounds[:2] == (0.0005, 0.001), "seconds have buckets for seconds"


def test_an_instrument_made_before_the_bot_follows_it_to_the_next(venue, blocking, make_bot, watch_over, scrape):
    signals = tradewatch.counter("signals")
    signals.add(7)
    place = venue()
    for _ in range(2):
        bot = make_bot(blocking.client(place))
        watch = watch_over(bot, clock=place.clock)
        signals.add(2)
        found = {name: value for (name, _), value in scrape(watch.status().telemetry.endpoint).items()}
        assert found["signals_total"] == 2
        tradewatch.uninstrument(bot)
    signals.add(7)


@pytest.mark.parametrize("name", ["", "1st", "a b", "ü", None, "x" * 256])
def test_a_name_that_opentelemetry_does_not_take_is_an_error_at_once(name):
    with pytest.raises(ValueError, match="accepted: a letter"):
        tradewatch.counter(name)


def test_without_a_watched_bot_nothing_is_recorded_and_nothing_fails():
    with tradewatch.span("alone") as span:
        assert not span.is_recording()
    tradewatch.gauge("alone").set(1)


class Hostile:
    def __str__(self):
        raise RuntimeError("no")


def test_what_cannot_be_told_is_left_out(watched, application, lenient):
    with tradewatch.span("odd", hostile=Hostile(), raw=b"\xff", ok=1):
        pass
    assert dict(spans(application)["odd"].attributes) == {"trading.bot": "grid", "raw": "b'\\xff'", "ok": 1}


@pytest.mark.parametrize("module", [manual, mixin, registry, watch], ids=lambda one: one.__name__)
def test_the_examples_of_the_docstrings_run(module, blocking, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    found = doctest.DocTestFinder(exclude_empty=True).find(
        module, globs={"tradewatch": tradewatch, "ccxt": blocking.ccxt}
    )
    tests = [test for test in found if test.examples]
    assert tests
    for test in tests:
        assert doctest.DocTestRunner().run(test) == (0, len(test.examples))
        tradewatch.shutdown()


def test_a_block_that_is_closed_in_another_context_ends_and_logs_nothing(watched, application, caplog):
    """An asynchronous generator that is left is closed by the loop, in a task of its own."""

    async def ticks():
        with tradewatch.span("ticks"):
            yield 1
            yield 2

    async def first_alone():
        async for _ in ticks():
            break

    asyncio.run(first_alone())
    assert "ticks" in spans(application)
    assert caplog.messages == []


def test_names_and_keys_of_the_bots_own_show_no_secret_to_an_applications_exporters(watched, application):
    secret, token = watched[0].secret, "tok9a8b7c6d5e4f3a2b"
    with tradewatch.span(f"by {secret}", **{f"of {secret}": 1}, api_key=token):
        tradewatch.counter("made").add(1, api_key=token)
    with tradewatch.decision(f"signature={token}", token=token):
        pass
    made = spans(application)
    assert {name: dict(span.attributes) for name, span in made.items()} == {
        "by ***": {"trading.bot": "grid", "of ***": 1, "api_key": "***"},
        "decision signature=***": {
            "trading.bot": "grid",
            "trading.strategy": "signature=***",
            "trading.decision.input.token": "***",
        },
    }
    assert [dict(key) for key in application.points()["made"]] == [{"api_key": "***"}]
