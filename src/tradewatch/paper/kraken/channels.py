"""The data of the websocket channels: what each says of the market or of an account. Numbers are JSON numbers.

A book's checksum is CRC-32 over its first ten asks and then its first ten bids, each as price and quantity with the
decimals that they are sent with, without point and leading zeros.

Source: https://docs.kraken.com/api/docs/websocket-v2/book and the pages beside it, and guides/spot-ws-book-v2.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from tradewatch.paper.accounts import Entry
from tradewatch.paper.candles import MINUTE_NS
from tradewatch.paper.exchange import Exchange
from tradewatch.paper.feed import OrderChanged
from tradewatch.paper.kraken.account import entry_name, reference_name, trade_name
from tradewatch.paper.kraken.market_data import COST_DECIMALS, day_of, ladder, vwap
from tradewatch.paper.kraken.names import Names, Pair, asset, fixed
from tradewatch.paper.kraken.trading import order_name
from tradewatch.paper.market import Market, Quote
from tradewatch.paper.orders import Order, Trade
from tradewatch.paper.tape import Bar, Print
from tradewatch.paper.units import ONE, show

Data = dict[str, object]
CHECKED_LEVELS = 10
_REASONS = {
    None: "User requested",
    "deadman": "Cancel all orders after timeout",
    "replaced": "Order replaced",
    "self_trade": "Self trade prevented",
    "time_in_force": "Immediate or cancel",
}
_ENCODER = msgspec.json.Encoder(decimal_format="number")


def encode(message: object) -> str:
    """A message as text; decimals keep their places as numbers."""
    return _ENCODER.encode(message).decode()


def amount(units: int) -> Decimal:
    """A quantity or value as a number with eight places."""
    return Decimal(show(units))


def moment(at_ns: int) -> str:
    """A time as `2023-09-25T07:49:37.708706Z`."""
    seconds, rest = divmod(at_ns, 10**9)
    at = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{at}.{rest // 1000:06d}Z"


def ticker(one: Pair, market: Market, quote: Quote) -> Data:
    """Channel `ticker`."""
    day = day_of(market, quote)
    size = amount(quote.size)
    change = quote.mid - day.open
    return {
        "symbol": one.symbol,
        "bid": price(one, quote.bid),
        "bid_qty": size,
        "ask": price(one, quote.ask),
        "ask_qty": size,
        "last": price(one, quote.mid),
        "volume": amount(day.volume),
        "vwap": price(one, vwap(day)),
        "low": price(one, min(day.low, quote.mid)),
        "high": price(one, max(day.high, quote.mid)),
        "change": price(one, change),
        "change_pct": Decimal(f"{change / day.open * 100:.2f}"),
        "timestamp": moment(quote.at_ns),
    }


def book(one: Pair, quote: Quote, depth: int) -> Data:
    """A snapshot of channel `book`."""
    bids, asks = ladder(one, quote, depth)
    return {
        "symbol": one.symbol,
        "bids": _levels(one, bids, quote.size),
        "asks": _levels(one, asks, quote.size),
        "checksum": checksum(one, bids, asks, quote.size),
    }


def book_update(one: Pair, before: Quote, quote: Quote, depth: int) -> Data:
    """What changes a book of `depth` levels into another.

    Levels that the price has passed are taken out (quantity 0); levels that only fell out of the depth are left to
    the client to cut, as the venue does.
    """
    old_bids, old_asks = ladder(one, before, depth)
    bids, asks = ladder(one, quote, depth)
    gone_bids = [level for level in old_bids if level > quote.bid]
    gone_asks = [level for level in old_asks if level < quote.ask]
    if before.size != quote.size:
        old_bids, old_asks = [], []
    return {
        "symbol": one.symbol,
        "bids": _levels(one, gone_bids, 0) + _levels(one, _added(bids, old_bids), quote.size),
        "asks": _levels(one, gone_asks, 0) + _levels(one, _added(asks, old_asks), quote.size),
        "checksum": checksum(one, bids, asks, quote.size),
        "timestamp": moment(quote.at_ns),
    }


def checksum(one: Pair, bids: Sequence[int], asks: Sequence[int], size: int) -> int:
    """Of the best ten levels of each side, all of one size."""
    shown = fixed(size, one.lot_decimals)
    texts = [text for level in (*asks[:CHECKED_LEVELS], *bids[:CHECKED_LEVELS]) for text in (one.price(level), shown)]
    return zlib.crc32("".join(text.replace(".", "").lstrip("0") for text in texts).encode())


def trade(one: Pair, print_: Print) -> Data:
    """Channel `trade`."""
    return {
        "symbol": one.symbol,
        "side": "sell" if print_.sell else "buy",
        "price": price(one, print_.price),
        "qty": amount(print_.quantity),
        "ord_type": "market",
        "trade_id": print_.trade_id,
        "timestamp": moment(print_.at_ns),
    }


def candle(one: Pair, candle_: Bar, minutes: int) -> Data:
    """Channel `ohlc`."""
    return {
        "symbol": one.symbol,
        "open": price(one, candle_.open),
        "high": price(one, candle_.high),
        "low": price(one, candle_.low),
        "close": price(one, candle_.close),
        "trades": candle_.prints,
        "volume": amount(candle_.volume),
        "vwap": price(one, vwap(candle_)),
        "interval_begin": moment(candle_.start_ns)[:-1] + "000Z",
        "interval": minutes,
        "timestamp": moment(candle_.start_ns + minutes * MINUTE_NS),
    }


def instruments(exchange: Exchange, names: Names) -> Data:
    """Channel `instrument`."""
    return {
        "assets": [
            {
                "id": code,
                "status": "enabled",
                "precision": 8,
                "precision_display": asset(code).display_decimals,
                "multiplier": 1.0,
                "borrowable": False,
                "collateral_value": 0.0,
                "margin_rate": 0.0,
            }
            for code in exchange.currencies
        ],
        "pairs": [
            {
                "symbol": one.symbol,
                "base": one.base.code,
                "quote": one.quote.code,
                "status": "online" if exchange.now_ns < exchange.markets[one.key].end_ns else "cancel_only",
                "qty_precision": one.lot_decimals,
                "qty_increment": amount(one.instrument.step),
                "price_precision": one.price_decimals,
                "cost_precision": COST_DECIMALS,
                "marginable": False,
                "has_index": False,
                "cost_min": amount(one.instrument.min_notional),
                "tick_size": amount(one.instrument.tick),
                "price_increment": amount(one.instrument.tick),
                "qty_min": amount(one.instrument.step),
            }
            for one in names.pairs
        ],
    }


def changed(names: Names, event: OrderChanged, fills: Sequence[Trade], *, every_state: bool) -> list[Data]:
    """Channel `executions`: what it says of one change of an order, `fills` being the order's trades so far.

    A fill is `trade`, with status partially_filled even where it is the last one, which `filled` follows. Beside the
    first report and trades there is no symbol.
    """
    order, one = event.order, names.by_key[event.order.symbol]
    short = _short(one, order, event.at_ns)
    match event.change:
        case "new":
            pending = _whole(one, order, "pending_new", "pending_new", event.at_ns)
            return [*([pending] if every_state else []), {"exec_type": "new", "order_status": "new", **short}]
        case "amended":
            restated = {"limit_price": price(one, order.price), "order_qty": amount(order.quantity), "amended": True}
            status = {"exec_type": "amended", "order_status": _open_status(order), **short, **restated}
            return [status | {"reason": "User requested"}] if every_state else []
        case "trade":
            done = {"exec_type": "filled", "order_status": "filled", **short, **_totals(one, fills)}
            return [
                *([executed(names, order, fills, "partially_filled")] if every_state else []),
                *([done] if order.status == "FILLED" else []),
            ]
        case "canceled" | "expired":
            cut = event.change == "expired" and event.reason is None
            status_text = "expired" if cut else "canceled"
            reason = {} if cut else {"cancel_reason": _REASONS[event.reason], "reason": _REASONS[event.reason]}
            status = {"exec_type": status_text, "order_status": status_text, **short}
            return [status | _totals(one, fills) | reason]


def open_order(names: Names, order: Order, fills: Sequence[Trade]) -> Data:
    """An open order in a snapshot of `executions`, with its trades so far."""
    one = names.by_key[order.symbol]
    return _whole(one, order, "new", _open_status(order), order.created_ns) | _totals(one, fills)


def executed(names: Names, order: Order, fills: Sequence[Trade], status: str) -> Data:
    """The last of an order's trades so far in `executions`."""
    one, fill = names.by_key[order.symbol], fills[-1]
    return {
        "order_id": order_name(order),
        **_client(order),
        "exec_id": trade_name(names, fill),
        "exec_type": "trade",
        "trade_id": fill.trade_id,
        "symbol": one.symbol,
        "side": fill.side.lower(),
        "last_qty": amount(fill.quantity),
        "last_price": price(one, fill.price),
        "liquidity_ind": "m" if fill.role == "maker" else "t",
        "cost": amount(fill.quote_amount),
        "order_userref": order.user_ref or 0,
        "order_status": status,
        "order_type": "market" if order.type == "MARKET" else "limit",
        **_totals(one, fills),
        "fees": [{"asset": fill.fee_currency, "qty": amount(fill.fee)}],
        "timestamp": moment(fill.at_ns),
    }


def balances(exchange: Exchange, account: str) -> list[Data]:
    """A snapshot of channel `balances`."""
    return [
        {
            "asset": code,
            "asset_class": "currency",
            "balance": amount(held.free + held.locked),
            "wallets": [{"type": "spot", "id": "main", "balance": amount(held.free + held.locked)}],
        }
        for code, held in exchange.holdings(account).items()
        if held.free + held.locked
    ]


def moved(names: Names, entries: Iterable[Entry]) -> list[Data]:
    """Updates of channel `balances`: a line of the statement each."""
    return [
        {
            "asset": entry.currency,
            "asset_class": "currency",
            "amount": amount(entry.amount),
            "balance": amount(entry.balance),
            "fee": amount(entry.fee),
            "ledger_id": entry_name(entry),
            "ref_id": reference_name(names, entry),
            "timestamp": moment(entry.at_ns),
            "type": entry.kind,
            "subtype": "",
            "category": entry.kind,
            "wallet_type": "spot",
            "wallet_id": "main",
        }
        for entry in entries
    ]


def price(one: Pair, units: int) -> Decimal:
    """A price as a number with the pair's decimals."""
    return Decimal(one.price(units))


def _levels(one: Pair, levels: Iterable[int], size: int) -> list[Data]:
    shown = Decimal(fixed(size, one.lot_decimals))
    return [{"price": price(one, level), "qty": shown} for level in levels]


def _added(levels: list[int], before: list[int]) -> list[int]:
    known = set(before)
    return [level for level in levels if level not in known]


def _client(order: Order) -> Data:
    return {"cl_ord_id": order.client_id} if order.client_named else {}


def _short(one: Pair, order: Order, at_ns: int) -> Data:
    return {
        "order_id": order_name(order),
        **_client(order),
        "order_userref": order.user_ref or 0,
        "timestamp": moment(at_ns),
    }


def _open_status(order: Order) -> str:
    return "partially_filled" if order.executed else "new"


def _totals(one: Pair, fills: Sequence[Trade]) -> Data:
    quantity, cost = sum(fill.quantity for fill in fills), sum(fill.quote_amount for fill in fills)
    return {
        "cum_qty": amount(quantity),
        "cum_cost": amount(cost),
        "avg_price": amount(cost * ONE // quantity if quantity else 0),
        "fee_usd_equiv": amount(sum(_fee_value(one, fill) for fill in fills)),
    }


def _fee_value(one: Pair, fill: Trade) -> int:
    """A fee in the quote currency, where it is in base or quote."""
    return one.instrument.notional(fill.price, fill.fee) if fill.fee_currency == one.base.code else fill.fee


def _whole(one: Pair, order: Order, exec_type: str, status: str, at_ns: int) -> Data:
    limit = {} if order.type == "MARKET" else {"limit_price_type": "static", "limit_price": price(one, order.price)}
    return {
        "exec_type": exec_type,
        "order_status": status,
        **_short(one, order, at_ns),
        "symbol": one.symbol,
        "side": order.side.lower(),
        "order_type": "market" if order.type == "MARKET" else "limit",
        "order_qty": amount(order.quantity),
        "cum_cost": amount(0),
        "time_in_force": "GTD" if order.expires_ns is not None else order.time_in_force,
        **limit,
        **({"post_only": True} if order.type == "LIMIT_MAKER" else {}),
        "fee_usd_equiv": amount(0),
        "fee_ccy_pref": "fcib" if order.fee_in == "base" else "fciq",
    }
