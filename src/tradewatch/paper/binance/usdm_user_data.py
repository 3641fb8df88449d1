"""The USD-M perpetual's user stream: orders, conditional orders, wallet and positions, settings.

Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/user-data-streams
"""

from __future__ import annotations

from collections.abc import Iterable

from tradewatch.paper.binance.usdm_orders import average_price
from tradewatch.paper.feed import ContractChanged, Event
from tradewatch.paper.perpetual import Perpetual
from tradewatch.paper.perpetual.values import AccountNews, Conditional, Order, OrderNews, SettingsNews
from tradewatch.paper.units import show


def events(exchange: Perpetual, event: Event) -> Iterable[dict[str, object]]:
    """The messages that an event leads to."""
    if not isinstance(event, ContractChanged):
        return
    at_ms = event.at_ns // 1_000_000
    body: dict[str, object] = {}
    match event.news:
        case OrderNews():
            body = {"e": "ORDER_TRADE_UPDATE", "o": _order(exchange, event.news, at_ms)}
        case Conditional():
            body = {"e": "ALGO_UPDATE", "o": _algo(event.news)}
        case AccountNews():
            body = {"e": "ACCOUNT_UPDATE", "a": _account(exchange, event.account, event.news)}
        case SettingsNews():
            body = {"e": "ACCOUNT_CONFIG_UPDATE", "ac": {"s": event.news.symbol, "l": event.news.leverage}}
    yield {**body, "E": at_ms, "T": at_ms}


def _order(exchange: Perpetual, news: OrderNews, at_ms: int) -> dict[str, object]:
    order, fill = news.order, news.fill
    body: dict[str, object] = {
        "s": order.symbol,
        "c": order.client_id,
        "S": order.side,
        "o": order.type,
        "f": order.time_in_force,
        "q": show(order.quantity),
        "p": show(order.price),
        "ap": show(average_price(order)),
        "sp": show(0),
        "x": news.execution,
        "X": order.status,
        "i": order.order_id,
        "l": show(fill.quantity if fill else 0),
        "z": show(order.executed),
        "L": show(fill.price if fill else 0),
        "T": at_ms,
        "t": fill.trade_id if fill else 0,
        "b": show(0),
        "a": show(0),
        "m": fill is not None and fill.role == "maker",
        "R": order.reduce_only,
        "wt": "CONTRACT_PRICE",
        "ot": order.from_conditional or order.type,
        "ps": "BOTH",
        "cp": order.closes,
        "rp": show(fill.realised if fill else 0),
        "pP": False,
        "si": 0,
        "ss": 0,
        "V": "NONE",
        "pm": "NONE",
        "gtd": 0,
        "er": _expiry_reason(order),
    }
    return body | ({"N": exchange.currency, "n": show(fill.fee)} if fill else {})


def _expiry_reason(order: Order) -> str:
    """Why an order expired, by the documents' numbers: 0 none, 2 IOC, 4 nothing left to reduce, 9 market, 10 FOK."""
    if order.status != "EXPIRED":
        return "0"
    if order.type == "MARKET":
        return "9"
    return {"IOC": "2", "FOK": "10"}.get(order.time_in_force, "4")


def _algo(one: Conditional) -> dict[str, object]:
    asked = one.asked
    return {
        "caid": one.client_id,
        "aid": one.algo_id,
        "at": "CONDITIONAL",
        "o": asked.type,
        "s": asked.symbol,
        "S": asked.side,
        "ps": "BOTH",
        "f": asked.time_in_force,
        "q": show(asked.quantity),
        "X": one.status,
        "ai": "" if one.order_id is None else str(one.order_id),
        "tp": show(asked.trigger),
        "p": show(asked.price),
        "V": "NONE",
        "wt": "MARK_PRICE",
        "pm": "NONE",
        "cp": asked.closes_position,
        "pP": False,
        "R": asked.reduce_only,
        "tt": one.triggered_ns // 1_000_000,
        "gtd": 0,
    }


def _account(exchange: Perpetual, account: str, news: AccountNews) -> dict[str, object]:
    wallet, marks = exchange.wallet(account), exchange.marks()
    balances = [{"a": exchange.currency, "wb": show(wallet.balance), "cw": show(wallet.cross_balance), "bc": show(0)}]
    positions = []
    for symbol in news.symbols:
        one = wallet.position(symbol)
        positions.append(
            {
                "s": symbol,
                "pa": show(one.amount),
                "ep": show(one.entry_price),
                "bep": show(one.entry_price),
                "cr": show(sum(fill.realised for fill in wallet.fills if fill.symbol == symbol)),
                "up": show(one.unrealised(marks[symbol])),
                "mt": one.margin_type,
                "iw": show(one.isolated),
                "ps": "BOTH",
            }
        )
    return {"m": news.reason, "B": balances, "P": positions}
