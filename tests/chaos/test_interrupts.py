"""A signal's handler that raises in the middle of tradewatch's own work for a call: a time-out of the bot's, say.

Python runs handlers between two steps of the interpreter, mostly where a function begins; each such place is tried.
"""

import os
import pkgutil
import socket
import sys
import threading

import pytest
from opentelemetry import context

import tradewatch
from tradewatch.control.address import SOCKET
from tradewatch.control.client import ask
from tradewatch.instrumentation.patch import original_of
from tradewatch.telemetry.journal import Journal

SYMBOL = "BTC/USDT"
OURS = os.path.dirname(tradewatch.__file__)


class TimedOut(BaseException):
    """What the bot's handler raises."""


def interrupted(make, at):
    """Raise where the `at`-th of our functions begins; how many began, whether it was raised, and what arrived."""
    began, arrived = 0, None

    def begins(frame, event, argument):
        nonlocal began
        if frame.f_code.co_filename.startswith(OURS):
            began += 1
            if began == at:
                sys.settrace(None)
                raise TimedOut

    sys.settrace(begins)
    try:
        make()
    except BaseException as error:
        arrived = error
    finally:
        sys.settrace(None)
    return began, arrived


@pytest.mark.parametrize(("method", "step"), [("fetch_ticker", 1), ("create_order", 2)])
def test_a_handler_that_raises_within_a_call_leaves_nothing_behind(
    blocking, venue, make_bot, watch_over, application, until, method, step
):
    place = venue()
    client = blocking.client(place)
    client.load_markets()
    watch = watch_over(make_bot(client), clock=place.clock, **application.settings)
    arguments = (SYMBOL,) if method == "fetch_ticker" else (SYMBOL, "market", "buy", 0.1)

    def make():
        getattr(client, method)(*arguments)

    def counted():
        return next(o.calls for o in watch.status().operations if o.operation == method)

    make()
    places, _ = interrupted(make, None)
    assert places > 20
    for at in range(1, places, step):
        _, arrived = interrupted(make, at)
        assert type(arrived) is TimedOut, at
        assert context.get_current() == {}, at
        before = counted()
        make()
        assert counted() == before + 1, at
    watch.halt("seen enough")
    with pytest.raises(tradewatch.OrderRefused):
        client.create_order(SYMBOL, "market", "buy", 0.1)
    place.clock.pass_seconds(60)  # of an order whose table entry was interrupted nobody hears again
    until(lambda: watch.status().breaker.confirmed)


def interrupted_once(real):
    """`real`, where the handler raises as it begins on the main thread for the first time."""
    raised = []

    def begins(*arguments):
        if threading.current_thread() is threading.main_thread() and not raised:
            raised.append(real)
            raise TimedOut
        return real(*arguments)

    return begins


@pytest.mark.parametrize("place", ["cell.Cell.count", "journal.Journal.append", "journal.Wake.set"])
def test_a_handler_that_raises_as_an_order_is_written_down_costs_no_fill_and_books_none_twice(
    blocking, venue, make_bot, watch_over, monkeypatch, until, place
):
    place, exchange = f"tradewatch.telemetry.{place}", venue()
    bot = make_bot(blocking.client(exchange))
    bot.exchange.load_markets()
    watch = watch_over(bot, clock=exchange.clock)
    monkeypatch.setattr(place, interrupted_once(pkgutil.resolve_name(place)))
    with pytest.raises(TimedOut):
        bot.exchange.create_order(SYMBOL, "market", "buy", 0.1)
    bot.exchange.create_order(SYMBOL, "market", "buy", 0.2)
    until(lambda: sum(watch.status().orders.values()) == 2)
    assert watch.status().orders == {"filled": 2}
    assert watch.status().portfolio.fills == 2
    assert watch.status().breaker.in_flight == 0


@pytest.mark.parametrize(
    "place", ["transport._note", "observe._orders", "observe.Seen.trade", "observe.fills_of_order"]
)
def test_an_order_whose_answer_was_being_read_as_a_handler_raised_is_unknown_until_it_is_told_of_again(
    blocking, venue, make_bot, watch_over, monkeypatch, until, place
):
    """It was answered, and nobody has read the answer to its end: at the venue it may be."""
    exchange, place = venue(), f"tradewatch.instrumentation.ccxt.{place}"
    bot = make_bot(blocking.client(exchange))
    bot.exchange.load_markets()
    watch = watch_over(bot, clock=exchange.clock)
    monkeypatch.setattr(place, interrupted_once(pkgutil.resolve_name(place)))
    with pytest.raises(TimedOut):
        bot.exchange.create_order(SYMBOL, "market", "buy", 0.1)
    until(lambda: watch.status().orders)
    assert watch.status().orders == {"unknown": 1}
    assert watch.status().attempts
    assert len(watch.status().breaker.unknown) == 1
    bot.exchange.fetch_my_trades(SYMBOL)
    until(lambda: watch.status().portfolio.fills == 1)


def test_a_handler_that_raises_as_trades_are_written_down_costs_none(
    blocking, venue, make_bot, watch_over, monkeypatch, until
):
    exchange = venue()
    bot = make_bot(blocking.client(exchange))
    bot.exchange.load_markets()
    bot.exchange.create_order(SYMBOL, "market", "buy", 0.1)
    watch = watch_over(bot, clock=exchange.clock)
    assert bot.exchange.fetch_my_trades(SYMBOL, since=exchange.clock.now_ns() // 1_000_000 + 60_000) == []

    monkeypatch.setattr(Journal, "append", interrupted_once(Journal.append))
    with pytest.raises(TimedOut):
        bot.exchange.fetch_my_trades(SYMBOL)
    until(lambda: watch.status().portfolio.fills == 1)


PLACES = [
    "tradewatch.watch.Clients.__init__",
    "tradewatch.watch.Watch.adopt",
    "tradewatch.runtime.safety.SafetyThread.start",
    "tradewatch.runtime.service.Service.start",
]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.rpartition(".")[0].rpartition(".")[2])
def test_an_instrument_that_did_not_come_to_its_end_can_be_called_again(
    blocking, venue, make_bot, watch_over, monkeypatch, until, place
):
    """In a notebook, say: no half of a watch is left that would be taken for a whole one, nor its port and folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    bot = make_bot(blocking.client(venue()))

    def fails(*arguments, **named):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(place, fails)
        with pytest.raises(KeyboardInterrupt):
            watch_over(bot, port=port)
    watch = watch_over(bot, port=port)
    assert watch.status().telemetry.endpoint == f"http://127.0.0.1:{port}/metrics"
    bot.exchange.fetch_ticker(SYMBOL)
    assert [o.operation for o in watch.status().operations] == ["fetch_ticker"]
    assert watch.status().safety_alive
    assert watch.status().service_alive
    watch.halt("seen enough")
    with pytest.raises(tradewatch.OrderRefused):
        bot.exchange.create_order(SYMBOL, "market", "buy", 0.1)
    until(lambda: watch.status().breaker.confirmed)


def test_where_the_control_socket_has_no_thread_it_is_taken_away_again(
    blocking, venue, make_bot, watch_over, monkeypatch, tmp_path
):
    bot, start = make_bot(blocking.client(venue())), threading.Thread.start

    def fails(thread):
        if thread.name == "tradewatch-control":
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fails)
        # The error holds the watch, as that of a notebook's last cell does.
        with pytest.raises(RuntimeError, match="can't start new thread") as kept:
            watch_over(bot, state_dir=tmp_path)
    assert not (tmp_path / SOCKET).exists()
    assert watch_over(bot, state_dir=tmp_path).status().notes == ()
    assert ask(tmp_path, {"command": "status"}, 20).error is None
    assert kept.value


@pytest.mark.parametrize("place", ["tradewatch.memory.Memory.finish", "tradewatch.runtime.service.Service.stop"])
def test_an_uninstrument_that_was_interrupted_lets_the_clients_and_the_folder_go(
    blocking, venue, make_bot, watch_over, monkeypatch, place
):
    bot = make_bot(blocking.client(venue()))
    watch_over(bot)
    real = pkgutil.resolve_name(place)

    def interrupted(*arguments):
        real(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(place, interrupted)
        with pytest.raises(KeyboardInterrupt):
            tradewatch.uninstrument(bot)
    assert original_of(type(bot.exchange).fetch_ticker) is None
    watch = watch_over(bot)
    bot.exchange.fetch_ticker(SYMBOL)
    assert [o.operation for o in watch.status().operations] == ["fetch_ticker"]
