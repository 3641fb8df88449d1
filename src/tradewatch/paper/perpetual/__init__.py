"""A linear perpetual without its wire: positions, leverage, margin, funding, liquidation, conditional orders."""

from tradewatch.paper.perpetual.exchange import Perpetual
from tradewatch.paper.perpetual.values import Terms

__all__ = ["Perpetual", "Terms"]
