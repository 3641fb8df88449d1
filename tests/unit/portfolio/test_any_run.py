"""Any sequence of prices, trades, flows, stops and kills against an account of which everything is known."""

import itertools
import tempfile
from decimal import Decimal
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tradewatch.model import Balances, Fill, Mark, Money
from tradewatch.portfolio import Portfolio

SECOND = 1_000_000_000
COINS = ("BTC", "ETH")


def machine(clock_class, run_class):
    class AnyRun(RuleBasedStateMachine):
        """Prices move by less than 5 % a step; every trade is told; flows come while the bot is down."""

        @initialize(balances_first=st.booleans())
        def begin(self, balances_first):
            self.folder = tempfile.TemporaryDirectory()
            self.clock, self.balances_first, self.account = clock_class(), balances_first, "main"
            self.run = run_class(self.clock, Path(self.folder.name))
            self.held = {"BTC": Decimal(10), "USDT": Decimal(1000), "ETH": Decimal(50)}
            self.prices = {"BTC": Decimal(100), "ETH": Decimal(10)}
            self.trades = itertools.count(1)
            self.look_again()
            self.start = self.equity()

        def equity(self):
            return sum(amount * self.prices.get(of, 1) for of, amount in self.held.items())

        def look_again(self):
            if self.balances_first:
                self.run.say(self.account, **self.held)
            for coin in COINS:
                # Twice: a run whose last row is older than a few steps doubts the first.
                self.run.mark(self.prices[coin], self.prices[coin], market=f"{coin}/USDT")
            if not self.balances_first:
                self.run.say(self.account, **self.held)

        @rule(coin=st.sampled_from(COINS), thousandths=st.integers(970, 1030))
        def price(self, coin, thousandths):
            self.clock.pass_s(10)
            self.prices[coin] = (self.prices[coin] * thousandths / 1000).quantize(Decimal("0.0001"))
            self.run.mark(self.prices[coin], market=f"{coin}/USDT")

        @rule(coin=st.sampled_from(COINS), side=st.sampled_from(["buy", "sell"]), amount=st.integers(1, 3))
        def trade(self, coin, side, amount):
            self.clock.pass_s(10)
            price, signed = self.prices[coin], amount if side == "buy" else -amount
            self.held[coin] += signed
            self.held["USDT"] -= signed * price
            number = str(next(self.trades))
            self.run.fill(side, amount, price, trade=number, market=f"{coin}/USDT", account=self.account)

        @rule(sold_at=st.integers(50, 150))
        def old_page(self, sold_at):
            """A round trip of days ago, which is in all balances."""
            for side, price, ago in (("buy", 100, 3), ("sell", sold_at, 2)):
                number = str(next(self.trades))
                self.run.fill(side, 1, price, ago=ago * 86_400, trade=number, account=self.account)

        @rule()
        def balances(self):
            self.clock.pass_s(10)
            self.run.say(self.account, **self.held)

        @rule(
            how=st.sampled_from(["stop", "kill"]),
            down_s=st.sampled_from([10, 600]),
            of=st.sampled_from(["BTC", "ETH", "USDT"]),
            flow=st.integers(-3, 9),
            new_key=st.booleans(),
        )
        def restart(self, how, down_s, of, flow, new_key):
            self.run = getattr(self.run, how)(down_s)
            self.held[of] += flow
            self.start += flow * self.prices.get(of, 1)
            if new_key:
                self.account += "x"
            self.look_again()

        @precondition(lambda self: hasattr(self, "run"))
        @invariant()
        def the_days_result_is_what_was_won_and_lost(self):
            self.run.mark(self.prices["BTC"])
            snapshot = self.run.mark(self.prices["ETH"], market="ETH/USDT")
            true = (self.equity(), self.equity() - self.start, ())
            assert (snapshot.equity.value, snapshot.daily_pnl, snapshot.equity.stale) == true

        def teardown(self):
            if hasattr(self, "run"):
                self.run.store.close()
                self.folder.cleanup()

    return AnyRun


def test_the_days_result_is_what_was_won_and_lost_whatever_happens(clock_class, run_class):
    case = machine(clock_class, run_class).TestCase
    case.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
    case("runTest").runTest()


STEP = st.tuples(
    st.sampled_from([0.01, 0.3, 2, 7]),
    st.one_of(
        st.floats(0, 0.5),
        st.tuples(st.sampled_from([1, -1]), st.integers(1, 3), st.integers(98, 102), st.booleans()),
    ),
)


@given(off_s=st.floats(-4.9, 4.9), steps=st.lists(STEP, min_size=3, max_size=14))
@settings(max_examples=150, deadline=None)
def test_a_venues_clock_off_by_seconds_leaves_equity_true_in_the_end(clock_class, off_s, steps):
    """Balances and trades in any order; some of the trades are told after everything else."""
    clock = clock_class()
    portfolio = Portfolio(clock, "USDT")
    btc, usdt, told_last = 10, 10_000, []

    def say(took_s=0.0):
        asked_ns = clock.now_ns()
        clock.pass_s(took_s)
        money = (Money(Decimal(btc), "BTC"), Money(Decimal(usdt), "USDT"))
        portfolio.balances(Balances("main", money, asked_ns, clock.now_ns()))
        portfolio.mark(Mark("BTC/USDT", Decimal(100), clock.now_ns(), "mid"))
        return portfolio.snapshot()

    for number, (passed_s, what) in enumerate(steps):
        clock.pass_s(passed_s)
        if isinstance(what, float):
            say(what)
            continue
        sign, amount, price, at_once = what
        btc, usdt = btc + sign * amount, usdt - sign * amount * price
        side, at_ns = "buy" if sign > 0 else "sell", clock.now_ns() + int(off_s * SECOND)
        trade = Fill("main", "BTC/USDT", "o", str(number), side, Decimal(amount), Decimal(price), (), at_ns, "trades")
        if at_once:
            portfolio.fill(trade)
        else:
            told_last.append(trade)
    for trade in told_last:
        portfolio.fill(trade)
    for _ in range(3):
        snapshot = say()
        clock.pass_s(30)
    assert (snapshot.equity.value, snapshot.equity.stale) == (btc * 100 + usdt, ())
    assert sum(position.amount for position in snapshot.positions) == btc
