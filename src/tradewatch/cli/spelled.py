"""How values are written for people. What is not known is a dash, never a zero."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal

from tradewatch.model import Evidence

UNKNOWN = "–"
# Symbol, style and word of each rule state; the most pressing first.
STATES = {
    "firing": ("▲", "bold red", "firing"),
    "failed": ("✗", "bold red", "failed"),
    "pending": ("◔", "yellow", "pending"),
    "no_data": ("?", "magenta", "no data"),
    "warming": ("…", "dim", "warming up"),
    "inactive": ("✓", "green", "ok"),
}


def numbers(evidence: Iterable[Evidence]) -> list[str]:
    """The numbers that a halt was decided from, one a line."""
    return [f"{' '.join(each.what.split())} = {each.value:.10g}" for each in evidence]


def moment(at_ns: int) -> str:
    """Date and time in UTC, to the second."""
    return f"{datetime.fromtimestamp(at_ns // 10**9, UTC):%Y-%m-%d %H:%M:%S}"


def span(seconds: float) -> str:
    """A length of time in its two largest units: `41m 12s`."""
    whole = max(0, int(seconds))
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "m"), (whole % 60, "s")]
    first = next((i for i, (n, _) in enumerate(parts) if n), len(parts) - 1)
    return " ".join(f"{n}{unit}" for n, unit in parts[first : first + 2])


def duration(seconds: float | None) -> str:
    """A latency in at most five characters: `21ms`, `1.2s`."""
    if seconds is None:
        return UNKNOWN
    if seconds < 0.0095:
        return f"{seconds * 1e3:.1f}ms"
    return f"{seconds * 1e3:.0f}ms" if seconds < 0.9995 else f"{seconds:.1f}s"


def money(value: Decimal | None, currency: str | None) -> str:
    """Cents, with thousands apart: `23,431.20 USDT`."""
    return UNKNOWN if value is None else f"{value:,.2f} {currency or ''}".rstrip()


def amount(value: Decimal | None) -> str:
    """An amount of a currency, eight decimals at most."""
    if value is None:
        return UNKNOWN
    text = f"{value:,.8f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def size(count: int | None) -> str:
    """Bytes: `12.3 MB`."""
    return UNKNOWN if count is None else f"{count / 1e6:,.1f} MB"
