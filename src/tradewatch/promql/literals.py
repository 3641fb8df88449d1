"""The values of numbers, durations and strings, in Go's spelling and Prometheus's."""

from __future__ import annotations

import math
import re

NS_PER_S = 1_000_000_000
_MAX_NS = 2**63

_UNITS = {"y": 365 * 86_400_000, "w": 7 * 86_400_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_ORDER = list(_UNITS)
_DURATION_PART = re.compile(r"([0-9]+)([^0-9]+)")

_INTEGERS = (
    (re.compile(r"0[xX](_?[0-9a-fA-F]+)+"), 16),
    (re.compile(r"0[bB](_?[01]+)+"), 2),
    (re.compile(r"0[oO]?(_?[0-7]+)+"), 8),
    (re.compile(r"0|[1-9](_?[0-9]+)*"), 10),
)
# Underscores only between digits; Python's float() takes the same decimal syntax otherwise.
_DECIMAL = re.compile(r"(?:[0-9]+(?:_[0-9]+)*)?\.?(?:[0-9]+(?:_[0-9]+)*)?(?:[eE][+-]?[0-9]+(?:_[0-9]+)*)?")


def number_value(text: str) -> float:
    """The value of a number token: a Go integer literal (`0x1F`, `017`, `1_000`), else a decimal, `Inf` or `NaN`.

    Raises:
        ValueError: it is neither, or out of range.
    """
    for pattern, radix in _INTEGERS:
        if pattern.fullmatch(text):
            digits = text.replace("_", "").lower().removeprefix("0x" if radix == 16 else "0b" if radix == 2 else "0o")
            if len(digits) <= 70 and int(digits, radix) < _MAX_NS:
                return float(int(digits, radix))
    if text.lower() in {"inf", "nan"}:
        return float(text)
    if not _DECIMAL.fullmatch(text) or not any(c.isdigit() for c in text.lower().partition("e")[0]):
        raise ValueError(f'error parsing number: strconv.ParseFloat: parsing "{text}": invalid syntax')
    value = float(text.replace("_", ""))
    if math.isinf(value):
        raise ValueError(f'error parsing number: strconv.ParseFloat: parsing "{text}": value out of range')
    return value


def duration_ns(text: str) -> int:
    """Nanoseconds of a duration such as `1h30m`: units from large to small, each once.

    Raises:
        ValueError: it is not such a duration, or longer than about 292 years.
    """
    parts = _DURATION_PART.findall(text)
    if "".join(number + unit for number, unit in parts) != text or not text:
        raise ValueError(f'not a valid duration string: "{text}"')
    total, last = 0, -1
    for number, unit in parts:
        if len(number) > 20:
            raise ValueError(f'not a valid duration string: "{text}"')
        if unit not in _UNITS:
            raise ValueError(f'unknown unit "{unit}" in duration "{text}"')
        if _ORDER.index(unit) <= last:
            raise ValueError(f'not a valid duration string: "{text}"')
        last = _ORDER.index(unit)
        total += int(number) * _UNITS[unit] * 1_000_000
        if total >= _MAX_NS:
            raise ValueError("duration out of range")
    return total


_ESCAPE = re.compile(rb"\\(?:x(..)|u(....)|U(........)|([0-7]{3})|(.))", re.DOTALL)
_SIMPLE = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def unquote(text: str) -> str:
    """The value of a string token, which the lexer has found to be well-formed, quotes and escapes resolved."""
    inner = text[1:-1]
    if text[0] == "`" or "\\" not in inner:
        return inner
    return _ESCAPE.sub(_unescape, inner.encode()).decode(errors="surrogateescape")


def _unescape(found: re.Match[bytes]) -> bytes:
    byte, short, long, octal, simple = found.groups()
    if byte:
        return bytes((int(byte, 16),))
    if short or long:
        return chr(int(short or long, 16)).encode()
    if octal:
        return bytes((int(octal, 8),))
    return _SIMPLE.get(simple, simple)
