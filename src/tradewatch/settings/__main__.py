"""Writes docs/configuration.md to standard output."""

from __future__ import annotations

import sys

from tradewatch.settings.written import page

sys.stdout.write(page())
