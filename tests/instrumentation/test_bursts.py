"""Prices that are polled faster than they are booked: what counts is what would count if each were booked by itself."""

import time
from decimal import Decimal

import ccxt
import pytest

import tradewatch


class Told(ccxt.binance):
    """Answers with the next of some prices, without a venue."""

    prices = iter(())

    def fetch_ticker(self, symbol, params=None):
        price = next(self.prices)
        return {"symbol": symbol, "bid": price, "ask": price, "last": price, "info": {}}


def booked(watch, calls):
    """Wait until so many calls were taken from the journal and the safety thread has come to the end of its step."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with watch._journal.booking:
            if not watch._journal.reads and sum(each.calls for each in watch.status().operations) == calls:
                return
        time.sleep(0.005)
    raise AssertionError("the calls were not booked in time")


def counted(monkeypatch, watch):
    """The prices that are marked."""
    marked, portfolio = [], watch._safety._portfolio
    mark = portfolio.mark

    def marking(each):
        marked.append(each.price)
        return mark(each)

    monkeypatch.setattr(portfolio, "mark", marking)
    return marked


CALM = [100.0 + n / 100 for n in range(40)]
LAST = CALM[-1]


@pytest.mark.parametrize(
    ("prices", "counts", "is_doubted"),
    [
        (CALM, LAST, False),
        # A single false tick waits for a second one, at the end of a burst and in the middle of it.
        ([*CALM, 150.0], LAST, True),
        ([*CALM, 150.0, *CALM], LAST, False),
        ([*CALM, 150.0, 150.5], 150.5, False),
        ([*CALM, 150.0, 150.5, *CALM], LAST, False),
        ([*CALM, 150.0, *CALM, *[150.0 + n / 100 for n in range(40)]], 150.39, False),
    ],
)
def test_what_counts_of_a_burst_is_what_counts_one_by_one(tmp_path, monkeypatch, prices, counts, is_doubted):
    for together in (True, False):
        client = Told()
        client.prices = iter(prices)
        with tradewatch.instrument([client], port=None, state_dir=tmp_path / str(together)) as watch:
            marked = counted(monkeypatch, watch)
            if together:
                with watch._journal.booking:
                    for _ in prices:
                        client.fetch_ticker("BTC/USDT")
                booked(watch, len(prices))
            else:
                for n in range(len(prices)):
                    client.fetch_ticker("BTC/USDT")
                    booked(watch, n + 1)
            rate = watch._safety._portfolio._prices.last("BTC/USDT")
            assert (rate.value, rate.is_doubted) == (Decimal(repr(counts)), is_doubted)
            if not together:
                assert len(marked) == len(prices)
            elif prices == CALM:
                # The first call of an operation is booked by itself.
                assert len(marked) < 6
