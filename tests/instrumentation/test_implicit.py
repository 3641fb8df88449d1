"""Implicit endpoints over sockets, in both spellings: orders are calls that a halt refuses, cancels and reads pass."""

import pytest

ORDER = {
    "binance": {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": "1",
        "price": "50",
    },
    "kraken": {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "volume": "1", "price": "50"},
}
ENDPOINTS = {
    "binance": {
        "order": ("private_post_order", "privatePostOrder"),
        "replace": ("private_post_order_cancelreplace", "privatePostOrderCancelReplace"),
        "open": ("private_get_openorders", "privateGetOpenOrders"),
        "cancel": ("private_delete_order", "privateDeleteOrder"),
    },
    "kraken": {
        "order": ("private_post_addorder", "privatePostAddOrder"),
        "replace": ("private_post_amendorder", "privatePostAmendOrder"),
        "open": ("private_post_openorders", "privatePostOpenOrders"),
        "cancel": ("private_post_cancelorder", "privatePostCancelOrder"),
    },
}


@pytest.mark.parametrize("name", ["binance", "kraken"])
@pytest.mark.parametrize("spelling", [0, 1], ids=["snake", "camel"])
@pytest.mark.parametrize("captured", [False, True], ids=["found", "captured early"])
def test_implicit_orders_are_refused_while_halted_and_the_rest_passes(
    api, venue, kraken, make_bot, watch_over, until, name, spelling, captured
):
    place = venue().server if name == "binance" else kraken.venue()
    client = (kraken if name == "kraken" else api).client(*((api,) if name == "kraken" else ()), place)
    api.do(client.load_markets())
    names = {what: each[spelling] for what, each in ENDPOINTS[name].items()}
    methods = {what: getattr(client, each) for what, each in names.items()}
    watch = watch_over(make_bot(client), clock=place.exchange.clock)
    if not captured:
        methods = {what: getattr(client, each) for what, each in names.items()}
    placed = api.do(methods["order"](dict(ORDER[name])))
    order_id = placed["orderId"] if name == "binance" else placed["result"]["txid"][0]
    watch.halt("news")
    replace = {"cancelOrderId": order_id, "cancelReplaceMode": "STOP_ON_FAILURE"} if name == "binance" else {}
    with pytest.raises(api.ccxt.InvalidOrder, match="halted"):
        api.do(methods["order"](dict(ORDER[name])))
    with pytest.raises(api.ccxt.InvalidOrder, match="halted"):
        api.do(methods["replace"]({**ORDER[name], **replace, "txid": order_id}))
    assert len(place.exchange.orders("main")) == 1
    api.do(methods["open"]({"symbol": "BTCUSDT"} if name == "binance" else {}))
    one = {"symbol": "BTCUSDT", "orderId": order_id} if name == "binance" else {"txid": order_id}
    api.do(methods["cancel"](one))
    assert [order for order in place.exchange.orders("main") if order.is_open] == []
    calls = {each.operation: each.calls for each in watch.status().operations}
    assert calls == {
        **{ENDPOINTS[name][what][0]: 1 for what in ("open", "cancel")},
        **{ENDPOINTS[name][what][0]: n for what, n in (("order", 2), ("replace", 1))},
    }
    until(lambda: watch.status().orders.get("refused") == 2)
