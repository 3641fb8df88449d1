"""Label sets: sorted pairs of name and value, `__name__` among them, empty values left out."""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from typing import TypeAlias

Labels: TypeAlias = tuple[tuple[str, str], ...]

NAME = "__name__"

# What an operation drops that gives the samples another meaning (Prometheus's schema.IsMetadataLabel).
METADATA = frozenset({NAME, "__type__", "__unit__"})


def value_of(labels: Labels, name: str) -> str:
    """The value of a label, or the empty string, which is what a missing label counts as."""
    for label, value in labels:
        if label == name:
            return value
    return ""


def keep(labels: Labels, names: Collection[str]) -> Labels:
    """Only the labels in `names`."""
    return tuple([pair for pair in labels if pair[0] in names])


def drop(labels: Labels, names: Collection[str]) -> Labels:
    """All labels but those in `names`."""
    return tuple([pair for pair in labels if pair[0] not in names])


def drop_metadata(labels: Labels) -> Labels:
    """The labels without the metric name, type and unit."""
    return tuple([pair for pair in labels if pair[0] not in METADATA])


def is_well_formed(labels: Labels) -> bool:
    """Whether the pairs are sorted by name, without repeated names, with a metric name and no empty value."""
    names = [name for name, _ in labels]
    return NAME in names and all(value for _, value in labels) and all(a < b for a, b in pairwise(names))


def show(labels: Labels) -> str:
    """The way Prometheus writes a label set in its messages: `{__name__="up", job="bot"}`."""
    return "{" + ", ".join(f"{_name(name)}={quote(value)}" for name, value in labels) + "}"


def _name(name: str) -> str:
    return name if name.isascii() and name.replace(":", "_").isidentifier() and ":" not in name else quote(name)


_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\n": "\\n",
    "\t": "\\t",
    "\r": "\\r",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\v": "\\v",
}


def quote(value: str) -> str:
    """A double-quoted string in Go's spelling."""
    return '"' + "".join(_ESCAPES.get(c) or (c if c.isprintable() else _escape(c)) for c in value) + '"'


def _escape(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
