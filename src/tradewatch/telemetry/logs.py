"""Log records and the call that they were made in: ids on every record of the bot, and by OTLP where that is asked for.

Nothing is printed and no format, handler or level is changed. A record gets four attributes, which a format may name:
`%(otelTraceID)s`, `%(otelSpanID)s`, `%(otelTraceSampled)s` (as opentelemetry-instrumentation-logging has them) and
`%(tradingOrderID)s`.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from opentelemetry import trace
from opentelemetry.trace import format_span_id, format_trace_id

from tradewatch.runtime.failures import describe, failures
from tradewatch.runtime.scrub import scrubber
from tradewatch.semconv import attributes as a
from tradewatch.telemetry.journal import Journal
from tradewatch.telemetry.probe import CURRENT

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider, LogRecord, SeverityNumber

_NO_ID = "0"
_NO_ORDER = "-"
_OURS = ("otelTraceID", "otelSpanID", "otelTraceSampled", "tradingOrderID")
# What every record has; the rest is what the bot gave as `extra`.
_USUAL = frozenset((*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "otelServiceName", *_OURS))

_CallHandlers = Callable[[logging.Logger, logging.LogRecord], None]


class _Outlet(msgspec.Struct, frozen=True):
    """Where a bot's records go: not those of the thread `but_from`, which sends them; each with `extra`."""

    provider: LoggerProvider
    but_from: int | None
    extra: Mapping[str, str]


class Logs:
    """What is done with the stdlib log records of a process while a bot is watched; undone when none is."""

    def __init__(self) -> None:
        self._active = False
        self._busy = threading.local()
        # By the journal that the bot's calls are written down in.
        self._outlets: dict[Journal, _Outlet] = {}
        self._made_before: Callable[..., logging.LogRecord] = logging.Logger.makeRecord
        self._handled_before: _CallHandlers = logging.Logger.callHandlers
        self._make: Callable[..., logging.LogRecord] | None = None
        self._handle: _CallHandlers | None = None

    def install(self) -> None:
        """Have records carry ids from now on."""
        self._active = True
        if self._make is None:
            # Not the factory of records: what the bot gives as `extra` under these names would then raise KeyError.
            before = self._made_before = logging.Logger.makeRecord

            def makeRecord(logger: logging.Logger, *args: Any, **kwargs: Any) -> logging.LogRecord:  # noqa: N802
                return self._made(before(logger, *args, **kwargs))

            self._make = makeRecord
            logging.Logger.makeRecord = makeRecord  # type: ignore[method-assign,assignment]

    def undo(self) -> None:
        """Put back what was there. Where somebody else has wrapped it meanwhile, ours stays and does nothing."""
        self._active = False
        if self._make is not None and logging.Logger.makeRecord is self._make:
            logging.Logger.makeRecord = self._made_before  # type: ignore[method-assign]
            self._make = None
        if self._handle is not None and logging.Logger.callHandlers is self._handle:
            logging.Logger.callHandlers = self._handled_before  # type: ignore[method-assign,assignment]
            self._handle = None

    def add(self, bot: Journal, provider: LoggerProvider, but_from: int | None, extra: Mapping[str, str]) -> None:
        """Have a bot's records go to `provider` too, with the attributes `extra`.

        Those of the thread `but_from` do not, which sends them. With several bots a record is that one's whose call
        is under way in its thread or task; where there is none nobody can tell, and it goes out as the first bot's.
        """
        self._outlets[bot] = _Outlet(provider, but_from, extra)
        if self._handle is not None:
            return
        # Not a handler of the root logger: with one `basicConfig` does nothing, and what had no handler is not printed.
        before = self._handled_before = logging.Logger.callHandlers

        def callHandlers(logger: logging.Logger, record: logging.LogRecord) -> None:  # noqa: N802
            before(logger, record)
            self._told(record)

        self._handle = callHandlers
        logging.Logger.callHandlers = callHandlers  # type: ignore[method-assign,assignment]

    def remove(self, bot: Journal) -> None:
        """Have them go there no more."""
        self._outlets.pop(bot, None)

    def forked(self) -> None:
        """In a forked child: the bot is not watched there, so its records go nowhere of ours."""
        self._outlets.clear()

    def _made(self, record: logging.LogRecord) -> logging.LogRecord:
        # What asks for the current span's ids may itself write a log record.
        if self._active and not getattr(self._busy, "now", False):
            self._busy.now = True
            try:
                with failures.kept("logs"):
                    _mark(record)
            finally:
                self._busy.now = False
        for name, missing in zip(_OURS, (_NO_ID, _NO_ID, False, _NO_ORDER), strict=True):
            record.__dict__.setdefault(name, missing)
        return record

    def _told(self, record: logging.LogRecord) -> None:
        if not self._active or getattr(self._busy, "now", False):
            return
        self._busy.now = True
        try:
            with failures.kept("logs"):
                outlets = dict(self._outlets)
                live = CURRENT.get()
                known = outlets.get(live.operation.journal) if live is not None and not live.end_ns else None
                outlet = known or next(iter(outlets.values()), None)
                if outlet is not None and all(record.thread != each.but_from for each in outlets.values()):
                    extra = outlet.extra if known is not None or len(outlets) == 1 else {}
                    outlet.provider.get_logger(record.name).emit(_told_as(record, extra))
        finally:
            self._busy.now = False


def _mark(record: logging.LogRecord) -> None:
    said = record.__dict__
    if "otelTraceID" not in said:
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            said["otelTraceID"] = format_trace_id(context.trace_id)
            said["otelSpanID"] = format_span_id(context.span_id)
            said["otelTraceSampled"] = context.trace_flags.sampled
    order = _order_id()
    if order is not None and "tradingOrderID" not in said:
        said["tradingOrderID"] = scrubber.value(order)


def _order_id() -> str | None:
    """The venue's id of the order that the current call is about, else the bot's own id of it."""
    live = CURRENT.get()
    if live is None or live.end_ns:
        return None
    keys = [order.key for order in (live.more.outcomes or live.more.requests)]
    if len(keys) != 1:
        return None
    return keys[0].order_id or keys[0].client_id


def _told_as(record: logging.LogRecord, extra: Mapping[str, str]) -> LogRecord:
    # It is there since the provider was made, which no bot need have.
    from opentelemetry._logs import LogRecord

    try:
        body = record.getMessage()
    except Exception:  # arguments that do not fit: logging itself has said so
        body = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
    given = record.__dict__
    attributes: dict[str, Any] = {
        "code.file.path": record.pathname,
        "code.function.name": record.funcName,
        "code.line.number": record.lineno,
        **{k: v for k, v in given.items() if k not in _USUAL and type(v) in (str, int, float, bool)},
        **_exception(record),
        **extra,
    }
    order = given.get("tradingOrderID", _NO_ORDER)
    if order != _NO_ORDER:
        attributes[a.ORDER_ID.name] = order
    return LogRecord(
        timestamp=int(record.created * 1e9),
        severity_number=_severity(record.levelno),
        severity_text=record.levelname,
        body=body,
        attributes={k: v for k, v in attributes.items() if v is not None},
    )


def _exception(record: logging.LogRecord) -> Mapping[str, str]:
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return {}
    # A formatter of the bot's may have made the text already.
    text = record.exc_text or "".join(traceback.format_exception(error))
    kind = type(error)
    return {
        "exception.type": f"{kind.__module__}.{kind.__qualname__}",
        "exception.message": describe(error).partition(": ")[2],
        "exception.stacktrace": text,
    }


def _severity(level: int) -> SeverityNumber:
    """OpenTelemetry's severities: four to each level of logging, from DEBUG (10) = 5 on."""
    from opentelemetry._logs import SeverityNumber

    if level < logging.DEBUG:
        return SeverityNumber.UNSPECIFIED
    return SeverityNumber(min(1 + level // 10 * 4 + min(level % 10, 3), SeverityNumber.FATAL4.value))
