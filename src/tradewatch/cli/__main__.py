"""`python -m tradewatch.cli`."""

from tradewatch.cli.main import main

main()
