"""What a refused order is told."""

from __future__ import annotations

from decimal import Decimal

from tradewatch.breaker import explain
from tradewatch.model import Evidence, Halt, OrderKey, OrderRequest, Refusal
from tradewatch.runtime.scrub import scrubber

SINCE_NS = 1_677_852_131_500_000_000


def test_a_refusal_says_what_since_when_why_and_how_to_go_on(reason, evidence, request_of):
    line = explain(Refusal(request_of(), Halt("HALTED", "DailyLoss", reason, evidence, SINCE_NS)))
    assert line == (
        "tradewatch refused create_order limit buy 0.5 BTC/USDT at 23431.55 on binance: halted since "
        "2023-03-03 14:02:11 UTC by DailyLoss: daily loss 3.12 % of 23,431.55 USDT at the start of 2023-03-03, "
        "limit 3 % "
        '(tradewatch_daily_loss = 0.0312, tradewatch_limit{limit="daily_loss"} = 0.03). Cancels still pass. '
        "When you have looked: tradewatch resume NAME --reason ..., or Watch.resume(by=..., reason=...)"
    )


def test_what_is_not_known_of_an_order_is_left_out():
    request = OrderRequest(OrderKey("kraken", "a", "ETH/EUR", None, None), "edit_order", None, None, None, None)
    line = explain(Refusal(request, Halt("HALTED", "anna", "stop.", (), SINCE_NS)))
    assert line.startswith(
        "tradewatch refused edit_order ETH/EUR on kraken: halted since 2023-03-03 14:02:11 UTC by anna: "
    )
    assert ": stop. Cancels still pass." in line


def test_it_is_one_line_of_bounded_length_whatever_the_reason(request_of):
    evidence = tuple(Evidence(f"series_{n}", float(n), 1) for n in range(40))
    line = explain(Refusal(request_of(), Halt("HALTED", "r", "first\nsecond\t\r\n" + "x" * 5000, evidence, SINCE_NS)))
    assert "\n" not in line
    assert "first second x" in line
    assert "(series_0 = 0, series_1 = 1, series_2 = 2, series_3 = 3, 36 more)" in line
    assert len(line) < 900


def test_amounts_are_written_as_people_write_them(request_of):
    key = request_of().key
    request = OrderRequest(key, "create_order", "sell", "market", Decimal("1E+3"), None)
    line = explain(Refusal(request, Halt("HALTED", "r", "x", (), SINCE_NS)))
    assert "create_order market sell 1000 BTC/USDT on binance" in line


def test_a_known_secret_is_masked(request_of):
    known = scrubber._secrets
    scrubber.learn(["s3cr3t-value"])
    try:
        line = explain(Refusal(request_of(), Halt("HALTED", "s3cr3t-value", "x s3cr3t-value", (), SINCE_NS)))
    finally:
        scrubber._secrets = known
    assert "s3cr3t-value" not in line
