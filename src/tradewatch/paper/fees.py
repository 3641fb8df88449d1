"""What a trade costs: a rate on the asset received, or a third currency at a discount.

Source: https://github.com/binance/binance-spot-api-docs/blob/master/faqs/commission_faq.md
"""

from __future__ import annotations

import msgspec

from tradewatch.paper.orders import FeeIn
from tradewatch.paper.units import ONE


class ThirdCurrency(msgspec.Struct, frozen=True):
    """Fees paid in a currency such as BNB while the account holds enough of it.

    Args:
        currency: its code.
        discount: off the fee, in units of 10^-8 (25 % is 25_000_000).
        price: units of 10^-8 quote, used where the venue does not trade the currency against the trade's quote.
            None: such trades pay in the asset received.
    """

    currency: str = "BNB"
    discount: int = ONE // 4
    price: int | None = None


class Fees(msgspec.Struct, frozen=True):
    """Rates in units of 10^-8: 0.1 % is 100_000.

    Args:
        maker: of orders that rested.
        taker: of orders that traded on arrival.
        third: pays instead while there is enough.
        charged_in: of an order that does not say: Binance takes the asset received, Kraken the quote.
    """

    maker: int = ONE // 1000
    taker: int = ONE // 1000
    third: ThirdCurrency | None = None
    charged_in: FeeIn = "received"


def fee_of(rate: int, amount: int) -> int:
    """The fee in the currency of the amount, cut to 10^-8."""
    return amount * rate // ONE


def third_fee(rate: int, third: ThirdCurrency, quote_amount: int, price: int) -> int:
    """The fee in the third currency, cut to 10^-8: the trade's value times rate, less the discount, at `price`."""
    return quote_amount * rate * (ONE - third.discount) // (ONE * price)
