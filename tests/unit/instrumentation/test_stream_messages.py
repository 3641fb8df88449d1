"""What a raw message says of itself. The messages are in the form of the venues' documents, shortened."""

import weakref

import pytest

from tradewatch.instrumentation.ccxt.streams.connections import address
from tradewatch.instrumentation.ccxt.streams.wire import said
from tradewatch.telemetry.cell import Cells
from tradewatch.telemetry.journal import Journal
from tradewatch.telemetry.traffic import CHANNELS, Connection, Traffic

MS = 10**6
AT = 1_672_515_782_136 * MS


@pytest.mark.parametrize(
    ("message", "channel", "event_ns"),
    [
        # Binance: raw, combined, a list, in microseconds, wrapped by the websocket API, and two that name nothing.
        ({"e": "24hrTicker", "E": 1672515782136, "s": "BNBBTC"}, "ticker", AT),
        ({"stream": "btcusdt@trade", "data": {"e": "trade", "E": 1672515782136}}, "trades", AT),
        ([{"e": "24hrMiniTicker", "E": 1672515782136}, {"e": "24hrMiniTicker", "E": 1}], "ticker", AT),
        ({"stream": "!ticker@arr", "data": [{"e": "24hrTicker", "E": 1672515782136}]}, "ticker", AT),
        ({"e": "depthUpdate", "E": 1672515782136000}, "order_book", AT),
        ({"subscriptionId": 0, "event": {"e": "executionReport", "E": 1672515782136, "x": "NEW"}}, "orders", AT),
        ({"e": "executionReport", "E": 1672515782136, "x": "TRADE"}, "my_trades", AT),
        ({"e": "ORDER_TRADE_UPDATE", "E": 1672515782136, "o": {"x": "TRADE"}}, "my_trades", AT),
        ({"e": "outboundAccountPosition", "E": 1672515782136, "B": []}, "balance", AT),
        ({"e": "kline", "E": "1672515782136"}, "ohlcv", None),
        ({"u": 400900217, "s": "BNBUSDT", "b": "25.35", "B": "31.21", "a": "25.36", "A": "40.66"}, "ticker", None),
        ({"lastUpdateId": 160, "bids": [], "asks": []}, "order_book", None),
        ({"result": None, "id": 1}, "other", None),
        # Kraken, websocket v2.
        ({"channel": "ticker", "type": "update", "data": [{"symbol": "ALGO/USD"}]}, "ticker", None),
        (
            {"channel": "book", "type": "update", "data": [{"timestamp": "2022-12-31T19:43:02.136Z"}]},
            "order_book",
            AT,
        ),
        (
            {"channel": "ohlc", "type": "update", "timestamp": "2022-12-31T19:43:02.136000123Z", "data": [{}]},
            "ohlcv",
            AT,
        ),
        ({"channel": "trade", "type": "snapshot", "data": [{"timestamp": "2022-12-31T19:43:02.136Z"}]}, "trades", None),
        ({"channel": "executions", "type": "update", "data": [{"exec_type": "trade"}]}, "my_trades", None),
        ({"channel": "executions", "type": "update", "data": [{"exec_type": "filled"}]}, "orders", None),
        ({"channel": "heartbeat"}, "other", None),
        ({"method": "subscribe", "result": {"channel": "ticker"}, "success": True}, "other", None),
        # Bybit v5 and OKX v5.
        ({"topic": "orderbook.50.BTCUSDT", "type": "delta", "ts": 1672515782136}, "order_book", AT),
        ({"topic": "orderbook.50.BTCUSDT", "type": "snapshot", "ts": 1672515782136}, "order_book", None),
        ({"topic": "publicTrade.BTCUSDT", "ts": 1672515782136}, "trades", AT),
        ({"topic": "execution", "creationTime": 1672515782136}, "my_trades", AT),
        ({"topic": "wallet", "creationTime": "never"}, "balance", None),
        ({"arg": {"channel": "tickers"}, "data": [{"ts": "1672515782136"}]}, "ticker", AT),
        ({"arg": {"channel": "orders"}, "data": [{"ordId": "1", "uTime": "1672515782136"}]}, "orders", AT),
        ({"arg": {"channel": "account"}, "data": [{"uTime": "1672515782136"}]}, "balance", None),
        ({"arg": {"channel": "candle1m"}, "data": [["1672515782136", "1"]]}, "ohlcv", None),
        # What no venue should send.
        ("pong", "other", None),
        ([], "other", None),
        (None, "other", None),
        ({"e": "trade", "E": True}, "trades", None),
        ({"channel": "book", "data": [{"timestamp": "yesterday"}]}, "order_book", None),
        ({"channel": "book", "data": [{"timestamp": 5}]}, "order_book", None),
        ({"arg": {"channel": "tickers"}, "data": [{"ts": "²"}]}, "ticker", None),
    ],
)
def test_a_message_names_its_channel_and_its_time(message, channel, event_ns):
    assert said(message) == (channel, event_ns)


def test_an_address_holds_no_secret_and_stays_the_same_when_one_changes():
    key = "pqia91ma19a5s61cv6a81va65sdf19v8a65a1a5s61cv6a81va65sdf19v8a65a1"
    assert address(f"wss://stream.binance.com:9443/ws/{key}") == "stream.binance.com:9443/ws"
    assert address("wss://user:word@ws.kraken.com/v2?token=abc") == "ws.kraken.com/v2"


@pytest.fixture
def feed():
    return Traffic(Cells()).feed("binance")


def test_a_connection_ends_once(feed):
    line = Connection("a")
    feed.open(line)
    feed.dropped(line)
    feed.dropped(line)
    feed.closed(line)
    assert (feed.venue.drops, feed.venue.reconnects, feed.connections()) == ([1], [0], [])
    again, other = Connection("a"), Connection("b")
    feed.open(other)
    feed.open(again)
    assert feed.venue.reconnects == [1]
    feed.closed(again)
    feed.dropped(again)
    assert feed.venue.drops == [1]


def test_the_connection_that_is_silent_longest_says_how_old_a_channel_is(feed):
    quiet, talking = Connection("a"), Connection("b")
    feed.watch("ticker")
    since = feed.watched["ticker"]
    assert dict(feed.ages_ns(since + 7)) == {"ticker": 7}
    for line in (quiet, talking):
        feed.open(line)
        feed.message(line, "ticker", None)
    feed.message(talking, "ticker", None)
    quiet.last_ns["ticker"], talking.last_ns["ticker"] = since + 10, since + 50
    assert dict(feed.ages_ns(since + 60)) == {"ticker": 50}
    feed.dropped(quiet)
    assert dict(feed.ages_ns(since + 60)) == {"ticker": 10}
    # The last of them is gone, and nobody has closed it: the silence goes on, also over a new line that says nothing.
    feed.dropped(talking)
    feed.open(Connection("b"))
    assert dict(feed.ages_ns(since + 90)) == {"ticker": 40}
    feed.close()
    assert dict(feed.ages_ns(since + 90)) == {}


def test_a_connection_that_nobody_has_any_more_is_not_open(feed):
    line = Connection("a")
    feed.open(line)
    gone = weakref.ref(line)
    del line
    assert gone() is None
    assert feed.connections() == []


def test_lost_addresses_are_bounded(feed):
    for n in range(1_500):
        line = Connection(str(n))
        feed.open(line)
        feed.dropped(line)
    assert len(feed._lost) == 1_000
    assert feed._connections == {}


def test_five_thousand_symbols_wait_once_each_and_make_as_many_series_as_one():
    journal, traffic = Journal(), Traffic(Cells())
    feed = traffic.feed("binance")
    lines = [Connection(str(n)) for n in range(200)]
    for line in lines:
        feed.open(line)
    for channel in CHANNELS:
        feed.watch(channel)
    for n in range(3):
        for symbol in range(5_000):
            journal.quote((f"S{symbol}/USDT", False), (str, n))
            for channel in CHANNELS:
                feed.message(lines[symbol % 200], channel, n)
    assert list(journal.quotes()) == [(str, 2)] * 5_000
    assert list(journal.quotes()) == []
    readings = list(traffic.readings())
    # Messages and ages by channel; connections, drops and reconnects.
    assert len(readings) == 2 * len(CHANNELS) + 3
    assert {r.value for r in readings if r.metric.name == "trading.stream.messages"} == {15_000}
    # Of lags there is room for 50,000; the others are counted at once.
    assert sum(1 for _ in traffic.lags()) == 50_000
    assert sum(cell.total for cell in feed.venue.lags.values()) == 9 * 15_000 - 50_000
