"""A row of the store's log."""

from __future__ import annotations

import msgspec


class Event(msgspec.Struct, frozen=True):
    """One thing that must survive. `seq` is the order of writing, `body` JSON whose shape `kind` fixes."""

    seq: int
    at_ns: int
    kind: str
    body: bytes
