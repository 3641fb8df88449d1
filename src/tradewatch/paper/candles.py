"""One-minute candles: read from a file, or walked at random from a seed.

A file is CSV, plain or gzip (name ending in `.gz`), with a header that names at least `open_time`, `open`, `high`,
`low`, `close` and `volume`. `open_time` is ISO 8601 with an offset, or epoch milliseconds. Rows are one minute apart
without gaps; a minute without trades is a row with volume 0.
"""

from __future__ import annotations

import csv
import gzip
import io
import random
import zlib
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path as FilePath

import msgspec

from tradewatch.paper import units

MINUTE_NS = 60_000_000_000
COLUMNS = ("open_time", "open", "high", "low", "close", "volume")
_Row = tuple[int, int, int, int, int]


class CandleError(ValueError):
    """A candle file that cannot be used: the message names file, line, value and what is accepted."""


class Candles(msgspec.Struct, frozen=True):
    """Consecutive one-minute candles: prices and volume (in base) in units of 10^-8.

    `price_places` is the number of decimals that the prices need, from which a market takes its tick.
    """

    start_ns: int
    open: tuple[int, ...]
    high: tuple[int, ...]
    low: tuple[int, ...]
    close: tuple[int, ...]
    volume: tuple[int, ...]
    price_places: int

    def __len__(self) -> int:
        return len(self.open)

    @property
    def end_ns(self) -> int:
        """The first instant after the last candle."""
        return self.start_ns + len(self.open) * MINUTE_NS


def load_candles(file: str | FilePath) -> Candles:
    """Read a candle file.

    Raises:
        CandleError: unreadable, a column missing, a value that is not a number, prices out of order (low above open,
            say), a gap or a repeated minute. The message names file, line and value.
    """
    path = FilePath(file)
    try:
        raw = path.read_bytes()
        text = gzip.decompress(raw).decode() if path.suffix == ".gz" else raw.decode()
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise CandleError(f"{path}: cannot read candles: {error}") from error
    return read_candles(io.StringIO(text, newline=""), str(path))


def read_candles(lines: Iterable[str], name: str) -> Candles:
    """`load_candles` over lines of text; `name` stands for the file in messages."""
    rows = csv.reader(lines)
    header = next(rows, [])
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        raise CandleError(
            f"{name}:1: no column {', '.join(missing)} in the header {','.join(header)!r}; "
            f"needed are {','.join(COLUMNS)}"
        )
    where = [header.index(column) for column in COLUMNS]
    table: list[_Row] = []
    start_ns, places = 0, 0
    for line, row in enumerate(rows, start=2):
        if not row:
            continue
        if len(row) != len(header):
            raise CandleError(f"{name}:{line}: {len(row)} values, but the header has {len(header)}")
        time_text, *price_texts = (row[index] for index in where)
        opened_ns = _epoch_ns(time_text, name, line)
        if not table:
            start_ns = opened_ns
            if start_ns % MINUTE_NS:
                raise CandleError(f"{name}:{line}: open_time {time_text!r} is not the start of a minute")
        expected_ns = start_ns + len(table) * MINUTE_NS
        if opened_ns != expected_ns:
            raise CandleError(
                f"{name}:{line}: open_time {time_text!r}, but the row after the one before must be "
                f"{datetime.fromtimestamp(expected_ns // 10**9, UTC).isoformat()}; candles are a minute apart, no gaps"
            )
        values = [_number(text, column, name, line) for text, column in zip(price_texts, COLUMNS[1:], strict=True)]
        opened, high, low, close, volume = values
        if not 0 < low <= min(opened, close) <= max(opened, close) <= high:
            raise CandleError(
                f"{name}:{line}: open {price_texts[0]} high {price_texts[1]} low {price_texts[2]} close "
                f"{price_texts[3]}; accepted is 0 < low <= open, close <= high"
            )
        places = max(places, *(_places(text) for text in price_texts[:4]))
        table.append((opened, high, low, close, volume))
    if not table:
        raise CandleError(f"{name}: no candles")
    return _candles(start_ns, table, places)


def random_candles(price: str, start_ns: int, minutes: int, seed: int, volatility_bp: float = 5.0) -> Candles:
    """Candles of a random walk: each minute three Gaussian steps of `volatility_bp` / sqrt(3), two decimals.

    The same arguments give the same candles on every machine: the steps come from `random.Random(seed)`.

    Args:
        price: first open, a plain decimal.
        start_ns: open time of the first candle, epoch nanoseconds, cut to its minute.
        minutes: how many candles.
        seed: of the walk.
        volatility_bp: standard deviation of a minute's return in basis points.
    """
    rng = random.Random(seed)  # noqa: S311
    tick = units.ONE // 100
    at = units.parse(price)
    table: list[_Row] = []
    for _ in range(minutes):
        points = [at]
        for _ in range(3):
            step = rng.gauss(0.0, volatility_bp / 1e4 / 3**0.5)
            points.append(max(round(points[-1] * (1.0 + step)) // tick * tick, tick))
        table.append((points[0], max(points), min(points), points[3], round(rng.expovariate(1.0) * units.ONE)))
        at = points[3]
    return _candles(start_ns // MINUTE_NS * MINUTE_NS, table, 2)


def gapped(candles: Candles, from_ns: int, until_ns: int | None, factor: int, tick: int) -> Candles:
    """The same candles with the prices of the whole minutes in [from, until) multiplied by millionths, in ticks."""
    first = max(-(-(from_ns - candles.start_ns) // MINUTE_NS), 0)
    last = len(candles) if until_ns is None else max((until_ns - candles.start_ns) // MINUTE_NS, first)

    def moved(prices: tuple[int, ...]) -> tuple[int, ...]:
        scaled = (max(price * factor // (1_000_000 * tick), 1) * tick for price in prices[first:last])
        return (*prices[:first], *scaled, *prices[last:])

    return msgspec.structs.replace(
        candles,
        open=moved(candles.open),
        high=moved(candles.high),
        low=moved(candles.low),
        close=moved(candles.close),
    )


def _candles(start_ns: int, table: list[_Row], places: int) -> Candles:
    opens, highs, lows, closes, volumes = zip(*table, strict=True)
    return Candles(start_ns, opens, highs, lows, closes, volumes, places)


def _epoch_ns(text: str, name: str, line: int) -> int:
    if text.isascii() and text.isdigit():
        return int(text) * 1_000_000
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise CandleError(
            f"{name}:{line}: open_time {text!r}; accepted is ISO 8601 with an offset, such as "
            "2023-03-03T00:50:00+00:00, or epoch milliseconds"
        )
    return round(at.timestamp()) * 10**9


def _number(text: str, column: str, name: str, line: int) -> int:
    try:
        return units.parse(text)
    except ValueError as error:
        raise CandleError(
            f"{name}:{line}: {column} {text!r}; accepted is a decimal with at most 8 places, such as 23140.48"
        ) from error


def _places(text: str) -> int:
    return len(text.partition(".")[2].rstrip("0"))
