"""`python -m tradewatch.cli`."""

import sys

from tradewatch.cli.main import main

sys.exit(main())
