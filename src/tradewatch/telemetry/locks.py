"""The locks of the SDK's metrics in a forked child, where nobody is left to let go of them.

A reader of the application's collects on a thread of its own. A fork meanwhile copies the locks as they are held: the
child's first collection would wait for ever, and so may a `record()`. The SDK (1.43 to 1.45) makes only the provider's
own anew. What the other thread was about to write may be half written; it is the child's copy alone.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

_NAMES = ("_lock", "_export_lock")
_RLOCK = type(threading.RLock())


def renew(consumer: Any) -> None:
    """Make new those of a provider's measurement consumer, its readers and all of their streams."""
    for owner in _owners(consumer):
        for name in _NAMES:
            held = getattr(owner, name, None)
            if held is not None:
                setattr(owner, name, threading.RLock() if isinstance(held, _RLOCK) else threading.Lock())


def _owners(consumer: Any) -> Iterator[Any]:
    yield consumer
    for reader, storage in list(getattr(consumer, "_reader_storages", {}).items()):
        yield from (reader, storage)
        for matches in list(getattr(storage, "_instrument_view_instrument_matches", {}).values()):
            for match in list(matches):
                yield match
                for stream in list(getattr(match, "_attributes_aggregation", {}).values()):
                    yield stream
                    reservoir = getattr(stream, "_reservoir", None)
                    if reservoir is not None:
                        yield reservoir
