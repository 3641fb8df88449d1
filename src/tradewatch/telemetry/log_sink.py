"""Log records on their way to an outbox. Loaded where logs are exported: the SDK's part for logs is a third of a MB."""

from __future__ import annotations

import copy

from opentelemetry._logs import SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LogRecordProcessor, ReadableLogRecord, ReadWriteLogRecord

from tradewatch.runtime.failures import failures
from tradewatch.semconv import attributes as a
from tradewatch.telemetry.outbox import Outbox

_RECORD_BYTES = 1_500


class LogSink(LogRecordProcessor):
    """Queues log records; takes no lock."""

    def __init__(self, outbox: Outbox[ReadableLogRecord]) -> None:
        self.outbox = outbox

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Queue a record, without the context, which may hold much."""
        with failures.kept("logs"):
            said = copy.copy(log_record.log_record)
            said.context = Context()
            resource = log_record.resource
            assert resource is not None
            kept = ReadableLogRecord(said, resource, log_record.instrumentation_scope)
            attributes = said.attributes or {}
            size = _RECORD_BYTES + len(said.body) if isinstance(said.body, str) else _RECORD_BYTES
            size += sum(len(v) for v in attributes.values() if isinstance(v, str))
            severe = said.severity_number is not None and said.severity_number.value >= SeverityNumber.ERROR.value
            self.outbox.put(kept, size, severe or a.ORDER_ID.name in attributes)

    def shutdown(self) -> None:
        """Send what there is, within two seconds."""
        self.outbox.close(2.0)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until what there is now is sent; False where that took longer."""
        return self.outbox.flush(timeout_millis / 1000)
