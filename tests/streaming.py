"""What tests of bots that listen to streams stand on: drawn settings, books and spans beside the exchange's own."""

import itertools
from collections import Counter
from decimal import Decimal

from hypothesis import HealthCheck, Phase, settings

# The same draws each time: what takes seconds an example is neither searched nor shrunk.
DRAWN = settings(
    derandomize=True, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
PLACING = {"binance": "order_place", "binanceusdm": "order_place", "kraken": "add_order"}
PRIVATE = {"binance": "user_data", "binanceusdm": "user_data", "kraken": "executions"}
# After these the exchange has done what was asked, and nobody was told.
LOST = {"half_json", "reset", "server_error"}


def booked(watch, place):
    """How many fills, what fees, which position: as tradewatch has them, and as the exchange's books do."""
    ours, books = watch.status().portfolio, place.books()
    # Of a contract there is none before its first fill is booked.
    position = next((p for p in ours.positions if p.symbol == place.symbol), None)
    theirs = books["positions"].get(place.symbol, {"amount": 0})
    names = {"amount": "amount", "average_cost": "average", "realised": "realized"}
    # The perpetual's are before fees, which its equity is not.
    shared = [name for name in names if place.kind != "binanceusdm" or name == "amount"]
    fees = books["fees"] if "fees" in books else {theirs["currency"]: theirs["fees"]} if "fees" in theirs else {}
    paid = {total.currency: total.amount for total in ours.fees}
    return (
        (ours.fills, paid, *(getattr(position, names[each], Decimal(0)) for each in shared)),
        (len(books["trades"]), {of: Decimal(x) for of, x in fees.items()}, *(Decimal(theirs[each]) for each in shared)),
    )


def spans_agree(spans, place, raised, told_trades):
    """Every order's span against what the exchange did, in their order: the bot placed one after the other.

    `raised` says of each order whether the bot had an error: of half an answer ccxt makes an order that has no id.
    What streams told hangs below the order that it is of, and is something that the exchange did. `told_trades`, order
    and amount of each that a stream told the bot of, are all there, or in the order's answer.
    """
    books, symbol = place.books(), place.symbol
    orders = {str(each["order_id"]): each for each in books["orders"]}
    trades = {of: [t for t in books["trades"] if str(t["order_id"]) == of] for of in orders}
    reached = {
        of: {Decimal(0), *itertools.accumulate(Decimal(t["quantity"]) for t in found)} for of, found in trades.items()
    }
    sent = sorted(
        (s for s in spans if s.attributes.get("trading.operation") == "create_order" and s.kind.name == "INTERNAL"),
        key=lambda s: s.start_time,
    )
    asked = place.requests(PLACING[place.kind])
    assert len(sent) == len(asked) == len(raised)
    known = {}
    for span, entry, is_error in zip(sent, asked, raised, strict=True):
        told = dict(span.attributes)
        assert told["trading.symbol"] == symbol
        is_lost = entry.fault is not None and not LOST.isdisjoint(entry.fault.split("+"))
        assert (span.status.status_code.name == "ERROR", "error.type" in told) == (is_error, is_error)
        if is_lost or not entry.accepted:
            assert told["trading.order.status"] == ("unknown" if is_lost else "rejected")
            assert "trading.order.filled" not in told
            continue
        assert not is_error
        assert told["trading.order.id"] == str(entry.order_id)
        order = orders[str(entry.order_id)]
        known[str(entry.order_id)] = span
        assert told["trading.order.side"] == order["side"].lower()
        assert told["trading.order.type"] == order["type"].lower()
        assert Decimal(told["trading.order.amount"]) == Decimal(order["quantity"])
        if order["price"] is not None:
            assert Decimal(told["trading.order.price"]) == Decimal(order["price"])
        fits(told, order, reached[str(entry.order_id)])
    heard = Counter()
    for span in spans:
        if span.kind.name != "CONSUMER":
            continue
        told, context = dict(span.attributes), known[span.attributes["trading.order.id"]].context
        assert (span.parent.span_id, span.context.trace_id) == (context.span_id, context.trace_id)
        assert span.status.status_code.name == "UNSET"
        if told["trading.channel"] == "my_trades":
            heard[told["trading.order.id"], *(Decimal(told[f"trading.fill.{of}"]) for of in ("amount", "price"))] += 1
        else:
            fits(told, orders[told["trading.order.id"]], reached[told["trading.order.id"]])
    did = Counter((of, Decimal(trade["quantity"]), Decimal(trade["price"])) for of in known for trade in trades[of])
    assert heard - did == Counter()
    for of, answered in known.items():
        streamed = sum(times * amount for (order, amount, _), times in heard.items() if order == of)
        # A trade that was in the answer already is not told again.
        in_answer = Decimal(answered.attributes.get("trading.order.filled", 0))
        assert streamed + in_answer >= sum(amount for order, amount in told_trades if order == of)
    # Each attempt; of other methods than POST aiohttp sends again by itself what a connection's end met.
    posted = [one for one in place.server.log.entries if one.method == "POST"]
    assert len([s for s in spans if (s.kind.name, s.name) == ("CLIENT", "POST")]) == len(posted)


def fits(told, order, reached):
    """Whether a span's status and amounts are a state that the order went through."""
    quantity, filled = Decimal(order["quantity"]), told.get("trading.order.filled")
    status = told["trading.order.status"]
    if filled is not None:
        assert Decimal(filled) in reached
        assert (status == "filled") == (Decimal(filled) == quantity)
    if status in ("cancelled", "expired"):
        assert order["status"] in ("CANCELED", "EXPIRED", "EXPIRED_IN_MATCH")
        assert filled is None or Decimal(filled) == Decimal(order["executed"])
    else:
        assert status in ("pending", "open", "filled")
