import gzip

import pytest

from tradewatch.paper.candles import CandleError, load_candles, random_candles, read_candles

HEADER = "open_time,open,high,low,close,volume"
FIRST = "2023-03-03T00:00:00+00:00,10.5,11,10,10.25,3"


def test_prices_are_whole_numbers_of_the_eighth_decimal():
    read = read_candles([HEADER, FIRST, "1677801660000,10.25,10.3,10.2,10.2,0.0"], "two")
    assert read.start_ns == 1677801600 * 10**9
    assert read.end_ns == read.start_ns + 120 * 10**9
    assert (read.open, read.high, read.low, read.close, read.volume) == (
        (1_050_000_000, 1_025_000_000),
        (1_100_000_000, 1_030_000_000),
        (1_000_000_000, 1_020_000_000),
        (1_025_000_000, 1_020_000_000),
        (300_000_000, 0),
    )
    assert read.price_places == 2


def test_the_shipped_record_is_complete(recorded):
    assert len(recorded) == 2880


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["open_time,open,high,close,volume"],
            "f:1: no column low in the header 'open_time,open,high,close,volume'; "
            "needed are open_time,open,high,low,close,volume",
        ),
        ([HEADER], "f: no candles"),
        ([], "f:1: no column open_time, open, high, low, close, volume in the header ''; needed are " + HEADER),
        (
            [HEADER, FIRST.replace("10.25", "x")],
            "f:2: close 'x'; accepted is a decimal with at most 8 places, such as 23140.48",
        ),
        (
            [HEADER, FIRST.replace("10.25", "nan")],
            "f:2: close 'nan'; accepted is a decimal with at most 8 places, such as 23140.48",
        ),
        (
            [HEADER, FIRST, "2023-03-03T00:02:00+00:00,10,10,10,10,1"],
            "f:3: open_time '2023-03-03T00:02:00+00:00', but the row after the one before must be "
            "2023-03-03T00:01:00+00:00; candles are a minute apart, no gaps",
        ),
        (
            [HEADER, FIRST.replace("+00:00", "")],
            "f:2: open_time '2023-03-03T00:00:00'; accepted is ISO 8601 with an offset, such as "
            "2023-03-03T00:50:00+00:00, or epoch milliseconds",
        ),
        ([HEADER, FIRST.replace("00:00:00+", "00:00:30+")],
         "f:2: open_time '2023-03-03T00:00:30+00:00' is not the start of a minute"),
        (
            [HEADER, FIRST.replace(",11,", ",10.4,")],
            "f:2: open 10.5 high 10.4 low 10 close 10.25; accepted is 0 < low <= open, close <= high",
        ),
        ([HEADER, FIRST + ",7"], "f:2: 7 values, but the header has 6"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named_with_line_and_value(lines, message):
    with pytest.raises(CandleError) as error:
        read_candles(lines, "f")
    assert str(error.value) == message


def test_unreadable_files_are_named(tmp_path):
    broken = tmp_path / "broken.csv.gz"
    broken.write_bytes(b"not gzip")
    with pytest.raises(CandleError, match=r"broken\.csv\.gz: cannot read candles: Not a gzipped file"):
        load_candles(broken)
    with pytest.raises(CandleError, match=r"missing\.csv: cannot read candles"):
        load_candles(tmp_path / "missing.csv")
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(gzip.compress(b"open_time,open")[:-9])
    with pytest.raises(CandleError, match=r"cut\.csv\.gz: cannot read candles"):
        load_candles(cut)


def test_a_random_walk_depends_on_its_seed_alone():
    start = 1677801600 * 10**9
    assert random_candles("25000", start, 50, seed=3) == random_candles("25000", start, 50, seed=3)
    assert random_candles("25000", start, 50, seed=3) != random_candles("25000", start, 50, seed=4)
    walk = random_candles("25000", start, 50, seed=3)
    assert walk.open[0] == 25_000 * 10**8
    assert walk.open[1:] == walk.close[:-1]
