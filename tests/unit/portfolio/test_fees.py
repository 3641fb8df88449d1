"""Fees in a currency that is neither base nor quote."""

from decimal import Decimal

from fills import booked, fill, position
from tradewatch.portfolio import Total, Unvalued


def test_a_third_currency_fee_is_a_disposal_at_the_rate_then(clock):
    snapshot = booked(
        clock,
        fill("buy", 2, 500, 1, market="BNB/USDT"),
        fill("buy", 1, 50_000, 2, fees=[("0.5", "BNB")]),
    )
    bnb, btc = position(snapshot, "BNB/USDT"), position(snapshot)
    assert (bnb.amount, bnb.realized) == (Decimal("1.5"), 50)
    assert (btc.cost, btc.realized) == (50_300, 0)
    assert snapshot.fees == (Total("main", "BNB", Decimal("0.5")),)
    assert snapshot.incomplete == ()


def test_a_third_currency_fee_beyond_what_is_held_opens_no_short(clock):
    snapshot = booked(
        clock,
        fill("buy", "0.2", 500, 1, market="BNB/USDT"),
        fill("buy", 1, 50_000, 2, fees=[("0.5", "BNB")]),
        fill("buy", 1, 50_000, 3, fees=[("0.5", "BNB")]),
    )
    bnb = position(snapshot, "BNB/USDT")
    assert (bnb.amount, bnb.realized) == (0, 20)
    assert position(snapshot).cost == 100_600


def test_a_fee_without_a_rate_is_listed_as_unvalued(clock):
    snapshot = booked(
        clock,
        fill("buy", 1, 50_000, 1, fees=[("3", "KCS")]),
        fill("buy", 1, 50_000, 2, trade="2", fees=[("4", "KCS")]),
    )
    assert position(snapshot).cost == 100_000
    assert snapshot.unvalued_fees == (Unvalued("main", "KCS", "USDT", Decimal(7), 2),)
    assert snapshot.incomplete == ("main: fees of 7 KCS (2 fills) are not valued: no price in USDT was known then",)
    assert [p.symbol for p in snapshot.positions] == ["BTC/USDT"]


def test_an_old_trades_fee_is_not_valued_at_todays_price(clock):
    snapshot = booked(clock, fill("buy", 1, 50_000, -86_401, fees=[("0.5", "BNB")]))
    assert snapshot.unvalued_fees == (Unvalued("main", "BNB", "USDT", Decimal("0.5"), 1),)


def test_an_unvalued_fee_leaves_its_currency_at_cost(clock):
    snapshot = booked(
        clock,
        fill("buy", 2, 500, -86_500, market="BNB/USDT"),
        fill("buy", 1, 50_000, -86_450, fees=[("0.5", "BNB")]),
    )
    bnb = position(snapshot, "BNB/USDT")
    assert (bnb.amount, bnb.realized, bnb.average) == (Decimal("1.5"), 0, 500)
