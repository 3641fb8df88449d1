"""OpenTelemetry's own OTLP exporter over HTTP, given requests that are written already, and what its answers mean.

The connection, compression, certificates, headers, time-outs, retries and what OTEL_* variables say of them are
upstream's. Its own log lines are kept, to be said once a minute.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FunctionType
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec
from opentelemetry.util.re import parse_env_headers

from tradewatch.runtime.failures import describe, failures
from tradewatch.runtime.safety import breathe
from tradewatch.runtime.scrub import MASK, scrubber
from tradewatch.telemetry.outbox import Sent

# Upstream tries these again itself, for as long as one export may take.
_RETRYABLE = frozenset((429, 502, 503, 504))
_LONGEST_RETRY_AFTER_S = 300.0
_LEFT_OUT = "a header in {} is not written as name=value and left out"
# Of RFC 9110, 5.5 and 5.6.2: what is left of Latin-1 in a value, and of ASCII in a name.
_VALUE = re.compile(r"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?")
_NAME = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)
# A value of a header that is as long is taken for a key, whatever the header's name.
_KEY_LENGTH = 20
_CREDENTIALS = "OTEL_PYTHON_EXPORTER_OTLP_HTTP_{}CREDENTIAL_PROVIDER"
# Who says something while a request is sent. A filter of a logger is not asked about those below it.
_TALKERS = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http._log_exporter",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.exporter.otlp.proto.common._internal",
    "opentelemetry.exporter.otlp.proto.http._common",
    "opentelemetry.exporter.otlp.common.http",
    "opentelemetry.exporter.otlp.common._aggregation",
    "opentelemetry.util.re",
    "urllib3.connectionpool",
    "urllib3.connection",
)

# Yields at least every 0.3 ms; returns a request, and how many of the batch could not be put into it.
Writing = Generator[None, None, tuple[bytes, int]]


class Exporter(Protocol):
    """What the SDK's exporters have in common."""

    def export(self, batch: Any, /) -> Any:
        """Send a batch; the result's `name` is SUCCESS or FAILURE."""

    def shutdown(self) -> None:
        """Give up what waits."""


class _Ready:
    """A request that is written, in the place of both the batch and the message that upstream would make of it."""

    # Where upstream counts the points of a message, for metrics about itself that are off unless asked for.
    resource_metrics = ()

    def __init__(self, body: bytes, count: int) -> None:
        self._body = body
        self._count = count

    def __len__(self) -> int:
        return self._count

    def SerializePartialToString(self) -> bytes:  # noqa: N802
        """The request."""
        return self._body

    SerializeToString = SerializePartialToString


class Signal(msgspec.Struct, frozen=True):
    """What differs between spans, logs and metrics.

    `variable` is what OTEL_* variables call it, `make` upstream's exporter class (it reads them), `encoder` the name by
    which its `export` calls the encoder that `write` takes the place of. `clean` gives a batch as it may leave, where
    upstream has to encode it. `answer` is the class of upstream's answers; `rejected` is what their
    `partial_success` calls the number of those that were not taken.
    """

    variable: str
    make: Callable[..., Exporter]
    encoder: str
    write: Callable[[Sequence[Any]], Writing]
    clean: Callable[[Sequence[Any]], Any]
    answer: Any
    rejected: str


class Collector:
    """Sends batches of one signal by upstream's `exporter`, with `headers` in place of those of OTEL_* variables.

    Raises:
        Exception: whatever upstream says of what an OTEL_* variable holds.
    """

    def __init__(self, signal: Signal, headers: str | None) -> None:
        self._signal = signal
        _look_at_endpoint(signal.variable)
        _look_at_headers(signal.variable, headers)
        # Imported here: requests comes with it, which nothing else of ours needs.
        from tradewatch.telemetry.session import Session

        # With a provider of credentials the session is that one's, and its answers are not seen.
        provided = any(os.environ.get(_CREDENTIALS.format(s)) for s in ("", f"{signal.variable}_"))
        self._session: Any = None if provided else Session()
        with _quiet() as said:
            named = None if headers is None else parse_env_headers(headers, liberal=True)
            self.exporter = signal.make(headers=named, session=self._session)
        for line in said:
            # Its own line shows the header, which may be a key.
            where = "OTEL_EXPORTER_OTLP_HEADERS" if headers is None else "otlp_headers"
            text = _LEFT_OUT.format(where) if line.startswith("Header format") else line
            failures.warn(f"otlp {signal.variable} {text}", text)
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
                done = self.exporter.export(self._signal.clean(batch))
            return self._judge(done.name == "SUCCESS", said, 0)
        body, impossible = finish(self._signal.write(batch))
        with _quiet() as said:
            try:
                done = export(self.exporter, _Ready(body, len(batch)))
            except Exception as error:
                # Upstream is built otherwise than it was: from now on it does all of it.
                failures.warn("otlp encoder", f"OpenTelemetry's own encoder is used: {describe(error)}")
                self._export = None
                return Sent(again_s=0.0)
        return self._judge(done.name == "SUCCESS", said, impossible)

    def close(self) -> None:
        """Have what waits in `send` give up."""
        self.exporter.shutdown()

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


def _look_at_endpoint(signal: str) -> None:
    """Raise ValueError, with what to write instead, where a variable's endpoint is no address of a collector."""
    for name in (f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        said = os.environ.get(name)
        if said:
            if not _is_address(said):
                bare = said.strip()
                bare = bare if "//" in bare else f"http://{bare}"
                better = bare if _is_address(bare) else "http://host:4318"
                # Without a scheme it is no address that the scrubber would know a password in.
                said, better = (re.sub(r"[^/]*@", f"{MASK}@", text) for text in (said, better))
                raise ValueError(f"{name}={said!r} is no address of a collector; write {better}")
            return


def _look_at_headers(signal: str, given: str | None) -> None:
    """Learn the keys among the headers; raise ValueError, without their text, for what no header can hold.

    What requests and http.client say of such a header shows it.
    """
    variables = f"OTEL_EXPORTER_OTLP_{signal}_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"
    found = {name: os.environ.get(name) for name in variables} if given is None else {"otlp_headers": given}
    for name, said in found.items():
        if said:
            with _quiet():
                headers = parse_env_headers(said, liberal=True)
            for key, value in headers.items():
                parts = (value, value.rpartition(" ")[2])
                scrubber.learn(p for p in parts if len(p) >= _KEY_LENGTH or scrubber.attribute(key, p) == MASK)
            if not all(_NAME.fullmatch(key) and _VALUE.fullmatch(value) for key, value in headers.items()):
                raise ValueError(f"{name}: a header in it has characters that none can have")
            return


def _is_address(said: str) -> bool:
    try:
        parts = urlsplit(said)
        if any(character.isspace() for character in said):
            return False
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none, half a bracket
        return False


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


def finish(stretches: Writing) -> tuple[bytes, int]:
    """Run to the end, with the bot's threads let run in between."""
    while True:
        try:
            next(stretches)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        breathe()
