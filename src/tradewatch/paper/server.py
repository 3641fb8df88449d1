"""The exchange behind real sockets on 127.0.0.1. Control paths are answered in `control_paths`."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import IO

import msgspec
from aiohttp import web

from tradewatch.paper import control, control_paths
from tradewatch.paper.books import books_of
from tradewatch.paper.control_paths import change_markets
from tradewatch.paper.exchange import Exchange
from tradewatch.paper.faults import Faults, Injection
from tradewatch.paper.log import Entry, RequestLog
from tradewatch.paper.market import MILLIONTHS
from tradewatch.paper.perpetual import Perpetual, shown
from tradewatch.paper.requests import Answer, Limits, Request, Wire
from tradewatch.paper.session import Session
from tradewatch.paper.venues import CONNECT, VENUES
from tradewatch.paper.websocket import Connection

HOST = "127.0.0.1"
_LISTEN_KEY = re.compile(r"/[A-Za-z0-9]{64}(?=/|$)")  # a credential: never in the log
BEAT_S = 0.05


class PaperServer:
    """A running server; made by `serve`.

    Attributes:
        exchange: what is served.
        log: every request so far.
        shown_books: what `/paper/books` answers: books kept beside the exchange.
        faults: what goes wrong.
        wire: the protocol that is spoken.
        url: `http://127.0.0.1:PORT`.
    """

    def __init__(
        self,
        exchange: Exchange | Perpetual,
        *,
        venue: str = "binance",
        faults: Faults | None = None,
        limits: Limits | None = None,
        log: RequestLog | None = None,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.exchange = exchange
        self.log = log or RequestLog()
        self.url = ""
        self.wire: Wire = VENUES[venue](exchange, limits, wall_ns)
        self.faults = faults or Faults()
        self.wall_ns = wall_ns
        self._connections: set[Connection] = set()
        self.shown_books: Callable[[], object]
        if isinstance(exchange, Perpetual):
            self.shown_books = partial(shown.books, exchange)
        else:
            self.shown_books = partial(control.books, exchange, books_of(exchange), self.wire.order_name)
        change_markets(exchange.markets.values(), self.faults.rules, exchange.now_ns)

    async def respond(self, http: web.BaseRequest) -> web.StreamResponse:
        """One HTTP request: log, faults, exchange, answer."""
        path, _, query = http.raw_path.partition("?")
        body = (await http.read()).decode(errors="replace") if http.can_read_body else ""
        if path.startswith("/paper/"):
            return control_paths.answer(self, http.method, path, query, body)
        headers = {name.lower(): value for name, value in http.headers.items()}
        request = Request(http.method, path, query, body, headers)
        session = self.wire.session(path, query) if headers.get("upgrade", "").lower() == "websocket" else None
        operation = self.wire.operation(request) if session is None else CONNECT
        now_ns = self.exchange.clock.now_ns()
        path = _LISTEN_KEY.sub("/LISTEN_KEY", path)
        entry = self.log.arrived(http.method, path, operation, self.wall_ns(), now_ns)
        entry.client_order_id = self.wire.client_order_id(request)
        try:
            response = await self._answer(http, request, entry, session)
        finally:
            self.log.ended(entry)
        if response is None:
            assert session is not None
            connection = Connection(session, self.exchange, self.faults, self.log, path=path, wall_ns=self.wall_ns)
            self._connections.add(connection)
            try:
                return await connection.run(http)
            finally:
                self._connections.remove(connection)
        return response

    async def end_connections(self) -> None:
        """End every websocket, and wait until each has gone."""
        for connection in self._connections:
            connection.end()
        while self._connections:  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    async def keep_time(self) -> None:
        """Carry the exchange on while anybody listens, and do what is due by time alone."""
        while True:
            self.wire.beat(self.wall_ns())
            if self.exchange.feed.is_heard:
                self.exchange.advance()
            await asyncio.sleep(BEAT_S)

    async def _answer(
        self, http: web.BaseRequest, request: Request, entry: Entry, session: Session | None
    ) -> web.StreamResponse | None:
        """The answer; None where a websocket is to be opened."""
        injection = self.faults.decide(entry.operation, entry.method, entry.path, entry.received_sim_ns)
        entry.fault, entry.injected = injection.name, injection.injected
        if injection.arrival_delay_s:
            await asyncio.sleep(injection.arrival_delay_s)
        fault = injection.fault
        answer: Answer | None = None
        if session is None and (fault is None or fault.lets_act):
            answer = self._acted(request, injection, entry)
        if injection.answer_delay_s:
            await asyncio.sleep(injection.answer_delay_s)
        if fault is not None and fault.kind == "timeout":
            await _hold(http, fault.hold_s)
            return self._unanswered(http, entry)
        if fault is not None and fault.kind == "reset":
            _send_reset_on_close(http)
            return self._unanswered(http, entry)
        if _is_gone(http):
            return self._unanswered(http, entry)
        if fault is not None and fault.kind == "half_json" and answer is not None:
            answer = msgspec.structs.replace(answer, body=answer.body[: len(answer.body) // 2], quotes={})
        elif fault is not None:
            answer = self.wire.faulted(fault, entry.operation)
            entry.code, entry.error = answer.code, answer.error
        if answer is None:
            self._sent(entry, 101)
            return None
        for symbol, quote in answer.quotes.items():
            self.exchange.quoted(answer.account, symbol, quote)
        self._sent(entry, answer.status)
        return web.Response(
            body=answer.body, status=answer.status, headers=answer.headers, content_type=answer.content_type
        )

    def _acted(self, request: Request, injection: Injection, entry: Entry) -> Answer:
        """What the exchange did and says, with its clock and prices off if they are to be."""
        self.exchange.told_factor = injection.factor
        try:
            answer = self.wire.answer(msgspec.structs.replace(request, skew_ns=injection.skew_ns))
        finally:
            self.exchange.told_factor = MILLIONTHS
        entry.weight, entry.account = answer.weight, answer.account
        entry.code, entry.error = answer.code, answer.error
        entry.order_id, entry.accepted = answer.order_id, answer.accepted
        entry.client_order_id = answer.client_order_id or entry.client_order_id
        return answer

    def _unanswered(self, http: web.BaseRequest, entry: Entry) -> web.StreamResponse:
        if http.transport is not None:
            http.transport.abort()
        self._sent(entry, None)
        return web.Response(status=503)  # goes nowhere: the connection is closed

    def _sent(self, entry: Entry, status: int | None) -> None:
        entry.status = status
        entry.answered_ns, entry.answered_sim_ns = self.wall_ns(), self.exchange.clock.now_ns()


def _send_reset_on_close(http: web.BaseRequest) -> None:
    """Let the abort that follows reach the client as a reset (RST), not as an end (FIN)."""
    open_socket = http.transport.get_extra_info("socket") if http.transport is not None else None
    if open_socket is not None:
        open_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _is_gone(http: web.BaseRequest) -> bool:
    return http.transport is None or http.transport.is_closing()


async def _hold(http: web.BaseRequest, hold_s: float) -> None:
    """Wait until the client gives up, at most `hold_s`."""
    ends = time.monotonic() + hold_s
    while not _is_gone(http) and (left := ends - time.monotonic()) > 0:  # noqa: ASYNC110
        await asyncio.sleep(min(left, 0.05))


@asynccontextmanager
async def serve(
    exchange: Exchange | Perpetual,
    *,
    venue: str = "binance",
    port: int = 0,
    faults: Faults | None = None,
    limits: Limits | None = None,
    log_file: IO[bytes] | None = None,
    wall_ns: Callable[[], int] = time.time_ns,
) -> AsyncIterator[PaperServer]:
    """Serve an exchange on 127.0.0.1 while the context lasts.

    Args:
        exchange: the core, with its clock.
        venue: whose protocol is spoken; a name of `venues.VENUES`.
        port: 0 takes a free one; see the server's `url`.
        faults: what goes wrong.
        limits: of requests; Binance's by default.
        log_file: where the request log is appended as JSON lines.
        wall_ns: the real clock of signatures and limits.

    Raises:
        OSError: the port is taken.
    """
    listening = _listen(port)
    log = RequestLog(log_file)
    server = PaperServer(exchange, venue=venue, faults=faults, limits=limits, log=log, wall_ns=wall_ns)
    server.url = f"http://{HOST}:{listening.getsockname()[1]}"
    runner = web.ServerRunner(web.Server(server.respond, access_log=None), shutdown_timeout=0.5)
    try:
        await runner.setup()
        await web.SockSite(runner, listening).start()
        time_keeper = asyncio.create_task(server.keep_time())
        try:
            yield server
        finally:
            time_keeper.cancel()
            await server.end_connections()
    finally:
        await runner.cleanup()
        listening.close()


def _listen(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
    except OSError:
        listening.close()
        raise
    return listening


@contextmanager
def serve_in_thread(
    exchange: Exchange | Perpetual,
    *,
    venue: str = "binance",
    port: int = 0,
    faults: Faults | None = None,
    limits: Limits | None = None,
    log_file: IO[bytes] | None = None,
) -> Iterator[PaperServer]:
    """`serve` on an event loop in a thread of its own, for clients that block. Takes and raises the same."""
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    ready = threading.Event()
    running: list[PaperServer] = []
    failure: list[BaseException] = []

    async def run() -> None:
        try:
            async with serve(
                exchange, venue=venue, port=port, faults=faults, limits=limits, log_file=log_file
            ) as server:
                running.append(server)
                ready.set()
                await stop.wait()
        except BaseException as error:
            failure.append(error)
            ready.set()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),), name="paper-server", daemon=True)
    thread.start()
    ready.wait()
    try:
        if not running:
            raise failure[0]
        yield running[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
