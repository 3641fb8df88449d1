"""The command `tradewatch`: one file a command group. `python -m tradewatch.cli` does the same."""

from tradewatch.cli.main import main

__all__ = ["main"]
