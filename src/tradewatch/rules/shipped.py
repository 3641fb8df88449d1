"""default.yaml as `make docs` wrote it down in default.json: a bot with the default rules needs no YAML library.

That one costs 1 MB and some 20 ms. A test compares the two files, so what is wrong in one is found there.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import msgspec

if TYPE_CHECKING:
    from tradewatch.settings.yaml import At, Document


class Line(NamedTuple):
    """Where a value stands, counted from 1."""

    line: int


class Shipped(msgspec.Struct, frozen=True):
    """What a `Document` is asked while rules are read: its value, all of text, and the lines of its lists' items."""

    file: str
    value: Any
    lines: dict[str, int]

    def text(self, at: At) -> str | None:
        """The text that stands there; None for a list and a mapping."""
        found = self.value
        for key in at:
            found = found.get(key) if isinstance(found, dict) else found[key]
        return found if isinstance(found, str) else None

    def place(self, at: At) -> Line:
        """The line of an item of a list."""
        return Line(self.lines[_path(at)])

    def error(self, at: At, found: str, accepted: str, *, offset: int | None = None, key: bool = False) -> NoReturn:
        """The rules that ship have none."""
        raise ValueError(f"{self.file}: {_path(at)}: {found}; accepted: {accepted}")


def shipped() -> Shipped:
    """The rules that ship with tradewatch."""
    return msgspec.json.decode((resources.files("tradewatch.rules") / "default.json").read_bytes(), type=Shipped)


def packed(document: Document) -> bytes:
    """A document as `shipped` reads it.

    Raises:
        ValueError: something in it is no text, list or mapping.
    """
    lines: dict[str, int] = {}

    def walk(at: At, value: Any) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                walk((*at, key), item)
        elif isinstance(value, list):
            for i, item in enumerate(value):
                lines[_path((*at, i))] = document.place((*at, i)).line
                walk((*at, i), item)
        elif not isinstance(value, str):
            raise ValueError(f"{_path(at)}: {value!r} is no text")

    walk((), document.value)
    return msgspec.json.format(msgspec.json.encode(Shipped(document.file, document.value, lines)), indent=1) + b"\n"


def _path(at: At) -> str:
    return ".".join(map(str, at))
