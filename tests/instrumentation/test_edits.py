"""An edit that cancels and creates, and a halt in between: for 8 s of the bot's clock the rest of it follows."""

import pytest

import tradewatch
from tradewatch.instrumentation.ccxt import transport

SYMBOL = "BTC/USDT"


@pytest.mark.parametrize(
    ("speed", "elapsed_s", "follows"), [(1, 7.5, True), (1, 9, False), (10, 4, True), (10, 16, False)]
)
def test_an_edit_is_carried_through_no_later_than_eight_seconds_after_it_began(
    api, venue, make_bot, watch_over, monkeypatch, speed, elapsed_s, follows
):
    """A halt is confirmed after 10 s at the latest: what is sent after that would be an order of a halted bot."""
    real, began, stands_at = transport.monotonic_ns, [0], []
    monkeypatch.setattr(transport, "monotonic_ns", lambda: stands_at[0] if stands_at else real())

    def between():
        watch.halt("news")
        stands_at.append(began[0] + round(elapsed_s / speed * 10**9))

    if api.name == "sync":

        class CancelsAndCreates(api.ccxt.binance):
            def edit_order(self, id, symbol, type, side, amount=None, price=None, params={}):  # noqa: B006
                self.cancel_order(id, symbol)
                between()
                return self.create_order(symbol, type, side, amount, price, params)
    else:

        class CancelsAndCreates(api.ccxt.binance):
            async def edit_order(self, id, symbol, type, side, amount=None, price=None, params={}):  # noqa: B006
                await self.cancel_order(id, symbol)
                between()
                return await self.create_order(symbol, type, side, amount, price, params)

    place = venue()
    client = api.client(place, CancelsAndCreates)
    clock = place.clock
    clock.real_seconds = lambda seconds: seconds / speed
    watch = watch_over(make_bot(client), clock=clock)
    resting = api.do(client.create_order(SYMBOL, "limit", "buy", 1, 50))
    began[0] = real()
    if follows:
        edited = api.do(client.edit_order(resting["id"], SYMBOL, "limit", "buy", 1, 51))
        assert edited["price"] == 51
    else:
        with pytest.raises(tradewatch.OrderRefused, match="halted since"):
            api.do(client.edit_order(resting["id"], SYMBOL, "limit", "buy", 1, 51))
    assert len(place.orders()) == (2 if follows else 1)
    assert [o["price"] for o in api.do(client.fetch_open_orders(SYMBOL))] == ([51] if follows else [])
    assert watch.status().breaker.state == "HALTED"
