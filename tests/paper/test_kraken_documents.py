"""The paper exchange's answers beside those of Kraken's documents (documents/kraken.json, each with its source).

Two comparisons: the shape on the wire (fields, JSON kinds, number or text, decimals written), and what a real client
makes of it: ccxt fills in the same fields with values of the same kinds for both.
"""

import asyncio
import json
from pathlib import Path

import aiohttp
import ccxt
import ccxt.pro
import pytest

from tradewatch import paper
from tradewatch.paper.requests import Limits

DOCUMENTS = json.loads((Path(__file__).parent / "documents" / "kraken.json").read_text())
SYMBOL = "BTC/USD"
# Keyed by ids or by pairs, so that the names of the fields say nothing.
BY_ID = {"result", "open", "trades", "ledger", "closed"}
# The documents show them only in some cases: a client id, counts, and what an instant adds.
SOMETIMES = {"cl_ord_id", "timestamp", "cum_qty", "cum_cost", "avg_price", "trades", "last"}


def kind(value):
    if value is None or isinstance(value, bool):
        return type(value).__name__
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "decimal" if value.replace(".", "", 1).lstrip("-").isdigit() else "text"
    return type(value).__name__


def shape(value, name=""):
    """The fields and kinds of a value; of lists the first entry, of what is keyed by ids the first one."""
    if isinstance(value, dict):
        if (
            name in BY_ID
            and value
            and all((len(key) > 6 and key.isupper()) or "-" in key for key in value if key != "last")
        ):
            first = next(one for key, one in value.items() if key != "last")
            return {"*": shape(first)}
        return {key: shape(one, key) for key, one in value.items()}
    if isinstance(value, list):
        if value and all(not isinstance(one, dict | list) for one in value):
            return [kind(one) for one in value] if name != "trades" else ["text"]
        return [shape(value[0])] if value else []
    return kind(value)


def differences(documented, ours, where=""):
    """What the documents have and we have not, or of another kind; and what we have alone."""
    if isinstance(documented, dict) and isinstance(ours, dict):
        found = []
        for key in documented.keys() | ours.keys():
            if key not in ours or key not in documented:
                if key not in SOMETIMES:
                    found.append(f"{where}/{key}: {'ours' if key in ours else 'documented'} alone")
            else:
                found += differences(documented[key], ours[key], f"{where}/{key}")
        return found
    if isinstance(documented, list) and isinstance(ours, list):
        if documented and ours and isinstance(documented[0], str):
            same = len(documented) == len(ours)
        else:
            return differences(documented[0], ours[0], where) if documented and ours else []
        return [] if same and documented == ours else [f"{where}: {documented} and {ours}"]
    # An order without a reference has 0 in some of the documents' examples and null in others.
    if documented == ours or (where.endswith(("userref", "clientOrderId")) and "NoneType" in (documented, ours)):
        return []
    return [f"{where}: documented {documented}, ours {ours}"]


@pytest.fixture
def lived(dollars, rows):
    """A server of an exchange on which everything of the documents has happened."""
    exchange, clock = dollars(rows((100, 100, 100, 100), (100, 110, 90, 105)), spread_bp=20)
    exchange.transfer("main", "BTC", 78_125_000)
    exchange.transfer("main", "BTC", -7_000_000, 20_000)
    with paper.serve_in_thread(exchange, venue="kraken", limits=Limits(tier="pro")) as server:
        yield server, exchange, clock


class Recorder:
    """Keeps the raw body of each endpoint that a ccxt client reads."""

    def __init__(self, client):
        self.client = client
        self.bodies = {}
        fetch = client.fetch

        def recorded(url, *args, **kwargs):
            answer = fetch(url, *args, **kwargs)
            self.bodies[url.partition("?")[0].rpartition("/")[2]] = json.loads(client.last_http_response)
            return answer

        client.fetch = recorded


def session_of(client):
    """The calls whose answers the documents show, in an order in which each has something to say."""
    client.load_markets()
    taken = client.create_order(SYMBOL, "market", "buy", 1)
    resting = client.create_order(SYMBOL, "limit", "buy", 1.25, 90, {"clientOrderId": "1234"})
    return {
        "Ticker": client.fetch_ticker(SYMBOL),
        "Depth": client.fetch_order_book(SYMBOL, 2),
        "OHLC": client.fetch_ohlcv(SYMBOL),
        "Trades": client.fetch_trades(SYMBOL),
        "BalanceEx": client.fetch_balance(),
        "AddOrder": resting,
        "OpenOrders": client.fetch_open_orders(SYMBOL),
        "QueryOrders": client.fetch_order(taken["id"]),
        "TradesHistory": client.fetch_my_trades(SYMBOL),
        "Ledgers": client.fetch_ledger("USD"),
        "DepositStatus": client.fetch_deposits(),
        "WithdrawStatus": client.fetch_withdrawals(),
        "AmendOrder": client.edit_order(resting["id"], SYMBOL, "limit", "buy", 1.5, 91),
        "CancelAllOrdersAfter": client.cancel_all_orders_after(60_000),
        "AssetPairs": client.markets[SYMBOL],
    }


class Documented(ccxt.kraken):
    """A ccxt client that is answered with the documents, whatever it asks."""

    def fetch(self, url, *args, **kwargs):
        name = url.partition("?")[0].rpartition("/")[2]
        if name == "Assets":
            return {"error": [], "result": {}}
        return json.loads(json.dumps(DOCUMENTS["rest"][name]["body"]))


def meaning(value):
    """What a client made of an answer, as fields and kinds; the raw answer is left out."""
    if isinstance(value, dict):
        return {key: meaning(one) for key, one in value.items() if key not in ("info", "datetime", "timestamp")}
    if isinstance(value, list):
        return [meaning(value[0])] if value else []
    return kind(value)


@pytest.fixture
def both(lived, connect_kraken):
    """By endpoint: the raw body and ccxt's reading of ours, and ccxt's reading of the documented one."""
    server, *_ = lived
    client = connect_kraken(server)
    recorder = Recorder(client)
    ours = session_of(client)
    documented = Documented({"apiKey": "k", "secret": "c2VjcmV0", "enableRateLimit": False})
    documented.load_markets()
    order_id = next(iter(DOCUMENTS["rest"]["QueryOrders"]["body"]["result"]))
    theirs = {
        "Ticker": documented.fetch_ticker(SYMBOL),
        "Depth": documented.fetch_order_book(SYMBOL, 2),
        "OHLC": documented.fetch_ohlcv(SYMBOL),
        "Trades": documented.fetch_trades(SYMBOL),
        "BalanceEx": documented.fetch_balance(),
        "AddOrder": documented.create_order(SYMBOL, "limit", "buy", 1.25, 27500),
        "OpenOrders": documented.fetch_open_orders(SYMBOL),
        "QueryOrders": documented.fetch_order(order_id),
        "TradesHistory": documented.fetch_my_trades(SYMBOL),
        "Ledgers": documented.fetch_ledger("USD"),
        "DepositStatus": documented.fetch_deposits(),
        "WithdrawStatus": documented.fetch_withdrawals(),
        "AmendOrder": documented.edit_order("O", SYMBOL, "limit", "buy", 1.5, 91),
        "CancelAllOrdersAfter": documented.cancel_all_orders_after(60_000),
        "AssetPairs": documented.markets[SYMBOL],
    }
    return recorder.bodies, ours, theirs


def test_rest_answers_have_the_shape_of_the_documents(both):
    bodies, _, _ = both
    assert set(DOCUMENTS["rest"]) <= set(bodies)
    found = {name: differences(shape(one["body"]), shape(bodies[name])) for name, one in DOCUMENTS["rest"].items()}
    assert {name: what for name, what in found.items() if what} == {}


def test_ccxt_makes_the_same_of_rest_answers_as_of_the_documents(both):
    _, ours, theirs = both
    assert ours.keys() == theirs.keys() == DOCUMENTS["rest"].keys()
    found = {name: differences(meaning(theirs[name]), meaning(ours[name])) for name in ours}
    assert {name: what for name, what in found.items() if what} == {}


async def stream_of(server, exchange, clock):
    """Every kind of message that the documents show, as our server sends it."""
    seen = {}
    token = server.wire.tokens.issue(next(iter(exchange.accounts.values())), server.wall_ns())
    order = {"order_type": "limit", "side": "sell", "order_qty": 0.1, "symbol": SYMBOL, "token": token}
    requests = [
        *({"method": "subscribe", "params": {"channel": one, "symbol": [SYMBOL]}} for one in ("ticker", "book")),
        *({"method": "subscribe", "params": {"channel": one, "symbol": [SYMBOL]}} for one in ("trade", "ohlc")),
        *({"method": "subscribe", "params": {"channel": one, "token": token}} for one in ("balances", "executions")),
        {"method": "add_order", "params": order | {"limit_price": 200}, "req_id": 1},
        {"method": "add_order", "params": order | {"limit_price": 101}, "req_id": 2},
        {"method": "add_order", "params": order | {"order_qty": 5000, "limit_price": 101}, "req_id": 3},
        {"method": "cancel_all", "params": {"token": token}, "req_id": 4},
    ]
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{server.url}/v2") as socket:
        for request in requests[:-1]:
            await socket.send_json(request)
        await asyncio.sleep(0.2)
        clock.pass_seconds(114)
        await asyncio.sleep(0.3)
        await socket.send_json(requests[-1])
        while set(DOCUMENTS["stream"]) - seen.keys():
            message = json.loads((await asyncio.wait_for(socket.receive(), 5)).data)
            name = message.get("channel") or ("refused" if "error" in message else message.get("method"))
            if name == "executions" and message["data"]:
                name = f"executions {message['data'][0]['exec_type']}"
            wanted = DOCUMENTS["stream"].get(name)
            if wanted is not None and message.get("type") == wanted["message"].get("type"):
                seen.setdefault(name, message)
    return seen


async def test_stream_messages_have_the_shape_of_the_documents_and_ccxt_reads_both_alike(lived):
    seen = await stream_of(*lived)
    found = {name: differences(shape(one["message"]), shape(seen[name])) for name, one in DOCUMENTS["stream"].items()}
    assert {name: what for name, what in found.items() if what} == {}
    client = ccxt.pro.kraken()
    client.set_markets([market()])
    parsers = {
        "executions trade": client.parse_ws_trade,
        "executions pending_new": client.parse_ws_order,
        "executions canceled": client.parse_ws_order,
        "trade": lambda one: client.parse_trade(one, client.market(SYMBOL)),
    }
    for name, parse in parsers.items():
        theirs, ours = DOCUMENTS["stream"][name]["message"], seen[name]
        assert meaning(parse(theirs["data"][0])) == meaning(parse(ours["data"][0])), name
    await client.close()


def market():
    one = Documented()
    one.load_markets()
    return one.markets[SYMBOL]
