"""What the control path shows of the perpetual's books, as plain values ready for JSON.

Amounts are decimal strings rounded half-even to 18 places; times are epoch nanoseconds.
"""

from __future__ import annotations

from fractions import Fraction

from tradewatch.paper.perpetual.exchange import Perpetual
from tradewatch.paper.perpetual.values import Conditional, Fill, Order
from tradewatch.paper.units import decimal


def books(exchange: Perpetual) -> dict[str, object]:
    """GET /paper/books: `wallet` and `equity` are the books', `wallet_held` is what the exchange has."""
    exchange.advance()
    marks = exchange.marks()
    shown = {}
    for name in exchange.names:
        wallet, contracts = exchange.wallet(name), exchange.books.read()[name]
        shown[name] = {
            "wallet": _exact(exchange.books.wallet(name)),
            "wallet_held": decimal(wallet.balance),
            "equity": _exact(exchange.books.equity(name, marks)),
            "equity_at_last_quote": _at_last_quote(exchange, name),
            "orders": [_order(order, exchange) for order in wallet.orders.values()],
            "conditional_orders": [_conditional(one, exchange) for one in wallet.conditionals.values()],
            "trades": [_fill(fill, exchange) for fill in wallet.fills],
            "incomes": [
                {"kind": one.kind, "symbol": one.symbol, "amount": decimal(one.amount), "at_ns": one.at_ns}
                for one in wallet.incomes
            ],
            "positions": {
                _symbol(exchange, symbol): {
                    "amount": _exact(book.amount),
                    "entry_price": _exact(book.average) if book.amount else None,
                    "realised": _exact(book.realised),
                    "fees": _exact(book.fees),
                    "funding": _exact(book.funding),
                    "clearance": _exact(book.clearance),
                    "currency": exchange.currency,
                }
                for symbol, book in contracts.items()
            },
        }
    return {
        "at_ns": exchange.now_ns,
        "currency": exchange.currency,
        "mids": {
            _symbol(exchange, symbol): {"mid": decimal(mark), "at_ns": exchange.now_ns}
            for symbol, mark in marks.items()
        },
        "accounts": shown,
    }


def _at_last_quote(exchange: Perpetual, name: str) -> str | None:
    """Equity at the marks that the account's client was last told; None while one of a position is not known."""
    told = {symbol: quote.mid for symbol, quote in exchange.last_quoted[name].items()}
    contracts = exchange.books.read()[name]
    if any(book.amount and symbol not in told for symbol, book in contracts.items()):
        return None
    return _exact(exchange.books.equity(name, dict.fromkeys(contracts, 0) | told))


def _exact(value: Fraction) -> str:
    return decimal(value.numerator, value.denominator)


def _symbol(exchange: Perpetual, symbol: str) -> str:
    """`BTC/USDT:USDT`: base, quote and what it settles in."""
    return f"{exchange.markets[symbol].instrument.symbol}:{exchange.currency}" if symbol else ""


def _order(order: Order, exchange: Perpetual) -> dict[str, object]:
    return {
        "order_id": order.order_id,
        "client_order_id": order.client_id,
        "symbol": _symbol(exchange, order.symbol),
        "side": order.side,
        "type": order.type,
        "time_in_force": order.time_in_force,
        "status": order.status,
        "reduce_only": order.reduce_only,
        "price": decimal(order.price) if order.price else None,
        "quantity": decimal(order.quantity),
        "executed": decimal(order.executed),
        "quote_executed": decimal(order.quote_executed),
        "created_ns": order.created_ns,
        "updated_ns": order.updated_ns,
    }


def _conditional(one: Conditional, exchange: Perpetual) -> dict[str, object]:
    return {
        "algo_id": one.algo_id,
        "client_algo_id": one.client_id,
        "symbol": _symbol(exchange, one.asked.symbol),
        "side": one.asked.side,
        "type": one.asked.type,
        "status": one.status,
        "trigger": decimal(one.asked.trigger),
        "quantity": decimal(one.asked.quantity) if one.asked.quantity else None,
        "closes_position": one.asked.closes_position,
        "order_id": one.order_id,
        "triggered_ns": one.triggered_ns or None,
        "created_ns": one.created_ns,
        "updated_ns": one.updated_ns,
    }


def _fill(fill: Fill, exchange: Perpetual) -> dict[str, object]:
    return {
        "trade_id": fill.trade_id,
        "order_id": fill.order_id,
        "symbol": _symbol(exchange, fill.symbol),
        "side": fill.side,
        "price": decimal(fill.price),
        "quantity": decimal(fill.quantity),
        "realised": decimal(fill.realised),
        "fee": decimal(fill.fee),
        "fee_currency": exchange.currency,
        "role": fill.role,
        "at_ns": fill.at_ns,
    }
