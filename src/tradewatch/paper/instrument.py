"""What is traded and under which filters.

Source of the filters: https://github.com/binance/binance-spot-api-docs/blob/master/filters.md
"""

from __future__ import annotations

import msgspec

from tradewatch.paper.errors import Refusal
from tradewatch.paper.units import ONE, show


class Instrument(msgspec.Struct, frozen=True):
    """A spot market; sizes in units of 10^-8 (prices in quote per base, quantities in base).

    `tick * step` is a whole number of 10^-8, so that every notional is exact.
    """

    base: str
    quote: str
    tick: int = ONE // 100
    step: int = ONE // 100_000
    max_price: int = 1_000_000 * ONE
    max_quantity: int = 9_000 * ONE
    min_notional: int = 5 * ONE

    def __post_init__(self) -> None:
        if self.tick <= 0 or self.step <= 0 or self.tick * self.step % ONE:
            raise ValueError(
                f"{self.symbol}: tick {show(self.tick)} x step {show(self.step)} must be a whole number of 0.00000001"
            )

    @property
    def symbol(self) -> str:
        """`BTC/USDT`."""
        return f"{self.base}/{self.quote}"

    @property
    def id(self) -> str:
        """The venue's spelling: `BTCUSDT`."""
        return f"{self.base}{self.quote}"

    def notional(self, price: int, quantity: int) -> int:
        """Price times quantity, exact, in units of 10^-8 quote."""
        return price * quantity // ONE


def check_price(instrument: Instrument, price: int) -> None:
    """PRICE_FILTER.

    Raises:
        Refusal: price.
    """
    if not instrument.tick <= price <= instrument.max_price or price % instrument.tick:
        raise Refusal("price")


def check_quantity(instrument: Instrument, quantity: int) -> None:
    """LOT_SIZE.

    Raises:
        Refusal: quantity.
    """
    if not instrument.step <= quantity <= instrument.max_quantity or quantity % instrument.step:
        raise Refusal("quantity")


def check_notional(instrument: Instrument, price: int, quantity: int) -> None:
    """NOTIONAL; a market order is judged at the price it would trade at.

    Raises:
        Refusal: notional.
    """
    if instrument.notional(price, quantity) < instrument.min_notional:
        raise Refusal("notional")


def filters(instrument: Instrument) -> list[dict[str, object]]:
    """The filters as exchangeInfo lists them."""
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": show(instrument.tick),
            "maxPrice": show(instrument.max_price),
            "tickSize": show(instrument.tick),
        },
        {
            "filterType": "LOT_SIZE",
            "minQty": show(instrument.step),
            "maxQty": show(instrument.max_quantity),
            "stepSize": show(instrument.step),
        },
        {
            "filterType": "NOTIONAL",
            "minNotional": show(instrument.min_notional),
            "applyMinToMarket": True,
            "maxNotional": show(instrument.max_price * instrument.max_quantity // ONE),
            "applyMaxToMarket": False,
            "avgPriceMins": 0,
        },
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
    ]
