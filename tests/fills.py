"""Fills, balances and marks, made short or drawn at random, and the books that they make."""

from decimal import Decimal

from hypothesis import strategies as st

from tradewatch.model import Balances, Fill, Mark, Money
from tradewatch.portfolio import Portfolio

START_NS = 1_790_000_000_000_000_000  # 2026-09-21 14:13:20 UTC
SECOND = 1_000_000_000


def fill(side, amount, price, at=0, *, trade=None, order="o", fees=(), market="BTC/USDT", account="main"):
    """A fill `at` seconds after the start; its trade is named after them unless told."""
    paid = tuple(Money(Decimal(a), c) for a, c in fees)
    ns = START_NS + int(at * SECOND)
    return Fill(account, market, order, trade or f"{at}", side, Decimal(amount), Decimal(price), paid, ns, "trades")


amounts = st.integers(1, 10**10).map(lambda n: Decimal(n).scaleb(-8))
prices = st.integers(1, 10**9).map(lambda n: Decimal(n).scaleb(-4))


def balances(at, *, account="main", took=1, **totals):
    """What a snapshot that took so many seconds says is held."""
    money = tuple(Money(Decimal(amount), currency) for currency, amount in totals.items())
    ns = START_NS + int(at * SECOND)
    return Balances(account, money, ns, ns + int(took * SECOND))


def mark(portfolio, clock, price, market="BTC/USDT"):
    """Seen twice: one price that is far from the last would wait for a second."""
    seen = [portfolio.mark(Mark(market, Decimal(price), clock.now_ns() - ago, "mid")) for ago in (1, 0)]
    return any(seen)


@st.composite
def histories(draw, markets=("BTC/USDT", "BNB/USDT"), fee_currencies=("USDT", "BTC", "BNB"), longest=12):
    fills = []
    for n in range(draw(st.integers(1, longest))):
        market = draw(st.sampled_from(markets))
        amount = draw(amounts)
        fees = []
        if draw(st.booleans()):
            currency = draw(st.sampled_from(fee_currencies))
            base = market.split("/")[0]
            paid = amount * draw(st.integers(0, 100)) / 10_000 if currency == base else draw(amounts) / 1000
            fees.append((paid, currency))
        at = draw(st.integers(0, 6))
        trade = f"{n + 1}"
        fills.append(
            fill(
                draw(st.sampled_from(["buy", "sell"])),
                amount,
                draw(prices),
                at,
                trade=trade,
                order=f"o{n % 3}",
                fees=fees,
                market=market,
            )
        )
    return fills


def new(clock, currency="USDT"):
    portfolio = Portfolio(clock, currency)
    for symbol, price in (("BNB/USDT", "600"), ("BTC/USDT", "50000")):
        portfolio.mark(Mark(symbol, Decimal(price), START_NS, "mid"))
    return portfolio


def booked(clock, *inputs):
    portfolio = new(clock)
    for given_ in inputs:
        (portfolio.fill if isinstance(given_, Fill) else portfolio.report)(given_)
    return portfolio.snapshot()


def position(snapshot, symbol="BTC/USDT"):
    [found] = [p for p in snapshot.positions if p.symbol == symbol]
    return found


def equity(portfolio):
    """The value, and why it is not to be trusted."""
    found = portfolio.snapshot().equity
    return found.value, found.stale
