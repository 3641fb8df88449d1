"""Kraken over REST: what an account has ordered, traded, holds and moved.

Each function returns the result. Times in the answers are simulated, in seconds. Lists come newest first, 50 a page.

Source: https://docs.kraken.com/api-reference/account-data/get-extended-balance and the pages beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from tradewatch.paper.accounts import Entry, Transfer
from tradewatch.paper.exchange import Exchange
from tradewatch.paper.kraken.errors import KrakenError, invalid
from tradewatch.paper.kraken.market_data import COST_DECIMALS
from tradewatch.paper.kraken.names import Asset, Names, asset, fixed, number, spelled
from tradewatch.paper.kraken.parameters import Params, amount, flag, names_list, required, seconds_ns, text_of, whole
from tradewatch.paper.kraken.trading import described, order_name
from tradewatch.paper.orders import Order, Trade
from tradewatch.paper.units import ONE, show

PAGE = 50
QUERY_MOST = 50
_Listed = TypeVar("_Listed", Order, Trade, Entry)
_MARKET_BITS = 40


def trade_name(names: Names, trade: Trade) -> str:
    """A trade's id in Kraken's spelling; the exchange numbers trades by market."""
    return spelled("T", _market(names, trade.symbol) | trade.trade_id)


def entry_name(entry: Entry) -> str:
    """A ledger entry's id in Kraken's spelling."""
    return spelled("L", entry.entry_id)


def reference_name(names: Names, entry: Entry) -> str:
    """What a ledger entry refers to: a trade's id, or a transfer's."""
    if entry.symbol is None:
        return spelled("F", entry.reference)
    return spelled("T", _market(names, entry.symbol) | entry.reference)


def _market(names: Names, key: str) -> int:
    return [one.key for one in names.pairs].index(key) << _MARKET_BITS


def balance(exchange: Exchange, names: Names, account: str, params: Params) -> object:
    """Balance: what is held, locked or not; currencies that were never held are left out."""
    held = exchange.holdings(account)
    return {asset(code).id: show(one.free + one.locked) for code, one in held.items() if one.free + one.locked}


def balance_ex(exchange: Exchange, names: Names, account: str, params: Params) -> object:
    """BalanceEx: with what is held for open orders."""
    held = exchange.holdings(account)
    return {
        asset(code).id: {"balance": show(one.free + one.locked), "hold_trade": show(one.locked)}
        for code, one in held.items()
        if one.free + one.locked
    }


def trade_balance(exchange: Exchange, names: Names, account: str, params: Params) -> object:
    """TradeBalance in the first market's quote currency: there is no margin, so equity is what is held."""
    quote = names.pairs[0].quote.code
    total = 0
    for code, held in exchange.holdings(account).items():
        amount = held.free + held.locked
        key = f"{code}{quote}"
        if code == quote:
            total += amount
        elif key in exchange.markets:
            total += amount * exchange.markets[key].quote(exchange.now_ns).mid // ONE
    zero = fixed(0, 4)
    worth = fixed(total, 4)
    return {"eb": worth, "tb": worth, "m": zero, "n": zero, "c": zero, "v": zero, "e": worth, "mf": worth}


def trade_volume(exchange: Exchange, names: Names, account: str, params: Params) -> object:
    """TradeVolume: the rates of the pairs asked for; there is one tier."""
    volume = sum(trade.quote_amount for trade in exchange.trades(account))
    pairs = [names.find(name) for name in names_list(params, "pair")]
    rates = {"fees": exchange.fees.taker, "fees_maker": exchange.fees.maker}
    fees = {
        side: {
            one.id: {
                "fee": fixed(rate * 100, 4),
                "minfee": fixed(rate * 100, 4),
                "maxfee": fixed(rate * 100, 4),
                "nextfee": None,
                "nextvolume": None,
                "tiervolume": "0.0000",
            }
            for one in pairs
        }
        for side, rate in rates.items()
    }
    return {"currency": names.pairs[0].quote.id, "volume": fixed(volume, 4), **(fees if pairs else {})}


def open_orders(exchange: Exchange, names: Names, account: str, params: Params) -> object:
    """OpenOrders."""
    found = [one for one in reversed(exchange.open_orders(account)) if _referred(one, params)]
    return {"open": _orders(exchange, names, account, found, trades=flag(params, "trades"))}


def closed_orders(exchange: Exchange, names: Names, account: str, params: Params) -> object:
    """ClosedOrders, by their end: filled, cancelled and expired ones."""
    orders = [one for one in exchange.orders(account) if not one.is_open and _referred(one, params)]
    by_opening = text_of(params, "closetime") == "open"
    found = _between(orders, params, "O", lambda one: one.created_ns if by_opening else one.updated_ns, _order_number)
    page = _page(found, params)
    return {"closed": _orders(exchange, names, account, page, trades=flag(params, "trades")), "count": len(found)}


def query_orders(exchange: Exchange, names: Names, account: str, params: Params) -> object:
    """QueryOrders: at most 50 by id."""
    orders = {one.order_id: one for one in exchange.orders(account)}
    found = [orders.get(order_id) for order_id in _ids(params, "txid", "O")]
    if None in found:
        raise KrakenError("EOrder:Unknown order")
    chosen = [one for one in found if one is not None and _referred(one, params)]
    return _orders(exchange, names, account, chosen, trades=flag(params, "trades"))


def trades_history(exchange: Exchange, names: Names, account: str, params: Params) -> object:
    """TradesHistory."""
    found = _between(
        exchange.trades(account), params, "T", lambda one: one.at_ns, lambda one: number("T", trade_name(names, one))
    )
    shown = {trade_name(names, one): _trade(exchange, names, account, one) for one in _page(found, params)}
    return {"trades": shown, "count": len(found)}


def query_trades(exchange: Exchange, names: Names, account: str, params: Params) -> object:
    """QueryTrades: at most 50 by id."""
    trades = {number("T", trade_name(names, one)): one for one in exchange.trades(account)}
    found = [trades.get(trade_id) for trade_id in _ids(params, "txid", "T")]
    if None in found:
        raise KrakenError("EQuery:Unknown trade")
    return {trade_name(names, one): _trade(exchange, names, account, one) for one in found if one is not None}


def ledgers(exchange: Exchange, names: Names, account: str, params: Params) -> object:
    """Ledgers: the statement, by asset and type if asked."""
    wanted = names_list(params, "asset")
    kind = text_of(params, "type") or "all"
    codes = {_code(exchange, name) for name in wanted if name != "all"}
    entries = [
        one for one in exchange.statement(account) if (not codes or one.currency in codes) and kind in ("all", one.kind)
    ]
    found = _between(entries, params, "L", lambda one: one.at_ns, lambda one: one.entry_id)
    shown = {entry_name(one): _entry(names, one) for one in _page(found, params)}
    return {"ledger": shown} | ({} if flag(params, "without_count") else {"count": len(found)})


def query_ledgers(exchange: Exchange, names: Names, account: str, params: Params) -> object:
    """QueryLedgers: at most 50 by id."""
    entries = {one.entry_id: one for one in exchange.statement(account)}
    found = [entries.get(entry_id) for entry_id in _ids(params, "id", "L")]
    if None in found:
        raise KrakenError("EQuery:Unknown ledger")
    return {entry_name(one): _entry(names, one) for one in found if one is not None}


def deposit_status(exchange: Exchange, names: Names, account: str, params: Params) -> object:
    """DepositStatus."""
    return _transfers(exchange, account, params, "deposit")


def withdraw_status(exchange: Exchange, names: Names, account: str, params: Params) -> object:
    """WithdrawStatus; with `cursor` as a page, which is the last one."""
    found = _transfers(exchange, account, params, "withdrawal")
    return {"withdrawals": found, "next_cursor": None} if text_of(params, "cursor") else found


def withdraw(exchange: Exchange, names: Names, account: str, params: Params) -> object:
    """Withdraw: done at once and free; any withdrawal key is known."""
    code = _code(exchange, required(params, "asset"), "EFunding:Unknown asset")
    required(params, "key")
    try:
        size = amount(params, "amount") or 0
    except KrakenError:
        size = 0
    if not size:
        raise KrakenError("EFunding:Invalid amount")
    if exchange.holdings(account)[code].free < size:
        raise KrakenError("EFunding:Insufficient funds")
    return {"refid": spelled("F", exchange.transfer(account, code, -size).transfer_id)}


def _orders(
    exchange: Exchange, names: Names, account: str, orders: Sequence[Order], *, trades: bool
) -> dict[str, object]:
    by_order: dict[int, list[Trade]] = {}
    for trade in exchange.trades(account):
        by_order.setdefault(trade.order_id, []).append(trade)
    shown: dict[str, object] = {}
    for one in orders:
        fills = by_order.get(one.order_id, [])
        body = order_info(names, one, fills)
        if trades and fills:
            body["trades"] = [trade_name(names, fill) for fill in fills]
        shown[order_name(one)] = body
    return shown


def order_info(names: Names, order: Order, fills: Sequence[Trade]) -> dict[str, object]:
    """An order as the lists have it, with its trades; `price` is their average."""
    one = names.by_key[order.symbol]
    limit = one.price(order.price) if order.price else "0"
    flags = ["fcib" if order.fee_in == "base" else "fciq"]
    if order.type == "LIMIT_MAKER":
        flags.append("post")
    if order.quote_quantity:
        flags.append("viqc")
    average = order.quote_executed * ONE // order.executed if order.executed else 0
    ended = "" if order.is_open else _ended(order)
    shown: dict[str, object] = {
        "refid": None,
        "userref": order.user_ref,
        **({"cl_ord_id": order.client_id} if order.client_named else {}),
        "status": "open" if order.is_open else ended,
        "opentm": order.created_ns / 1e9,
        "starttm": 0,
        "expiretm": (order.expires_ns or 0) / 1e9,
        "descr": {
            "pair": one.altname,
            "type": order.side.lower(),
            "ordertype": "market" if order.type == "MARKET" else "limit",
            "price": limit,
            "price2": "0",
            "leverage": "none",
            "order": described(names, order),
            "close": "",
        },
        "vol": show(order.quantity),
        "vol_exec": show(order.executed),
        "cost": fixed(order.quote_executed, 8),
        "fee": fixed(sum(fill.fee for fill in fills), 8),
        "price": fixed(average, max(one.price_decimals, COST_DECIMALS)),
        "stopprice": fixed(0, COST_DECIMALS),
        "limitprice": fixed(0, COST_DECIMALS),
        "misc": "",
        "oflags": ",".join(flags),
        "margin": False,
    }
    if not order.is_open:
        reason = None if ended != "canceled" else "User requested"
        shown |= {"reason": reason, "closetm": order.updated_ns / 1e9}
    return shown


def _ended(order: Order) -> str:
    if order.status == "EXPIRED" and order.expires_ns is None:
        return "canceled"  # immediate or cancel, fill or kill: nothing was left to rest
    return {"FILLED": "closed", "CANCELED": "canceled", "EXPIRED": "expired", "EXPIRED_IN_MATCH": "canceled"}[
        order.status
    ]


def _trade(exchange: Exchange, names: Names, account: str, trade: Trade) -> dict[str, object]:
    one = names.by_key[trade.symbol]
    order = exchange.order(account, trade.symbol, trade.order_id, None)
    return {
        "ordertxid": order_name(order),
        "postxid": spelled("T", 0),
        "pair": one.id,
        "aclass": "forex",
        "time": trade.at_ns / 1e9,
        "type": trade.side.lower(),
        "ordertype": "market" if order.type == "MARKET" else "limit",
        "price": fixed(trade.price, max(one.price_decimals, COST_DECIMALS)),
        "cost": fixed(trade.quote_amount, 8),
        "fee": fixed(trade.fee, 8),
        "vol": show(trade.quantity),
        "margin": fixed(0, COST_DECIMALS),
        "leverage": "0",
        "misc": "",
        "trade_id": trade.trade_id,
        "maker": trade.role == "maker",
    }


def _entry(names: Names, entry: Entry) -> dict[str, object]:
    return {
        "refid": reference_name(names, entry),
        "time": entry.at_ns / 1e9,
        "type": entry.kind,
        "subtype": "",
        "aclass": "currency",
        "asset": asset(entry.currency).id,
        "amount": show(entry.amount),
        "fee": show(entry.fee),
        "balance": show(entry.balance),
    }


def _transfers(exchange: Exchange, account: str, params: Params, kind: str) -> list[dict[str, object]]:
    wanted = text_of(params, "asset")
    code = _code(exchange, wanted, "EFunding:Unknown asset") if wanted else None
    start_ns, end_ns = seconds_ns(params, "start") or 0, seconds_ns(params, "end") or 1 << 63
    return [
        _transfer(one, asset(one.currency))
        for one in reversed(exchange.transfers(account))
        if one.kind == kind and code in (None, one.currency) and start_ns <= one.at_ns <= end_ns
    ]


def _transfer(transfer: Transfer, one: Asset) -> dict[str, object]:
    shown: dict[str, object] = {
        "method": one.code,
        "aclass": "currency",
        "asset": one.id,
        "refid": spelled("F", transfer.transfer_id),
        "txid": f"paper-{transfer.transfer_id}",
        "info": f"paper-address-{one.code}",
        "amount": show(transfer.amount),
        "fee": show(transfer.fee),
        "time": transfer.at_ns // 10**9,
        "status": "Success",
    }
    return shown | ({"network": one.code, "key": "paper"} if transfer.kind == "withdrawal" else {})


def _referred(order: Order, params: Params) -> bool:
    user_ref, client_id = whole(params, "userref"), text_of(params, "cl_ord_id")
    return user_ref in (None, order.user_ref) and (
        not client_id or (order.client_named and order.client_id == client_id)
    )


def _order_number(order: Order) -> int | None:
    return order.order_id


def _code(exchange: Exchange, name: str, unknown: str = "EQuery:Unknown asset") -> str:
    for code in exchange.currencies:
        one = asset(code)
        if name.upper() in (one.id, one.altname, one.code):
            return code
    raise KrakenError(unknown)


def _ids(params: Params, name: str, kind: str) -> list[int]:
    texts = names_list(params, name)
    if not texts or len(texts) > QUERY_MOST:
        raise invalid(name)
    found = [number(kind, text) for text in texts]
    if None in found:
        raise KrakenError("EOrder:Invalid order" if kind == "O" else f"EGeneral:Invalid arguments:{name}")
    return [one for one in found if one is not None]


def _between(
    listed: Sequence[_Listed],
    params: Params,
    kind: str,
    at_ns: Callable[[_Listed], int],
    number_of: Callable[[_Listed], int | None],
) -> list[_Listed]:
    """Newest first, from `start` (exclusive) to `end` (inclusive): times in seconds, or ids."""

    def bound(name: str, default: int) -> int:
        text = text_of(params, name)
        named = number(kind, text)
        if named is not None:
            return next((at_ns(one) for one in listed if number_of(one) == named), default)
        return seconds_ns(params, name) or default

    after_ns, until_ns = bound("start", -1), bound("end", 1 << 63)
    found = [one for one in listed if after_ns < at_ns(one) <= until_ns]
    return sorted(found, key=at_ns)[::-1]


def _page(found: Sequence[_Listed], params: Params) -> Sequence[_Listed]:
    offset = max(whole(params, "ofs") or 0, 0)
    return found[offset : offset + PAGE]
