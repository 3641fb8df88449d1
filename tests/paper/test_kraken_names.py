"""Kraken's names of pairs, ids and decimals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewatch.paper.instrument import Instrument
from tradewatch.paper.kraken.names import fixed, number, pair, spelled
from tradewatch.paper.units import ONE


@pytest.mark.parametrize(
    ("base", "quote", "names"),
    [
        ("BTC", "USD", ("XXBTZUSD", "XBTUSD", "XBT/USD", "BTC/USD")),
        ("BTC", "USDT", ("XBTUSDT", "XBTUSDT", "XBT/USDT", "BTC/USDT")),
        ("ETH", "BTC", ("XETHXXBT", "ETHXBT", "ETH/XBT", "ETH/BTC")),
        ("ETH", "EUR", ("XETHZEUR", "ETHEUR", "ETH/EUR", "ETH/EUR")),
        ("DOGE", "USD", ("XDGUSD", "XDGUSD", "XDG/USD", "DOGE/USD")),
        ("SOL", "USD", ("SOLUSD", "SOLUSD", "SOL/USD", "SOL/USD")),
    ],
)  # fmt: skip
def test_pairs_are_named_as_kraken_names_them(base, quote, names):
    one = pair(base + quote, Instrument(base, quote))
    assert (one.id, one.altname, one.wsname, one.symbol) == names


@given(st.integers(0, (1 << 62) - 1))
def test_an_id_gives_its_number_back(value):
    text = spelled("O", value)
    assert number("O", text) == value
    assert number("T", text) is None
    assert [len(part) for part in text.split("-")] == [6, 5, 6]


@pytest.mark.parametrize("text", ["", "O", "OAAAAA", "OAAAAA-AAAAA-AAAAA1", "oaaaaa-aaaaa-aaaaaa", "123"])
def test_what_is_no_id_has_no_number(text):
    assert number("O", text) is None


@given(st.integers(0, 10**15), st.integers(0, 8))
def test_decimals_are_cut_not_rounded(units, decimals):
    text = fixed(units, decimals)
    assert len(text.partition(".")[2]) == decimals
    assert int(text.replace(".", "")) == units // 10 ** (8 - decimals)
    assert fixed(-ONE, 2) == "-1.00"
