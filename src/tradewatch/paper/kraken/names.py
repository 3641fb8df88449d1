"""Kraken's names: assets, pairs, and the ids of orders, trades, ledger entries and transfers.

An asset has an id (`XXBT`), an altname (`XBT`) and, on the websocket, its modern code (`BTC`). A pair has an id
(`XXBTZUSD`), an altname (`XBTUSD`), a websocket name of version 1 (`XBT/USD`) and one of version 2 (`BTC/USD`).

Source: https://docs.kraken.com/api-reference/market-data/get-tradable-asset-pairs
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tradewatch.paper.exchange import Exchange
from tradewatch.paper.instrument import Instrument
from tradewatch.paper.kraken.errors import KrakenError
from tradewatch.paper.units import PLACES, show

_OLD_CRYPTO = ("ETC", "ETH", "LTC", "MLN", "REP", "XLM", "XMR", "XRP", "ZEC")
_OLD_FIAT = ("AUD", "CAD", "EUR", "GBP", "JPY", "USD")
_ALTNAMES = {"BTC": "XBT", "DOGE": "XDG"}
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_SPREAD = 0x9E3779B97F4A7C15F39D  # odd, so that multiplying by it modulo 2**80 can be undone
_SPAN = 1 << 80


class Asset(msgspec.Struct, frozen=True):
    """A currency as Kraken spells it; `code` is ours and that of the websocket."""

    code: str
    id: str
    altname: str

    @property
    def display_decimals(self) -> int:
        """Of a fiat currency 4, of others 5."""
        return 4 if self.id.startswith("Z") else 5


def asset(code: str) -> Asset:
    """Kraken's spelling of a currency."""
    altname = _ALTNAMES.get(code, code)
    if code in _OLD_FIAT:
        return Asset(code, f"Z{code}", code)
    if code in _OLD_CRYPTO or code in _ALTNAMES:
        return Asset(code, f"X{altname}", altname)
    return Asset(code, code, code)


class Pair(msgspec.Struct, frozen=True):
    """A market as Kraken spells it; `key` is the exchange's id of it."""

    key: str
    base: Asset
    quote: Asset
    instrument: Instrument

    @property
    def id(self) -> str:
        """`XXBTZUSD` where both assets are of the old kind, else the altname: `XBTUSDT`."""
        old = all(one.id != one.code and one.altname != "XDG" for one in (self.base, self.quote))
        return f"{self.base.id}{self.quote.id}" if old else self.altname

    @property
    def altname(self) -> str:
        """`XBTUSD`."""
        return f"{self.base.altname}{self.quote.altname}"

    @property
    def wsname(self) -> str:
        """`XBT/USD`."""
        return f"{self.base.altname}/{self.quote.altname}"

    @property
    def symbol(self) -> str:
        """`BTC/USD`."""
        return self.instrument.symbol

    @property
    def price_decimals(self) -> int:
        """Of prices, from the tick."""
        return places(self.instrument.tick)

    @property
    def lot_decimals(self) -> int:
        """Of quantities, from the step."""
        return places(self.instrument.step)

    @property
    def price_step(self) -> str:
        """The tick as text."""
        return fixed(self.instrument.tick, self.price_decimals)

    def price(self, units: int) -> str:
        """A price with the pair's decimals."""
        return fixed(units, self.price_decimals)


def pair(key: str, instrument: Instrument) -> Pair:
    """Kraken's spelling of a market."""
    return Pair(key, asset(instrument.base), asset(instrument.quote), instrument)


class Names(msgspec.Struct, frozen=True):
    """The pairs of an exchange, in its order, and everything that a client may call them."""

    pairs: tuple[Pair, ...]
    by_name: Mapping[str, Pair]
    by_key: Mapping[str, Pair]

    def find(self, name: object) -> Pair:
        """A pair by id, altname, websocket name or symbol.

        Raises:
            KrakenError: EQuery:Unknown asset pair.
        """
        try:
            return self.by_name[str(name).upper()]
        except KeyError:
            raise KrakenError("EQuery:Unknown asset pair") from None


def names_of(exchange: Exchange) -> Names:
    """Kraken's names for the markets of an exchange."""
    pairs = tuple(pair(key, market.instrument) for key, market in exchange.markets.items())
    by_name = {name: one for one in pairs for name in (one.id, one.altname, one.wsname, one.symbol, one.key)}
    return Names(pairs, by_name, {one.key: one for one in pairs})


def places(step: int) -> int:
    """The decimals that multiples of a step (units of 10^-8) need."""
    return len(show(step).partition(".")[2].rstrip("0"))


def fixed(units: int, decimals: int) -> str:
    """Units of 10^-8 with so many decimals (at most 8), cut."""
    text = show(units)
    return text[: len(text) - PLACES + decimals] if decimals else text[: -PLACES - 1]


def spelled(kind: str, number: int) -> str:
    """An id such as `OQCLML-BW3P3-BUCMWZ`: a letter for the kind (O, T, L, F) and the number, spread over 16 others.

    The same number gives the same id in every run.
    """
    spread = number * _SPREAD % _SPAN
    letters = "".join(_LETTERS[spread >> shift & 31] for shift in range(75, -1, -5))
    return f"{kind}{letters[:5]}-{letters[5:10]}-{letters[10:]}"


def number(kind: str, text: str) -> int | None:
    """The number of an id of a kind; None for what is no such id. Undoes `spelled`."""
    letters = text.replace("-", "")
    if len(letters) != 17 or letters[0] != kind or any(letter not in _LETTERS for letter in letters[1:]):
        return None
    spread = 0
    for letter in letters[1:]:
        spread = spread << 5 | _LETTERS.index(letter)
    found = spread * pow(_SPREAD, -1, _SPAN) % _SPAN
    return found if found < 1 << 62 else None
