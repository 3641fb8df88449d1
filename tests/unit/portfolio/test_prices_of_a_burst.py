"""Of many quotes that are drained together only few are marked; what counts and what waits is as if all were."""

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from tradewatch.model import Mark, Quote
from tradewatch.portfolio.burst import Burst
from tradewatch.portfolio.prices import Prices

MARKET = "BTC/USDT"
SECOND = 1_000_000_000


class Still:
    """Within a drain no time passes that matters."""

    def now_ns(self):
        return 1_700_000_000 * SECOND

    def mono_ns(self):
        return 5_000 * SECOND

    def real_seconds(self, seconds):
        return seconds


def read(quote):
    if quote.bid is None or quote.ask < quote.bid:
        return Mark(quote.market, Decimal(repr(quote.last)), quote.at_ns, "last")
    middle = (Decimal(repr(quote.bid)) + Decimal(repr(quote.ask))) / 2
    return Mark(quote.market, middle, quote.at_ns, "mid")


def decisive(quotes):
    burst = Burst(quotes[0])
    for quote in quotes[1:]:
        burst.add(quote)
    return burst.decisive()


def state(prices):
    return prices._last, prices._doubtful, prices._first, prices.refused, prices._pairs


def marked(before, quotes):
    prices = Prices(Still())
    for mark in before:
        prices.mark(mark)
    for quote in quotes:
        prices.mark(read(quote))
    return prices


# Moves up to and beyond the 5 % at which a price is doubted, on both sides of it by little.
MOVES = st.sampled_from(
    [1.0, 1.0, 1.0, 1.0001, 0.999, 1.01, 0.99, 1.0449, 1.0499999, 1.05, 1.0500001, 0.9501, 0.95, 1.2, 0.8]
)
SPREADS = st.sampled_from([0.0, 0.0, 0.0001, 0.01, 0.099, 0.15, -0.01])


@st.composite
def bursts(draw):
    """Mostly calm, with a jump or two; some with none, some with one at each step."""
    n = draw(st.integers(1, 12))
    jumps = draw(
        st.sampled_from([set(), {draw(st.integers(0, n))}, set(draw(st.lists(st.integers(0, n)))), {*range(n)}])
    )
    has_time = draw(st.booleans())
    price, at_ns, quotes = draw(st.sampled_from([100.0, 93.0, 107.0, 1e-7])), 1_699_999_990 * SECOND, []
    for i in range(n):
        price *= draw(MOVES) if i in jumps else 1.0
        spread = draw(SPREADS) if i in jumps else 0.0
        at_ns += 1_000_000 if has_time else draw(st.sampled_from([0, 0, 1_000_000, -1_000_000]))
        bid = None if i in jumps and draw(st.integers(0, 9)) == 0 else price
        quotes.append(Quote(MARKET, bid, price * (1 + spread), price, at_ns, read))
    return quotes


STOOD = st.lists(
    st.sampled_from(["100", "106", "94", "120", "80"]).map(
        lambda price: Mark(MARKET, Decimal(price), 1_699_999_980 * SECOND, "mid")
    ),
    max_size=3,
)


@given(STOOD, bursts())
@settings(max_examples=1_500, deadline=None)
def test_what_counts_and_what_waits_is_as_if_all_were_marked(before, quotes):
    few = [quotes[0], *decisive(quotes)]
    assert state(marked(before, few)) == state(marked(before, quotes))


def quote(price, n, market=MARKET):
    return Quote(market, price, price, price, n, read)


def test_of_a_calm_market_three_are_marked():
    quotes = [quote(100.0 + n / 1_000, n) for n in range(1_000)]
    assert list(decisive(quotes)) == [quotes[1], quotes[-1]]


def test_one_false_tick_among_them_is_looked_at_as_before():
    quotes = [quote(price, n) for n, price in enumerate([100.0, 100.0, 150.0, 100.0, 100.0])]
    assert list(decisive(quotes)) == quotes[1:]


def test_a_market_that_drifts_away_in_small_steps_is_marked_step_by_step():
    quotes = [quote(100.0 * 1.03**n, n) for n in range(5)]
    assert list(decisive(quotes)) == quotes[1:]


def test_what_is_no_market_is_refused_each_time():
    quotes = [quote(100.0, n, "BTC") for n in range(6)]
    assert list(decisive(quotes)) == quotes[1:]
