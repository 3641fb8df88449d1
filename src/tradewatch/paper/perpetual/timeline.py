"""When things happen between two instants: pure functions over paths, orders and accounts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from tradewatch.paper.candles import MINUTE_NS
from tradewatch.paper.market import VERTEX_NS, Market
from tradewatch.paper.perpetual.account import Wallet
from tradewatch.paper.perpetual.values import NewConditional, Order

Markets = Mapping[str, Market]


def rises(asked: NewConditional) -> bool:
    """Whether the trigger lies above: of a stop that buys, of a take-profit that sells."""
    return (asked.side == "BUY") == asked.type.startswith("STOP")


def reached(market: Market, order: Order, after_ns: int, until_ns: int) -> int | None:
    """The first instant in (after, until] at which the opposite best price has gone through an open order."""
    if order.side == "BUY":
        return market.falls_to(market.buy_level(order.through), after_ns, until_ns)
    return market.rises_to(market.sell_level(order.through), after_ns, until_ns)


def triggered(market: Market, asked: NewConditional, after_ns: int, until_ns: int) -> int | None:
    """The first instant in (after, until] at which the mark price meets a trigger."""
    find = market.rises_to if rises(asked) else market.falls_to
    return find(asked.trigger // market.instrument.tick, after_ns, until_ns)


def marks_at(markets: Markets, at_ns: int) -> dict[str, int]:
    """The mark price of every contract at an instant."""
    return {symbol: market.quote(at_ns).mid for symbol, market in markets.items()}


def first_lost(markets: Markets, wallets: Iterable[Wallet], after_ns: int, until_ns: int) -> int | None:
    """The first instant in (after, until] at which an account is at or below its maintenance margin.

    Between two vertices all marks move straight, so an account that is safe at both ends is safe between them but for
    rounding to ticks, and one that is not fell at an instant that halving finds.
    """
    concerned = [wallet for wallet in wallets if wallet.held()]
    if not concerned:
        return None
    safe_ns = after_ns
    for vertex_ns in _vertices(after_ns, until_ns):
        if _is_lost(markets, concerned, vertex_ns):
            lost_ns = vertex_ns
            while lost_ns - safe_ns > 1:
                middle_ns = (safe_ns + lost_ns) // 2
                if _is_lost(markets, concerned, middle_ns):
                    lost_ns = middle_ns
                else:
                    safe_ns = middle_ns
            return lost_ns
        safe_ns = vertex_ns
    return None


def _is_lost(markets: Markets, wallets: list[Wallet], at_ns: int) -> bool:
    marks = marks_at(markets, at_ns)
    return any(wallet.unsafe(marks) for wallet in wallets)


def _vertices(after_ns: int, until_ns: int) -> Iterator[int]:
    """The ends of the straight pieces of the paths in (after, until), and `until` itself."""
    for minute_ns in range(after_ns // MINUTE_NS * MINUTE_NS, until_ns, MINUTE_NS):
        yield from (minute_ns + one for one in VERTEX_NS if after_ns < minute_ns + one < until_ns)
    yield until_ns
