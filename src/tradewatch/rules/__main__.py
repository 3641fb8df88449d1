"""Writes rules/default.json, which is default.yaml, to standard output."""

from __future__ import annotations

import sys
from importlib import resources

from tradewatch.rules.shipped import packed
from tradewatch.settings.yaml import read

text = (resources.files("tradewatch.rules") / "default.yaml").read_bytes()
sys.stdout.buffer.write(packed(read(text, "default.yaml")))
