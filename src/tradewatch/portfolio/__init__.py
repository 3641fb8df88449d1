"""What the bot holds, earns and loses: fills, order reports, balances and prices in, frozen readings out.

`Portfolio` is the one to use: a single thread feeds it and reads `snapshot()`, whose values may go to any thread. All
accounting is by average cost, in decimals whose arithmetic no thread's context touches.
"""

from tradewatch.portfolio.arithmetic import shown
from tradewatch.portfolio.average_cost import CostFrom
from tradewatch.portfolio.equity import BALANCES_NOT_SEEN, BALANCES_WAIT, NO_MARKET_SEEN
from tradewatch.portfolio.ledger import Correction, Unvalued
from tradewatch.portfolio.portfolio import Portfolio
from tradewatch.portfolio.readings import (
    Counted,
    DayStart,
    FillCount,
    Peak,
    PortfolioSnapshot,
    PositionReading,
    Total,
    Watermarks,
)

__all__ = [
    "BALANCES_NOT_SEEN",
    "BALANCES_WAIT",
    "NO_MARKET_SEEN",
    "Correction",
    "CostFrom",
    "Counted",
    "DayStart",
    "FillCount",
    "Peak",
    "Portfolio",
    "PortfolioSnapshot",
    "PositionReading",
    "Total",
    "Unvalued",
    "Watermarks",
    "shown",
]
