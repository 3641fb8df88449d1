"""Attributes of spans and metrics. `trading.*` is vendor-neutral; `tradewatch.*` concerns tradewatch itself.

Those whose values come from the bot or the venue have a bound: further values are shown in metrics as `_OTHER`, the
value that OpenTelemetry has for what is not listed.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from tradewatch.semconv.prometheus import label_name

Where = Literal["metric and span", "span", "metric", "resource"]
OTHER = "_OTHER"


class Attribute(msgspec.Struct, frozen=True):
    """A name, where it is used, an example, what it means, and how many values of it metrics show (None: any)."""

    name: str
    where: Where
    example: str
    meaning: str
    most: int | None = None

    @property
    def label(self) -> str:
        """The name as a Prometheus label."""
        return label_name(self.name)


def _a(name: str, where: Where, example: str, meaning: str, most: int | None = None) -> Attribute:
    attribute = Attribute(name, where, example, meaning, most)
    ATTRIBUTES.append(attribute)
    return attribute


ATTRIBUTES: list[Attribute] = []

EXCHANGE = _a("trading.exchange", "metric and span", "binance", "The venue, as the client library names it.")
OPERATION = _a(
    "trading.operation",
    "metric and span",
    "create_order",
    "The call as the client library names it in snake case; for a call below its unified methods, the endpoint.",
    most=200,
)
SYMBOL = _a("trading.symbol", "metric and span", "BTC/USDT", "The market in unified spelling.", most=200)
ORDER_SIDE = _a("trading.order.side", "metric and span", "buy", "buy or sell.", most=10)
ORDER_TYPE = _a("trading.order.type", "metric and span", "limit", "The type as the bot gave it.", most=30)
ORDER_STATUS = _a(
    "trading.order.status",
    "metric and span",
    "filled",
    "pending, open, filled, cancelled, expired, rejected (by the venue), refused (by the breaker: never sent), or "
    "unknown (sent, and no answer that says what became of it).",
)
CHANNEL = _a(
    "trading.channel",
    "metric and span",
    "ticker",
    "What a stream tells of: ticker, trades, order_book, ohlcv, orders, my_trades, balance, positions, or other (what "
    "a venue sends beside: confirmations, heartbeats).",
)
CURRENCY = _a(
    "trading.currency", "metric", "USDT", "The currency of an amount of money; nothing is summed across currencies."
)
BOT = _a(
    "trading.bot",
    "metric and span",
    "grid-1",
    "The bot's name: on the resource, and on metrics and spans where an application's own providers are used.",
)
STRATEGY = _a("trading.strategy", "span", "grid-1", "The strategy that decided, as the bot names it.")
DECISION_INPUT = _a(
    "trading.decision.input",
    "span",
    "-2.4",
    "What a decision rests on, with its name behind: trading.decision.input.z_score.",
)
ORDER_ID = _a("trading.order.id", "span", "28457", "The venue's id of an order.")
CLIENT_ID = _a("trading.order.client_id", "span", "x-4f2a", "The bot's id of an order.")
ORDER_PRICE = _a("trading.order.price", "span", "23431.9", "Limit price, quote per base.")
ORDER_AMOUNT = _a("trading.order.amount", "span", "0.01", "Amount asked for, base currency.")
ORDER_FILLED = _a("trading.order.filled", "span", "0.004", "Amount filled when the answer came, base currency.")
FILL_PRICE = _a("trading.fill.price", "span", "23431.7", "Price of a trade that a stream told of, quote per base.")
FILL_AMOUNT = _a("trading.fill.amount", "span", "0.004", "Its amount, base currency.")
ORDER_AVERAGE = _a("trading.order.average", "span", "23431.7", "Average price of what was filled, quote per base.")
THROTTLE = _a(
    "trading.throttle.duration", "span", "0.05", "Seconds that the call waited in the client's own rate limiter."
)
RETRY_AFTER = _a(
    "trading.retry_after.duration", "span", "5", "Seconds that the venue wants silence for, as its refusal said."
)
NONCE = _a("trading.nonce.value", "span", "1677804600123", "The nonce that was sent.")
NONCE_ERROR = _a(
    "trading.nonce.error.kind",
    "metric and span",
    "sequence",
    "What the venue refused: sequence (not above the last one), too_low, clock_skew (a time instead of a nonce), or "
    "unknown.",
)
RATE_LIMIT = _a(
    "trading.rate_limit",
    "metric",
    "api_weight_1m",
    "Which limit: of Binance its product, what counts and the window; of Bybit the endpoint's path.",
    most=50,
)
ATTEMPTS = _a("trading.attempts", "span", "2", "HTTP attempts made.")
CANCELLED = _a("trading.cancelled", "span", "true", "The bot cancelled the call while it ran; that is no error.")
ERROR_TYPE = _a(
    "error.type",
    "metric and span",
    "timeout",
    "rate_limited, nonce, insufficient_funds, rejected, refused, timeout, unavailable, auth, or the exception's class.",
    most=50,
)
HTTP_METHOD = _a(
    "http.request.method", "metric and span", "POST", "OpenTelemetry's name: the attempt's method.", most=20
)
HTTP_STATUS = _a(
    "http.response.status_code", "metric and span", "429", "OpenTelemetry's name: absent where no answer came."
)
RESEND = _a(
    "http.request.resend_count",
    "span",
    "1",
    "OpenTelemetry's name: how often the request had failed and was sent again; absent on the first.",
)
URL_PATH = _a(
    "url.path", "span", "/api/v3/order", "OpenTelemetry's name: the path alone; the query carries the signature."
)
SERVER = _a("server.address", "span", "api.binance.com", "OpenTelemetry's name: the host asked.")
LIMIT = _a("limit", "metric", "daily_loss", "Which limit.")
STATE = _a("state", "metric", "HALTED", "A state by name; 1 on the current one, 0 on the others.")
ALERT = _a("alertname", "metric", "DailyLoss", "The rule, as Prometheus labels its alerts.")
RULE_STATE = _a("alertstate", "metric", "firing", "inactive, pending, firing, warming, no_data or failed.")
PLACE = _a("place", "metric", "portfolio", "The part of tradewatch concerned.")
RING = _a(
    "ring",
    "metric",
    "reads",
    "Which ring of the journal: reads, the only one that drops; durations were counted, but not seen for the smallest "
    "and largest.",
)
ATTRIBUTE = _a("attribute", "metric", "trading.symbol", "The attribute concerned.")
SIGNAL = _a("signal", "metric", "spans", "What is concerned: calls (before they became spans), spans, logs or metrics.")
DROPPED_KIND = _a("kind", "metric", "order or error", "What was lost, where it is known: order or error, or other.")
REASON = _a(
    "reason",
    "metric",
    "unreachable",
    "full (more came than was taken), unreachable (the collector, until the end), refused (by it, a whole batch), "
    "rejected (by it, some of a batch), or impossible (to write, or larger than all the room there is).",
)
CPU_MODE = _a(
    "cpu.mode",
    "metric",
    "user",
    "OpenTelemetry's name: user, system, nice, idle, iowait, interrupt or steal.",
)
MEMORY_STATE = _a(
    "system.memory.state",
    "metric",
    "used",
    "OpenTelemetry's name: used, free, cached or buffers; together all there is.",
)
DEVICE = _a("system.device", "metric", "vda", "OpenTelemetry's name: a disk.", most=20)
DISK_DIRECTION = _a("disk.io.direction", "metric", "read", "OpenTelemetry's name: read or write.")
INTERFACE = _a("network.interface.name", "metric", "eth0", "OpenTelemetry's name.", most=20)
NETWORK_DIRECTION = _a("network.io.direction", "metric", "receive", "OpenTelemetry's name: receive or transmit.")
MOUNTPOINT = _a(
    "system.filesystem.mountpoint",
    "metric",
    "/",
    "OpenTelemetry's name: where a file system is mounted that the bot uses.",
)
FILESYSTEM_STATE = _a(
    "system.filesystem.state",
    "metric",
    "free",
    "OpenTelemetry's name: used, free (to everybody) or reserved (to root); together all there is.",
)
GC_GENERATION = _a(
    "cpython.gc.generation", "metric", "2", "OpenTelemetry's name: the oldest generation that was collected, 0 to 2."
)
LOOP = _a(
    "trading.loop",
    "metric",
    "bot.exchange",
    "An event loop, called by the first exchange client that was found to run on it.",
    most=20,
)
FILE_PATH = _a("file.path", "metric", "/var/log/bot.log", "OpenTelemetry's name: a file that settings name.")
PROCESS = _a(
    "process", "metric", "postgres", "A process that settings name: by its name, or by the path of its pid file."
)
