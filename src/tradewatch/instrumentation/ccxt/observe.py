"""What the answers of reading calls tell: prices, balances, the state of orders, the account's own trades.

What is wanted is copied at the call, since bots change the structures that they are given. Prices and balances are
copied as they stand and read later, on the safety thread; of orders and trades, what was seen before is passed over by
its id, so that polling the same list costs little.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from time import monotonic_ns
from typing import Any, TypeVar

from tradewatch.instrumentation.ccxt.numbers import exact, mapping
from tradewatch.instrumentation.ccxt.orders import fill, fills_of_order, known_amounts, report, told_without_id
from tradewatch.model import Balances, Fill, Mark, Money, OrderReport, Quote
from tradewatch.runtime.safety import Stretch
from tradewatch.runtime.scrub import label
from tradewatch.telemetry.live import NOTHING_TOLD, LiveCall, Told

_T = TypeVar("_T")

# Ids remembered a client; beyond that a repeated trade is passed on, and the ledger knows it.
_REMEMBERED = 20_000
_WIDEST_SPREAD = Decimal("0.2")
# Bid, ask and their middle as they were last read of a market.
_middles: dict[str, tuple[float, float, Decimal]] = {}
_MOST_MIDDLES = 1_000


class Seen:
    """Which trades and which states of orders a client has already told.

    Known by the hash of their ids, 64 bits: the ids themselves would take four times as much.
    """

    def __init__(self) -> None:
        self.trades: dict[int, None] = {}
        self.orders: dict[int, int] = {}

    def trade(self, market: str, order_id: str, trade_id: str) -> bool:
        """Whether a trade was told before; from now on it was."""
        key = hash((market, order_id, trade_id))
        if key in self.trades:
            return True
        _remember(self.trades, key, None)
        return False

    def order(self, made: OrderReport) -> bool:
        """Whether this state of an order was told before."""
        key, amounts = hash((made.key.symbol, made.key.order_id)), hash(known_amounts(made))
        if self.orders.get(key) == amounts:
            return True
        _remember(self.orders, key, amounts)
        return False


def _remember(known: dict[int, _T], key: int, value: _T) -> None:
    while len(known) >= _REMEMBERED:
        known.pop(next(iter(known)), None)
    known[key] = value


def order_answer(live: LiveCall, seen: Seen, result: Any, *, raw: bool = False) -> None:
    """The answer to an order that was sent: one report for each order, and the fills that came with it.

    `raw` is an answer in the venue's own words, to a call below the unified methods.
    """
    probe, now = live.probe, live.probe.clock.now_ns()
    orders = list(result) if type(result) is list else [result]
    # One for each order that was asked for, in their order: in a batch some may have been rejected, without an id, and
    # of half an answer the end is missing.
    told = [orders[i] if i < len(orders) else None for i in range(len(live.more.requests))]
    live.own().outcomes = tuple(
        report(probe.venue, probe.account, order, now) or _without_id(live, i, order, now, raw=raw)
        for i, order in enumerate(told)
    )
    if any(each.status == "unknown" for each in live.more.outcomes):
        # Where it was seen before its answer came, it must be told of again to be known.
        seen.orders.clear()
    _orders(live, seen, orders, now)


def _orders(live: LiveCall, seen: Seen, orders: list[Any], now: int) -> None:
    probe = live.probe
    reports: list[OrderReport] = []
    fills: list[Fill] = []
    for order in orders:
        told = mapping(order)
        if type(told.get("id")) is not str:
            continue
        made = report(probe.venue, probe.account, told, now)
        reports += [made] if made is not None and not seen.order(made) else []
        # Trades may come with a report that is otherwise the same.
        if told.get("trades"):
            carried = fills_of_order(probe.account, told, now)
            fills += [f for f in carried if not seen.trade(f.market, f.order_id, f.trade_id)]
    if reports or fills:
        more = live.own()
        more.reports += tuple(reports)
        more.fills += tuple(fills)


def _without_id(live: LiveCall, i: int, order: Any, now: int, *, raw: bool) -> OrderReport:
    """What became of an order that the answer gives no id; what was only checked (a dry run) was never sent."""
    request = live.more.requests[i]
    status = told_without_id(order, live.operation.name, raw=raw)
    if status == "unknown" and live.tries and not live.more.sent:
        status = "pending"
    side, kind, amount, price = request.side, request.type, request.amount, request.price
    return OrderReport(request.key, side, kind, status, amount, price, None, None, None, None, now)


def read_order(live: LiveCall, seen: Seen, result: Any) -> None:
    """One order, or a list of them: what is new of each."""
    _orders(live, seen, result if type(result) is list else [result], live.probe.clock.now_ns())


def read_trades(live: LiveCall, seen: Seen, result: Any) -> None:
    """A list of the account's own trades: those that were not told before."""
    if type(result) is not list:
        return
    now, fills = live.probe.clock.now_ns(), []
    for trade in result:
        told = mapping(trade)
        ids = (told.get("symbol"), told.get("order"), told.get("id"))
        if all(type(each) is str for each in ids) and hash(ids) in seen.trades:
            continue
        made = fill(live.probe.account, told, {}, now, "trades")
        if made is not None and not seen.trade(made.market, made.order_id, made.trade_id):
            fills.append(made)
    if fills:
        live.own().fills += tuple(fills)


def _read_balance(live: LiveCall, seen: Seen, result: Any) -> None:
    clock = live.probe.clock
    end_ns = clock.now_ns()
    # The call's own length, on the clock of fills, so that a fill that raced the answer can be told from one before it.
    asked_s = (monotonic_ns() - live.start_ns) / 1e9
    start_ns = end_ns - int(asked_s / clock.real_seconds(1.0) * 1e9)
    live.told = read_balances, live.probe.account, dict(mapping(mapping(result).get("total"))), start_ns, end_ns


def read_balances(account: str, totals: dict[Any, Any], start_ns: int, end_ns: int) -> Told:
    """Totals by currency, asked between two times; on the safety thread."""
    money = tuple(
        Money(amount, currency)
        for currency, value in totals.items()
        if type(currency) is str and (amount := exact(value)) is not None
    )
    return Told(balances=Balances(account, money, start_ns, end_ns))


def _read_ticker(live: LiveCall, seen: Seen, result: Any) -> None:
    _quoted(live, *quote(mapping(result)))


def _quoted(live: LiveCall, market: Any, bid: Any, ask: Any, last: Any) -> None:
    if not bid is ask is last is None:
        live.told = Quote(market, bid, ask, last, live.probe.clock.now_ns(), _read_quote)


def _read_quote(quote: Quote) -> Told:
    made = _mark(quote.market, quote.bid, quote.ask, quote.last, quote.at_ns)
    return NOTHING_TOLD if made is None else Told((made,))


def _read_tickers(live: LiveCall, seen: Seen, result: Any) -> None:
    quotes = tuple([quote(mapping(each)) for each in mapping(result).values()])
    live.told = read_marks, quotes, live.probe.clock.now_ns(), True


def quote(told: Mapping[str, Any]) -> tuple[Any, Any, Any, Any]:
    """What a ticker says of a price: market, bid, ask, last."""
    return told.get("symbol"), told.get("bid"), told.get("ask"), told.get("last")


def read_marks(quotes: tuple[tuple[Any, Any, Any, Any], ...], at_ns: int, in_bulk: bool) -> Told:
    """Quotes as prices; on the safety thread."""
    if len(quotes) == 1:
        only = _mark(*quotes[0], at_ns, in_bulk=in_bulk)
        return Told() if only is None else Told((only,))
    marks: list[Mark] = []
    stretch = Stretch()
    for quote in quotes:
        stretch.step()
        made = _mark(*quote, at_ns, in_bulk=in_bulk)
        marks += [made] if made is not None else []
    return Told(tuple(marks))


def _mark(symbol: Any, bid: Any, ask: Any, last: Any, at_ns: int, *, in_bulk: bool = False) -> Mark | None:
    market = label(symbol)
    if market is None:
        return None
    is_polled = not in_bulk and type(bid) is type(ask) is float
    if is_polled:
        # Between two polls most books have not moved.
        known = _middles.get(market)
        if known is not None and known[0] == bid and known[1] == ask:
            return Mark(market, known[2], at_ns, "mid", in_bulk)
    low, high = exact(bid), exact(ask)
    # The middle of an empty book is nobody's price: 1 bid and 110 asked says nothing.
    if low and high and 0 < low <= high and high - low <= _WIDEST_SPREAD * low:
        middle = (low + high) / 2
        if is_polled:
            while len(_middles) >= _MOST_MIDDLES:
                _middles.pop(next(iter(_middles)), None)
            _middles[market] = bid, ask, middle
        return Mark(market, middle, at_ns, "mid", in_bulk)
    price = exact(last)
    return Mark(market, price, at_ns, "last", in_bulk) if price else None


def _read_book(live: LiveCall, seen: Seen, result: Any) -> None:
    told = mapping(result)
    bid, ask = best(told.get("bids")), best(told.get("asks"))
    if bid is not None and ask is not None:
        _quoted(live, told.get("symbol") or live.symbol, bid, ask, None)


def best(levels: Any) -> Any:
    """The price of the first level of one side of a book; None where there is none."""
    best = levels[0] if isinstance(levels, list) and levels else None
    return best[0] if isinstance(best, (list, tuple)) and best else None


OBSERVERS: dict[str, Callable[[LiveCall, Seen, Any], None]] = {
    "fetch_balance": _read_balance,
    "fetch_ticker": _read_ticker,
    "fetch_tickers": _read_tickers,
    "fetch_bids_asks": _read_tickers,
    "fetch_order_book": _read_book,
    "fetch_order": read_order,
    "fetch_orders": read_order,
    "fetch_open_orders": read_order,
    "fetch_closed_orders": read_order,
    "fetch_canceled_orders": read_order,
    "fetch_canceled_and_closed_orders": read_order,
    "cancel_order": read_order,
    "cancel_all_orders": read_order,
    "fetch_my_trades": read_trades,
    "fetch_order_trades": read_trades,
}
