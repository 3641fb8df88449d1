"""One websocket connection: the loop between a client, a session of a wire protocol, and the exchange's feed.

A session is the protocol's side of a connection and does no input or output: texts and events go in, messages come
out. All of a message's faults happen here, so that every protocol misbehaves in the same ways: dropped connections,
silence, lost, repeated, late and reordered messages.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from tradewatch.paper.exchange import Exchange
from tradewatch.paper.faults import QUOTE, Fault, Faults, Injection
from tradewatch.paper.feed import Event, Quoted
from tradewatch.paper.log import MESSAGE, Entry, RequestLog
from tradewatch.paper.market import MILLIONTHS
from tradewatch.paper.perpetual import Perpetual
from tradewatch.paper.requests import WEBSOCKET
from tradewatch.paper.session import Message, Reply, Session

BEAT_S = 0.1
_UNANSWERED = ("timeout", "reset")
BEHIND_MOST = 10_000  # messages that a client may leave unread before it is dropped


class Connection:
    """A running connection.

    Args:
        session: the protocol's side.
        exchange: what it is about.
        faults: decide what goes wrong.
        log: gets an entry for each request.
        path: of the connection, for log and faults.
        wall_ns: the real clock.
    """

    def __init__(
        self,
        session: Session,
        exchange: Exchange | Perpetual,
        faults: Faults,
        log: RequestLog,
        *,
        path: str,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._session = session
        self._exchange = exchange
        self._faults = faults
        self._log = log
        self._path = path
        self._wall_ns = wall_ns
        self._outgoing: asyncio.Queue[Message | None] = asyncio.Queue(BEHIND_MOST)
        self._held: Message | None = None
        self._silent_until = 0.0
        self._is_dropped = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._http: web.BaseRequest
        self._events = exchange.feed.subscribe(session.wants)

    async def run(self, http: web.BaseRequest) -> web.WebSocketResponse:
        """Serve the connection until either side ends it."""
        self._http = http
        socket = web.WebSocketResponse(autoping=False, compress=False)
        try:
            await socket.prepare(http)
            self._emit(self._session.opened())
            for job in (self._write(socket), self._listen(), self._beat()):
                self._start(job)
            async for arrived in socket:
                if arrived.type is WSMsgType.TEXT:
                    self._receive(arrived.data)
                elif arrived.type is WSMsgType.PING and not self._is_silent:
                    await socket.pong(arrived.data)
        finally:
            self._exchange.feed.unsubscribe(self._events)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        return socket

    def end(self) -> None:
        """The server stops: the line ends at once."""
        self._abort()

    @property
    def _is_silent(self) -> bool:
        return time.monotonic() < self._silent_until

    def _start(self, job: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A job that failed takes the connection with it and says so, since a stream that just stops tells nobody."""
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            task.get_loop().call_exception_handler({"message": f"{self._path} ended", "exception": error})
            self._abort()

    def _receive(self, text: str) -> None:
        operation = self._session.operation(text)
        entry = self._log.arrived(WEBSOCKET, self._path, operation, self._wall_ns(), self._exchange.clock.now_ns())
        injection = self._faults.decide(operation, WEBSOCKET, self._path, entry.received_sim_ns)
        entry.fault, entry.injected = injection.name, injection.injected
        if injection.arrival_delay_s or injection.answer_delay_s:
            self._start(self._answer_late(text, entry, injection))
        else:
            self._send_reply(entry, self._act(text, entry, injection), injection.fault)

    async def _answer_late(self, text: str, entry: Entry, injection: Injection) -> None:
        await asyncio.sleep(injection.arrival_delay_s)
        reply = self._act(text, entry, injection)
        await asyncio.sleep(injection.answer_delay_s)
        self._send_reply(entry, reply, injection.fault)

    def _act(self, text: str, entry: Entry, injection: Injection) -> Reply:
        """What the exchange does and says; what was due before goes out first, so that a snapshot is newer."""
        fault = injection.fault
        self._exchange.advance()
        for event in self._events.drain():
            self._tell(event)
        reply: Reply | None = None
        if fault is None or fault.lets_act:
            self._exchange.told_factor = injection.factor
            try:
                reply = self._session.received(text)
            finally:
                self._exchange.told_factor = MILLIONTHS
            entry.account, entry.order_id, entry.client_order_id = reply.account, reply.order_id, reply.client_order_id
            entry.code, entry.error, entry.weight, entry.accepted = (
                reply.code,
                reply.error,
                reply.weight,
                reply.accepted,
            )
        if fault is not None and fault.kind == "half_json" and reply is not None:
            halves = [msgspec.structs.replace(one, text=one.text[: len(one.text) // 2]) for one in reply.messages]
            return msgspec.structs.replace(reply, messages=halves)
        if fault is not None and fault.kind not in _UNANSWERED:
            reply = self._session.faulted(text, fault)
            entry.code, entry.error = reply.code, reply.error
        return reply or Reply(())

    def _send_reply(self, entry: Entry, reply: Reply, fault: Fault | None) -> None:
        if fault is None or fault.kind not in _UNANSWERED:
            self._emit(reply.messages)
            entry.status = 200
            entry.answered_ns, entry.answered_sim_ns = self._wall_ns(), self._exchange.clock.now_ns()
        self._log.ended(entry)
        if fault is not None and fault.kind == "reset":
            self._abort()
        if reply.close:
            self._put(None)

    async def _listen(self) -> None:
        while not self._events.overflowed:
            self._tell(await self._events.next())
        self._abort()

    def _tell(self, event: Event) -> None:
        """Say what happened; a quote may be a false one."""
        if isinstance(event, Quoted):
            tick, number = self._faults.tick(self._path, self._exchange.now_ns)
            if tick is not None:
                self._note(QUOTE, number, tick)
                quote = self._exchange.markets[event.symbol].quote(event.quote.at_ns, tick.factor)
                event = Quoted(event.symbol, quote)
        self._emit(self._session.told(event))

    def _note(self, channel: str, number: int, fault: Fault) -> None:
        """Write a message that goes wrong into the request log."""
        entry = self._log.arrived(WEBSOCKET, self._path, MESSAGE, self._wall_ns(), self._exchange.clock.now_ns())
        entry.channel, entry.number, entry.account = channel, number, self._session.account
        entry.fault, entry.injected = fault.kind, (fault,)
        self._log.ended(entry)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            messages = self._session.beat(self._wall_ns())
            if messages is None:
                self._put(None)
                return
            self._emit(messages)

    def _emit(self, messages: Iterable[Message]) -> None:
        """Queue messages for the wire, with what goes wrong with them."""
        for message in messages:
            fault, number = self._faults.message(message.channel, self._path, self._exchange.now_ns)
            if fault is None or self._is_silent:
                self._pass_on(message)
                continue
            self._note(message.channel, number, fault)
            match fault.kind:
                case "drop":
                    self._is_dropped = True
                    self._put(None)
                case "silence":
                    self._silent_until = time.monotonic() + fault.hold_s
                case "repeat":
                    self._pass_on(message)
                    self._pass_on(message)
                case "late":
                    asyncio.get_running_loop().call_later(_delay_s(fault), self._put, message)
                case "reorder" if self._held is None:
                    self._held = message
                case "reorder":
                    self._pass_on(message)
                case _:  # lose
                    pass

    def _pass_on(self, message: Message) -> None:
        self._put(message)
        if self._held is not None:
            held, self._held = self._held, None
            self._put(held)

    def _put(self, message: Message | None) -> None:
        if self._is_silent:
            return
        try:
            self._outgoing.put_nowait(message)
        except asyncio.QueueFull:
            self._abort()

    async def _write(self, socket: web.WebSocketResponse) -> None:
        while (message := await self._outgoing.get()) is not None:
            try:
                await socket.send_str(message.text)
            except ConnectionError:
                return
            for symbol, quote in message.quotes.items():
                self._exchange.quoted(self._session.account, symbol, quote)
        if self._is_dropped:
            self._abort()
        else:
            await socket.close()

    def _abort(self) -> None:
        """End the connection without a word, as a lost line does."""
        if self._http.transport is not None:
            self._http.transport.abort()


def _delay_s(fault: Fault) -> float:
    return fault.latency.a / 1000 if fault.latency is not None else 0.0
