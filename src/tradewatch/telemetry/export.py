"""From finished spans and logs to a collector: OpenTelemetry's own OTLP exporter over HTTP, given bytes that are ready.

The connection, compression, certificates, headers, time-outs, retries and what OTEL_* variables say of them are
upstream's. Ours is what it is given (`otlp.py` writes spans, upstream's encoder logs, a few at a time), what becomes of
its answer, and that its own log lines are said once a minute. All of it runs on the thread of an outbox.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FunctionType
from typing import Any, Protocol

import msgspec
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanContext, Status, StatusCode

from tradewatch.runtime.failures import describe, failures
from tradewatch.runtime.safety import breathe
from tradewatch.runtime.scrub import scrubber
from tradewatch.semconv import attributes as a
from tradewatch.telemetry.cleaning import clean, clean_log, clean_span
from tradewatch.telemetry.otlp import Encoder
from tradewatch.telemetry.outbox import Outbox, Sent, Size

# Upstream tries these again itself, for as long as one export may take.
_RETRYABLE = frozenset((429, 502, 503, 504))
_LONGEST_RETRY_AFTER_S = 300.0
# Of upstream's encoder, 20 µs a record: a stretch of 0.3 ms.
_AT_ONCE = 8
_CREDENTIALS = "OTEL_PYTHON_EXPORTER_OTLP_HTTP_{}CREDENTIAL_PROVIDER"
# Who says something while a request is sent. A filter of a logger is not asked about those below it.
_TALKERS = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http._log_exporter",
    "opentelemetry.exporter.otlp.proto.common._internal",
    "opentelemetry.exporter.otlp.common.http",
    "urllib3.connectionpool",
    "urllib3.connection",
)
# What a span takes in memory less its texts, and an attribute of it; measured with sys.getsizeof on CPython 3.11.
_SPAN_BYTES, _ATTRIBUTE_BYTES = 1_200, 120

_ERROR, _ORDER_SIDE, _ORDER_ID = StatusCode.ERROR, a.ORDER_SIDE.name, a.ORDER_ID.name

# Yields at least every 0.3 ms; returns a request, and how many of the batch could not be put into it.
Writing = Generator[None, None, tuple[bytes, int]]


class _Exporter(Protocol):
    def export(self, batch: Any, /) -> Any: ...

    def shutdown(self) -> None: ...


class _Ready:
    """A request that is written, in the place of both the batch and the message that upstream would make of it."""

    def __init__(self, body: bytes, count: int) -> None:
        self._body = body
        self._count = count

    def __len__(self) -> int:
        return self._count

    def SerializePartialToString(self) -> bytes:  # noqa: N802
        """The request."""
        return self._body

    SerializeToString = SerializePartialToString


class _Signal(msgspec.Struct, frozen=True):
    """What differs between spans and logs.

    `variable` is what OTEL_* variables call it, `make` upstream's exporter class (it reads them), `encoder` the name by
    which its `export` calls the encoder that `write` takes the place of. `clean` gives one of a batch as it may leave,
    where upstream has to encode it. `answer` is the class of upstream's answers; `rejected` is what their
    `partial_success` calls the number of those that were not taken.
    """

    variable: str
    make: Callable[..., _Exporter]
    encoder: str
    write: Callable[[Sequence[Any]], Writing]
    clean: Callable[[Any], Any]
    answer: Any
    rejected: str


class Collector:
    """Sends batches of one signal by upstream's exporter.

    Raises:
        Exception: whatever upstream says of what an OTEL_* variable holds.
    """

    def __init__(self, signal: _Signal) -> None:
        self._signal = signal
        # With a provider of credentials the session is that one's, and its answers are not seen.
        provided = any(os.environ.get(_CREDENTIALS.format(s)) for s in ("", f"{signal.variable}_"))
        self._session = None if provided else _watched_session()
        self._exporter = signal.make() if self._session is None else signal.make(session=self._session)
        self._export = _with_encoder(signal.make, signal.encoder)
        self._process = os.getpid()

    def send(self, batch: Sequence[Any]) -> Sent:
        """Write and send a batch; takes as long as upstream's time-outs allow, 10 s unless set."""
        if self._session is not None:
            self._session.answer = self._session.error = None
            if self._process != os.getpid():
                self._process = os.getpid()
                self._session.leave_connections()
        export = self._export
        if export is None:
            with _quiet() as said:
                done = self._exporter.export([self._signal.clean(one) for one in batch])
            return self._judge(done.name == "SUCCESS", said, 0)
        body, impossible = _finish(self._signal.write(batch))
        with _quiet() as said:
            try:
                done = export(self._exporter, _Ready(body, len(batch)))
            except Exception as error:
                # Upstream is built otherwise than it was: from now on it does all of it.
                failures.warn("otlp encoder", f"OpenTelemetry's own encoder is used: {describe(error)}")
                self._export = None
                return Sent(again_s=0.0)
        return self._judge(done.name == "SUCCESS", said, impossible)

    def close(self) -> None:
        """Have what waits in `send` give up."""
        self._exporter.shutdown()

    def _judge(self, success: bool, said: list[str], impossible: int) -> Sent:
        if success:
            return self._read(impossible)
        answer = self._session.answer if self._session is not None else None
        error = self._session.error if self._session is not None else None
        if answer is not None:
            why = f"it answers {answer.status_code}" + (" (a redirect)" if 300 <= answer.status_code < 400 else "")
        else:
            why = scrubber.text(str(error) if error is not None else said[-1] if said else "no reason given")[:500]
        if error is not None or (answer is not None and answer.status_code in _RETRYABLE):
            return Sent(again_s=_retry_after_s(answer), why=why)
        return Sent(refused=True, why=why)

    def _read(self, impossible: int) -> Sent:
        """An answer that says it is content may still say what it did not take."""
        rejected, why = 0, "some could not be written" if impossible else ""
        with suppress(Exception):  # an answer that cannot be read: what matters is its status
            answer = self._session.answer.content if self._session is not None else b""
            partial = self._signal.answer.FromString(answer).partial_success
            rejected = max(0, int(getattr(partial, self._signal.rejected)))
            if rejected or partial.error_message:
                why = scrubber.text(f"{rejected} were rejected: {partial.error_message[:500]}")
        return Sent(rejected=rejected, impossible=impossible, why=why)


class SpanSink(SpanProcessor):
    """Queues finished spans; takes no lock, and costs a span 1 to 2 µs (`benchmarks/export.py`)."""

    def __init__(self, outbox: Outbox[ReadableSpan]) -> None:
        self.outbox = outbox
        self._put = outbox.put
        self._kept = failures.kept("spans")

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a sampled span."""
        with self._kept:
            context = span.context
            if context is None or not context.trace_flags & 1:
                return
            attributes: Any = span.attributes
            urgent = span.status.status_code is _ERROR or _ORDER_SIDE in attributes or _ORDER_ID in attributes
            size = _SPAN_BYTES + _texts(attributes)
            for event in span.events:
                size += _SPAN_BYTES + _texts(event.attributes)
            for link in span.links:
                size += _SPAN_BYTES + _texts(link.attributes)
            self._put(span, size, urgent)

    def shutdown(self) -> None:
        """Send what there is, within two seconds."""
        self.outbox.close(2.0)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until what there is now is sent; False where that took longer."""
        return self.outbox.flush(timeout_millis / 1000)


def _texts(attributes: Any) -> int:
    """About how many bytes attributes hold in memory."""
    if not attributes:
        return 0
    size = _ATTRIBUTE_BYTES * len(attributes)
    # The SDK's own mapping takes a lock for each item that is iterated over; a copy is one step.
    for value in attributes.copy().values() if hasattr(attributes, "copy") else attributes.values():
        kind = type(value)
        if kind is str or kind is bytes:
            size += len(value)
        elif kind is tuple or kind is list:
            size += sum(_ATTRIBUTE_BYTES + len(v) if isinstance(v, (str, bytes)) else _ATTRIBUTE_BYTES for v in value)
    return size


def spans_by_otlp(size: Size) -> Outbox[ReadableSpan]:
    """An outbox of spans to the collector that OTEL_* variables name.

    Raises:
        Exception: whatever upstream says of what such a variable holds.
    """
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    answer = ExportTraceServiceResponse
    collector = Collector(
        _Signal("TRACES", OTLPSpanExporter, "encode_spans", _span_writer(), clean_span, answer, "rejected_spans")
    )
    return Outbox("spans", collector.send, collector.close, size)


def spans_by(exporter: _Exporter, size: Size) -> Outbox[ReadableSpan]:
    """An outbox of spans to any exporter of the SDK's kind, such as the console's; they are scrubbed all the same."""
    return Outbox("spans", _handing(exporter, clean_span), exporter.shutdown, size)


def logs_by_otlp(size: Size) -> Outbox[Any]:
    """An outbox of log records to the collector that OTEL_* variables name.

    Raises:
        Exception: whatever upstream says of what such a variable holds.
    """
    from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

    write, answer = _in_pieces(encode_logs, clean_log), ExportLogsServiceResponse
    collector = Collector(
        _Signal("LOGS", OTLPLogExporter, "encode_logs", write, clean_log, answer, "rejected_log_records")
    )
    return Outbox("logs", collector.send, collector.close, size)


def logs_by(exporter: _Exporter, size: Size) -> Outbox[Any]:
    """An outbox of log records to any exporter of the SDK's kind."""
    return Outbox("logs", _handing(exporter, clean_log), exporter.shutdown, size)


def spans_to_console(size: Size) -> Outbox[ReadableSpan]:
    """An outbox of spans that are printed."""
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter

    return spans_by(ConsoleSpanExporter(out=sys.stdout), size)


def logs_to_console(size: Size) -> Outbox[Any]:
    """An outbox of log records that are printed."""
    from opentelemetry.sdk._logs.export import ConsoleLogRecordExporter

    return logs_by(ConsoleLogRecordExporter(sys.stdout), size)


def _handing(exporter: _Exporter, clean_one: Callable[[Any], Any]) -> Callable[[Sequence[Any]], Sent]:
    def send(batch: Sequence[Any]) -> Sent:
        clean_ones = []
        for one in batch:
            clean_ones.append(clean_one(one))
            breathe()
        done = exporter.export(clean_ones)
        return Sent() if done.name == "SUCCESS" else Sent(refused=True, why="its exporter failed")

    return send


def _span_writer() -> Callable[[Sequence[Any]], Writing]:
    """Ours where it writes what upstream writes, else upstream's."""
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    if not encodes_like(encode_spans):
        failures.warn("otlp encoder", "OpenTelemetry's own encoder is used: spans of this version are built otherwise")
        return _in_pieces(encode_spans, clean_span)
    encoder = Encoder(clean)
    known = scrubber.known

    def write(batch: Sequence[ReadableSpan]) -> Writing:
        nonlocal known
        if scrubber.known != known:
            known = scrubber.known
            encoder.forget()
        before = encoder.skipped
        request = yield from encoder.encode(batch)
        return request, encoder.skipped - before

    return write


def encodes_like(encode_spans: Callable[[Sequence[ReadableSpan]], Any]) -> bool:
    """Whether our encoder writes a span of this version's SDK as `encode_spans` does."""
    from opentelemetry.sdk.trace import TracerProvider

    try:
        resource, parent = Resource({"service.name": "self-test"}), SpanContext(1, 2, True)
        known: Any = {"text": "x", "number": 1, "truth": True, "real": 0.5, "list": ("a", "b")}
        plain = ReadableSpan("plain", SpanContext(3, 4, False), parent, resource, known, start_time=1, end_time=2)
        provider = TracerProvider(ALWAYS_ON, resource, shutdown_on_exit=False)
        with provider.get_tracer("self-test", "1").start_as_current_span("sdk", Context(), attributes=known) as span:
            span.add_event("event", known)
            span.add_link(parent, known)
            span.set_status(Status(StatusCode.ERROR, "said"))
        spans: list[Any] = [plain, span]
        theirs = encode_spans(spans)
        request, _ = _finish(_counted(Encoder().encode(spans)))
        return bool(type(theirs).FromString(request) == theirs)
    except Exception:
        return False


def _counted(request: Generator[None, None, bytes]) -> Writing:
    return (yield from request), 0


def _in_pieces(encode: Callable[[Sequence[Any]], Any], clean_one: Callable[[Any], Any]) -> Callable[..., Writing]:
    """Upstream's encoder, a few at a time: messages one after the other are read as one."""

    def write(batch: Sequence[Any]) -> Writing:
        pieces, impossible = [], 0
        for n in range(0, len(batch), _AT_ONCE):
            few = batch[n : n + _AT_ONCE]
            try:
                pieces.append(encode([clean_one(one) for one in few]).SerializePartialToString())
            except Exception:
                for one in few:
                    try:
                        pieces.append(encode([clean_one(one)]).SerializePartialToString())
                    except Exception:  # an object of the bot's may be anything
                        impossible += 1
            yield
        return b"".join(pieces), impossible

    return write


def _with_encoder(make: Any, encoder: str) -> Callable[[Any, _Ready], Any] | None:
    """Upstream's `export`, with one name that it looks up bound to what hands a written request on.

    It is the one thing that all versions from 1.43 on share: `encode_spans(spans).SerializePartialToString()` in
    `export`, with its retries around. None where it is not so.
    """
    export = getattr(make, "export", None)
    if not isinstance(export, FunctionType) or encoder not in export.__code__.co_names:
        return None
    names = {**export.__globals__, encoder: lambda ready: ready}
    return FunctionType(export.__code__, names, export.__name__, export.__defaults__, export.__closure__)


def _watched_session() -> Any:
    import requests

    class Session(requests.Session):
        """Notes what came back, or why nothing did, and follows no redirect.

        A redirected POST becomes a GET, or a key is sent where nobody meant it to be; upstream (1.45) takes it for
        success.
        """

        answer: requests.Response | None = None
        error: Exception | None = None

        def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
            self.answer = self.error = None
            try:
                answer = super().send(request, **{**kwargs, "allow_redirects": False})
            except Exception as error:
                self.error = error
                raise
            self.answer = answer
            if 300 <= answer.status_code < 400:
                raise requests.TooManyRedirects(f"it answers {answer.status_code}; name the address it redirects to")
            return answer

        def leave_connections(self) -> None:
            """In a forked child: those there are belong to the parent, and so may their locks."""
            for prefix in list(self.adapters):
                self.mount(prefix, requests.adapters.HTTPAdapter())

    return Session()


def _retry_after_s(answer: Any) -> float:
    """Seconds that a collector asks to be left alone, from its header; a date is left to our own pauses."""
    try:
        return min(max(0.0, float(answer.headers["Retry-After"])), _LONGEST_RETRY_AFTER_S)
    except (AttributeError, KeyError, ValueError):
        return 0.0


@contextmanager
def _quiet() -> Iterator[list[str]]:
    """What upstream logs on this thread goes into the list instead."""
    said: list[str] = []
    here = threading.get_ident()

    def keep(record: logging.LogRecord) -> bool:
        if threading.get_ident() != here:
            return True
        if record.levelno >= logging.WARNING:
            said.append(record.getMessage()[:1_000])
        return False

    loggers = [logging.getLogger(name) for name in _TALKERS]
    for logger in loggers:
        logger.addFilter(keep)
    try:
        yield said
    finally:
        for logger in loggers:
            logger.removeFilter(keep)


def _finish(stretches: Writing) -> tuple[bytes, int]:
    """Run to the end, with the bot's threads let run in between."""
    while True:
        try:
            next(stretches)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        breathe()
