"""The HTTP session that OTLP is sent by: it notes what came of a request, and bounds what an answer may cost."""

from __future__ import annotations

import io
import time
from http.client import HTTPResponse
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

# Of an answer; what a collector has to say takes some hundred bytes.
_MOST_BYTES = 65_536


class Session(requests.Session):
    """Notes what came back, or why nothing did, and follows no redirect.

    A redirected POST becomes a GET, or a key is sent where nobody meant it to be; upstream (1.45) takes it for
    success. Of an answer no more than 64 KiB are read, and for no longer than the request's time-out.
    """

    answer: requests.Response | None = None
    error: Exception | None = None

    def __init__(self) -> None:
        super().__init__()
        self.leave_connections()

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send, and read the answer."""
        self.answer = self.error = None
        try:
            answer = super().send(request, **{**kwargs, "allow_redirects": False, "stream": True})
            content = answer.raw.read(_MOST_BYTES, decode_content=True)
        except Exception as error:
            self.error = error
            raise
        if len(content) >= _MOST_BYTES:
            answer.close()
        answer._content, answer._content_consumed = content, True
        self.answer = answer
        if 300 <= answer.status_code < 400:
            raise requests.TooManyRedirects(f"it answers {answer.status_code}; name the address it redirects to")
        return answer

    def leave_connections(self) -> None:
        """Begin with none. In a forked child those there are belong to the parent, and so may their locks."""
        for prefix in ("https://", "http://"):
            self.mount(prefix, _Adapter())


class _InTime(io.RawIOBase):
    """What a socket has to say, until a time: its own time-out begins anew with each byte."""

    def __init__(self, raw: io.RawIOBase, sock: Any) -> None:
        self._raw, self._sock = raw, sock
        within_s = sock.gettimeout()
        self._ends = None if within_s is None else time.monotonic() + within_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._ends is not None:
            left_s = self._ends - time.monotonic()
            if left_s <= 0:
                raise TimeoutError("the answer is not complete in time")
            self._sock.settimeout(left_s)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_InTime(self.fp.detach(), sock))


class _Connection(HTTPConnection):
    response_class = _Answer


class _TlsConnection(HTTPSConnection):
    response_class = _Answer


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
