"""A small HTTP server on 127.0.0.1: one request, one answer, and the visitor goes.

The standard library's loads every entity of HTML with it, to spell its own errors: 0.7 MB in a bot that is scraped by
a machine. What is read here is the head of a request; what may be wrong in it is answered, or the visitor is let go.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus

import msgspec

from tradewatch.runtime.failures import failures

HOST = "127.0.0.1"
# From the connect to the end of the request, and for the answer to be taken.
_PATIENCE_S = 10.0
_JOIN_S = 0.5
_LONGEST = 65_536
# Each takes a thread and a file of the bot's.
_MOST_VISITORS = 16
_BACKLOG = 128
_NO_FILE_S = 0.2
# How long a visitor who is refused may go on talking: closed before that, the connection loses its answer.
_LINGER_S = 2.0


class Request(msgspec.Struct, frozen=True):
    """The head of a request; names of headers are in lower case, and what came twice under one is joined by a comma."""

    method: str
    path: str
    headers: Mapping[str, str]


class Page(msgspec.Struct, frozen=True):
    """An answer."""

    status: HTTPStatus
    body: bytes = b""
    headers: Mapping[str, str] = {}


class PageServer:
    """Answers whoever comes, each on a thread of its own. Its threads are daemons.

    Of more visitors than a few at once, whoever has been there longest is let go: the port must not cost the bot its
    files, nor be held by somebody who sends a byte now and then.

    Args:
        port: 0 takes a free one.
        answer: what to say to a request.

    Raises:
        OSError: the port cannot be used.
    """

    def __init__(self, port: int, answer: Callable[[Request], Page]) -> None:
        self._answer = answer
        self._ending = False
        self._visitors: OrderedDict[socket.socket, None] = OrderedDict()
        self._listening = socket.socket()
        try:
            self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listening.bind((HOST, port))
            self._listening.listen(_BACKLOG)
        except BaseException:
            self._listening.close()
            raise
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._run, name="tradewatch-scrape", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where to ask."""
        return f"http://{HOST}:{self.port}/metrics"

    def stop(self) -> None:
        """Answer nobody else, and close the port; who is being answered is not waited for."""
        self._ending = True
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join(_JOIN_S)
        self._listening.close()

    def forked(self) -> None:
        """In a forked child: the port and its visitors are the parent's, who ends what it says by closing them."""
        self._listening.close()
        for visitor in list(self._visitors):
            visitor.close()
        self._visitors.clear()

    def _run(self) -> None:
        while not self._ending:
            try:
                visitor = self._accepted()
            except OSError:
                # Where the process has no file left for a visitor: it would be tried at once again.
                if not self._ending:
                    time.sleep(_NO_FILE_S)
                continue
            self._visitors[visitor] = None
            if len(self._visitors) > _MOST_VISITORS:
                with suppress(OSError, KeyError):
                    self._visitors.popitem(last=False)[0].shutdown(socket.SHUT_RDWR)
            try:
                threading.Thread(target=self._serve, args=(visitor,), name="tradewatch-visitor", daemon=True).start()
            except RuntimeError:  # no more threads can be had
                self._visitors.pop(visitor, None)
                visitor.close()

    def _accepted(self) -> socket.socket:
        return self._listening.accept()[0]

    def _serve(self, visitor: socket.socket) -> None:
        # Who asks may go away at any moment: that is no failure of ours.
        with failures.kept("scrape endpoint"), suppress(OSError), visitor:
            try:
                said = _head(visitor)
                if said:
                    self._say(visitor, said)
            finally:
                self._visitors.pop(visitor, None)

    def _say(self, visitor: socket.socket, said: bytes) -> None:
        request = _read(said)
        page = self._answer(request) if isinstance(request, Request) else request
        visitor.settimeout(_PATIENCE_S)
        visitor.sendall(_written(page))
        if page.status >= HTTPStatus.BAD_REQUEST:
            visitor.shutdown(socket.SHUT_WR)
            until = time.monotonic() + _LINGER_S
            while (left_s := until - time.monotonic()) > 0:
                visitor.settimeout(left_s)
                if not visitor.recv(_LONGEST):
                    return


def _head(visitor: socket.socket) -> bytes:
    """What was said up to the empty line, and what came with it; up to 64 KiB, or to where the visitor ended."""
    until = time.monotonic() + _PATIENCE_S
    said = b""
    while not _is_whole(said) and len(said) < _LONGEST:
        visitor.settimeout(max(0.001, until - time.monotonic()))
        more = visitor.recv(_LONGEST)
        if not more:
            break
        said += more
    return said


def _is_whole(said: bytes) -> bool:
    return b"\r\n\r\n" in said or b"\n\n" in said


def _read(said: bytes) -> Request | Page:
    """The request, or what to say to one that is none."""
    if not _is_whole(said):
        long = len(said) >= _LONGEST
        return Page(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if long else HTTPStatus.BAD_REQUEST)
    first, *lines = said.decode("latin-1").replace("\r\n", "\n").partition("\n\n")[0].split("\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return Page(HTTPStatus.BAD_REQUEST)
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        key, text = name.strip().lower(), value.strip()
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return Request(words[0], words[1], headers)


def _written(page: Page) -> bytes:
    lines = [
        f"HTTP/1.0 {page.status.value} {page.status.phrase}",
        f"Date: {formatdate(usegmt=True)}",
        *(f"{name}: {value}" for name, value in page.headers.items()),
        f"Content-Length: {len(page.body)}",
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + page.body
