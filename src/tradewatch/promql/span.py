"""Where in the text a part of an expression stands."""

from __future__ import annotations

from typing import NamedTuple


class Span(NamedTuple):
    """Character offsets of a part of the text: `text[start:end]`."""

    start: int
    end: int


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    """Line and column of a character offset, both counted from 1."""
    before = text[:offset]
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1
