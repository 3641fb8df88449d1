"""Every class of ccxt.pro: a halt refuses its orders over a websocket, wherever they are; cancels pass."""

import pytest

import every_websocket


@pytest.mark.parametrize("name", every_websocket.NAMES)
def test_a_halt_refuses_orders_over_a_websocket_and_lets_cancels_pass(name):
    came = every_websocket.tried(name)
    assert came["wrong"] == []
    assert came["orders"] or came["cancels"]
