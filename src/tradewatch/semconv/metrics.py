"""Metrics: name, instrument, unit (UCUM), meaning and attributes, and the name Prometheus sees."""

from __future__ import annotations

from typing import Literal

import msgspec

from tradewatch.semconv import attributes as a
from tradewatch.semconv.attributes import Attribute
from tradewatch.semconv.prometheus import family_name

Instrument = Literal["counter", "updowncounter", "histogram", "gauge"]

# Seconds. From a co-located venue to a hung one; 0.25, 2.5 and other fractions spell alike on every way to Prometheus.
DURATION_BOUNDS_S = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.0075,
    0.01,
    0.015,
    0.025,
    0.035,
    0.05,
    0.075,
    0.1,
    0.15,
    0.25,
    0.5,
    0.75,
    1.5,
    2.5,
    5.0,
    7.5,
    10.5,
    30.5,
)


class Metric(msgspec.Struct, frozen=True):
    """A metric as OpenTelemetry names it; `prometheus` is its name in a scrape, less `_bucket`, `_sum` and `_count`."""

    name: str
    instrument: Instrument
    unit: str
    meaning: str
    attributes: tuple[Attribute, ...]
    prometheus: str


def _m(name: str, instrument: Instrument, unit: str, meaning: str, *attributes: Attribute) -> Metric:
    counter = instrument == "counter"
    prometheus = family_name(name, unit, counter=counter) + ("_total" if counter else "")
    metric = Metric(name, instrument, unit, meaning, attributes, prometheus)
    METRICS.append(metric)
    return metric


METRICS: list[Metric] = []

CALL_DURATION = _m(
    "trading.exchange.call.duration",
    "histogram",
    "s",
    "A call of the client as the bot sees it: retries and the client's own throttle wait included.",
    a.EXCHANGE,
    a.OPERATION,
    a.ERROR_TYPE,
)
REQUEST_DURATION = _m(
    "trading.exchange.request.duration",
    "histogram",
    "s",
    "One HTTP attempt; as many as the venue's log has.",
    a.EXCHANGE,
    a.OPERATION,
    a.HTTP_METHOD,
    a.HTTP_STATUS,
    a.ERROR_TYPE,
)
THROTTLE_DURATION = _m(
    "trading.exchange.throttle.duration",
    "histogram",
    "s",
    "Wait in the client's own rate limiter, for calls that went through it.",
    a.EXCHANGE,
    a.OPERATION,
)
RATE_LIMIT_USED = _m(
    "trading.exchange.rate_limit.used",
    "gauge",
    "{request}",
    "Requests, orders or weight used in the venue's window, as its last answer said; for as long as the window, at "
    "least a minute.",
    a.EXCHANGE,
    a.RATE_LIMIT,
)
RATE_LIMIT_LIMIT = _m(
    "trading.exchange.rate_limit.limit",
    "gauge",
    "{request}",
    "What the venue said that it allows in that window; missing where no answer has told.",
    a.EXCHANGE,
    a.RATE_LIMIT,
)
RATE_LIMIT_REMAINING = _m(
    "trading.exchange.rate_limit.remaining",
    "gauge",
    "{request}",
    "What was left of that limit.",
    a.EXCHANGE,
    a.RATE_LIMIT,
)
RETRY_AFTER = _m(
    "trading.exchange.retry_after",
    "gauge",
    "s",
    "How much longer the venue wants silence, as a refusal of it said; missing while it wants none.",
    a.EXCHANGE,
)
RETRIES = _m(
    "trading.exchange.retries",
    "counter",
    "{request}",
    "HTTP attempts that repeat one of the same call that had failed.",
    a.EXCHANGE,
    a.OPERATION,
)
CLOCK_OFFSET = _m(
    "trading.exchange.clock.offset",
    "gauge",
    "s",
    "The venue's clock less this machine's, as its answers told in the last ten minutes: positive where the venue's is "
    "ahead.",
    a.EXCHANGE,
)
CLOCK_UNCERTAINTY = _m(
    "trading.exchange.clock.uncertainty",
    "gauge",
    "s",
    "How far the offset may be from that, either way: half of the round trip, and of the resolution of what was told.",
    a.EXCHANGE,
)
NONCE_GENERATED = _m(
    "trading.nonce.generated",
    "counter",
    "{nonce}",
    "Nonces sent; of venues that take a time there are none.",
    a.EXCHANGE,
)
NONCE_ERRORS = _m(
    "trading.nonce.errors",
    "counter",
    "{error}",
    "Nonces and times that the venue refused, by HTTP attempt.",
    a.EXCHANGE,
    a.NONCE_ERROR,
)
STREAM_CONNECTIONS = _m(
    "trading.stream.connections", "gauge", "{connection}", "Websocket connections that are open.", a.EXCHANGE
)
STREAM_RECONNECTS = _m(
    "trading.stream.reconnects",
    "counter",
    "{reconnect}",
    "Connections opened to an address that had dropped one.",
    a.EXCHANGE,
)
STREAM_DROPS = _m(
    "trading.stream.drops",
    "counter",
    "{drop}",
    "Connections that ended other than by the bot's own close; each once.",
    a.EXCHANGE,
)
STREAM_MESSAGES = _m(
    "trading.stream.messages",
    "counter",
    "{message}",
    "Messages that came over streams, pings left out.",
    a.EXCHANGE,
    a.CHANNEL,
)
STREAM_AGE = _m(
    "trading.stream.message.age",
    "gauge",
    "s",
    "Silence: since the last message of a channel that the bot watches, on the connection that is silent longest; on "
    "after a drop, absent once the bot has closed it.",
    a.EXCHANGE,
    a.CHANNEL,
)
STREAM_LAG = _m(
    "trading.stream.message.lag",
    "histogram",
    "s",
    "From the venue's event time to the message's arrival, by this machine's clock; what names no event time, or one "
    "ahead of that clock, has none.",
    a.EXCHANGE,
    a.CHANNEL,
)
ORDER_DURATION = _m(
    "trading.order.duration",
    "histogram",
    "s",
    "From submitting an order to the venue's answer.",
    a.EXCHANGE,
    a.SYMBOL,
    a.ORDER_SIDE,
    a.ORDER_TYPE,
    a.ORDER_STATUS,
)
ORDERS = _m(
    "trading.orders",
    "counter",
    "{order}",
    "Orders that the bot submitted, by what the answer said.",
    a.EXCHANGE,
    a.SYMBOL,
    a.ORDER_SIDE,
    a.ORDER_TYPE,
    a.ORDER_STATUS,
)
FILLS = _m("trading.fills", "counter", "{fill}", "Fills booked, each trade of the venue once.", a.SYMBOL, a.ORDER_SIDE)
FEES = _m("trading.fees", "counter", "{currency}", "Fees paid.", a.CURRENCY)
PNL_REALIZED = _m(
    "trading.pnl.realized", "gauge", "{currency}", "Realised profit and loss by average cost, net of fees.", a.CURRENCY
)
PNL_UNREALIZED = _m(
    "trading.pnl.unrealized",
    "gauge",
    "{currency}",
    "Worth of open positions at the last price less their cost.",
    a.CURRENCY,
)
PNL_DAILY = _m(
    "trading.pnl.daily", "gauge", "{currency}", "Equity less the equity at the start of the UTC day.", a.CURRENCY
)
EQUITY = _m("trading.portfolio.equity", "gauge", "{currency}", "Worth of the account in one currency.", a.CURRENCY)
DAY_START = _m(
    "trading.portfolio.day_start",
    "gauge",
    "{currency}",
    "Equity at the start of the UTC day, or when first known on it, scaled by what deposits and withdrawals did to it.",
    a.CURRENCY,
)
DRAWDOWN = _m("trading.portfolio.drawdown.current", "gauge", "{ratio}", "How far equity is below its peak, 0 to 1.")
STALE = _m(
    "trading.portfolio.stale",
    "gauge",
    "{state}",
    "1 where equity is unknown, or rests on an old price or on balances that fills do not explain; else 0.",
)
POSITIONS = _m("trading.portfolio.positions", "gauge", "{base}", "Amount held, base currency, signed.", a.SYMBOL)
TW_LIMIT = _m("tradewatch.limit", "gauge", "{limit}", "A limit that rules compare with.", a.LIMIT)
BREAKER_STATE = _m("tradewatch.breaker.state", "gauge", "{state}", "1 on the breaker's current state.", a.STATE)
BREAKER_TRIPS = _m("tradewatch.breaker.trips", "counter", "{trip}", "Halts since the start.")
ORDERS_REFUSED = _m("tradewatch.orders.refused", "counter", "{order}", "Orders that the breaker refused.")
ALERTS = _m("tradewatch.alerts.firing", "gauge", "{alert}", "Alerts firing, by rule.", a.ALERT)
RULE_STATES = _m("tradewatch.rule.state", "gauge", "{state}", "1 on the rule's current state.", a.ALERT, a.RULE_STATE)
OVERHEAD_CPU = _m(
    "tradewatch.overhead.cpu",
    "gauge",
    "{ratio}",
    "CPU that tradewatch used lately, of one core: its threads, and by sampling its part of the bot's calls.",
)
JOURNAL_DROPPED = _m(
    "tradewatch.journal.dropped", "counter", "{record}", "Records lost because a ring was full.", a.RING
)
EXPORT_DROPPED = _m(
    "tradewatch.telemetry.dropped",
    "counter",
    "{record}",
    "Calls counted for rules, but not handed to OpenTelemetry; spans, logs and metrics' points that did not arrive.",
    a.SIGNAL,
    a.DROPPED_KIND,
    a.REASON,
)
EXPORT_FAILURES = _m(
    "tradewatch.export.failures",
    "counter",
    "{batch}",
    "Batches that a collector did not take; they are sent again unless their members are counted as dropped.",
    a.SIGNAL,
)
FAILURES = _m("tradewatch.job.failures", "counter", "{failure}", "Failures of tradewatch's own, by place.", a.PLACE)
OVERFLOW = _m(
    "tradewatch.attribute.overflow",
    "counter",
    "{value}",
    "Distinct values of an attribute that metrics had no room for and show as `_OTHER`; counted up to 10,000.",
    a.ATTRIBUTE,
)

# The process and its host, by OpenTelemetry's names where it has some. Its ratios (`*.utilization`) are left out: their
# unit 1 is spelled in two ways on the ways to Prometheus, and time and bytes say the same.
PROCESS_CPU = _m("process.cpu.time", "counter", "s", "CPU time that the bot's process used.", a.CPU_MODE)
PROCESS_MEMORY = _m("process.memory.usage", "updowncounter", "By", "Memory of the bot's process that is in RAM.")
PROCESS_VIRTUAL = _m("process.memory.virtual", "updowncounter", "By", "Memory that the bot's process has mapped.")
PROCESS_DISK = _m(
    "process.disk.io",
    "counter",
    "By",
    "Bytes that the bot's process read from disks and wrote to them.",
    a.DISK_DIRECTION,
)
PROCESS_THREADS = _m("process.thread.count", "updowncounter", "{thread}", "Threads of the bot's process.")
PROCESS_FILES = _m(
    "process.unix.file_descriptor.count",
    "updowncounter",
    "{file_descriptor}",
    "Files, sockets and pipes that the bot's process has open.",
)
PROCESS_UPTIME = _m("process.uptime", "gauge", "s", "Since the bot's process began.")
GC_DURATION = _m(
    "cpython.gc.duration",
    "histogram",
    "s",
    "A collection of Python's garbage collector: all threads of the bot stand still meanwhile.",
)
GC_COLLECTIONS = _m(
    "cpython.gc.collections",
    "counter",
    "{collection}",
    "Collections since the process began, before the bot was watched too.",
    a.GC_GENERATION,
)
GC_COLLECTED = _m("cpython.gc.collected_objects", "counter", "{object}", "Objects that they freed.", a.GC_GENERATION)
GC_UNCOLLECTABLE = _m(
    "cpython.gc.uncollectable_objects", "counter", "{object}", "Objects that they could not free.", a.GC_GENERATION
)
LOOP_LAG = _m(
    "trading.loop.lag",
    "gauge",
    "s",
    "How long an event loop let a callback wait: the longest of the last 20 s, or of one that still waits.",
    a.LOOP,
)
SYSTEM_CPU = _m("system.cpu.time", "counter", "s", "Time of all logical CPUs of the host together.", a.CPU_MODE)
SYSTEM_CPUS = _m("system.cpu.logical.count", "updowncounter", "{cpu}", "Logical CPUs of the host.")
SYSTEM_LOAD_1M = _m(
    "system.cpu.load_average.1m", "gauge", "{thread}", "Threads that ran or wanted to, on average over 1 minute."
)
SYSTEM_LOAD_5M = _m("system.cpu.load_average.5m", "gauge", "{thread}", "The same over 5 minutes.")
SYSTEM_LOAD_15M = _m("system.cpu.load_average.15m", "gauge", "{thread}", "The same over 15 minutes.")
SYSTEM_MEMORY = _m("system.memory.usage", "updowncounter", "By", "Memory of the host.", a.MEMORY_STATE)
SYSTEM_MEMORY_LIMIT = _m("system.memory.limit", "updowncounter", "By", "Memory that the host has.")
SYSTEM_MEMORY_AVAILABLE = _m(
    "system.memory.linux.available",
    "updowncounter",
    "By",
    "Memory that programs can still have without swapping, as the kernel estimates it.",
)
SYSTEM_DISK = _m(
    "system.disk.io", "counter", "By", "Bytes read from and written to a disk.", a.DEVICE, a.DISK_DIRECTION
)
SYSTEM_NETWORK = _m(
    "system.network.io",
    "counter",
    "By",
    "Bytes that came and went by a network interface; loopback is left out.",
    a.INTERFACE,
    a.NETWORK_DIRECTION,
)
SYSTEM_NETWORK_ERRORS = _m(
    "system.network.errors", "counter", "{error}", "Errors of a network interface.", a.INTERFACE, a.NETWORK_DIRECTION
)
SYSTEM_FILESYSTEM = _m(
    "system.filesystem.usage",
    "updowncounter",
    "By",
    "Room on the file systems of the root, the working directory, the state folder and the log files.",
    a.MOUNTPOINT,
    a.FILESYSTEM_STATE,
)
SYSTEM_FILESYSTEM_LIMIT = _m(
    "system.filesystem.limit", "updowncounter", "By", "Size of such a file system.", a.MOUNTPOINT
)
SYSTEM_UPTIME = _m("system.uptime", "gauge", "s", "Since the host was started.")
LOG_FILE_SIZE = _m(
    "tradewatch.log_file.size",
    "gauge",
    "By",
    "Size of a file that the setting `log_files` names; missing where the file is.",
    a.FILE_PATH,
)
PROCESS_UP = _m(
    "tradewatch.process.up",
    "gauge",
    "{state}",
    "1 where a process that settings name runs, 0 where it does not; missing where that cannot be told.",
    a.PROCESS,
)
WATCHED_CPU = _m(
    "tradewatch.process.cpu.time",
    "counter",
    "s",
    "CPU time that it used while it was watched, those of one name together; missing while it is down.",
    a.PROCESS,
)
WATCHED_MEMORY = _m(
    "tradewatch.process.memory.usage", "updowncounter", "By", "Its memory in RAM; missing while it is down.", a.PROCESS
)
