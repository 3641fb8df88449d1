"""The request log: one entry a request, kept in memory and, if asked, appended to a file as JSON lines.

An entry never holds a query, a body or a header, so neither key nor secret nor signature.
"""

from __future__ import annotations

from typing import IO

import msgspec

from tradewatch.paper.faults import Fault

MESSAGE = "ws_message"  # the operation of a websocket's message that went wrong


class Entry(msgspec.Struct):
    """One request, or one message of a websocket that went wrong (method `WS`, operation `MESSAGE`).

    `_ns` is real epoch time, `_sim_ns` simulated; the answer's fields are None while it is due.

    `status` is what was sent, None where no answer went out. `code` is Binance's
    error code, `error` another venue's words for one. `accepted` says that the exchange did what was asked,
    whatever was sent. `fault` names the injected ones, `injected` are they with what chance drew. A message has its
    `channel` and `number`: the how-manieth of its channel and path it is.
    """

    seq: int
    received_ns: int
    received_sim_ns: int
    method: str
    path: str
    operation: str
    answered_ns: int | None = None
    answered_sim_ns: int | None = None
    status: int | None = None
    weight: int = 0
    code: int | None = None
    error: str | None = None
    account: str | None = None
    client_order_id: str | None = None
    order_id: int | str | None = None
    accepted: bool = False
    fault: str | None = None
    injected: tuple[Fault, ...] = ()
    channel: str | None = None
    number: int | None = None


class RequestLog:
    """All entries since the start, in order of arrival.

    Args:
        file: an open text file that finished entries are written to, in order of their ends; not closed here.
    """

    def __init__(self, file: IO[bytes] | None = None) -> None:
        self.entries: list[Entry] = []
        self._file = file

    def arrived(self, method: str, path: str, operation: str, received_ns: int, received_sim_ns: int) -> Entry:
        """Number and keep a request that has just come in."""
        entry = Entry(len(self.entries) + 1, received_ns, received_sim_ns, method, path, operation)
        self.entries.append(entry)
        return entry

    def ended(self, entry: Entry) -> None:
        """Write a request whose answer has gone out, or that will get none."""
        if self._file is not None:
            self._file.write(msgspec.json.encode(entry) + b"\n")
            self._file.flush()
