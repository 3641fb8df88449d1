"""What the control paths show: books, clock and requests, as plain values ready for JSON.

Amounts are decimal strings rounded half-even to 18 places; times are epoch nanoseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tradewatch.model.clock import Clock
from tradewatch.paper.accounts import Holding, Transfer
from tradewatch.paper.books import Books
from tradewatch.paper.exchange import Exchange
from tradewatch.paper.journal import Mark
from tradewatch.paper.orders import Order, Trade
from tradewatch.paper.perpetual import Perpetual
from tradewatch.paper.units import ONE, decimal, parse


def books(exchange: Exchange, kept: Books, name_of: Callable[[int], int | str] = int) -> dict[str, object]:
    """GET /paper/books; `name_of` gives an order's id as the venue's clients know it."""
    now_ns = exchange.advance()
    marks = {symbol: Mark(market.quote(now_ns).mid, now_ns) for symbol, market in exchange.markets.items()}
    accounts = kept.read()
    quote = next(iter(exchange.markets.values())).instrument.quote
    shown = {}
    for name in exchange.names:
        book = accounts[name]
        holdings = exchange.holdings(name)
        shown[name] = {
            "balances": {
                currency: {"free": decimal(held.free), "locked": decimal(held.locked)}
                for currency, held in holdings.items()
            },
            "orders": [_order(order, exchange, name_of) for order in exchange.orders(name)],
            "trades": [_trade(trade, exchange, name_of) for trade in exchange.trades(name)],
            "transfers": [_transfer(one) for one in exchange.transfers(name)],
            "fees": {currency: decimal(fee) for currency, fee in book.fees.items()},
            "unvalued_fees": {currency: decimal(fee) for currency, fee in book.unvalued_fees.items()},
            "positions": {
                exchange.markets[symbol].instrument.symbol: {
                    "amount": decimal(position.amount),
                    "average_cost": decimal(position.average_over, position.denominator * ONE)
                    if position.amount
                    else None,
                    "realised": decimal(position.realised_over, position.denominator * ONE * ONE),
                    "currency": exchange.markets[symbol].instrument.quote,
                }
                for symbol, position in book.positions.items()
            },
            "equity": equity(exchange, holdings, quote, marks),
            "equity_at_last_quote": equity(exchange, holdings, quote, exchange.journal.last_quoted[name]),
        }
    return {
        "at_ns": now_ns,
        "currency": quote,
        "mids": _marks(exchange, marks),
        "opening_marks": _marks(exchange, exchange.journal.opening_marks),
        "accounts": shown,
    }


def transfer(exchange: Exchange | Perpetual, options: Mapping[str, str]) -> dict[str, object]:
    """POST /paper/transfer: money that comes in (`amount` above zero) or goes out, with a `fee`.

    Args:
        exchange: where it happens, now.
        options: `currency` and `amount`; `account` (the first one unless said) and `fee` (0).

    Raises:
        ValueError: a missing or unusable option.
        Refusal: unknown currency, too little free.
    """
    account, currency = options.get("account", exchange.names[0]), options.get("currency", "")
    amount = options.get("amount", "")
    if account not in exchange.names:
        raise ValueError(f"account={account!r}; accepted is one of {', '.join(exchange.names)}")
    size = parse(amount.removeprefix("-"))
    if not size:
        raise ValueError("amount=0; accepted is an amount other than zero")
    exchange.advance()
    sign = -1 if amount.startswith("-") else 1
    moved = exchange.transfer(account, currency, sign * size, parse(options.get("fee", "0")))
    return _transfer(moved)


def equity(
    exchange: Exchange, holdings: Mapping[str, Holding], quote: str, marks: Mapping[str, Mark]
) -> dict[str, object]:
    """The account's worth in `quote`: `value` is None while a held currency has no price, listed in `missing`.

    `at_ns` is the instant of the latest mark that went in; None when none did.
    """
    total, missing, times = 0, [], []
    for currency, held in holdings.items():
        amount = held.free + held.locked
        mark = marks.get(f"{currency}{quote}")
        if currency == quote:
            total += amount * ONE
        elif amount and mark is None:
            missing.append(currency)
        elif amount and mark is not None:
            total += amount * mark.mid
            times.append(mark.at_ns)
    latest = [mark.at_ns for mark in marks.values()]
    return {
        "value": None if missing else decimal(total, ONE * ONE),
        "at_ns": max(times or latest, default=None),
        "missing": missing,
        "mids": _marks(exchange, marks),
    }


def clock(clock_: Clock, wall_ns: int) -> dict[str, object]:
    """GET /paper/clock: the present, and the three numbers of a scaled clock if it is one."""
    return {
        "now_ns": clock_.now_ns(),
        "wall_ns": wall_ns,
        **{name: getattr(clock_, name) for name in ("start_ns", "speed", "origin_ns") if hasattr(clock_, name)},
    }


def _transfer(transfer_: Transfer) -> dict[str, object]:
    return {
        "transfer_id": transfer_.transfer_id,
        "kind": transfer_.kind,
        "currency": transfer_.currency,
        "amount": decimal(transfer_.amount),
        "fee": decimal(transfer_.fee),
        "at_ns": transfer_.at_ns,
    }


def _marks(exchange: Exchange, marks: Mapping[str, Mark]) -> dict[str, object]:
    return {
        exchange.markets[symbol].instrument.symbol: {"mid": decimal(mark.mid), "at_ns": mark.at_ns}
        for symbol, mark in marks.items()
    }


def _order(order: Order, exchange: Exchange, name_of: Callable[[int], int | str]) -> dict[str, object]:
    return {
        "order_id": name_of(order.order_id),
        "client_order_id": order.client_id,
        "symbol": exchange.markets[order.symbol].instrument.symbol,
        "side": order.side,
        "type": order.type,
        "time_in_force": order.time_in_force,
        "status": order.status,
        "price": decimal(order.price) if order.price else None,
        "quantity": decimal(order.quantity),
        "executed": decimal(order.executed),
        "quote_executed": decimal(order.quote_executed),
        "created_ns": order.created_ns,
        "updated_ns": order.updated_ns,
    }


def _trade(trade: Trade, exchange: Exchange, name_of: Callable[[int], int | str]) -> dict[str, object]:
    return {
        "trade_id": trade.trade_id,
        "order_id": name_of(trade.order_id),
        "client_order_id": trade.client_id,
        "symbol": exchange.markets[trade.symbol].instrument.symbol,
        "side": trade.side,
        "price": decimal(trade.price),
        "quantity": decimal(trade.quantity),
        "fee": decimal(trade.fee),
        "fee_currency": trade.fee_currency,
        "role": trade.role,
        "at_ns": trade.at_ns,
    }
