"""Requests drawn at random break none of Kraken's protocols."""

import json

from hypothesis import given
from hypothesis import strategies as st

from kraken_rest import SECRET, Client, Wall
from tradewatch import paper
from tradewatch.paper.candles import random_candles
from tradewatch.paper.kraken import KrakenSpot

NAMES = st.sampled_from(
    ["pair", "type", "ordertype", "volume", "price", "txid", "userref", "timeout", "start", "end", "ofs", "oflags",
     "orders", "asset", "timeinforce", "expiretm", "amount", "key", "id", "deadline", "cl_ord_id"]
)  # fmt: skip
TEXTS = st.text(max_size=12) | st.sampled_from(["XBTUSD", "buy", "limit", "1", "-1", "1e9", "OAAAAA-AAAAA-AAAAAA"])


@given(st.data())
def test_no_parameters_break_the_protocol(recorded, data):
    from tradewatch.paper.kraken.wire import ROUTES

    class Still:
        def now_ns(self):
            return recorded.start_ns

    account = paper.Account("paper-key", SECRET, {"BTC": "1", "USD": "50000"})
    exchange = paper.Exchange([paper.Market("BTC/USD", recorded)], [account], Still())
    client = Client(KrakenSpot(exchange, None, Wall()))
    for _ in range(3):
        path = data.draw(st.sampled_from(sorted(ROUTES)))
        params = data.draw(st.dictionaries(NAMES, TEXTS, max_size=6))
        method = path.rpartition("/")[2]
        if "/public/" in path:
            client.public(method, **params)
        else:
            client(method, **{name: value for name, value in params.items() if name != "key"})


METHODS = ["subscribe", "unsubscribe", "add_order", "amend_order", "edit_order", "cancel_order", "cancel_all", "ping",
           "cancel_all_orders_after", "batch_add", "batch_cancel", "nothing"]  # fmt: skip
FIELDS = ["channel", "symbol", "depth", "interval", "snapshot", "order_type", "side", "order_qty", "limit_price",
          "orders", "order_id", "cl_ord_id", "order_userref", "timeout", "expire_time", "deadline", "time_in_force",
          "post_only", "event_trigger", "snap_trades", "fee_preference", "cash_order_qty", "validate"]  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
    | st.sampled_from(["BTC/USD", "book", "ticker", "ohlc", "executions", "limit", "market", "buy", "gtd", 10, 1.0]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


SENT = st.lists(st.tuples(st.sampled_from(METHODS), st.dictionaries(st.sampled_from(FIELDS), VALUES)), max_size=4)
SHORT = random_candles("100", 0, 5, 1)


@given(SENT)
def test_no_request_breaks_a_websocket(sent):
    class Still:
        def now_ns(self):
            return 0

    account = paper.Account("paper-key", SECRET, {"BTC": "1", "USD": "50000"})
    wire = KrakenSpot(paper.Exchange([paper.Market("BTC/USD", SHORT)], [account], Still()), None, Wall())
    session = wire.session("/v2", "")
    token = wire.tokens.issue(account, Wall()())
    for number_, (method, params) in enumerate(sent):
        text = json.dumps({"method": method, "params": params | {"token": token}, "req_id": number_})
        for message in session.received(text).messages:
            json.loads(message.text)
