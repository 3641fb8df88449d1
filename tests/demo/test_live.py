"""The live view: exact pictures at several sizes, and what must be said whatever the size."""

import io
from decimal import Decimal as Dec
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from tradewatch.cli import live
from tradewatch.cli.lines import line, news
from tradewatch.model import Equity
from tradewatch.status import Client, System

VIEWS = Path(__file__).parent / "views"


def shown(status, width, height=None, caption=""):
    """The view as text, without what is at the ends of lines."""
    console = Console(width=width, height=height or 200, file=io.StringIO(), color_system=None)
    options = console.options.update(height=height)
    lines = console.render_lines(live.view(status, caption), options, pad=False)
    return "\n".join("".join(segment.text for segment in line).rstrip() for line in lines).rstrip() + "\n"


@pytest.mark.parametrize(
    ("name", "what", "width", "height"),
    [
        ("active-80", "status", 80, 24),
        ("active-120", "status", 120, None),
        ("active-40", "status", 40, None),
        ("halted-80", "halted", 80, 24),
        ("halted-100", "halted", 100, 40),
        ("halted-40", "halted", 40, 30),
        ("unknown-80", "unknown", 80, 24),
        ("unknown-40", "unknown", 40, 30),
    ],
)
def test_view_is_exactly_as_it_was_drawn(made, name, what, width, height):
    assert shown(getattr(made, what)(), width, height, "simulated, 200 x") == (VIEWS / f"{name}.txt").read_text()


@pytest.mark.parametrize("width", [20, 40, 60, 76, 80, 100, 132, 240])
@pytest.mark.parametrize("what", ["status", "halted", "unknown"])
def test_no_line_is_wider_than_the_terminal(made, what, width):
    assert max(map(len, shown(getattr(made, what)(), width).splitlines())) <= width


@pytest.mark.parametrize("height", [1, 5, 12, 24, 30, 60])
@pytest.mark.parametrize("width", [40, 80, 120])
def test_view_fits_the_height(made, width, height):
    assert len(shown(made.halted(), width, height).splitlines()) <= height


def test_process_says_what_is_known_what_is_missing_and_what_is_down(made):
    system = System(
        0.12, 130_400_000, {"bot.a": 0.0003, "bot.b": 1.75}, {"/var/log/bot.log": 2_500_000, "/gone.log": None},
        {"postgres": True, "/run/feed.pid": False, "redis": None},
    )  # fmt: skip
    said = "12% of a core · 130.4 MB · loop lag 1.8s · bot.log 2.5 MB · gone.log missing · postgres up · feed.pid DOWN"
    assert f"{said} · redis ?" in " ".join(shown(made.status(system=system), 132).split())
    unknown = System(loops={"bot": 0.25}, log_files={"bot.log": None}, processes={"redis": None})
    assert "– of a core · – · loop lag 250ms · bot.log ? · redis ?" in shown(made.status(system=unknown), 80, 24)
    assert "process" not in shown(made.status(), 120)


@pytest.mark.parametrize("size", [(80, 24), (100, 40), (132, 50)])
def test_halt_says_why_with_its_numbers_and_how_many_orders_it_refused(made, size):
    text = " ".join(shown(made.halted(), *size).split())
    for part in ("■ HALTED by DailyLoss at 2023-03-03 01:31:39 UTC", "lost 3.33% today", "= 23616.6", "24430.7",
                 "= 0.03", "confirmed on disk",
                 "5 orders refused", "▲ DailyLoss firing", "4.68% of 3%", "5.3% of a core"):  # fmt: skip
        assert part in text


def test_halt_that_is_not_confirmed_says_why_not(made):
    halt = made.breaker(state="HALTED", by="operator", reason="news", confirmed=False, not_confirmed="the disk is full")
    assert "✗ not confirmed yet: the disk is full" in shown(made.status(breaker=halt), 80)


def test_stale_values_say_that_they_are(made):
    books = made.portfolio(equity=Equity(Dec("23286.92"), "USDT", ("BTC: price older than 60 s",), 0))
    books = msgspec.structs.replace(
        books, positions=(msgspec.structs.replace(books.positions[0], price_is_stale=True),), incomplete=("a gap",)
    )
    for width in (40, 80, 120):
        text = " ".join(shown(made.status(portfolio=books), width).split())
        assert text.count("stale") == 2
        assert "incomplete: a gap" in text


def test_unknown_values_are_dashes_and_never_zero(made):
    text = shown(made.unknown(), 100)
    assert "equity   – stale: no balances yet" in text
    assert "– of 3%" in text
    assert "– of a core" in text
    assert "0.00" not in text


def test_bot_without_clients_is_told_so(made):
    text = shown(made.unknown(clients=(), notes=("no exchange client found on the bot",)), 80)
    assert "MarketMaker on no client" in text
    assert "! no exchange client found on the bot" in text


def test_every_state_of_a_rule_has_a_symbol_and_a_word(made):
    states = ("firing", "failed", "pending", "no_data", "warming", "inactive")
    text = shown(made.status(rules=tuple(made.rule(f"R{i}", state) for i, state in enumerate(states))), 80)
    for part in ("▲ R0 firing", "✗ R1 failed", "◔ R2 pending", "? R3 no data", "… R4 warming up", "✓ R5 ok"):
        assert part in text


def test_own_troubles_are_shown(made):
    lost = msgspec.structs.replace(made.telemetry, reads_dropped=3, endpoint=None, notes=("port 9464 is taken",))
    text = shown(made.status(telemetry=lost, failures={"booking": 2}, safety_alive=False), 100)
    for part in (
        "3 records lost",
        "2 failures of its own",
        "SAFETY THREAD DEAD",
        "no scrape endpoint",
        "port 9464 is taken",
    ):
        assert part in text


def test_operations_of_several_venues_carry_their_venue(made):
    first = made.status().operations[0]
    both = (first, msgspec.structs.replace(first, exchange="kraken"))
    clients = (Client("bot.a", "a", "binance"), Client("bot.b", "b", "kraken"))
    text = shown(made.status(operations=both, clients=clients), 120)
    assert "binance fetch_ticker" in text
    assert "kraken fetch_ticker" in text
    assert "on binance, kraken" in text


def test_winning_uses_nothing_of_the_limit(made):
    books = made.portfolio(daily_pnl=Dec("12.5"), daily_loss_ratio=Dec("-0.0005"))
    text = shown(made.status(portfolio=books), 80)
    assert "+12.50 USDT" in text
    assert "░░░░░░░░░░ 0.00% of 3%" in text


def test_line_says_the_state_in_one_line(made):
    assert line(made.status()) == (
        "ACTIVE equity 23,286.92 USDT · today -513.05, 70% of the limit · 148 calls · 47 orders · 28 fills · 4 errors"
    )
    assert line(made.unknown()) == (
        "ACTIVE equity – (stale) · today –, – of the limit · 0 calls · 0 orders · 0 fills · 0 errors"
    )


def test_news_tells_of_a_halt_once(made):
    before, now = made.status(), made.halted()
    assert news(before, now) == [
        f"HALTED by DailyLoss: {now.breaker.reason}",
        "  1 - trading_portfolio_equity / (trading_portfolio_day_start > 0) = 0.0333",
        '  trading_portfolio_equity{trading_currency="USDT"} = 23616.6239',
        '  trading_portfolio_day_start{trading_currency="USDT"} = 24430.73',
        '  tradewatch_limit{limit="daily_loss"} = 0.03',
        "halt confirmed: it is on disk, and every order that had passed is answered or listed as unknown",
        "first order refused; cancels and reads pass",
        "rule DailyLoss fires: MarketMaker lost 3.33% today, beyond the limit daily_loss",
    ]
    assert news(now, now) == []


def test_news_tells_of_a_halt_found_at_the_start_and_of_its_end(made):
    assert news(None, made.halted())[0].startswith("HALTED by DailyLoss")
    resumed = made.status(breaker=made.breaker(by="operator", reason="looked at it", since_ns=1))
    assert news(made.halted(), resumed) == [
        "ACTIVE again, by operator: looked at it",
        "rule DailyLoss is ok again",
    ]


def test_news_tells_of_new_errors_and_notes(made):
    now = made.status(errors={"OrderNotFound": 5, "timeout": 1}, notes=("nothing is kept on disk",))
    assert news(made.status(), now) == ["first error of this kind: timeout", "note: nothing is kept on disk"]
