import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewatch.paper.candles import random_candles, read_candles
from tradewatch.paper.market import Market
from tradewatch.paper.tape import bars, tape

SECOND_NS = 10**9
MINUTE_NS = 60 * SECOND_NS
ONE = 10**8
WALK = random_candles("100", 0, 30, seed=5, volatility_bp=40)
WALKED = Market("BTC/USDT", WALK, 3.0)
INSTANTS = st.integers(0, WALK.end_ns + MINUTE_NS)


def mids(market, start_ns, *seconds):
    return [market.quote(start_ns + round(second * SECOND_NS)).mid / ONE for second in seconds]


def test_a_candle_goes_to_the_nearer_extreme_first_and_on_to_the_next_open(rows):
    market = Market("BTC/USDT", rows((100, 110, 99, 105), (106, 107, 101, 104)), 0)
    assert mids(market, market.candles.start_ns, 0, 10, 20, 30, 40, 59.999, 60, 80, 100, 119.999) == [
        100, 99.5, 99, 104.5, 110, 105, 106, 107, 101, 104,
    ]  # fmt: skip


def test_an_equally_near_low_comes_first(rows):
    market = Market("BTC/USDT", rows((100, 101, 99, 100)), 0)
    assert mids(market, market.candles.start_ns, 20, 40) == [99, 101]


def test_after_the_last_candle_the_quote_stays_at_the_last_close(rows):
    market = Market("BTC/USDT", rows((100, 101, 99, 100.5)), 0)
    assert mids(market, market.candles.start_ns, 60, 6000) == [100.5, 100.5]


def test_before_the_first_candle_there_is_no_quote(rows):
    market = Market("BTC/USDT", rows((100, 101, 99, 100)), 0)
    with pytest.raises(ValueError, match="before the first candle"):
        market.quote(market.candles.start_ns - 1)


@given(INSTANTS)
def test_the_mid_lies_exactly_between_bid_and_ask_on_whole_ticks(at_ns):
    quote = WALKED.quote(at_ns)
    assert quote.bid + quote.ask == 2 * quote.mid
    assert quote.bid % (ONE // 100) == quote.ask % (ONE // 100) == 0
    assert (quote.ask - quote.bid) / quote.mid >= 3 / 10_000


@settings(max_examples=300)
@given(
    st.integers(1, 150), INSTANTS, INSTANTS, st.sampled_from(["BUY", "SELL"]),
    st.sampled_from([0, 3, 300]), st.data(),
)  # fmt: skip
def test_a_level_is_reached_at_the_first_instant_at_which_the_quote_shows_it(away, a, b, side, spread_bp, data):
    market = Market("BTC/USDT", WALK, spread_bp)
    after, until = sorted((a, b))
    now = market.quote(after)
    price = now.ask - away * ONE // 100 if side == "BUY" else now.bid + away * ONE // 100

    def reached(at_ns):
        quote = market.quote(at_ns)
        return quote.ask <= price if side == "BUY" else quote.bid >= price

    if side == "BUY":
        found = market.falls_to(market.buy_level(price), after, until)
    else:
        found = market.rises_to(market.sell_level(price), after, until)
    if found is not None:
        assert after < found <= until
        assert reached(found)
    last = until if found is None else found - 1
    if last > after:
        samples = [last, *data.draw(st.lists(st.integers(after + 1, last), max_size=20))]
        turns = [at for at in (market.vertex(n)[0] for n in range(4 * len(WALK))) if after < at <= last]
        assert not any(reached(at) for at in samples + turns)


@given(INSTANTS, INSTANTS)
def test_the_reach_of_a_span_is_its_lowest_and_highest_mid(a, b):
    after, until = sorted((a, b))
    lowest, highest = WALKED.reach(after, until)
    seen = [WALKED.quote(at).mid // (ONE // 100) for at in (after, until)]
    seen += [WALKED.vertex(n)[1] // (ONE // 100) for n in range(4 * len(WALK)) if after < WALKED.vertex(n)[0] <= until]
    assert (lowest, highest) == (min(seen), max(seen))


def test_finished_bars_are_the_recorded_candles_and_the_present_one_is_what_has_been(rows):
    market = Market("BTC/USDT", rows((100, 110, 99, 105), (106, 107, 101, 104), (104, 105, 103, 104)), 0)
    start = market.candles.start_ns
    shown = bars(market, start, start + 90 * SECOND_NS, start + 90 * SECOND_NS, minutes=1, limit=10)
    assert [(bar.open / ONE, bar.high / ONE, bar.low / ONE, bar.close / ONE, bar.volume / ONE) for bar in shown] == [
        (100, 110, 99, 105, 4),
        (106, 107, 104, 104, 2),
    ]
    [closing] = bars(market, start, start, start + 59_999_500_000, minutes=1, limit=1)
    assert closing.close / ONE == 105
    both = bars(market, start, start, start + 119_999 * 10**6, minutes=2, limit=10)
    assert [(bar.open / ONE, bar.high / ONE, bar.low / ONE, bar.close / ONE) for bar in both] == [(100, 110, 99, 104)]


def test_the_tape_has_the_vertices_and_the_whole_volume(rows):
    market = Market("BTC/USDT", rows((100, 110, 99, 105), (106, 107, 101, 104)), 0)
    start = market.candles.start_ns
    everything = tape(market, start + 2 * MINUTE_NS, 100)
    assert [(print_.trade_id, print_.price // ONE) for print_ in everything] == [
        (1, 100), (2, 99), (3, 110), (4, 105), (5, 106), (6, 107), (7, 101), (8, 104),
    ]  # fmt: skip
    assert sum(print_.quantity for print_ in everything) == 8 * ONE
    assert tape(market, start + 2 * MINUTE_NS, 3) == everything[-3:]
    assert tape(market, start + 2 * MINUTE_NS, 3, from_id=2) == everything[1:4]
    assert tape(market, start + 2 * MINUTE_NS, 3, start_ns=start + MINUTE_NS) == everything[4:7]
    assert tape(market, start + 20 * SECOND_NS, 100) == everything[:2]


@pytest.mark.parametrize("symbol", ["BTCUSDT", "btc/usdt", "/USDT", "BTC/"])
def test_a_symbol_that_is_none_is_refused(symbol):
    with pytest.raises(ValueError, match="accepted is BASE/QUOTE in capitals"):
        Market(symbol, WALK)


@pytest.mark.parametrize("spread", [-1, 20_000, float("nan")])
def test_a_spread_that_is_none_is_refused(spread):
    with pytest.raises(ValueError, match="accepted is 0 or more"):
        Market("BTC/USDT", WALK, spread)


def test_a_minute_without_a_trade_has_quotes_and_no_print():
    lines = ["open_time,open,high,low,close,volume"]
    for n, (price, volume) in enumerate(((100, 4), (100, 0), (101, 4))):
        lines.append(f"{1_677_801_600_000 + n * 60_000},{price},{price},{price},{price},{volume}")
    quiet = Market("BTC/USDT", read_candles(lines, "quiet"), spread_bp=20)
    middle = quiet.candles.start_ns + 90 * SECOND_NS
    assert (quiet.quote(middle).bid, quiet.quote(middle).ask) == (9_990_000_000, 10_010_000_000)
    begun, ended = quiet.candles.start_ns + MINUTE_NS, quiet.candles.start_ns + 2 * MINUTE_NS
    assert [one for one in tape(quiet, quiet.candles.end_ns, 100) if begun <= one.at_ns < ended] == []
    (bar,) = bars(quiet, begun, begun, middle, minutes=1, limit=1)
    assert (bar.open, bar.close, bar.volume, bar.prints) == (100 * ONE, 100 * ONE, 0, 0)
